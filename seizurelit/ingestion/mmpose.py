"""MMPose: the JSON file of its demos (`meta_info`, `instance_info`) or of its inferencer (a list of frames)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seizurelit.ingestion.json_files import numbers, read_json
from seizurelit.ingestion.keypoints import Floats, first_faults
from seizurelit.ingestion.people import Body, Detections, gather

SCHEMES = {
    "coco": "coco17",
    "halpe26": "halpe26",
    "coco_wholebody": "wholebody133",
    "h36m": "h36m17",
    "300w": "ibug68",
    "wflw": "wflw98",
    "lapa": "lapa106",
    "coco_openpose": "openpose18",
}
"""MMPose's name of a data set → the scheme of its points."""

_FORM = "give what MMPose's demo wrote by --save-predictions, or its inferencer by pred_out_dir, for a video"


def read_mmpose(path: Path, stream: str, faults: list[str]) -> Detections | None:
    """Read all people of all frames. Points in 3D are turned back into x to the image's right, y up, z to the camera.

    MMPose's 3D demo and inferencer write (−X, Z, −Y) of the camera's axes (X right, Y down, Z away), height last.

    Args:
        path: of the file; the demo counts frames from 1, the inferencer from 0.
        stream: the same either way: the file has what its network finds.
        faults: takes one line for everything that is wrong.
    """
    del stream
    value = read_json(path, faults)
    if value is None:
        return None
    meta = value.get("meta_info") if isinstance(value, dict) else None
    rows = value.get("instance_info") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "instances" in row for row in rows):
        faults.append(f"{path}: is no list of frames with 'frame_id' and 'instances'; {_FORM}")
        return None
    bodies: list[Body] = []
    frames: set[int] = set()
    found: list[str] = []
    for number, row in enumerate(rows):
        frame, instances = row.get("frame_id"), row["instances"]
        if not isinstance(frame, int) or isinstance(frame, bool) or not isinstance(instances, list):
            found.append(
                f"{path}, entry {number + 1}: frame_id {str(frame)[:20]!r} or its instances are unsound; {_FORM}"
            )
            continue
        if frame in frames:
            found.append(f"{path}: frame {frame} is there twice; delete one")
        frames.add(frame)
        for position, instance in enumerate(instances):
            where = f"{path}, frame {frame}, instance {position + 1}"
            body = _body(instance, frame, where)
            if body is None:
                found.append(f"{where}: has no sound 'keypoints' and 'keypoint_scores' of one length; {_FORM}")
            else:
                bodies.append(body)
    if found:
        faults += first_faults(found, str(path))
        return None
    joints, scheme = _points(meta, len(bodies[0].confidence) if bodies else 0)
    return gather(bodies, frames, str(path), faults, joints=joints, scheme=scheme)


def _body(instance: object, frame: int, where: str) -> Body | None:
    if not isinstance(instance, dict):
        return None
    points, scores = numbers(instance.get("keypoints"), 2), numbers(instance.get("keypoint_scores"), 1)
    if points is None or scores is None or points.shape[1] not in (2, 3) or scores.shape != (len(points), 1):
        return None
    identity = instance.get("track_id")
    person = f"track {identity}" if isinstance(identity, int) and identity >= 0 else None
    return Body(frame, person, _camera_axes(points) if points.shape[1] == 3 else points, scores[:, 0], where)


def _camera_axes(points: Floats) -> Floats:
    """(V, 3) x right, y up, z towards the camera from MMPose's (−X, Z, −Y): no mirror image, left stays left."""
    return np.stack([-points[:, 0], points[:, 2], -points[:, 1]], axis=-1)


def _points(meta: Any, points: int) -> tuple[tuple[str, ...] | None, str | None]:
    """(names, scheme) of the points, as far as the file gives them."""
    if not isinstance(meta, dict):
        return None, None
    names = meta.get("keypoint_id2name")
    joints = None
    if isinstance(names, dict) and set(names) == {str(number) for number in range(points)}:
        joints = tuple(str(names[str(number)]) for number in range(points))
    return joints, SCHEMES.get(str(meta.get("dataset_name")))
