"""What is to be run: jobs, what each needs, and what comes back from whoever ran one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

_PART = re.compile(r"[^\s/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,199}")
_CALL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Job:
    """One piece of work that is wholly done or not at all.

    The callable is called as `function(folder, **arguments)`, writes its files into `folder`, which is empty, and
    returns a mapping that JSON can hold. Files and mapping must depend on the arguments alone (no clock, no path): this
    is what makes an interrupted run equal to an undisturbed one.

    Attributes:
        id: path-like name, such as dystonia/pose/agcn/seed-0/sub-03; also the job's folder below `jobs/` of the run.
        call: "module:function", imported by whoever runs the job.
        arguments: keyword arguments, picklable.
        requires: ids of the jobs whose folders this one reads.
        resumable: the function also takes `checkpoint`, a folder that outlives an attempt; it makes it, to write there what it can
            go on from, and answers `stopping.requested()` by raising `Stopped`.
    """

    id: str
    call: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    resumable: bool = False


@dataclass(frozen=True)
class Task:
    """A job as it is handed to an executor.

    Attributes:
        job: the job.
        folder: an empty folder of the run's own file system; the scheduler renames it once the job is done.
        log: file that takes what the job prints, where the executor can redirect it.
        inputs: digest of each required job's results, recorded with this job's own.
        checkpoint: folder of a resumable job, which need not be there.
        alone: nothing else may run on the device; it had too little memory for several.
    """

    job: Job
    folder: Path
    log: Path
    inputs: Mapping[str, str]
    checkpoint: Path | None = None
    alone: bool = False


@dataclass(frozen=True)
class Report:
    """What an executor says about a task.

    Attributes:
        job: id of the job.
        kind: started; done; failed, when the job raised; stopped, when it saved where it is, as it was asked to; lost, when the
            worker that ran it is gone.
        pid: of the worker.
        host: of the worker, where that is not this machine.
        device: the lease, such as a CUDA device; None on a CPU.
        seconds: how long the job ran, by a clock that is never set.
        peak_memory_mb: largest resident memory of the worker during the job, in MiB.
        device_memory_mb: largest memory that torch reserved on the CUDA device during the job, in MiB.
        device_total_mb: memory of that device.
        device_percent: how busy the CUDA device was meanwhile, with all that ran on it, on average.
        measured: what the job told of its work, such as how many training steps; see `worker.measure`.
        digest: of the job's results.
        error: one line.
        trace: the traceback.
        lacked: what a failed job had too little of, where that is known: device memory, or disk space.
    """

    job: str
    kind: Literal["started", "done", "failed", "stopped", "lost"]
    pid: int | None = None
    host: str | None = None
    device: str | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    device_memory_mb: float | None = None
    device_total_mb: float | None = None
    device_percent: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    digest: str | None = None
    error: str | None = None
    trace: str | None = None
    lacked: Literal["memory", "disk"] | None = None


class Executor(Protocol):
    """Who runs tasks: this process, processes of this machine, or others."""

    @property
    def slots(self) -> int:
        """How many tasks are under way at once, for all that is known so far."""

    def open(self, logs: Path) -> None:
        """Make ready; `logs` is a folder for what the workers themselves print."""

    def room(self, *, alone: bool = False) -> bool:
        """Whether a task would start at once; one that is to be alone needs a device without any other."""

    def submit(self, task: Task) -> None:
        """Take a task; called only while there is room for it. Must not wait for it."""

    def wait(self, timeout: float | None = None) -> Sequence[Report]:
        """Return what happened, once there is something, so many seconds pass, or there is more room than before.

        Called only while a task is under way.

        Each task gives at most one `started` and then exactly one of the other kinds.
        """

    def stop(self) -> None:
        """Ask the resumable tasks under way to save where they are and end; each still gives a report."""

    def close(self) -> None:
        """End at once; tasks under way are lost. Called once, also after an error and by Ctrl-C."""


def check(jobs: Sequence[Job]) -> None:
    """Raise ValueError unless the jobs have usable, distinct ids and requirements that exist, without a circle."""
    known = {job.id: job for job in jobs}
    if len(known) != len(jobs):
        twice = [name for name, count in Counter(job.id for job in jobs).items() if count > 1]
        msg = f"jobs given twice: {', '.join(twice)}"
        raise ValueError(msg)
    for job in jobs:
        parts = job.id.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            msg = (
                f"not a job's id: {job.id!r}; parts between slashes must not be empty or begin with a point or a blank"
            )
            raise ValueError(msg)
        if not _CALL.fullmatch(job.call):
            msg = f"job {job.id}: not 'module:function': {job.call!r}"
            raise ValueError(msg)
        inside = next((parent for k in range(1, len(parts)) if (parent := "/".join(parts[:k])) in known), None)
        if inside is not None:
            msg = f"job {job.id} would lie inside the folder of job {inside}"
            raise ValueError(msg)
        unknown = [name for name in job.requires if name not in known]
        if unknown:
            msg = f"job {job.id} requires {', '.join(unknown)}, which is not among the jobs"
            raise ValueError(msg)
    # Kahn's algorithm: what is never freed lies on a circle, or behind one.
    waits = {job.id: len(set(job.requires)) for job in jobs}
    needed_by: dict[str, list[str]] = {}
    for job in jobs:
        for name in set(job.requires):
            needed_by.setdefault(name, []).append(job.id)
    free = [name for name, count in waits.items() if count == 0]
    while free:
        for name in needed_by.get(free.pop(), ()):
            waits[name] -= 1
            if waits[name] == 0:
                free.append(name)
    circle = sorted(name for name, count in waits.items() if count > 0)
    if circle:
        msg = f"jobs require each other in a circle: {', '.join(circle)}"
        raise ValueError(msg)
