"""One seizure, from its video to tensors: look for people, choose the patient, then body, face and features of every frame.

The video is decoded twice, so that no frame is held: once for every n-th frame, in which people are looked for, and, when it is
known who the patient is, once for all. A thread decodes ahead of the models.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seizurelit.cohort.points import BODY, FACE, translate
from seizurelit.cohort.skeleton import AXES, Skeleton, built_in
from seizurelit.extraction.backend import Backend, Floats, Image, Points
from seizurelit.extraction.gaps import fill_gaps
from seizurelit.extraction.options import FPS, Settings
from seizurelit.extraction.people import choose_face, choose_patient, summary, track_people
from seizurelit.ingestion.keypoints import Keypoints, RelativeKeypoints, relative_to_root
from seizurelit.video.reading import Clip, Frame, Loss, Video

if TYPE_CHECKING:
    from seizurelit.extraction.appearance import AppearanceModel

VERSION = 2
"""To be raised when the same video, backend and settings give other bits."""

_CHUNK = 8
"""Frames that are handed on together: enough for a network's batch, few enough for the memory."""

_HEADS: Mapping[str, tuple[int, ...]] = {
    "coco17": (0, 1, 2, 3, 4),
    "halpe26": (0, 1, 2, 3, 4),
    "wholebody133": (0, 1, 2, 3, 4),
    "mediapipe33": tuple(range(11)),
}
"""Nose, eyes and ears (and mouth) of the body schemes."""
_FACE_PART: Mapping[str, slice] = {"wholebody133": slice(23, 91)}
_GREY = 3.0
"""Mean difference of the colour channels, of 255, up to which a picture is grey: compression leaves about 1."""


@dataclass(frozen=True)
class Extracted:
    """What was found in one video.

    Attributes:
        tensors: under the names of `cache.tensors.TENSORS`, of both streams.
        skeletons: of each stream that has tensors; None without keypoints.
        facts: of the video and of what was found, for the metadata.
        tracks: of everybody, for those who ask why this one is the patient.
    """

    tensors: Mapping[str, npt.NDArray[Any]]
    skeletons: Mapping[str, Skeleton | None]
    facts: Mapping[str, Any]
    tracks: Sequence[Mapping[str, Any]]


def extract_video(
    video: Video,
    part: tuple[float | None, float | None],
    backend: Backend,
    appearance: Mapping[str, AppearanceModel],
    settings: Settings,
    *,
    patient_box: tuple[float, float, float, float] | None = None,
) -> Extracted:
    """Extract what is wanted of a part of a video.

    Args:
        video: the file.
        part: start and end in seconds; None for the video's own.
        backend: finds people and points.
        appearance: models of the streams whose features are wanted.
        settings: the rest.
        patient_box: x1, y1, x2, y2 in pixels, about where the patient is.

    Raises:
        InputError: nothing of the video lies in this part.
    """
    backend.reset()
    look = _look(video.clip(*part, fps=FPS / settings.detect_every), backend, settings)
    size = (video.facts.width, video.facts.height)
    looked = range(0, len(look.people) * settings.detect_every, settings.detect_every)
    people = track_people(looked, look.people, FPS)
    patient = choose_patient(people, size, patient_box)
    face = choose_face(track_people(looked, look.faces, FPS), size, patient, patient_box=patient_box)
    boxes = _Boxes(patient.boxes, face.boxes)
    backend.reset()
    clip = video.clip(*part, fps=FPS)
    found = _follow(clip, backend, appearance, settings, boxes)
    backend.reset()
    counts = people.in_view()
    facts = _video_facts(video, clip.loss, found) | {
        "greyscale": look.grey > 0.5,
        "people": int(counts.max()),
        "people_mean": round(float(counts.mean()), 3),
        "patient_confidence": round(float(patient.confidence), 6),
        "ambiguous": patient.ambiguous,
        "patient_reason": patient.reason or None,
    }
    tensors: dict[str, npt.NDArray[Any]] = {}
    skeletons: dict[str, Skeleton | None] = {}
    for stream, made in (("pose", _pose(found, backend, settings, size)), ("face", _face(found, settings))):
        facts |= made.facts
        if stream in settings.streams:
            tensors |= made.tensors
            skeletons[stream] = made.skeleton
            if stream in found.features:
                tensors[f"{stream}.appearance"] = np.stack(found.features[stream]).astype(np.float16)
    return Extracted(tensors, skeletons, facts, summary(people, patient))


