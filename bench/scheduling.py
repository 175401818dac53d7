"""What the outer loop costs: `python -m bench.scheduling`, a table and bench-scheduling.json.

Two one-thread workers against one on the same trainings, and a Ray cluster on this machine against the pool on jobs of ten seconds,
by turns; planning and ledger of 10,000 jobs, in seconds. Wall time of whole runs: starting workers and their imports is in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import machine
from bench.small import QUICK_TRAINING
from seizurelit.cache.store import Cache
from seizurelit.config import Training, with_overrides
from seizurelit.loso.experiment import Run, Setup, open_run
from seizurelit.loso.jobs import Request, jobs_of, possible_rows
from seizurelit.loso.options import PRELOAD
from seizurelit.scheduling.jobs import Executor, Job, Report, Task
from seizurelit.scheduling.ledger import Ledger, seal
from seizurelit.scheduling.pool import Pool
from seizurelit.scheduling.progress import kind_of, time_left
from seizurelit.scheduling.ray_cluster import RayCluster
from seizurelit.scheduling.run import run_jobs
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize

JOBS = 10_000
SEEDS = 2


def products(folder: Path, times: int) -> dict[str, int]:
    """A job: so many products of two matrices."""
    del folder
    a = np.random.default_rng(0).standard_normal((400, 400))
    for _ in range(times):
        a = a @ a
        a /= np.abs(a).max()
    return {"times": times}


def run_seconds(jobs: Sequence[Job], folder: Path, executor: Executor) -> float:
    """Wall time of a run in a new folder."""
    start = time.perf_counter()
    outcome = run_jobs(jobs, folder, executor=executor)
    if not outcome.whole:
        sys.exit(f"a job failed: {outcome.failed}")
    return time.perf_counter() - start


def by_turns(a: Callable[[int], float], b: Callable[[int], float], rounds: int) -> dict[str, float]:
    """Median seconds of both, and a/b over the rounds."""
    pairs = [(a(number), b(number)) for number in range(rounds)]
    ratios = sorted(one / other for one, other in pairs)
    return {
        "a_s": statistics.median(one for one, _ in pairs),
        "b_s": statistics.median(other for _, other in pairs),
        "ratio": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
    }


def trainings(folder: Path, name: str, cache: Path, training: Training) -> tuple[Run, tuple[Job, ...]]:
    """A new run of one model over all folds, with some seeds: as many jobs as make the imports before them small."""
    rows, _ = possible_rows(Cache.open(cache), training, ("dystonia",), ("pose",), ("agcn",))
    setup = Setup(cache=cache, cohort=None, folds=None, split_seed=0, training=training, preset="fast", device="cpu")
    run = open_run(setup, folder / name, ("dystonia",))
    return run, jobs_of(run, Request(rows, SEEDS))


def pool_efficiency(folder: Path, rounds: int) -> dict[str, float]:
    """One worker's time over two workers'."""
    cache = folder / "cache"
    synthesize(StandIn(appearance_dim=8), cache)
    training = with_overrides(QUICK_TRAINING, {"windows.frames": 75, "windows.stride": 75, "optimiser.epochs": 25})

    def with_workers(count: int) -> Callable[[int], float]:
        def run(number: int) -> float:
            made, jobs = trainings(folder, f"pool-{count}-{number}", cache, training)
            return run_seconds(jobs, made.folder, Pool(count, preload=PRELOAD))

        return run

    return by_turns(with_workers(1), with_workers(2), rounds)


def ray_against_pool(folder: Path, rounds: int, count: int) -> dict[str, float]:
    """Ray's time over the pool's, two workers each, jobs of ten seconds."""
    start = time.perf_counter()
    products(folder, 200)
    times = round(200 * 10 / (time.perf_counter() - start))
    jobs = [Job(f"job-{number}", "bench.scheduling:products", {"times": times}) for number in range(count)]
    return by_turns(
        lambda number: run_seconds(jobs, folder / f"ray-{number}", RayCluster(workers=2)),
        lambda number: run_seconds(jobs, folder / f"local-{number}", Pool(2)),
        rounds,
    )


class _Idle:
    """An executor whose jobs take no time."""

    slots = 2

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def room(self, *, alone: bool = False) -> bool:
        del alone
        return len(self.tasks) < self.slots

    def open(self, logs: Path) -> None:
        """Nothing."""

    def submit(self, task: Task) -> None:
        """Keep it."""
        self.tasks.append(task)

    def wait(self, timeout: float | None = None) -> list[Report]:
        """One is done."""
        del timeout
        task = self.tasks.pop(0)
        digest = seal(task.folder, task.job.id, {}, task.inputs)
        return [Report(task.job.id, "started", pid=1), Report(task.job.id, "done", pid=1, seconds=0.0, digest=digest)]

    def stop(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def planning(folder: Path) -> dict[str, float]:
    """Seconds for 10,000 jobs: which they are, the plan and what is done of it, the ledger read by `status`, all of them run."""
    cache = folder / "many"
    synthesize(StandIn(subjects=400, min_seconds=4, max_seconds=6, appearance_dim=8), cache)
    training = QUICK_TRAINING
    streams, signs = ("pose", "face"), ("dystonia", "emotion")
    setup = Setup(cache=cache, cohort=None, folds=None, split_seed=0, training=training, preset="fast", device="cpu")
    run = open_run(setup, folder / "many-run", signs)
    start = time.perf_counter()
    rows, _ = possible_rows(Cache.open(cache), training, signs, streams, ("agcn", "tcn", "agcn_kd"))
    jobs = jobs_of(run, Request(rows, 1 + JOBS // (len(rows) * 400)))[:JOBS]
    made = time.perf_counter()
    began = [0.0]

    class Stop(Exception):  # noqa: N818 - it is none
        """At the first start."""

    class First(_Idle):
        def open(self, logs: Path) -> None:
            del logs
            began[0] = time.perf_counter()
            raise Stop

    try:
        run_jobs(jobs, run.folder, executor=First())
    except Stop:
        planned = began[0] - made
    begin = time.perf_counter()
    run_jobs(jobs, run.folder, executor=_Idle())
    ran = time.perf_counter()
    Ledger(run.folder).records()
    read = time.perf_counter()
    run_jobs(jobs, run.folder, executor=_Idle())
    return {
        "jobs": len(jobs),
        "jobs_s": made - start,
        "plan_s": planned,
        "ledger_read_s": read - ran,
        "again_s": time.perf_counter() - read,
        "run_ms_a_job": (ran - begin) / len(jobs) * 1e3,
    }


def foretold(run: Path, workers: int) -> dict[str, float]:
    """What the time left is said to be after the first tenth of a run's jobs, and what it then is.

    The run is gone through again in its planned order, by so many workers and with the seconds that its ledger tells.

    Args:
        run: folder of a whole run.
        workers: jobs at a time.
    """
    ledger = Ledger(run)
    requires = ledger.planned()
    seconds = {job: record.seconds or 0.0 for job, record in ledger.records().items()}
    waiting, running, done, now = list(requires), {}, {}, 0.0
    said = at = 0.0
    while waiting or running:
        for job in [job for job in waiting if all(need in done for need in requires[job])]:
            if len(running) < workers:
                waiting.remove(job)
                running[job] = now
        job = min(running, key=lambda name: running[name] + seconds[name])
        now = running.pop(job) + seconds[job]
        done[job] = seconds[job]
        if not at and len(done) >= len(requires) / 10:
            took: dict[str, tuple[int, float]] = {}
            for name, spent in done.items():
                n, total = took.get(kind_of(name), (0, 0.0))
                took[kind_of(name)] = n + 1, total + spent
            under_way: dict[str, list[float]] = {}
            for name, begun in running.items():
                under_way.setdefault(kind_of(name), []).append(now - begun)
            left = Counter(kind_of(name) for name in [*waiting, *running])
            said, at = time_left(left, took, under_way, workers) or 0.0, now
    return {"said_s": said, "was_s": now - at, "ratio": said / (now - at)}


def main() -> None:
    """Measure, print, write bench-scheduling.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=12, help="of ten seconds, for Ray against the pool")
    parser.add_argument("--run", type=Path, help="folder of a whole run: only how well its time left was foretold")
    options = parser.parse_args()
    if options.run is not None:
        told = foretold(options.run, 2)
        print(
            f"after the first tenth: {told['said_s']:.0f} s left foretold, {told['was_s']:.0f} s it took: {told['ratio']:.2f}"
        )
        return
    described = machine()
    table = Table(title=f"{described}, {options.rounds} turns; whole runs, wall time")
    for heading in ("what", "A s", "B s", "A/B", "range"):
        table.add_column(heading)
    found: dict[str, Any] = {"machine": described}
    with tempfile.TemporaryDirectory(prefix="seizurelit-scheduling-") as temporary:
        folder = Path(temporary)
        found["planning"] = plan = planning(folder)
        found["pool"] = pool_efficiency(folder, options.rounds)
        rows = [(f"{19 * SEEDS} trainings: one worker / two", found["pool"])]
        if importlib.util.find_spec("ray") is None:
            print("Ray is not installed (make env-cluster): it is not set beside the pool", file=sys.stderr)
        else:
            found["ray"] = ray_against_pool(folder, options.rounds, options.jobs)
            rows.append((f"{options.jobs} jobs of 10 s: Ray / pool, two workers", found["ray"]))
    for what, row in rows:
        span = f"{row['lowest']:.2f}–{row['highest']:.2f}"
        table.add_row(what, f"{row['a_s']:.1f}", f"{row['b_s']:.1f}", f"{row['ratio']:.2f}", span)
    Console(width=120).print(table)
    print(
        f"{plan['jobs']} jobs: {plan['jobs_s']:.2f} s to list, {plan['plan_s']:.2f} s to plan, {plan['ledger_read_s']:.2f} s to "
        f"read their ledger, {plan['again_s']:.2f} s to find all done; {plan['run_ms_a_job']:.1f} ms a job while they run"
    )
    Path("bench-scheduling.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
