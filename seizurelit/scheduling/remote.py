"""One task in a process that a cluster gave us: what Ray and SLURM share.

Such a process imports for itself and is told to stop by whoever started it. It says on which machine it ran; where that machine
does not see our folders, `shipping` has brought what the task reads, and takes back what it made.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from seizurelit.scheduling import stopping
from seizurelit.scheduling.jobs import Report, Task
from seizurelit.scheduling.worker import execute, limit_threads, printing_to


@dataclass(frozen=True)
class Surroundings:
    """What a process elsewhere takes from the run's own.

    Attributes:
        path: where it imports from.
        threads: CPU threads of its libraries.
    """

    path: tuple[str, ...]
    threads: int

    @classmethod
    def of_this_process(cls, threads: int) -> Surroundings:
        """Those of the process that hands tasks out."""
        return cls(tuple(str(Path(entry).absolute()) for entry in sys.path), threads)

    def adopt(self) -> None:
        """Make them this process's own."""
        sys.path.extend(entry for entry in self.path if entry not in sys.path and Path(entry).exists())
        limit_threads(self.threads)


def device_here() -> str | None:
    """The CUDA devices that this process was given, as CUDA_VISIBLE_DEVICES writes them; None on a CPU."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") or None


def started(task: Task) -> Report:
    """That a task has begun in this process."""
    return Report(task.job.id, "started", pid=os.getpid(), host=socket.gethostname(), device=device_here())


def run(task: Task) -> Report:
    """Run a task in this process; what it prints goes to its log."""
    with printing_to(task.log):
        report = execute(task, device_here())
    return replace(report, host=socket.gethostname())


def stop_on_signals() -> None:
    """Let SIGTERM (pre-emption) and SIGUSR2 (a time limit that comes near) ask the job to save where it is."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, lambda *_: stopping.request())


def elsewhere(report: Report) -> Report:
    """The same without its machine where that is this one."""
    return replace(report, host=None) if report.host == socket.gethostname() else report
