"""OpenMMLab: mmdet finds people and faces, mmpose their points and the lift to 3D, many frames at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from seizurelit.config import digest
from seizurelit.errors import InputError
from seizurelit.extraction.backend import Floats, Image, Points, Weights
from seizurelit.extraction.models import Model, OpenMMLabModels
from seizurelit.extraction.openmmlab_lift import LIFTED, Lifter
from seizurelit.extraction.openmmlab_networks import Network, class_names, load, quiet, scope, versions

with quiet():
    from mmcv.transforms import Compose
    from mmdet.utils import get_test_pipeline_cfg

_NONE = "none"
BODIES = {"coco": "coco17", "halpe26": "halpe26", "coco_wholebody": "wholebody133"}
FACES = {"lapa": "lapa106", "wflw": "wflw98", "300w": "ibug68", "coco_wholebody_face": "ibug68"}
"""mmpose's name of a data set → scheme of `cohort.points`."""


class OpenMMLabBackend:
    """A `Backend`.

    Args:
        models: configurations and weights.
        device: of torch, such as cpu or cuda:0.

    Raises:
        InputError: a configuration or its weights are absent, unsafe, of another model, or of
            points that nothing is known of.
    """

    name = "openmmlab"

    def __init__(self, models: OpenMMLabModels | None = None, device: str = "cpu") -> None:
        models = models or OpenMMLabModels()
        self._models = models
        pose = {"model.test_cfg.flip_test": models.flip_test}

        def wanted(model: Model, changes: dict[str, Any] | None = None) -> Network | None:
            return None if model.config == _NONE else load(model, models.folder, device, changes, models.precision)

        self._people = Detector(load(models.people, models.folder, device, precision=models.precision), models)
        faces = wanted(models.faces)
        body = load(models.body, models.folder, device, pose, models.precision)
        self._faces = Detector(faces, models) if faces else self._people if "face" in self._people.classes else None
        self._body = PoseModel(body, models.body, BODIES, models.batch)
        face = wanted(models.face, pose)
        self._face = PoseModel(face, models.face, FACES, models.batch) if face else None
        lifting = None if models.lift.config == _NONE else load(models.lift, models.folder, device, pose)
        self._lifter = Lifter(lifting, models.lift, self._body.scheme) if lifting else None
        networks = (self._people.network, faces, self._body.network, face, lifting)
        self.weights: tuple[Weights, ...] = tuple(network.weights for network in networks if network is not None)
        self.body_points = self._body.scheme
        self.face_points = self._face.scheme if self._face else None
        self.lifted_points = LIFTED if self._lifter else None

    @property
    def digest(self) -> str:
        """Of configurations, options and versions; where the weights lie does not count, their own digests are in `weights`."""
        options = asdict(self._models)
        options.pop("folder")
        for value in options.values():
            if isinstance(value, dict):
                value.pop("weights")
        return digest(json.dumps({**options, **versions()}, sort_keys=True))

    def find_people(self, images: Sequence[Image]) -> list[Floats]:
        """Boxes and scores (N, 5) of the people of each image."""
        return self._people.find(images, "person")

    def find_faces(self, images: Sequence[Image]) -> list[Floats]:
        """The same of the faces; none where no detector knows them."""
        if self._faces is None:
            return [np.zeros((0, 5), np.float32) for _ in images]
        return self._faces.find(images, "face")

    def bodies(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:
        """The points of the body in each box."""
        return self._body.points(images, boxes)

    def faces(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:
        """The landmarks of the face in each box; None everywhere without a face model."""
        return self._face.points(images, boxes) if self._face else [None] * len(images)

    def lift(self, xy: Floats, confidence: Floats, size: tuple[int, int]) -> Floats | None:
        """(T, 17, 3) of Human3.6M from a clip of the body's points; None without a lifter."""
        return self._lifter.lift(xy, confidence, size) if self._lifter else None

    def reset(self) -> None:
        """Forget the last frames."""
        self._people.forget()
        if self._faces is not None:
            self._faces.forget()

    def close(self) -> None:
        """The same; the networks' memory is freed with the object."""
        self.reset()


class Detector:
    """A one-stage detector of mmdet over batches of frames.

    Args:
        network: as loaded.
        models: batch and least score.
    """

    def __init__(self, network: Network, models: OpenMMLabModels) -> None:
        self.network = network
        self.classes = class_names(network.meta) or ("person",)
        self._models = models
        # Boxes below are dropped in any case, and suppress none above: sooner is the same and much faster.
        test = network.module.bbox_head.test_cfg
        test.score_thr = max(test.score_thr, models.least_score)
        self._last: tuple[list[Image], list[Any]] = ([], [])
        with quiet(), scope("mmdet"):
            steps = get_test_pipeline_cfg(network.config)
            # Frames come as arrays, and nobody has annotated them.
            self._pipeline = Compose([step for step in steps[1:] if "Load" not in step["type"]])

    def find(self, images: Sequence[Image], name: str) -> list[Floats]:
        """Boxes and scores (N, 5) of a class, best first; of the only class, whatever its name, where there is one."""
        label = 0 if len(self.classes) == 1 else self.classes.index(name)
        found = []
        for instances in self._detect(list(images)):
            chosen = (instances.labels == label) & (instances.scores >= self._models.least_score)
            found.append(torch.cat([instances.bboxes[chosen], instances.scores[chosen, None]], dim=1).float().numpy())
        return found

    def forget(self) -> None:
        """Let go of the last frames."""
        self._last = ([], [])

    def _detect(self, images: list[Image]) -> list[Any]:
        """All classes; people and faces of the same frames are found at once."""
        known, instances = self._last
        if len(known) != len(images) or any(one is not other for one, other in zip(known, images, strict=True)):
            instances = [found for batch in _batches(images, self._models.batch) for found in self._run(batch)]
            self._last = (images, instances)
        return instances

    @torch.inference_mode()
    def _run(self, images: list[Image]) -> list[Any]:
        module = self.network.module
        samples = [self._pipeline(_frame(image)) for image in images]
        data = module.data_preprocessor(
            {
                "inputs": [sample["inputs"] for sample in samples],
                "data_samples": [sample["data_samples"] for sample in samples],
            }
        )
        outputs = module.bbox_head(module.extract_feat(data["inputs"].contiguous(memory_format=torch.channels_last)))
        metas = [sample.metainfo for sample in data["data_samples"]]
        # On the CPU, so that mmcv need not have been built with CUDA for its suppression of overlaps.
        on_cpu = [[level.float().cpu() for level in levels] for levels in outputs]
        return list(module.bbox_head.predict_by_feat(*on_cpu, batch_img_metas=metas, rescale=True))


class PoseModel:
    """A top-down pose model of mmpose over batches of crops.

    Args:
        network: as loaded.
        model: what it was loaded from, for messages.
        schemes: data set → scheme.
        batch: crops at once.

    Raises:
        InputError: it was made on points that none of the schemes has.
    """

    def __init__(self, network: Network, model: Model, schemes: dict[str, str], batch: int) -> None:
        self.network = network
        points = network.meta.get("dataset_name", "unknown")
        if points not in schemes:
            msg = f"{model.config}: its points are those of {points}; give a configuration for one of {', '.join(schemes)}"
            raise InputError(msg)
        self.scheme = schemes[points]
        self._batch = batch
        self._flip = {"flip_indices": network.meta["flip_indices"]}
        with quiet(), scope("mmpose"):
            steps = network.config.test_dataloader.dataset.pipeline
            self._pipeline = Compose([step for step in steps if "Load" not in step["type"]])

    def points(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:
        """As `Backend.bodies`; the confidence is what the model gives, cut to [0, 1]."""
        found: list[Points | None] = [None] * len(images)
        present = [(index, box) for index, box in enumerate(boxes) if box is not None]
        for batch in _batches(present, self._batch):
            predictions = self._run([images[index] for index, _ in batch], [box for _, box in batch])
            for (index, _), (xy, scores) in zip(batch, predictions, strict=True):
                seen = scores > 0
                found[index] = Points(
                    np.where(seen[:, None], xy, np.nan).astype(np.float32), np.clip(scores, 0, 1).astype(np.float32)
                )
        return found

    @torch.inference_mode()
    def _run(self, images: list[Image], boxes: list[Floats]) -> list[tuple[Floats, Floats]]:
        module = self.network.module
        samples = []
        for image, box in zip(images, boxes, strict=True):
            given = {"bbox": box[None, :4].astype(np.float32), "bbox_score": np.ones(1, np.float32), **self._flip}
            samples.append(self._pipeline({**_frame(image), **given}))
        data = module.data_preprocessor(
            {
                "inputs": [sample["inputs"] for sample in samples],
                "data_samples": [sample["data_samples"] for sample in samples],
            }
        )
        inputs = data["inputs"].contiguous(memory_format=torch.channels_last)
        predicted = [sample.pred_instances for sample in module.predict(inputs, data["data_samples"])]
        return [(instances.keypoints[0, :, :2], instances.keypoint_scores[0]) for instances in predicted]


def _frame(image: Image) -> dict[str, Any]:
    """What the loading step of a pipeline would have given."""
    size = image.shape[:2]
    return {"img": image, "img_shape": size, "ori_shape": size, "img_id": 0, "img_path": ""}


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
