"""Fine-tune detector and pose models on corrected frames with mmengine's runner, per fold without the subject it holds out."""

from __future__ import annotations

import json
import math
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import save
from torch import nn

from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.leak import Guard
from seizurelit.cohort.points import BODY, FACE, Correspondence
from seizurelit.config import digest
from seizurelit.correction import coco
from seizurelit.correction.export import points_of
from seizurelit.correction.importing import box_about, read_corrected
from seizurelit.correction.options import NONE, Finetune
from seizurelit.errors import InputError, RunError
from seizurelit.extraction.marks import marks_of
from seizurelit.extraction.models import Model
from seizurelit.extraction.openmmlab_backend import BODIES, FACES
from seizurelit.extraction.openmmlab_networks import Built, build, class_names, quiet, read_weights
from seizurelit.extraction.weights import Checkpoint, fill, provenance, read_checkpoint

with quiet():
    from mmengine.hooks import Hook
    from mmengine.runner import Runner
    from mmpose.registry import DATASETS as POSE_DATASETS

CLASSES = ("person", "face")
"""Of a fine-tuned detector: person is the patient, as others in view are not in the corrected frames."""


@dataclass(frozen=True)
class Finetuned:
    """One file of weights.

    Attributes:
        path: the file.
        fold: the subject it has not seen.
        subjects_seen: the others, with those that the weights it started from had seen.
        pictures: it was fitted on.
        loss: mean over the last epoch; None if the file was there already.
    """

    path: Path
    fold: str
    subjects_seen: tuple[str, ...]
    pictures: int
    loss: float | None


@dataclass(frozen=True)
class _Part:
    """What one network is fitted to: boxes, or the points of a category."""

    name: str
    model: Model
    category: str | None


@dataclass(frozen=True)
class _Picture:
    """A corrected picture.

    Attributes:
        path: its file.
        subject: whose it is.
        size: width and height.
        boxes: category → x1, y1, x2, y2 of the patient's body or face.
        points: category → joint → x, y.
    """

    path: Path
    subject: str
    size: tuple[int, int]
    boxes: Mapping[str, tuple[float, ...]]
    points: Mapping[str, Mapping[int, tuple[float, float]]]


def finetune(options: Finetune, progress: Callable[[int, int], None] | None = None) -> list[Finetuned]:
    """Fit every part in every fold; a file that is there, made in the same way, is left.

    Args:
        options: what on what.
        progress: called with (models that are done, models in all).

    Raises:
        InputError: options, the corrected file, pictures or weights are unusable, or a fold has no picture.
        SubjectLeakError: the weights to start from have seen the subject whom a fold holds out.
        RunError: a loss is not finite.
    """
    cohort = Cache.open(options.cache).cohort().subjects
    if options.fold != "all" and options.fold not in cohort:
        msg = f"--fold {options.fold}: no such subject in the cohort; give all or one of {', '.join(cohort)}"
        raise InputError(msg)
    for name, value in (("epochs", options.epochs), ("batch", options.batch)):
        if value < 1:
            msg = f"--{name} {value}: give 1 or more"
            raise InputError(msg)
    pictures = _read(options)
    folds = list(cohort) if options.fold == "all" else [options.fold]
    given = (("people", options.people, None), ("body", options.body, "person"), ("face", options.face, "face"))
    parts = [_Part(*part) for part in given if part[1].config != NONE]
    starts = {part.name: read_weights(part.model, options.folder) for part in parts}
    for fold in folds:  # before anything is fitted
        for start in starts.values():
            _guard(fold).admit(start.weights.subjects_seen, f"{start.path}")
    made = []
    for part in parts:
        for fold in folds:
            made.append(_fold(options, part, starts[part.name], fold, pictures))
            if progress:
                progress(len(made), len(parts) * len(folds))
    return made


def _guard(fold: str) -> Guard:
    return Guard(fold, frozenset({fold}))


