"""What must not be judged: too little of the patient, too many people, a video that is unlike what the networks learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seizurelit.cache.tensors import SeizureTensors
from seizurelit.handover.ensemble import Ensemble, Floats, RowModel
from seizurelit.handover.likeness import Unlikeness, clip_statistics, unlikeness

LEAST_SEEN = 0.5
"""Share of the frames in which patient or face must be found."""
LONGEST_ABSENCE = 10.0
"""Seconds that patient or face may be out of sight at a stretch."""
LEAST_JOINTS = 0.5
"""Share of the joints, over all frames, that must be found."""
SHORTEST = 2.0
"""Seconds in all in which patient or face must be found."""


@dataclass(frozen=True)
class Seen:
    """How much of the patient or the face was found in a video.

    Attributes:
        seconds: of the video.
        found: share of the frames with any joint.
        joints: share of the joints over all frames.
        longest_absence: seconds without any at a stretch.
        present: (T,) bool, which frames have any.
        fps: of those frames.
    """

    seconds: float
    found: float
    joints: float
    longest_absence: float
    present: npt.NDArray[np.bool_]
    fps: float


@dataclass(frozen=True)
class Judgement:
    """Whether a score may be read.

    Attributes:
        reasons: why it may not; none if it may.
        notes: what must be known besides.
        seen: how much was found.
        unlikeness: to the training cohort; None where that cannot be told.
    """

    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    seen: Seen
    unlikeness: Unlikeness | None

    @property
    def judged(self) -> bool:
        """Whether there is no reason against it."""
        return not self.reasons


def seen_of(tensors: SeizureTensors) -> Seen:
    """How much of the patient or the face a stream's tensors have; of appearance features, the crops that are not blank."""
    metadata, stream = tensors.metadata, tensors.metadata.stream
    if f"{stream}.confidence" in tensors:
        found = np.asarray(tensors[f"{stream}.confidence"]) > 0
        fps = metadata.fps
    else:
        found = (np.asarray(tensors[f"{stream}.appearance"]) != 0).any(axis=1, keepdims=True)
        fps = metadata.appearance_fps or metadata.fps
    present = np.asarray(found.any(axis=1), dtype=bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[1], present.astype(int), [1]])))
    absences = edges[1::2] - edges[::2]
    longest = float(absences.max()) / fps if len(absences) else 0.0
    return Seen(len(present) / fps, float(present.mean()), float(found.mean()), longest, present, fps)


def judge(ensemble: Ensemble, row: RowModel, tensors: SeizureTensors, facts: Mapping[str, Any]) -> Judgement:
    """Whether a row's score of a video may be read.

    Args:
        ensemble: what the networks learned from.
        row: whose score.
        tensors: of the row's stream.
        facts: of the extraction: people, ambiguous, …
    """
    seen = seen_of(tensors)
    what = "the patient" if row.stream == "pose" else "the patient's face"
    points = "joints" if row.stream == "pose" else "landmarks"
    reasons = []
    if not seen.present.any():
        reasons.append(f"{what} is never found")
    else:
        if seen.found < LEAST_SEEN:
            reasons.append(f"{what} is found in {seen.found:.0%} of the frames, less than {LEAST_SEEN:.0%}")
        if seen.longest_absence > LONGEST_ABSENCE:
            reasons.append(
                f"{what} is out of sight for {seen.longest_absence:.0f} s at a stretch, more than {LONGEST_ABSENCE:.0f} s"
            )
        if seen.joints < LEAST_JOINTS:
            reasons.append(f"{seen.joints:.0%} of the {points} are found, less than {LEAST_JOINTS:.0%}")
        if seen.found * seen.seconds < SHORTEST:
            reasons.append(
                f"{what} is in sight for {seen.found * seen.seconds:.1f} s in all, less than {SHORTEST:.0f} s"
            )
    if facts.get("ambiguous"):
        why = facts.get("patient_reason")
        remedy = "" if why and "patient_box" in str(why) else "; give --patient_box"
        reasons.append(f"who the patient is, is in doubt{f' ({why})' if why else ''}{remedy}")
    if ensemble.stand_in:
        reasons.append("the networks were trained on the STAND-IN COHORT, synthetic people: they know no real seizure")
    reference = ensemble.references.get(row.stream)
    far = unlikeness(reference, clip_statistics(tensors)) if reference is not None else None
    notes = []
    if far is not None and far.unlike and seen.present.any():
        most = ", ".join(f"{name} {value:+.1f} sd" for name, value in far.most)
        how = f"distance {far.distance:.1f}, typical up to {far.typical:.1f}, p {far.p:.3f}; {most}"
        reasons.append(f"the video is unlike the training cohort ({how})")
    if far is None:
        notes.append("how unlike the training cohort this is cannot be told: it was too small")
    trained_on = ensemble.streams[row.stream].extractors
    if tensors.metadata.extractor not in trained_on:
        notes.append(
            f"extracted by {tensors.metadata.extractor}, the training cohort by {', '.join(trained_on)}: the tensors differ in kind"
        )
    digest = tensors.metadata.weights_digest
    if "appearance" in row.needs and digest not in ensemble.streams[row.stream].weights_digests:
        notes.append(
            "whether the appearance features are by the weights of the training cohort's cannot be told: their digests differ"
        )
    skeleton, known = tensors.metadata.skeleton, ensemble.streams[row.stream].skeleton
    if skeleton is not None and known is not None and skeleton.dimensions != known.dimensions:
        notes.append(f"{skeleton.dimensions} dimensions here, {known.dimensions} in training")
    return Judgement(tuple(reasons), tuple(notes), seen, far)


def judged_windows(seen: Seen, spans: Floats) -> list[bool]:
    """Of each window, whether patient or face is found in at least half of it."""
    found = []
    for start, end in spans:
        part = seen.present[int(start * seen.fps) : max(int(start * seen.fps) + 1, int(np.ceil(end * seen.fps)))]
        found.append(bool(part.size and part.mean() >= LEAST_SEEN))
    return found
