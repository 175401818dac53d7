"""What a run has finished: which folds of a row, with which weights and choices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from seizurelit.config import Training, with_overrides
from seizurelit.errors import InputError
from seizurelit.loso.experiment import WEIGHTS, Row, Run, job_id
from seizurelit.scheduling.ledger import Ledger
from seizurelit.training.checkpoint import read_provenance


@dataclass(frozen=True)
class Finished:
    """A finished training.

    Attributes:
        row: what was trained.
        seed: of the training.
        fold: its name.
        weights: the file.
        training: settings, with what was chosen for this fold.
        threshold: of the positive class; None for more than two classes.
    """

    row: Row
    seed: int
    fold: str
    weights: Path
    training: Training
    threshold: float | None


def rows_of(run: Run) -> tuple[Row, ...]:
    """The rows of which a run's folder has a finished training, sorted."""
    jobs = (run.folder / "jobs").glob(f"*/*/*/*/*/{WEIGHTS}")
    found = {path.parent.relative_to(run.folder / "jobs").parts[:3] for path in jobs}
    return tuple(Row(*parts) for parts in sorted(found))


def finished(run: Run, row: Row) -> tuple[Finished, ...]:
    """The whole trainings of a row, by seed and fold.

    Raises:
        InputError: a training's record of its choice cannot be read.
    """
    ledger = Ledger(run.folder)
    found = []
    for path in sorted((run.folder / "jobs" / row.sign / row.stream / row.model).glob(f"seed-*/*/{WEIGHTS}")):
        record = read_provenance(path)
        if ledger.done(job_id(row, record.seed, record.fold)):
            training = with_overrides(run.setup.training, record.choice)
            found.append(Finished(row, record.seed, record.fold, path, training, _threshold(path)))
    return tuple(sorted(found, key=lambda one: (one.seed, one.fold)))


def _threshold(weights: Path) -> float | None:
    path = weights.with_name("choice.json")
    try:
        threshold = json.loads(path.read_text(encoding="utf-8"))["threshold"]
        return None if threshold is None else float(threshold)
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path}: cannot be read ({' '.join(str(error).split())}); delete its folder and run again"
        raise InputError(msg) from None
