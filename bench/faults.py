"""Faults drawn at random into real runs of the outer loop: `make faults`, a row a fault with what came of it.

Each draw trains the folds of a small stand-in cohort (jobs of about a second, two workers), breaks something at a random
moment, then does what a user would: the same command again. Its predictions.csv must be the undisturbed run's, byte for byte;
where the fault is one that no restart mends (a damaged cache, a fold whose data raise), it must be reported, everything else
must be there, and all of it once the fault is gone. A row also says how many trainings went on from within.

One process imports everything once and forks the runs, so that a draw takes seconds. What no process may do to a machine that
others use is imitated: the clock is set back for Python and by files from the future, not for the kernel.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pandas as pd

from seizurelit.cache.store import Cache
from seizurelit.config import Training, with_overrides
from seizurelit.data.fold import FoldDataModule
from seizurelit.errors import InputError, RunError
from seizurelit.evaluation.predictions import read_predictions
from seizurelit.loso.experiment import Run, Setup, open_run
from seizurelit.loso.jobs import Request, jobs_of, possible_rows
from seizurelit.loso.options import RunOptions
from seizurelit.loso.pooling import PREDICTIONS, pool_run, trained_rows
from seizurelit.loso.watching import Watcher
from seizurelit.scheduling import fork_server, pool
from seizurelit.scheduling.jobs import Executor
from seizurelit.scheduling.ledger import Ledger, Record
from seizurelit.scheduling.pool import Pool
from seizurelit.scheduling.ray_cluster import RayCluster
from seizurelit.scheduling.run import Event, run_jobs
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize
from seizurelit.tracking.wandb_runs import Tracker
from seizurelit.training import resuming

MODELS = ("tcn", "agcn_kd")
HANGS = 180.0
"""Seconds after which a run counts as hung."""

SETTINGS = with_overrides(
    Training(),
    {
        "windows.frames": 25,
        "windows.stride": 25,
        "windows.per_seizure": 1,
        "agcn.variant": "small",
        "tcn.levels": 1,
        "tcn.channels": 4,
        "optimiser.epochs": 8,
        "optimiser.batch": 3,
    },
)


class WrongError(Exception):
    """What came of a fault is not what must come of it."""


@dataclass
class Place:
    """Where one draw happens.

    Attributes:
        folder: of its own.
        cache: its tensors, a copy where the fault damages them.
        random: decides moments and victims.
        undisturbed: predictions.csv of a run without a fault.
        steps: job → training steps of a run without a fault.
        said: what stands in the row.
        executor: who runs the jobs.
    """

    folder: Path
    cache: Path
    random: random.Random
    undisturbed: bytes
    steps: dict[str, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    executor: Callable[[], Executor] = lambda: Pool(2, preload=())

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"


@dataclass
class Child:
    """A forked run.

    Attributes:
        pid: its process, which leads a session.
        log: what it printed.
        events: a JSON line an event.
    """

    pid: int
    log: Path
    events: Path
    code: int | None = None

    def ended(self) -> bool:
        """Whether it has."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self) -> int:
        """Its exit code."""
        until = time.monotonic() + HANGS
        while not self.ended():
            if time.monotonic() > until:
                self.signal(signal.SIGKILL)
                msg = f"hung for {HANGS:.0f} s"
                raise WrongError(msg)
            time.sleep(0.02)
        assert self.code is not None
        return self.code

    def signal(self, number: int) -> None:
        """Send a signal, if it is there."""
        if not self.ended():
            os.kill(self.pid, number)

    def happened(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind so far."""
        with contextlib.suppress(OSError):
            events = [json.loads(line) for line in self.events.read_text().splitlines() if line.endswith("}")]
            return [event for event in events if event["kind"] == kind]
        return []


def request_of(cache: Path) -> tuple[Setup, Request]:
    """The run that every draw makes."""
    rows, _ = possible_rows(Cache.open(cache), SETTINGS, ("dystonia",), ("pose",), MODELS)
    setup = Setup(cache=cache, cohort=None, folds=None, split_seed=0, training=SETTINGS, preset="fast", device="cpu")
    return setup, Request(rows, 1)


def one_run(place: Place, wandb: str, events: Path, prepare: Callable[[Run], None] | None = None) -> int:
    """What `fit` does, but for the table: open, run the jobs, pool; 1 also where a note says that there are no baselines."""
    setup, request = request_of(place.cache)
    try:
        run = open_run(setup, place.run, ("dystonia",))
        if prepare is not None:
            prepare(run)
        jobs = jobs_of(run, request)
        with events.open("a", encoding="utf-8") as file, Watcher(run, jobs, 2, RunOptions(wandb=wandb)) as watcher:

            def told(event: Event) -> None:
                file.write(
                    json.dumps({"kind": event.kind, "job": event.job, "pid": event.pid, "error": event.error}) + "\n"
                )
                file.flush()
                watcher(event)

            outcome = run_jobs(jobs, run.folder, executor=place.executor(), on_event=told)
            _, notes = pool_run(run)
    except InputError as error:
        print(*error.faults, sep="\n")
        return 2
    except RunError as error:
        print(error)
        return 1
    print(*notes, sep="\n")
    return 0 if outcome.whole and not notes else 1


def fork_run(
    place: Place,
    name: str,
    *,
    wandb: Literal["off", "offline", "online"] = "off",
    prepare: Callable[[Run], None] | None = None,
) -> Child:
    """Start a run in a process of its own."""
    place.folder.mkdir(parents=True, exist_ok=True)
    log, events = place.folder / f"{name}.log", place.folder / f"{name}.events"
    pid = os.fork()
    if pid:
        return Child(pid, log, events)
    code = 70
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        _serve_by_forks()
        code = one_run(place, wandb, events, prepare)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _serve_by_forks() -> None:
    """Let the pool's fork server be a fork of this process, taken before any thread: the imports are paid once for all draws."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        os.setsid()
        while True:
            message, fds, _, _ = socket.recv_fds(theirs, 65536, 2)
            if not message:
                os._exit(0)
            if os.fork() == 0:
                theirs.close()
                os.dup2(fds[1], 1)
                os.dup2(fds[1], 2)
                os.close(fds[1])
                fork_server.main(fds[0], (), json.loads(message)["threads"])
                os._exit(0)
            for fd in fds:
                os.close(fd)
    theirs.close()

    def start(self: Pool) -> None:
        control, for_server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._logs.mkdir(parents=True, exist_ok=True)
        with for_server, (self._logs / "workers.log").open("ab") as log:
            socket.send_fds(
                ours, [json.dumps({"threads": self._threads}).encode()], [for_server.fileno(), log.fileno()]
            )
        self._server = SimpleNamespace(control=control, stop=control.close)  # type: ignore[assignment]

    pool.Pool._start_server = start  # type: ignore[method-assign]


def moment(place: Place, child: Child) -> None:
    """Wait until a random moment of a run: after so many starts or ends, and a little more."""
    kind, count = place.random.choice(
        [("planned", 1), ("started", 1), ("started", 3), ("done", 1), ("done", 3), ("done", 5)]
    )
    until = time.monotonic() + HANGS
    while len(child.happened(kind)) < count and not child.ended() and time.monotonic() < until:
        time.sleep(0.01)
    delay = place.random.uniform(0, 0.6)
    time.sleep(delay)
    place.said.append(f"{kind} {count} + {delay:.2f} s")


def same(place: Place, *, without: set[str] | None = None) -> None:
    """The pooled predictions are the undisturbed ones, or those of all folds but some."""
    path = place.run / PREDICTIONS
    if without is None:
        if path.read_bytes() != place.undisturbed:
            msg = "predictions.csv differs from the undisturbed run's"
            raise WrongError(msg)
        made = {name: steps_of(record) for name, record in Ledger(place.run).records().items()}
        resumed = sum(0 < made[name] < steps for name, steps in place.steps.items())
        if resumed:
            place.said.append(f"{resumed} went on from within")
        return
    setup, _ = request_of(place.cache)
    mine = trained_rows(Run(place.run, setup, json.loads((place.run / "config.json").read_text())["run_id"], True))
    reference = place.folder / "reference.csv"
    reference.write_bytes(place.undisturbed)
    full = read_predictions(reference)
    keep = full["model"].isin(MODELS) & ~(full["model"] + "/" + full["fold"]).isin(without)
    columns = ["model", "fold", "seizure", "label", "prediction"]
    expected, found = (frame[columns].reset_index(drop=True) for frame in (full.loc[keep], mine))
    pd.testing.assert_frame_equal(
        found.sort_values(columns, ignore_index=True), expected.sort_values(columns, ignore_index=True)
    )


def steps_of(record: Record) -> float:
    """Training steps of a job's last attempt."""
    return record.measured.get("training_steps", 0.0)


def again(place: Place, *, expect: int = 0, wandb: str = "off") -> Child:
    """The same command once more."""
    child = fork_run(place, "again", wandb=wandb)
    code = child.wait()
    if code != expect:
        msg = f"the restart left with {code}, not {expect}: {tail(child.log)}"
        raise WrongError(msg)
    return child


def tail(log: Path) -> str:
    """The last line that says something."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    return lines[-1][:160] if lines else "nothing was printed"


def done_twice(*children: Child) -> None:
    """No job was done by two."""
    done = Counter(event["job"] for child in children for event in child.happened("done"))
    twice = [job for job, count in done.items() if count > 1]
    if twice:
        msg = f"done twice: {', '.join(twice)}"
        raise WrongError(msg)


def workers_of(place: Place) -> list[int]:
    """Processes that run a job now."""
    ledger = Ledger(place.run)
    return [record.pid for record in ledger.records().values() if record.state == "running" and record.pid]


# The faults. Each breaks something, checks what it must, and returns what came of it.


def kill_worker(place: Place, number: int = signal.SIGKILL) -> str:
    """A worker is gone; the run goes on."""
    child = fork_run(place, "first")
    moment(place, child)
    pids = workers_of(place)
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(place.random.choice(pids), number)
    if child.wait() != 0:
        msg = f"the run left with {child.code}: {tail(child.log)}"
        raise WrongError(msg)
    same(place)
    done_twice(child)
    return "went on, same bytes"


def term_worker(place: Place) -> str:
    """One worker alone is told to stop."""
    return kill_worker(place, signal.SIGTERM)


def end_parent(place: Place, number: int) -> str:
    """The run itself is gone; the next goes on."""
    child = fork_run(place, "first")
    moment(place, child)
    child.signal(number)
    code = child.wait()
    if number != signal.SIGKILL and code == 1 and "goes on from here" not in child.log.read_text():
        msg = f"it did not say how to go on: {tail(child.log)}"
        raise WrongError(msg)
    done_twice(child, again(place))
    same(place)
    return "restarted, same bytes"


def kill_parent(place: Place) -> str:
    """SIGKILL."""
    return end_parent(place, signal.SIGKILL)


def term_parent(place: Place) -> str:
    """SIGTERM, as of pre-emption."""
    return end_parent(place, signal.SIGTERM)


def interrupt(place: Place) -> str:
    """Ctrl-C."""
    return end_parent(place, signal.SIGINT)


def kill_all(place: Place) -> str:
    """Power cut: the parent and its workers at once, again and again."""
    for _ in range(3):
        child = fork_run(place, "first")
        moment(place, child)
        pids = workers_of(place)
        child.signal(signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait()
    again(place)
    same(place)
    return "restarted, same bytes"


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[None]:
    """A file system of its own in memory."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def disk_full(place: Place) -> str:
    """The run folder's disk fills up in the midst of it."""
    kib = place.random.randint(48, 1400)
    with small_disk(place.run, kib):
        child = fork_run(place, "first")
        code = child.wait()
        place.said.append(f"{kib} KiB")
        if code == 0:
            same(place)
            return "it was enough, same bytes"
        if "disk is full" not in child.log.read_text() and "No space left" not in child.log.read_text():
            msg = f"left with {code} and did not say why: {tail(child.log)}"
            raise WrongError(msg)
        subprocess.run(["mount", "-o", "remount,size=200m", place.run], check=True)
        again(place)
        same(place)
    return "said so; restarted, same bytes"


def damaged(place: Place, damage: Callable[[Path], None]) -> str:
    """A file of the cache is other than it was when the run began."""
    child = fork_run(place, "first")
    moment(place, child)
    path = place.random.choice(sorted(place.cache.glob("*.pose.safetensors")))
    before = path.read_bytes()
    damage(path)
    child.wait()
    second = fork_run(place, "damaged")
    code = second.wait()
    failed = {event["job"] for event in second.happened("failed")} | {
        event["job"] for event in second.happened("blocked")
    }
    if code == 0:
        same(place)  # all had been read before
        outcome = "read before, same bytes"
    else:
        said = second.log.read_text() + " ".join(str(event["error"]) for event in second.happened("failed"))
        if str(place.cache) not in said and "another configuration" not in said:
            msg = f"not reported: {tail(second.log)}"
            raise WrongError(msg)
        if code == 1:  # otherwise it was refused before any job
            same(place, without={"/".join(job.split("/")[2::2]) for job in failed})
        outcome = "reported, the rest is there; mended, same bytes"
    path.write_bytes(before)
    again(place)
    same(place)
    return outcome


def cut_cache(place: Place) -> str:
    """A file of the cache is cut short."""
    return damaged(
        place, lambda path: path.write_bytes(path.read_bytes()[: place.random.randrange(10, path.stat().st_size)])
    )


def change_cache(place: Place) -> str:
    """A file of the cache gets other tensors, well-formed ones."""

    def change(path: Path) -> None:
        seizure, stream = path.name.split(".")[:2]
        cache = Cache(place.cache)
        tensors = cache.read(seizure, stream)
        name = f"{stream}.keypoints"
        cache.write(replace(tensors, tensors={**tensors.tensors, name: tensors[name] + 1}))

    return damaged(place, change)


def flip_cache(place: Place) -> str:
    """A bit of the tensors of a file of the cache changes."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-place.random.randrange(1, 2000)] ^= 1 << place.random.randrange(8)
        path.write_bytes(content)

    return damaged(place, flip)


def broken_checkpoint(place: Place) -> str:
    """Killed while it saved the state of a fold: half of it is there, or none of what the state's file names."""
    child = fork_run(place, "first")
    until = time.monotonic() + HANGS
    while not child.ended() and time.monotonic() < until and not list(place.run.glob("checkpoints/**/*.ckpt")):
        time.sleep(0.005)
    time.sleep(place.random.uniform(0, 0.3))
    child.signal(signal.SIGKILL)
    child.wait()
    states = sorted(place.run.glob("checkpoints/**/fit/*"))
    if states:
        path = place.random.choice(states)
        content = path.read_bytes()
        how = place.random.choice(["half", "empty", "a bit", "gone"])
        place.said.append(f"{path.name}: {how}")
        if how == "gone":
            path.unlink()
        elif how == "a bit" and content:
            place_of = place.random.randrange(len(content))
            path.write_bytes(content[:place_of] + bytes([content[place_of] ^ 4]) + content[place_of + 1 :])
        else:
            path.write_bytes(content[: len(content) // 2] if how == "half" else b"")
    again(place)
    same(place)
    return "restarted, same bytes"


def killed_once(place: Place) -> Child:
    """A run that is killed at a random moment."""
    child = fork_run(place, "first")
    moment(place, child)
    child.signal(signal.SIGKILL)
    child.wait()
    return child


def broken_job(place: Place) -> str:
    """A finished job's folder is half there, as after a power cut."""
    killed_once(place)
    files = sorted(path for path in place.run.glob("jobs/**/*") if path.is_file())
    if files:
        path = place.random.choice(files)
        place.said.append(path.name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again(place)
    same(place)
    return "restarted, same bytes"


def clock_back(place: Place) -> str:
    """The clock is set back by a day between two runs, and once more while the second is at work."""
    child = killed_once(place)
    ahead = time.time() + 86400
    for path in place.run.rglob("*"):
        with contextlib.suppress(OSError):
            os.utime(path, (ahead, ahead))

    def set_back(_: Run) -> None:
        real, begun = time.time, time.monotonic()
        time.time = lambda: real() - (86400 if time.monotonic() - begun < 1 else 3 * 86400)

    second = fork_run(place, "again", prepare=set_back)
    if second.wait() != 0:
        msg = f"left with {second.code}: {tail(second.log)}"
        raise WrongError(msg)
    done_twice(child, second)
    same(place)
    return "restarted, same bytes"


def wandb_fault(place: Place, number: int) -> str:
    """Wandb's process is killed, or stands still."""
    child = fork_run(place, "first", wandb="offline")
    moment(place, child)
    for pid in _wandb_processes(child.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    code = child.wait()
    if code != 0:
        msg = f"the run left with {code}: {tail(child.log)}"
        raise WrongError(msg)
    same(place)
    again(place, wandb="offline")
    same(place)
    return "went on, same bytes"


def _wandb_processes(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (path / "cmdline").read_text()
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent and "wandb" in command:
                found.append(int(path.name))
    return found


def wandb_gone(place: Place) -> str:
    """Wandb's service dies."""
    return wandb_fault(place, signal.SIGKILL)


def wandb_hangs(place: Place) -> str:
    """Wandb's service does not answer any more."""
    return wandb_fault(place, signal.SIGSTOP)


def two_parents(place: Place) -> str:
    """Two runs in one folder, of which one may be killed."""
    first = fork_run(place, "first")
    time.sleep(place.random.uniform(0, 1.0))
    second = fork_run(place, "second")
    killed = place.random.random() < 0.5
    if killed:
        moment(place, first)
        place.random.choice([first, second]).signal(signal.SIGKILL)
    codes = first.wait(), second.wait()
    if not set(codes) <= ({0, -signal.SIGKILL} if killed else {0}):
        msg = f"left with {codes}: {tail(first.log)} / {tail(second.log)}"
        raise WrongError(msg)
    same(place)
    done_twice(first, second)
    return "shared, one killed, same bytes" if killed else "shared, none twice, same bytes"


_NODES = """
import os, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes[int(line)], allow_graceful=False)
cluster.shutdown()
"""


@contextlib.contextmanager
def ray_nodes() -> Iterator[tuple[str, Callable[[int], None]]]:
    """A Ray cluster on this machine, of two nodes with a CPU each beside a head without: its address, and what kills a node."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_AUTH_MODE": "disabled",
    }  # on this machine alone, as long as the draw
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", _NODES], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders = process.stdin

    def kill(number: int) -> None:
        print(number, file=orders, flush=True)

    try:
        yield process.stdout.readline().strip(), kill
    finally:
        process.communicate(timeout=HANGS)


def kill_ray_node(place: Place) -> str:
    """A node of a Ray cluster is gone; the run goes on with the rest."""
    with ray_nodes() as (address, kill):
        place.executor = lambda: RayCluster(address)
        child = fork_run(place, "first")
        moment(place, child)
        kill(place.random.randrange(2))
        if child.wait() == 1 and "the cluster is gone" in child.log.read_text(errors="replace"):
            # All nodes have one address here, and the run itself was on the one that was killed.
            place.executor = lambda: Pool(2, preload=())
            again(place)
            same(place)
            return "reported; went on without Ray, same bytes"
        if child.code != 0:
            msg = f"the run left with {child.code}: {tail(child.log)}"
            raise WrongError(msg)
    retried = len(child.happened("retried"))
    if retried:
        place.said.append(f"{retried} tried again")
    same(place)
    done_twice(child)
    return "went on, same bytes"


def data_raise(place: Place) -> str:
    """The data of one fold raise; its other folds are there, and the fold too once they do not."""
    subject = place.random.choice(Cache.open(place.cache).cohort().subjects)
    real = FoldDataModule.training_batches

    def raising(self: FoldDataModule, epoch: int) -> Iterator[Any]:
        if self.fold.name == subject and epoch == 2:
            msg = f"the data of {subject} cannot be had"
            raise ValueError(msg)
        return real(self, epoch)

    def prepare(_: Run) -> None:
        """The workers were forked from before; they learn of it through the job's module."""

    FoldDataModule.training_batches = raising  # type: ignore[method-assign]
    try:
        child = fork_run(place, "first", prepare=prepare)
    finally:
        FoldDataModule.training_batches = real  # type: ignore[method-assign]
    if child.wait() != 1:
        msg = f"left with {child.code}, not 1: {tail(child.log)}"
        raise WrongError(msg)
    errors = [event["error"] for event in child.happened("failed")]
    if not errors or any(f"the data of {subject} cannot be had" not in error for error in errors):
        msg = f"not reported: {errors}"
        raise WrongError(msg)
    place.said.append(subject)
    same(place, without={f"{model}/{subject}" for model in MODELS})
    again(place)
    same(place)
    return "reported, the rest is there; mended, same bytes"


FAULTS: dict[str, Callable[[Place], str]] = {
    "SIGKILL of a worker": kill_worker,
    "SIGTERM of a worker": term_worker,
    "SIGKILL of the parent": kill_parent,
    "SIGTERM of the parent": term_parent,
    "Ctrl-C": interrupt,
    "power cut, three times": kill_all,
    "disk full": disk_full,
    "cache file cut short": cut_cache,
    "cache file with other tensors": change_cache,
    "cache file with a flipped bit": flip_cache,
    "checkpoint half written": broken_checkpoint,
    "job folder half written": broken_job,
    "clock set back": clock_back,
    "wandb's service gone": wandb_gone,
    "wandb's service hanging": wandb_hangs,
    "SIGKILL of a Ray node": kill_ray_node,
    "two parents on one folder": two_parents,
    "a fold whose data raise": data_raise,
}
COPIES = {"cache file cut short", "cache file with other tensors", "cache file with a flipped bit"}


def draws(count: int, seed: int) -> Iterator[tuple[int, str, random.Random]]:
    """Faults in random order, each kind as often as any other within one."""
    order = random.Random(seed)
    names: list[str] = []
    for number in range(count):
        if not names:
            names = order.sample(list(FAULTS), len(FAULTS))
        yield number, names.pop(), random.Random(f"{seed}/{number}")


def main() -> None:
    """Draw, print a row a fault, and leave with 1 if any came to what it must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(FAULTS), help="one kind of fault")
    parser.add_argument("--keep", action="store_true", help="leave the folders of faults that came out wrong")
    options = parser.parse_args()
    resuming.EVERY, resuming.WORTH = 0.05, 0.0  # the jobs take a second; they save as one of hours would
    Tracker.close.__defaults__ = (3.0,)
    if options.only:
        for name in list(FAULTS):
            if name != options.only:
                del FAULTS[name]
    if importlib.util.find_spec("ray") is None and FAULTS.pop("SIGKILL of a Ray node", None):
        print("no Ray node is killed: Ray is not installed (make env-cluster)")
    results: Counter[tuple[str, str]] = Counter()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="seizurelit-faults-", ignore_cleanup_errors=True) as temporary:
        root = Path(temporary)
        cache = root / "cache"
        with contextlib.redirect_stdout(None):
            synthesize(StandIn(subjects=4, min_seconds=4, max_seconds=6, appearance_dim=8), cache)
        undisturbed = Place(root / "undisturbed", cache, random.Random(0), b"")
        start = time.monotonic()
        if fork_run(undisturbed, "first").wait() != 0:
            sys.exit(f"the undisturbed run failed: {tail(undisturbed.folder / 'first.log')}")
        expected = (undisturbed.run / PREDICTIONS).read_bytes()
        jobs = Ledger(undisturbed.run).records()
        seconds = sum(job.seconds or 0 for job in jobs.values()) / len(jobs)
        steps = {name: steps_of(record) for name, record in jobs.items()}
        print(f"undisturbed: {len(jobs)} jobs of {seconds:.1f} s, {time.monotonic() - start:.1f} s by two workers")
        print(f"{options.draws} faults of {len(FAULTS)} kinds, seed {options.seed}", flush=True)
        for number, name, chance in draws(options.draws, options.seed):
            folder = root / f"{number:04d}"
            own = cache
            if name in COPIES:
                own = folder / "cache"
                shutil.copytree(cache, own)
            place = Place(folder, own, chance, expected, steps)
            start = time.monotonic()
            try:
                outcome = FAULTS[name](place)
            except (WrongError, AssertionError) as error:
                outcome = f"WRONG: {str(error).splitlines()[0]}"
            results[name, outcome.split(":")[0] if outcome.startswith("WRONG") else outcome] += 1
            said = ", ".join(place.said)
            print(f"{number:4d}  {name:30s} {outcome:48s} {time.monotonic() - start:5.1f} s  {said}", flush=True)
            if outcome.startswith("WRONG") and options.keep:
                shutil.copytree(folder, Path("faults") / folder.name, dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{sum(results.values())} faults in {time.monotonic() - begun:.0f} s:")
    for (name, outcome), count in sorted(results.items()):
        print(f"{count:5d}  {name:30s} {outcome}")
    wrong = sum(count for (_, outcome), count in results.items() if outcome.startswith("WRONG"))
    print(f"{wrong} came out wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
