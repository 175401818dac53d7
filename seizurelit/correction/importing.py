"""Corrected points back into the cache: read and checked whole, then written, seizure by seizure, each file at once.

What becomes of the 3D. A picture says where a joint is across the line of sight and nothing of how far away, so a corrected
joint is moved in the plane of the image by as much as it was moved in the picture, pixels turned into the unit of the
skeleton by the seizure's scale (weak perspective, as for the path of the root), and keeps its depth. A joint that was not
there takes the depth that it has in the nearest frame which has it. That is not a new lift: the fact `needs_lift` says so.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.correction import coco
from seizurelit.correction.export import points_of
from seizurelit.errors import InputError
from seizurelit.extraction.marks import marks_of

CORRECTED_BY = ", corrected by review"

TOLERANCE = 0.51
"""Pixels along an axis up to which a point has not been moved: Label Studio's export rounds to whole pixels."""

_GROW_BOX = 0.1
_STREAMS = {
    joint: (category, index) for category, (_, of) in coco.CATEGORIES.items() for index, joint in enumerate(of.joints)
}
"""Joint → its category and place in it; no name is in both."""


@dataclass(frozen=True)
class Import:
    """Corrected points of an export, from CVAT or Label Studio, back into the cache.

    Attributes:
        cache: folder of the cache that was exported.
        corrected: the tool's COCO keypoints file, such as person_keypoints_default.json or result.json.
    """

    cache: Path
    corrected: Path