def _read(options: Finetune) -> list[_Picture]:
    """Everything that the corrected file teaches.

    A body's box is the extraction's, as the points do not reach its feet, widened where a point was put outside of it.
    """
    cache = Cache.open(options.cache)
    told, labelled = read_corrected(options.corrected, cache)
    whose = {seizure.name: seizure.subject for seizure in cache.cohort().seizures}
    found = {seizure: marks_of(cache, seizure) for seizure in {picture.seizure for picture in told.values()}}
    try:
        files = {coco.seizure_and_frame(path.name): path for path in sorted(options.images.iterdir())}
    except OSError as error:
        msg = f"--images {options.images}: {error.strerror}; give the folder images/ of the export"
        raise InputError(msg) from None
    faults: list[str] = []
    pictures = []
    for key, picture in sorted(told.items(), key=lambda item: (item[1].seizure, item[1].frame)):
        path = files.get((picture.seizure, picture.frame))
        if path is None:
            faults.append(f"{picture.where}: --images {options.images} has no such picture; give images/ of the export")
            continue
        try:
            with Image.open(path) as image:
                size = image.size
        except OSError:
            faults.append(f"{path}: is no picture, or a damaged one; export anew")
            continue
        points, boxes = {}, {}
        for category in coco.CATEGORIES:
            placed = {at: xy for at, xy in labelled.get((key, category), {}).items() if xy is not None}
            if placed:
                points[category] = placed
                before = points_of(found[picture.seizure].at(picture.frame), category)[2]
                boxes[category] = _box(before, list(placed.values()), size)
        pictures.append(_Picture(path.resolve(), whose[picture.seizure], size, boxes, points))
    if faults:
        raise InputError(*faults)
    return pictures


def _box(before: Any, points: list[tuple[float, float]], size: tuple[int, int]) -> tuple[float, ...]:
    """A box (4,) that has the points in it, within the picture; about them where there was none."""
    if np.isfinite(before).all():
        low, high = np.minimum(before[:2], np.min(points, axis=0)), np.maximum(before[2:], np.max(points, axis=0))
    else:
        low, high = np.split(box_about(points), 2)
    corners = np.concatenate([low.clip(0, np.subtract(size, 1)), high.clip(1, size)])
    return tuple(float(value) for value in corners)


def _fold(options: Finetune, part: _Part, start: Checkpoint, fold: str, corrected: Sequence[_Picture]) -> Finetuned:
    path = options.out / fold / f"{part.name}.safetensors"
    network, found = build(part.model, _changes(part), rgb=False)
    if part.category is None:
        _fill_detector(network, start, part.model, found)
        taught = _boxes
    else:
        scheme = _scheme(part, found)
        category = part.category
        fill(network, start, part.model.name)

        def taught(picture: _Picture) -> list[dict[str, Any]]:
            return _points(picture, category, scheme)

    content = _content([picture for picture in corrected if picture.subject != fold], taught, part)
    if not content["images"]:
        what = "boxes" if part.category is None else f"points of a {part.category} that {part.model.config} has too"
        msg = f"{options.corrected}: no picture of another subject than {fold} has {what}; correct some"
        raise InputError(msg)
    subjects = sorted({image["subject"] for image in content["images"]})
    _guard(fold).admit(subjects, "the corrected frames")
    everyone = tuple(sorted({*subjects, *start.weights.subjects_seen}))
    # Where the pictures lie does not count.
    told = [{**image, "file_name": Path(image["file_name"]).name} for image in content["images"]]
    way = digest(
        json.dumps([told, content["annotations"], options.epochs, options.batch, options.learning_rate, options.seed]),
        start.weights.digest,
        part.model.name,
    )
    count = len(content["images"])
    if path.exists():
        if read_checkpoint(path).meta.get("way") != way:
            msg = f"{path}: was made in another way; give another --out, or delete it"
            raise InputError(msg)
        return Finetuned(path, fold, everyone, count, None)
    loss = _fit(network, found, part, options, content)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    facts: dict[str, Any] = {"way": way, "config": part.model.name, "started_from": start.weights.digest, "fold": fold}
    if part.category is None:
        facts["classes"] = CLASSES
    write_whole(path, save(state, metadata=provenance(everyone, **facts)))
    return Finetuned(path, fold, everyone, count, loss)


