"""Worker processes of this machine: forked from one that imported all, replaced when they die, gone when we are."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from seizurelit.scheduling.forking import ForkServer, fork_server_for
from seizurelit.scheduling.jobs import Report, Task

_USABLE = 0.9
"""Part of a device's memory that jobs may take together: their peaks differ a little, and others use the device too."""

_CONTEXT_MB = 600.0
"""What a CUDA context takes beside what torch reserves, in MiB (0.3 to 0.6 GB on present cards)."""


@dataclass
class _Worker:
    number: int
    connection: Connection[Task | None, Report]
    device: str | None
    pid: int | None = None
    task: Task | None = None


class Pool:
    """An executor of worker processes.

    Workers start when first needed. One that is killed gives a `lost` report for its task, and is replaced. All
    of them, and whatever their jobs started, end within moments of this process, however it ends.

    Args:
        workers: processes, where no devices are given.
        threads: CPU threads a worker; part of what decides the bits of a result.
        preload: modules that are imported once, before workers are forked.
        devices: CUDA devices as CUDA_VISIBLE_DEVICES writes them; each worker sees one, and `workers` is not used.
        per_device: workers on one device; None starts one, and when its first job is done as many as fit beside it, by the
            device memory that this job took and by the cores of this machine.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        threads: int = 1,
        preload: Sequence[str] = (),
        devices: Sequence[str] = (),
        per_device: int | None = 1,
    ) -> None:
        if workers < 1 or threads < 1 or (per_device is not None and per_device < 1):
            msg = "workers, threads and per_device are at least 1"
            raise ValueError(msg)
        self._devices: tuple[str | None, ...] = tuple(devices) if devices else (None,)
        self._each = per_device if devices else workers
        self._threads = threads
        self._preload = tuple(preload)
        self._workers: list[_Worker] = []
        self._number = 0
        self._server: ForkServer | None = None
        self._logs = Path()

    @property
    def slots(self) -> int:
        """How many tasks may be under way at once."""
        return len(self._devices) * (self._each or 1)

    def room(self, *, alone: bool = False) -> bool:
        """Whether a task would start at once."""
        return self._free(alone=alone) is not None

    def open(self, logs: Path) -> None:
        """Start importing in the background; what that prints goes to `workers.log` in `logs`."""
        self._logs = logs
        self._start_server()

    def submit(self, task: Task) -> None:
        """Give the task to an idle worker, or to a new one."""
        places = self._free(alone=task.alone)
        if places is None:
            msg = "no room for another task"
            raise RuntimeError(msg)
        device = places[0]
        idle = [worker for worker in self._workers if worker.task is None and worker.device == device]
        if task.alone:  # those hold memory of the device
            for worker in idle:
                self._bury(worker)
            idle = []
        worker = idle[0] if idle else self._fork(device)
        worker.task = task
        with suppress(OSError):  # a worker that died idle shows at the next wait
            worker.connection.send(task)

    def wait(self, timeout: float | None = None) -> Sequence[Report]:
        """Block until a worker says something or dies, or the time is over."""
        reports: list[Report] = []
        while not reports:
            speaking = wait([worker.connection for worker in self._workers], timeout)
            if not speaking:
                return reports
            for worker in [worker for worker in self._workers if worker.connection in speaking]:
                try:
                    report = worker.connection.recv()
                except (EOFError, OSError):
                    lost = self._bury(worker)
                    reports += [lost] if lost is not None else []
                    continue
                worker.pid = report.pid
                if report.kind != "started":
                    worker.task = None
                    self._measure(report)
                    if report.lacked == "memory":  # what it holds of the device goes with the process alone
                        self._bury(worker)
                reports.append(report)
        return reports

    def stop(self) -> None:
        """Ask the resumable tasks under way to save where they are; their workers end with them."""
        for worker in self._workers:
            if worker.task is not None and worker.task.checkpoint is not None:
                with suppress(OSError):
                    worker.connection.send(None)

    def close(self) -> None:
        """Kill the workers and the process they were forked from."""
        for worker in self._workers:
            worker.connection.close()  # the worker kills itself and what it started
        self._workers.clear()
        self._stop_server()

    def _free(self, *, alone: bool) -> tuple[str | None] | None:
        """The device, in a tuple, that has the most room; None if none has any."""
        busy: dict[str | None, list[Task]] = {device: [] for device in self._devices}
        for worker in self._workers:
            if worker.task is not None:
                busy[worker.device].append(worker.task)
        most = 1 if alone else self._each or 1
        free = [device for device, tasks in busy.items() if len(tasks) < most and not any(task.alone for task in tasks)]
        return (min(free, key=lambda device: len(busy[device])),) if free else None

    def _measure(self, report: Report) -> None:
        """Decide how many workers fit on a device, once the first job has shown what it takes."""
        if self._each is not None or report.kind != "done":
            return
        cores = max(1, len(os.sched_getaffinity(0)) // (self._threads * len(self._devices)))
        self._each = jobs_that_fit(report, cores)

    def _fork(self, device: str | None) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            message = json.dumps({"fork": self._number, "device": device}).encode()
            try:
                socket.send_fds(self._running_control(), [message], [theirs.fileno()])
            except OSError:
                self._stop_server()
                socket.send_fds(self._running_control(), [message], [theirs.fileno()])
        worker = _Worker(self._number, Connection(ours.detach()), device)
        self._number += 1
        self._workers.append(worker)
        return worker

    def _bury(self, worker: _Worker) -> Report | None:
        """Forget a dead worker; a report if it had a task."""
        self._workers.remove(worker)
        worker.connection.close()
        try:
            control = self._running_control()
            control.send(json.dumps({"bury": worker.number}).encode())
            status = json.loads(control.recv(65536) or b"{}").get("status")
        except OSError:
            self._stop_server()
            status = None
        if worker.task is None:
            return None
        return Report(
            worker.task.job.id, "lost", pid=worker.pid, device=worker.device, error=_cause(worker.pid, status)
        )

    def _running_control(self) -> socket.socket:
        if self._server is None:
            self._start_server()
        assert self._server is not None
        return self._server.control

    def _start_server(self) -> None:
        self._server = fork_server_for(self._preload, self._threads)
        self._server.log_to(self._logs / "workers.log")

    def _stop_server(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


def jobs_that_fit(report: Report, cores: int | None) -> int:
    """How many jobs like one that is done a device has room for.

    Args:
        report: of the job, which was alone on the device.
        cores: jobs that this machine has CPUs for; None where others see to that.
    """
    if report.device_memory_mb is None or report.device_total_mb is None:
        return 1
    fit = int(_USABLE * report.device_total_mb // (report.device_memory_mb + _CONTEXT_MB))
    return max(1, fit if cores is None else min(fit, cores))


def _cause(pid: int | None, status: int | None) -> str:
    """One line about how a worker ended, from its wait status."""
    who = f"worker {pid}" if pid is not None else "its worker"
    if status is None:
        return f"{who} ended unseen"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"{who} ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = "; the usual cause is too little memory" if -code == signal.SIGKILL else ""
    return f"{who} was killed by {name}{hint}"
