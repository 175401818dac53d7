"""torchvision's Keypoint R-CNN, the paper's own detector: people and the 17 points of COCO, no faces and no 3D."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
import torchvision
from torch import Tensor
from torchvision.models.detection import KeypointRCNN_ResNet50_FPN_Weights, keypointrcnn_resnet50_fpn
from torchvision.models.detection.roi_heads import keypointrcnn_inference

from seizurelit.config import digest
from seizurelit.errors import InputError
from seizurelit.extraction.backend import Floats, Image, Points, Weights
from seizurelit.extraction.models import TorchvisionModels
from seizurelit.extraction.weights import fill, find_weights, read_checkpoint, weights_folder

_PERSON = 1
_SURE = 2.0
"""Heat-map peak (a logit) at which a point is as likely seen as not; below it Detectron draws none."""


class TorchvisionBackend:
    """A `Backend`; the boxes of tracking may be given to `bodies`, which then runs no box head.

    Args:
        models: which weights, how large.
        device: of torch, such as cpu or cuda:0.

    Raises:
        InputError: the weights are absent, unsafe or another model's.
    """

    name = "torchvision"
    body_points = "coco17"
    lifted_points: str | None = None
    face_points: str | None = None

    def __init__(self, models: TorchvisionModels | None = None, device: str = "cpu") -> None:
        self._models = models or TorchvisionModels()
        checkpoint = read_checkpoint(_weights_file(self._models))
        network = keypointrcnn_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            min_size=self._models.short_side,
            max_size=self._models.short_side * 5 // 3,
            box_score_thresh=self._models.least_score,
        )
        fill(network, checkpoint, "keypointrcnn_resnet50_fpn")
        self.weights: tuple[Weights, ...] = (checkpoint.weights,)
        self._device = torch.device(device)
        self._network: Any = network.eval().to(self._device)

    @property
    def digest(self) -> str:
        """Of options and versions; where the weights lie does not count, their own digest is in `weights`."""
        options = {key: value for key, value in asdict(self._models).items() if key not in ("weights", "folder")}
        return digest(json.dumps({**options, "torchvision": torchvision.__version__}, sort_keys=True))

    def find_people(self, images: Sequence[Image]) -> list[Floats]:
        """Boxes and scores (N, 5) of each image, of one size or of many."""
        found: list[Floats] = []
        network = self._network
        with torch.inference_mode():
            for start in range(0, len(images), self._models.batch):
                batch = self._tensors(images[start : start + self._models.batch])
                inputs, features = self._features(batch)
                proposals, _ = network.rpn(inputs, features)
                heads = network.roi_heads
                pooled = heads.box_head(heads.box_roi_pool(features, proposals, inputs.image_sizes))
                scores, shifts = heads.box_predictor(pooled)
                boxes, kept, labels = heads.postprocess_detections(scores, shifts, proposals, inputs.image_sizes)
                for image, size, box, score, label in zip(batch, inputs.image_sizes, boxes, kept, labels, strict=True):
                    people = label == _PERSON
                    scaled = box[people] / _factors(size, image)
                    found.append(torch.cat([scaled, score[people, None]], dim=1).cpu().numpy())
        return found

    def find_faces(self, images: Sequence[Image]) -> list[Floats]:
        """No box: this model knows no faces."""
        return [np.zeros((0, 5), np.float32) for _ in images]

    def bodies(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:
        """The 17 points in the given boxes; their confidence is the logistic of the heat map's peak above Detectron's threshold."""
        bodies: list[Points | None] = [None] * len(images)
        present = [index for index, box in enumerate(boxes) if box is not None]
        heads = self._network.roi_heads
        with torch.inference_mode():
            for start in range(0, len(present), self._models.batch):
                chosen = present[start : start + self._models.batch]
                batch = self._tensors([images[index] for index in chosen])
                inputs, features = self._features(batch)
                factors = [_factors(size, image) for size, image in zip(inputs.image_sizes, batch, strict=True)]
                scaled = [
                    torch.as_tensor(boxes[index], dtype=torch.float32, device=self._device)[None, :4] * factor
                    for index, factor in zip(chosen, factors, strict=True)
                ]
                pooled = heads.keypoint_roi_pool(features, scaled, inputs.image_sizes)
                maps = heads.keypoint_predictor(heads.keypoint_head(pooled))
                points, peaks = keypointrcnn_inference(maps, scaled)
                for index, factor, xy, peak in zip(chosen, factors, points, peaks, strict=True):
                    bodies[index] = Points(
                        (xy[0, :, :2] / factor[:2]).cpu().numpy(), torch.sigmoid(peak[0] - _SURE).cpu().numpy()
                    )
        return bodies

    def faces(self, images: Sequence[Image], boxes: Sequence[Floats | None]) -> list[Points | None]:  # noqa: ARG002
        """None: this model knows no faces."""
        return [None] * len(images)

    def lift(self, xy: Floats, confidence: Floats, size: tuple[int, int]) -> Floats | None:  # noqa: ARG002
        """None: there is no lifter."""
        return None

    def reset(self) -> None:
        """Nothing: no frame is remembered."""

    def close(self) -> None:
        """Nothing: memory is freed with the object."""

    def _tensors(self, images: Sequence[Image]) -> list[Tensor]:
        return [
            torch.from_numpy(np.ascontiguousarray(image)).to(self._device).permute(2, 0, 1).float() / 255
            for image in images
        ]

    def _features(self, images: list[Tensor]) -> tuple[Any, Any]:
        inputs, _ = self._network.transform(images)
        return inputs, self._network.backbone(inputs.tensors)


def _factors(size: tuple[int, int], image: Tensor) -> Tensor:
    """(4,) from pixels of the image (C, H, W) to those of the network's input of size (H, W)."""
    height, width = size[0] / image.shape[1], size[1] / image.shape[2]
    return torch.tensor([width, height, width, height], device=image.device)


def _weights_file(models: TorchvisionModels) -> Path:
    """The file, downloaded where torchvision's name for it was given."""
    names = KeypointRCNN_ResNet50_FPN_Weights.__members__
    url = names["COCO_V1"].url
    if models.weights is not None and models.weights in names:
        url = names[models.weights].url
        return _download(url, models.folder or weights_folder())
    path = None if models.weights is None else Path(models.weights)
    source = f"{url} (or give --torchvision.weights COCO_V1, which downloads it)"
    return find_weights("keypointrcnn_resnet50_fpn", path, models.folder, _basename(url), source)


def _download(url: str, folder: Path) -> Path:
    """A file of torchvision's, whose name ends with the first digits of its SHA-256."""
    path = folder / _basename(url)
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        msg = f"{url}: cannot be downloaded ({reason}); fetch it where there is internet and put it at {path}"
        raise InputError(msg) from None
    return path


def _basename(url: str) -> str:
    return Path(urlsplit(url).path).name
