"""One task, run: the part that is the same in this process, in a worker, and on another machine."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

from seizurelit.scheduling import stopping
from seizurelit.scheduling.device_use import DeviceUse
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


_measured: dict[str, float] = {}


def measure(name: str, amount: float) -> None:
    """Tell of the work of the job that this process runs: adds to what stands in its record, not to its results.

    Args:
        name: of what was done, in the plural, such as training_steps.
        amount: how much.
    """
    _measured[name] = _measured.get(name, 0.0) + amount


def execute(task: Task, device: str | None = None) -> Report:
    """Run a task in its folder, seal the folder, and say how it went; only Ctrl-C passes through."""
    job = task.job
    _measured.clear()
    _restart_peak_memory()
    start = time.monotonic()
    use = DeviceUse(device)
    kind: Literal["done", "failed", "stopped"] = "done"
    lacked: Literal["memory", "disk"] | None = None
    digest = error = trace = None
    try:
        module, _, function = job.call.partition(":")
        work = getattr(importlib.import_module(module), function)
        more = {} if task.checkpoint is None else {"checkpoint": task.checkpoint}
        with use, nullcontext() if task.checkpoint is None else stopping.resumable():
            result = work(task.folder, **job.arguments, **more)
        digest = seal(task.folder, job.id, result, task.inputs)
    except stopping.Stopped:
        kind = "stopped"
    except (Exception, SystemExit) as fault:
        if isinstance(fault.__context__, KeyboardInterrupt):  # Lightning's Trainer turns Ctrl-C into sys.exit(1)
            raise fault.__context__ from None
        kind, lacked = "failed", _lacked(fault)
        error, trace = one_line(fault), traceback.format_exc()
    reserved, total = _device_memory_mb()
    return Report(
        job=job.id,
        kind=kind,
        pid=os.getpid(),
        device=device,
        seconds=round(time.monotonic() - start, 3),
        peak_memory_mb=_peak_memory_mb(),
        device_memory_mb=reserved,
        device_total_mb=total,
        device_percent=use.percent,
        measured=dict(_measured),
        digest=digest,
        error=error,
        trace=trace,
        lacked=lacked,
    )


@contextmanager
def printing_to(log: Path) -> Iterator[None]:
    """Send what this process prints, C code included, to a file; it is deleted if nothing came."""
    log.parent.mkdir(parents=True, exist_ok=True)
    before = os.dup(1), os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(ValueError):
                stream.flush()
        for fd, saved in zip((1, 2), before, strict=True):
            os.dup2(saved, fd)
            os.close(saved)
        with suppress(OSError):
            if log.stat().st_size == 0:
                log.unlink()


def _lacked(fault: BaseException) -> Literal["memory", "disk"] | None:
    """What an exception, or one that it came from, says there was too little of: torch's own types are not imported for it."""
    seen: BaseException | None = fault
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return "disk"
        text = str(seen)
        if type(seen).__name__ == "OutOfMemoryError" or "CUDA out of memory" in text or "ALLOC_FAILED" in text:
            return "memory"
        seen = seen.__cause__ or seen.__context__
    return None


def _cuda() -> Any:
    """torch.cuda, where this process uses a device; None otherwise."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None


def _device_memory_mb() -> tuple[float | None, float | None]:
    """Largest memory that torch reserved on this process's device since it was last counted anew, and the device's, in MiB."""
    cuda = _cuda()
    if cuda is None:
        return None, None
    return round(cuda.max_memory_reserved() / 2**20, 1), round(cuda.mem_get_info()[1] / 2**20, 1)


def _restart_peak_memory() -> None:
    """Let Linux count the largest resident memory anew (proc(5), clear_refs), and torch that of the device."""
    cuda = _cuda()
    if cuda is not None:
        cuda.reset_peak_memory_stats()
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
