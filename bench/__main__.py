"""Speed and memory, as ratios measured by turns: `make bench`, one table and bench.json.

Most rows compare two ways of doing the same work, A and B, in turns A B A B …; the ratio B/A of each turn is what counts, as single
times on a shared machine do not. Work of one thread is timed by the processor's clock, that of a GPU by the clock. Networks, Table
1, memory and extraction are measured by their own modules in processes of their own (`python -m bench.networks` and so on).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench import startup
from bench.coverage import SCORES, SUBJECTS, cohort
from bench.machine import machine
from bench.networks import timed
from seizurelit.cli import PRESETS
from seizurelit.cohort.plan import loso_plan
from seizurelit.config import Training, with_overrides
from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.data.store import load_store
from seizurelit.evaluation.statistics.contrasts import sign_flip
from seizurelit.evaluation.statistics.intervals import intervals
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize
from seizurelit.training.fit import fit
from seizurelit.training.modules import SeizureClassifier
from seizurelit.training.networks import build_network

ROUNDS = 7
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Row:
    """A line of the table: two ways of the same work, or one number (then B and the ratio are None).

    Attributes:
        part: what kind of work.
        what: the two ways.
        a: of the first.
        b: of the second.
        unit: of both.
        ratio: median of B/A over the turns.
        low: smallest.
        high: largest.
    """

    part: str
    what: str
    a: float
    b: float | None
    unit: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None

    def cells(self) -> list[str]:
        """As the table prints them."""
        numbers = ["" if value is None else f"{value:.4g}" for value in (self.a, self.b)]
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        span = "" if self.low is None or self.high is None else f"{self.low:.2f}–{self.high:.2f}"
        return [self.part, self.what, *numbers, self.unit, ratio, span]


def turns(a: Callable[[], object], b: Callable[[], object]) -> dict[str, float]:
    """Median milliseconds of A and of B, and the median and range of B/A over the turns."""
    seconds: list[tuple[float, float]] = []
    for _ in range(ROUNDS + 1):
        pair = []
        for work in (a, b):
            pair.append(timed(work, 1, DEVICE))
        seconds.append((pair[0], pair[1]))
    kept = seconds[1:]  # the first turn warms up
    ratios = sorted(other / one for one, other in kept)
    return {
        "a_ms": statistics.median(one for one, _ in kept) * 1e3,
        "b_ms": statistics.median(other for _, other in kept) * 1e3,
        "ratio": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
    }


def untrained(data: FoldDataModule, training: Training, model: str) -> SeizureClassifier:
    """A model on the device, before its first step."""
    network = build_network(model, training, data)
    return SeizureClassifier(network, training.optimiser, steps=100, classes=data.classes).to(DEVICE)


def stepper(data: FoldDataModule, training: Training, model: str) -> Callable[[], object]:
    """A training step of a model on one ready batch."""
    torch.manual_seed(0)
    module = untrained(data, training, model)
    optimiser = torch.optim.AdamW(module.network.parameters(), lr=1e-3, fused=True)
    batch = next(data.training_batches(0))

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        module.loss(batch, module(batch)).backward()
        optimiser.step()

    return step


def bare_epoch(data: FoldDataModule, training: Training, model: str) -> Callable[[], object]:
    """The epochs of a training as a plain loop, without Lightning and without metrics."""

    def loop() -> None:
        torch.manual_seed(0)
        module = untrained(data, training, model)
        optimiser = torch.optim.AdamW(module.network.parameters(), lr=1e-3, fused=True)
        module.train()
        for epoch in range(training.optimiser.epochs):
            for batch in data.training_batches(epoch):
                optimiser.zero_grad(set_to_none=True)
                module.loss(batch, module(batch)).backward()
                optimiser.step()

    return loop


def consume(batches: Callable[[], object]) -> Callable[[], object]:
    """Make the batches and drop them."""

    def work() -> int:
        made: list[Batch] = list(batches())  # type: ignore[call-overload]
        return len(made)

    return work


def statistics_of_a_table() -> dict[str, tuple[list[float], float]]:
    """What the table's statistics take: seconds a turn, and the most that they may take.

    10,000 resamples of 8 rows of the paper's size (19 subjects, 38 seizures, five seeds), with the scores that are printed; and all
    swaps of two rows that differ on every subject.
    """
    rows = cohort(np.random.default_rng(0), SUBJECTS, signal=0.8, exact=True, seeds=5, models=8)
    opposite = replace(rows[0], predictions=1 - rows[0].predictions)

    def resample() -> None:
        for row in rows:
            intervals(row, SCORES, resamples=10_000)

    def swap() -> None:
        assert sign_flip(rows[0], opposite, "f1").differing == SUBJECTS

    limits = {
        "10,000 resamples of 38 seizures × 8 rows, F1, accuracy, balanced accuracy and AUROC": (resample, 10.0),
        "all swaps of 19 subjects, F1": (swap, 5.0),
    }
    found: dict[str, tuple[list[float], float]] = {}
    for name, (work, limit) in limits.items():
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        found[name] = sorted(seconds), limit
    return found


def training_rows() -> list[Row]:
    """Steps, batches and the Trainer, by turns."""
    fast = {name: value for name, value in PRESETS["fast"].items() if name != "seeds"}
    training = with_overrides(Training(), {**fast, "optimiser.epochs": 3})
    with tempfile.TemporaryDirectory() as folder:
        cache = synthesize(StandIn(), Path(folder) / "cache")
        people = cache.cohort()
        sign = people.sign("dystonia")
        store = load_store(cache, people, sign, "pose", keypoints=True, appearance=True).to(torch.device(DEVICE))
        fold = loso_plan(people, sign).folds[0]

        def data(settings: Training) -> FoldDataModule:
            return FoldDataModule(store, fold, settings, seed=0)

        small, fixed = training, with_overrides(training, {"agcn.adaptive": False})
        ten = with_overrides(training, {"agcn.variant": "ten_block"})
        one_by_one = with_overrides(training, {"optimiser.batch": 1})
        plain = replace(small.augmentation, flip=0, rotation=0, scale=0, joint_dropout=0)
        every = replace(small.augmentation, speed=0.1, noise=0.01)

        def batches(settings: Training) -> Callable[[], object]:
            return consume(lambda: data(settings).training_batches(0))

        def windows() -> Iterator[Batch]:
            alone = data(one_by_one)
            return map(alone.training_batch, alone.numbers(0))

        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "a step: AGCN fixed graph → adaptive (small)": (
                stepper(data(fixed), fixed, "agcn"),
                stepper(data(small), small, "agcn"),
            ),
            "a step: AGCN small → ten-block": (stepper(data(small), small, "agcn"), stepper(data(ten), ten, "agcn")),
            "a step: TCN → AGCN small": (stepper(data(small), small, "tcn"), stepper(data(small), small, "agcn")),
            "data alone, an epoch: plain → every augmentation": (
                batches(replace(small, augmentation=plain)),
                batches(replace(small, augmentation=every)),
            ),
            "data alone, an epoch: batches whole → window by window": (batches(small), consume(windows)),
            "3 epochs of the small AGCN: bare loop → Trainer": (
                bare_epoch(data(small), small, "agcn"),
                lambda: fit("agcn", data(small), small, seed=0, device=DEVICE.replace("cuda", "gpu"), history=None),
            ),
        }
        rows = []
        for name, (a, b) in pairs.items():
            found = turns(a, b)
            rows.append(Row("training", name, found["a_ms"], found["b_ms"], "ms", *_ratio(found)))
        return rows


def _ratio(found: dict[str, float], suffix: str = "") -> tuple[float, float, float]:
    return found[f"ratio{suffix}"], found[f"lowest{suffix}"], found[f"highest{suffix}"]


AGAINST = {"fp32": "reference in fp32", "captured": "reference as a CUDA graph", "eager": "ours without a CUDA graph"}


def network_rows(found: dict[str, Any]) -> list[Row]:
    """Ours → reference; in bf16 also ours → the reference in float32, on a GPU what the CUDA graph is worth."""
    rows = []
    for row in found["rows"]:
        what = f"{row['network']} {row['mode']} {row['precision']}, batch {row['batch']}, T={row['frames']}"
        what += "" if row["network"] == "tcn" else f", V={row['joints']}"
        rows.append(
            Row("networks", f"{what}: ours → reference", row["ours_ms"], row["reference_ms"], "ms", *_ratio(row))
        )
        for name, other in AGAINST.items():
            if f"ratio_{name}" in row:
                against, took = f"{what}: ours → {other}", row[f"{name}_ms"]
                rows.append(Row("networks", against, row["ours_ms"], took, "ms", *_ratio(row, f"_{name}")))
    return rows


def table_rows(found: dict[str, Any]) -> list[Row]:
    """Ours → each bare loop, by the clock."""
    ours, *others = found["rows"]
    rows = []
    for other in others:
        what, ratios = f"{ours['trainings']} trainings: ours → {other['way']}", other["ratios"]
        taken = ours["seconds"], other["seconds"]
        rows.append(Row("Table 1", what, *taken, "s", other["ratio"], ratios[0], ratios[-1]))
    return rows


def memory_rows(found: dict[str, Any]) -> list[Row]:
    """Mapped → each for itself."""
    return [
        Row(
            "memory",
            f"{row['workers']} workers: mapped → each reads for itself",
            row["mapped_mib"],
            row["each_mib"],
            "MiB",
            row["each_mib"] / row["mapped_mib"],
        )
        for row in found["rows"]
    ]


def extraction_rows(found: dict[str, Any]) -> list[Row]:
    """A stage a row, in milliseconds a frame; A stands alone."""
    stages = found["cpu_ms"] | {f"features, {name}": taken for name, taken in found["appearance_cpu_ms"].items()}
    rows = [Row("extraction", f"{name}, a frame", taken, None, "ms") for name, taken in stages.items()]
    rate = found["two_workers_fps"]["cpu"]
    return [*rows, Row("extraction", "two workers, by the processor's time", rate, None, "frames/s")]


PARTS: dict[str, Callable[[dict[str, Any]], list[Row]]] = {
    "networks": network_rows,
    "table1": table_rows,
    "memory": memory_rows,
    "extraction": extraction_rows,
}
"""Benchmarks with processes of their own, and what their JSON says."""


def parts(*, every: bool) -> list[Row]:
    """Run each and read its rows; one that cannot run says why, and is left out."""
    more = {"networks": ["--rounds", "3"], "table1": []}
    rows = []
    for name, read in PARTS.items():
        arguments = more.get(name, []) + (["--all"] if every and name in more else [])
        done = subprocess.run([sys.executable, "-m", f"bench.{name}", *arguments], check=False)
        if done.returncode == 0:
            rows += read(json.loads(Path(f"bench-{name}.json").read_text(encoding="utf-8")))
    return rows


def main() -> None:
    """Measure, print, write bench.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every shape of the networks, every fold of Table 1: hours")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = training_rows() + [Row("start", what, taken, None, "s") for what, taken, _ in startup.measure(3)]
    rows += parts(every=options.all)
    for name, (seconds, limit) in statistics_of_a_table().items():
        what = f"{name} (at most {limit:g})"
        rows.append(Row("statistics", what, statistics.median(seconds), None, "s", None, seconds[0], seconds[-1]))
    described = machine()
    table = Table(title=f"{described}; load {os.getloadavg()[0]:.1f}")
    for heading in ("", "A → B", "A", "B", "unit", "B/A", "range"):
        table.add_column(heading, justify="left" if heading in ("", "A → B") else "right")
    for row in rows:
        table.add_row(*row.cells())
    Console(width=150).print(table)
    found = {"machine": described, "rows": [vars(row) for row in rows]}
    Path("bench.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
