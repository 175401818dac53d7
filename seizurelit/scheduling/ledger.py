"""What was done: one small JSON file a job, and job folders that say of themselves whether they are whole.

A run folder holds

    jobs/ID/               what a job made; `result.json`, written last, lists every file with its SHA-256
    ledger/plan.json       all jobs of the run and what they require
    ledger/workers.log     what workers print outside a job
    ledger/jobs/ID.json    state, attempt, worker, duration, memory, error; ID.traceback of a failed job, and ID.log,
                           what the job printed, if anything
    ledger/owners, claims  which run of several has which job (`claims`)
    partial/RUN/           folders of jobs under way; whatever a killed run left here is deleted by the next
    checkpoints/ID/        what an interrupted job goes on from; deleted once it is done

Each file has one writer: a run writes of the jobs that it has claimed, and renames what it wrote. The folders are the
truth: a job is done when its folder is whole, whatever the ledger says, so that a kill between two writes, or a clock
set back, cannot matter. Nothing waits for the disk (no fsync): a file that a power cut left short has another digest,
and its job is done anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from seizurelit.scheduling.jobs import Job

RESULT = "result.json"
State = Literal["pending", "running", "done", "failed", "blocked"]


@dataclass(frozen=True)
class Record:
    """What the ledger knows of a job.

    Attributes:
        job: its id.
        state: pending jobs have no file.
        attempt: how many times the job was started, over all runs.
        run: the run that made the last attempt, as its claims name it.
        pid: worker of the last attempt.
        host: of that worker, where it was not the machine of the run.
        device: lease of the last attempt.
        started: wall clock of the last attempt, ISO 8601 with the zone; to be read by people, never compared.
        seconds: duration of the last attempt, from a monotonic clock.
        peak_memory_mb: largest resident memory of the worker during the attempt, in MiB.
        device_memory_mb: largest memory reserved on the CUDA device, in MiB.
        device_percent: how busy that device was.
        measured: what the job told of its work.
        error: one line: why the job failed, or what blocks it.
        digest: of the results.
    """

    job: str
    state: State = "pending"
    attempt: int = 0
    run: str | None = None
    pid: int | None = None
    host: str | None = None
    device: str | None = None
    started: str | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    device_memory_mb: float | None = None
    device_percent: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    digest: str | None = None


def job_folder(run_dir: Path, job: str) -> Path:
    """Where the files of a finished job lie."""
    return run_dir / "jobs" / job


def write_json(path: Path, value: object) -> None:
    """Write JSON beside `path`, then rename it there: a reader sees the old file or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        beside.write_text(text, encoding="utf-8")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def seal(folder: Path, job: str, result: object, inputs: Mapping[str, str]) -> str:
    """Write `result.json`, which makes a job folder whole, and return the digest of the job's results.

    Args:
        folder: all other files are there.
        job: the job's id.
        result: what the job returned.
        inputs: digest of each job that it required.

    Raises:
        TypeError, ValueError: `result` is no JSON object, or the job wrote a file of this name.
    """
    if not isinstance(result, Mapping):
        msg = f"a job returns a mapping, not {type(result).__name__}"
        raise TypeError(msg)
    if (folder / RESULT).exists():
        msg = f"{RESULT} is the scheduler's own file; a job returns its result instead"
        raise ValueError(msg)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): _sha256(path) for path in paths}
    manifest: dict[str, Any] = {"job": job, "files": files, "inputs": dict(inputs), "result": dict(result)}
    manifest = json.loads(json.dumps(manifest))  # as it will be read: tuples are lists, keys are text
    digest = _digest(manifest)
    write_json(folder / RESULT, {**manifest, "digest": digest})
    return digest


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The verified content of `result.json`, or None where it is absent, broken or altered; files are not read."""
    try:
        with (folder / RESULT).open("rb") as file:
            manifest = json.loads(file.read())
        digest = manifest.pop("digest")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return {**manifest, "digest": digest} if digest == _digest(manifest) else None


class Ledger:
    """The ledger of a run folder. All may read; who writes of a job has claimed it.

    Args:
        run_dir: the run folder, which need not exist yet.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.folder = run_dir / "ledger"

    def plan(self, jobs: Sequence[Job]) -> None:
        """Record all jobs of the run, in order, with what they require."""
        write_json(self.folder / "plan.json", [{"job": job.id, "requires": list(job.requires)} for job in jobs])

    def planned(self) -> dict[str, tuple[str, ...]]:
        """What each job of the recorded plan requires, in the plan's order; empty before a run."""
        try:
            rows = json.loads((self.folder / "plan.json").read_bytes())
            return {row["job"]: tuple(row["requires"]) for row in rows}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def path(self, job: str, suffix: str = ".json") -> Path:
        """The ledger's file about a job: `.json`, `.traceback` or `.log`."""
        return self.folder / "jobs" / f"{job}{suffix}"

    def record(self, job: str) -> Record:
        """What is known of a job; a file that cannot be read counts as none."""
        try:
            with self.path(job).open("rb") as file:
                record = Record(**json.loads(file.read()))
        except (OSError, ValueError, TypeError):
            return Record(job)
        return record if record.job == job else Record(job)

    def records(self) -> dict[str, Record]:
        """What is known of every job of the recorded plan, in its order."""
        return {job: self.record(job) for job in self.planned()}

    def write(self, record: Record, trace: str | None = None) -> None:
        """Replace what is known of a job, and its traceback."""
        if trace is None:
            self.path(record.job, ".traceback").unlink(missing_ok=True)
        else:
            path = self.path(record.job, ".traceback")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(trace, encoding="utf-8")
        write_json(self.path(record.job), asdict(record))

    def done(self, job: str) -> bool:
        """Whether the job's folder is whole: every listed file is there with its digest."""
        return self.verify(job) is not None

    def verify(self, job: str) -> dict[str, Any] | None:
        """Job, files, inputs, result and digest of a whole folder, from its `result.json`; None unless it is whole."""
        folder = job_folder(self.run_dir, job)
        manifest = _manifest(folder)
        if manifest is None or manifest["job"] != job:
            return None
        try:
            whole = all(_sha256(folder / name) == sha256 for name, sha256 in manifest["files"].items())
        except OSError:
            return None
        return manifest if whole else None

    def result(self, job: str) -> dict[str, Any]:
        """What a finished job returned.

        Raises:
            KeyError: the job is not done.
        """
        manifest = _manifest(job_folder(self.run_dir, job))
        if manifest is None:
            raise KeyError(job)
        result: dict[str, Any] = manifest["result"]
        return result

    def publish(self, job: str, folder: Path) -> bool:
        """Move a sealed folder to its place; False if another lies there."""
        place = job_folder(self.run_dir, job)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    def checkpoint(self, job: str, inputs: Mapping[str, str]) -> Path:
        """The folder of what a job goes on from, which need not be there; what was made of other inputs is deleted.

        Args:
            job: its id.
            inputs: digest of each required job's results.
        """
        folder = self.run_dir / "checkpoints" / job
        mine = folder / _digest(inputs)[:16]
        if folder.is_dir():
            for other in folder.iterdir():
                if other != mine:
                    shutil.rmtree(other, ignore_errors=True)
        return mine

    def forget_checkpoint(self, job: str) -> None:
        """Delete what a job could go on from."""
        folder = self.run_dir / "checkpoints" / job
        if not folder.is_dir():
            return
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.parents[: len(job.split("/"))]:  # `checkpoints` too, once nothing is left in it
            try:
                parent.rmdir()
            except OSError:
                return

    def discard(self, job: str) -> None:
        """Delete what lies in a job's place; a kill in the middle leaves a folder that is not whole."""
        place = job_folder(self.run_dir, job)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
