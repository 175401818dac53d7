"""The least certain frames out of a cache, as pictures with COCO keypoints that CVAT and Label Studio open."""

from __future__ import annotations

import heapq
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.manifest import Seizure
from seizurelit.config import RESEARCH_USE
from seizurelit.correction import coco, tools
from seizurelit.errors import InputError, RunError
from seizurelit.extraction.drawing import jpeg
from seizurelit.extraction.marks import Found, Marks, marks_of

ANNOTATIONS = Path("annotations") / "person_keypoints_default.json"
IMAGES = Path("images")
_QUALITY = 95


@dataclass(frozen=True)
class Export:
    """The least certain frames of a cache, as pictures and COCO keypoints for CVAT and Label Studio.

    Attributes:
        cache: folder of the cache.
        videos: folder from which the cohort's column `video` is seen: the one of the cohort.csv that was extracted.
        out: folder for images/ and annotations/, made if it is not there. It will hold patient footage.
        share: of all frames, above 0 and up to 1; every seizure gives one at least.
    """

    cache: Path
    videos: Path
    out: Path
    share: float = 0.1


@dataclass(frozen=True)
class Exported:
    """What came of it.

    Attributes:
        annotations: the COCO file.
        images: pictures written.
        seizures: how many they are of.
        skipped: seizures that have nothing in pixels of a video, or no video.
    """

    annotations: Path
    images: int
    seizures: int
    skipped: tuple[str, ...]


def export(options: Export, progress: Callable[[int, int], None] | None = None) -> Exported:
    """Choose frames, write their pictures, and last the COCO file, so that a folder which has it is whole.

    Args:
        options: what and where.
        progress: called with (pictures written, pictures in all).

    Raises:
        InputError: with every video that is missing, is cut short, or is of another size than it was.
        RunError: a picture could not be written.
    """
    if not 0 < options.share <= 1:
        msg = f"--share {options.share:g}: give a share of the frames above 0 and up to 1, such as 0.1"
        raise InputError(msg)
    if (options.out / ANNOTATIONS).exists():
        msg = (
            f"--out {options.out}: holds an export already, perhaps a corrected one; give another folder, or delete it"
        )
        raise InputError(msg)
    cache = Cache.open(options.cache)
    cohort = cache.cohort()
    if cohort.is_standin:
        msg = f"--cache {options.cache}: is of a stand-in cohort, which has no videos; give a cache that extract made"
        raise InputError(msg)
    found = {seizure.name: marks_of(cache, seizure.name) for seizure in cohort.seizures}
    sure = {name: certainty(marks) for name, marks in found.items()}
    wanted = [seizure for seizure in cohort.seizures if seizure.video and len(sure[seizure.name])]
    skipped = tuple(seizure.name for seizure in cohort.seizures if seizure not in wanted)
    if not wanted:
        msg = f"--cache {options.cache}: no seizure has points in pixels of a video; only what was extracted can be corrected"
        raise InputError(msg)
    chosen = choose({seizure.name: sure[seizure.name] for seizure in wanted}, options.share)
    ranks: dict[str, dict[int, int]] = defaultdict(dict)
    for rank, (name, frame) in enumerate(chosen, start=1):
        ranks[name][frame] = rank
    faults: list[str] = []
    sizes: dict[str, tuple[int, int]] = {}
    done = 0
    for seizure in wanted:
        size = _write_pictures(seizure, ranks[seizure.name], cache, options, faults)
        if size is not None:
            sizes[seizure.name] = size
        done += len(ranks[seizure.name])
        if progress:
            progress(done, len(chosen))
    if faults:
        raise InputError(*faults)
    content = _coco(chosen, {seizure.name: seizure.subject for seizure in wanted}, found, sizes)
    text = json.dumps(content, ensure_ascii=False, indent=1)
    for path, written in (*tools.companions(content).items(), (ANNOTATIONS, text)):
        _write(options.out / path, written.encode())
    return Exported(options.out / ANNOTATIONS, len(chosen), len(wanted), skipped)


def certainty(found: Found) -> npt.NDArray[np.float32]:
    """How sure the extraction is of each frame: the mean confidence over a stream's points, averaged over its streams.

    What is missing counts as 0.

    Returns:
        (T,) in [0, 1]; empty where nothing is known in pixels.
    """
    streams = [tensors["confidence"].mean(axis=1) for tensors in (found.pose, found.face) if tensors]
    frames = min((len(stream) for stream in streams), default=0)
    if not frames:
        return np.empty(0, dtype=np.float32)
    sure: npt.NDArray[np.float32] = np.mean([stream[:frames] for stream in streams], axis=0, dtype=np.float32)
    return sure


