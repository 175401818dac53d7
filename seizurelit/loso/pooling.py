"""From finished jobs to the run's predictions: trained rows, the fused row and the baselines, all out of fold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from seizurelit.cache.store import Cache
from seizurelit.errors import InputError
from seizurelit.evaluation.baselines import baselines
from seizurelit.evaluation.fusion import fuse
from seizurelit.evaluation.predictions import pool, read_predictions, write_predictions
from seizurelit.evaluation.statistics.completeness import Part, check_parts
from seizurelit.loso.experiment import WEIGHTS, Run
from seizurelit.scheduling.ledger import Ledger
from seizurelit.training.checkpoint import read_provenance
from seizurelit.training.fit import WINDOWS

PREDICTIONS = "predictions.csv"


def pool_run(run: Run) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read what is done, add fusion and baselines, and write the run's predictions.csv.

    Baselines are made for the folds that a trained row has, so that all rows of a sign are of the same seizures.

    Args:
        run: its job folders are the truth; a folder that is not whole counts as absent.

    Returns:
        All out-of-fold predictions of the run so far, and a line for each sign whose baselines could not be made: what was trained
        is not lost because a file of the cache is damaged.
    """
    trained = trained_rows(run)
    cache, cohort = Cache.open(run.setup.cache), run.cohort
    frames, notes = [trained, fuse(trained)], []
    for sign in sorted(set(trained["sign"])):
        plan = run.plan(sign)
        rows = trained.loc[trained["sign"] == sign]
        done = set(rows["fold"])
        made = dataclasses.replace(plan, folds=tuple(fold for fold in plan.folds if fold.name in done))
        try:
            frames.append(baselines(cohort, made, cache, sorted(set(rows["stream"]))))
        except InputError as error:
            notes.append(f"{sign}: no baselines: {error.faults[0]}")
    predictions = pool(frames)
    write_predictions(run.folder / PREDICTIONS, predictions)
    return predictions, tuple(notes)


def trained_rows(run: Run) -> pd.DataFrame:
    """The predictions of a run's finished jobs, checked to be of this run and of the folds that their places say."""
    ledger = Ledger(run.folder)
    paths = sorted((run.folder / "jobs").glob(f"*/*/*/*/*/{PREDICTIONS}"))
    whole = [path for path in paths if ledger.done(path.parent.relative_to(run.folder / "jobs").as_posix())]
    parts = [_part(run, path) for path in whole]
    check_parts(parts, run.run_id, {sign: run.plan(sign) for sign in sorted({part.sign for part in parts})})
    return pool(part.predictions for part in parts)


def read_windows(run: Run) -> pd.DataFrame:
    """The scores of every window of a run's finished jobs: sign, stream, model, seed, seizure, start, end, score_0 and so on."""
    ledger, frames = Ledger(run.folder), []
    for path in sorted((run.folder / "jobs").glob(f"*/*/*/*/*/{WINDOWS}")):
        where = path.parent.relative_to(run.folder / "jobs").as_posix()
        if ledger.done(where):
            sign, stream, model, seed, _ = where.split("/")
            frame = pd.read_csv(path, dtype={"seizure": str})
            frames.append(frame.assign(sign=sign, stream=stream, model=model, seed=int(seed.removeprefix("seed-"))))
    columns = ["sign", "stream", "model", "seed", "seizure"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _part(run: Run, path: Path) -> Part:
    """A finished job's predictions, with what its place and its weights say that they are."""
    where = path.parent.relative_to(run.folder / "jobs").as_posix()
    sign, stream, model, seed, fold = where.split("/")
    run_id = read_provenance(path.with_name(WEIGHTS)).run_id
    return Part(where, run_id, sign, stream, model, int(seed.removeprefix("seed-")), fold, read_predictions(path))
