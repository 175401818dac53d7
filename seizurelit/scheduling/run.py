"""Run jobs in the order of their needs; keep what is whole, try again what is not, let nothing stop the others."""

from __future__ import annotations

import heapq
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from seizurelit.errors import RunError
from seizurelit.scheduling.jobs import Executor, Job, Report, Task, check
from seizurelit.scheduling.ledger import Ledger, Record, job_folder


class Interrupted(RunError):  # noqa: N818 -- it is no error of the run
    """Ctrl-C; the message says how to go on."""


@dataclass(frozen=True)
class Event:
    """Something that happened in a run; `planned` comes first, `ended` last.

    Attributes:
        kind: planned, skipped (was whole already), started, done, retried (the worker died), failed, blocked, ended.
        job: id; empty for planned and ended.
        total: jobs of the run.
        attempt: of this job, counted over all runs.
        pid: of the worker.
        device: lease of the worker.
        seconds: that the job took.
        peak_memory_mb: of the worker during the job, in MiB.
        error: one line, where something went wrong.
        folder: where a done or skipped job's files lie.
    """

    kind: Literal["planned", "skipped", "started", "done", "retried", "failed", "blocked", "ended"]
    job: str
    total: int
    attempt: int = 0
    pid: int | None = None
    device: str | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    error: str | None = None
    folder: Path | None = None


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
) -> Outcome:
    """Run all jobs that are not done yet.

    A job whose folder is whole is skipped, unless a job that it requires was done anew with another result. A job that
    raises fails at once, and is tried anew by the next run; one whose worker died is tried again now. What requires a
    failed job is blocked. Of the jobs that could start, the first in `jobs` does.

    Args:
        jobs: all jobs of the run; those that take longest, or that others wait for, first.
        run_dir: made if it does not exist.
        executor: who runs them; opened only if there is something to run, and always closed.
        on_event: told what happens, in this thread.
        losses: how often in this run a job may lose its worker and still be tried again.

    Returns:
        What became of each job.

    Raises:
        InputError: another process runs jobs in this folder.
        Interrupted: Ctrl-C; what was done is kept.
        ValueError: ids or requirements are unusable.
    """
    check(jobs)
    ledger = Ledger(run_dir.absolute())
    with ledger.locked():
        run = _Run(jobs, ledger, executor, on_event, losses)
        try:
            return run.to_the_end()
        except KeyboardInterrupt:
            raise Interrupted(run.farewell()) from None
        finally:
            run.close()


