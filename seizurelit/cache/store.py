"""A folder of safetensors files, one a seizure and stream: whole or absent, verified on reading, lazily sliced."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.labels import LABELS
from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.cohort.manifest import PARTICIPANTS, Cohort, read_cohort
from seizurelit.cohort.table import name_fault
from seizurelit.config import digest
from seizurelit.errors import InputError

COHORT = "cohort.csv"
FOLDS = "folds"
_SUFFIX = ".safetensors"
_KEY = "seizurelit"
_LONGEST_HEADER = 16 * 2**20


class CacheError(InputError):
    """A file of a cache is not what was written there; the message names it and what to do."""


@dataclass(frozen=True)
class _Header:
    """What stands at the head of a file.

    Attributes:
        metadata: how the tensors were made.
        sha256: name of each tensor → SHA-256 of its bytes.
        key: SHA-256 over all of it.
    """

    metadata: Metadata
    sha256: dict[str, str]
    key: str


_State = tuple[str, int, int]
"""(path, size in bytes, mtime in ns): a file whose state is the same has not changed."""
_headers: dict[_State, _Header] = {}
_verified: set[_State] = set()


class Cache:
    """One folder: the cohort's tables, `<seizure>.<stream>.safetensors`, and the same names in `folds/<fold>/`.

    Args:
        root: the folder; use `Cache.create` or `Cache.open`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path, cohort_csv: Path) -> Cache:
        """Make a cache for a cohort, or give an existing one the cohort's present labels.

        Args:
            root: the folder; made if it is not there.
            cohort_csv: read whole, then copied with the participants.tsv and labels.csv beside it.

        Raises:
            InputError: if the cohort has faults, or the folder holds another's seizures.
        """
        cache = cls(root)
        cache.require_only(read_cohort(cohort_csv))
        if (root / COHORT).resolve() != cohort_csv.resolve():
            for name in (PARTICIPANTS, LABELS):
                beside = cohort_csv.parent / name
                if beside.is_file():
                    write_whole(root / name, beside.read_bytes())
                else:
                    (root / name).unlink(missing_ok=True)
            write_whole(root / COHORT, cohort_csv.read_bytes())
        return cache

    def require_only(self, cohort: Cohort) -> None:
        """Refuse a folder that holds seizures which a cohort does not have, or has of other subjects.

        Raises:
            InputError: one line a file.
        """
        if self.root.exists() and not self.root.is_dir():
            msg = f"{self.root}: is a file; give a folder for the cache"
            raise InputError(msg)
        subjects = {seizure.name: seizure.subject for seizure in cohort.seizures}
        faults = []
        for path in self._files():
            found = _header(path).metadata
            if subjects.get(found.seizure) != found.subject:
                faults.append(
                    f"{path}: is of seizure {found.seizure!r} of subject {found.subject!r}, which {cohort.path} does "
                    "not have; use another folder, or delete the file"
                )
        if faults:
            raise InputError(*faults)

    @classmethod
    def open(cls, root: Path) -> Cache:
        """Open a cache that is there.

        Raises:
            InputError: if it is not.
        """
        if not root.is_dir():
            msg = f"--cache {root}: no such folder; make it with extract, ingest or synthesize, or correct the path"
            raise InputError(msg)
        if not (root / COHORT).is_file():
            msg = f"--cache {root}: has no {COHORT}, so it is no cache; make one with extract, ingest or synthesize"
            raise InputError(msg)
        return cls(root)

    def cohort(self, override: Path | None = None) -> Cohort:
        """The cohort, read from the copy in the cache, or from another file."""
        return read_cohort(self.root / COHORT if override is None else override)

    def path(self, seizure: str, stream: str, fold: str | None = None) -> Path:
        """Where the tensors of a seizure and stream lie, or would."""
        for name in (seizure, fold):
            wrong = name_fault(name) if name is not None else None
            if wrong:
                msg = f"{self.root}: {name!r} {wrong}"
                raise InputError(msg)
        folder = self.root if fold is None else self.root / FOLDS / fold
        return folder / f"{seizure}.{stream}{_SUFFIX}"

    def write(self, seizure: SeizureTensors, fold: str | None = None) -> Path:
        """Write the tensors of a seizure and stream, in place of any that are there.

        Args:
            seizure: the tensors; the same ones give the same bytes.
            fold: for an extraction by weights that were fitted in a fold: its name.

        Returns:
            The file.

        Raises:
            SubjectLeakError: if the weights of a fold's extraction have seen the subject whom it holds out.
        """
        metadata = seizure.metadata
        path = self.path(metadata.seizure, metadata.stream, fold)
        _refuse_leak(metadata, fold, path)
        stream = metadata.stream
        if f"{stream}.keypoints" in seizure and f"{stream}.confidence" not in seizure:
            msg = f"{path}: keypoints need a confidence; give 1 where they are present and 0 where missing"
            raise InputError(msg)
        tensors = {name: np.ascontiguousarray(seizure[name]) for name in sorted(seizure.tensors)}
        value: dict[str, Any] = {
            "metadata": metadata.to_json(),
            "sha256": {name: hashlib.sha256(tensor.data).hexdigest() for name, tensor in tensors.items()},
        }
        value["key"] = _key(value)
        # One key alone: safetensors writes several in an order that changes from run to run.
        head = {_KEY: json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)}
        write_whole(path, save(tensors, metadata=head))
        return path

    def has(self, seizure: str, stream: str, fold: str | None = None) -> bool:
        """Whether there is a file."""
        return self.path(seizure, stream, fold).is_file()

    def modalities(self, stream: str) -> frozenset[str]:
        """Which of `keypoints` and `appearance` any seizure of this stream has."""
        files = [path for path in self._files() if _parts(path)[1] == stream]
        found = {name.removeprefix(f"{stream}.") for path in files for name in _header(path).sha256}
        return frozenset(found & {"keypoints", "appearance"})

    def fitted_for(self, fold: str) -> bool:
        """Whether there are extractions by weights that were fitted in this fold."""
        return (self.root / FOLDS / fold).is_dir()

    def streams(self) -> frozenset[str]:
        """The streams that any seizure has."""
        return frozenset(stream for _, stream in map(_parts, self._files()))

    def seizures(self, stream: str) -> tuple[str, ...]:
        """The seizures that have a file of this stream, sorted."""
        return tuple(sorted(seizure for seizure, other in map(_parts, self._files()) if other == stream))

    def metadata(self, seizure: str, stream: str, fold: str | None = None) -> Metadata:
        """How the tensors were made, without reading them."""
        return _header(self._existing(seizure, stream, fold)).metadata

    def names(self, seizure: str, stream: str, fold: str | None = None) -> tuple[str, ...]:
        """The names of the tensors that the file has, sorted, without reading them."""
        return tuple(sorted(_header(self._existing(seizure, stream, fold)).sha256))

    def read(
        self,
        seizure: str,
        stream: str,
        names: Iterable[str] | None = None,
        frames: slice | None = None,
        fold: str | None = None,
    ) -> SeizureTensors:
        """Read tensors.

        The whole file is checked against its SHA-256 sums, once a process for as long as it does not change; after
        that only what is asked for is read.

        Args:
            seizure: name of the seizure.
            stream: pose or face.
            names: of `TENSORS`, all that are there if None.
            frames: frames of the keypoints, with a step of 1; of appearance features those that cover that time.
            fold: take the extraction that was fitted in this fold, if there is one, else the one that all folds share.

        Raises:
            CacheError: if the file is absent, cut short, altered, or none of ours, or lacks a tensor.
            SubjectLeakError: if the extraction's weights have seen the subject that the fold is named by.
        """
        path = self._existing(seizure, stream, fold)
        header = _verify(path)
        metadata = header.metadata
        _refuse_leak(metadata, fold, path)
        wanted = sorted(header.sha256) if names is None else list(names)
        for name in wanted:
            if name not in header.sha256:
                msg = f"{path}: has no {name}, only {', '.join(sorted(header.sha256))}; extract or ingest it"
                raise CacheError(msg)
        if (metadata.seizure, metadata.stream) != (seizure, stream):
            msg = f"{path}: was renamed, it is of {metadata.seizure}, {metadata.stream}; give it that name again"
            raise CacheError(msg)
        try:
            with safe_open(path, framework="numpy") as file:
                tensors = {name: _sliced(file, name, frames, metadata) for name in wanted}
        except (SafetensorError, OSError) as error:
            raise _broken(path, str(error)) from None
        return SeizureTensors(metadata, tensors)

    def digest(self, streams: Iterable[str]) -> str:
        """16 hexadecimal digits over all files of these streams, those of the folds too: what a run was made from."""
        wanted = set(streams)
        files = [path for path in [*self._files(), *self._fold_files()] if _parts(path)[1] in wanted]
        keys = [f"{path.relative_to(self.root).as_posix()} {_header(path).key}" for path in files]
        return digest(*sorted(keys))

    def _files(self) -> list[Path]:
        return sorted(path for path in self.root.glob(f"*{_SUFFIX}") if not path.name.startswith("."))

    def _fold_files(self) -> list[Path]:
        return sorted(path for path in self.root.glob(f"{FOLDS}/*/*{_SUFFIX}") if not path.name.startswith("."))

    def _existing(self, seizure: str, stream: str, fold: str | None) -> Path:
        path = self.path(seizure, stream, fold)
        if fold is not None and not path.is_file():
            path = self.path(seizure, stream)
        if not path.is_file():
            msg = f"{path}: does not exist; extract or ingest seizure {seizure!r} for the {stream} stream"
            raise CacheError(msg)
        return path


