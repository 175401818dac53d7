"""What was found, drawn on a picture: boxes, joints, bones, landmarks; and faces made unrecognisable."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from seizurelit.cohort.skeleton import Skeleton
from seizurelit.extraction.backend import Floats, Image
from seizurelit.extraction.marks import SURE, Marks

# Okabe and Ito's colours, which people with any colour vision tell apart (Color Universal Design, 2008); RGB.
LEFT = (86, 180, 233)
RIGHT = (213, 94, 0)
MIDDLE = (240, 228, 66)
PATIENT = (0, 158, 115)
FACE = (204, 121, 167)
_OUTLINE = (0, 0, 0)

_FACE_CELLS = 4
_GROW_FACE = 0.5
_GROW_PATIENT = 0.1


def shrink(image: Image, marks: Marks, *, width: int, area: int) -> tuple[Image, Marks]:
    """A picture no wider than `width` and no larger than `area` pixels, and the marks in it; never enlarged."""
    height, wide = image.shape[:2]
    factor = min(1.0, width / wide, (area / (wide * height)) ** 0.5)
    size = (max(1, round(wide * factor)), max(1, round(height * factor)))
    smaller: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return smaller, marks.scaled(size[0] / wide)


def hide_faces(image: Image, marks: Marks, skeleton: Skeleton) -> Image:
    """The picture with every face that may be in it beyond recognition; fails towards hiding too much.

    Only the patient's face is known. So the patient's box alone stays sharp, without the face's box and the
    surroundings of the head joint, which become a few cells each; all around it, where nurses and relatives are, is
    coarse; and so is the whole picture where there is no patient, or a patient with neither a face nor a head.

    Args:
        image: (H, W, 3) RGB.
        marks: in its pixels.
        skeleton: of the joints; its joint `head`, if it has one, is the head.

    Returns:
        A new picture of the same size.
    """
    height, width = image.shape[:2]
    head = _head(marks, skeleton)
    faces = [region for region in (_grown(marks.face_box, _GROW_FACE), head) if region is not None]
    size = min((region[3] - region[1] for region in faces), default=0.0)
    hidden = _coarse(image, max(size / 3, min(height, width) / 16))
    patient = _grown(marks.box, _GROW_PATIENT)
    if patient is None or not faces:
        return hidden
    rows, columns = _slices(patient, image)
    hidden[rows, columns] = image[rows, columns]
    for region in faces:
        rows, columns = _slices(region, image)
        part = image[rows, columns]
        if part.size:
            hidden[rows, columns] = _coarse(part, max(part.shape[:2]) / _FACE_CELLS)
    return hidden


def _head(marks: Marks, skeleton: Skeleton) -> npt.NDArray[np.float64] | None:
    """A square around the head joint, larger than any head: the less sure the joint, the larger."""
    if "head" not in skeleton.joints:
        return None
    joint = skeleton.joints.index("head")
    if not marks.joint_found[joint]:
        return None
    x, y = marks.joints[joint]
    lengths = [0.1 * float(np.nanmax([0.0, *(marks.box[2:] - marks.box[:2])])), 8.0]
    for pair, share in ((skeleton.scale, 0.5), (skeleton.facing, 0.7)):
        if pair is not None:
            length = float(np.linalg.norm(marks.joints[pair[0]] - marks.joints[pair[1]]))
            lengths.append(share * length if np.isfinite(length) else 0.0)
    radius = max(lengths) * (2 - float(marks.joint_confidence[joint]))
    return np.array([x - radius, y - radius, x + radius, y + radius], dtype=np.float64)


def _grown(box: Floats, share: float) -> npt.NDArray[np.float64] | None:
    if not np.isfinite(box).all():
        return None
    x1, y1, x2, y2 = map(float, box)
    dx, dy = share * (x2 - x1), share * (y2 - y1)
    return np.array([x1 - dx, y1 - dy, x2 + dx, y2 + dy])


def _slices(box: npt.NDArray[np.float64], image: Image) -> tuple[slice, slice]:
    height, width = image.shape[:2]
    x1, x2 = (int(np.clip(round(value), 0, width)) for value in (box[0], box[2]))
    y1, y2 = (int(np.clip(round(value), 0, height)) for value in (box[1], box[3]))
    return slice(y1, y2), slice(x1, x2)


def _coarse(image: Image, cell: float) -> Image:
    """The picture as cells of `cell` pixels, run into each other: what is smaller than a cell is gone for good."""
    height, width = image.shape[:2]
    size = (max(1, round(width / cell)), max(1, round(height / cell)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    coarse: Image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    return coarse


def draw(image: Image, marks: Marks, body: Skeleton | None, face: Skeleton | None) -> Image:
    """Boxes, bones, joints and landmarks on a copy of the picture.

    The patient's left is blue, the right vermilion, the middle yellow; the patient's box is green, the face's purple.
    Joints below `SURE` are rings.

    Args:
        image: (H, W, 3) RGB.
        marks: in its pixels.
        body: of the joints; None draws none.
        face: of the landmarks; None draws none.
    """
    canvas = np.ascontiguousarray(image).copy()
    thick = max(1, round(min(canvas.shape[:2]) / 160))
    for box, colour in ((marks.box, PATIENT), (marks.face_box, FACE)):
        if np.isfinite(box).all():
            corners = _pixel(box[:2]), _pixel(box[2:])
            cv2.rectangle(canvas, *corners, colour, thick + 1, cv2.LINE_AA)
    if face is not None:
        found = marks.landmark_found
        for landmark in np.flatnonzero(found).tolist():
            cv2.circle(canvas, _pixel(marks.landmarks[landmark]), thick, MIDDLE, -1, cv2.LINE_AA)
    if body is None:
        return canvas
    found = marks.joint_found
    colours = _colours(body)
    bones = [(child, parent) for child, parent in body.bones if found[child] and found[parent]]
    for outline in (True, False):
        for child, parent in bones:
            ends = _pixel(marks.joints[child]), _pixel(marks.joints[parent])
            cv2.line(canvas, *ends, _OUTLINE if outline else colours[child], thick + 2 * outline, cv2.LINE_AA)
    for joint in np.flatnonzero(found).tolist():
        centre, sure = _pixel(marks.joints[joint]), marks.joint_confidence[joint] >= SURE
        cv2.circle(canvas, centre, 2 * thick + 1, _OUTLINE, -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, 2 * thick, colours[joint], -1 if sure else 1, cv2.LINE_AA)
    return canvas


def face_crop(image: Image, marks: Marks, side: int) -> tuple[Image, Marks] | None:
    """The face's surroundings as a square of `side` pixels, and the marks in it; None without a face's box."""
    if not np.isfinite(marks.face_box).all():
        return None
    x1, y1, x2, y2 = map(float, marks.face_box)
    half = 0.65 * max(x2 - x1, y2 - y1, 4.0)
    centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    factor = side / (2 * half)
    shift = centre - half
    matrix = np.array([[factor, 0, -factor * shift[0]], [0, factor, -factor * shift[1]]])
    crop: Image = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_AREA).astype(np.uint8)
    offset = shift.astype(np.float32)
    moved = Marks(
        marks.box - np.tile(offset, 2),
        marks.joints - offset,
        marks.joint_confidence,
        marks.face_box - np.tile(offset, 2),
        marks.landmarks - offset,
        marks.landmark_confidence,
    )
    return crop, moved.scaled(factor)


def jpeg(image: Image, quality: int = 70) -> bytes:
    """The bytes of a JPEG file.

    Args:
        image: (H, W, 3) RGB.
        quality: 1 to 100.
    """
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        msg = f"no JPEG can be made of a picture of shape {image.shape}"
        raise ValueError(msg)
    return encoded.tobytes()


def _pixel(point: npt.NDArray[np.floating]) -> tuple[int, int]:
    # OpenCV's coordinates are 16 bit in places: a point far outside of the picture is drawn at its distant edge.
    x, y = np.clip(point, -10000, 10000)
    return round(float(x)), round(float(y))


def _colours(skeleton: Skeleton) -> Sequence[tuple[int, int, int]]:
    colours = [MIDDLE] * len(skeleton.joints)
    for left, right in skeleton.flip:
        colours[left], colours[right] = LEFT, RIGHT
    return colours