@dataclass(frozen=True)
class _Look:
    """What the first pass saw: boxes (N, 5) of people and faces in every n-th frame."""

    people: tuple[Floats, ...]
    faces: tuple[Floats, ...]
    grey: float


def _look(clip: Clip, backend: Backend, settings: Settings) -> _Look:
    people: list[Floats] = []
    faces: list[Floats] = []
    grey = []
    # Head points frame a face as well as a detector does; without a body, or without such points, it is asked.
    heads = backend.body_points in _HEADS
    for frames in ahead(clip, _CHUNK):
        images = [frame.image for frame in frames]
        found = [box.astype(np.float32) for box in backend.find_people(images)]
        wanted = [image for image, boxes in zip(images, found, strict=True) if not (heads and len(boxes))]
        seen = iter(backend.find_faces(wanted) if "face" in settings.streams and wanted else ())
        none = np.zeros((0, 5), np.float32)
        people += found
        faces += [none if heads and len(boxes) else next(seen, none) for boxes in found]
        grey += [_is_grey(image) for image in images]
    return _Look(tuple(people), tuple(faces), float(np.mean(grey)))


def _is_grey(image: Image) -> bool:
    """Whether a picture has no colour, as of an infrared camera at night."""
    part = image[::4, ::4].astype(np.int16)
    return float(np.abs(part[..., :2] - part[..., 1:]).mean()) <= _GREY


@dataclass(frozen=True)
class _Boxes:
    """Where the patient and the patient's face are, (T, 4) each, by what was seen in every n-th frame."""

    people: Floats
    faces: Floats

    def person(self, frame: int) -> Floats | None:
        """(4,) of the patient."""
        return _present(self.people, frame)

    def face(self, frame: int, body: Points | None, scheme: str) -> Floats | None:
        """(4,) of the face: as its detector has it where that agrees with the head of the body, else that head."""
        detected, head = _present(self.faces, frame), _head(body, scheme) if body is not None else None
        if detected is None or head is None:
            return head if detected is None else detected
        centre = (detected[:2] + detected[2:]) / 2
        return detected if (head[:2] < centre).all() and (centre < head[2:]).all() else head


def _present(boxes: Floats, frame: int) -> Floats | None:
    box = boxes[min(frame, len(boxes) - 1)]
    return box if np.isfinite(box).all() else None


@dataclass
class _Found:
    """What the second pass found in each frame."""

    boxes: list[Floats] = field(default_factory=list)
    bodies: list[Points | None] = field(default_factory=list)
    faces: list[tuple[Floats, Floats, Floats] | None] = field(default_factory=list)
    features: dict[str, list[Floats]] = field(default_factory=dict)


def _follow(
    clip: Clip, backend: Backend, appearance: Mapping[str, AppearanceModel], settings: Settings, boxes: _Boxes
) -> _Found:
    found = _Found(features={stream: [] for stream in appearance})
    nowhere = np.full(4, np.nan, np.float32)
    for frames in ahead(clip, _CHUNK):
        # A repeated picture has been seen; its frame has what the frame before has.
        new = [frame for frame in frames if not frame.repeated]
        images = [frame.image for frame in new]
        people = [boxes.person(frame.index) for frame in new]
        bodies = iter(backend.bodies(images, people))
        made = [(person, next(bodies)) for person in people]
        faces: list[tuple[Floats, Floats, Floats] | None] = [None] * len(new)
        if "face" in settings.streams and backend.face_points is not None:
            heads = [
                boxes.face(frame.index, body, backend.body_points) for frame, (_, body) in zip(new, made, strict=True)
            ]
            faces = [_face23(face, backend.face_points) for face in backend.faces(images, heads)]
        results = iter(zip(made, faces, strict=True))
        for frame in frames:
            if not frame.repeated:
                (person, body), face = next(results)
                found.boxes.append(nowhere if person is None or body is None else person)
                found.bodies.append(body)
                found.faces.append(face)
            else:
                found.boxes.append(found.boxes[-1])
                found.bodies.append(found.bodies[-1])
                found.faces.append(found.faces[-1])
        _add_features(found, frames, appearance, settings.appearance_every)
    return found