def _parts(path: Path) -> tuple[str, str]:
    """(seizure, stream) of a file's name."""
    seizure, _, stream = path.name.removesuffix(_SUFFIX).rpartition(".")
    return seizure, stream


def _refuse_leak(metadata: Metadata, fold: str | None, path: Path) -> None:
    if fold is not None and fold in metadata.subjects_seen:
        msg = f"fold {fold}: {path} is by weights that have seen the held-out {fold}; extract it with the fold's own"
        raise SubjectLeakError(msg)


def _broken(path: Path, why: str) -> CacheError:
    return CacheError(f"{path}: is damaged ({why}); delete it and extract or ingest the seizure again")


def _key(value: dict[str, Any]) -> str:
    """SHA-256 over the metadata and the sums of the tensors: the content of a file."""
    content = json.dumps([value["metadata"], value["sha256"]], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def _state(path: Path) -> _State:
    state = path.stat()
    return os.path.abspath(path), state.st_size, state.st_mtime_ns  # noqa: PTH100 - resolve() asks the disk


def _header(path: Path) -> _Header:
    """The head of a file alone: a few kilobytes, whatever the length of the tensors."""
    state = _state(path)
    if state in _headers:
        return _headers[state]
    try:
        with path.open("rb") as file:
            first = file.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
            if not 0 < length <= _LONGEST_HEADER:
                raise _broken(path, "it has no safetensors header")
            raw = json.loads(file.read(length))
        value = json.loads(raw["__metadata__"][_KEY])
        metadata = Metadata.from_json(value["metadata"])
        sha256 = {str(name): str(value["sha256"][name]) for name in raw if name != "__metadata__"}
        key = str(value["key"])
        if key != _key(value) or len(sha256) != len(value["sha256"]):
            raise _broken(path, "its header is not what was written")
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); check its permissions"
        raise CacheError(msg) from None
    except CacheError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _broken(path, f"its header is not one of ours: {error}") from None
    header = _Header(metadata, sha256, key)
    _headers[state] = header
    return header


