"""A module of jobs that workers can import, and how to run it from a process that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

JOBS = '''
import json, os, signal, subprocess, sys, time
from pathlib import Path


def note(journal, text):
    """One line in a file that many processes append to."""
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (text + "\\n").encode())
    os.close(descriptor)


def work(folder, name, journal, seconds=0.0):
    note(journal, f"start {name} {os.getpid()}")
    (folder / "predictions.csv").write_text(f"seizure,score\\n{name},0.5\\n")
    time.sleep(seconds)
    (folder / "deep").mkdir()
    (folder / "deep" / "weights.bin").write_bytes(name.encode() * 1000)
    note(journal, f"end {name}")
    return {"name": name, "score": 0.5, "shape": (1, 2)}


def fail(folder, unless):
    (folder / "half.txt").write_text("half")
    print("about to fail")
    if not Path(unless).exists():
        raise ValueError("no data for this fold\\nsecond line")
    return {}


def fall(folder, times, journal, how="kill"):
    """Die as often as is asked for, then succeed."""
    note(journal, "fall")
    (folder / "half.txt").write_text("half")
    if len(Path(journal).read_text().splitlines()) <= times:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(7)
    return {"fell": times}


def see(folder):
    import threading
    return {"threads": os.environ["OMP_NUM_THREADS"], "device": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "folder": sorted(os.listdir(folder)), "stdin": sys.stdin.read()}


def child(folder, journal):
    process = subprocess.Popen(["sleep", "100"])
    note(journal, f"child {process.pid}")
    time.sleep(100)


def forked(folder, journal):
    pid = os.fork()
    if pid == 0:
        time.sleep(100)
    note(journal, f"forked {pid}")
    os.kill(os.getpid(), signal.SIGKILL)


def epochs(folder, name, journal, count=20, seconds=0.05, checkpoint=None):
    """Goes on from the epoch, as a fold does."""
    from seizurelit.scheduling import stopping
    from seizurelit.scheduling.worker import measure
    state = checkpoint / "state.json"
    rows = json.loads(state.read_text()) if state.exists() else []
    note(journal, f"start {name} {os.getpid()} {len(rows)}")
    for epoch in range(len(rows), count):
        time.sleep(seconds)
        measure("epochs", 1)
        rows.append([epoch, name])
        if stopping.requested():
            checkpoint.mkdir(parents=True, exist_ok=True)
            state.write_text(json.dumps(rows))
            raise stopping.Stopped
    (folder / "rows.json").write_text(json.dumps(rows))
    note(journal, f"end {name}")
    return {"rows": len(rows)}


def hungry(folder, journal, need):
    """Wants a part of a device that others have a part of."""
    class OutOfMemoryError(RuntimeError): pass
    note(journal, f"start {os.getpid()}")
    time.sleep(0.2)
    begun = [line.split()[1] for line in Path(journal).read_text().splitlines() if line.startswith("start")]
    ended = [line.split()[1] for line in Path(journal).read_text().splitlines() if line.startswith("end")]
    together = len(begun) - len(ended)
    time.sleep(0.2)
    note(journal, f"end {os.getpid()}")
    if need * together > 1:
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    return {}


def device_user(folder, journal, mb=2000, total_mb=10000):
    """A process whose torch says how much of its device it has used; there is no device here."""
    import types
    cuda = types.SimpleNamespace(is_initialized=lambda: True, max_memory_reserved=lambda: mb * 2**20,
                                 mem_get_info=lambda: (0, total_mb * 2**20), reset_peak_memory_stats=lambda: None)
    sys.modules["torch"] = types.SimpleNamespace(cuda=cuda, set_num_threads=lambda n: None)
    note(journal, f"start {os.environ['CUDA_VISIBLE_DEVICES']} {os.getpid()}")
    time.sleep(0.3)
    note(journal, f"end {os.environ['CUDA_VISIBLE_DEVICES']} {os.getpid()}")
    return {}


def full(folder):
    (folder / "big").write_bytes(bytes(8 * 2**20))
    return {}


def read(folder, run_dir, cache, of=None):
    """What lies where the run says, and where that is."""
    run_dir, cache = Path(run_dir), Path(cache)
    print("told of it")
    (folder / "where.txt").write_text(f"{run_dir}\\n{cache}\\n{folder}\\n")
    before = None if of is None else (run_dir / "jobs" / of / "note.txt").read_text()
    (folder / "note.txt").write_text("from m/first")
    return {"config": (run_dir / "config.json").read_text(), "tensors": (cache / "deep" / "tensors.bin").read_text(),
            "before": before}


def leave(folder):
    raise SystemExit(3)


def nothing(folder):
    return {}


def interrupted(folder):
    """As Lightning's Trainer does."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(1)


def number(folder):
    return 3


def unwritable(folder):
    return {"a": object()}


def forge(folder):
    (folder / "result.json").write_text("{}")
    return {}
'''


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """Where jobs note what they do; the module `tiny_jobs` can be imported in workers."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "tiny_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(modules))
    return tmp_path / "journal.txt"


@pytest.fixture
def parent(tmp_path, journal):
    """Start a process of its own that runs a script with the jobs module at hand."""
    started = []

    def start(script):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "modules")])}
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def alive():
    """Whether a process is there and no zombie."""

    def check(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return check


@pytest.fixture
def until():
    """Wait until something is true, and say whether it became so."""

    def wait(true, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline:
            time.sleep(0.01)
        return bool(true())

    return wait
