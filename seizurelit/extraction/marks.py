"""What the cache has of a seizure, in the pixels of its pictures: what is drawn on them, and what a person corrects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seizurelit.cache.store import Cache
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.extraction.backend import Floats

SURE = 0.5
"""From this confidence on a joint is drawn full, and labelled as seen; below it is a ring, and labelled as hidden."""


@dataclass(frozen=True)
class Marks:
    """What was found in one picture, in its pixels.

    Attributes:
        box: (4,) x1, y1, x2, y2 of the patient; NaN where missing.
        joints: (V, 2) x, y; NaN where missing.
        joint_confidence: (V,) in [0, 1]; 0 where missing.
        face_box: (4,) of the patient's face; NaN where missing.
        landmarks: (L, 2) x, y of the face; NaN where missing.
        landmark_confidence: (L,) in [0, 1].
    """

    box: Floats
    joints: Floats
    joint_confidence: Floats
    face_box: Floats
    landmarks: Floats
    landmark_confidence: Floats

    def scaled(self, factor: float) -> Marks:
        """The same in a picture that is `factor` times as large."""
        return Marks(
            self.box * np.float32(factor),
            self.joints * np.float32(factor),
            self.joint_confidence,
            self.face_box * np.float32(factor),
            self.landmarks * np.float32(factor),
            self.landmark_confidence,
        )

    @property
    def joint_found(self) -> npt.NDArray[np.bool_]:
        """(V,) which joints were found."""
        return np.isfinite(self.joints).all(axis=-1) & (self.joint_confidence > 0)

    @property
    def landmark_found(self) -> npt.NDArray[np.bool_]:
        """(L,) which landmarks were found."""
        return np.isfinite(self.landmarks).all(axis=-1) & (self.landmark_confidence > 0)


@dataclass(frozen=True)
class Found:
    """Everything that can be drawn of a seizure.

    Attributes:
        pose: tensors of the pose stream by their names after the dot; empty without any.
        face: likewise of the face.
        body: skeleton of the pose; None without one.
        landmarks: skeleton of the face; None without one.
    """

    pose: Mapping[str, npt.NDArray[Any]]
    face: Mapping[str, npt.NDArray[Any]]
    body: Skeleton | None
    landmarks: Skeleton | None

    def at(self, frame: int) -> Marks:
        """The marks of a frame, in pixels of the video's picture."""
        body = len(self.body.joints) if self.body else 0
        points = len(self.landmarks.joints) if self.landmarks else 0
        face_box = _of(self.face, "box", frame, (4,))
        return Marks(
            _of(self.pose, "box", frame, (4,)),
            _of(self.pose, "keypoints_2d", frame, (body, 2)),
            np.nan_to_num(_of(self.pose, "confidence", frame, (body,))),
            face_box,
            _of(self.face, "keypoints", frame, (points, 2)) + face_box[:2],
            np.nan_to_num(_of(self.face, "confidence", frame, (points,))),
        )


def _of(tensors: Mapping[str, npt.NDArray[Any]], name: str, frame: int, shape: tuple[int, ...]) -> Floats:
    tensor = tensors.get(name)
    if tensor is None or frame >= len(tensor):
        return np.full(shape, np.nan, dtype=np.float32)
    return np.asarray(tensor[frame], dtype=np.float32)


def marks_of(cache: Cache, seizure: str) -> Found:
    """What the cache has of a seizure that can be drawn on its pictures."""
    streams: dict[str, tuple[Mapping[str, npt.NDArray[Any]], Skeleton | None]] = {}
    for stream in ("pose", "face"):
        wanted = ("box", "confidence", "keypoints_2d" if stream == "pose" else "keypoints")
        names = [f"{stream}.{name}" for name in wanted]
        if cache.has(seizure, stream) and set(names) <= set(cache.names(seizure, stream)):
            read = cache.read(seizure, stream, names)
            tensors = {name.removeprefix(f"{stream}."): read[name] for name in names}
            streams[stream] = (tensors, read.metadata.skeleton)
    pose, body = streams.get("pose", ({}, None))
    face, landmarks = streams.get("face", ({}, None))
    return Found(pose, face, body, landmarks)
