"""Worker processes of this machine: forked from one that imported all, replaced when they die, gone when we are."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from seizurelit.scheduling.jobs import Report, Task
from seizurelit.scheduling.worker import THREADS

_START = """
import json, sys
argument = json.loads(sys.argv[1])
sys.path[:] = argument["path"]
from seizurelit.scheduling.fork_server import main
main(argument["control"], argument["preload"], argument["threads"])
"""


@dataclass
class _Worker:
    number: int
    connection: Connection[Task, Report]
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
        per_device: workers on one device.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        threads: int = 1,
        preload: Sequence[str] = (),
        devices: Sequence[str] = (),
        per_device: int = 1,
    ) -> None:
        if workers < 1 or threads < 1 or per_device < 1:
            msg = "workers, threads and per_device are at least 1"
            raise ValueError(msg)
        self._leases: tuple[str | None, ...] = tuple(devices) * per_device if devices else (None,) * workers
        self._threads = threads
        self._preload = tuple(preload)
        self._workers: list[_Worker] = []
        self._number = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._logs = Path()

    @property
    def slots(self) -> int:
        """How many tasks may be under way at once."""
        return len(self._leases)

    def open(self, logs: Path) -> None:
        """Start importing in the background; what that prints goes to `workers.log` in `logs`."""
        self._logs = logs
        self._start_server()

    def submit(self, task: Task) -> None:
        """Give the task to an idle worker, or to a new one."""
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is None:
            worker = self._fork()
        worker.task = task
        with suppress(OSError):  # a worker that died idle shows at the next wait
            worker.connection.send(task)

    def wait(self) -> Sequence[Report]:
        """Block until a worker says something or dies."""
        reports: list[Report] = []
        while not reports:
            speaking = wait([worker.connection for worker in self._workers])
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
                reports.append(report)
        return reports

    def close(self) -> None:
        """Kill the workers and the process they were forked from."""
        for worker in self._workers:
            worker.connection.close()  # the worker kills itself and what it started
        self._workers.clear()
        self._stop_server()

    def _fork(self) -> _Worker:
        taken = [worker.device for worker in self._workers]
        device = min(self._leases, key=lambda lease: taken.count(lease) / self._leases.count(lease))
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
        if self._control is None:
            self._start_server()
        if self._control is None:
            msg = "no fork server"
            raise RuntimeError(msg)
        return self._control

    def _start_server(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argument = {
            "path": [str(Path(entry).absolute()) for entry in sys.path],
            "control": theirs.fileno(),
            "preload": self._preload,
            "threads": self._threads,
        }
        self._logs.mkdir(parents=True, exist_ok=True)
        with theirs, (self._logs / "workers.log").open("ab") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(argument)],
                env={**os.environ, **dict.fromkeys(THREADS, str(self._threads))},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._control = ours

    def _stop_server(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None


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
