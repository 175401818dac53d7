"""Scores within groups of subjects: by sex, age and lobe, where the cohort has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from seizurelit.cohort.manifest import Cohort
from seizurelit.evaluation.statistics.cases import Cases
from seizurelit.evaluation.statistics.intervals import Interval, intervals
from seizurelit.evaluation.statistics.weightings import scores_under

FEWEST_SUBJECTS = 5
"""Subjects of a stratum below which counts alone are given."""

_AGES = ((12.0, "under 12"), (18.0, "12 to 17"), (40.0, "18 to 39"), (float("inf"), "40 and over"))


@dataclass(frozen=True)
class Figure:
    """A score within a stratum; without a value where the stratum is too small or the score undefined."""

    value: float
    interval: Interval


def _as_it_is(cell: str) -> str:
    return cell


def _age(cell: str) -> str:
    try:
        years = float(cell)
    except ValueError:
        return cell
    return next(name for below, name in _AGES if years < below)


_COLUMNS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "sex": ("Sex", _as_it_is),
    "gender": ("Gender", _as_it_is),
    "age": ("Age, years", _age),
    "age_at_onset": ("Age at onset, years", _age),
    "ez_lobe": ("Lobe of the epileptogenic zone", _as_it_is),
}


def strata(cohort: Cohort) -> dict[str, dict[str, str]]:
    """What is stratified by → seizure → its stratum, 'not given' where the cell is empty; only columns that the cohort has."""
    found = {}
    for column, (title, part) in _COLUMNS.items():
        cells = cohort.column(column) if column in cohort.columns else {}
        if any(cells.values()):
            found[title] = {seizure: part(cell) if cell else "not given" for seizure, cell in cells.items()}
    return found


def order(names: set[str]) -> list[str]:
    """Strata in the order in which they are shown: ages by age, others by name, what is not given last."""
    ages = [name for _, name in _AGES]
    return sorted(names, key=lambda name: (name == "not given", ages.index(name) if name in ages else -1, name))


def within(cases: Cases, seizures: set[str], name: str = "accuracy") -> Figure | None:
    """A score of the seizures of a stratum that a row has scored, with its interval; None under five subjects."""
    part = cases.only(np.array([seizure in seizures for seizure in cases.seizures], dtype=bool))
    if len(part.subjects) < FEWEST_SUBJECTS:
        return None
    value = float(scores_under(part, np.ones((1, len(part.subjects))), [name])[name][0])
    return Figure(value, intervals(part, [name])[name])
