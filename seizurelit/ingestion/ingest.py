"""What the door `ingest` does: check every file of a cohort, then write all of them into the cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.manifest import Cohort, Seizure, read_cohort
from seizurelit.cohort.skeleton import AXES, Skeleton, read_skeleton
from seizurelit.config import digest
from seizurelit.errors import InputError
from seizurelit.ingestion.appearance import read_appearance
from seizurelit.ingestion.keypoints import SUFFIXES, frames_between, read_keypoints, relative_to_root
from seizurelit.ingestion.ui_prmd import ingest_ui_prmd

EXTRACTOR = "ingest"
VERSION = 1
"""To be raised when the same files give other bits."""

TOLERANCE_S = 1.0
"""Seconds by which the keypoints and the features of a seizure, or its end and the end of its file, may differ."""


@dataclass(frozen=True)
class Ingest:
    """Keypoints and appearance features that other tools made, into a cache.

    Attributes:
        cache: folder of the cache; made if it is not there, else completed.
        keypoints: folder of <seizure>.npy of (T, V, C), NaN = missing, or <seizure>.csv (frame, joint, x, y[, z]
            [, confidence]); with --format ui-prmd the data set's zip file.
        cohort: cohort.csv; its column `file`, if it has one, names the files, and `start` and `end` cut them (seconds).
        skeleton: body11, face23, or the path of a skeleton.yaml: the joints, channels and frame rate of the keypoints.
        stream: which stream the files are of.
        appearance: folder of <seizure>.npy of (T', D), features of each frame, NaN throughout a frame without any.
        appearance_fps: frames a second of the appearance features.
        format: files is as above; ui-prmd makes cohort and cache from the zip file of the UI-PRMD data set.
        peer_folds: for ui-prmd, CSV (exercise, fold, subject, repetition, label) of a peer's subset and folds: adds the
            sign correct_egcn, and egcn_folds.csv to the cache.
    """

    cache: Path
    keypoints: Path | None = None
    cohort: Path | None = None
    skeleton: str | None = None
    stream: Literal["pose", "face"] = "pose"
    appearance: Path | None = None
    appearance_fps: float = 25.0
    format: Literal["files", "ui-prmd"] = "files"
    peer_folds: Path | None = None


@dataclass(frozen=True)
class Ingested:
    """What came of it.

    Attributes:
        cache: the folder.
        stream: of the files.
        seizures: how many have tensors of this stream now.
        subjects: whose they are.
        missing: seizures of the cohort for which there was no file.
        signs: what can be classified.
    """

    cache: Path
    stream: str
    seizures: int
    subjects: int
    missing: tuple[str, ...]
    signs: tuple[str, ...]


def ingest(options: Ingest, progress: Callable[[int, int], None] | None = None) -> Ingested:
    """Read, check and write; the same files give the same bytes.

    Body keypoints are made relative to the skeleton's root joint, whose path goes into `pose.root`, and divided by the
    median distance of the two scale joints over the seizure: their unit is that length (for body11 the torso). Face
    landmarks stay as they are, in pixels. What is missing stays missing.

    Args:
        options: what and where.
        progress: called with (seizures done, seizures in all) at the start and after every seizure.

    Raises:
        InputError: with every fault of every file; nothing has been written then.
    """
    _check_options(options)
    if options.format == "ui-prmd":
        assert options.keypoints is not None
        cache = ingest_ui_prmd(options.keypoints, options.cache, options.peer_folds, progress)
        return _summary(cache, "pose", ())
    assert options.cohort is not None
    cohort = read_cohort(options.cohort)
    skeleton = read_skeleton(options.skeleton) if options.skeleton and options.keypoints else None
    cache = Cache(options.cache)
    cache.require_only(cohort)
    faults: list[str] = []
    sources = {seizure.name: _Source.of(seizure, options, faults) for seizure in cohort.seizures}
    present = [seizure for seizure in cohort.seizures if sources[seizure.name].any]
    missing = tuple(seizure.name for seizure in cohort.seizures if not sources[seizure.name].any)
    if not present and not faults:
        folders = " and ".join(str(folder) for folder in (options.keypoints, options.appearance) if folder)
        names = f"{cohort.seizures[0].name}.npy"
        faults.append(f"{folders}: no file of any seizure of {options.cohort}; they must be named as {names}")
    # Everything is read before anything is written, and read again then: a long cohort does not fit into memory.
    total = 2 * len(present)
    if progress:
        progress(0, total)
    widths: dict[int, Path] = {}
    for done, seizure in enumerate(present, start=1):
        tensors = _tensors(seizure, sources[seizure.name], options, skeleton=skeleton, cache=cache, faults=faults)
        appearance = tensors.tensors.get(f"{options.stream}.appearance") if tensors else None
        path = sources[seizure.name].appearance
        if appearance is not None and path is not None:
            widths.setdefault(appearance.shape[1], path)
        if progress:
            progress(done, total)
    if len(widths) > 1:
        listed = ", ".join(f"{width} in {path}" for width, path in widths.items())
        faults.append(
            f"{options.appearance}: files have different numbers of features: {listed}; make them by one network"
        )
    if faults:
        raise InputError(*faults)
    for done, seizure in enumerate(present, start=len(present) + 1):
        tensors = _tensors(seizure, sources[seizure.name], options, skeleton=skeleton, cache=cache, faults=faults)
        if tensors is None:
            raise InputError(*faults)
        cache.write(tensors)
        if progress:
            progress(done, total)
    return _summary(Cache.create(options.cache, options.cohort), options.stream, missing)


def _summary(cache: Cache, stream: str, missing: tuple[str, ...]) -> Ingested:
    cohort = cache.cohort()
    seizures = cache.seizures(stream)
    subjects = {cohort.subject_of(seizure) for seizure in seizures}
    return Ingested(cache.root, stream, len(seizures), len(subjects), missing, _signs(cohort))


def _signs(cohort: Cohort) -> tuple[str, ...]:
    signs = []
    for name in cohort.columns:
        try:
            cohort.sign(name)
        except InputError:
            continue
        signs.append(name)
    return tuple(signs)


def _check_options(options: Ingest) -> None:
    faults = []
    if options.format == "ui-prmd":
        if options.keypoints is None:
            faults.append("--keypoints is missing; give the zip file of UI-PRMD")
        for name in ("cohort", "skeleton", "appearance"):
            if getattr(options, name) is not None:
                faults.append(f"--{name} does not go with --format ui-prmd, which makes its own; leave it out")
        if options.stream != "pose":
            faults.append(
                f"--stream {options.stream} does not go with --format ui-prmd, which is of bodies; leave it out"
            )
    else:
        if options.cohort is None:
            faults.append("--cohort is missing; give the path of cohort.csv")
        if options.keypoints is None and options.appearance is None:
            faults.append("neither --keypoints nor --appearance is given; give a folder of files")
        if options.keypoints is not None and options.skeleton is None:
            faults.append("--skeleton is missing; give body11, face23, or the path of a skeleton.yaml")
        if options.peer_folds is not None:
            faults.append("--peer_folds goes with --format ui-prmd alone; leave it out")
        for name in ("keypoints", "appearance"):
            folder = getattr(options, name)
            if folder is not None and not folder.is_dir():
                faults.append(f"--{name} {folder}: there is no such folder; give the folder of the files")
        if not (math.isfinite(options.appearance_fps) and options.appearance_fps > 0):
            faults.append(f"--appearance_fps {options.appearance_fps}: is no frame rate; give frames a second")
    if faults:
        raise InputError(*faults)


@dataclass(frozen=True)
class _Source:
    """The files of one seizure, None where there are none."""

    keypoints: Path | None
    appearance: Path | None

    @property
    def any(self) -> bool:
        return self.keypoints is not None or self.appearance is not None

    @classmethod
    def of(cls, seizure: Seizure, options: Ingest, faults: list[str]) -> _Source:
        row = f"{options.cohort}, row {seizure.row}"
        keypoints = appearance = None
        if options.keypoints is not None:
            named = seizure.file
            if named is not None:
                keypoints = options.keypoints / named
                if keypoints.suffix not in SUFFIXES or not keypoints.is_file():
                    faults.append(
                        f"{row}: {keypoints} is no .npy or .csv file that is there; correct the column 'file'"
                    )
                    keypoints = None
            else:
                found = [path for end in SUFFIXES if (path := options.keypoints / f"{seizure.name}{end}").is_file()]
                if len(found) > 1:
                    faults.append(f"{row}: there are {found[0]} and {found[1]}; delete one of the two")
                keypoints = found[0] if found else None
        if options.appearance is not None:
            path = options.appearance / f"{seizure.name}.npy"
            appearance = path if path.is_file() else None
        return cls(keypoints, appearance)


def _tensors(
    seizure: Seizure,
    source: _Source,
    options: Ingest,
    *,
    skeleton: Skeleton | None,
    cache: Cache,
    faults: list[str],
) -> SeizureTensors | None:
    """What is written for one seizure: the new tensors, and of an earlier ingestion those of the other modality."""
    before = len(faults)
    stream = options.stream
    made: dict[str, npt.NDArray[np.float32] | npt.NDArray[np.float16]] = {}
    digests: dict[str, str] = {}
    facts: dict[str, object] = {}
    fps, appearance_fps = skeleton.fps if skeleton else options.appearance_fps, None
    if cache.has(seizure.name, stream):
        earlier = cache.read(seizure.name, stream)
        if earlier.metadata.extractor != EXTRACTOR:
            faults.append(
                f"{cache.path(seizure.name, stream)}: was made by {earlier.metadata.extractor!r}; "
                "ingest into another folder"
            )
            return None
        if source.keypoints is None and earlier.metadata.skeleton is not None:
            fps, skeleton = earlier.metadata.fps, earlier.metadata.skeleton
        if source.appearance is None:
            appearance_fps = earlier.metadata.appearance_fps
        kept = {
            name: tensor
            for name, tensor in earlier.tensors.items()
            if (source.appearance if name.endswith(".appearance") else source.keypoints) is None
        }
        made.update(kept)
        digests = dict(part.split(" ", 1) for part in earlier.metadata.source_digest.split(", "))
        facts = dict(earlier.metadata.facts)
    elif source.keypoints is None:
        skeleton = None
    if source.keypoints is not None and skeleton is not None:
        made |= _keypoints(seizure, source.keypoints, stream, skeleton, facts=facts, faults=faults)
        digests["keypoints"] = _sha256(source.keypoints)
    if source.appearance is not None:
        appearance_fps = options.appearance_fps
        features = read_appearance(source.appearance, faults)
        if features is not None:
            frames = frames_between(seizure.start, seizure.end, appearance_fps)
            if _covers(seizure, len(features) / appearance_fps, source.appearance, faults):
                made[f"{stream}.appearance"] = features[frames]
        digests["appearance"] = _sha256(source.appearance)
    if len(faults) > before:
        return None
    lengths = _durations(made, stream, fps, appearance_fps)
    if len(lengths) == 2 and abs(lengths[0] - lengths[1]) > TOLERANCE_S:
        faults.append(
            f"{source.appearance or source.keypoints}: the keypoints of {seizure.name!r} last {lengths[0]:.2f} s, its "
            f"appearance features {lengths[1]:.2f} s; correct --appearance_fps or the fps of the skeleton"
        )
        return None
    facts["duration_s"] = lengths[0]
    canonical = skeleton.with_channels((*AXES[: skeleton.dimensions], "confidence")) if skeleton else None
    metadata = Metadata(
        seizure=seizure.name,
        subject=seizure.subject,
        stream=stream,
        fps=fps,
        appearance_fps=appearance_fps,
        skeleton=canonical,
        source_digest=", ".join(f"{what} {digests[what]}" for what in sorted(digests)),
        extractor=EXTRACTOR,
        extractor_digest=digest(
            f"version {VERSION}", repr(canonical), repr((seizure.start, seizure.end, appearance_fps))
        ),
        facts=facts,
    )
    return SeizureTensors(metadata, made)


def _keypoints(
    seizure: Seizure, path: Path, stream: str, skeleton: Skeleton, *, facts: dict[str, object], faults: list[str]
) -> dict[str, npt.NDArray[np.float32]]:
    keypoints = read_keypoints(path, skeleton, faults)
    if keypoints is None or not _covers(seizure, len(keypoints.confidence) / skeleton.fps, path, faults):
        return {}
    part = keypoints.part(seizure.start, seizure.end, skeleton.fps)
    facts["container"] = path.suffix.removeprefix(".")
    confidence = part.confidence.astype(np.float32)
    if stream == "face":
        return {"face.keypoints": part.coordinates.astype(np.float32), "face.confidence": confidence}
    relative = relative_to_root(part, skeleton)
    if isinstance(relative, str):
        faults.append(f"{path}: {relative}")
        return {}
    facts["unit_length"] = relative.unit
    return {
        "pose.keypoints": relative.keypoints.astype(np.float32),
        "pose.root": relative.root.astype(np.float32),
        "pose.confidence": confidence,
    }


def _covers(seizure: Seizure, duration: float, path: Path, faults: list[str]) -> bool:
    """Whether a file is as long as the seizure's start and end ask for, in seconds."""
    needed = seizure.end - TOLERANCE_S if seizure.end is not None else 0.0
    if (seizure.start or 0.0) < duration and needed <= duration:
        return True
    faults.append(
        f"{path}: lasts {duration:.2f} s, but seizure {seizure.name!r} is from {seizure.start or 0:g} s to "
        f"{'its end' if seizure.end is None else f'{seizure.end:g} s'}; correct start and end, or the frame rate"
    )
    return False


def _durations(
    tensors: dict[str, npt.NDArray[np.float32] | npt.NDArray[np.float16]],
    stream: str,
    fps: float,
    appearance_fps: float | None,
) -> list[float]:
    """Seconds of the keypoints and of the appearance features, of those that there are."""
    rates = {f"{stream}.keypoints": fps, f"{stream}.appearance": appearance_fps}
    return [len(tensors[name]) / rate for name, rate in rates.items() if name in tensors and rate]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
