"""Keypoint files of other tools: `.npy` of (T, V, C), or long CSV of one row a frame and joint."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seizurelit.cohort.skeleton import AXES, Skeleton
from seizurelit.cohort.table import Row, read_table

Floats = npt.NDArray[np.float64]

SUFFIXES = (".npy", ".csv")
MOST_FRAMES = 1_000_000
"""Longer than any seizure: a frame number above it is a slip, and would ask for all of the memory."""

_SHOWN = 5


@dataclass(frozen=True)
class Keypoints:
    """Joints as a file has them.

    Attributes:
        coordinates: (T, V, C) in the file's unit, C of x, y, z; NaN where a joint is missing.
        confidence: (T, V) in [0, 1]; 0 where a joint is missing, 1 where it is present and the file gives none.
    """

    coordinates: Floats
    confidence: Floats

    def part(self, start: float | None, end: float | None, fps: float) -> Keypoints:
        """The frames from start to end, in seconds of the file."""
        frames = frames_between(start, end, fps)
        return Keypoints(self.coordinates[frames], self.confidence[frames])

    def surer_than(self, least: float) -> Keypoints:
        """The same, without the joints whose confidence is below `least`."""
        missing = self.confidence < least
        return Keypoints(
            np.where(missing[..., None], np.nan, self.coordinates), np.where(missing, 0.0, self.confidence)
        )


@dataclass(frozen=True)
class RelativeKeypoints:
    """Joints relative to the skeleton's root, in the skeleton's own unit.

    Attributes:
        keypoints: (T, V, C) in units; NaN where a joint is missing.
        root: (T, C) what was subtracted, in units, so that keypoints + root is where the joint was.
        unit: length of the unit in the file's unit: the median distance of the skeleton's two scale joints.
    """

    keypoints: Floats
    root: Floats
    unit: float


def frames_between(start: float | None, end: float | None, fps: float) -> slice:
    """The frames that a stretch of time touches; frame k is shown from k / fps on.

    Args:
        start: seconds, or None for the beginning.
        end: seconds, or None for the end.
        fps: frames a second.
    """
    # A thousandth of a frame: 90.2 s · 25 is 2255.0000000000005.
    first = math.floor((start or 0.0) * fps + 1e-3)
    return slice(first, None if end is None else math.ceil(end * fps - 1e-3))


def read_keypoints(path: Path, skeleton: Skeleton, faults: list[str]) -> Keypoints | None:
    """Read one file in the channels of a skeleton.

    A joint is missing in a frame if a coordinate is NaN (or its cell empty, or its row absent) or its confidence is 0
    or NaN. Nothing is filled in.

    Args:
        path: `.npy` of (T, V, C) with C in the skeleton's order of channels, or CSV with the columns frame (from 0),
            joint (by name), x, y, z if the skeleton has it, and confidence if there is any.
        skeleton: the joints and channels.
        faults: takes one line for everything that is wrong.

    Returns:
        The joints; None if the file has faults.
    """
    before = len(faults)
    values = _from_npy(path, skeleton, faults) if path.suffix == ".npy" else _from_csv(path, skeleton, faults)
    if values is None or len(faults) > before:
        return None
    coordinates, confidence = values
    infinite: npt.NDArray[np.bool_] = np.any(np.isinf(coordinates), axis=-1)
    if infinite.any():
        faults.append(f"{path}: {_place(infinite, skeleton)} is infinite; write NaN where it is missing")
    wrong = (confidence < 0) | (confidence > 1)
    if wrong.any():
        faults.append(
            f"{path}: the confidence of {_place(wrong, skeleton)} is {confidence[wrong][0]:g}; it must be from 0 to 1"
        )
    missing = np.isnan(coordinates).any(axis=-1) | ~(confidence > 0)
    if missing.all():
        faults.append(f"{path}: no joint is present in any frame; check the file, or delete it")
    if len(faults) > before:
        return None
    return Keypoints(np.where(missing[..., None], np.nan, coordinates), np.where(missing, 0.0, confidence))


def relative_to_root(keypoints: Keypoints, skeleton: Skeleton) -> RelativeKeypoints | str:
    """Subtract the root joint and divide by the median distance of the two scale joints over the seizure.

    Where the root is missing its path is taken on the straight line between the frames that have it (and held before
    the first and after the last), so that the other joints of the frame are kept; the root itself stays missing.

    Returns:
        The joints in units; or, as a text, why it cannot be done.
    """
    coordinates = keypoints.coordinates
    seen = np.flatnonzero(~np.isnan(coordinates[:, skeleton.root]).any(axis=-1))
    if len(seen) == 0:
        return f"the root {skeleton.joints[skeleton.root]!r} is in no frame; choose another root in the skeleton"
    frames = np.arange(len(coordinates))
    path = np.stack([np.interp(frames, seen, axis) for axis in coordinates[seen, skeleton.root].T], axis=-1)
    first, second = skeleton.scale
    lengths = np.linalg.norm(coordinates[:, first] - coordinates[:, second], axis=-1)
    names = f"{skeleton.joints[first]!r} and {skeleton.joints[second]!r}"
    if np.isnan(lengths).all():
        return f"{names}, the scale, are in no frame together; choose two others in the skeleton"
    unit = float(np.nanmedian(lengths))
    if unit <= 0:
        return f"{names}, the scale, lie on each other; choose two others in the skeleton"
    return RelativeKeypoints((coordinates - path[:, None]) / unit, path / unit, unit)


def _place(where: npt.NDArray[np.bool_], skeleton: Skeleton) -> str:
    frame, joint = np.argwhere(where)[0]
    more = f" (and {where.sum() - 1} more)" if where.sum() > 1 else ""
    return f"joint {skeleton.joints[joint]!r} in frame {frame}{more}"


def _from_npy(path: Path, skeleton: Skeleton, faults: list[str]) -> tuple[Floats, Floats] | None:
    array = load_npy(path, faults)
    if array is None:
        return None
    joints, channels = len(skeleton.joints), len(skeleton.channels)
    if array.ndim != 3 or array.shape[1:] != (joints, channels) or len(array) == 0:
        faults.append(
            f"{path}: has the shape {array.shape}; skeleton {skeleton.name!r} needs (T, {joints}, {channels}): frames, "
            f"joints, and {', '.join(skeleton.channels)}"
        )
        return None
    values = {channel: array[..., index].astype(np.float64) for index, channel in enumerate(skeleton.channels)}
    coordinates = np.stack([values[axis] for axis in AXES if axis in values], axis=-1)
    if "confidence" not in values:
        return coordinates, np.ones(coordinates.shape[:2])
    return coordinates, np.nan_to_num(values["confidence"], nan=0.0, posinf=np.inf, neginf=-np.inf)


def load_npy(path: Path, faults: list[str]) -> npt.NDArray[np.floating | np.integer] | None:
    """An array of numbers from a `.npy` file, never a pickled object; None, with a fault, if it is something else."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        faults.append(
            f"{path}: is no .npy file of numbers ({' '.join(str(error).split())[:120]}); save it by numpy.save"
        )
        return None
    if not isinstance(array, np.ndarray):
        faults.append(f"{path}: holds several arrays; save the one by numpy.save")
        return None
    if array.dtype.kind not in "fiu":
        faults.append(f"{path}: holds {array.dtype}; save floating-point numbers")
        return None
    return array


