"""OpenPose: a folder a seizure with one `<video>_<frame>_keypoints.json` a frame, as `--write_json` writes it.

Format: https://github.com/CMU-Perceptual-Computing-Lab/openpose, doc/02_output.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from seizurelit.cohort.points import FACE, Correspondence
from seizurelit.ingestion.json_files import numbers, read_json
from seizurelit.ingestion.keypoints import MOST_FRAMES, first_faults
from seizurelit.ingestion.people import Body, Detections, gather

_COCO18 = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist"),
    *("right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle"),
    *("right eye", "left eye", "right ear", "left ear"),
)
_BODY25 = (
    *_COCO18[:8],
    "mid hip",
    *_COCO18[8:],
    *("left big toe", "left small toe", "left heel", "right big toe", "right small toe", "right heel"),
)
JOINTS: Mapping[str, tuple[str, ...]] = {
    "openpose25": _BODY25,
    "openpose18": _COCO18,
    "openpose70": (*(f"ibug-{number}" for number in range(68)), "right pupil", "left pupil"),
}
"""Names of the points of BODY_25, COCO (18 points) and the face, in their order."""


def _body(name: str, *names: tuple[str, ...]) -> Correspondence:
    order = JOINTS[name]
    arms = [(f"{side} {joint}",) for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist")]
    wanted = [*names, ("neck",), ("nose",), *arms, ("left hip",), ("right hip",)]
    return Correspondence(name, len(order), tuple(tuple(order.index(point) for point in points) for points in wanted))


BODY: Mapping[str, Correspondence] = {
    "openpose25": _body("openpose25", ("mid hip",)),
    "openpose18": _body("openpose18", ("left hip", "right hip")),
}
"""body11 from OpenPose's bodies: its own middle of the hips and neck, the nose as head, as in `cohort.points.BODY`."""

FACE70 = Correspondence("openpose70", 70, FACE["ibug68"].sources)
"""face23 from OpenPose's face: iBUG's 68 points, then the pupils."""

_NAME = re.compile(r"(?P<video>.*?)_?(?P<frame>\d+)_keypoints\.json")
_SCHEMES = {"pose": {25: "openpose25", 18: "openpose18"}, "face": {70: "openpose70"}}
_KEYS = {"pose": "pose_keypoints_2d", "face": "face_keypoints_2d"}


def read_openpose(folder: Path, stream: str, faults: list[str]) -> Detections | None:
    """Read the bodies or the faces of all frames; a point that was not found has confidence 0.

    Args:
        folder: of one seizure.
        stream: pose reads `pose_keypoints_2d`, face `face_keypoints_2d`.
        faults: takes one line for everything that is wrong.
    """
    named = [(match, path) for path in sorted(folder.iterdir()) if (match := _NAME.fullmatch(path.name))]
    if not named:
        faults.append(
            f"{folder}: has no <video>_<frame>_keypoints.json; give the folder that OpenPose wrote by --write_json"
        )
        return None
    videos = sorted({match["video"] for match, _ in named})
    if len(videos) > 1:
        faults.append(
            f"{folder}: has frames of {len(videos)} videos ({videos[0]}, {videos[1]}, …); put each into its own folder"
        )
        return None
    if len(named) > MOST_FRAMES:
        faults.append(f"{folder}: has {len(named):,} frames; cut it to the seizure")
        return None
    bodies: list[Body] = []
    frames: dict[int, Path] = {}
    found: list[str] = []
    for match, path in named:
        frame = int(match["frame"])
        if frames.setdefault(frame, path) != path:
            found.append(f"{path}: is frame {frame}, as is {frames[frame].name}; delete one")
            continue
        value = read_json(path, found)
        people = value.get("people") if isinstance(value, dict) else None
        if value is not None and not isinstance(people, list):
            found.append(f"{path}: has no list 'people'; give what OpenPose wrote by --write_json")
        for number, person in enumerate(people if isinstance(people, list) else []):
            where = f"{path}, person {number + 1}"
            points = person.get(_KEYS[stream]) if isinstance(person, dict) else None
            if points == [] and stream == "face":
                continue  # a body without a face
            values = numbers(points, 3)
            if values is None or values.shape[1] != 3:
                found.append(f"{where}: {_KEYS[stream]!r} is no list of x, y, confidence; write it again")
                continue
            if not (values[:, 2] > 0).any():
                continue
            identity = person.get("person_id")
            identity = identity[0] if isinstance(identity, list) and identity else identity
            tracked = f"track {identity}" if isinstance(identity, int) and identity >= 0 else None
            bodies.append(Body(frame, tracked, values[:, :2], values[:, 2], where))
    if found:
        faults += first_faults(found, str(folder))
        return None
    if not bodies and stream == "face":
        faults.append(f"{folder}: has no face in any frame; run OpenPose with --face")
        return None
    scheme = _SCHEMES[stream].get(len(bodies[0].confidence)) if bodies else None
    return gather(
        bodies, frames, str(folder), faults, joints=JOINTS[scheme] if scheme is not None else None, scheme=scheme
    )
