"""MediaPipe on the CPU: people, bodies with 3D, and faces, by the models that lie inside the package.

The package's own solutions track one person and compute more than is kept. Here its models run in graphs of their own: what
finds a person, follows a body from frame to frame and turns a crop is done as MediaPipe does it (BlazePose, Bazarevsky et al.
2020; Attention Mesh, Grishchenko et al. 2020), but for the person of a given box, and without the layers that only make the
segmentation mask and the heat maps, which are half of the body model's time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import os
import re
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from seizurelit.config import digest
from seizurelit.errors import InputError
from seizurelit.extraction.backend import Floats, Image, Points, Weights

VERSION = 2
"""To be raised when the same images give other bits."""

LEAST_SCORE = 0.5
"""Below it there is no person, no body, no face: MediaPipe's own thresholds."""

LEAST_PART_SCORE = 0.75
"""Of a person in a part of an image. On the clips people got 0.77 to 0.92 there, hands, letters and stray limbs up to 0.73."""

_PERSON = "pose_detection/pose_detection.tflite"
_BODY = "pose_landmark/pose_landmark_full.tflite"
_FACE = "face_landmark/face_landmark_with_attention.tflite"
_FACES = "face_detection/face_detection_full_range_sparse.tflite"
_FACE_GRAPH = "face_landmark/face_landmark_front_cpu.binarypb"

_BODY_POINTS, _FACE_POINTS, _MESH_POINTS = 33, 478, 468
_ALIGNMENT = (33, 34)
"""Of the body model's 39 points: the middle of the hips, and a point on the circle about it that holds the whole body."""
_NOSE, _EYES, _OUTER, _MOUTH, _EARS = 0, (2, 5), (3, 6), (9, 10), (7, 8)
_OUTER_EYES = (33, 263)
_FEATURES = ((4,), _OUTER_EYES, (61, 291))
"""Of the mesh: tip of the nose, outer corners of the eyes, corners of the mouth."""