def _add_features(
    found: _Found, frames: Sequence[Frame], appearance: Mapping[str, AppearanceModel], every: int
) -> None:
    if not appearance:
        return
    from seizurelit.extraction.appearance import align_face, crop_body  # noqa: PLC0415 - torch, only where it is used

    wanted = [frame for frame in frames if frame.index % every == 0]
    for stream, model in appearance.items():
        crops: list[Image | None] = []
        for frame in wanted:
            face = found.faces[frame.index]
            if stream == "pose":
                crops.append(crop_body(frame.image, found.boxes[frame.index]))
            else:
                crops.append(align_face(frame.image, face[0]) if face is not None else None)
        found.features[stream] += list(model.features(crops))


def ahead(frames: Clip, size: int) -> Iterator[list[Frame]]:
    """Frames in lists of `size`, decoded by a thread that is at most two lists ahead; decoders leave Python's lock."""
    waiting: queue.Queue[list[Frame] | BaseException | None] = queue.Queue(maxsize=2)
    stopped = threading.Event()

    def put(item: list[Frame] | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def decode() -> None:
        try:
            chunk: list[Frame] = []
            for frame in frames:
                chunk.append(frame)
                if len(chunk) == size:
                    put(chunk)
                    chunk = []
                if stopped.is_set():
                    return
            if chunk:
                put(chunk)
            put(None)
        except BaseException as error:  # raised again by who waits
            put(error)

    thread = threading.Thread(target=decode, name="decoder", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _head(body: Points, scheme: str) -> Floats | None:
    """A square box about the head of a body; None where too little of it is seen."""
    if scheme not in _HEADS:
        return None
    part = list(_HEADS[scheme])
    xy, seen = body.xy[part], body.confidence[part] > 0.3
    if seen.sum() < 3:
        return None
    low, high = xy[seen].min(axis=0), xy[seen].max(axis=0)
    # From ear to ear is the width of a head, which is three quarters of its height.
    centre, half = (low + high) / 2, 0.75 * float((high - low).max())
    return np.asarray([*(centre - half), *(centre + half)], np.float32) if half > 1 else None


def _face23(face: Points | None, scheme: str) -> tuple[Floats, Floats, Floats] | None:
    """The paper's points (23, 2) of a face, their confidence, and the box of all points that its scheme has of a face."""
    if face is None:
        return None
    xy, confidence = translate(FACE[scheme], face.xy, face.confidence)
    part = face.xy[_FACE_PART.get(scheme, slice(None))]
    part = part[np.isfinite(part).all(axis=1)]
    if not len(part) or not (confidence > 0).any():
        return None
    return xy, confidence, np.asarray([*part.min(axis=0), *part.max(axis=0)], np.float32)


@dataclass(frozen=True)
class _Stream:
    """The tensors of a stream, its skeleton, and what is said of them."""

    tensors: dict[str, npt.NDArray[Any]]
    skeleton: Skeleton | None
    facts: dict[str, Any]


def _pose(found: _Found, backend: Backend, settings: Settings, size: tuple[int, int]) -> _Stream:
    skeleton = built_in("body11")
    scheme = BODY[backend.body_points]
    frames = len(found.bodies)
    xy = np.full((frames, scheme.joints, 2), np.nan, np.float32)
    confidence = np.zeros((frames, scheme.joints), np.float32)
    lifted: Floats | None = None
    for frame, body in enumerate(found.bodies):
        if body is None:
            continue
        xy[frame], confidence[frame] = body.xy, body.confidence
        if body.xyz is not None:
            if lifted is None:
                lifted = np.full((frames, *body.xyz.shape), np.nan, np.float32)
            lifted[frame] = body.xyz
    confidence[confidence < settings.least_confidence] = 0
    flat, sure = translate(scheme, xy, confidence)
    seen: npt.NDArray[np.bool_] = np.asarray((sure > 0).any(axis=1))
    if lifted is None and backend.lifted_points is not None and seen.any():
        whole = fill_gaps(xy, confidence, FPS, settings.longest_gap)
        lifted = backend.lift(whole.points, whole.confidence, size)
    joints2 = fill_gaps(flat, sure, FPS, settings.longest_gap)
    tensors: dict[str, npt.NDArray[Any]] = {"pose.box": np.stack(found.boxes)}
    if backend.lifted_points is not None:
        if lifted is None:
            lifted = np.full((frames, BODY[backend.lifted_points].joints, 3), np.nan, np.float32)
        known = _finite(lifted).astype(np.float32)
        solid, _ = translate(BODY[backend.lifted_points], lifted, known)
        joints3 = fill_gaps(solid, np.where(_finite(solid), sure, 0), FPS, settings.longest_gap)
        present = (joints2.confidence > 0) & (joints3.confidence > 0)
        confidence11 = np.where(present, joints2.confidence, 0)
        keypoints = np.where(present[..., None], joints3.points, np.nan)
        root, _ = weak_perspective(keypoints, joints2.points, skeleton.root, size)
        skeleton = skeleton.with_channels((*AXES, "confidence"))
        centred_on = skeleton.joints[skeleton.root] if seen.any() else None
    else:
        confidence11 = joints2.confidence
        upright = (joints2.points - np.array(size) / 2) * (1, -1)
        skeleton = skeleton.with_channels((*AXES[:2], "confidence"))
        found2 = Keypoints(upright.astype(np.float64), confidence11.astype(np.float64))
        relative, centred_on = _relative(found2, skeleton)
        if relative is None:
            keypoints, root = np.full_like(upright, np.nan), np.zeros_like(upright[:, 0])
            confidence11 = np.zeros_like(confidence11)
        else:
            keypoints, root = relative.keypoints, relative.root
    tensors |= {
        "pose.keypoints": keypoints.astype(np.float32),
        "pose.root": root.astype(np.float32),
        "pose.keypoints_2d": np.where(confidence11[..., None] > 0, joints2.points, np.nan).astype(np.float32),
        "pose.confidence": confidence11.astype(np.float32),
    }
    facts = {
        "patient_share": _share(seen),
        "missing_joint_share": _share(confidence11 == 0),
        "filled_share": _share(joints2.mask & (confidence11 > 0)),
        "centred_on": centred_on,
    }
    return _Stream(tensors, skeleton, facts)


def _relative(found: Keypoints, skeleton: Skeleton) -> tuple[RelativeKeypoints | None, str | None]:
    """2D joints relative to the pelvis in torso lengths, and what they are relative to.

    Under a blanket there may be no pelvis in the whole seizure: then to the neck, with the torso that a standard body has to
    its shoulders. The pelvis itself stays missing. None where there are no shoulders either.
    """
    relative = relative_to_root(found, skeleton)
    if not isinstance(relative, str):
        return relative, skeleton.joints[skeleton.root]
    neck, left, right = (skeleton.joints.index(name) for name in ("neck", "left shoulder", "right shoulder"))
    standard = dict(zip((child for child, _ in skeleton.bones), skeleton.lengths or (), strict=True))
    relative = relative_to_root(found, dataclasses.replace(skeleton, root=neck, scale=(left, right)))
    if isinstance(relative, str):
        return None, None
    torso = 1 / (standard[left] + standard[right])
    unit = relative.unit * torso
    return RelativeKeypoints(relative.keypoints / torso, relative.root / torso, unit), skeleton.joints[neck]


def weak_perspective(
    keypoints: Floats, pixels: Floats, root: int, size: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], float]:
    """The path of the root in the unit of the 3D joints, were the camera far away.

    A frame's scale is that by which its 3D joints, seen from the front, best fit its pixels (least squares); the median over
    the frames turns the root's place in the picture into the unit of the joints. How far the root is away is not known.

    Args:
        keypoints: (T, V, 3), x to the right, y up; NaN where missing.
        pixels: (T, V, 2), y down.
        root: index of the joint.
        size: (width, height) of the picture, whose middle is the origin.

    Returns:
        (T, 3), 0 along z; where the root is not seen, on a straight line between frames in which it is. And pixels a unit.
    """
    both = _finite(keypoints) & _finite(pixels)
    count = both.sum(axis=1)
    usable = count >= 3
    path = np.zeros((len(keypoints), 3))
    if not usable.any():
        return path, 1.0
    weight = both[usable, :, None] / count[usable, None, None]
    solid = np.nan_to_num(keypoints[usable, :, :2].astype(np.float64)) * (1, -1)
    flat = np.nan_to_num(pixels[usable].astype(np.float64))
    solid -= (solid * weight).sum(axis=1, keepdims=True)
    flat -= (flat * weight).sum(axis=1, keepdims=True)
    fits = (solid * flat * weight).sum(axis=(1, 2)) / np.maximum((solid**2 * weight).sum(axis=(1, 2)), 1e-9)
    scale = float(np.median(fits))
    seen = np.flatnonzero(both[:, root])
    if scale <= 0 or not len(seen):
        return path, max(scale, 1.0)
    places = (pixels[seen, root].astype(np.float64) - np.array(size) / 2) * (1, -1) / scale
    for axis in range(2):
        path[:, axis] = np.interp(np.arange(len(path)), seen, places[:, axis])
    return path, scale


def _face(found: _Found, settings: Settings) -> _Stream:
    skeleton = built_in("face23")
    frames, joints = len(found.faces), len(skeleton.joints)
    xy = np.full((frames, joints, 2), np.nan, np.float32)
    confidence = np.zeros((frames, joints), np.float32)
    boxes = np.full((frames, 4), np.nan, np.float32)
    for frame, face in enumerate(found.faces):
        if face is not None:
            xy[frame], confidence[frame], boxes[frame] = face
    filled = fill_gaps(xy, confidence, FPS, settings.longest_gap)
    # The box goes with the points: the same gaps, the same line.
    corners = fill_gaps(boxes[:, None], _finite(boxes)[:, None].astype(np.float32), FPS, settings.longest_gap)
    boxes = corners.points[:, 0]
    present = (filled.confidence > 0) & _finite(boxes)[:, None]
    tensors = {
        "face.keypoints": np.where(present[..., None], filled.points - boxes[:, None, :2], np.nan).astype(np.float32),
        "face.confidence": np.where(present, filled.confidence, 0).astype(np.float32),
        "face.box": boxes.astype(np.float32),
    }
    return _Stream(tensors, skeleton, {"face_share": _share(np.asarray((confidence > 0).any(axis=1)))})


def _finite(points: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Which points, along the last axis, have all their coordinates."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def _share(mask: npt.NDArray[np.bool_]) -> float:
    return round(float(mask.mean()), 6)


def _video_facts(video: Video, loss: Loss, found: _Found) -> dict[str, Any]:
    facts = video.facts
    return {
        "duration_s": len(found.boxes) / FPS,
        "width": facts.width,
        "height": facts.height,
        "container": facts.container,
        "codec": facts.codec,
        "interlaced": facts.interlaced,
        "frames_expected": loss.expected,
        "frames_repeated": loss.repeated,
        "frame_gaps": len(loss.gaps),
        "ended_early": loss.ended_early,
        "decoding_faults": "; ".join(loss.faults) or None,
    }
