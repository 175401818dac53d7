"""One job after another in this process: for debugging, and for machines with one core."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from seizurelit.scheduling.jobs import Report, Task
from seizurelit.scheduling.worker import execute, limit_threads


class Serial:
    """An executor that runs a task when it is waited for; what the job prints is not redirected.

    Args:
        threads: CPU threads a job. Libraries that were imported before and are not torch keep what they had.
    """

    slots = 1

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._task: Task | None = None
        self._started = False

    def open(self, logs: Path) -> None:
        """Nothing to make ready."""

    def room(self, *, alone: bool = False) -> bool:
        """Whether no task is under way."""
        del alone
        return self._task is None

    def submit(self, task: Task) -> None:
        """Keep the task for `wait`."""
        self._task, self._started = task, False

    def wait(self, timeout: float | None = None) -> Sequence[Report]:
        """Say that the task starts; the next time, run it, however long that takes."""
        del timeout
        if self._task is None:
            msg = "no task is under way"
            raise RuntimeError(msg)
        if not self._started:
            self._started = True
            return [Report(self._task.job.id, "started", pid=os.getpid())]
        limit_threads(self.threads)
        before = signal.getsignal(signal.SIGINT)
        try:
            report = execute(self._task)
        finally:
            # Lightning's Trainer ignores Ctrl-C after the first, for good.
            if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not before:
                signal.signal(signal.SIGINT, before)
        self._task = None
        return [report]

    def stop(self) -> None:
        """Nothing is under way when this can be called."""

    def close(self) -> None:
        """Nothing to end."""
        self._task = None
