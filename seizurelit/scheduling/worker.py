"""One task, run: the part that is the same in this process, in a worker, and on another machine."""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from pathlib import Path

from seizurelit.scheduling.jobs import Report, Task
from seizurelit.scheduling.ledger import seal

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def limit_threads(threads: int) -> None:
    """Give the numerical libraries of this process `threads` CPU threads; torch only if it was imported already."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def one_line(error: BaseException) -> str:
    """Type and first line of an exception's message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def execute(task: Task, device: str | None = None) -> Report:
    """Run a task in its folder, seal the folder, and say how it went; only Ctrl-C passes through."""
    job = task.job
    _restart_peak_memory()
    start = time.monotonic()
    digest = error = trace = None
    try:
        module, _, function = job.call.partition(":")
        result = getattr(importlib.import_module(module), function)(task.folder, **job.arguments)
        digest = seal(task.folder, job.id, result, task.inputs)
    except (Exception, SystemExit) as fault:
        if isinstance(fault.__context__, KeyboardInterrupt):  # Lightning's Trainer turns Ctrl-C into sys.exit(1)
            raise fault.__context__ from None
        error, trace = one_line(fault), traceback.format_exc()
    return Report(
        job=job.id,
        kind="failed" if error else "done",
        pid=os.getpid(),
        device=device,
        seconds=round(time.monotonic() - start, 3),
        peak_memory_mb=_peak_memory_mb(),
        digest=digest,
        error=error,
        trace=trace,
    )


def _restart_peak_memory() -> None:
    """Let Linux count the largest resident memory anew (proc(5), clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory_mb() -> float | None:
    """Largest resident memory since it was last counted anew, in MiB."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return round(int(line.split()[1]) / 1024, 1) if line else None