@dataclass(frozen=True)
class Imported:
    """What came of it.

    Attributes:
        pictures: in the file.
        unreviewed: of these without any points; they were left as they are.
        moved: points that lie elsewhere now.
        added: points that were missing.
        removed: points that are missing now.
        seizures: whose files were written.
    """

    pictures: int
    unreviewed: int
    moved: int
    added: int
    removed: int
    seizures: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A picture of the file: where it stands there, and what it is of."""

    where: str
    seizure: str
    frame: int


Labelled = dict[tuple[Any, str], dict[int, tuple[float, float] | None]]
"""(id of the picture, category) → joint → where a person left it; None for nowhere."""


@dataclass(frozen=True)
class _Change:
    """What a person made of one joint in one frame; `xy` is None where it was removed, `new` where there was none."""

    where: str
    frame: int
    joint: int
    xy: tuple[float, float] | None
    new: bool


def import_corrections(options: Import) -> Imported:
    """Check a corrected file against the cache, then write what was changed.

    A point counts as changed when it was moved by more than `TOLERANCE`, added or removed; all else, a picture without
    annotation too, stays as it is, to the bit. So the same file imported again changes nothing.

    Raises:
        InputError: with every fault of the file; nothing has been written then.
    """
    cache = Cache.open(options.cache)
    pictures, labelled = read_corrected(options.corrected, cache)
    faults: list[str] = []
    changes = _changes(cache, pictures, labelled, faults)
    corrected = [
        _apply(cache.read(seizure, stream), of, faults) for (seizure, stream), of in sorted(changes.items()) if of
    ]
    if faults:
        raise InputError(*faults)
    for tensors in corrected:
        cache.write(tensors)
    made = [change for of in changes.values() for change in of]
    return Imported(
        pictures=len(pictures),
        unreviewed=len(pictures) - len({picture for picture, _ in labelled}),
        moved=sum(change.xy is not None and not change.new for change in made),
        added=sum(change.new for change in made),
        removed=sum(change.xy is None for change in made),
        seizures=tuple(sorted({tensors.metadata.seizure for tensors in corrected})),
    )


def read_corrected(path: Path, cache: Cache) -> tuple[dict[Any, Picture], Labelled]:
    """The pictures of a tool's file by their id there, and the points in them, whatever the tool made of names and categories.

    Args:
        path: COCO keypoints of CVAT or Label Studio.
        cache: that was exported.

    Raises:
        InputError: with every fault of the file.
    """
    content = _read(path)
    faults: list[str] = []
    pictures = _pictures(content, cache, str(path), faults)
    labelled = _labelled(content, pictures, str(path), faults)
    if faults:
        raise InputError(*faults)
    return pictures, labelled


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        msg = f"--corrected {path}: cannot be read ({error.strerror}); give the COCO keypoints file of the tool"
        raise InputError(msg) from None
    except ValueError:
        msg = f"--corrected {path}: is no JSON; unpack the tool's zip file and give its COCO keypoints file"
        raise InputError(msg) from None
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in lists):
        msg = f"--corrected {path}: has no lists {', '.join(lists)}; export as COCO keypoints"
        raise InputError(msg)
    for name in lists:
        wrong = [index for index, entry in enumerate(content[name]) if not isinstance(entry, dict)]
        if wrong:
            msg = f"--corrected {path}: {name}[{wrong[0]}] is no object; export as COCO keypoints"
            raise InputError(msg)
    return content


def _pictures(content: Mapping[str, Any], cache: Cache, path: str, faults: list[str]) -> dict[Any, Picture]:
    """Id → picture, matched by file name."""
    pictures: dict[Any, Picture] = {}
    first: dict[tuple[str, int], str] = {}
    known: dict[str, tuple[int, object, object] | None] = {}
    for index, image in enumerate(content["images"]):
        name = str(image.get("file_name", ""))
        where = f"{path}, images[{index}] {Path(name).name!r}"
        told = coco.seizure_and_frame(name)
        if told is None:
            faults.append(f"{where}: is no picture of an export; give it the name back that it had there")
            continue
        seizure, frame = told
        if seizure not in known:
            known[seizure] = _extent(cache, seizure)
        extent = known[seizure]
        if extent is None:
            faults.append(
                f"{where}: {cache.root} has no points in pixels of seizure {seizure!r}; give the cache of the export"
            )
            continue
        frames, *size = extent
        if frame >= frames:
            faults.append(f"{where}: {seizure!r} has {frames} frames in the cache; give the cache of the export")
            continue
        given = [image.get("width"), image.get("height")]
        if None not in given and None not in size and given != size:
            faults.append(
                f"{where}: is {given[0]}×{given[1]} where the video is {size[0]}×{size[1]}; correct the pictures unscaled"
            )
        if image.get("id") in pictures:
            faults.append(f"{where}: has the id {image.get('id')} of another picture; give each its own")
        before = first.setdefault((seizure, frame), where)
        if before is not where:
            faults.append(f"{where}: is the same frame as {before}; keep one")
        pictures[image.get("id")] = Picture(where, seizure, frame)
    return pictures


def _extent(cache: Cache, seizure: str) -> tuple[int, object, object] | None:
    """(frames, width, height) of what can be corrected in a seizure; None if nothing can."""
    streams = [stream for stream, _ in coco.CATEGORIES.values()]
    if not any(cache.has(seizure, stream) for stream in streams):
        return None
    found = marks_of(cache, seizure)
    frames = [len(tensors["confidence"]) for tensors in (found.pose, found.face) if tensors]
    if not frames:
        return None
    facts: dict[str, Any] = {}
    for stream in streams:
        if cache.has(seizure, stream):
            facts |= cache.metadata(seizure, stream).facts
    return min(frames), facts.get("width"), facts.get("height")


def _labelled(content: Mapping[str, Any], pictures: Mapping[Any, Picture], path: str, faults: list[str]) -> Labelled:
    """The points of every annotation. Rectangles and the like, which have none, are passed over."""
    joints: dict[Any, list[str]] = {}
    for category in content["categories"]:
        names = category.get("keypoints") or []
        unknown = [str(name) for name in names if name not in _STREAMS]
        if unknown:
            faults.append(
                f"{path}, category {category.get('name')!r}: {', '.join(map(repr, unknown))} is no joint of body11 or "
                "face23; keep the names of the export"
            )
        joints[category.get("id")] = names if not unknown else []
    if not any(joints.values()) and not faults:
        faults.append(f"{path}: no category has keypoints; export as COCO keypoints")
    bad_images = {image.get("id") for image in content["images"]} - set(pictures)
    found: Labelled = {}
    for index, annotation in enumerate(content["annotations"]):
        flat = annotation.get("keypoints")
        image = annotation.get("image_id")
        if not flat or image in bad_images:
            continue
        if image not in pictures:
            faults.append(f"{path}, annotations[{index}]: there is no image {image!r}; export the task anew")
            continue
        where = f"{path}, annotations[{index}] of {pictures[image].where.rsplit(' ', 1)[-1]}"
        names = joints.get(annotation.get("category_id"))
        if names is None:
            faults.append(f"{where}: there is no category {annotation.get('category_id')!r}; export the task anew")
            continue
        points = _points(flat, len(names), where, faults) if names else None
        if points is None:
            continue
        parts: dict[str, dict[int, tuple[float, float] | None]] = defaultdict(dict)
        for name, point in zip(names, points, strict=True):
            category_name, joint = _STREAMS[name]
            parts[category_name][joint] = point
        for category_name, part in parts.items():
            if (image, category_name) in found:
                faults.append(f"{where}: is a second {category_name} in this picture; keep the patient's alone")
            found[image, category_name] = part
    return found


def _points(flat: object, count: int, where: str, faults: list[str]) -> list[tuple[float, float] | None] | None:
    """x, y of each joint, None for those that are not labelled; None with a fault."""
    if not isinstance(flat, list) or len(flat) != 3 * count:
        length = len(flat) if isinstance(flat, list) else 0
        faults.append(
            f"{where}: has {length} numbers for {count} keypoints; x, y and visibility of each are {3 * count}"
        )
        return None
    points: list[tuple[float, float] | None] = []
    for joint in range(count):
        triple = flat[3 * joint : 3 * joint + 3]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in triple) or triple[2] not in (
            0,
            1,
            2,
        ):
            faults.append(f"{where}: keypoint {joint} is {triple}; give x, y and 0, 1 or 2")
            return None
        points.append((float(triple[0]), float(triple[1])) if triple[2] else None)
    return points


def _changes(
    cache: Cache, pictures: Mapping[Any, Picture], labelled: Labelled, faults: list[str]
) -> dict[tuple[str, str], list[_Change]]:
    """(seizure, stream) → what is not as it would be exported now."""
    changes: dict[tuple[str, str], list[_Change]] = defaultdict(list)
    found = {seizure: marks_of(cache, seizure) for seizure in {picture.seizure for picture in pictures.values()}}
    for (image, category), points in labelled.items():
        picture = pictures[image]
        stream, skeleton = coco.CATEGORIES[category]
        facts = cache.metadata(picture.seizure, stream).facts if cache.has(picture.seizure, stream) else {}
        size = (facts.get("width") or math.inf, facts.get("height") or math.inf)
        now, confidence, _ = points_of(found[picture.seizure].at(picture.frame), category)
        if len(now) != len(skeleton.joints):
            # Label Studio writes the points of every category, unlabelled where there are none.
            if any(points.values()):
                faults.append(
                    f"{picture.where}: the cache has no {category} of {picture.seizure!r}; extract the {stream} stream"
                )
            continue
        written = coco.keypoints(now, confidence, size)
        for joint, xy in points.items():
            x, y, visible = written[joint]
            if xy is not None and not (-1 <= xy[0] <= size[0] + 1 and -1 <= xy[1] <= size[1] + 1):
                faults.append(
                    f"{picture.where}: {skeleton.joints[joint]!r} lies outside of the picture; mark it outside"
                )
            elif (xy is None) != (not visible) or (xy is not None and max(abs(xy[0] - x), abs(xy[1] - y)) > TOLERANCE):
                new = xy is not None and not visible
                changes[picture.seizure, stream].append(_Change(picture.where, picture.frame, joint, xy, new))
    return changes


def _apply(seizure: SeizureTensors, changes: list[_Change], faults: list[str]) -> SeizureTensors:
    """The tensors with the changes, and metadata that say of them."""
    tensors = {name: tensor.copy() for name, tensor in seizure.tensors.items()}
    metadata = seizure.metadata
    assert metadata.skeleton is not None
    if metadata.stream == "pose":
        _apply_pose(tensors, metadata.skeleton, changes, faults)
    else:
        _apply_face(tensors, changes)
    return SeizureTensors(_corrected(metadata, changes), tensors) if not faults else seizure


def _corrected(metadata: Metadata, changes: list[_Change]) -> Metadata:
    """The metadata of what made the tensors, and that a person corrected some frames of them."""
    before = str(metadata.facts.get("corrected_frames", ""))
    frames = sorted({*map(int, before.split()), *(change.frame for change in changes)})
    facts = {**metadata.facts, "corrected_frames": " ".join(map(str, frames))}
    if metadata.stream == "pose" and metadata.skeleton is not None and metadata.skeleton.dimensions == 3:
        facts["needs_lift"] = True
    extractor = metadata.extractor.removesuffix(CORRECTED_BY) + CORRECTED_BY
    return dataclasses.replace(metadata, extractor=extractor, facts=facts)


def _by_frame(changes: list[_Change]) -> dict[int, list[_Change]]:
    frames: dict[int, list[_Change]] = defaultdict(list)
    for change in changes:
        frames[change.frame].append(change)
    return frames


def _apply_face(tensors: dict[str, npt.NDArray[Any]], changes: list[_Change]) -> None:
    keypoints, confidence, boxes = tensors["face.keypoints"], tensors["face.confidence"], tensors["face.box"]
    for frame, made in _by_frame(changes).items():
        if not np.isfinite(boxes[frame]).all():
            boxes[frame] = box_about([change.xy for change in made if change.xy is not None])
        for change in made:
            if change.xy is None:
                keypoints[frame, change.joint], confidence[frame, change.joint] = np.nan, 0
            else:
                keypoints[frame, change.joint] = np.asarray(change.xy, np.float32) - boxes[frame, :2]
                confidence[frame, change.joint] = 1


def box_about(points: Sequence[tuple[float, float]]) -> npt.NDArray[np.float32]:
    """(4,) x1, y1, x2, y2 about points, a little grown."""
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    margin = _GROW_BOX * (high - low).max()
    box: npt.NDArray[np.float32] = np.concatenate([low - margin, high + margin]).astype(np.float32)
    return box


def _apply_pose(
    tensors: dict[str, npt.NDArray[Any]], skeleton: Skeleton, changes: list[_Change], faults: list[str]
) -> None:
    pixels, confidence = tensors["pose.keypoints_2d"], tensors["pose.confidence"]
    keypoints, path = tensors["pose.keypoints"], tensors["pose.root"]
    before = _Body.of(pixels, keypoints, path, skeleton)
    for frame, made in _by_frame(changes).items():
        for change in made:
            joint = change.joint
            if change.xy is None:
                pixels[frame, joint], keypoints[frame, joint], confidence[frame, joint] = np.nan, np.nan, 0
            else:
                pixels[frame, joint], confidence[frame, joint] = change.xy, 1
        placed = [change for change in made if change.xy is not None]
        if not placed:
            continue
        if before is None:
            faults.append(
                f"{placed[0].where}: no frame of the seizure has a body that could tell its size; extract it anew"
            )
            continue
        if "pose.box" in tensors and not np.isfinite(tensors["pose.box"][frame]).all():
            tensors["pose.box"][frame] = box_about([change.xy for change in placed if change.xy is not None])
        was = before.origin(frame)
        root = [change for change in placed if change.joint == skeleton.root]
        if not root and was is None:
            faults.append(
                f"{placed[0].where}: place {skeleton.joints[skeleton.root]!r} too; the joints are relative to it"
            )
            continue
        origin = pixels[frame, skeleton.root].astype(np.float64) if root else was
        assert origin is not None
        if root:
            path[frame] = before.path_at(frame, origin)
            if was is not None:  # what was relative to the old root is relative to the new one
                keypoints[frame, :, :2] -= (origin - was) * before.unit
            keypoints[frame, skeleton.root] = 0
        for change in placed:
            if change.joint != skeleton.root:
                keypoints[frame, change.joint] = before.solid(frame, change.joint, pixels[frame, change.joint], origin)


@dataclass(frozen=True)
class _Body:
    """A seizure's body as it was before the corrections, from which depth and size are taken.

    Attributes:
        pixels: (T, V, 2); NaN where missing.
        keypoints: (T, V, C) in the skeleton's unit, likewise.
        path: (T, C) of the root.
        root: index of the joint.
        both: (T, V) which joints have pixels and keypoints.
        unit: (2,) what one pixel to the right, and one down, is in the skeleton's unit.
    """

    pixels: npt.NDArray[np.float32]
    keypoints: npt.NDArray[np.float32]
    path: npt.NDArray[np.float32]
    root: int
    both: npt.NDArray[np.bool_]
    unit: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        pixels: npt.NDArray[np.float32],
        keypoints: npt.NDArray[np.float32],
        path: npt.NDArray[np.float32],
        skeleton: Skeleton,
    ) -> _Body | None:
        """A copy of a seizure's tensors; None where no frame has three joints, which tell the size."""
        from seizurelit.extraction.pipeline import weak_perspective  # noqa: PLC0415 - it brings the decoders

        both = np.asarray(np.isfinite(keypoints).all(axis=-1) & np.isfinite(pixels).all(axis=-1))
        if not (both.sum(axis=1) >= 3).any():
            return None
        _, scale = weak_perspective(keypoints, pixels, skeleton.root, (0, 0))
        unit = np.array([1.0, -1.0]) / scale
        return cls(pixels.copy(), keypoints.copy(), path.copy(), skeleton.root, both, unit)

    def origin(self, frame: int) -> npt.NDArray[np.float64] | None:
        """Where in the picture the point lies that the 3D joints are relative to, (2,).

        The root, or where the other joints of the frame would have it; None with neither.
        """
        if np.isfinite(self.pixels[frame, self.root]).all():
            return np.asarray(self.pixels[frame, self.root], dtype=np.float64)
        there = self.both[frame]
        if not there.any():
            return None
        guesses = self.pixels[frame, there] - self.keypoints[frame, there, :2] / self.unit
        return np.asarray(guesses.mean(axis=0), dtype=np.float64)

    def solid(
        self, frame: int, joint: int, xy: npt.NDArray[np.float32], origin: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """The joint in the skeleton's unit: moved from where it was, or placed anew with the depth that it has elsewhere."""
        made = np.zeros(self.keypoints.shape[-1])
        was = self.origin(frame)
        if self.both[frame, joint] and was is not None:
            made[:] = self.keypoints[frame, joint]
            made[:2] += ((xy - origin) - (self.pixels[frame, joint] - was)) * self.unit
            return made
        seen = np.flatnonzero(self.both[:, joint])
        if len(seen):
            made[:] = self.keypoints[seen[np.abs(seen - frame).argmin()], joint]
        made[:2] = (xy - origin) * self.unit
        return made

    def path_at(self, frame: int, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The root's place: that of the nearest frame which has it, and how far away from there it is in the picture."""
        seen = np.flatnonzero(np.isfinite(self.pixels[:, self.root]).all(axis=-1))
        place = np.zeros(self.path.shape[-1])
        if len(seen):
            nearest = seen[np.abs(seen - frame).argmin()]
            place[:] = self.path[nearest]
            place[:2] += (xy - self.pixels[nearest, self.root]) * self.unit
        return place