@dataclass(frozen=True)
class _Region:
    """A square of an image that a model is shown: centre and side in pixels, turned by an angle in radians."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def scaled(self, factor: float) -> _Region:
        return _Region(self.x, self.y, self.side * factor, self.angle)

    def is_about(self, other: _Region) -> bool:
        """Whether both have the same middle, to 0.15 of the larger side: two looks at one body."""
        return math.dist((self.x, self.y), (other.x, other.y)) < 0.15 * max(self.side, other.side)

    def matrix(self, size: int) -> npt.NDArray[np.float64]:
        """(2, 3): from the pixels of a crop of `size` to those of the image."""
        scale = self.side / size
        cos, sin = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        half = size / 2
        return np.array([[cos, -sin, self.x - (cos - sin) * half], [sin, cos, self.y - (sin + cos) * half]])

    def crop(self, image: Image, size: int, border: int = cv2.BORDER_REPLICATE) -> Image:
        """(size, size, 3): the square, upright."""
        return np.asarray(
            cv2.warpAffine(
                image,
                self.matrix(size),
                (size, size),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=border,
            ),
            np.uint8,
        )

    def to_image(self, points: Floats, size: int) -> Floats:
        """Points (N, 2) of a crop in pixels of the image."""
        matrix = self.matrix(size)
        return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


@dataclass(frozen=True)
class _Head:
    """What a body says of its face: the square of it, and where nose, eyes and mouth are, (3, 2) pixels."""

    region: _Region
    features: Floats


@dataclass(frozen=True)
class _Body:
    """A body as the model gives it: what is kept, its box clipped to the image, and where to look for it in the next frame."""

    points: Points
    box: Floats
    following: _Region
    score: float
    head: _Head


class MediaPipe:
    """The default backend; keeps where the body and the face of the last frame were."""

    name = "mediapipe"
    body_points = "mediapipe33"
    lifted_points: str | None = "mediapipe33"
    face_points: str | None = "mediapipe478"

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._modules = _modules()
        self._people_anchors = _anchors(224, ((8, 2), (16, 2), (32, 6)))
        self._faces_anchors = _anchors(192, ((4, 1),))
        self._body: _Region | None = None
        self._face: _Region | None = None
        self._heads: list[_Head | None] = []
        self._looks = 0

    @property
    def digest(self) -> str:
        """Of the package's version and of this file's."""
        return digest(self.name, importlib.metadata.version("mediapipe"), str(VERSION))

    @cached_property
    def weights(self) -> tuple[Weights, ...]:
        """The models in the package."""
        return tuple(
            Weights(Path(name).name, hashlib.sha256((self._modules / name).read_bytes()).hexdigest())
            for name in (_PERSON, _BODY, _FACE, _FACES)
        )

    def find_people(self, images: Sequence[Image]) -> list[Floats]:
        """Boxes (N, 5) about the bodies whose presence the body model confirms, the most prominent first.

        In the whole image the detector sees little but the most prominent person. So each look is also at one of its two ends,
        by turns: who stands beside the patient all along is then found at least in every other look.
        """
        found = []
        for image in images:
            height, width = image.shape[:2]
            parts = _ends(image) if max(height, width) > 1.2 * min(height, width) else []
            found.append(self._bodies_of(image, _whole(image), parts[self._looks % 2 :][:1]))
            self._looks += 1
        return [np.array([[*body.box, body.score] for body in bodies], np.float32).reshape(-1, 5) for bodies in found]

    def find_faces(self, images: Sequence[Image]) -> list[Floats]:
        """Boxes (N, 5), best first, of faces near and far."""
        boxes = []
        for image in images:
            whole = _whole(image)
            raw, scores = self._face_finder(whole.crop(image, 192, cv2.BORDER_CONSTANT))
            found = _detections(raw.reshape(-1, 16), scores, self._faces_anchors, least=0.6)
            corners = [np.r_[whole.to_image(box[:4].reshape(2, 2), 192).ravel(), box[-1]] for box in found]
            boxes.append(np.array(corners, np.float32).reshape(-1, 5))
        return boxes

    def bodies(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:
        """The body in each box: the one of the frame before where it is still there, else the one found that overlaps most."""
        found = [self._follow(image, box) for image, box in zip(images, boxes, strict=True)]
        self._heads = [body.head if body else None for body in found]
        return [body.points if body else None for body in found]

    def faces(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:
        """The face in each box; if `bodies` was just called for these images, its heads say how the faces are turned."""
        heads = self._heads if len(self._heads) == len(images) else [None] * len(images)
        return [self._face_in(image, box, head) for image, box, head in zip(images, boxes, heads, strict=True)]

    def lift(self, xy: Floats, confidence: Floats, size: tuple[int, int]) -> Floats | None:
        """Nothing: `bodies` gives 3D points."""
        del xy, confidence, size
        return None

    def reset(self) -> None:
        """Forget the video."""
        self._body = self._face = None
        self._heads = []
        self._looks = 0

    def close(self) -> None:
        """Free the models."""
        for name in ("_person_finder", "_body_model", "_face_model", "_face_finder"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    @cached_property
    def _person_finder(self) -> _Network:
        return _Network(self._modules / _PERSON, outputs=(0, 1), lowest=-1.0)

    @cached_property
    def _body_model(self) -> _Network:
        return _Network(self._modules / _BODY, outputs=(0, 1, 4, 3), refined=True)

    @cached_property
    def _face_model(self) -> _Network:
        return _Network(self._modules / _FACE, outputs=(0, 1, 2, 3, 4, 5, 6))

    @cached_property
    def _face_finder(self) -> _Network:
        return _Network(self._modules / _FACES, outputs=(0, 1), lowest=-1.0)

    @cached_property
    def _refined(self) -> tuple[npt.NDArray[np.int64], ...]:
        return _refinements(self._modules / _FACE_GRAPH)

    def _bodies_of(self, image: Image, region: _Region, parts: Sequence[_Region] = ()) -> list[_Body]:
        """Every body that is found in a region of an image, and in parts of it, without knowing the last."""
        bodies: list[_Body] = []
        seen: list[_Region] = []
        for square in (region, *parts):
            raw, scores = self._person_finder(square.crop(image, 224, cv2.BORDER_CONSTANT))
            least = LEAST_SCORE if square is region else LEAST_PART_SCORE
            for found in _detections(raw.reshape(-1, 12), scores, self._people_anchors, least):
                about = _about(*square.to_image(found[4:8].reshape(2, 2), 224))
                if square is not region and any(about.is_about(other) for other in seen):
                    continue
                body = self._body_at(image, about)
                # Two detections of one person lead to the same body.
                if body is not None and all(_overlap(body.box, other.box) < 0.6 for other in bodies):
                    bodies.append(body)
                    seen.append(about)
        return bodies

    def _follow(self, image: Image, box: Floats | None) -> _Body | None:
        body = None
        if box is not None:
            body = self._body_at(image, self._body) if self._body is not None else None
            if body is None or _overlap(body.box, box) < 0.2:
                found = self._bodies_of(image, _around(image, box))
                others = [other for other in found if _overlap(other.box, box) > 0.1]
                body = max(others, key=lambda other: _overlap(other.box, box), default=None)
        self._body = body.following if body else None
        return body

    def _body_at(self, image: Image, region: _Region) -> _Body | None:
        """The body in a region, if the model says that one is there."""
        raw, score, world = self._body_model(region.crop(image, 256))
        if score[0] < LEAST_SCORE:
            return None
        raw = raw.reshape(39, 4)
        xy = region.to_image(raw[:, :2], 256)
        likely = raw[:_BODY_POINTS, 2:].min(axis=1)
        height, width = image.shape[:2]
        points = xy[:_BODY_POINTS]
        inside = _within(points, image)
        head = _head(points)
        square = head.region  # there is no point above the eyes
        corners = np.array([(square.x, square.y)]) + np.array([[-0.5], [0.5]]) * square.side
        whole = np.concatenate([points, corners])
        box = np.r_[whole.min(axis=0), whole.max(axis=0)].clip(0, (width, height, width, height))
        if min(box[2] - box[0], box[3] - box[1]) < 2:
            return None
        xyz = world.reshape(39, 3)[:_BODY_POINTS] * (1, -1, -1)  # MediaPipe has y down and z away from the camera
        cos, sin = math.cos(region.angle), math.sin(region.angle)
        xyz[:, :2] = xyz[:, :2] @ np.array([[cos, -sin], [sin, cos]])
        kept = Points(
            np.where(inside[:, None], points, np.float32(np.nan)),
            np.where(inside, likely, np.float32(0)),
            np.where(inside[:, None], xyz, np.nan).astype(np.float32),
        )
        return _Body(kept, box.astype(np.float32), _about(*xy[list(_ALIGNMENT)]), float(score[0]), head)

    def _face_in(self, image: Image, box: Floats | None, head: _Head | None) -> Points | None:
        if box is None:
            self._face = None
            return None
        centre, side = (box[:2] + box[2:]) / 2, float(max(box[2] - box[0], box[3] - box[1]))
        start = _Region(float(centre[0]), float(centre[1]), side * 1.5)
        if head is not None and math.dist((head.region.x, head.region.y), centre) < side:
            start = head.region.scaled(1.5)
        mesh = None
        if self._face is not None and math.dist((self._face.x, self._face.y), centre) < side:
            mesh = self._mesh(image, self._face)
        if mesh is None or _astray(mesh, head):
            mesh = self._mesh(image, start)
            # The first look is through a rough square; the second, through its own, is as sharp as any later one.
            mesh = self._mesh(image, _about_face(mesh.xy)) if mesh is not None else None
        if mesh is not None and _astray(mesh, head):
            mesh = None
        self._face = _about_face(mesh.xy) if mesh is not None else None
        if mesh is None:
            return None
        inside = _within(mesh.xy, image)
        return Points(np.where(inside[:, None], mesh.xy, np.float32(np.nan)), np.where(inside, mesh.confidence, 0))

    def _mesh(self, image: Image, region: _Region) -> Points | None:
        """All points of the face in a region, also those outside the image; None if the model says that there is none."""
        *outputs, flag = self._face_model(region.crop(image, 192))
        score = 1 / (1 + math.exp(-float(flag[0])))
        if score < LEAST_SCORE:
            return None
        xy = np.zeros((_FACE_POINTS, 2), np.float32)
        # The mesh has three coordinates a point, the lips, the eyes and the irises, which stand above it, two.
        for output, indices in zip(outputs, self._refined, strict=True):
            xy[indices] = output.reshape(len(indices), -1)[:, :2]
        return Points(region.to_image(xy, 192), np.full(_FACE_POINTS, score, np.float32))


class _Network:
    """A model in a graph of its own: an image in, arrays out.

    Args:
        path: a .tflite file of the package.
        outputs: which of its outputs are wanted, in their order; what only others need is not computed.
        lowest: what black becomes; white becomes 1.
        refined: the first output is of body points, which the last, their heat maps, makes more exact.
    """

    def __init__(self, path: Path, outputs: tuple[int, ...], lowest: float = 0.0, refined: bool = False) -> None:
        with _quiet():
            from mediapipe.python import packet_creator, packet_getter  # noqa: PLC0415
            from mediapipe.python._framework_bindings import calculator_graph, image_frame  # noqa: PLC0415

            self._creator, self._frame = packet_creator, image_frame
            self._graph: Any = calculator_graph.CalculatorGraph(graph_config=_graph(len(outputs), lowest, refined))
            self._made: dict[str, Floats] = {}
            self._names = [f"floats{index}" for index in range(len(outputs) - refined)]
            for stream in self._names:
                self._graph.observe_output_stream(
                    stream,
                    lambda name, packet: self._made.__setitem__(
                        name, np.array(packet_getter.get_float_list(packet), np.float32)
                    ),
                )
            model = pruned(path.read_bytes(), outputs)
            self._graph.start_run({"model": packet_creator.create_string(model)})
            self._graph.wait_until_idle()
        self._time = 0

    def __call__(self, image: Image) -> list[Floats]:
        """The outputs for an image of the model's own size, flat."""
        self._time += 1
        frame = self._creator.create_image_frame(image_format=self._frame.ImageFormat.SRGB, data=image)
        self._graph.add_packet_to_input_stream("image", frame.at(self._time))
        self._graph.wait_until_idle()
        return [self._made[name] for name in self._names]

    def close(self) -> None:
        """End the graph."""
        self._graph.close()


