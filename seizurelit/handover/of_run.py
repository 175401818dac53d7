"""A run's networks of all folds and seeds as one ensemble for new videos."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seizurelit.cache.store import Cache
from seizurelit.cohort.leak import Guard
from seizurelit.errors import InputError
from seizurelit.evaluation.predictions import PROBABILITY, read_predictions
from seizurelit.evaluation.statistics.calibration import Calibration, fitted
from seizurelit.evaluation.table import RowKey
from seizurelit.handover.ensemble import Ensemble, Member, OutOfFold, RowModel, Sizes, StreamFacts
from seizurelit.handover.likeness import reference_of, statistics_of
from seizurelit.loso.experiment import Row, Run, load_run
from seizurelit.loso.finished import Finished, finished, rows_of
from seizurelit.loso.pooling import PREDICTIONS
from seizurelit.training.checkpoint import load_weights
from seizurelit.training.networks import WindowNetwork, build_network

PREFERRED = ("agcn_kd", "agcn", "tcn")
"""Of a sign and stream one model is used, the paper's own first; not the best, as that was seen on the held-out subjects."""

_NAMING = frozenset({"missing", "counted_wrong"})


def ensemble_of_run(folder: Path, *, sign: str | None = None, model: str | None = None) -> Ensemble:
    """Everything that is needed to score a new seizure by a run.

    Args:
        folder: the run; its cache must still be there.
        sign: of this sign alone.
        model: use this one instead of the first of `PREFERRED` that is there.

    Raises:
        InputError: no run, no finished training of that kind, or a damaged file.
    """
    run = load_run(folder)
    rows = chosen_rows(run, sign=sign, model=model)
    cache = Cache.open(run.setup.cache)
    streams = {stream: stream_facts(cache, stream) for stream in {row.stream for row in rows}}
    table = cross_validated(run)
    models = []
    for row in rows:
        trainings = finished(run, row)
        if not trainings:
            msg = f"{folder}: no training of {row.sign} {row.stream} {row.model} is whole; run the command that made it again"
            raise InputError(msg)
        conditions = conditions_of(run, row)
        members = [_member(run, training, streams[row.stream], len(conditions)) for training in trainings]
        out_of_fold = out_of_fold_scores(run, row)
        models.append(
            RowModel(
                sign=row.sign,
                stream=row.stream,
                model=row.model,
                classes=run.cohort.sign(row.sign).classes,
                members=tuple(members),
                calibration=calibration_of(out_of_fold),
                conditions=conditions,
                cross_validated=table.get(RowKey(row.sign, row.stream, row.model), {}),
                out_of_fold=out_of_fold,
            )
        )
    seizures = [seizure.name for seizure in run.cohort.seizures]
    owners = {name: run.cohort.subject_of(name) for name in seizures}
    sources = {}
    references = {}
    for stream in streams:
        for name in seizures:
            if cache.has(name, stream):
                sources[cache.metadata(name, stream).source_digest] = owners[name]
        reference = reference_of(statistics_of(cache, stream, seizures), owners)
        if reference is not None:
            references[stream] = reference
    return Ensemble(
        rows=tuple(models),
        streams=streams,
        references=references,
        stand_in=run.stand_in,
        origin={"kind": "run", "run": run.run_id, "preset": run.setup.preset},
        subjects=frozenset(run.cohort.subjects),
        sources=sources,
    )


def chosen_rows(run: Run, *, sign: str | None = None, model: str | None = None) -> tuple[Row, ...]:
    """One row of each sign and stream: of the model that is asked for, else the first of `PREFERRED`.

    Raises:
        InputError: there is none; the line says what there is.
    """
    there = rows_of(run)
    wanted = [row for row in there if sign in (None, row.sign) and model in (None, row.model)]
    if not wanted:
        names = ", ".join(f"{row.sign} {row.stream} {row.model}" for row in there) or "nothing yet"
        asked = " ".join(part for part in (sign, model) if part) or "a finished training"
        msg = f"{run.folder}: has no {asked}; it has {names}"
        raise InputError(msg)
    found: dict[tuple[str, str], Row] = {}
    for row in sorted(wanted, key=lambda row: PREFERRED.index(row.model)):
        found.setdefault((row.sign, row.stream), row)
    return tuple(found[key] for key in sorted(found))


