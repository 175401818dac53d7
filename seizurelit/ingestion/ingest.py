"""What the door `ingest` does: check every file of a cohort, then write all of them into the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.manifest import Cohort, Seizure, read_cohort
from seizurelit.cohort.skeleton import AXES, BUILT_IN, Skeleton, read_skeleton
from seizurelit.config import digest
from seizurelit.errors import InputError
from seizurelit.ingestion.appearance import read_appearance
from seizurelit.ingestion.formats import FORMATS
from seizurelit.ingestion.joints import BUILT_IN_OF, SCHEMES, in_skeleton
from seizurelit.ingestion.keypoints import Keypoints, frames_between, read_keypoints, relative_to_root
from seizurelit.ingestion.options import Ingest
from seizurelit.ingestion.people import PERSON, choose
from seizurelit.ingestion.ui_prmd import ingest_ui_prmd

EXTRACTOR = "ingest"
VERSION = 1
"""To be raised when the same files give other bits."""

TOLERANCE_S = 1.0
"""Seconds by which the keypoints and the features of a seizure, or its end and the end of its file, may differ."""

NORMALISED = 2.0
"""Coordinates of which none is larger are no pixels."""

HIGH_SCORE = 1.5
"""Scores above 1 up to this are what RTMPose and SLEAP give for a sure joint; more is worth a note."""


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
        notes: what was done that one may want to know, a line a seizure.
    """

    cache: Path
    stream: str
    seizures: int
    subjects: int
    missing: tuple[str, ...]
    signs: tuple[str, ...]
    notes: tuple[str, ...] = ()


def ingest(options: Ingest, progress: Callable[[int, int], None] | None = None) -> Ingested:
    """Read, check and write; the same files give the same bytes.

    Body keypoints are made relative to the skeleton's root joint, whose path goes into `pose.root`, and divided by the
    median distance of the two scale joints over the seizure: their unit is that length (for body11 the torso). Face
    landmarks stay as they are, in pixels. What is missing stays missing.

    Bodies in pixels of other tools, whose y is down, are turned so that y is up as in the house's skeletons; the pixels
    stay beside them as `pose.keypoints_2d`. Three-dimensional coordinates keep their axes: the skeleton's `up` names
    the vertical one.

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
    skeleton = _skeleton(options) if options.keypoints else None
    cache = Cache(options.cache)
    cache.require_only(cohort)
    faults: list[str] = []
    sources = {seizure.name: _Source.of(seizure, cohort, options, faults) for seizure in cohort.seizures}
    present = [seizure for seizure in cohort.seizures if sources[seizure.name].any]
    missing = tuple(seizure.name for seizure in cohort.seizures if not sources[seizure.name].any)
    if not present and not faults:
        folders = " and ".join(str(folder) for folder in (options.keypoints, options.appearance) if folder)
        suffix = "" if options.keypoints is None else (*FORMATS[options.format].suffixes, "")[0]
        name = cohort.seizures[0].name + (suffix if options.keypoints else ".npy")
        faults.append(
            f"{folders}: no {FORMATS[options.format].kind if options.keypoints else 'file'} of any seizure of "
            f"{options.cohort}; they must be named as {name}, or in the column 'file'"
        )
    # Everything is read before anything is written, and read again then: a long cohort does not fit into memory.
    total = 2 * len(present)
    if progress:
        progress(0, total)
    notes: list[str] = []
    widths: dict[int, Path] = {}
    dimensions: dict[int, Path] = {}
    for done, seizure in enumerate(present, start=1):
        source = sources[seizure.name]
        tensors = _tensors(seizure, source, options, skeleton=skeleton, cache=cache, faults=faults, notes=notes)
        keypoints = tensors.tensors.get(f"{options.stream}.keypoints") if tensors else None
        if keypoints is not None and source.keypoints is not None:
            dimensions.setdefault(keypoints.shape[2], source.keypoints)
        appearance = tensors.tensors.get(f"{options.stream}.appearance") if tensors else None
        if appearance is not None and source.appearance is not None:
            widths.setdefault(appearance.shape[1], source.appearance)
        if progress:
            progress(done, total)
    if len(widths) > 1:
        listed = ", ".join(f"{width} in {path}" for width, path in widths.items())
        faults.append(
            f"{options.appearance}: files have different numbers of features: {listed}; make them by one network"
        )
    if len(dimensions) > 1:
        faults.append(
            f"{options.keypoints}: {dimensions[2]} is in two dimensions, {dimensions[3]} in three; ingest one kind alone"
        )
    if faults:
        raise InputError(*faults)
    for done, seizure in enumerate(present, start=len(present) + 1):
        source = sources[seizure.name]
        tensors = _tensors(seizure, source, options, skeleton=skeleton, cache=cache, faults=faults, notes=[])
        if tensors is None:
            raise InputError(*faults)
        cache.write(tensors)
        if progress:
            progress(done, total)
    return _summary(Cache.create(options.cache, options.cohort), options.stream, missing, tuple(notes))


def _skeleton(options: Ingest) -> Skeleton:
    """The skeleton that is asked for, or the stream's own, at the frame rate that is asked for."""
    skeleton = read_skeleton(options.skeleton or BUILT_IN_OF[options.stream])
    return skeleton if options.fps is None else dataclasses.replace(skeleton, fps=options.fps)