def _graph(outputs: int, lowest: float, refined: bool) -> str:
    """The text of a graph of one model: an image to numbers, the model, and a list of numbers for each output."""
    streams = " ".join(f'output_stream: "tensor{index}"' for index in range(outputs))
    ranges = " ".join(f"ranges {{ begin: {index} end: {index + 1} }}" for index in range(outputs))
    lines = [
        'input_stream: "image" input_side_packet: "model" num_threads: 1',
        'node { calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:operators" }',
        'node { calculator: "TfLiteModelCalculator" input_side_packet: "MODEL_BLOB:model" output_side_packet: "MODEL:ready" }',
        'node { calculator: "TensorConverterCalculator" input_stream: "IMAGE:image" output_stream: "TENSORS:input" options {'
        f" [mediapipe.TensorConverterCalculatorOptions.ext] {{ output_tensor_float_range {{ min: {lowest} max: 1 }} }} }} }}",
        'node { calculator: "InferenceCalculator" input_side_packet: "MODEL:ready" input_side_packet: "OP_RESOLVER:operators"'
        ' input_stream: "TENSORS:input" output_stream: "TENSORS:output" options {'
        " [mediapipe.InferenceCalculatorOptions.ext] { delegate { xnnpack { num_threads: 1 } } } } }",
        f'node {{ calculator: "SplitTensorVectorCalculator" input_stream: "output" {streams} options {{'
        f" [mediapipe.SplitVectorCalculatorOptions.ext] {{ {ranges} }} }} }}",
    ]
    if refined:
        lines += [
            'node { calculator: "ImagePropertiesCalculator" input_stream: "IMAGE:image" output_stream: "SIZE:size" }',
            'node { calculator: "TensorsToLandmarksCalculator" input_stream: "TENSORS:tensor0" output_stream: "NORM_LANDMARKS:raw"'
            " options { [mediapipe.TensorsToLandmarksCalculatorOptions.ext] { num_landmarks: 39 input_image_width: 256"
            " input_image_height: 256 visibility_activation: SIGMOID presence_activation: SIGMOID } } }",
            'node { calculator: "RefineLandmarksFromHeatmapCalculator" input_stream: "NORM_LANDMARKS:raw"'
            f' input_stream: "TENSORS:tensor{outputs - 1}" output_stream: "NORM_LANDMARKS:refined" options {{'
            " [mediapipe.RefineLandmarksFromHeatmapCalculatorOptions.ext] { kernel_size: 7 } } }",
            'node { calculator: "LandmarksToTensorCalculator" input_stream: "NORM_LANDMARKS:refined"'
            ' input_stream: "IMAGE_SIZE:size" output_stream: "TENSORS:points"'
            " options { [mediapipe.LandmarksToTensorCalculatorOptions.ext] { attributes: [X, Y, VISIBILITY, PRESENCE] } } }",
        ]
    for index in range(outputs - refined):
        tensor = "points" if refined and index == 0 else f"tensor{index}"
        lines.append(
            f'node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:{tensor}"'
            f' output_stream: "FLOATS:floats{index}" }} output_stream: "floats{index}"'
        )
    return "\n".join(lines)