class _Run:
    """The state of one run: which jobs wait, are ready, under way, settled."""

    def __init__(
        self,
        jobs: Sequence[Job],
        ledger: Ledger,
        executor: Executor,
        on_event: Callable[[Event], None] | None,
        losses: int,
    ) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.position = {job.id: k for k, job in enumerate(jobs)}
        self.ledger = ledger
        self.executor = executor
        self.on_event = on_event
        self.losses = losses
        self.opened = False
        self.partial = ledger.run_dir / "partial"
        self.waits = {job.id: len(set(job.requires)) for job in jobs}
        self.needed_by: dict[str, list[str]] = {}
        for job in jobs:
            for name in set(job.requires):
                self.needed_by.setdefault(name, []).append(job.id)
        self.ready: list[tuple[int, str]] = []
        self.under_way: dict[str, Task] = {}
        self.records: dict[str, Record] = {}
        self.lost: dict[str, int] = {}
        self.digests: dict[str, str] = {}
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.failed: dict[str, str] = {}
        self.blocked: dict[str, str] = {}

    def to_the_end(self) -> Outcome:
        """Plan, then run until nothing is ready or under way."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self.ledger.plan(list(self.jobs.values()))
        self.tell("planned")
        for name in [name for name, waits in self.waits.items() if waits == 0]:  # a list: `consider` frees others
            self.consider(name)
        while self.ready or self.under_way:
            while self.ready and len(self.under_way) < self.executor.slots:
                self.start(heapq.heappop(self.ready)[1])
            for report in self.executor.wait():
                self.take(report)
        self.tell("ended")
        return Outcome(tuple(self.done), dict(self.failed), dict(self.blocked), tuple(self.skipped))

    def consider(self, name: str) -> None:
        """A job whose requirements are all settled: skip it, block it, or make it ready."""
        pending = [name]
        while pending:  # no recursion: a chain of jobs may be longer than Python's stack
            job = self.jobs[pending.pop()]
            whole = self.ledger.verify(job.id)
            broken = next((need for need in job.requires if need not in self.digests), None)
            if whole is not None and (broken is not None or whole["inputs"] == self.inputs(job)):
                self.digests[job.id] = whole["digest"]
                self.skipped.append(job.id)
                record = self.ledger.record(job.id)
                if record.state != "done" or record.digest != whole["digest"]:  # killed between folder and ledger
                    self.ledger.write(replace(record, state="done", error=None, digest=whole["digest"]))
                self.tell("skipped", record)
            elif broken is not None:
                why = self.failed.get(broken)
                reason = f"needs {broken}, which failed: {why}" if why is not None else self.blocked[broken]
                self.blocked[job.id] = reason
                record = replace(self.ledger.record(job.id), state="blocked", error=reason)
                self.ledger.write(record)
                self.tell("blocked", record)
            else:
                self.ledger.discard(job.id)  # half written, or made from other inputs
                heapq.heappush(self.ready, (self.position[job.id], job.id))
                continue
            pending += self.settle(job.id)

    def settle(self, name: str) -> list[str]:
        """Note that nothing more will happen to a job; return those that waited for it alone."""
        freed = []
        for other in self.needed_by.get(name, ()):
            self.waits[other] -= 1
            if self.waits[other] == 0:
                freed.append(other)
        return freed

    def inputs(self, job: Job) -> dict[str, str]:
        """Digest of each required job's results."""
        return {name: self.digests[name] for name in job.requires}

    def start(self, name: str) -> None:
        """Hand a job to the executor."""
        if not self.opened:
            self.opened = True
            self.executor.open(self.ledger.folder)
        folder = self.partial / uuid.uuid4().hex
        folder.mkdir(parents=True)
        task = Task(self.jobs[name], folder, self.ledger.path(name, ".log"), self.inputs(self.jobs[name]))
        self.under_way[name] = task
        self.executor.submit(task)

    def take(self, report: Report) -> None:
        """Act on what the executor says."""
        name = report.job
        if report.kind == "started":
            record = Record(
                name,
                "running",
                attempt=self.ledger.record(name).attempt + 1,
                pid=report.pid,
                device=report.device,
                started=datetime.now().astimezone().isoformat(timespec="seconds"),
            )
            self.records[name] = record
            self.ledger.write(record)
            self.tell("started", record)
            return
        task = self.under_way.pop(name)
        record = replace(
            self.records.pop(name, Record(name)),
            seconds=report.seconds,
            peak_memory_mb=report.peak_memory_mb,
            error=report.error,
            digest=report.digest,
        )
        if report.kind == "done" and report.digest is not None:
            self.ledger.publish(name, task.folder)
            self.ledger.write(replace(record, state="done"))
            self.digests[name] = report.digest
            self.done.append(name)
            self.tell("done", record)
        elif report.kind == "lost" and self.lost.get(name, 0) < self.losses:
            shutil.rmtree(task.folder, ignore_errors=True)
            self.lost[name] = self.lost.get(name, 0) + 1
            self.ledger.write(replace(record, state="pending"))
            heapq.heappush(self.ready, (self.position[name], name))
            self.tell("retried", record)
            return
        else:
            shutil.rmtree(task.folder, ignore_errors=True)
            error = report.error or "no reason was given"
            if report.kind == "lost":
                error += f" ({self.losses + 1} attempts)"
            record = replace(record, state="failed", error=error)
            self.failed[name] = error
            self.ledger.write(record, report.trace)
            self.tell("failed", record)
        for freed in self.settle(name):
            self.consider(freed)

    def tell(self, kind: Any, record: Record | None = None) -> None:
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
                error=record.error,
                folder=job_folder(self.ledger.run_dir, record.job) if kind in ("done", "skipped") else None,
            )
        if self.on_event is not None:
            self.on_event(event)

    def farewell(self) -> str:
        """What to say after Ctrl-C."""
        kept = len(self.done) + len(self.skipped)
        running = f", {len(self.under_way)} under way begin anew" if self.under_way else ""
        return (
            f"stopped: {kept} of {len(self.jobs)} jobs are done and kept{running}; "
            f"the same command, with the same run folder {self.ledger.run_dir}, goes on from here"
        )

    def close(self) -> None:
        """End what is under way, and leave no trace of it."""
        if self.opened:
            self.executor.close()
        for record in self.records.values():
            self.ledger.write(replace(record, state="pending"))
        shutil.rmtree(self.partial, ignore_errors=True)
