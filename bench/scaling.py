"""How a run grows with its cohort: `python -m bench.scaling`, a table, bench-scaling.json and a figure.

One small AGCN of pose, 20 training steps a fold, leaving one subject out of 10, 19, 50, 100 and 400 subjects of the stand-in
cohort, by two workers of one thread. Each run is a process of its own, so that its memory is its own; what the folds take is in its
ledger.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import machine
from bench.small import door
from seizurelit.loso.experiment import load_run
from seizurelit.loso.pooling import PREDICTIONS
from seizurelit.scheduling.ledger import Ledger

SUBJECTS = (10, 19, 50, 100, 400)
STEPS, BATCH = 20, 8


def measure(subjects: int, folder: Path) -> dict[str, Any]:
    """One cohort, one run."""
    cache, run = folder / f"cache-{subjects}", folder / f"run-{subjects}"
    door("synthesize", "--cache", str(cache), "--subjects", str(subjects), "--appearance_dim", "8")
    size = sum(path.stat().st_size for path in cache.glob("*.pose.safetensors")) / 2**20
    seizures = len(list(cache.glob("*.pose.safetensors")))
    an_epoch = math.ceil((seizures - 2) / BATCH)
    epochs = math.ceil(STEPS / an_epoch)
    settings = ("--optimiser.epochs", str(epochs), "--optimiser.batch", str(BATCH))
    limit = ("--trainer.limit_train_batches", str(math.ceil(STEPS / epochs)))
    start = time.perf_counter()
    door(
        *("fit", "--stream", "pose", "--model", "agcn", "--preset", "fast", "--wandb", "off", "--workers", "2"),
        *("--cache", str(cache), "--out", str(run), *settings, *limit),
    )
    seconds = time.perf_counter() - start
    records = list(Ledger(run).records().values())
    folds = [record.seconds for record in records if record.seconds is not None]
    return {
        "subjects": subjects,
        "seizures": seizures,
        "pose_mib": size,
        "wall_s": seconds,
        "folds": len(load_run(run).plan("dystonia").folds),
        "fold_s": statistics.median(folds),
        "folds_s": sum(folds),
        "steps_a_fold": statistics.median(record.measured["training_steps"] for record in records),
        "worker_mib": max(record.peak_memory_mb or 0.0 for record in records),
        "predictions_kib": (run / PREDICTIONS).stat().st_size / 1024,
    }


def parent_mib() -> float:
    """Largest resident memory of the processes that have ended, of which a run's parent is the largest."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Wall time, a fold's time and a worker's memory over subjects."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "seizurelit", "font.size": 9})
    import matplotlib.pyplot as plt

    x = [row["subjects"] for row in rows]
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
    panels = (
        ("wall_s", "whole run (s)", True),
        ("fold_s", "one fold, median (s)", False),
        ("worker_mib", "largest worker (MiB)", False),
    )
    for axis, (name, title, logarithmic) in zip(axes, panels, strict=True):
        y = [row[name] for row in rows]
        axis.plot(x, y, "o-", color="#2b6cb0")
        axis.set_xscale("log")
        axis.set_xticks(x, [str(value) for value in x], minor=False)
        axis.minorticks_off()
        if logarithmic:
            axis.set_yscale("log")
            axis.plot(x, [y[0] * value / x[0] for value in x], ":", color="#888888", label="proportional")
            axis.legend(frameon=False)
        else:
            axis.set_ylim(0, 1.25 * max(y))
        axis.set_xlabel("subjects")
        axis.set_title(title, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print, write bench-scaling.json, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, nargs="+", default=SUBJECTS)
    parser.add_argument("--figure", type=Path, default=Path("bench-scaling.svg"))
    options = parser.parse_args()
    described = machine()
    table = Table(title=f"{described}, 2 workers of one thread, small AGCN, {STEPS} steps a fold")
    for heading in (
        "subjects",
        "seizures",
        "pose MiB",
        "run s",
        "fold s",
        "folds/2 s",
        "rest s",
        "worker MiB",
        "door MiB",
    ):
        table.add_column(heading, justify="right")
    rows = []
    with tempfile.TemporaryDirectory(prefix="seizurelit-scaling-") as folder:
        for subjects in options.subjects:
            row = measure(subjects, Path(folder)) | {"door_mib": parent_mib()}
            rows.append(row)
            work = row["folds_s"] / 2
            cells = (f"{row[name]:.0f}" for name in ("subjects", "seizures", "pose_mib", "wall_s"))
            more = (f"{row['fold_s']:.2f}", f"{work:.0f}", f"{row['wall_s'] - work:.0f}")
            table.add_row(*cells, *more, f"{row['worker_mib']:.0f}", f"{row['door_mib']:.0f}")
            print(f"{subjects} subjects: {row['wall_s']:.0f} s", file=sys.stderr, flush=True)
    Console(width=130).print(table)
    text = json.dumps({"machine": described, "rows": rows}, indent=2) + "\n"
    Path("bench-scaling.json").write_text(text, encoding="utf-8")
    draw(rows, options.figure)


if __name__ == "__main__":
    main()
