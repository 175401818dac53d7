"""What a task reads, for a machine that does not see our folders, and what it made, on the way back: files as bytes.

Over there they lie in a folder of this run alone, which only its user can read: folders that every task reads once a machine, the
folders of the jobs that a task requires and its checkpoint once a task. `forget` deletes all of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seizurelit.scheduling import places
from seizurelit.scheduling.jobs import Task
from seizurelit.scheduling.ledger import job_folder

Files = Mapping[str, Any]
"""Path relative to a folder → its bytes, or what stands for them in a cluster's store; "" where the folder is a file."""


@dataclass(frozen=True)
class Cargo:
    """What goes to the machine that runs a task.

    Attributes:
        shipment: names the folder over there.
        run_dir: the run folder here.
        shared: folder here → its files; each is the same for all tasks.
        required: job → the files of its folder.
        checkpoint: files of the task's checkpoint.
    """

    shipment: str
    run_dir: Path
    shared: Mapping[Path, Files]
    required: Mapping[str, Files]
    checkpoint: Files


@dataclass(frozen=True)
class Made:
    """What comes back.

    Attributes:
        files: of the task's folder.
        checkpoint: of its checkpoint; none unless it was stopped.
        log: what the job printed; None where that is nothing.
    """

    files: Mapping[str, bytes]
    checkpoint: Mapping[str, bytes]
    log: bytes | None


def read_files(root: Path) -> dict[str, bytes]:
    """Every file of a folder, or the one that `root` is."""
    if root.is_file():
        return {"": root.read_bytes()}
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def write_files(root: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made."""
    if "" not in files:
        root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name if name else root
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class Shipment:
    """The sending side, for one run.

    Args:
        run_dir: the run folder.
        folders: folders and files outside of it that jobs read.
        put: gives bytes to the cluster's store and returns what stands for them.
    """

    def __init__(self, run_dir: Path, folders: Sequence[Path], put: Callable[[bytes], Any]) -> None:
        self.name = uuid.uuid4().hex
        self.run_dir = run_dir
        self._put = put
        own = {path.name: put(path.read_bytes()) for path in sorted(run_dir.glob("*.json"))}
        self._shared: dict[Path, Files] = {run_dir: own}
        self._shared |= {folder.resolve(): self._all(folder) for folder in folders}
        self._jobs: dict[tuple[str, str], Files] = {}

    def _all(self, root: Path) -> Files:
        return {name: self._put(content) for name, content in read_files(root).items()}

    def cargo(self, task: Task) -> Cargo:
        """What a task needs over there."""
        for job, digest in task.inputs.items():
            if (job, digest) not in self._jobs:
                self._jobs[job, digest] = self._all(job_folder(self.run_dir, job))
        checkpoint = {} if task.checkpoint is None else self._all(task.checkpoint)
        required = {job: self._jobs[job, digest] for job, digest in task.inputs.items()}
        return Cargo(self.name, self.run_dir, self._shared, required, checkpoint)


def unload(task: Task, made: Made) -> None:
    """Put what came back where the scheduler looks for it.

    Args:
        task: as it was handed to the executor.
        made: of it.
    """
    write_files(task.folder, made.files)
    if task.checkpoint is not None and made.checkpoint:
        shutil.rmtree(task.checkpoint, ignore_errors=True)
        write_files(task.checkpoint, made.checkpoint)
    if made.log is not None:
        write_files(task.log, {"": made.log})


def depot(shipment: str) -> Path:
    """The folder of a shipment on this machine."""
    return Path(tempfile.gettempdir()) / f"seizurelit-{os.getuid()}" / shipment


def receive(task: Task, cargo: Cargo, get: Callable[[Any], bytes]) -> Task:
    """Put a cargo down on this machine, and the task as it is to be run here.

    Args:
        task: as it was handed to the executor.
        cargo: of it.
        get: the bytes that something in the cluster's store stands for.
    """
    root = depot(cargo.shipment)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, (there, files) in enumerate(cargo.shared.items()):
        _arrive(root, root / str(number), files, get)
        places.moved(there, root / str(number))
    run_dir = places.here(cargo.run_dir)
    for job, files in cargo.required.items():
        _arrive(root, job_folder(run_dir, job), files, get)
    own = root / "tasks" / uuid.uuid4().hex
    own.mkdir(parents=True)
    checkpoint = None if task.checkpoint is None else own.with_suffix(".checkpoint")
    if checkpoint is not None and cargo.checkpoint:
        write_files(checkpoint, {name: get(content) for name, content in cargo.checkpoint.items()})
    arguments = {name: _relocated(value) for name, value in task.job.arguments.items()}
    relocated = replace(task.job, arguments=arguments)
    return replace(task, job=relocated, folder=own, log=own.with_suffix(".log"), checkpoint=checkpoint)


def _arrive(root: Path, place: Path, files: Files, get: Callable[[Any], bytes]) -> None:
    """Write files that several processes of this machine want, once."""
    if place.exists():
        return
    beside = root / f".{uuid.uuid4().hex}"
    write_files(beside, {name: get(content) for name, content in files.items()})
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        beside.rename(place)
    except OSError:  # another process was faster
        shutil.rmtree(beside, ignore_errors=True)
        if not place.exists():
            raise


def _relocated(value: Any) -> Any:
    """An argument that is an absolute path, where that lies here."""
    if isinstance(value, str | Path) and str(value).startswith("/"):
        return type(value)(places.here(Path(value)))
    return value


def give_back(task: Task, *, stopped: bool) -> Made:
    """What a task made here, which is deleted.

    Args:
        task: from `receive`.
        stopped: whether it is to go on later, and has left a checkpoint.
    """
    log = task.log.read_bytes() if task.log.exists() else None
    checkpoint = read_files(task.checkpoint) if stopped and task.checkpoint is not None else {}
    made = Made(read_files(task.folder), checkpoint, log)
    for place in (task.folder, task.checkpoint):
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
    task.log.unlink(missing_ok=True)
    return made


def forget(shipment: str) -> None:
    """Delete a shipment on this machine."""
    shutil.rmtree(depot(shipment), ignore_errors=True)
    with suppress(OSError):
        depot(shipment).parent.rmdir()
