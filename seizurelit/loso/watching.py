"""Who is told of a run while it goes: the progress view, wandb, TensorBoard and MLflow."""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pandas as pd

from seizurelit.evaluation.predictions import read_predictions
from seizurelit.evaluation.rendering import confusion_records, flat_rows
from seizurelit.evaluation.scores import per_fold
from seizurelit.evaluation.table import Table
from seizurelit.loso.experiment import Run
from seizurelit.loso.options import RunOptions
from seizurelit.loso.pooling import PREDICTIONS
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.progress import Progress
from seizurelit.scheduling.run import Event
from seizurelit.tracking.pseudonyms import Veil, read_key
from seizurelit.tracking.wandb_runs import STAND_IN, Tracker
from seizurelit.training.fit import HISTORY
from seizurelit.training.loggers import Loggers

_FIGURES = ("f1", "accuracy", "balanced_accuracy", "auroc")


class Sweep(NamedTuple):
    """Several runs that are looked at together.

    Attributes:
        group: of all of them, on wandb.
        part: what this run is called among them.
    """

    group: str
    part: str


class Watcher:
    """Passes the events of a run on; a context, so that the progress view and wandb are ended whatever happens.

    Args:
        run: the run.
        jobs: all of its jobs that were asked for.
        slots: jobs at a time.
        options: wandb and loggers.
        sweep: that the run is a part of; alone, the run is a group of its own.
    """

    def __init__(
        self, run: Run, jobs: Sequence[Job], slots: int, options: RunOptions, sweep: Sweep | None = None
    ) -> None:
        self.run = run
        self.failed = False
        self.prefix = "" if sweep is None else f"{sweep.part}/"
        self.ledger = Ledger(run.folder)
        cohort = run.cohort
        names = {text for seizure in cohort.seizures for text in (seizure.name, seizure.subject, seizure.source or "")}
        group = run.run_id if sweep is None else sweep.group
        self.tracker = Tracker(
            run.folder,
            options.wandb,
            group=group,
            names=names,
            tags=(run.setup.preset, *(() if sweep is None else (sweep.part,))),
            stand_in=run.stand_in,
        )
        self.loggers = Loggers(options.loggers, run.folder, group)
        self.veil = Veil(names, read_key()) if options.loggers else None
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
        if event.folder is None or not event.ours or "fold" not in self.arguments[event.job]:
            return  # what a stack trained is told of by its folds
        name = self.prefix + event.job
        if not self.tracker.logged(name):
            self.tracker.job(name, **self._facts(event, event.folder))
        if self.veil is not None and self.loggers.lacking(self.veil.text(name)):
            self._tell(self.veil, name, self._facts(event, event.folder))

    def _facts(self, event: Event, folder: Path) -> dict[str, Any]:
        """What is logged of a finished job: config, history, summary and tags."""
        row = self.arguments[event.job]
        result = self.ledger.result(event.job)
        config = {name: row[name] for name in ("sign", "stream", "model", "seed", "fold")}
        config |= {"run_id": self.run.run_id, "training": dataclasses.asdict(self.run.setup.training)}
        summary: dict[str, Any] = {
            f"fold/{name}": value for name, value in result.items() if not isinstance(value, dict)
        }
        if result["seizures"]:
            summary["fold/accuracy"] = result["correct"] / result["seizures"]
        if event.seconds is not None:
            summary |= {"job/seconds": event.seconds, "job/peak_memory_mb": event.peak_memory_mb}
            if event.device_memory_mb is not None:
                summary["job/device_memory_mb"] = event.device_memory_mb
            if event.device_percent is not None:
                summary["job/device_percent"] = event.device_percent
            summary |= {
                f"job/{name}_per_second": count / event.seconds
                for name, count in event.measured.items()
                if event.seconds
            }
        tags = (row["sign"], row["stream"], row["model"])
        return {"config": config, "history": _curves(folder / HISTORY), "summary": summary, "tags": tags}

    def _tell(self, veil: Veil, name: str, facts: Mapping[str, Any]) -> None:
        """Log with TensorBoard and MLflow; as with wandb, their faults are a line, once, and the run goes on."""
        try:
            if self.run.stand_in:
                facts = {**facts, "config": {**facts["config"], "cohort": STAND_IN}}
            self.loggers.job(veil.text(name), **veil.value(facts))
        except Exception as error:
            if not self.failed:
                print(f"loggers: {type(error).__name__}: {error} (the run goes on without them)", file=sys.stderr)
            self.failed = True

    def summary(self, table: Table, report: str | None = None) -> None:
        """Log the table, every seizure's predictions, each fold's scores, the confusion matrices and the report.

        Args:
            table: of all that the run's folder holds.
            report: one HTML page that may leave the machine.
        """
        trained = [row for row in table.rows if row.seeds and not row.baseline]
        figures = {
            "/".join((*row.key, name)): row.scores[name].mean
            for row in trained
            for name in _FIGURES
            if row.scores[name].defined
        }
        config = {"run_id": self.run.run_id, "preset": self.run.setup.preset, "sweep": self.prefix.rstrip("/")}
        tags = tuple(dict.fromkeys(word for row in trained for word in row.key))
        if self.veil is not None:
            self._tell(self.veil, f"{self.prefix}summary", {"config": config, "summary": figures, "tags": tags})
        if self.tracker.mode == "off":
            return
        predictions = read_predictions(self.run.folder / PREDICTIONS)
        folds = per_fold(predictions)
        for name in _FIGURES:
            folds[name] = pd.to_numeric(folds[name], errors="coerce")  # what is undefined is blank, as everywhere
        self.tracker.summary(
            {
                "results": flat_rows(table),
                "predictions": _records(predictions),
                "folds": _records(folds),
                "confusion": confusion_records(table),
            },
            figures=figures,
            config=config,
            tags=tags,
            report=report,
        )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame; what is blank is None."""
    return [
        {str(name): None if pd.isna(cell) or cell == "" else cell for name, cell in row.items()}
        for row in frame.to_dict("records")
    ]


def _curves(path: Path) -> list[dict[str, float]]:
    """The rows of a history file, without what a row does not have."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
