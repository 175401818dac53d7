"""Who is told of a run while it goes: the progress view, and wandb."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from seizurelit.evaluation.rendering import confusions, flat_rows
from seizurelit.evaluation.table import Table
from seizurelit.loso.experiment import Run
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.progress import Progress
from seizurelit.scheduling.run import Event
from seizurelit.tracking.wandb_runs import Confusion, Tracker
from seizurelit.training.fit import HISTORY


class Watcher:
    """Passes the events of a run on; a context, so that the progress view and wandb are ended whatever happens.

    Args:
        run: the run.
        jobs: all of its jobs that were asked for.
        slots: jobs at a time.
        wandb: offline, online or off.
    """

    def __init__(self, run: Run, jobs: Sequence[Job], slots: int, wandb: Literal["offline", "online", "off"]) -> None:
        self.run = run
        self.ledger = Ledger(run.folder)
        cohort = run.cohort
        names = {text for seizure in cohort.seizures for text in (seizure.name, seizure.subject, seizure.source or "")}
        self.tracker = Tracker(
            run.folder,
            wandb,
            group=run.run_id,
            names=names,
            tags=(run.setup.preset,),
            stand_in=run.stand_in,
        )
        self.progress = Progress(tuple(jobs), slots)
        self.arguments = {job.id: dict(job.arguments) for job in jobs}
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        self.stack.enter_context(self.tracker)
        self.stack.enter_context(self.progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        self.progress(event)
        if event.folder is not None and not self.tracker.logged(event.job):
            self._log(event.job, event.folder, event)

    def _log(self, job: str, folder: Path, event: Event) -> None:
        row = self.arguments[job]
        result = self.ledger.result(job)
        config = {name: row[name] for name in ("sign", "stream", "model", "seed", "fold")}
        config |= {"run_id": self.run.run_id, "training": dataclasses.asdict(self.run.setup.training)}
        summary: dict[str, Any] = {
            f"fold/{name}": value for name, value in result.items() if not isinstance(value, dict)
        }
        if result["seizures"]:
            summary["fold/accuracy"] = result["correct"] / result["seizures"]
        if event.seconds is not None:
            summary |= {"job/seconds": event.seconds, "job/peak_memory_mb": event.peak_memory_mb}
        self.tracker.job(
            job,
            config=config,
            history=_curves(folder / HISTORY),
            summary=summary,
            tags=(row["sign"], row["stream"], row["model"]),
        )

    def summary(self, table: Table) -> None:
        """Log the table and the confusion matrices."""
        matrices = [Confusion(name, classes, counts) for name, classes, counts in confusions(table)]
        self.tracker.summary(flat_rows(table), matrices, {"run_id": self.run.run_id, "preset": self.run.setup.preset})


def _curves(path: Path) -> list[dict[str, float]]:
    """The rows of a history file, without what a row does not have."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