def _summary(cache: Cache, stream: str, missing: tuple[str, ...], notes: tuple[str, ...] = ()) -> Ingested:
    cohort = cache.cohort()
    seizures = cache.seizures(stream)
    subjects = {cohort.subject_of(seizure) for seizure in seizures}
    return Ingested(cache.root, stream, len(seizures), len(subjects), missing, _signs(cohort), notes)


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
        for name in ("cohort", "skeleton", "appearance", "scheme", "fps"):
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
        faults += _joint_faults(options)
        if options.peer_folds is not None:
            faults.append("--peer_folds goes with --format ui-prmd alone; leave it out")
        for name in ("keypoints", "appearance"):
            folder = getattr(options, name)
            if folder is not None and not folder.is_dir():
                faults.append(f"--{name} {folder}: there is no such folder; give the folder of the files")
        if not (math.isfinite(options.appearance_fps) and options.appearance_fps > 0):
            faults.append(f"--appearance_fps {options.appearance_fps}: is no frame rate; give frames a second")
    if not 0 <= options.min_confidence <= 1:
        faults.append(f"--min_confidence {options.min_confidence}: is no confidence; give a number from 0 to 1")
    if options.fps is not None and not (math.isfinite(options.fps) and options.fps > 0):
        faults.append(f"--fps {options.fps}: is no frame rate; give frames a second")
    if faults:
        raise InputError(*faults)


def _joint_faults(options: Ingest) -> Iterator[str]:
    """What is wrong with the options that say which joints the files have, and at which rate."""
    own = options.format == "files"
    if own and options.keypoints is not None and options.skeleton is None:
        yield "--skeleton is missing; give body11, face23, or the path of a skeleton.yaml"
    if options.scheme is not None and own:
        yield "--scheme is for other tools' files; leave it out, or give --format"
    elif options.scheme is not None and options.scheme not in SCHEMES[options.stream]:
        known = ", ".join(SCHEMES[options.stream])
        yield f"--scheme {options.scheme} is unknown in the {options.stream} stream; there are {known}"
    if options.scheme is not None and options.skeleton not in (None, BUILT_IN_OF[options.stream]):
        yield f"--scheme is made into {BUILT_IN_OF[options.stream]}; leave --skeleton or --scheme out"
    if not own and options.keypoints is not None and options.fps is None and options.skeleton in (None, *BUILT_IN):
        yield f"--fps is missing; files of {options.format} do not have it: give the video's frames a second"


@dataclass(frozen=True)
class _Source:
    """The files of one seizure, None where there are none."""

    keypoints: Path | None
    appearance: Path | None

    @property
    def any(self) -> bool:
        return self.keypoints is not None or self.appearance is not None

    @classmethod
    def of(cls, seizure: Seizure, cohort: Cohort, options: Ingest, faults: list[str]) -> _Source:
        row = f"{options.cohort}, row {seizure.row}"
        keypoints = appearance = None
        if options.keypoints is not None:
            form = FORMATS[options.format]
            if seizure.file is not None:
                keypoints = options.keypoints / seizure.file
                if not form.accepts(keypoints):
                    faults.append(f"{row}: {keypoints} is no {form.kind} that is there; correct the column 'file'")
                    keypoints = None
            else:
                found = form.find(options.keypoints, seizure.name, [other.name for other in cohort.seizures])
                if len(found) > 1:
                    faults.append(
                        f"{row}: there are {found[0]} and {found[1]}; delete one of the two, or name one in a column 'file'"
                    )
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
    notes: list[str],
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
        read = _read(seizure, source.keypoints, options, skeleton, facts=facts, faults=faults, notes=notes)
        if read is not None:
            keypoints, skeleton = read
            made |= _keypoints(source.keypoints, options, keypoints, skeleton, facts=facts, faults=faults)
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
            f"version {VERSION}",
            repr(canonical),
            repr((seizure.start, seizure.end, appearance_fps)),
            repr((options.format, options.scheme, options.min_confidence, seizure.columns.get(PERSON))),
        ),
        facts=facts,
    )
    return SeizureTensors(metadata, made)


