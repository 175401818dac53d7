"""The paper's points from the schemes of other tools: which of their points make each joint of body11 and face23."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Correspondence:
    """Where the joints of a built-in skeleton are found among the points of another scheme.

    Attributes:
        name: of the other scheme.
        joints: how many points the other scheme has.
        sources: for each joint of the skeleton, in its order, the points of the other scheme whose mean it is.
    """

    name: str
    joints: int
    sources: tuple[tuple[int, ...], ...]


def translate(correspondence: Correspondence, points: Floats, confidence: Floats) -> tuple[Floats, Floats]:
    """The points of a skeleton from those of another scheme.

    A joint is the mean of its sources and is as sure as the least sure of them; it is missing where one of them is (a
    NaN coordinate, or a confidence of 0). Nothing is guessed: a neck needs both shoulders, a pelvis both hips.

    Args:
        correspondence: an entry of `BODY` or `FACE`.
        points: (..., V, C), in any unit.
        confidence: (..., V) in [0, 1].

    Returns:
        points (..., V', C), NaN where missing, and confidence (..., V'), 0 where missing; of the kinds that were given.

    Raises:
        ValueError: V is not what the scheme has.
    """
    if points.shape[-2] != correspondence.joints or confidence.shape != points.shape[:-1]:
        msg = (
            f"{correspondence.name} has {correspondence.joints} points, but the points are {points.shape} and their "
            f"confidence is {confidence.shape}"
        )
        raise ValueError(msg)
    present = np.isfinite(points).all(axis=-1) & (confidence > 0)
    points = np.where(present[..., None], points, np.array(np.nan, points.dtype))
    confidence = np.where(present, confidence, np.array(0, confidence.dtype))
    means = [points[..., source, :].mean(axis=-2) for source in map(list, correspondence.sources)]
    least = [confidence[..., source].min(axis=-1) for source in map(list, correspondence.sources)]
    return np.stack(means, axis=-2), np.stack(least, axis=-1)


def _body(name: str, joints: int, *sources: int | tuple[int, ...]) -> Correspondence:
    return Correspondence(name, joints, tuple((source,) if isinstance(source, int) else source for source in sources))


def _face(name: str, joints: int, points: Mapping[int, int]) -> Correspondence:
    return Correspondence(name, joints, tuple((points[number],) for number in FACE23))


FACE23 = (17, 19, 21, 22, 24, 26, 36, 37, 39, 41, 42, 44, 45, 46, 30, 31, 35, 48, 51, 54, 57, 62, 66)
"""The joints of face23 by their numbers in iBUG-68."""

_COCO = ((11, 12), (5, 6), 0, 5, 7, 9, 6, 8, 10, 11, 12)

BODY: Mapping[str, Correspondence] = {
    table.name: table
    for table in (
        _body("coco17", 17, *_COCO),
        _body("halpe26", 26, 19, 18, *_COCO[2:]),
        _body("wholebody133", 133, *_COCO),
        _body("h36m17", 17, 0, 8, (9, 10), 11, 12, 13, 14, 15, 16, 4, 1),
        _body("mediapipe33", 33, (23, 24), (11, 12), 0, 11, 13, 15, 12, 14, 16, 23, 24),
    )
}
"""body11 from the body schemes; the sides are the subject's.

pelvis: the scheme's own point (Halpe's hip, Human3.6M's root), else the middle of the hips.
neck: the scheme's own point at its base (Halpe's neck, Human3.6M's thorax), else the middle of the shoulders.
head: the nose. Ears are half hidden in every profile and the crown that Halpe has is under the dressing of a patient on
    EEG; the nose is also what turns with the head. Human3.6M has no nose: the middle between its top of the neck (9) and
    the crown (10), which is the middle of the head.

Hips under a blanket: they, and with them the pelvis, are missing and stay so; neither a joint nor its confidence is invented
from the shoulders. What is relative to the pelvis needs a path for it all the same: between frames that have it that path is
a straight line (`ingestion.keypoints.relative_to_root`), and a clip is normalised about the place where it was last seen
(`data.normalise`), so that the arms and the head of such frames are kept.

Orders: COCO-17, Halpe-26, COCO-WholeBody-133 and Human3.6M-17 as in mmpose's data sets `coco`, `halpe26`,
`coco_wholebody` and `h36m`; MediaPipe-33 as in BlazePose (Bazarevsky et al., 2020), for its 2D and its world points.
"""

FACE: Mapping[str, Correspondence] = {
    table.name: table
    for table in (
        _face("ibug68", 68, {number: number for number in FACE23}),
        _face("wholebody133", 133, {number: number + 23 for number in FACE23}),
        _face(
            "wflw98",
            98,
            {
                **{17: 33, 19: 35, 21: 37, 22: 42, 24: 44, 26: 46},
                **{36: 60, 37: 61, 39: 64, 41: 67, 42: 68, 44: 71, 45: 72, 46: 73},
                **{30: 54, 31: 55, 35: 59},
                **{48: 76, 51: 79, 54: 82, 57: 85, 62: 90, 66: 94},
            },
        ),
        _face(
            "lapa106",
            106,
            {
                **{17: 33, 19: 35, 21: 37, 22: 42, 24: 44, 26: 46},
                **{36: 66, 37: 67, 39: 70, 41: 73, 42: 75, 44: 78, 45: 79, 46: 80},
                **{30: 54, 31: 58, 35: 62},
                **{48: 84, 51: 87, 54: 90, 57: 93, 62: 98, 66: 102},
            },
        ),
        _face(
            "mediapipe478",
            478,
            {
                **{17: 70, 19: 105, 21: 107, 22: 336, 24: 334, 26: 300},
                **{36: 33, 37: 160, 39: 133, 41: 144, 42: 362, 44: 387, 45: 263, 46: 373},
                **{30: 4, 31: 98, 35: 327},
                **{48: 61, 51: 0, 54: 291, 57: 17, 62: 13, 66: 14},
            },
        ),
    )
}
"""face23 from the face schemes, each as {iBUG number: its number there}, in the rows brows, eyes, nose, mouth.

Brows are the upper edge where a scheme has both edges. WFLW and LaPa have three points on a lid where iBUG has two: the
outer one stands for iBUG's outer one. Nostrils are the outer ends of the nose's base, not the wings.

Orders: iBUG-68, COCO-WholeBody-133 (its 68 face points are 23-90), WFLW-98 and LaPa-106 as in mmpose's data sets `300w`,
`coco_wholebody`, `wflw` and `lapa`; MediaPipe-478 is its face mesh of 468 vertices with ten points of the irises.
"""
