"""Short gaps in keypoints are bridged on a straight line, and marked; long ones stay missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seizurelit.extraction.backend import Floats

LONGEST = 0.2
"""Seconds: what lies between is then within reach of a straight line also in a ballistic movement, and a blink stays one."""


@dataclass(frozen=True)
class Filled:
    """Keypoints of a clip without their short gaps.

    Attributes:
        points: (T, V, C) as they were given, float32; NaN where still missing.
        confidence: (T, V) in [0, 1]; 0 where still missing.
        mask: (T, V) whether this was filled in.
    """

    points: Floats
    confidence: Floats
    mask: npt.NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Of all joints in all frames, how many were filled in."""
        return float(self.mask.mean()) if self.mask.size else 0.0


def fill_gaps(points: Floats, confidence: Floats, fps: float, longest: float = LONGEST) -> Filled:
    """Interpolate every joint over the frames in which it is missing, if they are few and it is there on both sides.

    A joint is missing where a coordinate is NaN or its confidence 0. What is filled in has half of the confidence of the
    less sure of its two neighbours: never as sure as what was seen, but not missing. Nothing is put before the first or
    after the last frame that has the joint. What was seen is not touched.

    Args:
        points: (T, V, C), any unit.
        confidence: (T, V) in [0, 1].
        fps: frames a second.
        longest: seconds that a gap may last: the missing frames over fps; 0 fills nothing.
    """
    present = np.isfinite(points).all(axis=-1) & (confidence > 0)
    frames = np.arange(len(points))[:, None]
    before = np.maximum.accumulate(np.where(present, frames, -1), axis=0)
    after = np.minimum.accumulate(np.where(present, frames, len(points))[::-1], axis=0)[::-1]
    inside = ~present & (before >= 0) & (after < len(points))
    # A thousandth of a frame: 0.28 s · 25 is 7.000000000000001.
    filled = inside & (after - before - 1 <= longest * fps + 1e-3)
    made = np.where(present[..., None], points, np.nan).astype(np.float32)
    sure = np.where(present, confidence, 0).astype(np.float32)
    frame, joint = np.nonzero(filled)
    first, last = before[frame, joint], after[frame, joint]
    weight = ((frame - first) / (last - first))[:, None]
    made[frame, joint] = (1 - weight) * points[first, joint] + weight * points[last, joint]
    sure[frame, joint] = np.minimum(confidence[first, joint], confidence[last, joint]) / 2
    return Filled(made, sure, filled)