def _member(run: Run, training: Finished, facts: StreamFacts, conditions: int) -> Member:
    fold = run.plan(training.row.sign).fold(training.fold)
    classes = len(run.cohort.sign(training.row.sign).classes)
    network = build_network(training.row.model, training.training, Sizes(facts, training.training, conditions, classes))
    load_weights(training.weights, network, Guard.of(fold))
    name = f"seed-{training.seed}/{training.fold}"
    return Member(name, ready(network), training.training, training.threshold, frozenset(fold.test))


def ready(network: WindowNetwork) -> WindowNetwork:
    """The network in evaluation mode; nothing of it is to be fitted any more."""
    network.eval()
    network.requires_grad_(requires_grad=False)
    return network


def stream_facts(cache: Cache, stream: str) -> StreamFacts:
    """What the tensors of a cache's stream are like, by the first seizure of each kind.

    Raises:
        InputError: the cache has none, or a file is damaged.
    """
    names = cache.seizures(stream)
    if not names:
        msg = f"{cache.root}: has no {stream} tensors; extract or ingest them"
        raise InputError(msg)
    records = [cache.metadata(name, stream) for name in names]
    skeleton = next((record.skeleton for record in records if record.skeleton is not None), None)
    looked = next((name for name in names if f"{stream}.appearance" in cache.names(name, stream)), None)
    channels, fps = 0, None
    if looked is not None:
        tensors = cache.read(looked, stream, [f"{stream}.appearance"])
        channels, fps = tensors[f"{stream}.appearance"].shape[1], tensors.metadata.appearance_fps
    return StreamFacts(
        fps=records[0].fps,
        skeleton=skeleton,
        appearance_fps=fps,
        appearance_channels=channels,
        extractors=tuple(sorted({record.extractor for record in records})),
        weights_digests=tuple(sorted({record.weights_digest for record in records if record.weights_digest})),
    )


def conditions_of(run: Run, row: Row) -> tuple[str, ...]:
    """What a row's networks are told, in the order of their channels."""
    name = run.setup.training.inputs.condition
    if name is None:
        return ()
    del row
    return tuple(sorted({value for value in run.cohort.column(name).values() if value}))


def out_of_fold_scores(run: Run, row: Row) -> OutOfFold:
    """A row's out-of-fold scores, the mean over its seeds.

    Raises:
        InputError: predictions.csv is absent or damaged.
    """
    found = read_predictions(run.folder / PREDICTIONS)
    found = found.loc[(found["sign"] == row.sign) & (found["stream"] == row.stream) & (found["model"] == row.model)]
    classes = run.cohort.sign(row.sign).classes
    names = [PROBABILITY + name for name in classes]
    if found.empty:
        empty = np.zeros((0, len(classes)))
        return OutOfFold(empty, np.zeros(0, dtype=int), ())
    means = found.groupby("seizure", sort=True)[names].mean()
    first: pd.DataFrame = found.drop_duplicates("seizure").set_index("seizure").loc[means.index]
    labels = np.array([classes.index(label) for label in first["label"]], dtype=int)
    return OutOfFold(means.to_numpy(dtype=float), labels, tuple(map(str, first["subject"])))


def calibration_of(scores: OutOfFold, without: Iterable[str] = ()) -> Calibration | None:
    """The calibration that the out-of-fold scores of all subjects but some ask for."""
    left = set(without)
    kept = [place for place, subject in enumerate(scores.subjects) if subject not in left]
    return fitted(scores.scores[kept], scores.labels[kept], [scores.subjects[place] for place in kept])


def without_subject(row: RowModel, subject: str) -> RowModel | None:
    """The networks that never saw a subject, calibrated without it; None if all have."""
    members = [member for member in row.members if subject in member.held_out]
    if not members:
        return None
    calibration = None if row.out_of_fold is None else calibration_of(row.out_of_fold, (subject,))
    return dataclasses.replace(row.of_members(members), calibration=calibration)


def cross_validated(run: Run) -> dict[RowKey, Mapping[str, Any]]:
    """The run's table.csv by its rows, without the columns that name seizures; empty where none was written."""
    path = run.folder / "table.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    kept = [{key: _number(cell) for key, cell in record.items() if key not in _NAMING} for record in records]
    return {RowKey(str(row["sign"]), str(row["stream"] or ""), str(row["model"])): row for row in kept}


def _number(cell: str) -> str | float | int | None:
    """A cell of a CSV file as what it was."""
    if cell == "":
        return None
    for kind in (int, float):
        with suppress(ValueError):
            number = kind(cell)
            return number if math.isfinite(number) else None
    return cell
