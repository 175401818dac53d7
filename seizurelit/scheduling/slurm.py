"""Jobs of a SLURM cluster, one a task, through submitit; every machine sees the run folder under the same path.

A task says that it has begun, and how it went, by files in a folder of this run, which also carries the request to stop and this
process's heartbeat: a job whose run is gone ends itself. That a job has vanished (a node lost, a time limit, too little memory)
submitit tells; the scheduler then tries it again. SIGUSR2, which SLURM sends before the time limit, and SIGTERM, before it takes
a node away, let the job save where it is.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seizurelit.errors import InputError, RunError
from seizurelit.scheduling import remote, stopping
from seizurelit.scheduling.jobs import Report, Task
from seizurelit.scheduling.ledger import write_json
from seizurelit.scheduling.remote import Surroundings
from seizurelit.scheduling.worker import one_line

WORKERS = 16
"""Jobs in SLURM's queue at a time, unless told otherwise."""

_BEAT = 5.0
_GONE = 120.0
"""Seconds without a heartbeat after which a job takes its run for gone: a network file system may show it late."""

_ASK = 10.0
"""Seconds from one look at what submitit knows to the next; SLURM's accounting is not asked more often."""


@dataclass
class _Sent:
    """A task that SLURM has.

    Attributes:
        task: it.
        job: submitit's.
        begun: whether its beginning was heard of.
        ended: when submitit was first found to say that it has ended, by this process's clock.
    """

    task: Task
    job: Any
    begun: bool = False
    ended: float | None = None


