"""Scores within groups of subjects: by sex, age and lobe, where the cohort has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from seizurelit.cohort.manifest import Cohort
from seizurelit.evaluation.statistics.cases import Cases
from seizurelit.evaluation.statistics.intervals import Interval, intervals
from seizurelit.evaluation.statistics.weightings import scores_under
from seizurelit.evaluation.table import RowKey
from seizurelit.reporting.evidence import Evidence

FEWEST_SUBJECTS = 5
"""Subjects of a stratum below which counts alone are given."""

_AGES = ((12.0, "under 12"), (18.0, "12 to 17"), (40.0, "18 to 39"), (float("inf"), "40 and over"))


@dataclass(frozen=True)
class Figure:
    """A score within a stratum; without a value where the stratum is too small or the score undefined."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Stratum:
    """A group of subjects, and how each row does on it.

    Attributes:
        kind: what is stratified by.
        name: of the group.
        subjects: rated for the sign.
        seizures: rated for the sign.
        positive: of the seizures; None for a sign of more than two classes.
        accuracy: row → its accuracy; None under `FEWEST_SUBJECTS` subjects with a score.
    """

    kind: str
    name: str
    subjects: int
    seizures: int
    positive: int | None
    accuracy: Mapping[RowKey, Figure | None]


def _as_it_is(cell: str) -> str:
    return cell


def _age(cell: str) -> str:
    try:
        years = float(cell)
    except ValueError:
        return cell
    return next(name for below, name in _AGES if years < below)


STRATIFIED: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "sex": ("Sex", _as_it_is),
    "gender": ("Gender", _as_it_is),
    "age": ("Age, years", _age),
    "age_at_onset": ("Age at onset, years", _age),
    "ez_lobe": ("Lobe of the epileptogenic zone", _as_it_is),
}
"""Column of a cohort → its title, and the group that a cell belongs to."""


def strata(cohort: Cohort) -> dict[str, dict[str, str]]:
    """What is stratified by → seizure → its stratum, 'not given' where the cell is empty; only columns that the cohort has."""
    found = {}
    for column, (title, part) in STRATIFIED.items():
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


def by_stratum(evidence: Evidence) -> dict[str, tuple[Stratum, ...]]:
    """Sign → its strata, in the order in which they are shown, of the sign's own trained rows (of all if it has no own)."""
    kinds = strata(evidence.cohort)
    found = {}
    for sign, labels in evidence.labels.items():
        trained = evidence.rows(sign, trained=True)
        rows = [row for row in trained if row.group == sign] or trained
        cases = {row.key: evidence.cases(row) for row in rows}
        positive = evidence.signs[sign].positive
        listed = []
        for kind, of in kinds.items():
            for name in order({of[seizure] for seizure in labels}):
                seizures = {seizure for seizure in labels if of[seizure] == name}
                subjects = {evidence.cohort.subject_of(seizure) for seizure in seizures}
                few = len(subjects) < FEWEST_SUBJECTS
                listed.append(
                    Stratum(
                        kind,
                        name,
                        len(subjects),
                        len(seizures),
                        None if positive is None else sum(labels[seizure] == positive for seizure in seizures),
                        {key: None if few else within(one, seizures) for key, one in cases.items()},
                    )
                )
        if rows and listed:
            found[sign] = tuple(listed)
    return found
