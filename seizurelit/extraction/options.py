"""What can be chosen of an extraction: the options of the door, and those of them that decide what is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seizurelit.errors import InputError
from seizurelit.extraction.models import OpenMMLabModels, TorchvisionModels
from seizurelit.scheduling.options import Schedule

FPS = 25.0
"""Frames a second of the timeline and of all keypoints (METHOD.md)."""


@dataclass(frozen=True, kw_only=True)
class Extract(Schedule):
    """From the videos of a cohort to a cache.

    Attributes:
        cohort: cohort.csv; its column `video` names the files, `start` and `end` cut them (seconds), and `patient_box`, if
            there is one, says where the patient is: x1 y1 x2 y2 in pixels. Or a folder of videos: a cohort.csv of them, without
            labels, is then written into the cache.
        cache: folder of the cache; made if it is not there, else completed.
        videos: folder from which the files are named; by default that of cohort.csv.
        backend: auto is openmmlab where it is installed, else mediapipe.
        stream: which streams are extracted.
        without: appearance leaves the appearance features out, and asks for no weights of theirs.
        devices: CUDA devices as CUDA_VISIBLE_DEVICES writes them, such as 0,1; by default all of this machine, cpu for none;
            mediapipe uses none. With --scheduler ray or slurm, gpu asks the cluster for one a video.
        detect_every: people are looked for in every n-th frame (at 25 frames a second), and followed in between.
        longest_gap: missing points are interpolated over at most this long (seconds).
        least_confidence: points below are missing.
        appearance_fps: frames a second of the appearance features, a divisor of 25; by default 25 with a GPU, else 5.
        weights: folder of weights; by default $SEIZURELIT_WEIGHTS or ~/.cache/seizurelit/weights.
        face_features: file of VGG-19's weights; by default the one that `seizurelit.pretrain` makes, in the folder of weights.
        body_features: file of ResNet-50's weights, or IMAGENET1K_V1 to download torchvision's; by default that file in the folder.
        fold: for weights that were fitted on the cohort: the subject whom they have not seen; the tensors go to folds/SUBJECT.
        show_faces: do not blur faces on the page.
        open_page: open the page in the browser when all is done.
        openmmlab: models of the backend openmmlab.
        torchvision: models of the backend torchvision.
    """

    cohort: Path
    cache: Path
    videos: Path | None = None
    backend: Literal["auto", "mediapipe", "openmmlab", "torchvision"] = "auto"
    stream: Literal["both", "pose", "face"] = "both"
    without: Literal["appearance"] | None = None
    devices: str | None = None
    detect_every: int = 10
    longest_gap: float = 0.2
    least_confidence: float = 0.1
    appearance_fps: float | None = None
    weights: Path | None = None
    face_features: Path | None = None
    body_features: str | None = None
    fold: str | None = None
    show_faces: bool = False
    open_page: bool = False
    openmmlab: OpenMMLabModels = field(default_factory=OpenMMLabModels)
    torchvision: TorchvisionModels = field(default_factory=TorchvisionModels)


@dataclass(frozen=True)
class Settings:
    """What decides the tensors of a seizure, besides its video, the backend and their weights.

    Attributes:
        streams: of pose and face.
        detect_every: frames from one look for people to the next.
        longest_gap: seconds.
        least_confidence: points below are missing.
        appearance_every: frames from one appearance feature to the next.
    """

    streams: tuple[str, ...]
    detect_every: int = 10
    longest_gap: float = 0.2
    least_confidence: float = 0.1
    appearance_every: int = 5


def settings_of(options: Extract, *, gpu: bool) -> Settings:
    """The settings of an extraction.

    Raises:
        InputError: options out of range, a line each.
    """
    fps = options.appearance_fps if options.appearance_fps is not None else (FPS if gpu else 5.0)
    rules = {
        "detect_every": (options.detect_every, options.detect_every >= 1, "1 or more"),
        "longest_gap": (options.longest_gap, 0 <= options.longest_gap <= 2, "0 to 2 seconds"),
        "least_confidence": (options.least_confidence, 0 <= options.least_confidence < 1, "0 to below 1"),
        "appearance_fps": (fps, fps > 0 and (FPS / fps).is_integer(), "25, 5, 1 or another divisor of 25"),
    }
    faults = [f"--{name} {value}: give {wanted}" for name, (value, good, wanted) in rules.items() if not good]
    if faults:
        raise InputError(*faults)
    return Settings(
        streams=("pose", "face") if options.stream == "both" else (options.stream,),
        detect_every=options.detect_every,
        longest_gap=options.longest_gap,
        least_confidence=options.least_confidence,
        appearance_every=int(FPS / fps),
    )
