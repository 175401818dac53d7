"""Fine-tune detector and pose models on corrected frames with mmengine's runner, per fold without the subject it holds out."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.leak import Guard
from seizurelit.cohort.points import BODY, FACE, Correspondence
from seizurelit.config import digest
from seizurelit.correction import coco
from seizurelit.errors import InputError
from seizurelit.extraction.models import Model
from seizurelit.extraction.openmmlab_backend import BODIES, FACES
from seizurelit.extraction.openmmlab_networks import Built, build, class_names, quiet, read_weights
from seizurelit.extraction.weights import Checkpoint, fill, provenance, read_checkpoint

with quiet():
    from mmengine.hooks import Hook
    from mmengine.runner import Runner
    from mmpose.registry import DATASETS as POSE_DATASETS

CLASSES = ("person", "face")
_NONE = "none"


@dataclass(frozen=True)
class Finetune:
    """Detector and pose models fine-tuned on corrected frames, per fold without the subject that it holds out.

    Attributes:
        cache: folder of the cache that was exported: says whose the seizures are.
        corrected: COCO keypoints file of the tool.
        images: folder of the pictures: images/ of the export.
        out: folder for SUBJECT/people.safetensors, body.safetensors, face.safetensors; SUBJECT is the one not seen.
        fold: a subject, or all for every subject of the cohort.
        people: detector to start from; becomes one of people and faces. none leaves it out.
        body: pose model to start from; none leaves it out.
        face: model of landmarks to start from; none leaves it out.
        folder: where weights lie that are given without a path.
        epochs: over the corrected frames.
        batch: pictures a step.
        learning_rate: of AdamW, falling to a hundredth on a cosine.
        seed: of order and augmentation.
        device: of torch.
    """

    cache: Path
    corrected: Path
    images: Path
    out: Path
    fold: str = "all"
    people: Model = field(default_factory=lambda: Model("ssdlite"))
    body: Model = field(default_factory=lambda: Model("rtmpose"))
    face: Model = field(default_factory=lambda: Model(_NONE))
    folder: Path | None = None
    epochs: int = 20
    batch: int = 8
    learning_rate: float = 1e-4
    seed: int = 0
    device: str = "cpu"


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
    """What one network is fitted to: COCO annotations in its own points or classes."""

    name: str
    model: Model
    category: str | None


def finetune(options: Finetune, progress: Callable[[Finetuned], None] | None = None) -> list[Finetuned]:
    """Fit every part in every fold; a file that is there, made in the same way, is left.

    Raises:
        InputError: options, the corrected file, pictures or weights are unusable, or a fold has no picture.
        SubjectLeakError: the weights to start from have seen the subject whom a fold holds out.
    """
    content, subjects = _read(options)
    cohort = sorted({seizure.subject for seizure in Cache.open(options.cache).cohort().seizures})
    if options.fold != "all" and options.fold not in cohort:
        msg = f"--fold {options.fold}: no such subject in the cohort; give all or one of {', '.join(cohort)}"
        raise InputError(msg)
    parts = [
        _Part("people", options.people, None),
        _Part("body", options.body, "person"),
        _Part("face", options.face, "face"),
    ]
    made = []
    for part in (part for part in parts if part.model.config != _NONE):
        start = read_weights(part.model, options.folder)
        for fold in cohort if options.fold == "all" else [options.fold]:
            done = _fold(options, part, start, fold, content=content, subjects=subjects)
            made.append(done)
            if progress:
                progress(done)
    return made


def _read(options: Finetune) -> tuple[dict[str, Any], dict[Any, str]]:
    """The corrected file with paths to its pictures, and whose each picture is."""
    try:
        content = json.loads(options.corrected.read_text(encoding="utf-8-sig"))
        images, annotations = content["images"], content["annotations"]
        categories = {category["id"]: category for category in content["categories"]}
        for annotation in annotations:
            annotation["category"] = categories[annotation["category_id"]]["name"]
            annotation["joints"] = categories[annotation["category_id"]].get("keypoints", [])
    except OSError as error:
        msg = f"--corrected {options.corrected}: cannot be read ({error.strerror}); give the COCO keypoints file of the tool"
        raise InputError(msg) from None
    except (ValueError, KeyError, TypeError):
        msg = f"--corrected {options.corrected}: is no COCO keypoints file; export as COCO keypoints"
        raise InputError(msg) from None
    whose = {seizure.name: seizure.subject for seizure in Cache.open(options.cache).cohort().seizures}
    faults, subjects = [], {}
    for image in images:
        told = coco.seizure_and_frame(str(image.get("file_name", "")))
        path = options.images / Path(str(image.get("file_name", "")).replace("\\", "/")).name
        if told is None or told[0] not in whose:
            faults.append(f"{options.corrected}, {path.name!r}: is no picture of a seizure of {options.cache}")
        elif not path.is_file():
            faults.append(f"{path}: no such picture; give the images/ of the export as --images")
        else:
            subjects[image["id"]] = whose[told[0]]
            image["file_name"] = str(path.resolve())
    if faults:
        raise InputError(*faults)
    return content, subjects


def _fold(
    options: Finetune,
    part: _Part,
    start: Checkpoint,
    fold: str,
    *,
    content: Mapping[str, Any],
    subjects: Mapping[Any, str],
) -> Finetuned:
    path = options.out / fold / f"{part.name}.safetensors"
    guard = Guard(fold, frozenset({fold}))
    guard.admit(start.weights.subjects_seen, f"{start.path}")
    images = [image for image in content["images"] if subjects[image["id"]] != fold]
    seen = sorted({subjects[image["id"]] for image in images})
    guard.admit(seen, "the corrected frames")
    network, found = build(part.model, _changes(part), rgb=False)
    if part.category is None:
        annotations = _boxes(content["annotations"])
        _fill_detector(network, start, part.model, found)
    else:
        scheme = _scheme(part, found)
        annotations = _points(content["annotations"], part.category, scheme)
        fill(network, start, part.model.name)
    kept = {image["id"] for image in images}
    annotations = [annotation for annotation in annotations if annotation["image_id"] in kept]
    pictures = [image for image in images if image["id"] in {annotation["image_id"] for annotation in annotations}]
    everyone = tuple(sorted({*seen, *start.weights.subjects_seen}))
    if not annotations:
        msg = f"{options.corrected}: no picture of another subject than {fold} has a {part.category or 'box'}; correct some"
        raise InputError(msg)
    way = digest(
        json.dumps([pictures, annotations, options.epochs, options.batch, options.learning_rate, options.seed]),
        start.weights.digest,
        part.model.name,
    )
    if path.exists():
        if read_checkpoint(path).meta.get("way") != way:
            msg = f"{path}: was made in another way; give another --out, or delete it"
            raise InputError(msg)
        return Finetuned(path, fold, everyone, len(pictures), None)
    loss = _fit(network, found, part, options, pictures=pictures, annotations=annotations)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    facts: dict[str, Any] = {"way": way, "config": part.model.name, "started_from": start.weights.digest, "fold": fold}
    if part.category is None:
        facts["classes"] = CLASSES
    write_whole(path, save(state, metadata=provenance(everyone, **facts)))
    return Finetuned(path, fold, everyone, len(pictures), loss)


def _changes(part: _Part) -> dict[str, Any]:
    return {"model.bbox_head.num_classes": len(CLASSES)} if part.category is None else {}


def _scheme(part: _Part, found: Built) -> Correspondence:
    schemes, tables = (BODIES, BODY) if part.category == "person" else (FACES, FACE)
    points = found.meta.get("dataset_name", "unknown")
    if points not in schemes:
        msg = f"{part.model.config}: its points are those of {points}; give a configuration for one of {', '.join(schemes)}"
        raise InputError(msg)
    return tables[schemes[points]]


def _points(annotations: Iterable[Mapping[str, Any]], category: str, scheme: Correspondence) -> list[dict[str, Any]]:
    """Annotations of a category in the points of a model; a joint that is the middle of several of them teaches none."""
    joints = coco.CATEGORIES[category][1].joints
    places = {joint: sources[0] for joint, sources in zip(joints, scheme.sources, strict=True) if len(sources) == 1}
    made = []
    for annotation in annotations:
        if annotation["category"] != category:
            continue
        given = dict(zip(annotation["joints"], _triples(annotation["keypoints"]), strict=True))
        points = [[0.0, 0.0, 0]] * scheme.joints
        for joint, place in places.items():
            if given.get(joint, (0, 0, 0))[2] > 0:
                x, y, _ = given[joint]
                points[place] = [x, y, 2]
        seen = sum(point[2] > 0 for point in points)
        if seen:
            flat = [value for point in points for value in point]
            made.append({**_bare(annotation), "category_id": 1, "keypoints": flat, "num_keypoints": seen})
    return made


def _boxes(annotations: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**_bare(annotation), "category_id": CLASSES.index(annotation["category"]) + 1}
        for annotation in annotations
        if annotation["category"] in CLASSES
    ]


def _bare(annotation: Mapping[str, Any]) -> dict[str, Any]:
    _, _, width, height = annotation["bbox"]
    kept = {key: annotation[key] for key in ("id", "image_id", "bbox")}
    return {**kept, "area": width * height, "iscrowd": 0}


def _triples(flat: Sequence[float]) -> list[tuple[float, float, float]]:
    return [(flat[place], flat[place + 1], flat[place + 2]) for place in range(0, len(flat), 3)]


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


def _fit(
    network: nn.Module,
    found: Built,
    part: _Part,
    options: Finetune,
    *,
    pictures: list[Any],
    annotations: list[Any],
) -> float:
    """Train in place; the mean loss of the last epoch."""
    losses = _Losses()
    with tempfile.TemporaryDirectory() as name, quiet():
        file = Path(name) / "train.json"
        classes = [{"id": place, "name": of} for place, of in enumerate(CLASSES, start=1)]
        categories = classes if part.category is None else [{"id": 1, "name": part.category}]
        file.write_text(json.dumps({"images": pictures, "annotations": annotations, "categories": categories}))
        dataset = _detection(found, file) if part.category is None else _pose(found, file)
        steps = options.epochs * -(-len(annotations if part.category else pictures) // options.batch)
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
    return sum(last) / len(last)


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