def choose(sure: Mapping[str, npt.NDArray[np.float32]], share: float) -> list[tuple[str, int]]:
    """The least certain frames of all seizures, no two of a seizure closer than 1 / (2·share) frames.

    That distance always leaves room for the share: a frame keeps fewer than 1/share others out. Every seizure gives its
    least certain frame.

    Args:
        sure: seizure → (T,) from `certainty`, each with a frame at least.
        share: above 0, up to 1.

    Returns:
        (seizure, frame) of `share` of all frames, rounded up, the least certain first.
    """
    apart = max(1, int(0.5 / share))
    total = max(len(sure), math.ceil(share * sum(map(len, sure.values()))))
    taken = {name: np.zeros(len(values), dtype=bool) for name, values in sure.items()}
    chosen: list[tuple[float, str, int]] = []

    def take(name: str, frame: int) -> None:
        taken[name][max(0, frame - apart + 1) : frame + apart] = True
        chosen.append((float(sure[name][frame]), name, frame))

    for name, values in sure.items():
        take(name, int(values.argmin()))
    ordered = heapq.merge(
        *(
            [(float(values[frame]), name, int(frame)) for frame in np.argsort(values, kind="stable")]
            for name, values in sure.items()
        )
    )
    for _, name, frame in ordered:
        if len(chosen) >= total:
            break
        if not taken[name][frame]:
            take(name, frame)
    return [(name, frame) for _, name, frame in sorted(chosen)]


def _write_pictures(
    seizure: Seizure, ranks: Mapping[int, int], cache: Cache, options: Export, faults: list[str]
) -> tuple[int, int] | None:
    """Write a seizure's pictures in one pass over its video; (width, height), or None with a fault."""
    from seizurelit.video.reading import open_video  # noqa: PLC0415 - decoders only where pictures are wanted

    path = options.videos / Path(seizure.video or "").expanduser()
    metadata = cache.metadata(seizure.name, "pose" if cache.has(seizure.name, "pose") else "face")
    last, written, size = max(ranks), 0, None
    try:
        with open_video(path).clip(seizure.start, seizure.end, metadata.fps) as clip:
            for frame in clip:
                if frame.index in ranks:
                    size = (frame.image.shape[1], frame.image.shape[0])
                    name = coco.picture_name(ranks[frame.index], seizure.name, frame.index)
                    _write(options.out / IMAGES / name, jpeg(frame.image, _QUALITY))
                    written += 1
                if frame.index >= last:
                    break
    except InputError as error:
        faults += error.faults
        return None
    if size is None or written < len(ranks):
        faults.append(f"{path}: ends before frame {last} that the cache has of {seizure.name!r}; bring the whole video")
        return None
    expected = (metadata.facts.get("width"), metadata.facts.get("height"))
    if None not in expected and expected != size:
        faults.append(
            f"{path}: has {size[0]}×{size[1]} pixels where {seizure.name!r} was extracted from "
            f"{expected[0]}×{expected[1]}; give the folder of the videos that were extracted"
        )
        return None
    return size


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        msg = f"{path}: cannot be written ({error.strerror}); make room or give another --out, then run it again"
        raise RunError(msg) from None


def _coco(
    chosen: list[tuple[str, int]],
    subjects: Mapping[str, str],
    found: Mapping[str, Found],
    sizes: Mapping[str, tuple[int, int]],
) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for rank, (name, frame) in enumerate(chosen, start=1):
        width, height = sizes[name]
        images.append(
            {
                "id": rank,
                "file_name": coco.picture_name(rank, name, frame),
                "width": width,
                "height": height,
                "seizure": name,
                "subject": subjects[name],
                "frame": frame,
            }
        )
        marks = found[name].at(frame)
        for category in coco.CATEGORIES:
            points, confidence, box = points_of(marks, category)
            if len(points):
                labelled = coco.keypoints(points, confidence, (width, height))
                made = coco.annotation(labelled, box, category)
                if made is not None:
                    annotations.append({"id": len(annotations) + 1, "image_id": rank, **made})
    return {
        "info": {"description": f"Frames to correct by hand. {RESEARCH_USE} Patient footage: keep it on this machine."},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": coco.categories(),
    }


def points_of(
    marks: Marks, category: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(points (V, 2), confidence (V,), box (4,)) of a category."""
    if category == "person":
        return marks.joints, marks.joint_confidence, marks.box
    return marks.landmarks, marks.landmark_confidence, marks.face_box
