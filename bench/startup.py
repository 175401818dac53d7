"""What is paid before any training: `python -m bench.startup`. Seconds of the processor of each door's `--help`, and of a job.

A job's fixed cost is a training of one epoch less what an epoch more takes, in a process that has imported all, as workers have:
the fork server pays that import once a run.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

DOORS = ("synthesize", "extract", "ingest", "fit", "reproduce", "report", "predict")
WANTED = 0.5


def help_seconds(door: str, rounds: int) -> float:
    """Median processor time of `--help` (tests/test_doors.py holds that it imports no torch)."""
    return _median([sys.executable, "-m", f"seizurelit.{door}", "--help"], rounds)


def import_seconds(rounds: int) -> float:
    """Median processor time of importing what a job needs."""
    return _median([sys.executable, "-c", "import seizurelit.loso.job"], rounds)


def _median(command: list[str], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        before = _used()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(_used() - before)
    return statistics.median(taken)


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def job_seconds(rounds: int) -> tuple[float, float, float]:
    """Processor time of a job beside its epochs, of one of its epochs, and of its first in a worker, of the small AGCN."""
    from bench.table1 import preset
    from seizurelit.loso.experiment import Setup, open_run
    from seizurelit.loso.job import train_fold
    from seizurelit.synthetic.options import StandIn
    from seizurelit.synthetic.write import synthesize

    with tempfile.TemporaryDirectory() as folder:
        cache = synthesize(StandIn(), Path(folder) / "cache")
        taken: dict[int, list[float]] = {1: [], 5: []}
        for turn in range(rounds + 1):
            for epochs, seconds in taken.items():
                setup = Setup(cache.root, None, None, 0, preset(epochs), "fast", "cpu")
                run = open_run(setup, Path(folder) / f"run-{epochs}", ("dystonia",))
                place = Path(folder) / f"jobs-{epochs}" / str(turn)
                place.mkdir(parents=True)
                seconds.append(_timed(lambda place=place, run=run: _job(train_fold, place, run.folder)))  # type: ignore[misc]
    one, five = (statistics.median(seconds[1:]) for seconds in taken.values())
    epoch = (five - one) / 4
    return one - epoch, epoch, taken[1][0] - epoch


def _job(train: Callable[..., object], place: Path, run: Path) -> None:
    train(place, run_dir=str(run), sign="dystonia", stream="pose", model="agcn", seed=0, fold="sub-03")


def _timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(rounds: int) -> list[tuple[str, float, str]]:
    """Rows of what, seconds, and what is wanted."""
    rows = [(f"{door} --help", help_seconds(door, rounds), f"below {WANTED}") for door in DOORS]
    rows.append(("imports of a job, once a run", import_seconds(rounds), ""))
    fixed, epoch, first = job_seconds(rounds)
    rows += [("a worker's first job beside its epochs", first, ""), ("every other job beside its epochs", fixed, "")]
    return [*rows, ("an epoch of a job, small AGCN", epoch, "")]


def main() -> None:
    """Measure and print."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for what, seconds, wanted in measure(3):
        print(f"{what:45} {seconds:6.2f} s  {wanted}")


if __name__ == "__main__":
    main()
