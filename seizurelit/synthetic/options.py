"""What can be chosen of the stand-in cohort."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from seizurelit.errors import InputError

FPS = 25
"""Frames a second of every keypoint stream (paper, section 2.2)."""


@dataclass(frozen=True)
class StandIn:
    """What the stand-in cohort is like.

    Attributes:
        seed: of everything; a subject and a seizure have child seeds of their own, so none depends on how many
            others there are.
        subjects: 19 is the paper's cohort; any other number keeps its proportions.
        seizures_per_subject: the same number for everyone; without it the paper's 1 to 6.
        signal: 1 shows the signs in full, 0 makes the labels independent of everything, between them the signs are
            weaker.
        labels: signs shows each subject's signs; identity shows none and marks every subject strongly, so that the
            labels, which are a subject's, can be told by recognising the subject alone.
        label_noise: probability that a seizure's label is turned over, sign by sign.
        nuisance: strength of proportions, camera, habits, lighting and likeness, which differ between subjects and
            not with a sign.
        occlusion: share of the usual occlusions (blanket, hidden arm, staff before the camera, face turned away)
            that happen.
        missing: mean share of joints that a detector misses for no visible reason.
        min_seconds: shortest seizure, in seconds.
        max_seconds: longest seizure, in seconds.
        appearance_dim: channels of the appearance features.
        appearance_fps: appearance features a second; at most 25.
    """

    seed: int = 0
    subjects: int = 19
    seizures_per_subject: int | None = None
    signal: float = 1.0
    labels: Literal["signs", "identity"] = "signs"
    label_noise: float = 0.0
    nuisance: float = 1.0
    occlusion: float = 1.0
    missing: float = 0.02
    min_seconds: float = 30.0
    max_seconds: float = 90.0
    appearance_dim: int = 128
    appearance_fps: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what cannot be made, all faults at once.

        Raises:
            InputError: one line for every option out of its range.
        """
        ranges: dict[str, tuple[float, float]] = {
            "seed": (0, 2**63 - 1),
            "subjects": (2, 10_000),
            "signal": (0, 1),
            "label_noise": (0, 0.5),
            "nuisance": (0, 10),
            "occlusion": (0, 2),
            "missing": (0, 0.5),
            "min_seconds": (1, 600),
            "max_seconds": (1, 600),
            "appearance_dim": (1, 4096),
            "appearance_fps": (1, FPS),
        }
        if self.seizures_per_subject is not None:
            ranges["seizures_per_subject"] = (1, 1000)
        faults = [
            f"stand-in cohort: {name} is {getattr(self, name)!r}; give a number from {low:g} to {high:g}"
            for name, (low, high) in ranges.items()
            if not (math.isfinite(getattr(self, name)) and low <= getattr(self, name) <= high)
        ]
        if self.labels not in ("signs", "identity"):
            faults.append(f"stand-in cohort: labels is {self.labels!r}; give signs or identity")
        if self.min_seconds > self.max_seconds:
            faults.append(
                f"stand-in cohort: min_seconds {self.min_seconds:g} is above max_seconds {self.max_seconds:g}; "
                "exchange them"
            )
        if faults:
            raise InputError(*faults)

    @property
    def shown(self) -> float:
        """How far the signs are shown, in [0, 1]: the signal, and 0 where the labels follow the identity."""
        return 0.0 if self.labels == "identity" else float(self.signal)

    @property
    def likeness(self) -> float:
        """Strength of what marks a subject: the nuisance, four times it where the labels follow the identity."""
        return float(self.nuisance) * (4.0 if self.labels == "identity" else 1.0)