def _content(
    pictures: Sequence[_Picture], taught: Callable[[_Picture], list[dict[str, Any]]], part: _Part
) -> dict[str, Any]:
    """A COCO file of the pictures that teach something, in the points or classes of a network."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        made = taught(picture)
        if made:
            number = len(images) + 1
            width, height = picture.size
            image = {"id": number, "file_name": str(picture.path), "width": width, "height": height}
            images.append({**image, "subject": picture.subject})
            annotations += [
                {"id": len(annotations) + place, "image_id": number, **one} for place, one in enumerate(made, start=1)
            ]
    names = CLASSES if part.category is None else (part.category,)
    categories = [{"id": place, "name": name} for place, name in enumerate(names, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _changes(part: _Part) -> dict[str, Any]:
    return {"model.bbox_head.num_classes": len(CLASSES)} if part.category is None else {}


def _scheme(part: _Part, found: Built) -> Correspondence:
    schemes, tables = (BODIES, BODY) if part.category == "person" else (FACES, FACE)
    points = found.meta.get("dataset_name", "unknown")
    if points not in schemes:
        msg = f"{part.model.config}: its points are those of {points}; give a configuration for one of {', '.join(schemes)}"
        raise InputError(msg)
    return tables[schemes[points]]


def _points(picture: _Picture, category: str, scheme: Correspondence) -> list[dict[str, Any]]:
    """The points of a category as a model has them; a joint that is the middle of several of them teaches none."""
    given = picture.points.get(category, {})
    points: list[tuple[float, float, int]] = [(0.0, 0.0, 0)] * scheme.joints
    for joint, sources in enumerate(scheme.sources):
        if len(sources) == 1 and joint in given:
            points[sources[0]] = (*given[joint], 2)
    seen = sum(visible > 0 for *_, visible in points)
    flat = [value for point in points for value in point]
    return (
        [{**_coco_box(picture, category), "category_id": 1, "keypoints": flat, "num_keypoints": seen}] if seen else []
    )


def _boxes(picture: _Picture) -> list[dict[str, Any]]:
    return [
        {**_coco_box(picture, name), "category_id": place}
        for place, name in enumerate(CLASSES, start=1)
        if name in picture.boxes
    ]


def _coco_box(picture: _Picture, category: str) -> dict[str, Any]:
    left, top, right, bottom = picture.boxes[category]
    width, height = right - left, bottom - top
    return {"bbox": [left, top, width, height], "area": width * height, "iscrowd": 0}


def _fill_detector(network: nn.Module, start: Checkpoint, model: Model, found: Built) -> None:
    """The weights of a detector of other classes: a class that it did not know starts as its person."""
    before = class_names(start.meta) or class_names(found.meta) or ("person",)
    if "person" not in before:
        before = ("person", *before[1:])  # the only class of mmpose's detectors of faces goes by other names
    head: Any = network.bbox_head
    background = head.cls_out_channels - len(CLASSES)  # 1 after the classes where they exclude each other, else 0
    rows = [before.index(name if name in before else "person") for name in CLASSES] + [len(before)] * background
    own = network.state_dict()
    state = dict(start.state)
    for name, tensor in start.state.items():
        count = tensor.shape[0] if tensor.ndim else 0
        fits = name in own and own[name].shape != tensor.shape and count % (len(before) + background) == 0
        if fits and name.startswith("bbox_head.") and own[name].shape[1:] == tensor.shape[1:]:
            anchors = tensor.reshape(-1, len(before) + background, *tensor.shape[1:])
            state[name] = anchors[:, rows].reshape(-1, *tensor.shape[1:])
    fill(network, Checkpoint(start.path, state, start.meta, start.weights), model.name)


class _Still(Hook):  # type: ignore[misc]
    """Statistics of batch normalisation stay as they were: a few frames of a few patients would replace them."""

    def before_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        for part in runner.model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()


class _Losses(Hook):  # type: ignore[misc]
    """The losses of each epoch."""

    def __init__(self) -> None:
        self.epochs: dict[int, list[float]] = defaultdict(list)

    def after_train_iter(self, runner: Any, *_: Any, outputs: Any = None, **__: Any) -> None:
        self.epochs[runner.epoch].append(float(outputs["loss"]))


def _fit(network: nn.Module, found: Built, part: _Part, options: Finetune, content: Mapping[str, Any]) -> float:
    """Train in place; the mean loss of the last epoch."""
    losses = _Losses()
    with tempfile.TemporaryDirectory() as name, quiet():
        file = Path(name) / "train.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        dataset = _detection(found, file) if part.category is None else _pose(found, file)
        steps = options.epochs * -(-len(content["images"]) // options.batch)
        runner = Runner(
            model=network.requires_grad_(requires_grad=True),
            work_dir=name,
            default_scope=found.scope,
            experiment_name=f"finetune-{uuid.uuid4().hex}",
            train_cfg={"by_epoch": True, "max_epochs": options.epochs},
            train_dataloader={
                "batch_size": options.batch,
                "num_workers": 0,
                "sampler": {"type": "DefaultSampler", "shuffle": True},
                "dataset": dataset,
            },
            optim_wrapper={
                "optimizer": {"type": "AdamW", "lr": options.learning_rate, "weight_decay": 0.05},
                "clip_grad": {"max_norm": 35, "norm_type": 2},
            },
            param_scheduler={
                "type": "CosineAnnealingLR",
                "T_max": max(1, steps),
                "by_epoch": False,
                "eta_min": options.learning_rate / 100,
            },
            default_hooks={"checkpoint": None, "logger": None},
            custom_hooks=[_Still(), losses],
            randomness={"seed": options.seed},
            log_level="ERROR",
        )
        runner.train()
    network.eval()
    last = losses.epochs[max(losses.epochs)]
    loss = sum(last) / len(last)
    if not math.isfinite(loss):
        msg = f"{part.name}: the loss became {loss}; give a smaller --learning_rate than {options.learning_rate:g}"
        raise RunError(msg)
    return loss


def _pose(found: Built, file: Path) -> dict[str, Any]:
    """A data set of crops, turned and scaled a little."""
    encoder = found.config.codec
    given = found.config.train_dataloader.dataset
    meta = given.get("metainfo") or POSE_DATASETS.get(given.type).METAINFO
    return {
        "type": "CocoDataset",
        "ann_file": str(file),
        "data_prefix": {"img": ""},
        "metainfo": dict(meta),
        "pipeline": [
            {"type": "LoadImage"},
            {"type": "GetBBoxCenterScale"},
            {"type": "RandomFlip", "direction": "horizontal"},
            {"type": "RandomBBoxTransform", "shift_factor": 0.1, "scale_factor": [0.8, 1.2], "rotate_factor": 30},
            {"type": "TopdownAffine", "input_size": encoder["input_size"]},
            {"type": "GenerateTarget", "encoder": encoder},
            {"type": "PackPoseInputs"},
        ],
    }


def _detection(found: Built, file: Path) -> dict[str, Any]:
    """A data set of whole pictures in the size that the detector is used with."""
    sized = [dict(step) for step in found.config.test_dataloader.dataset.pipeline if step["type"] in ("Resize", "Pad")]
    return {
        "type": "CocoDataset",
        "ann_file": str(file),
        "data_prefix": {"img": ""},
        "metainfo": {"classes": CLASSES},
        "pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True},
            *sized,
            {"type": "RandomFlip", "prob": 0.5},
            {"type": "PackDetInputs"},
        ],
    }
