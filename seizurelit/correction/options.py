"""What can be chosen of a fine-tuning, without importing OpenMMLab."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from seizurelit.extraction.models import Model

NONE = "none"


@dataclass(frozen=True)
class Finetune:
    """Detector and pose models fine-tuned on corrected frames, per fold without the subject that it holds out.

    Runs on the first GPU if there is one.

    Attributes:
        cache: folder of the cache that was exported.
        corrected: the tool's COCO keypoints file, as for import.
        images: folder of the pictures: images/ of the export.
        out: folder for SUBJECT/people.safetensors, body.safetensors, face.safetensors; SUBJECT is the one not seen.
        fold: a subject, or all for every subject of the cohort.
        people: detector to start from; becomes one of the patient and the face. none leaves it out.
        body: pose model to start from; none leaves it out.
        face: model of landmarks to start from; none leaves it out.
        folder: where weights lie that are given without a path; $SEIZURELIT_WEIGHTS or ~/.cache/seizurelit/weights if unset.
        epochs: over the corrected frames.
        batch: pictures a step.
        learning_rate: of AdamW, falling to a hundredth on a cosine.
        seed: of order and augmentation.
    """

    cache: Path
    corrected: Path
    images: Path
    out: Path
    fold: str = "all"
    people: Model = field(default_factory=lambda: Model("ssdlite"))
    body: Model = field(default_factory=lambda: Model("rtmpose"))
    face: Model = field(default_factory=lambda: Model(NONE))
    folder: Path | None = None
    epochs: int = 20
    batch: int = 8
    learning_rate: float = 1e-4
    seed: int = 0
