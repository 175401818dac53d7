"""The whole of Table 1 against the loop that people write: `python -m bench.table1`, a table and bench-table1.json.

The same trainings three ways, by turns, each in processes of its own, from the start of Python to the last score:

- ours: the package's jobs, a process a core, one thread each, with all they write (weights, curves, scores, ledger);
- a bare loop: networks from the papers' equations (bench/reference.py), one process that uses all cores as threads, float32, a
  dataset that prepares one window after another, of keypoints or of appearance as the model needs, torch's DataLoader; it writes
  nothing;
- that loop in our processes and threads.

All see the same seizures, windows of the same size, as many steps and the same scored windows. The bare loop's dataset calls the
package's own preparation for one window at a time. By default some folds of all twelve rows are trained, whose ratio is printed;
`--all` trains every fold.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from bench.machine import machine
from bench.reference import ReferenceAgcn, ReferenceTcn
from seizurelit.cache.store import Cache
from seizurelit.cli import PRESETS
from seizurelit.cohort.plan import loso_plan
from seizurelit.config import MODELS, OWN_SIGN, STREAMS, Training, with_overrides
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.loso.options import PRELOAD
from seizurelit.scheduling.executors import start_ahead
from seizurelit.scheduling.options import Schedule
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize

WAYS = ("ours", "bare loop", "bare loop, our processes")


def preset(epochs: int | None) -> Training:
    """The fast preset; fewer epochs for a test."""
    fast = {name: value for name, value in PRESETS["fast"].items() if name != "seeds"}
    return with_overrides(Training(), fast | ({} if epochs is None else {"optimiser.epochs": epochs}))


class Windows(IterableDataset[tuple[Tensor, ...]]):
    """An epoch's training windows, one by one: what the store has of keypoints (C, T, V) and appearance (D, T'), label, weight."""

    def __init__(self, data: FoldDataModule) -> None:
        self.data = data
        self.epoch = 0

    def __len__(self) -> int:
        return self.data.steps_per_epoch

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for numbers in self.data.numbers(self.epoch):
            batch = self.data.training_batch(numbers)
            inputs = [x[0, 0] for x in (batch.keypoints, batch.appearance) if x is not None]
            yield *inputs, batch.label[0], batch.weight[0]
        self.epoch += 1


def reference(model: str, data: FoldDataModule, training: Training) -> nn.Module:
    """The plain network of a model."""
    if model == "tcn":
        tcn = training.tcn
        sizes = {"channels": tcn.channels, "levels": tcn.levels, "kernel": tcn.kernel, "dropout": tcn.dropout}
        return ReferenceTcn(data.appearance_channels, data.classes, **sizes)
    graph = torch.from_numpy(data.skeleton.adjacency())
    return ReferenceAgcn(graph, data.keypoint_channels, data.classes, variant=training.agcn.variant)


def bare_training(
    model: str, store: SeizureStore, fold: str, training: Training, teacher: nn.Module | None
) -> tuple[nn.Module, dict[str, list[float]]]:
    """Fit a plain network as a script would, and score the held-out seizures; the network is in evaluation mode then."""
    cohort_fold = next(one for one in training_folds(store) if one.name == fold)
    one_by_one = FoldDataModule(store, cohort_fold, with_overrides(training, {"optimiser.batch": 1}), seed=0)
    windows = Windows(one_by_one)
    loader = DataLoader(windows, batch_size=training.optimiser.batch)
    network = reference(model, one_by_one, training)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    choice = training.optimiser
    groups = [{"params": decayed, "weight_decay": choice.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=choice.lr)
    steps = choice.epochs * math.ceil(len(windows) / choice.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    network.train()
    for _ in range(choice.epochs):
        for *inputs, label, weight in loader:
            keypoints, appearance = inputs[0], inputs[-1]
            optimiser.zero_grad()
            logits = network(appearance if model == "tcn" else keypoints)
            loss = (nn.functional.cross_entropy(logits, label, reduction="none") * weight).mean()
            if model == "agcn_kd" and teacher is not None:
                settings = training.distillation
                with torch.no_grad():
                    taught = torch.log_softmax(teacher(appearance) / settings.temperature, -1)
                own = torch.log_softmax(logits / settings.temperature, -1)
                soft = (nn.functional.kl_div(own, taught, reduction="none", log_target=True).sum(-1) * weight).mean()
                loss = (1 - settings.alpha) * loss + settings.alpha * settings.temperature**2 * soft
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    scores: dict[str, list[float]] = {}
    with torch.no_grad():
        for batch in one_by_one.held_out_batches():
            x = batch.appearance if model == "tcn" else batch.keypoints
            assert x is not None
            for row, index in enumerate(batch.seizure.tolist()):
                logits = network(x[row][batch.window_mask[row]])
                scores[store.seizures[index]] = logits.mean(0).softmax(-1).tolist()
    return network, scores


def training_folds(store: SeizureStore) -> tuple:  # type: ignore[type-arg]
    """The folds of a store's sign."""
    people = _PEOPLE[0]
    return loso_plan(people, people.sign(store.sign)).folds


