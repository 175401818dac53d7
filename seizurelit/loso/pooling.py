"""From finished jobs to the run's predictions: trained rows, the fused row and the baselines, all out of fold."""

from __future__ import annotations

import dataclasses

import pandas as pd

from seizurelit.cache.store import Cache
from seizurelit.errors import InputError
from seizurelit.evaluation.baselines import baselines
from seizurelit.evaluation.fusion import fuse
from seizurelit.evaluation.predictions import pool, read_predictions, write_predictions
from seizurelit.loso.experiment import Run
from seizurelit.scheduling.ledger import Ledger

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
    ledger = Ledger(run.folder)
    paths = sorted((run.folder / "jobs").glob(f"*/*/*/*/*/{PREDICTIONS}"))
    whole = [path for path in paths if ledger.done(path.parent.relative_to(run.folder / "jobs").as_posix())]
    trained = pool(read_predictions(path) for path in whole)
    cache, cohort = Cache.open(run.setup.cache), run.cohort
    parts, notes = [trained, fuse(trained)], []
    for sign in sorted(set(trained["sign"])):
        rows = trained.loc[trained["sign"] == sign]
        done = set(rows["fold"])
        plan = run.plan(sign)
        part = dataclasses.replace(plan, folds=tuple(fold for fold in plan.folds if fold.name in done))
        try:
            parts.append(baselines(cohort, part, cache, sorted(set(rows["stream"]))))
        except InputError as error:
            notes.append(f"{sign}: no baselines: {error.faults[0]}")
    predictions = pool(parts)
    write_predictions(run.folder / PREDICTIONS, predictions)
    return predictions, tuple(notes)
