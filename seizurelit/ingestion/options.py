"""What can be chosen of an ingestion; imports nothing heavy, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Ingest:
    """Keypoints and appearance features that other tools made, into a cache.

    Attributes:
        cache: folder of the cache; made if it is not there, else completed.
        keypoints: folder of <seizure>.npy of (T, V, C), NaN = missing, or <seizure>.csv (frame, joint, x, y[, z]
            [, confidence]), or of what --format says; with --format ui-prmd the data set's zip file.
        cohort: cohort.csv; its column `file`, if it has one, names the files, `start` and `end` cut them (seconds), and
            `person` says who the patient is in files that have several people.
        skeleton: body11, face23, or the path of a skeleton.yaml: the joints, channels and frame rate of the keypoints.
            In other tools' files joints are found by these names; the default there is body11 for pose, face23 for face.
        stream: which stream the files are of.
        appearance: folder of <seizure>.npy of (T', D), features of each frame, NaN throughout a frame without any.
        appearance_fps: frames a second of the appearance features.
        format: files is as above; deeplabcut (.h5, .csv), sleap (.slp, analysis .h5), lightning-pose (.csv), anipose
            (3D .csv), mmpose and coco (.json) have a file a seizure, openpose a folder a seizure; ui-prmd makes cohort
            and cache from the zip file of the UI-PRMD data set.
        scheme: what the points of other tools' files are, where the files do not say it, to make body11 of coco17,
            halpe26, wholebody133, h36m17, mediapipe33, openpose25, openpose18, or face23 of ibug68, wholebody133,
            wflw98, lapa106, mediapipe478, openpose70.
        fps: frames a second of the keypoints (all of a cohort at one rate: nothing is resampled); default: the
            skeleton.yaml's.
        min_confidence: joints of a lower confidence, from 0 to 1, are missing.
        peer_folds: for ui-prmd, CSV (exercise, fold, subject, repetition, label) of a peer's subset and folds: adds the
            sign correct_egcn, and egcn_folds.csv to the cache.
    """

    cache: Path
    keypoints: Path | None = None
    cohort: Path | None = None
    skeleton: str | None = None
    stream: Literal["pose", "face"] = "pose"
    appearance: Path | None = None
    appearance_fps: float = 25.0
    format: Literal[
        "files", "deeplabcut", "sleap", "lightning-pose", "anipose", "openpose", "mmpose", "coco", "ui-prmd"
    ] = "files"
    scheme: str | None = None
    fps: float | None = None
    min_confidence: float = 0.0
    peer_folds: Path | None = None
