"""COCO keypoints: the categories, a picture's annotations, and the names by which pictures come back."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from seizurelit.cohort.skeleton import built_in
from seizurelit.extraction.marks import SURE

BODY, LANDMARKS = built_in("body11"), built_in("face23")
CATEGORIES = {"person": ("pose", BODY), "face": ("face", LANDMARKS)}
"""Category → the stream and the skeleton that it is of."""

_NAME = re.compile(r"(?:^|[/\\=])(?:[0-9a-f]{8}-)?\d{4,}_(?P<seizure>[^/\\]+)_(?P<frame>\d{6,})\.(?:jpe?g|png)$", re.I)


def categories() -> list[dict[str, Any]]:
    """The categories of a file, with joints and bones (numbered from 1, as COCO does)."""
    return [
        {
            "id": number,
            "name": name,
            "supercategory": "",
            "keypoints": list(skeleton.joints),
            "skeleton": [[parent + 1, child + 1] for child, parent in skeleton.bones],
        }
        for number, (name, (_, skeleton)) in enumerate(CATEGORIES.items(), start=1)
    ]


def keypoints(
    points: npt.NDArray[np.floating[Any]], confidence: npt.NDArray[np.floating[Any]], size: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Points as COCO writes them.

    Args:
        points: (V, 2) pixels; NaN where missing.
        confidence: (V,) in [0, 1]; 0 where missing.
        size: (width, height) of the picture; infinite where it is not known.

    Returns:
        (V, 3) x, y to a hundredth of a pixel, and visibility: 2 seen, 1 unsure (confidence below one half), 0 missing or
        outside of the picture, with x = y = 0.
    """
    inside = np.isfinite(points).all(axis=-1) & (confidence > 0)
    inside &= (np.nan_to_num(points, nan=-1.0) >= 0).all(axis=-1) & (np.nan_to_num(points) <= size).all(axis=-1)
    visibility = np.where(inside, np.where(confidence >= SURE, 2, 1), 0)
    xy = np.where(inside[:, None], points, 0.0).astype(np.float64).round(2)
    return np.concatenate([xy, visibility[:, None]], axis=-1)


def annotation(
    points: npt.NDArray[np.float64], box: npt.NDArray[np.floating[Any]], category: str
) -> dict[str, Any] | None:
    """An annotation without its ids of picture and annotation; None where no point is labelled.

    Args:
        points: (V, 3) from `keypoints`.
        box: (4,) x1, y1, x2, y2 in pixels; where it is NaN the extent of the points stands for it.
        category: person or face.
    """
    labelled = points[points[:, 2] > 0]
    if not len(labelled):
        return None
    corners = box.astype(np.float64)
    if not np.isfinite(corners).all():
        corners = np.concatenate([labelled[:, :2].min(axis=0), labelled[:, :2].max(axis=0)])
    x, y = corners[:2].round(2).tolist()
    width, height = np.maximum(corners[2:] - corners[:2], 1.0).round(2).tolist()
    flat = [int(value) if place % 3 == 2 else value for place, value in enumerate(points.ravel().tolist())]
    return {
        "category_id": list(CATEGORIES).index(category) + 1,
        "keypoints": flat,
        "num_keypoints": len(labelled),
        "bbox": [x, y, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "segmentation": [],
    }


def picture_name(rank: int, seizure: str, frame: int) -> str:
    """The file name of a picture; sorted by it, the least certain come first.

    Args:
        rank: from 1.
        seizure: name of the seizure.
        frame: from 0, on the timeline of the cache.
    """
    return f"{rank:05d}_{seizure}_{frame:06d}.jpg"


def seizure_and_frame(file_name: str) -> tuple[str, int] | None:
    """What a picture's name says, also with the folders, URLs and prefixes that tools put before it; None if nothing."""
    for name in (file_name, unquote(file_name)):
        match = _NAME.search(name)
        if match:
            return match["seizure"], int(match["frame"])
    return None