def _modules() -> Path:
    """The package's folder of models.

    Raises:
        InputError: MediaPipe is not installed, or is a version without models.
    """
    try:
        with _quiet():
            import mediapipe  # noqa: PLC0415 - seconds, and what it needs may be absent
    except ImportError as error:
        msg = f"--backend mediapipe: cannot be imported ({error}); install it with `make env-extraction`, or give another backend"
        raise InputError(msg) from None
    folder = Path(mediapipe.__file__).parent / "modules"
    absent = [name for name in (_PERSON, _BODY, _FACE, _FACES) if not (folder / name).is_file()]
    if absent:
        version = importlib.metadata.version("mediapipe")
        msg = f"--backend mediapipe: version {version} has no {absent[0]}; install 0.10.21, which has its models inside"
        raise InputError(msg)
    return folder


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the C++ side says while it starts (its version, its delegate, protobuf's GetPrototype) off the terminal."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _refinements(graph: Path) -> tuple[npt.NDArray[np.int64], ...]:
    """The points that each output of the face model gives, as MediaPipe's own graph says: mesh, lips, eyes, irises."""
    with _quiet():
        from mediapipe.python._framework_bindings import validated_graph_config  # noqa: PLC0415

        config = validated_graph_config.ValidatedGraphConfig()
        config.initialize(binary_graph_path=str(graph))
        text = config.text_config
    parts = text.split("LandmarksRefinementCalculatorOptions.ext]")[1].split("\nnode")[0].split(" refinement {")[1:]
    return tuple(np.array(re.findall(r"indexes_mapping: (\d+)", part), np.int64) for part in parts)


def _astray(mesh: Points, head: _Head | None) -> bool:
    """Whether a face is not where the body's is: the model sees one in the back of a head that is turned away.

    On the clips, nose, eyes and mouth of the two models are 0.05 of the face apart (99 in 100 frames below 0.3 for a face of
    20 pixels, 0.1 for a large one), and 0.35 to 0.5 where the face is behind the head.
    """
    if head is None:
        return False
    features = np.stack([mesh.xy[list(part)].mean(axis=0) for part in _FEATURES])
    return float(np.linalg.norm(features - head.features, axis=1).mean()) > 0.25 * head.region.side


def _within(points: Floats, image: Image) -> npt.NDArray[np.bool_]:
    """(N,): which points (N, 2) lie in an image."""
    height, width = image.shape[:2]
    return np.asarray(((points >= 0) & (points < (width, height))).all(axis=1))


def _whole(image: Image) -> _Region:
    """The square about a whole image."""
    height, width = image.shape[:2]
    return _Region(width / 2, height / 2, float(max(height, width)))


def _ends(image: Image) -> list[_Region]:
    """The squares at the two ends of an image that is longer than wide, or wider than long."""
    height, width = image.shape[:2]
    side = float(min(height, width))
    return [_Region(side / 2, side / 2, side), _Region(width - side / 2, height - side / 2, side)]


def _around(image: Image, box: Floats) -> _Region:
    """A square with the surroundings of a person's box; the whole image where that is smaller."""
    centre, side = (box[:2] + box[2:]) / 2, 1.5 * float((box[2:] - box[:2]).max())
    whole = _whole(image)
    return whole if side >= whole.side else _Region(float(centre[0]), float(centre[1]), side)


def _about(hips: Floats, circle: Floats) -> _Region:
    """MediaPipe's square of a body: about the hips, 1.25 times the circle, turned so that `circle` is above them."""
    x, y = (float(value) for value in circle - hips)
    return _Region(float(hips[0]), float(hips[1]), 2 * 1.25 * math.hypot(x, y), math.atan2(x, -y))


def _head(body: Floats) -> _Head:
    """The face by the body's points (33, 2): as tall as forehead to chin, upright from the mouth to the eyes."""
    eyes, mouth = body[list(_EYES)].mean(axis=0), body[list(_MOUTH)].mean(axis=0)
    x, y = (float(value) for value in eyes - mouth)
    centre = (eyes + mouth) / 2
    side = max(3.5 * math.hypot(x, y), 1.2 * math.dist(*body[list(_EARS)]))
    region = _Region(float(centre[0]), float(centre[1]), side, math.atan2(x, -y))
    return _Head(region, np.stack([body[_NOSE], body[list(_OUTER)].mean(axis=0), mouth]))


def _about_face(mesh: Floats) -> _Region:
    """MediaPipe's square of a face in the next frame: 1.5 times about all points, turned by the line of the eyes."""
    low, high = mesh[:_MESH_POINTS].min(axis=0), mesh[:_MESH_POINTS].max(axis=0)
    right, left = mesh[list(_OUTER_EYES)]
    centre = (low + high) / 2
    angle = math.atan2(float(left[1] - right[1]), float(left[0] - right[0]))
    return _Region(float(centre[0]), float(centre[1]), 1.5 * float((high - low).max()), angle)


def _anchors(size: int, layers: tuple[tuple[int, int], ...]) -> Floats:
    """Centres (N, 2), in pixels of the model's input, that a detector's boxes are relative to: (stride, boxes a cell)."""
    centres = []
    for stride, boxes in layers:
        steps = (np.arange(math.ceil(size / stride)) + 0.5) * stride
        cells = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        centres.append(cells.repeat(boxes, axis=0))
    return np.concatenate(centres).astype(np.float32)


def _detections(raw: Floats, scores: Floats, anchors: Floats, least: float) -> list[Floats]:
    """Boxes x1, y1, x2, y2, then key points, then the score, in pixels of a detector's input, best first.

    Boxes that overlap by more than 0.3 are of one thing: their mean, weighted by their scores (BlazeFace, Bazarevsky et al.
    2019, section 3.4).
    """
    sure = 1 / (1 + np.exp(-scores.clip(-80, 80)))
    order = np.flatnonzero(sure >= least)
    order = order[np.argsort(-sure[order], kind="stable")]
    values = raw[order].reshape(len(order), raw.shape[1] // 2, 2)
    half = values[:, 1] / 2
    values[:, [0, *range(2, values.shape[1])]] += anchors[order, None]
    centre = values[:, 0].copy()
    values[:, 0], values[:, 1] = centre - half, centre + half
    flat = np.column_stack([values.reshape(len(order), raw.shape[1]), sure[order]]).astype(np.float32)
    found = []
    while len(flat):
        same = np.array([_overlap(flat[0, :4], other[:4]) > 0.3 for other in flat])
        same[0] = True
        weights = flat[same, -1:]
        found.append(np.r_[(flat[same, :-1] * weights).sum(axis=0) / weights.sum(), flat[0, -1]].astype(np.float32))
        flat = flat[~same]
    return found


def _overlap(one: Floats, other: Floats) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:4], other[2:4])
    inner = float(np.prod(np.maximum(high - low, 0)))
    areas = float(np.prod(one[2:4] - one[:2]) + np.prod(other[2:4] - other[:2]))
    return inner / (areas - inner) if areas > inner else 0.0


