"""Folds trained stacked, one after the other, and one alone: `python -m bench.stacking`, a table and bench-stacking.json.

Each row is one model on the stand-in cohort with a preset's settings and a few epochs, Trainer and data included, on the CPU or on
a GPU where there is one. In every turn one fold, all folds one after the other and all folds stacked are trained in this process;
the ratios of each turn count, of the processor's time on a CPU, of the clock's on a GPU. How many operators torch dispatches a
step, views aside, is counted as well: where networks are too small to fill a device, its time goes by that number.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode

from bench.machine import machine
from seizurelit.cache.store import Cache
from seizurelit.cli import PRESETS
from seizurelit.cohort.plan import Fold, loso_plan
from seizurelit.config import Training, with_overrides
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize
from seizurelit.training.fit import fit
from seizurelit.training.stacked import fit_stacked

MODELS = ("agcn", "tcn")
RATIOS = {"stacked/one": ("stacked", "one"), "each/one": ("each", "one"), "each/stacked": ("each", "stacked")}


def ways(
    model: str, store: SeizureStore, folds: Sequence[Fold], training: Training, device: str
) -> dict[str, Callable[[], object]]:
    """One fold alone, all folds one after the other, all folds stacked; each makes its data anew from the store, as a job does.

    A fitting leaves its fold's store on its device: folds that had been fitted alone before would no longer share one.
    """

    def data(seed: int) -> FoldDataModule:
        return FoldDataModule(store, folds[seed], training, seed=seed)

    def alone(seed: int) -> object:
        return fit(model, data(seed), training, seed=seed, device=device, history=None)

    seeds = range(len(folds))
    return {
        "one": lambda: alone(0),
        "each": lambda: [alone(seed) for seed in seeds],
        "stacked": lambda: fit_stacked(model, [data(seed) for seed in seeds], training, seeds=seeds, device=device),
    }


class _Operators(TorchDispatchMode):
    """Counts what torch dispatches, but for views."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def operators(model: str, store: SeizureStore, folds: Sequence[Fold], training: Training) -> dict[str, float]:
    """Operators a step of one fold alone and of all stacked, on a CPU: those of three epochs less those of one."""
    counts: dict[str, list[int]] = {"one": [], "stacked": []}
    for epochs in (1, 3):
        longer = with_overrides(training, {"optimiser.epochs": epochs})
        works = ways(model, store, folds, longer, "cpu")
        for name, found in counts.items():
            with _Operators() as counted:
                works[name]()
            found.append(counted.count)
    per_epoch = [FoldDataModule(store, fold, training, seed=0).steps_per_epoch for fold in folds]
    steps = {"one": per_epoch[0], "stacked": max(per_epoch)}
    return {name: (found[1] - found[0]) / (2 * steps[name]) for name, found in counts.items()}


def timed(work: Callable[[], object]) -> float:
    """Seconds: of this process's threads on a CPU, which other work does not lengthen as much; of the clock with a GPU."""
    gpu = torch.cuda.is_available()
    clock = time.perf_counter if gpu else time.process_time
    start = clock()
    work()
    if gpu:
        torch.cuda.synchronize()
    return clock() - start


def measure(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float | list[float]]:
    """Median seconds of each way; of each ratio the median and the range over the turns."""
    for name in ("one", "stacked"):  # warm up
        timed(works[name])
    turns = [{name: timed(work) for name, work in works.items()} for _ in range(rounds)]
    found: dict[str, float | list[float]] = {name: statistics.median(turn[name] for turn in turns) for name in works}
    for name, (above, below) in RATIOS.items():
        ratios = sorted(turn[above] / turn[below] for turn in turns)
        found[name] = [statistics.median(ratios), ratios[0], ratios[-1]]
    return found


def main() -> None:
    """Measure, print, write bench-stacking.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="fast", help="paper is for a GPU")
    parser.add_argument("--folds", type=int, default=19)
    parser.add_argument(
        "--epochs", type=int, default=3, help="on a GPU take more, as a run does: graphs are captured first"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    device = "gpu" if torch.cuda.is_available() else "cpu"
    settings = {name: value for name, value in PRESETS[options.preset].items() if name != "seeds"}
    training = with_overrides(Training(), {**settings, "optimiser.epochs": options.epochs})
    training = replace(training, threads=options.threads, stack=0)
    described = machine()
    table = Table(
        title=f"{described}, {options.threads} thread(s), {options.folds} folds, preset {options.preset}, "
        f"{options.epochs} epochs, {options.rounds} turns"
    )
    for heading in ("model", "one s", "each s", "stacked s", *RATIOS, "operators one", "stacked"):
        table.add_column(heading)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        synthesize(StandIn(), Path(folder) / "cache")
        cache = Cache.open(Path(folder) / "cache")
        cohort = cache.cohort()
        sign = cohort.sign("dystonia")
        plan = loso_plan(cohort, sign)
        for model in MODELS:
            store = load_store(cache, cohort, sign, "pose", keypoints=model == "agcn", appearance=model == "tcn")
            folds = plan.folds[: options.folds]
            row = measure(ways(model, store, folds, training, device), options.rounds)
            count = operators(model, store, folds, training)
            rows.append({"model": model, **row, "operators": count})
            cells = [f"{row[name]:.2f}" for name in ("one", "each", "stacked")]
            spans = [row[name] for name in RATIOS]
            cells += [f"{span[0]:.2f} ({span[1]:.2f}–{span[2]:.2f})" for span in spans if isinstance(span, list)]
            table.add_row(model, *cells, f"{count['one']:.0f}", f"{count['stacked']:.0f}")
    Console(width=150).print(table)
    content = {"machine": described, "device": device, **vars(options), "rows": rows}
    Path("bench-stacking.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