def _from_csv(path: Path, skeleton: Skeleton, faults: list[str]) -> tuple[Floats, Floats] | None:
    axes = [axis for axis in AXES if axis in skeleton.channels]
    table = read_table(path, ("frame", "joint", *axes), faults)
    if table is None:
        return None
    for column in table.columns:
        if column not in ("frame", "joint", *axes, "confidence"):
            faults.append(
                f"{path}, row 1: column {column!r} is none of frame, joint, {', '.join(axes)} and confidence; "
                "rename or delete it"
            )
    found: list[str] = []
    index = {name: joint for joint, name in enumerate(skeleton.joints)}
    placed: dict[tuple[int, int], Row] = {}
    for row in table.rows:
        at = f"{path}, row {row.line}"
        frame, joint = row.cells["frame"], index.get(row.cells["joint"])
        if not (frame.isascii() and frame.isdigit()) or int(frame) >= MOST_FRAMES:
            found.append(f"{at}: frame {frame[:20]!r} is no frame number; count frames from 0, up to {MOST_FRAMES:,}")
        elif joint is None:
            found.append(
                f"{at}: joint {row.cells['joint']!r} is not in skeleton {skeleton.name!r}, which has "
                f"{', '.join(skeleton.joints)[:200]}; rename it, or delete the row"
            )
        else:
            same = placed.setdefault((int(frame), joint), row)
            if same is not row:
                found.append(f"{at}: joint {row.cells['joint']!r} in frame {frame} is in row {same.line}; delete one")
    frames = max((frame for frame, _ in placed), default=-1) + 1
    columns = {name: np.full((frames, len(index)), np.nan) for name in axes}
    columns["confidence"] = np.zeros((frames, len(index)))
    for place, row in placed.items():
        for name, values in columns.items():
            cell = row.cells.get(name, "1")
            try:
                values[place] = float(cell) if cell else np.nan
            except ValueError:
                found.append(
                    f"{path}, row {row.line}: {name} {cell[:20]!r} is no number; leave it empty if it is missing"
                )
    faults += first_faults(found, str(path), "rows")
    if found or not placed:
        return None
    confidence = np.nan_to_num(columns["confidence"], nan=0.0, posinf=np.inf, neginf=-np.inf)
    return np.stack([columns[axis] for axis in axes], axis=-1), confidence


def first_faults(faults: Iterable[str], where: str, what: str = "places") -> list[str]:
    """The first faults of a file that may have one in each of its many rows, and how many more there are."""
    listed = list(faults)
    if len(listed) <= _SHOWN:
        return listed
    return [*listed[:_SHOWN], f"{where}: {len(listed) - _SHOWN} more {what} have such faults; correct them all"]
