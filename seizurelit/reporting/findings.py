"""What a report computes of a run besides its table: curves with bands, and scores by sex, age and lobe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seizurelit.evaluation.table import RowKey
from seizurelit.reporting.curves import Curves, curves
from seizurelit.reporting.evidence import Evidence
from seizurelit.reporting.strata import Stratum, by_stratum


@dataclass(frozen=True)
class Findings:
    """Computed once of a run, from its own names, so that a report under pseudonyms has the same figures to the last digit.

    Attributes:
        curves: row → its curves, of the trained rows that have any, in the table's order.
        strata: sign → groups of subjects; empty where the cohort has no column to stratify by.
    """

    curves: Mapping[RowKey, Curves]
    strata: Mapping[str, tuple[Stratum, ...]]


def find(evidence: Evidence) -> Findings:
    """The findings of a run."""
    made = {row.key: curves(evidence.cases(row)) for row in evidence.table.rows if row.seeds and not row.baseline}
    return Findings({key: found for key, found in made.items() if found is not None}, by_stratum(evidence))
