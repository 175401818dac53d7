"""Run jobs in the order of their needs; keep what is whole, try again what is not, let nothing stop the others.

Several runs may work in one folder, on one machine or on many: each claims a job before it starts it, and waits for what
others have.
"""

from __future__ import annotations

import errno
import heapq
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from seizurelit.errors import RunError
from seizurelit.scheduling import stopping
from seizurelit.scheduling.claims import LEASE, Claims
from seizurelit.scheduling.jobs import Executor, Job, Report, Task, check
from seizurelit.scheduling.ledger import Ledger, Record, job_folder

LOOK = 1.0
"""Seconds from one look at what other runs in the folder do to the next."""

GRACE = 20.0
"""Seconds that jobs have to save where they are: SLURM gives 30 from SIGTERM to SIGKILL."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Interrupted(RunError):  # noqa: N818 -- it is no error of the run
    """Ctrl-C or SIGTERM; the message says how to go on."""


@dataclass(frozen=True)
class Event:
    """Something that happened in a run; `planned` comes first, `ended` last.

    Attributes:
        kind: planned, skipped (was whole already, or another run made it), started, done, retried (the worker died, or the device
            had too little memory), failed, blocked, ended.
        job: id; empty for planned and ended.
        total: jobs of the run.
        attempt: of this job, counted over all runs.
        pid: of the worker.
        device: lease of the worker.
        seconds: that the job took.
        peak_memory_mb: of the worker during the job, in MiB.
        device_memory_mb: largest memory reserved on the CUDA device, in MiB.
        device_percent: how busy that device was.
        measured: what the job told of its work.
        error: one line, where something went wrong.
        folder: where a done or skipped job's files lie.
        ours: false where another run that is at work in this folder made the job, and tells of it.
    """

    kind: Literal["planned", "skipped", "started", "done", "retried", "failed", "blocked", "ended"]
    job: str
    total: int
    attempt: int = 0
    pid: int | None = None
    device: str | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    device_memory_mb: float | None = None
    device_percent: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    folder: Path | None = None
    ours: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of each job.

    Attributes:
        done: run now, in the order in which they ended.
        failed: error, in one line.
        blocked: which failure each waited for.
        skipped: were whole already.
    """

    done: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    blocked: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every job is done."""
        return not self.failed and not self.blocked


def run_jobs(
    jobs: Sequence[Job],
    run_dir: Path,
    *,
    executor: Executor,
    on_event: Callable[[Event], None] | None = None,
    losses: int = 2,
    lease: float = LEASE,
) -> Outcome:
    """Run all jobs that are not done yet.

    A job whose folder is whole is skipped, unless a job that it requires was done anew with another result. A job that
    raises fails at once, and is tried anew by the next run; one whose worker died is tried again now, and one that had too little
    memory on its device is tried again alone. What requires a failed job is blocked. Of the jobs that could start, the first in
    `jobs` does. Jobs that another run in this folder has are waited for.

    Args:
        jobs: all jobs of the run; those that take longest, or that others wait for, first.
        run_dir: made if it does not exist.
        executor: who runs them; opened only if there is something to run, and always closed.
        on_event: told what happens, in this thread.
        losses: how often in this run a job may lose its worker and still be tried again.
        lease: seconds without a heartbeat after which a run on another machine counts as gone.

    Returns:
        What became of each job.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; what was done is kept, and what could be saved of the jobs under way.
        RunError: the disk is full; what was done is kept.
        ValueError: ids or requirements are unusable.
    """
    check(jobs)
    ledger = Ledger(run_dir.absolute())
    try:
        with Claims(ledger.folder, lease) as claims, stopping.listening():
            run = _Run(jobs, ledger, claims, executor, on_event=on_event, losses=losses)
            try:
                return run.to_the_end()
            except KeyboardInterrupt:
                run.stop()
                raise Interrupted(run.farewell()) from None
            finally:
                run.close()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RunError(_disk_full(run_dir)) from None


def _disk_full(run_dir: Path) -> str:
    return f"{run_dir}: the disk is full; make room, and the same command goes on where this one was"


class _Run:
    """The state of one run: which jobs wait, are ready, under way, settled."""

    def __init__(
        self,
        jobs: Sequence[Job],
        ledger: Ledger,
        claims: Claims,
        executor: Executor,
        *,
        on_event: Callable[[Event], None] | None,
        losses: int,
    ) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.position = {job.id: k for k, job in enumerate(jobs)}
        self.ledger = ledger
        self.claims = claims
        self.executor = executor
        self.on_event = on_event
        self.losses = losses
        self.opened = False
        self.partial = ledger.run_dir / "partial" / claims.owner
        self.waits = {job.id: len(set(job.requires)) for job in jobs}
        self.needed_by: dict[str, list[str]] = {}
        for job in jobs:
            for name in set(job.requires):
                self.needed_by.setdefault(name, []).append(job.id)
        self.ready: list[tuple[int, str]] = []
        self.alone: list[str] = []
        self.elsewhere: set[str] = set()
        self.under_way: dict[str, Task] = {}
        self.records: dict[str, Record] = {}
        self.lost: dict[str, int] = {}
        self.saved: set[str] = set()
        self.digests: dict[str, str] = {}
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.failed: dict[str, str] = {}
        self.blocked: dict[str, str] = {}
        self.others = claims.others()

    def to_the_end(self) -> Outcome:
        """Plan, then run until nothing is ready, under way or with another run."""
        self.sweep()
        self.ledger.plan(list(self.jobs.values()))
        self.tell("planned")
        for name in [name for name, waits in self.waits.items() if waits == 0]:  # a list: `consider` frees others
            self.consider(name)
        looked = time.monotonic()
        while self.ready or self.alone or self.under_way or self.elsewhere:
            while self.ready and self.executor.room():
                self.start(heapq.heappop(self.ready)[1])
            while not self.ready and self.alone and self.executor.room(alone=True):
                self.start(self.alone.pop(0), alone=True)
            if self.under_way:
                for report in self.executor.wait(LOOK if self.elsewhere else None):
                    self.take(report)
            elif self.elsewhere:
                time.sleep(LOOK / 5)
            if self.elsewhere and time.monotonic() - looked >= LOOK:
                for name in sorted(self.elsewhere, key=self.position.__getitem__):
                    self.look(name)
                looked = time.monotonic()
        self.tell("ended")
        return Outcome(tuple(self.done), dict(self.failed), dict(self.blocked), tuple(self.skipped))

    def sweep(self) -> None:
        """Delete what runs that are gone left half done."""
        for folder in self.partial.parent.glob("*"):
            if not self.claims.alive(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def consider(self, name: str) -> None:
        """A job whose requirements are all settled: skip it, block it, or make it ready."""
        pending = [name]
        while pending:  # no recursion: a chain of jobs may be longer than Python's stack
            job = self.jobs[pending.pop()]
            broken = next((need for need in job.requires if need not in self.digests), None)
            if self.whole(job, broken is not None):
                pass
            elif broken is not None:
                why = self.failed.get(broken)
                reason = f"needs {broken}, which failed: {why}" if why is not None else self.blocked[broken]
                self.blocked[job.id] = reason
                record = replace(self.ledger.record(job.id), state="blocked", error=reason)
                self.ledger.write(record)
                self.tell("blocked", record)
            else:
                heapq.heappush(self.ready, (self.position[job.id], job.id))
                continue
            pending += self.settle(job.id)

    def whole(self, job: Job, without: bool = False) -> bool:
        """Whether a job is done already; if so, note it.

        Args:
            job: the job.
            without: whatever it was made of, as a job that it requires is not there.
        """
        whole = self.ledger.verify(job.id)
        if whole is None or not (without or whole["inputs"] == self.inputs(job)):
            return False
        self.digests[job.id] = whole["digest"]
        self.skipped.append(job.id)
        record = self.ledger.record(job.id)
        ours = not self.others or not self.claims.alive(self.claims.holder(job.id))
        if ours and (record.state != "done" or record.digest != whole["digest"]):  # killed between folder and ledger
            record = replace(record, state="done", error=None, digest=whole["digest"])
            self.ledger.write(record)
        self.tell("skipped", record, ours=ours)
        return True

    def settle(self, name: str) -> list[str]:
        """Note that nothing more will happen to a job; return those that waited for it alone."""
        freed = []
        for other in self.needed_by.get(name, ()):
            self.waits[other] -= 1
            if self.waits[other] == 0:
                freed.append(other)
        return freed

    def free(self, name: str) -> None:
        """Settle a job, and consider those that waited for it."""
        for freed in self.settle(name):
            self.consider(freed)

    def inputs(self, job: Job) -> dict[str, str]:
        """Digest of each required job's results."""
        return {name: self.digests[name] for name in job.requires}

    def start(self, name: str, *, alone: bool = False) -> None:
        """Claim a job and hand it to the executor; if another run has it, leave it there."""
        job = self.jobs[name]
        if not self.claims.take(name):
            self.others = self.others or self.claims.others()
            self.elsewhere.add(name)
            self.look(name)
            return
        if self.whole(job):  # another run was faster, and is gone
            self.free(name)
            return
        self.ledger.discard(name)  # half written, or made from other inputs
        if not self.opened:
            self.opened = True
            self.executor.open(self.ledger.folder)
        folder = self.partial / uuid.uuid4().hex
        folder.mkdir(parents=True)
        inputs = self.inputs(job)
        checkpoint = self.ledger.checkpoint(name, inputs) if job.resumable else None
        task = Task(job, folder, self.ledger.path(name, ".log"), inputs, checkpoint, alone)
        self.under_way[name] = task
        self.executor.submit(task)

    def look(self, name: str) -> None:
        """See how far another run is with a job that it has."""
        holder = self.claims.holder(name)
        gone = not self.claims.alive(holder)  # before the folder is looked at: it may be made and given up in between
        record = self.ledger.record(name)
        if self.whole(self.jobs[name]):
            self.elsewhere.discard(name)
            self.free(name)
        elif gone:
            self.elsewhere.discard(name)
            heapq.heappush(self.ready, (self.position[name], name))
        elif record.state == "failed" and record.run == holder:
            self.elsewhere.discard(name)
            self.failed[name] = record.error or "no reason was given"
            self.tell("failed", record, ours=False)
            self.free(name)

    def take(self, report: Report) -> None:
        """Act on what the executor says."""
        name = report.job
        if report.kind == "started":
            record = Record(
                name,
                "running",
                attempt=self.ledger.record(name).attempt + 1,
                run=self.claims.owner,
                pid=report.pid,
                host=report.host,
                device=report.device,
                started=datetime.now().astimezone().isoformat(timespec="seconds"),
            )
            self.records[name] = record
            self.ledger.write(record)
            self.tell("started", record)
            return
        task = self.under_way.pop(name)
        record = replace(
            self.records.pop(name, Record(name, run=self.claims.owner)),
            seconds=report.seconds,
            peak_memory_mb=report.peak_memory_mb,
            device_memory_mb=report.device_memory_mb,
            device_percent=report.device_percent,
            measured=report.measured,
            error=report.error,
            digest=report.digest,
        )
        if not self.claims.mine(name) or (report.kind == "done" and not self.ledger.publish(name, task.folder)):
            shutil.rmtree(task.folder, ignore_errors=True)  # this run stood still for so long that another took the job
            self.elsewhere.add(name)
        elif report.kind == "done" and report.digest is not None:
            self.ledger.write(replace(record, state="done"))
            if task.checkpoint is not None:
                self.ledger.forget_checkpoint(name)
            self.digests[name] = report.digest
            self.done.append(name)
            self.tell("done", record)
            self.free(name)
        else:
            shutil.rmtree(task.folder, ignore_errors=True)
            self.unfinished(task, report, record)

    def unfinished(self, task: Task, report: Report, record: Record) -> None:
        """Try a job again, or give it up."""
        name = task.job.id
        if report.kind == "stopped":
            self.ledger.write(replace(record, state="pending"))
            if record.attempt:  # it had begun
                self.saved.add(name)
            if stopping.requested():  # this process itself was asked: the job ran in it
                raise KeyboardInterrupt
            heapq.heappush(self.ready, (self.position[name], name))
        elif report.kind == "lost" and self.lost.get(name, 0) < self.losses:
            self.lost[name] = self.lost.get(name, 0) + 1
            self.ledger.write(replace(record, state="pending"))
            heapq.heappush(self.ready, (self.position[name], name))
            self.tell("retried", record)
        elif report.lacked == "disk":
            self.ledger.write(replace(record, state="pending"))
            raise OSError(errno.ENOSPC, report.error)  # every other job would only learn the same, at its end
        elif report.lacked == "memory" and not task.alone:
            self.ledger.write(replace(record, state="pending"))
            self.alone.append(name)
            self.tell("retried", replace(record, error=f"{record.error} (now alone on its device)"))
        else:
            error = report.error or "no reason was given"
            if report.kind == "lost":
                error += f" ({self.losses + 1} attempts)"
            if report.lacked == "memory":
                error += " (alone on its device)"
            if task.checkpoint is not None:
                self.ledger.forget_checkpoint(name)
            record = replace(record, state="failed", error=error)
            self.failed[name] = error
            self.ledger.write(record, report.trace)
            self.tell("failed", record)
            self.free(name)

    def tell(self, kind: Any, record: Record | None = None, *, ours: bool = True) -> None:
        """Report an event."""
        event = Event(kind, "", len(self.jobs))
        if record is not None:
            event = Event(
                kind,
                record.job,
                len(self.jobs),
                attempt=record.attempt,
                pid=record.pid,
                device=record.device,
                seconds=record.seconds,
                peak_memory_mb=record.peak_memory_mb,
                device_memory_mb=record.device_memory_mb,
                device_percent=record.device_percent,
                measured=record.measured,
                error=record.error,
                folder=job_folder(self.ledger.run_dir, record.job) if kind in ("done", "skipped") else None,
                ours=ours,
            )
        if self.on_event is not None:
            self.on_event(event)

    def stop(self) -> None:
        """Let the jobs that can save where they are, for as long as there may be time for it; a second Ctrl-C ends that."""
        until = time.monotonic() + GRACE
        with suppress(KeyboardInterrupt):
            if self.opened:
                self.executor.stop()
            while any(task.checkpoint is not None for task in self.under_way.values()):
                left = until - time.monotonic()
                if left <= 0:
                    return
                for report in self.executor.wait(left):
                    self.take(report)

    def farewell(self) -> str:
        """What to say after Ctrl-C."""
        kept = len(self.done) + len(self.skipped)
        saved = f", {len(self.saved)} under way go on from their last epoch" if self.saved else ""
        running = f", {len(self.under_way)} under way begin anew" if self.under_way else ""
        return (
            f"stopped: {kept} of {len(self.jobs)} jobs are done and kept{saved}{running}; "
            f"the same command, with the same run folder {self.ledger.run_dir}, goes on from here"
        )

    def close(self) -> None:
        """End what is under way, and leave no trace of it but what it saved."""
        if self.opened:
            self.executor.close()
        for record in self.records.values():
            with suppress(OSError):  # a full disk is said already
                self.ledger.write(replace(record, state="pending"))
        shutil.rmtree(self.partial, ignore_errors=True)
        with suppress(OSError):
            self.partial.parent.rmdir()
