"""One job of the scheduler: extract a seizure's video and write its tensors into the cache."""

from __future__ import annotations

import errno
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.config import digest
from seizurelit.errors import InputError, RunError
from seizurelit.extraction.backend import Backend, Weights
from seizurelit.extraction.models import OpenMMLabModels, TorchvisionModels, require_openmmlab
from seizurelit.extraction.options import FPS, Settings

if TYPE_CHECKING:
    from seizurelit.extraction.appearance import AppearanceModel

TRACKS = "tracks.json"
CALL = "seizurelit.extraction.job:extract_seizure"


@dataclass(frozen=True)
class Plan:
    """What is the same for all seizures of an extraction.

    Attributes:
        backend: mediapipe, openmmlab or torchvision.
        settings: what decides the tensors besides.
        appearance: streams whose features are extracted.
        models: of OpenMMLab or torchvision; None for mediapipe.
        weights: folder of weights.
        features: (stream, file or name) of the weights of appearance features that were named.
        fold: the subject whom fitted weights have not seen.
    """

    backend: str
    settings: Settings
    appearance: tuple[str, ...]
    models: OpenMMLabModels | TorchvisionModels | None = None
    weights: Path | None = None
    features: tuple[tuple[str, str], ...] = ()
    fold: str | None = None


@dataclass(frozen=True)
class Recipe:
    """What is known of a plan once its models are loaded.

    Attributes:
        extractor: the backend's name.
        digest: of the backend, the settings and this code.
        weights: of all models.
    """

    extractor: str
    digest: str
    weights: tuple[Weights, ...]

    @property
    def weights_digest(self) -> str | None:
        """Of all weights together."""
        return digest(*(f"{weights.name} {weights.digest}" for weights in self.weights)) if self.weights else None

    @property
    def subjects_seen(self) -> tuple[str, ...]:
        """By any of the weights."""
        return tuple(sorted({subject for weights in self.weights for subject in weights.subjects_seen}))


def make_backend(plan: Plan, device: str) -> Backend:
    """The backend of a plan.

    Raises:
        InputError: it is not installed, or its weights are absent or unusable.
    """
    if isinstance(plan.models, OpenMMLabModels):
        require_openmmlab("--backend openmmlab", ", or use --backend mediapipe")
        from seizurelit.extraction.openmmlab_backend import OpenMMLabBackend  # noqa: PLC0415 - what is chosen alone

        return OpenMMLabBackend(replace(plan.models, folder=plan.models.folder or plan.weights), device)
    if isinstance(plan.models, TorchvisionModels):
        from seizurelit.extraction.torchvision_backend import TorchvisionBackend  # noqa: PLC0415

        return TorchvisionBackend(replace(plan.models, folder=plan.models.folder or plan.weights), device)
    from seizurelit.extraction.mediapipe_backend import MediaPipe  # noqa: PLC0415

    return MediaPipe()


def models_of_appearance(plan: Plan, device: str) -> tuple[dict[str, AppearanceModel], dict[str, str]]:
    """Stream → the model of its appearance features, and for those whose weights are absent, what to do."""
    if not plan.appearance:
        return {}, {}
    from seizurelit.extraction.appearance import Missing, body_appearance, face_appearance  # noqa: PLC0415 - torch

    models: dict[str, AppearanceModel] = {}
    missing: dict[str, str] = {}
    named = dict(plan.features)
    for stream in plan.appearance:
        if stream == "face":
            model = face_appearance(Path(named[stream]) if stream in named else None, plan.weights, device)
        else:
            model = body_appearance(named.get(stream), plan.weights, device)
        if isinstance(model, Missing):
            missing[stream] = model.reason
        else:
            models[stream] = model
    return models, missing


def recipe_of(plan: Plan, backend: Backend, appearance: Mapping[str, AppearanceModel]) -> Recipe:
    """What stands in the metadata, and decides whether an extraction is done already."""
    from seizurelit.extraction.pipeline import VERSION  # noqa: PLC0415 - video decoders, only in those that extract

    parts = [f"{stream} {model.name} {model.digest}" for stream, model in sorted(appearance.items())]
    own = digest(str(VERSION), backend.name, backend.digest, repr(plan.settings), *parts)
    features = [Weights(model.name, model.weights_digest, model.subjects_seen) for model in appearance.values()]
    return Recipe(backend.name, own, (*backend.weights, *features))


@functools.lru_cache(maxsize=1)
def _models(plan: Plan, device: str) -> tuple[Backend, Mapping[str, AppearanceModel], Recipe]:
    """A worker loads the models once, for all of its seizures."""
    backend = make_backend(plan, device)
    appearance, missing = models_of_appearance(plan, device)
    if missing:  # they were there when the run began
        raise InputError(*missing.values())
    return backend, appearance, recipe_of(plan, backend, appearance)


def extract_seizure(
    folder: Path,
    *,
    seizure: str,
    subject: str,
    video: str,
    part: tuple[float | None, float | None],
    patient_box: tuple[float, float, float, float] | None,
    cache: str,
    plan: Plan,
    device: str,
    key: str,
) -> dict[str, Any]:
    """Extract one seizure.

    Args:
        folder: of the job; takes tracks.json, who was seen when. Tensors go into the cache.
        seizure: name.
        subject: whose it is.
        video: path.
        part: start and end in seconds.
        patient_box: about where the patient is.
        cache: folder of the cache.
        plan: what to extract.
        device: of torch.
        key: of the video, the part and the plan; returned, so that the next run knows what was done.

    Returns:
        The key and the facts of the metadata.

    Raises:
        InputError: the video cannot be used.
        RunError: the disk is full.
    """
    from seizurelit.extraction.pipeline import extract_video  # noqa: PLC0415
    from seizurelit.video.reading import open_video, source_digest  # noqa: PLC0415

    opened = open_video(Path(video))
    backend, appearance, recipe = _models(plan, device)
    extracted = extract_video(opened, part, backend, appearance, plan.settings, patient_box=patient_box)
    (folder / TRACKS).write_text(json.dumps(extracted.tracks, indent=1) + "\n", encoding="utf-8")
    common = Metadata(
        seizure=seizure,
        subject=subject,
        stream="pose",
        fps=FPS,
        appearance_fps=None,
        skeleton=None,
        source_digest=source_digest(Path(video)),
        extractor=recipe.extractor,
        extractor_digest=digest(recipe.digest, json.dumps([part, patient_box])),
        weights_digest=recipe.weights_digest,
        subjects_seen=recipe.subjects_seen,
        facts=extracted.facts,
    )
    for stream, skeleton in extracted.skeletons.items():
        metadata = replace(
            common,
            stream=stream,
            skeleton=skeleton,
            appearance_fps=FPS / plan.settings.appearance_every if stream in appearance else None,
        )
        mine = {name: tensor for name, tensor in extracted.tensors.items() if name.startswith(f"{stream}.")}
        try:
            Cache(Path(cache)).write(SeizureTensors(metadata, mine), plan.fold)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RunError(disk_full(Path(cache))) from None
    return {"key": key, "facts": dict(extracted.facts)}


def disk_full(cache: Path) -> str:
    """What to say when nothing more can be written."""
    return f"{cache}: the disk is full; make room, and the same command goes on where this one was"
