"""The tensors of one sign and stream in memory: every rated seizure of the cohort, end to end, read once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata
from seizurelit.cohort.leak import Guard
from seizurelit.cohort.manifest import Cohort, Sign
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.errors import InputError


@dataclass(frozen=True, eq=False)
class SeizureStore:
    """S rated seizures of one sign and stream. Frames of all seizures stand one after the other along the first axis.

    Attributes:
        sign: name of the sign.
        classes: names of its classes; a label is an index into them.
        stream: pose or face.
        seizures: names, in the cohort's order.
        subjects: whose each is.
        labels: (S,) long.
        missing: rated seizures that have no tensors, in the cohort's order.
        extraction_saw: subjects that the extraction's weights were fitted on.
        stand_in: whether any of it is synthetic.
        fps: frames a second of the keypoints, and the clock of windows even where keypoints are not held.
        skeleton: of the keypoints; None where they are not held.
        keypoints: (ΣT, V, C) float32, 0 where missing; None if not asked for.
        confidence: (ΣT, V) float32, 0 where missing.
        root: (ΣT, C) float32, the path of the root that was subtracted from the keypoints; None if there is none.
        offsets: (S+1,) long: frames of seizure s are offsets[s]:offsets[s+1].
        appearance: (ΣT', D) float16 or float32, 0 in a frame without features; None if not asked for.
        appearance_offsets: (S+1,) long, likewise.
        appearance_fps: frames a second of the appearance features.
        condition: (S, K) float32 one-hot, 0 throughout where the column is empty; None without a condition.
        conditions: names of the K values.
    """

    sign: str
    classes: tuple[str, ...]
    stream: str
    seizures: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: Tensor
    missing: tuple[str, ...]
    extraction_saw: tuple[str, ...]
    stand_in: bool
    fps: float
    skeleton: Skeleton | None = None
    keypoints: Tensor | None = None
    confidence: Tensor | None = None
    root: Tensor | None = None
    offsets: Tensor | None = None
    appearance: Tensor | None = None
    appearance_offsets: Tensor | None = None
    appearance_fps: float | None = None
    condition: Tensor | None = None
    conditions: tuple[str, ...] = ()

    @property
    def lengths(self) -> Tensor:
        """(S,) long: frames of each seizure at `fps`, from the appearance features where keypoints are not held."""
        if self.offsets is not None:
            return self.offsets.diff()
        if self.appearance_offsets is None or self.appearance_fps is None:
            msg = "the store holds neither keypoints nor appearance"
            raise ValueError(msg)
        ratio = self.fps / self.appearance_fps
        return (self.appearance_offsets.diff() * ratio).round().long().clamp(min=1)

    def to(self, device: torch.device) -> SeizureStore:
        """The store with its tensors on a device; itself if they are there."""
        if self.labels.device == device:
            return self
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return dataclasses.replace(self, **moved)

    def indices(self, subjects: Iterable[str]) -> Tensor:
        """(n,) long: the seizures of some subjects, in order."""
        wanted = set(subjects)
        return torch.tensor([i for i, subject in enumerate(self.subjects) if subject in wanted], dtype=torch.long)


def load_store(
    cache: Cache,
    cohort: Cohort,
    sign: Sign,
    stream: str,
    *,
    keypoints: bool,
    appearance: bool,
    condition: str | None = None,
    subjects: Iterable[str] | None = None,
    guard: Guard | None = None,
    fold: str | None = None,
    labels: Mapping[str, int] | None = None,
) -> SeizureStore:
    """Read all rated seizures of a sign that have the tensors.

    Args:
        cache: where the tensors are.
        cohort: labels and subjects.
        sign: what the labels are of.
        stream: pose or face.
        keypoints: read keypoints, confidence and root.
        appearance: read appearance features.
        condition: column of the cohort to tell the networks, as one-hot.
        subjects: read these alone; None reads all.
        guard: refuses held-out subjects, for a store that is to hold training data alone.
        fold: take extractions whose weights were fitted in this fold where there are any.
        labels: class of each seizure to read, in place of the cohort's ratings; any class will do where they are scored alone.

    Raises:
        SubjectLeakError: the guard holds out a subject that is asked for, or one that the extraction's weights saw.
        InputError: nothing is there, a file is damaged, or seizures differ in frame rate, joints or features.
    """
    labels = cohort.labels(sign) if labels is None else labels
    wanted = None if subjects is None else set(subjects)
    rated = [name for name in labels if wanted is None or cohort.subject_of(name) in wanted]
    if guard is not None:
        guard.admit((cohort.subject_of(name) for name in rated), f"the {stream} tensors")
    names = [f"{stream}.{part}" for part in ("keypoints", "confidence") if keypoints]
    names += [f"{stream}.appearance"] if appearance else []
    reading = _Reading(cache, cohort, stream, fold)
    for name in rated:
        reading.read(name, names, f"{stream}.root" if keypoints else None)
    if not reading.found:
        what = " and ".join(part for part, asked in (("keypoints", keypoints), ("appearance", appearance)) if asked)
        msg = f"{cache.root}: no seizure rated for {sign.name} has {stream} {what}; extract or ingest them"
        raise InputError(msg)
    first = reading.check()
    found = list(reading.found)
    saw = sorted({subject for metadata in reading.found.values() for subject in metadata.subjects_seen})
    if guard is not None:
        guard.admit(saw, f"the extraction of the {stream} tensors")
    table, values = _one_hot(cohort.column(condition), found) if condition else (None, ())
    return SeizureStore(
        sign=sign.name,
        classes=sign.classes,
        stream=stream,
        seizures=tuple(found),
        subjects=tuple(cohort.subject_of(name) for name in found),
        labels=torch.tensor([labels[name] for name in found]),
        missing=tuple(name for name in rated if name not in reading.found),
        extraction_saw=tuple(saw),
        stand_in=any(metadata.stand_in for metadata in reading.found.values()),
        fps=first.fps,
        skeleton=first.skeleton if keypoints else None,
        keypoints=reading.joined("keypoints"),
        confidence=reading.joined("confidence"),
        root=reading.joined("root"),
        offsets=reading.offsets("keypoints"),
        appearance=reading.joined("appearance"),
        appearance_offsets=reading.offsets("appearance"),
        appearance_fps=first.appearance_fps if appearance else None,
        condition=table,
        conditions=values,
    )


class _Reading:
    """One pass over a cache's files: what was found, and whether it goes together."""

    def __init__(self, cache: Cache, cohort: Cohort, stream: str, fold: str | None) -> None:
        self.cache = cache
        self.cohort = cohort
        self.stream = stream
        self.fold = fold
        self.found: dict[str, Metadata] = {}
        self.parts: dict[str, list[Tensor]] = {}

    def read(self, seizure: str, names: list[str], optional: str | None) -> None:
        """Read a seizure's tensors, if it has all that are not optional."""
        fold = self.fold if self.fold is not None and self.cache.has(seizure, self.stream, self.fold) else None
        if not self.cache.has(seizure, self.stream, fold):
            return
        there = self.cache.names(seizure, self.stream, fold)
        if not set(names) <= set(there):
            return
        wanted = names + ([optional] if optional in there else [])
        tensors = self.cache.read(seizure, self.stream, [name for name in wanted if name], fold=self.fold)
        metadata = tensors.metadata
        if metadata.subject != self.cohort.subject_of(seizure):
            msg = (
                f"{self.cache.path(seizure, self.stream, fold)}: was extracted as {metadata.subject}'s, {self.cohort.path} says "
                f"{self.cohort.subject_of(seizure)}; correct the table, or extract or ingest the seizure again"
            )
            raise InputError(msg)
        self.found[seizure] = metadata
        for name in wanted:
            if name is not None:
                self.parts.setdefault(name.split(".")[1], []).append(torch.from_numpy(np.array(tensors[name])))
        if "keypoints" in self.parts:
            self._mark_missing()
        if "appearance" in self.parts:
            self.parts["appearance"][-1] = self.parts["appearance"][-1].nan_to_num(nan=0.0)

    def _mark_missing(self) -> None:
        """NaN, or a confidence of 0, is a missing joint: confidence 0 and coordinates 0."""
        keypoints, confidence = self.parts["keypoints"], self.parts["confidence"]
        confidence[-1] = confidence[-1] * keypoints[-1].isfinite().all(dim=-1)
        keypoints[-1] = torch.where((confidence[-1] > 0).unsqueeze(-1), keypoints[-1], 0.0)

    def check(self) -> Metadata:
        """The first seizure's metadata, once all others agree with it on what a network depends on.

        Raises:
            InputError: a line for each that does not.
        """
        names = list(self.found)
        first = self.found[names[0]]
        joints = None if first.skeleton is None else (first.skeleton.joints, first.skeleton.dimensions)
        faults = []
        for index, (name, metadata) in enumerate(self.found.items()):
            path = self.cache.path(name, self.stream)
            what = f"{path}: differs from {names[0]} in its"
            if metadata.fps != first.fps:
                faults.append(f"{what} frame rate ({metadata.fps:g} and {first.fps:g}); ingest all at one rate")
            if "keypoints" in self.parts:
                own = None if metadata.skeleton is None else (metadata.skeleton.joints, metadata.skeleton.dimensions)
                if own != joints:
                    faults.append(f"{what} joints; ingest all with one skeleton")
            if "appearance" in self.parts:
                if metadata.appearance_fps != first.appearance_fps:
                    faults.append(f"{what} frame rate of features; extract all at one rate")
                widths = [self.parts["appearance"][i].shape[1] for i in (0, index)]
                if widths[0] != widths[1]:
                    faults.append(
                        f"{what} number of features ({widths[1]} and {widths[0]}); extract all with one network"
                    )
        if faults:
            raise InputError(*faults)
        return first

    def joined(self, part: str) -> Tensor | None:
        """All frames of all seizures, or None where not every seizure has them."""
        parts = self.parts.get(part, [])
        return torch.cat(parts) if parts and len(parts) == len(self.found) else None

    def offsets(self, part: str) -> Tensor | None:
        """(S+1,) where each seizure's frames begin."""
        parts = self.parts.get(part, [])
        return torch.tensor([0, *(len(tensor) for tensor in parts)]).cumsum(0) if parts else None


def _one_hot(column: dict[str, str], seizures: list[str]) -> tuple[Tensor, tuple[str, ...]]:
    """(S, K) over the values that the column has anywhere in the cohort, and those values, sorted."""
    values = tuple(sorted({value for value in column.values() if value}))
    table = torch.zeros(len(seizures), len(values))
    for row, name in enumerate(seizures):
        if column[name]:
            table[row, values.index(column[name])] = 1
    return table, values
