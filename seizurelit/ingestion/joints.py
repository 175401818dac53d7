"""The joints of other tools' files as those of a skeleton: by name, or through a scheme that the paper's points are known in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from seizurelit.cohort.points import BODY, FACE, Correspondence, translate
from seizurelit.cohort.skeleton import AXES, Skeleton, built_in
from seizurelit.cohort.table import folded
from seizurelit.ingestion import openpose
from seizurelit.ingestion.keypoints import Keypoints

SCHEMES: Mapping[str, Mapping[str, Correspondence]] = {
    "pose": {**BODY, **openpose.BODY},
    "face": {**FACE, openpose.FACE70.name: openpose.FACE70},
}
"""Stream → name → how body11 or face23 are made of it."""

BUILT_IN_OF: Mapping[str, Literal["body11", "face23"]] = {"pose": "body11", "face": "face23"}
"""Stream → the paper's skeleton of it."""


def in_skeleton(
    keypoints: Keypoints,
    joints: tuple[str, ...] | None,
    scheme: str | None,
    *,
    stream: str,
    skeleton: Skeleton,
    path: Path,
    faults: list[str],
) -> tuple[Keypoints, Skeleton] | None:
    """The joints of a skeleton out of those of a file.

    A built-in skeleton is made of a known scheme. Any other, or a file of no known scheme, is matched by the joints'
    names, without regard to case, blanks, dashes and underscores; joints that the skeleton does not have are left out. A
    file without names is taken in the skeleton's order.

    Args:
        keypoints: (T, V, C) of the file.
        joints: names of the V.
        scheme: a key of `SCHEMES[stream]`, if the V are known.
        stream: pose or face.
        skeleton: which joints are wanted. A built-in one takes the dimensions of the file.
        path: names the file.
        faults: takes one line for everything that is wrong.

    Returns:
        (T, V', C), and the skeleton in the channels that these are in; None if there are faults.
    """
    points, dimensions = keypoints.coordinates.shape[1:]
    papers = skeleton.joints == built_in(BUILT_IN_OF[stream]).joints
    known = SCHEMES[stream].get(scheme) if scheme is not None and papers else None
    if known is not None:
        if points != known.joints:
            fitting = ", ".join(name for name, other in SCHEMES[stream].items() if other.joints == points)
            faults.append(
                f"{path}: has {points} points, scheme {known.name} has {known.joints}; "
                + (
                    f"{points} have {fitting}: correct --scheme"
                    if fitting
                    else "give --skeleton with the joints' names"
                )
            )
            return None
        coordinates, confidence = translate(known, keypoints.coordinates, keypoints.confidence)
        moved = Keypoints(coordinates.astype(np.float64), confidence.astype(np.float64))
    else:
        order = _order(joints, points, skeleton)
        if isinstance(order, str):
            remedy = f"give --scheme ({', '.join(SCHEMES[stream])}), or " if papers else ""
            faults.append(f"{path}: {order}; {remedy}name them alike in a skeleton.yaml")
            return None
        moved = Keypoints(keypoints.coordinates[:, order], keypoints.confidence[:, order])
    channels = (*AXES[:dimensions], "confidence")
    if not papers and skeleton.dimensions != dimensions:
        faults.append(
            f"{path}: has {dimensions} coordinates a joint, skeleton {skeleton.name!r} has {skeleton.dimensions}; "
            f"write its channels as [{', '.join(channels)}]"
        )
        return None
    return moved, skeleton.with_channels(channels)


def _order(joints: tuple[str, ...] | None, points: int, skeleton: Skeleton) -> list[int] | str:
    """Index in the file of each joint of the skeleton; or, as a text, why it cannot be told."""
    if joints is None:
        if points == len(skeleton.joints):
            return list(range(points))
        return f"has {points} points without names, skeleton {skeleton.name!r} has {len(skeleton.joints)} joints"
    index: dict[str, int] = {}
    for number, name in enumerate(joints):
        other = index.setdefault(_plain(name), number)
        if other != number:
            return f"has the points {joints[other]!r} and {name!r}, which are one name"
    missing = [name for name in skeleton.joints if _plain(name) not in index]
    if missing:
        return (
            f"has no {', '.join(map(repr, missing))} of skeleton {skeleton.name!r}, but "
            f"{', '.join(map(repr, joints))[:400]}"
        )
    return [index[_plain(name)] for name in skeleton.joints]


def _plain(name: str) -> str:
    return folded(re.sub(r"[_\-.]+", " ", name))
