"""Workers of a Ray cluster: one that runs already, or one that is started on this machine and ends with the run.

A task is a Ray task (`max_calls=0`: a worker is kept from one to the next), which Ray itself does not repeat: that a node was lost
is reported, and the scheduler tries the job again where there is room. A small actor on this machine's node brings word that a
task has begun, and carries the request to stop. Where a node does not see the run folder, what tasks read goes through Ray's
object store.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from seizurelit.errors import InputError, RunError
from seizurelit.scheduling import remote, stopping
from seizurelit.scheduling.jobs import Report, Task
from seizurelit.scheduling.pool import jobs_that_fit
from seizurelit.scheduling.remote import Surroundings
from seizurelit.scheduling.shipping import Cargo, Made, Shipment, forget, give_back, receive, unload
from seizurelit.scheduling.worker import one_line

_COUNT_AGAIN = 2.0
"""Seconds after which the nodes of the cluster are counted anew: they come and go."""

_SEEN_WITHIN = 3.0
"""Seconds that a network file system may take to show a folder that was made on another machine."""


class _Board:
    """What the tasks of a run and the run tell each other; an actor."""

    def __init__(self) -> None:
        self._news: list[tuple[str, Report]] = []
        self._told = asyncio.Event()
        self._stop = asyncio.Event()

    async def tell(self, number: str, report: Report) -> None:
        """A task, of which this is one attempt, has begun."""
        self._news.append((number, report))
        self._told.set()

    async def read(self) -> list[tuple[str, Report]]:
        """What was told since the last time, as soon as there is something."""
        await self._told.wait()
        self._told.clear()
        news, self._news = self._news, []
        return news

    async def ask_to_stop(self) -> None:
        """Let every task know."""
        self._stop.set()

    async def wait_for_stop(self) -> None:
        """Return once tasks are to stop."""
        await self._stop.wait()


_listening: set[str] = set()


def _listen(board: Any) -> None:
    """Ask this process to stop once the run does."""
    import ray  # noqa: PLC0415

    def wait() -> None:
        with suppress(ray.exceptions.RayError):
            ray.get(board.wait_for_stop.remote())
            stopping.request()

    name = board._actor_id.hex()
    if name not in _listening:
        _listening.add(name)
        threading.Thread(target=wait, daemon=True).start()


def _work(
    task: Task, number: str, cargo: Cargo | None, board: Any, surroundings: Surroundings
) -> tuple[Report, Made | None] | None:
    """Run a task on the node that Ray chose; None where it does not see the task's folder and has no cargo."""
    import ray  # noqa: PLC0415

    surroundings.adopt()
    if cargo is None and not _visible(task.folder):
        return None
    _listen(board)
    # Waited for, so that the run hears of the beginning before it hears of the end.
    ray.get(board.tell.remote(number, remote.started(task)))
    if cargo is None:
        return remote.run(task), None
    here = receive(task, cargo, ray.get)
    report = remote.run(here)
    return report, give_back(here, stopped=report.kind == "stopped")


def _visible(folder: Path) -> bool:
    until = time.monotonic() + _SEEN_WITHIN
    while not folder.is_dir():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


@dataclass
class _Sent:
    """A task that Ray has.

    Attributes:
        task: it.
        number: of this attempt, as the board knows it.
        begun: whether its beginning was heard of.
    """

    task: Task
    number: str = field(default_factory=lambda: uuid.uuid4().hex)
    begun: bool = False

    def begin(self, report: Report) -> list[Report]:
        """Its beginning, once."""
        if self.begun:
            return []
        self.begun = True
        return [remote.elsewhere(report)]