def _verify(path: Path) -> _Header:
    """The header of a file whose every tensor has the sum that the header gives."""
    header = _header(path)
    state = _state(path)
    if state in _verified:
        return header
    try:
        with safe_open(path, framework="numpy") as file:
            for name, expected in header.sha256.items():
                if hashlib.sha256(np.ascontiguousarray(file.get_tensor(name)).data).hexdigest() != expected:
                    raise _broken(path, f"{name} is not what was written")
    except (SafetensorError, OSError) as error:
        raise _broken(path, str(error)) from None
    _verified.add(state)
    return header


def _sliced(file: Any, name: str, frames: slice | None, metadata: Metadata) -> npt.NDArray[Any]:
    if frames is None:
        tensor: npt.NDArray[Any] = file.get_tensor(name)
        return tensor
    part = file.get_slice(name)
    length = part.get_shape()[0]
    start, stop = frames.start or 0, frames.stop
    if frames.step not in (None, 1) or start < 0 or (stop is not None and stop <= start):
        msg = f"{frames} is no stretch of frames: give 0 ≤ start < stop, without a step"
        raise ValueError(msg)
    if name.endswith(".appearance") and metadata.appearance_fps is not None:
        ratio = metadata.appearance_fps / metadata.fps
        start = math.floor(start * ratio)
        stop = None if stop is None else math.ceil(stop * ratio)
    last = length if stop is None else min(stop, length)
    first = min(start, max(last - 1, 0))
    cut: npt.NDArray[Any] = part[first:last]
    return cut