class Slurm:
    """An executor of SLURM jobs.

    Args:
        parameters: of submitit, such as slurm_partition, timeout_min, mem_gb.
        workers: jobs in the queue at a time.
        threads: CPU threads a job.
        gpu: each job takes a GPU.
        cluster: slurm; local runs the same jobs as processes of this machine.
        every: seconds from one look at the files to the next.
        grace: seconds that a job's last file may take to show here after the job has ended.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any] | None = None,
        *,
        workers: int | None = None,
        threads: int = 1,
        gpu: bool = False,
        cluster: Literal["slurm", "local"] = "slurm",
        every: float = 0.5,
        grace: float = 60.0,
    ) -> None:
        self._parameters = dict(parameters or {})
        self._workers = workers or WORKERS
        self._threads = threads
        self._gpu = gpu
        self._cluster = cluster
        self._every = every
        self._grace = grace if cluster == "slurm" else 2.0
        self._executor: Any = None
        self._folder = Path()
        self._sent: dict[str, _Sent] = {}
        self._taken_back: list[Report] = []
        self._ended = threading.Event()
        self._asked = 0.0

    @property
    def slots(self) -> int:
        """Jobs in the queue at a time."""
        return self._workers

    def room(self, *, alone: bool = False) -> bool:
        """Whether there may be another job in the queue."""
        del alone  # each has its GPU to itself
        return len(self._sent) < self._workers

    def open(self, logs: Path) -> None:
        """Look for SLURM.

        Args:
            logs: what submitit writes lies there in `slurm` while jobs run; of those that were lost it stays.

        Raises:
            InputError: submitit is not installed, there is no SLURM here, or it does not know a parameter.
        """
        try:
            import submitit  # noqa: PLC0415
        except ModuleNotFoundError:
            msg = "--scheduler slurm: submitit is not installed; `make env-cluster` installs it"
            raise InputError(msg) from None
        if self._cluster == "slurm" and shutil.which("sbatch") is None:
            msg = "--scheduler slurm: there is no sbatch here; start the run on a machine of the cluster that may submit jobs"
            raise InputError(msg)
        self._folder = logs / "slurm" / uuid.uuid4().hex
        self._folder.mkdir(parents=True)
        mine = {"name": "seizurelit", "cpus_per_task": self._threads, "timeout_min": 240, "mem_gb": 8}
        mine |= {"gpus_per_node": 1} if self._gpu else {}
        try:
            self._executor = submitit.AutoExecutor(folder=self._folder / "submitit", cluster=self._cluster)
            self._executor.update_parameters(**{**mine, **self._parameters})
        except (NameError, TypeError, ValueError, AssertionError) as error:
            msg = f"--slurm {json.dumps(self._parameters)}: submitit does not take this ({one_line(error)[:300]})"
            raise InputError(msg) from None
        self._beat(0)
        threading.Thread(target=self._keep_beating, daemon=True).start()

    def submit(self, task: Task) -> None:
        """Put a job into the queue."""
        number = uuid.uuid4().hex
        try:
            job = self._executor.submit(_work, task, self._folder, number, Surroundings.of_this_process(self._threads))
        except Exception as error:
            msg = f"--scheduler slurm: a job could not be submitted ({one_line(error)}); the same command goes on from here"
            raise RunError(msg) from None
        self._sent[number] = _Sent(task, job)

    def wait(self, timeout: float | None = None) -> Sequence[Report]:
        """Block until a job begins or ends, or the time is over."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            reports = [*self._taken_back, *self._told(), *self._vanished()]
            self._taken_back.clear()
            if reports or (until is not None and time.monotonic() >= until):
                return reports
            time.sleep(self._every)

    def stop(self) -> None:
        """Ask the jobs that run to save where they are; those that wait in the queue are taken out of it."""
        (self._folder / "stop").touch()
        for number, sent in list(self._sent.items()):
            if not sent.begun:
                self._cancel(sent)
                self._taken_back.append(Report(sent.task.job.id, "stopped"))
                self._forget(number, keep=False)

    def close(self) -> None:
        """Cancel what is left."""
        if self._executor is None:
            return
        for sent in self._sent.values():
            self._cancel(sent)
        self._sent.clear()
        self._ended.set()
        with suppress(OSError):  # without it a job that goes on ends itself
            (self._folder / "beat").unlink(missing_ok=True)
        for path in self._folder.glob("*"):
            if path.is_file():
                path.unlink(missing_ok=True)
        for folder in (self._folder / "submitit", self._folder, self._folder.parent):
            with suppress(OSError):
                folder.rmdir()
        self._executor = None

    def _told(self) -> list[Report]:
        """What the jobs' files say."""
        reports = []
        for name in sorted(os.listdir(self._folder)):  # noqa: PTH208 - a listing is what a network file system looks up anew
            number, _, what = name.partition(".")
            sent = self._sent.get(number)
            if sent is None or name.startswith(".") or what not in ("started.json", "report.json"):
                continue
            if what == "started.json" and sent.begun:
                continue
            try:
                report = Report(**json.loads((self._folder / name).read_bytes()))
            except (OSError, ValueError, TypeError):
                continue  # the next look finds it whole
            if not sent.begun:
                sent.begun = True
                reports.append(remote.elsewhere(dataclasses.replace(report, kind="started")))
            if what == "report.json":
                reports.append(remote.elsewhere(report))
                self._forget(number, keep=False)
        # A job's beginning is told before its end, and `report` comes before `started` in the listing.
        return reports

    def _vanished(self) -> list[Report]:
        """Jobs that have ended without a word."""
        now = time.monotonic()
        if self._cluster == "slurm" and now - self._asked < _ASK:
            return []
        self._asked = now
        reports = []
        for number, sent in list(self._sent.items()):
            if not sent.job.done():
                sent.ended = None
                continue
            if sent.ended is None:
                sent.ended = now
            if now - sent.ended < self._grace:
                continue
            error = f"its SLURM job {sent.job.job_id} ended as {sent.job.state}; see {sent.job.paths.stderr}"
            reports.append(Report(sent.task.job.id, "lost", error=error))
            self._forget(number, keep=True)
        return reports

    def _forget(self, number: str, *, keep: bool) -> None:
        """Delete a job's files, but for what the job of a lost task printed."""
        job = self._sent.pop(number).job
        for suffix in ("started.json", "report.json"):
            (self._folder / f"{number}.{suffix}").unlink(missing_ok=True)
        paths = [job.paths.submitted_pickle, job.paths.result_pickle, job.paths.submission_file]
        paths += [] if keep else [job.paths.stdout, job.paths.stderr]
        for path in paths:
            with suppress(OSError):
                Path(path).unlink(missing_ok=True)

    @staticmethod
    def _cancel(sent: _Sent) -> None:
        with suppress(Exception):
            sent.job.cancel(check=False)

    def _beat(self, count: int) -> None:
        with suppress(OSError):
            (self._folder / "beat").write_text(str(count))

    def _keep_beating(self) -> None:
        count = 0
        while not self._ended.wait(_BEAT):
            count += 1
            self._beat(count)


def _work(task: Task, folder: Path, number: str, surroundings: Surroundings) -> None:
    """Run a task in a SLURM job."""
    surroundings.adopt()
    remote.stop_on_signals()
    threading.Thread(target=_watch, args=(folder,), daemon=True).start()
    write_json(folder / f"{number}.started.json", dataclasses.asdict(remote.started(task)))
    report = remote.run(task)
    write_json(folder / f"{number}.report.json", dataclasses.asdict(report))


def _watch(folder: Path) -> None:
    """Pass on the request to stop; end this process once its run is gone."""
    last, since = "", time.monotonic()
    while True:
        if (folder / "stop").exists():
            stopping.request()
        try:
            beat = (folder / "beat").read_text()
        except OSError:
            beat = ""
        if beat != last:
            last, since = beat, time.monotonic()
        elif time.monotonic() - since > _GONE:
            os._exit(1)
        time.sleep(1.0)