def pruned(model: bytes, outputs: tuple[int, ...]) -> bytes:
    """A TensorFlow Lite model with some of its outputs, and without the operators that only the others need.

    Only lists of the first subgraph are rewritten in place: its outputs, and its operators (offsets in the flat buffer).

    Args:
        model: the bytes of a .tflite file.
        outputs: which outputs stay, in this order.
    """
    buffer = bytearray(model)

    def number(at: int) -> int:
        return int(struct.unpack_from("<I", buffer, at)[0])

    def member(table: int, index: int) -> int:
        """Where a table's vector begins, at its length."""
        layout = table - int(struct.unpack_from("<i", buffer, table)[0])
        place = table + int(struct.unpack_from("<H", buffer, layout + 4 + 2 * index)[0])
        return place + number(place)

    def integers(vector: int) -> list[int]:
        return [*struct.unpack_from(f"<{number(vector)}i", buffer, vector + 4)]

    def tables(vector: int) -> list[int]:
        return [at + number(at) for at in range(vector + 4, vector + 4 + 4 * number(vector), 4)]

    # schema.fbs: Model.subgraphs is 2; of a SubGraph outputs are 2, operators 3; of an Operator inputs are 1, outputs 2.
    graph = tables(member(number(0), 2))[0]
    made, steps = member(graph, 2), member(graph, 3)
    operators, results = tables(steps), integers(made)
    maker = {tensor: index for index, table in enumerate(operators) for tensor in integers(member(table, 2))}
    needed: set[int] = set()
    wanted = [results[index] for index in outputs]
    pending = list(wanted)
    while pending:
        index = maker.get(pending.pop())
        if index is not None and index not in needed:
            needed.add(index)
            pending += integers(member(operators[index], 1))
    struct.pack_into(f"<I{len(wanted)}i", buffer, made, len(wanted), *wanted)
    struct.pack_into("<I", buffer, steps, len(needed))
    for position, index in enumerate(sorted(needed)):
        at = steps + 4 + 4 * position
        struct.pack_into("<I", buffer, at, operators[index] - at)
    return bytes(buffer)
