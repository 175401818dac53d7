"""COCO keypoints: a JSON file a seizure with `images`, `annotations` and `categories`, as annotation tools write it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from seizurelit.ingestion.json_files import numbers, read_json
from seizurelit.ingestion.keypoints import first_faults
from seizurelit.ingestion.people import Body, Detections, gather

COCO17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""COCO's own names and order."""

_CATEGORIES = {"pose": "person", "face": "face"}


def read_coco(path: Path, stream: str, faults: list[str]) -> Detections | None:
    """Read all annotations that have keypoints.

    A point's third number is a flag where it is 0, 1 (occluded) or 2 (visible): 0 is missing, 1 counts as confidence
    0.5, 2 as 1; in a file without any 2 it is the confidence. Frames are numbered by `frame_id` or `frame_index` of the
    images, else by the last number in their file's name. People are told apart by `track_id`, of the annotation or
    among its `attributes`.

    Args:
        path: of the file.
        stream: where several categories have keypoints, pose takes `person`, face takes `face`.
        faults: takes one line for everything that is wrong.
    """
    value = read_json(path, faults)
    if value is None:
        return None
    keys = ("images", "annotations", "categories")
    parts: list[Any] = [value.get(key) if isinstance(value, dict) else None for key in keys]
    if not all(isinstance(part, list) and all(isinstance(entry, dict) for entry in part) for part in parts):
        faults.append(f"{path}: has no lists 'images', 'annotations' and 'categories'; export it as COCO keypoints")
        return None
    images, annotations, categories = parts
    found: list[str] = []
    frames = _frames(images, path, found)
    category = _category(categories, stream, path, found)
    if found or category is None:
        faults += first_faults(found, str(path))
        return None
    bodies: list[Body] = []
    for number, annotation in enumerate(annotations):
        where = f"{path}, annotation {annotation.get('id', number + 1)}"
        if annotation.get("category_id") != category.get("id") or not annotation.get("keypoints"):
            continue
        points = numbers(annotation["keypoints"], 3)
        image = annotation.get("image_id")
        if points is None or points.shape[1] != 3:
            found.append(f"{where}: 'keypoints' is no list of x, y, v; export it again")
        elif not isinstance(image, int | str) or image not in frames:
            found.append(f"{where}: image_id {str(image)[:40]!r} is none of the images; export it again")
        elif (points[:, 2] > 0).any():
            bodies.append(Body(frames[image], _track(annotation), points[:, :2], points[:, 2], where))
    if found:
        faults += first_faults(found, str(path))
        return None
    names = category.get("keypoints")
    joints = None
    if bodies and isinstance(names, list) and len(names) == len(bodies[0].confidence):
        joints = tuple(map(str, names))
    flags = np.concatenate([body.confidence for body in bodies]) if bodies else np.zeros(0)
    if set(np.unique(flags)) <= {0.0, 1.0, 2.0} and (flags == 2).any():
        bodies = [Body(body.frame, body.person, body.coordinates, body.confidence / 2, body.where) for body in bodies]
    scheme = "coco17" if joints == COCO17 else None
    return gather(bodies, frames.values(), str(path), faults, joints=joints, scheme=scheme)


def _frames(images: list[dict[str, Any]], path: Path, found: list[str]) -> dict[int | str, int]:
    """Number of the frame of every image, by the image's id."""
    frames: dict[int | str, int] = {}
    placed: dict[int, str] = {}
    videos = {str(image[key]) for image in images for key in ("video_id", "vid_id") if key in image}
    if len(videos) > 1:
        found.append(f"{path}: has images of {len(videos)} videos; write one file a seizure")
        return frames
    for position, image in enumerate(images):
        name, where = str(image.get("file_name", "")), f"{path}, image {position + 1}"
        digits = re.findall(r"\d+", Path(name).stem)
        frame = next((image[key] for key in ("frame_id", "frame_index") if isinstance(image.get(key), int)), None)
        if frame is None and digits:
            frame = int(digits[-1][-18:])
        identity = image.get("id")
        if not isinstance(identity, int | str) or identity in frames:
            found.append(f"{where}: id {str(identity)[:40]!r} is missing or there twice; export it again")
        elif frame is None:
            found.append(f"{where}: {name[:60]!r} has no frame number; name the images by their frames")
        elif frame in placed:
            found.append(f"{where}: {name[:60]!r} is frame {frame}, as is {placed[frame][:60]!r}; one file a seizure")
        else:
            frames[identity] = frame
            placed[frame] = name
    return frames


def _category(categories: list[dict[str, Any]], stream: str, path: Path, found: list[str]) -> dict[str, Any] | None:
    """The category whose keypoints are of this stream."""
    having = [category for category in categories if category.get("keypoints")]
    if len(having) > 1:
        having = [category for category in having if category.get("name") == _CATEGORIES[stream]]
    if len(having) == 1:
        return having[0]
    names = ", ".join(repr(category.get("name")) for category in categories)[:200]
    found.append(
        f"{path}: has no category, or several, with keypoints for the {stream} stream ({names or 'none at all'}); "
        f"name the one {_CATEGORIES[stream]!r}"
    )
    return None


def _track(annotation: dict[str, Any]) -> str | None:
    """Whose it is, if the file says so."""
    attributes = annotation.get("attributes")
    for source in (annotation, attributes if isinstance(attributes, dict) else {}):
        identity = source.get("track_id")
        if isinstance(identity, int | str) and identity != "":
            return f"track {identity}"
    return None
