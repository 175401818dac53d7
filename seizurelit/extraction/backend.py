"""What every extraction backend gives: boxes of people and faces, the points of a body and of a face, and their lift to 3D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""(H, W, 3), RGB."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Points:
    """The points of one body or face in one image.

    Attributes:
        xy: (V, 2) pixels of the whole image; NaN where missing.
        confidence: (V,) in [0, 1]; 0 where missing.
        xyz: (V', 3) metres, x to the image's right, y up, z towards the camera, relative to the hips' middle; None where
            the model gives no 3D.
    """

    xy: Floats
    confidence: Floats
    xyz: Floats | None = None


@dataclass(frozen=True)
class Weights:
    """Weights that a backend uses.

    Attributes:
        name: file or model name, no path.
        digest: SHA-256 of the file.
        subjects_seen: of the cohort, that they were fitted on; empty for weights from elsewhere.
    """

    name: str
    digest: str
    subjects_seen: tuple[str, ...] = ()


class Backend(Protocol):
    """Finds people and faces and their points; keeps no state of a video after `reset`."""

    @property
    def name(self) -> str:
        """For metadata and messages, such as mediapipe."""

    @property
    def digest(self) -> str:
        """Of its options and versions."""

    @property
    def weights(self) -> tuple[Weights, ...]:
        """All that it loaded."""

    @property
    def body_points(self) -> str:
        """Scheme of `bodies`' xy, a key of `cohort.points.BODY`."""

    @property
    def lifted_points(self) -> str | None:
        """Scheme of the 3D points, from `bodies` or `lift`; None where there is no 3D."""

    @property
    def face_points(self) -> str | None:
        """Scheme of `faces`, a key of `cohort.points.FACE`; None where it has no face model."""

    def find_people(self, images: Sequence[Image]) -> list[Floats]:
        """Boxes of each image, (N, 5): x1, y1, x2, y2 in pixels, score in [0, 1]."""

    def find_faces(self, images: Sequence[Image]) -> list[Floats]:
        """As `find_people`, of faces."""

    def bodies(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:
        """The body in a box (4,) of each image, consecutive frames of one video; None for no box or no body."""

    def faces(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:
        """The face in a box (4,) of each image; None for no box or no face."""

    def lift(self, xy: Floats, confidence: Floats, size: tuple[int, int]) -> Floats | None:
        """3D points (T, V', 3) as in `Points.xyz`, of the 2D points (T, V, 2) of a whole clip at 25 fps.

        `size` is (width, height) of the frames. None where `bodies` gave them already or there is no lifter. Long gaps are NaN.
        """

    def reset(self) -> None:
        """Forget the video: the next image is of another."""

    def close(self) -> None:
        """Free what it holds."""
