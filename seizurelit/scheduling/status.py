"""What the ledger of a run says, for a person: how far it is, what runs where, what failed and why."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from seizurelit.errors import InputError
from seizurelit.scheduling.claims import Claims
from seizurelit.scheduling.ledger import Ledger, Record
from seizurelit.scheduling.progress import kind_of, spoken, time_left

_LISTED = 30
"""Running and failed jobs that are listed, where not all jobs are."""

_COLOURS = {"done": "green", "running": "cyan", "failed": "red", "blocked": "yellow", "pending": "dim"}


@dataclass(frozen=True)
class Status:
    """A ledger as it was at one moment.

    Attributes:
        folder: of the run.
        records: of every job of its plan, in order; a job of a run that is gone does not count as running.
        runs: how many runs are at work in the folder.
        elapsed: running job → seconds since it began, by the clocks of the machines.
    """

    folder: Path
    records: Mapping[str, Record]
    runs: int
    elapsed: Mapping[str, float]

    @property
    def counts(self) -> Counter[str]:
        """State → jobs."""
        return Counter(record.state for record in self.records.values())

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen, as long as no run is begun."""
        counts = self.counts
        return self.runs == 0 or not counts["pending"] + counts["running"]

    @property
    def left(self) -> float | None:
        """Seconds until the end, for all that the jobs so far tell."""
        left = Counter(kind_of(name) for name, record in self.records.items() if record.state in ("pending", "running"))
        seconds: dict[str, tuple[int, float]] = {}
        for name, record in self.records.items():
            if record.state == "done" and record.seconds is not None:
                n, total = seconds.get(kind_of(name), (0, 0.0))
                seconds[kind_of(name)] = n + 1, total + record.seconds
        running: dict[str, list[float]] = {}
        for name, spent in self.elapsed.items():
            running.setdefault(kind_of(name), []).append(spent)
        return time_left(left, seconds, running, len(self.elapsed))


def ledger_of(folder: Path) -> Ledger:
    """The ledger that a run folder has, or a cache that was extracted.

    Raises:
        InputError: there is none.
    """
    for place in (folder, folder / "extraction"):
        ledger = Ledger(place)
        if ledger.planned():
            return ledger
    msg = f"{folder}: has no ledger of jobs; give the folder that fit, reproduce or extract printed"
    raise InputError(msg)


def read_status(ledger: Ledger, claims: Claims) -> Status:
    """Read a ledger.

    Args:
        ledger: of a run; nothing is written.
        claims: of it; kept from one reading to the next, it notices that a run on another machine has gone.
    """
    now = datetime.now().astimezone()
    records, elapsed = ledger.records(), {}
    for name, record in records.items():
        if record.state != "running":
            continue
        if record.run is None or not claims.alive(record.run):
            records[name] = replace(record, state="pending")
            continue
        began = datetime.fromisoformat(record.started) if record.started else now
        elapsed[name] = max(0.0, (now - began).total_seconds())
    return Status(ledger.run_dir, records, len(claims.others()), elapsed)


def render(status: Status, *, jobs: bool = False) -> RenderableType:
    """A page for the terminal.

    Args:
        status: what to show.
        jobs: list every job with its attempt, device, duration, memory and digest.
    """
    counts, total = status.counts, len(status.records)
    states = [f"{counts[state]} {state}" for state in ("running", "failed", "blocked", "pending") if counts[state]]
    at_work = {0: "no run is at work", 1: "one run is at work"}.get(status.runs, f"{status.runs} runs are at work")
    left = status.left
    rest = "" if status.settled or left is None else f", about {spoken(left)} left"
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, total), completed=counts["done"], width=30)
    head.add_row(bar, Text(", ".join([f"{counts['done']} of {total} jobs done", *states])))
    parts: list[RenderableType] = [Text(f"{status.folder}: {at_work}{rest}"), head]
    if jobs:
        return Group(*parts, _jobs(status))
    parts.append(_kinds(status))
    for state, table in (("running", _running(status)), ("failed", _failed(status))):
        if counts[state]:
            parts.append(table)
        if counts[state] > _LISTED:
            parts.append(Text(f"  and {counts[state] - _LISTED} more; --jobs lists all", style="dim"))
    return Group(*parts)


def _table(
    *headings: str, left: Sequence[str] = ("jobs", "job", "state", "device", "error", "digest", "where")
) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in headings:
        aligned = heading in left
        table.add_column(heading, justify="left" if aligned else "right", overflow="fold", no_wrap=not aligned)
    return table


def _number(value: float | None, places: int = 0) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _kinds(status: Status) -> Table:
    """A row for the jobs that are expected to take equally long."""
    table = _table("jobs", "done", "running", "failed", "to do", "s a job", "MiB", "GPU MiB", "GPU %", "steps/s")
    kinds: dict[str, list[Record]] = {}
    for name, record in status.records.items():
        kinds.setdefault(kind_of(name), []).append(record)
    for kind, records in kinds.items():
        counts = Counter(record.state for record in records)
        done = [record for record in records if record.state == "done"]
        seconds = [record.seconds for record in done if record.seconds]
        busy = [record.device_percent for record in done if record.device_percent is not None]
        steps = [r.measured["training_steps"] / r.seconds for r in done if r.seconds and "training_steps" in r.measured]
        table.add_row(
            kind or "all",
            f"{counts['done']}/{len(records)}",
            *(str(counts[state] or "") for state in ("running", "failed")),
            str(counts["pending"] + counts["blocked"] or ""),
            _number(statistics.median(seconds), 1) if seconds else "",
            _number(max((record.peak_memory_mb or 0 for record in done), default=0) or None),
            _number(max((record.device_memory_mb or 0 for record in done), default=0) or None),
            _number(statistics.median(busy)) if busy else "",
            _number(statistics.median(steps), 1) if steps else "",
        )
    return table


def _where(record: Record) -> str:
    return " ".join(part for part in (record.host, f"process {record.pid}" if record.pid else None) if part)


def _running(status: Status) -> Table:
    table = _table("job", "for", "attempt", "device", "where")
    for name, spent in sorted(status.elapsed.items(), key=lambda item: -item[1])[:_LISTED]:
        record = status.records[name]
        table.add_row(name, spoken(spent), str(record.attempt), record.device or "cpu", _where(record))
    return table


def _failed(status: Status) -> Table:
    table = _table("job", "attempt", "error")
    for record in [record for record in status.records.values() if record.state == "failed"][:_LISTED]:
        table.add_row(Text(record.job, style="red"), str(record.attempt), record.error)
    return table


def _jobs(status: Status) -> Table:
    table = _table("job", "state", "attempt", "device", "s", "MiB", "GPU MiB", "GPU %", "digest", "error")
    for record in status.records.values():
        table.add_row(
            record.job,
            Text(record.state, style=_COLOURS[record.state]),
            str(record.attempt or ""),
            record.device or ("cpu" if record.attempt else ""),
            _number(status.elapsed.get(record.job, record.seconds), 1),
            _number(record.peak_memory_mb),
            _number(record.device_memory_mb),
            _number(record.device_percent),
            (record.digest or "")[:12],
            record.error or "",
        )
    return table
