"""What can be chosen of a prediction; imports nothing heavy, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seizurelit.config import Model


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Which video, by which networks, and what is written.

    Attributes:
        video: a video of one seizure, or a folder of such videos, of which a CSV is made.
        run: folder of a run, whose networks of all folds and seeds are the ensemble.
        model: file of an exported model.
        out: folder for prediction.json, timeline.png and overlay.mp4 (of a folder of videos: predictions.csv and one folder each);
            by default predictions/NAME.
        sign: of this sign alone.
        network: this one of each sign and stream instead of agcn_kd, or else agcn, or else tcn.
        subject: who it is, if that one may be of the training cohort; scored then by the fold that never saw this subject.
        start: seconds of the video at which the seizure starts; its beginning by default.
        end: seconds of the video at which it ends; its end by default.
        patient_box: about where the patient is, left top right bottom in pixels, such as "150 150 480 370".
        backend: auto is openmmlab where it is installed, else mediapipe.
        weights: folder of weights of the extraction.
        explain: attribute the score to joints and times.
        overlay: write the overlay video.
        show_footage: draw on the footage instead of on black.
        show_face: with the footage, do not blur faces.
        keep: keep the extracted tensors in this folder, which goes on where it was; by default they are deleted.
    """

    video: Path
    run: Path | None = None
    model: Path | None = None
    out: Path | None = None
    sign: str | None = None
    network: Model | None = None
    subject: str | None = None
    start: float | None = None
    end: float | None = None
    patient_box: str | None = None
    backend: Literal["auto", "mediapipe", "openmmlab", "torchvision"] = "auto"
    weights: Path | None = None
    explain: bool = True
    overlay: bool = True
    show_footage: bool = False
    show_face: bool = False
    keep: Path | None = None
