"""What may leave the machine of a run's evidence: keyed pseudonyms for names, no path, video, patient's attribute or rater's name.

Every record is made anew from what is known to be harmless; text that a person or an exception wrote passes through the `Veil`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from seizurelit.cohort.labels import Rating
from seizurelit.cohort.manifest import STAND_IN, Cohort, Seizure
from seizurelit.evaluation.baselines import CATEGORICAL_FACTS, NUMERIC_FACTS
from seizurelit.evaluation.table import MissingFold, Row, RowKey, Table
from seizurelit.reporting.evidence import Evidence, Sighting
from seizurelit.reporting.findings import Findings
from seizurelit.reporting.grounds import renamed
from seizurelit.reporting.strata import STRATIFIED
from seizurelit.tracking.pseudonyms import Veil

# Facts of a recording that say nothing of where it lay or who made it.
_FACTS = (*NUMERIC_FACTS, *CATEGORICAL_FACTS)


def names_of(cohort: Cohort) -> set[str]:
    """Every name of a cohort that must not be read outside: subjects, seizures, sources, raters."""
    seizures = {text for one in cohort.seizures for text in (one.name, one.subject, one.source or "")}
    return {*seizures, *(rating.rater for rating in cohort.ratings)} - {""}


def pseudonymous(evidence: Evidence, veil: Veil) -> Evidence:
    """The same evidence as it may be shared.

    Args:
        evidence: of the run.
        veil: that knows `names_of` its cohort.
    """
    own = {name: veil.name(name) for name in names_of(evidence.cohort)}
    return Evidence(
        run=dataclasses.replace(
            evidence.run,
            folder=Path(evidence.run.run_id),
            setup=dataclasses.replace(evidence.run.setup, cache=Path("cache"), cohort=None, folds=None),
        ),
        table=_table(evidence.table, veil),
        cohort=_cohort(evidence, veil),
        predictions=evidence.predictions.iloc[:0],
        calls={
            key: {own[seizure]: calls for seizure, calls in by_seizure.items()}
            for key, by_seizure in evidence.calls.items()
        },
        sightings={own[seizure]: _sighting(found, veil) for seizure, found in evidence.sightings.items()},
        windows={
            key: {own[seizure]: windows for seizure, windows in by_seizure.items()}
            for key, by_seizure in evidence.windows.items()
        },
        histories={
            key: tuple(one._replace(fold=veil.name(one.fold)) for one in histories)
            for key, histories in evidence.histories.items()
        },
        videos={},
        grounds=renamed(evidence.grounds, own, veil.text),
        shared=True,
    )


def pseudonymous_findings(findings: Findings, veil: Veil) -> Findings:
    """The same findings; what a cohort calls its groups is somebody's text."""
    return Findings(
        findings.curves,
        {
            sign: tuple(dataclasses.replace(stratum, name=veil.text(stratum.name)) for stratum in listed)
            for sign, listed in findings.strata.items()
        },
    )


def _cohort(evidence: Evidence, veil: Veil) -> Cohort:
    """Labels, times and what is stratified by; nothing else of what the cohort's columns hold."""
    cohort = evidence.cohort
    signs = evidence.signs
    plain = {name for sign in signs for name in (sign, f"{sign}_onset", f"{sign}_offset")} | {STAND_IN}
    kept = tuple(name for name in cohort.columns if name in plain or name in STRATIFIED)

    def of(seizure: Seizure) -> Seizure:
        cells = {name: seizure.columns[name] for name in kept}
        return Seizure(
            veil.name(seizure.name),
            veil.name(seizure.subject),
            None,
            None,
            None,
            None,
            {name: cell if name in plain else veil.text(cell) for name, cell in cells.items()},
            0,
        )

    ratings = tuple(
        Rating(
            veil.name(rating.seizure),
            rating.sign,
            veil.name(rating.rater),
            rating.value,
            rating.onset,
            rating.offset,
            blinded=rating.blinded,
        )
        for rating in cohort.ratings
        if rating.sign in signs
    )
    seizures = sorted(map(of, cohort.seizures), key=lambda seizure: (seizure.subject, seizure.name))
    return Cohort(Path("cohort.csv"), tuple(seizures), kept, ratings)


def _sighting(found: Sighting, veil: Veil) -> Sighting:
    return Sighting(
        found.seconds,
        found.missing,
        found.without,
        {name: veil.value(found.facts[name]) for name in _FACTS if name in found.facts},
        {stream: veil.text(maker) for stream, maker in found.made_by.items()},
        veil.text(found.fault),
    )


def _table(table: Table, veil: Veil) -> Table:
    run = table.run

    def named(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(map(veil.name, names)))

    def missing(folds: Iterable[MissingFold]) -> tuple[MissingFold, ...]:
        return tuple(MissingFold(seed, veil.name(fold), veil.text(reason)) for seed, fold, reason in folds)

    def row_of(row: Row) -> Row:
        return dataclasses.replace(row, counted_wrong=named(row.counted_wrong), missing=missing(row.missing))

    failed: dict[tuple[RowKey, int | None, str], str] = {
        (key, seed, veil.name(fold)): veil.text(reason) for (key, seed, fold), reason in run.failed.items()
    }
    return dataclasses.replace(
        table,
        rows=tuple(map(row_of, table.rows)),
        run=dataclasses.replace(
            run,
            failed=failed,
            lacking={key: frozenset(named(names)) for key, names in run.lacking.items()},
            notes=tuple(map(veil.text, run.notes)),
        ),
    )
