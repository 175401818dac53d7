"""How far a run is, for the person who waits: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.run import Event


def time_left(
    left: Mapping[str, int], seconds: Mapping[str, tuple[int, float]], running: Mapping[str, list[float]], workers: int
) -> float | None:
    """Seconds until the end, from what jobs of each kind took so far.

    Args:
        left: kind → jobs not settled, running ones included.
        seconds: kind → number of jobs that ended, and how long they took together.
        running: kind → how long each running job has run.
        workers: jobs at once.

    Returns:
        None before the first job has ended. A kind of which none has ended counts as the mean of all.
    """
    count = sum(n for n, _ in seconds.values())
    if count == 0:
        return None
    overall = sum(total for _, total in seconds.values()) / count
    work = 0.0
    for kind, jobs in left.items():
        n, total = seconds.get(kind, (0, 0.0))
        mean = total / n if n else overall
        work += jobs * mean - sum(min(spent, mean) for spent in running.get(kind, ()))
    return work / max(1, min(workers, sum(left.values())))


def kind_of(job: str) -> str:
    """What jobs are expected to take equally long by: all of an id but its last two parts, seed and fold."""
    return job.rsplit("/", 2)[0] if job.count("/") > 1 else ""


def time_left_by_length(
    left: Mapping[str, float], pace: float | None, running: Mapping[str, float], workers: int
) -> float | None:
    """Seconds until the end of jobs whose lengths are known.

    Args:
        left: job → its length, of those that are not settled, running ones included.
        pace: seconds a unit of length, of the jobs that ended; None before the first.
        running: job → how long it has run.
        workers: jobs at once.

    Returns:
        None without a pace; never less than the job that has longest to go.
    """
    if pace is None:
        return None
    work = [max(0.0, length * pace - running.get(job, 0.0)) for job, length in left.items()]
    return max(sum(work) / workers, max(work, default=0.0))


def spoken(seconds: float | None) -> str:
    """A duration as people say it: 7 s, 3 min, 2 h 05 min."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """A consumer of events; use it as a context and give it to `run_jobs` as `on_event`.

    Jobs whose ids agree but for the last two parts (seed and fold) are of one kind, expected to take equally long.

    Args:
        jobs: all jobs of the run.
        workers: jobs at once, for the time left.
        console: where to write; standard error by default, so that standard output keeps to the table.
        every: seconds between plain lines where there is no terminal; what goes wrong is said at once.
        lengths: job → how much work it is, in any unit, where the jobs are of one kind and differ in that alone.
    """

    def __init__(
        self,
        jobs: list[Job] | tuple[Job, ...],
        workers: int,
        console: Console | None = None,
        every: float = 10.0,
        *,
        lengths: Mapping[str, float] | None = None,
    ) -> None:
        self.console = console if console is not None else Console(stderr=True, highlight=False)
        self.workers = workers
        self.every = every
        self.counts: Counter[str] = Counter()
        self.total = len(jobs)
        self.left = Counter(kind_of(job.id) for job in jobs)
        self.seconds: dict[str, tuple[int, float]] = {}
        self.running: dict[str, float] = {}
        self.lengths = None if lengths is None else dict(lengths)
        self.paced = (0.0, 0.0)  # length that was done, and the seconds that it took
        self.begun = self.said = time.monotonic()
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live = Live(get_renderable=self._view, console=self.console, refresh_per_second=4, transient=True)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        kind = kind_of(event.job)
        self.counts[event.kind] += 1
        if event.kind == "started":
            self.running[event.job] = time.monotonic()
            self.workers = max(self.workers, len(self.running))
        elif event.job:
            self.running.pop(event.job, None)
        if event.kind in ("done", "failed", "blocked", "skipped"):
            self.left[kind] -= 1
        if event.kind == "done" and event.seconds is not None:
            n, seconds = self.seconds.get(kind, (0, 0.0))
            self.seconds[kind] = n + 1, seconds + event.seconds
            if self.lengths is not None:
                self.paced = self.paced[0] + self.lengths[event.job], self.paced[1] + event.seconds
        if event.kind in ("done", "failed", "blocked", "skipped") and self.lengths is not None:
            self.lengths.pop(event.job, None)
        self._say(event)

    def _say(self, event: Event) -> None:
        """The lines that stay: faults always; without a terminal also how far it is."""
        if event.kind in ("failed", "retried"):
            what = "failed" if event.kind == "failed" else "is tried again"
            self._line(f"{event.job} {what}: {event.error}")
        elif event.kind == "ended":
            self._line(self._summary() + f" in {spoken(time.monotonic() - self.begun)}")
        elif self.live is None and event.kind == "done" and time.monotonic() - self.said >= self.every:
            self.said = time.monotonic()
            self._line(f"{self._summary()}, about {spoken(self._time_left())} left")

    def _line(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def _summary(self) -> str:
        count = self.counts
        parts = [f"{count['done'] + count['skipped']} of {self.total} jobs done"]
        parts += [f"{count['skipped']} from before"] if count["skipped"] else []
        parts += [f"{count[kind]} {kind}" for kind in ("failed", "blocked") if count[kind]]
        return ", ".join(parts)

    def _time_left(self) -> float | None:
        now = time.monotonic()
        if self.lengths is not None:
            length, seconds = self.paced
            spent = {job: now - start for job, start in list(self.running.items())}
            return time_left_by_length(dict(self.lengths), seconds / length if length else None, spent, self.workers)
        running: dict[str, list[float]] = {}
        for job, start in list(self.running.items()):
            running.setdefault(kind_of(job), []).append(now - start)
        return time_left(self.left, self.seconds, running, self.workers)

    def _view(self) -> Group:
        settled = sum(self.counts[kind] for kind in ("done", "skipped", "failed", "blocked"))
        head = Table.grid(padding=(0, 1))
        head.add_row(
            ProgressBar(total=max(1, self.total), completed=settled, width=30),
            Text(f"{settled}/{self.total}"),
            Text(f"{spoken(time.monotonic() - self.begun)} so far, {spoken(self._time_left())} left"),
        )
        now = time.monotonic()
        rows = [Text(f"  {job}  {now - start:.0f} s", style="dim") for job, start in list(self.running.items())[:16]]
        return Group(Text(self._summary()), head, *rows)