def _read(
    seizure: Seizure,
    path: Path,
    options: Ingest,
    skeleton: Skeleton,
    *,
    facts: dict[str, object],
    faults: list[str],
    notes: list[str],
) -> tuple[Keypoints, Skeleton] | None:
    """The patient's joints from the seizure's start to its end, and the skeleton in the channels that the file has."""
    read, fps = FORMATS[options.format].read, skeleton.fps
    if read is None:
        keypoints = read_keypoints(path, skeleton, faults)
        if keypoints is None or not _covers(seizure, len(keypoints.confidence) / fps, path, faults):
            return None
        facts["container"] = path.suffix.removeprefix(".")
        return keypoints.part(seizure.start, seizure.end, fps).surer_than(options.min_confidence), skeleton
    found = read(path, options.stream, faults)
    if found is None or not _covers(seizure, found.length / fps, path, faults):
        return None
    if np.isinf(found.coordinates).any():
        faults.append(f"{path}: has infinite coordinates; write NaN where a joint is missing")
        return None
    if found.absent:
        notes.append(f"{path}: {found.absent} of {found.length} frames are not in it; they are missing")
    if found.highest > HIGH_SCORE:
        notes.append(f"{path}: has scores up to {found.highest:.3g}; those above 1 count as 1")
    found = found.part(seizure.start, seizure.end, fps).surer_than(options.min_confidence)
    patient = choose(found, seizure.columns.get(PERSON) or None)
    if isinstance(patient, str):
        faults.append(f"{path}: {patient}")
        return None
    keypoints = found.of_person(patient)
    if found.coordinates.shape[-1] == 2 and np.nanmax(np.abs(keypoints.coordinates)) <= NORMALISED:
        faults.append(
            f"{path}: all coordinates are from -{NORMALISED:g} to {NORMALISED:g}, so they are shares of the image's sides; "
            "write them in pixels (OpenPose: --keypoint_scale 0)"
        )
        return None
    seen, share = np.unique(found.people), float((found.people == patient).sum()) / found.length
    if len(seen) > 1:
        notes.append(
            f"{path}: the patient is {found.names[patient]!r}, in {share:.0%} of the frames, of {len(seen)} people"
        )
    facts["container"] = options.format
    facts["people"] = found.most_at_once()
    facts["people_mean"] = len(found.frames) / found.length
    facts["patient_share"] = share
    return in_skeleton(
        keypoints,
        found.joints,
        options.scheme or found.scheme,
        stream=options.stream,
        skeleton=skeleton,
        path=path,
        faults=faults,
    )


def _keypoints(
    path: Path,
    options: Ingest,
    part: Keypoints,
    skeleton: Skeleton,
    *,
    facts: dict[str, object],
    faults: list[str],
) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of the patient's joints."""
    confidence = part.confidence.astype(np.float32)
    if not (confidence > 0).any():
        faults.append(f"{path}: no joint of skeleton {skeleton.name!r} is in any frame; check the file, or delete it")
        return {}
    if options.stream == "face":
        return {"face.keypoints": part.coordinates.astype(np.float32), "face.confidence": confidence}
    made = {"pose.confidence": confidence}
    if FORMATS[options.format].read is not None and skeleton.dimensions == 2:
        made["pose.keypoints_2d"] = part.coordinates.astype(np.float32)
        part = Keypoints(part.coordinates * [1.0, -1.0], part.confidence)
    relative = relative_to_root(part, skeleton)
    if isinstance(relative, str):
        faults.append(f"{path}: {relative}")
        return {}
    facts["unit_length"] = relative.unit
    made["pose.keypoints"] = relative.keypoints.astype(np.float32)
    made["pose.root"] = relative.root.astype(np.float32)
    return made


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
    """Of a file's bytes, or of the names and bytes of all files of a folder."""
    if path.is_dir():
        sums = [f"{_sha256(file)} {file.name}" for file in sorted(path.iterdir()) if file.is_file()]
        return hashlib.sha256("\n".join(sums).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