_PEOPLE: list = []  # type: ignore[type-arg] # the cohort of this process


def needed(cache: Cache, sign: str, stream: str) -> dict[str, SeizureStore]:
    """Model → the tensors that it sees."""
    chosen = _PEOPLE[0].sign(sign)
    return {
        model: load_store(cache, _PEOPLE[0], chosen, stream, keypoints=model != "tcn", appearance=model != "agcn")
        for model in MODELS
    }


def bare_rows(cache_folder: Path, folds: list[str], epochs: int | None, part: tuple[int, int]) -> int:
    """A part of the rows for some folds, one after another; how many trainings that were."""
    cache, training, count = Cache.open(cache_folder), preset(epochs), 0
    _PEOPLE[:] = [cache.cohort()]
    pairs = [(sign, stream, fold) for sign in OWN_SIGN.values() for stream in STREAMS for fold in folds]
    stores: dict[tuple[str, str], dict[str, SeizureStore]] = {}
    for sign, stream, fold in pairs[part[0] :: part[1]]:
        if (sign, stream) not in stores:
            stores[sign, stream] = needed(cache, sign, stream)
        trained: dict[str, nn.Module] = {}
        for model, store in stores[sign, stream].items():
            trained[model], _ = bare_training(model, store, fold, training, trained.get("tcn"))
            count += 1
    return count


def our_rows(cache_folder: Path, folds: list[str], epochs: int | None, workers: int) -> int:
    """The same by the package's jobs, without the table; how many trainings that were."""
    start_ahead(Schedule(workers=workers), PRELOAD, 1)  # as the doors do
    from seizurelit.loso.experiment import Setup, open_run
    from seizurelit.loso.jobs import Request, jobs_of, possible_rows
    from seizurelit.scheduling.pool import Pool
    from seizurelit.scheduling.run import run_jobs

    training = preset(epochs)
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(cache_folder, None, None, 0, training, "fast", "cpu")
        signs = tuple(OWN_SIGN.values())
        rows, _ = possible_rows(Cache.open(cache_folder), training, signs, STREAMS, MODELS)
        run = open_run(setup, Path(folder) / "run", signs)
        jobs = jobs_of(run, Request(rows, 1, tuple(folds)))
        outcome = run_jobs(jobs, run.folder, executor=Pool(workers, threads=1, preload=PRELOAD))
        if outcome.failed or outcome.blocked:
            msg = f"{outcome.failed or outcome.blocked}"
            raise SystemExit(msg)
        return len(jobs)


def timed(way: str, cache: Path, folds: list[str], epochs: int | None) -> float:
    """Seconds of one way by the clock, from the start of its processes."""
    cores = len(os.sched_getaffinity(0))
    parts = range(cores if way == WAYS[2] else 1)
    threads = cores if way == WAYS[1] else 1
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    running = []
    for part in parts:
        command = [sys.executable, "-m", "bench.table1", "--cache", str(cache), "--way", way, "--folds", *folds]
        command += ["--part", f"{part}/{len(parts)}"]
        command += [] if epochs is None else ["--epochs", str(epochs)]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    if any(process.wait() for process in running):
        msg = f"{way} failed"
        raise SystemExit(msg)
    return time.perf_counter() - start


