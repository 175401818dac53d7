"""The tensors of one seizure and stream, with what must be known of how they were made."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from seizurelit.cohort.skeleton import Skeleton
from seizurelit.cohort.table import name_fault
from seizurelit.config import STREAMS, digest
from seizurelit.errors import InputError

SCHEMA = 1

TENSORS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "pose.keypoints": (("T", "V", "C"), "float32"),
    "pose.root": (("T", "C"), "float32"),
    "pose.keypoints_2d": (("T", "V", "2"), "float32"),
    "pose.box": (("T", "4"), "float32"),
    "pose.confidence": (("T", "V"), "float32"),
    "pose.appearance": (("T'", "D"), "float16"),
    "face.keypoints": (("T", "V", "C"), "float32"),
    "face.box": (("T", "4"), "float32"),
    "face.confidence": (("T", "V"), "float32"),
    "face.appearance": (("T'", "D"), "float16"),
}
"""Axes and dtype of every tensor: T frames at `fps`, T' at `appearance_fps`, V joints, C of x, y, z, D features."""


@dataclass(frozen=True)
class Metadata:
    """How the tensors of one seizure and stream were made.

    Attributes:
        seizure: name of the seizure.
        subject: whose it is.
        stream: pose or face.
        fps: frames a second of the keypoints, the root, the boxes and the confidence.
        appearance_fps: frames a second of the appearance features; None without any.
        skeleton: the joints of the V axis; None without keypoints.
        source_digest: SHA-256 of what was extracted from.
        extractor: names what made the tensors.
        extractor_digest: of its options.
        weights_digest: of the weights it used; None if it has none.
        subjects_seen: subjects those weights were fitted on; empty for weights from outside the cohort.
        stand_in: whether this is synthetic.
        facts: what a classifier should not live on (duration_s, width, height, container, greyscale, people, …) and
            other scalars: text, numbers, booleans, None.
        schema: version of this form.
    """

    seizure: str
    subject: str
    stream: str
    fps: float
    appearance_fps: float | None
    skeleton: Skeleton | None
    source_digest: str
    extractor: str
    extractor_digest: str
    weights_digest: str | None = None
    subjects_seen: tuple[str, ...] = ()
    stand_in: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def content_key(self) -> str:
        """16 hexadecimal digits over all of this: equal keys were made of the same things in the same way."""
        return digest(json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False))

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        value = {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}
        value["skeleton"] = self.skeleton.to_json() if self.skeleton else None
        value["subjects_seen"] = sorted(self.subjects_seen)
        value["facts"] = dict(self.facts)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Metadata:
        """From what `to_json` gave; KeyError or TypeError if it is something else."""
        known = {part.name for part in dataclasses.fields(cls)}
        if value["schema"] != SCHEMA or set(value) != known:
            msg = f"schema {value['schema']!r} where this version reads {SCHEMA}"
            raise TypeError(msg)
        text, number = str, (int, float)
        kinds: Mapping[str, Any] = {
            **dict.fromkeys(("seizure", "subject", "stream", "source_digest", "extractor", "extractor_digest"), text),
            **{"fps": number, "appearance_fps": (*number, type(None)), "weights_digest": (text, type(None))},
            **{"subjects_seen": list, "stand_in": bool, "facts": Mapping},
        }
        for name, kind in kinds.items():
            if not isinstance(value[name], kind) or (isinstance(value[name], bool) and kind is not bool):
                msg = f"{name} is {value[name]!r}"
                raise TypeError(msg)
        if not all(isinstance(subject, str) for subject in value["subjects_seen"]):
            msg = "subjects_seen are not texts"
            raise TypeError(msg)
        skeleton = None if value["skeleton"] is None else Skeleton.from_json(value["skeleton"])
        return cls(**{**value, "skeleton": skeleton, "subjects_seen": tuple(value["subjects_seen"])})


@dataclass(frozen=True)
class SeizureTensors:
    """Tensors under the names of `TENSORS`, checked against each other when they are made.

    Missing joints are NaN in the keypoints and 0 in the confidence. Keypoints of the body are relative to the root
    joint, whose path is `pose.root`; landmarks of the face are not, they stand as they were found.

    Attributes:
        metadata: how they were made.
        tensors: name → array.
    """

    metadata: Metadata
    tensors: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        faults = list(_faults(self.metadata, self.tensors))
        if faults:
            where = f"{self.metadata.seizure}, {self.metadata.stream}"
            raise InputError(*(f"{where}: {fault}" for fault in faults))

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The tensor of this name; KeyError if there is none."""
        return self.tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors


def _endless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _faults(metadata: Metadata, tensors: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    faults = []
    for what in ("seizure", "subject"):
        wrong = name_fault(getattr(metadata, what))
        if wrong:
            faults.append(f"{what} {getattr(metadata, what)!r} {wrong}")
    if metadata.stream not in STREAMS:
        faults.append(f"stream {metadata.stream!r} is none of {', '.join(STREAMS)}")
    for key, value in metadata.facts.items():
        if not isinstance(value, str | int | float | bool | None) or _endless(value):
            faults.append(f"the fact {key!r} is {value!r}; give text, a number, true, false or nothing")
    if metadata.fps <= 0 or (metadata.appearance_fps is not None and metadata.appearance_fps <= 0):
        faults.append("a frame rate is not above 0")
    skeleton = metadata.skeleton
    sizes: dict[str, int] = {"2": 2, "4": 4}
    if skeleton is not None:
        sizes |= {"V": len(skeleton.joints), "C": skeleton.dimensions}
    for name in sorted(tensors):
        tensor = tensors[name]
        if name not in TENSORS or not name.startswith(metadata.stream + "."):
            names = ", ".join(other for other in TENSORS if other.startswith(metadata.stream + "."))
            faults.append(f"{name} is no tensor of this stream; there are {names}")
            continue
        axes, dtype = TENSORS[name]
        if tensor.dtype != np.dtype(dtype):
            faults.append(f"{name} is {tensor.dtype}; it must be {dtype}")
            continue
        if tensor.ndim != len(axes):
            faults.append(f"{name} has the shape {tensor.shape}; it must be ({', '.join(axes)})")
            continue
        for axis, size in zip(axes, tensor.shape, strict=True):
            expected = sizes.setdefault(axis, size)
            if size != expected:
                faults.append(f"{name} has {size} along {axis}, where {expected} are expected (shape {tensor.shape})")
        if axes[0] in ("T", "T'") and tensor.shape[0] == 0:
            faults.append(f"{name} has no frame")
        if np.isinf(tensor).any():
            faults.append(f"{name} has infinite values; in float16 nothing is above 65504")
    keypoints = tensors.get(f"{metadata.stream}.keypoints")
    confidence = tensors.get(f"{metadata.stream}.confidence")
    if keypoints is not None and skeleton is None:
        faults.append("there are keypoints but no skeleton")
    if f"{metadata.stream}.appearance" in tensors and metadata.appearance_fps is None:
        faults.append("there are appearance features but no appearance_fps")
    if confidence is not None and not ((confidence >= 0) & (confidence <= 1)).all():
        faults.append("the confidence leaves [0, 1]")
    if keypoints is not None and confidence is not None and not faults:
        lost = np.isnan(keypoints).any(axis=-1) & (confidence > 0)
        if lost.any():
            frame, joint = np.argwhere(lost)[0]
            faults.append(
                f"{lost.sum()} missing keypoints have a confidence above 0, the first in frame {frame}, joint {joint}"
            )
    return faults