class RayCluster:
    """An executor of Ray tasks.

    Args:
        address: host:port of a cluster, or auto for the one that this machine is a node of; None starts one here.
        reads: folders and files outside of the run folder that jobs read, for nodes that do not see them; None where jobs write
            elsewhere too, and every node must see the same folders.
        workers: tasks at a time; None takes what the cluster has.
        threads: CPU threads a task.
        gpu: each task takes a CUDA device, or a part of one.
        per_device: tasks on one device; None starts one on each, and when the first is done as many as fit beside it.
        files: shared, the nodes see our folders; shipped, they do not; auto finds out.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        reads: Sequence[Path] | None = None,
        workers: int | None = None,
        threads: int = 1,
        gpu: bool = False,
        per_device: int | None = None,
        files: Literal["auto", "shared", "shipped"] = "auto",
    ) -> None:
        self._address = address
        self._run_dir = Path()
        self._reads = reads
        self._workers = workers
        self._threads = threads
        self._gpu = gpu
        self._each = per_device
        self._files = files
        self._ray: Any = None
        self._ours = False
        self._board: Any = None
        self._news: Any = None
        self._function: Any = None
        self._shipment: Shipment | None = None
        self._tasks: dict[Any, _Sent] = {}
        self._counted = (-_COUNT_AGAIN, 0)
        self._empty = False

    @property
    def slots(self) -> int:
        """How many tasks may be under way at once, as far as the cluster is known yet."""
        if self._workers is not None:
            return self._workers
        if self._ray is None:
            return 1
        return max(1, self._counted_lately())  # without any node tasks wait for one

    def room(self, *, alone: bool = False) -> bool:
        """Whether a task can be handed over: Ray finds it a place, and a whole device if it is to be alone."""
        del alone
        return len(self._tasks) < self.slots

    def open(self, logs: Path) -> None:
        """Connect to the cluster, or start one.

        Args:
            logs: the ledger's folder, in the run folder.

        Raises:
            InputError: Ray is not installed, no cluster answers, or it has no GPU though one is asked for.
        """
        self._run_dir = logs.parent  # Ray keeps its own logs
        self._ray = _ray()
        self._connect()
        ray = self._ray
        if self._gpu and self._workers is None and not self._count():
            where = self._address or "this machine"
            msg = f"--scheduler ray: {where} has no GPU; give --device cpu, or a cluster that has one to --ray_address"
            raise InputError(msg)
        node = ray.get_runtime_context().get_node_id()
        # Hard: Ray puts a soft one elsewhere now and then, on a node whose loss would end the run.
        affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        board = ray.remote(num_cpus=0, scheduling_strategy=affinity, max_concurrency=10_000)(_Board)
        self._board = board.remote()
        self._news = self._board.read.remote()
        self._function = ray.remote(max_calls=0, max_retries=0)(_work)
        if self._files == "shipped":
            self._ship()

    def submit(self, task: Task) -> None:
        """Hand a task to Ray."""
        self._send(_Sent(task))

    def wait(self, timeout: float | None = None) -> Sequence[Report]:
        """Block until a task begins or ends, the time is over, or the cluster has grown."""
        ray, before = self._ray, self.slots
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _COUNT_AGAIN if until is None else min(_COUNT_AGAIN, max(0.0, until - time.monotonic()))
            waiting = [*self._tasks, self._news]
            found, _ = ray.wait(waiting, num_returns=1, timeout=left)
            if not found:
                self._say_if_empty()
                if self.slots > before or (until is not None and time.monotonic() >= until):
                    return ()
                continue
            found, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
            reports: list[Report] = []
            if self._news in found:
                reports += self._hear()
            for reference in found:
                if reference in self._tasks:
                    reports += self._end(reference)
            if reports:
                return reports

    def stop(self) -> None:
        """Ask the resumable tasks under way to save where they are; those that have not begun are taken back."""
        self._board.ask_to_stop.remote()
        for reference, sent in self._tasks.items():
            if not sent.begun:
                with suppress(Exception):
                    self._ray.cancel(reference)

    def close(self) -> None:
        """Leave the cluster, which ends our tasks; end it if it is ours."""
        ray, self._ray = self._ray, None
        if ray is None or not ray.is_initialized():  # a call would start a Ray of its own
            return
        with suppress(Exception):
            for reference in self._tasks:
                ray.cancel(reference, force=True)
            if self._shipment is not None:
                _clean_up(ray, self._shipment.name)
        self._tasks.clear()
        if self._ours:
            with suppress(Exception):
                ray.shutdown()
        else:
            with suppress(Exception):
                ray.kill(self._board)

    def _connect(self) -> None:
        ray = self._ray
        if ray.is_initialized():
            return
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
        cores = max(self._workers * self._threads if self._workers else 0, len(os.sched_getaffinity(0)))
        where = {"address": self._address} if self._address else {"address": "local", "num_cpus": cores}
        more = {} if self._address else {"include_dashboard": False}
        try:
            _reach(self._address)
            with _own_signals():
                ray.init(**where, **more, **quiet)
        except Exception as error:
            if self._address is None:
                msg = f"--scheduler ray: Ray could not be started here ({one_line(error)})"
                raise RunError(msg) from None
            msg = (
                f"--ray_address {self._address}: no Ray cluster of this version answers there ({one_line(error)}); "
                "start one with `ray start --head`, or leave the option out to start one on this machine"
            )
            raise InputError(msg) from None
        self._ours = True

    def _counted_lately(self) -> int:
        """`_count`, asked of the cluster every two seconds at most."""
        then, found = self._counted
        if time.monotonic() - then >= _COUNT_AGAIN:
            found = self._count()
            self._counted = time.monotonic(), found
        return found

    def _count(self) -> int:
        """Tasks that the nodes which are alive have room for."""
        try:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        except Exception as error:
            raise self._gone(error) from None
        if self._gpu:
            return int(sum(node.get("GPU", 0) for node in nodes)) * (self._each or 1)
        return int(sum(node.get("CPU", 0) // self._threads for node in nodes))

    def _say_if_empty(self) -> None:
        """Tell, once each time, that jobs wait because no node has room for any."""
        empty = self._counted_lately() == 0
        if empty and not self._empty:
            what = "GPU" if self._gpu else f"{self._threads} CPU{'s' if self._threads > 1 else ''}"
            print(
                f"Ray: no node of the cluster has {what} for a job; waiting for one (Ctrl-C ends the run, which can go on later)"
            )
        self._empty = empty

    def _send(self, sent: _Sent) -> None:
        task = sent.task
        share = 1 if task.alone else 1 / (self._each or 1)
        wants = {"num_cpus": self._threads, "num_gpus": share if self._gpu else 0}
        cargo = None if self._shipment is None else self._shipment.cargo(task)
        function = self._function.options(**wants, name=task.job.id)
        surroundings = Surroundings.of_this_process(self._threads)
        self._tasks[function.remote(task, sent.number, cargo, self._board, surroundings)] = sent

    def _hear(self) -> list[Report]:
        """The beginnings that the board tells of."""
        try:
            news: list[tuple[str, Report]] = self._ray.get(self._news)
        except self._ray.exceptions.RayError as error:
            raise self._gone(error) from None
        self._news = self._board.read.remote()
        # What has ended before it was heard of is told by its end.
        numbers = {sent.number: sent for sent in self._tasks.values()}
        return [begun for number, report in news if number in numbers for begun in numbers[number].begin(report)]

    def _end(self, reference: Any) -> list[Report]:
        """What became of a task that Ray says has ended."""
        ray, sent = self._ray, self._tasks.pop(reference)
        task = sent.task
        try:
            result = ray.get(reference)
        except ray.exceptions.TaskCancelledError:  # by `stop`: it has not begun
            return [Report(task.job.id, "stopped")]
        except ray.exceptions.RayTaskError as error:  # not the job: that is reported
            cause = error.cause if isinstance(error.cause, BaseException) else error
            return [Report(task.job.id, "failed", error=one_line(cause), trace=str(error))]
        except ray.exceptions.RayError as error:
            return [Report(task.job.id, "lost", error=f"its Ray worker is gone: {one_line(error)}")]
        if result is None:
            self._ship()
            self._send(sent)
            return []
        report, made = result
        if made is not None:
            unload(task, made)
        if self._each is None and self._gpu and report.kind == "done":
            self._each = jobs_that_fit(report, cores=None)
        return [*sent.begin(replace(report, kind="started")), remote.elsewhere(report)]

    def _ship(self) -> None:
        """From now on, send what tasks read."""
        if self._shipment is not None:
            return
        if self._reads is None:
            msg = (
                f"--scheduler ray: a node does not see {self._run_dir}; give a folder that every node has under the same path, "
                "such as one of a network file system"
            )
            raise InputError(msg)
        self._shipment = Shipment(self._run_dir, self._reads, self._ray.put)

    def _gone(self, error: Exception) -> RunError:
        return RunError(
            f"--scheduler ray: the cluster is gone ({one_line(error)}); what is done is kept, the same command goes on from here"
        )


def _clean_up(ray: Any, shipment: str) -> None:
    """Delete what was sent, on every node."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    clean = ray.remote(num_cpus=0, max_retries=0)(forget)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    pending = [clean.options(scheduling_strategy=strategy(node, soft=False)).remote(shipment) for node in nodes]
    ray.wait(pending, num_returns=len(pending), timeout=10)


def _reach(address: str | None) -> None:
    """Raise OSError where nothing listens at host:port, for which Ray itself would wait some minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of this leaves the machine
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault(
        "RAY_worker_niceness", "0"
    )  # of a cluster that is started here: Ray would let all others go first
    try:
        import ray  # noqa: PLC0415
        import ray.util.scheduling_strategies  # noqa: PLC0415
    except ModuleNotFoundError:
        msg = "--scheduler ray: ray is not installed; `make env-cluster` installs it"
        raise InputError(msg) from None
    return ray


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's answers to signals: Ray would replace that to SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