def compare(folds: int | None, rounds: int, epochs: int | None) -> dict[str, Any]:
    """Seconds of every way, turn by turn, and the ratios to ours.

    Args:
        folds: how many, spread over the cohort; None takes all.
        rounds: turns.
        epochs: instead of the preset's.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = synthesize(StandIn(), Path(folder) / "cache")
        names = [fold.name for fold in loso_plan(cache.cohort(), cache.cohort().sign("dystonia")).folds]
        chosen = names if folds is None else names[:: max(1, len(names) // folds)][:folds]
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                times[way].append(timed(way, cache.root, chosen, epochs))
    rows = []
    for way, found in times.items():
        ratios = [other / own for own, other in zip(times[WAYS[0]], found, strict=True)]
        rows.append(
            {
                "way": way,
                "trainings": 12 * len(chosen),
                "seconds": statistics.median(found),
                "ratio": statistics.median(ratios),
                "ratios": sorted(ratios),
            }
        )
    return {"machine": machine(), "folds": chosen, "rows": rows}


def render(found: dict[str, Any]) -> Table:
    """A row a way."""
    rows, folds = found["rows"], len(found["folds"])
    table = Table(title=f"Table 1, preset fast, {rows[0]['trainings']} trainings ({folds} of the folds)")
    for heading in ("", "seconds", "to ours", "range"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        span = f"{row['ratios'][0]:.2f}–{row['ratios'][-1]:.2f}"
        table.add_row(row["way"], f"{row['seconds']:.1f}", f"{row['ratio']:.2f}", span)
    return table


def by_job(epochs: int | None) -> None:
    """A job of each model against the bare loop's, one after the other in this process, one thread, in the processor's time.

    What a loaded machine can still compare; no process is started in it, so that imports and their sharing are left out.
    """
    from seizurelit.loso.experiment import Setup, open_run
    from seizurelit.loso.job import train_fold

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        training, cache = preset(epochs), synthesize(StandIn(), Path(folder) / "cache")
        _PEOPLE[:] = [cache.cohort()]
        sign, stream, fold = "dystonia", "pose", "sub-04"
        run = open_run(Setup(cache.root, None, None, 0, training, "fast", "cpu"), Path(folder) / "run", (sign,))
        trained: dict[str, nn.Module] = {}
        for model, store in needed(cache, sign, stream).items():
            place = run.folder / "jobs" / sign / stream / model / "seed-0" / fold
            place.mkdir(parents=True)
            start = time.process_time()
            train_fold(place, run_dir=str(run.folder), sign=sign, stream=stream, model=model, seed=0, fold=fold)
            middle = time.process_time()
            trained[model], _ = bare_training(model, store, fold, training, trained.get("tcn"))
            end = time.process_time()
            ratio = (end - middle) / (middle - start)
            print(f"{model:8} ours {middle - start:.2f} s, bare loop {end - middle:.2f} s, {ratio:.2f}", flush=True)


def main() -> None:
    """Compare, print, write; or, as one of the processes that are timed, do the trainings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every fold")
    parser.add_argument("--sample", type=int, default=1, help="folds, where not all are trained")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    parser.add_argument("--by-job", action="store_true", help="one job of each model in this process, one thread")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folds", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--part", default="0/1", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.by_job:
        by_job(options.epochs)
    elif options.way is None:
        found = compare(None if options.all else options.sample, options.rounds, options.epochs)
        Console().print(found["machine"])
        Console().print(render(found))
        Path("bench-table1.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    elif options.way == WAYS[0]:
        our_rows(options.cache, options.folds, options.epochs, len(os.sched_getaffinity(0)))
    else:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        place, parts = map(int, options.part.split("/"))
        bare_rows(options.cache, options.folds, options.epochs, (place, parts))


if __name__ == "__main__":
    main()
