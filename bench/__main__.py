"""What a training costs, as ratios measured by turns on the stand-in cohort: `make bench`, one table and bench.json.

Each row compares two ways of doing the same work, A and B, in turns A B A B … in this process with one thread; the ratio B/A of
each turn is what counts, as single times on a shared machine do not.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.coverage import SCORES, SUBJECTS, cohort
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


def turns(a: Callable[[], object], b: Callable[[], object]) -> dict[str, float]:
    """Median milliseconds of A and of B, and the median and range of B/A over the turns."""
    seconds: list[tuple[float, float]] = []
    for _ in range(ROUNDS + 1):
        pair = []
        for work in (a, b):
            start = time.perf_counter()
            work()
            pair.append(time.perf_counter() - start)
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


def stepper(data: FoldDataModule, training: Training, model: str) -> Callable[[], object]:
    """A training step of a model on one ready batch."""
    torch.manual_seed(0)
    module = SeizureClassifier(
        build_network(model, training, data), training.optimiser, steps=100, classes=data.classes
    )
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
        module = SeizureClassifier(
            build_network(model, training, data), training.optimiser, steps=100, classes=data.classes
        )
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


def main() -> None:
    """Measure, print, write bench.json."""
    torch.set_num_threads(1)
    fast = {name: value for name, value in PRESETS["fast"].items() if name != "seeds"}
    training = with_overrides(Training(), {**fast, "optimiser.epochs": 3})
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = synthesize(StandIn(), Path(folder) / "cache")
        people = cache.cohort()
        sign = people.sign("dystonia")
        store = load_store(cache, people, sign, "pose", keypoints=True, appearance=True)
        fold = loso_plan(people, sign).folds[0]

        def data(settings: Training) -> FoldDataModule:
            return FoldDataModule(store, fold, settings, seed=0)

        small, fixed = training, with_overrides(training, {"agcn.adaptive": False})
        ten = with_overrides(training, {"agcn.variant": "ten_block"})
        rows["training step: AGCN fixed graph → adaptive (small)"] = turns(
            stepper(data(fixed), fixed, "agcn"), stepper(data(small), small, "agcn")
        )
        rows["training step: AGCN small → ten-block"] = turns(
            stepper(data(small), small, "agcn"), stepper(data(ten), ten, "agcn")
        )
        rows["training step: TCN → AGCN small"] = turns(
            stepper(data(small), small, "tcn"), stepper(data(small), small, "agcn")
        )
        rows["an epoch of batches: plain → every augmentation"] = turns(
            consume(
                lambda: data(
                    replace(
                        small, augmentation=replace(small.augmentation, flip=0, rotation=0, scale=0, joint_dropout=0)
                    )
                ).training_batches(0)
            ),
            consume(
                lambda: data(
                    replace(small, augmentation=replace(small.augmentation, speed=0.1, noise=0.01))
                ).training_batches(0)
            ),
        )
        rows["3 epochs of the small AGCN: bare loop → Trainer"] = turns(
            bare_epoch(data(small), small, "agcn"),
            lambda: fit("agcn", data(small), small, seed=0, device="cpu", history=None),
        )
    table = Table(
        title=f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, {ROUNDS} turns"
    )
    for heading in ("A → B", "A ms", "B ms", "B/A", "range"):
        table.add_column(heading, justify="left" if heading == "A → B" else "right")
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row['a_ms']:.1f}",
            f"{row['b_ms']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['lowest']:.2f}–{row['highest']:.2f}",
        )
    Console().print(table)
    timed = statistics_of_a_table()
    beside = Table(title=f"statistics of a table, one thread, {ROUNDS} turns")
    for heading in ("", "median s", "range", "at most"):
        beside.add_column(heading, justify="right" if heading else "left")
    for name, (seconds, limit) in timed.items():
        beside.add_row(name, f"{statistics.median(seconds):.2f}", f"{seconds[0]:.2f}–{seconds[-1]:.2f}", f"{limit:g}")
    Console().print(beside)
    written = {name: {"seconds": seconds, "limit": limit} for name, (seconds, limit) in timed.items()}
    Path("bench.json").write_text(
        json.dumps({"torch": torch.__version__, "rows": rows, "statistics": written}, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
