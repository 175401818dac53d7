"""The flow of seizures from the cohort to the scores: who was lost where (METHOD.md, point 7)."""

from __future__ import annotations

from typing import NamedTuple

from seizurelit.reporting.evidence import Evidence


class Step(NamedTuple):
    """One step.

    Attributes:
        what: the seizures that are left are.
        seizures: that are left.
        lost: from the step before to this one.
        why: they were lost.
    """

    what: str
    seizures: frozenset[str]
    lost: frozenset[str]
    why: str


def flow(evidence: Evidence, sign: str) -> tuple[Step, ...]:
    """The steps of a sign, each with less of the seizures than the one before or as many.

    Extracted and scored are those of every trained row of the sign, in every seed that a row has; what a row alone lacks stands
    at the row.

    Args:
        evidence: of the run.
        sign: that has a trained row.
    """
    rows = evidence.rows(sign, trained=True)
    cohort = frozenset(seizure.name for seizure in evidence.cohort.seizures)
    rated = frozenset(evidence.labels[sign])
    undecided = len(evidence.cohort.undecided(evidence.signs[sign]))
    extracted = rated - frozenset(
        name for row in rows for name in {*row.counted_wrong, *evidence.table.run.lacking.get(row.key, ())}
    )
    scored = extracted & frozenset.intersection(
        *(
            frozenset(name for name, calls in evidence.calls.get(row.key, {}).items() if len(calls) == len(row.seeds))
            for row in rows
        )
    )
    return (
        Step("in the cohort", cohort, frozenset(), ""),
        Step(f"rated for {sign}", rated, cohort - rated, _not_rated(undecided)),
        Step("extracted for every model", extracted, rated - extracted, "without an extraction that a model needs"),
        Step("scored by every model", scored, extracted - scored, "in a fold that is not done"),
    )


def _not_rated(undecided: int) -> str:
    return "not rated" + (f" ({undecided} undecided by raters)" if undecided else "")
