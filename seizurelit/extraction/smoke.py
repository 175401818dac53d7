"""`python -m seizurelit.extraction.smoke`: every kind of model once, with random weights saved and loaded."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.detection import keypointrcnn_resnet50_fpn

from seizurelit.extraction.backend import Backend, Floats, Image
from seizurelit.extraction.models import Model, OpenMMLabModels, TorchvisionModels
from seizurelit.extraction.openmmlab_backend import OpenMMLabBackend
from seizurelit.extraction.openmmlab_networks import build, quiet, versions
from seizurelit.extraction.torchvision_backend import TorchvisionBackend
from seizurelit.video.reading import open_video

NONE = Model("none")
SETS: tuple[OpenMMLabModels, ...] = (
    OpenMMLabModels(Model("ssdlite"), Model("yolox-face"), Model("rtmpose"), Model("lapa"), Model("videopose3d")),
    OpenMMLabModels(Model("rtmdet-nano"), NONE, Model("rtmpose-coco"), Model("wflw"), Model("motionbert")),
)
"""Between them every short name but rtmdet, which is rtmdet-nano with more channels."""


@dataclass(frozen=True)
class Row:
    """What one model did.

    Attributes:
        model: its short name.
        gave: shape of what it gave.
        milliseconds: a frame.
    """

    model: str
    gave: str
    milliseconds: float


def random_weights(model: Model, folder: Path) -> Model:
    """The same model with random weights in a file of a folder, as spread as trained ones: detections have scores."""
    if model == NONE:
        return model
    path = folder / f"{model.name}.pth"
    if not path.exists():
        network, _ = build(model)
        with quiet():
            network.init_weights()  # type: ignore[operator]
        _spread(network)
        torch.save({"state_dict": network.state_dict()}, path)
    return Model(model.config, path)


def _spread(network: nn.Module) -> None:
    """Normalisations that do something, and a detector's head that tells one place from another."""
    for part in network.modules():
        if isinstance(part, _BatchNorm) and part.running_var is not None:
            assert part.running_mean is not None
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(part.bias, std=0.1)
            nn.init.uniform_(part.running_var, 0.8, 1.2)
            nn.init.normal_(part.running_mean, std=0.1)
    head = getattr(network, "bbox_head", None)
    for part in head.modules() if isinstance(head, nn.Module) else ():
        if isinstance(part, nn.Conv2d) and part.bias is not None:
            nn.init.normal_(part.weight, std=0.05)
            nn.init.normal_(part.bias, mean=1, std=0.5)  # RTMDet's distances to the sides of a box are not below 0


def with_random_weights(models: OpenMMLabModels, folder: Path) -> OpenMMLabModels:
    """All of a backend's models with random weights; detections of any score count, as theirs have none."""
    return OpenMMLabModels(
        people=random_weights(models.people, folder),
        faces=random_weights(models.faces, folder),
        body=random_weights(models.body, folder),
        face=random_weights(models.face, folder),
        lift=random_weights(models.lift, folder),
        least_score=0.0,
    )


def run(models: OpenMMLabModels, images: Sequence[Image], device: str) -> list[Row]:
    """Everything that a backend can do with the frames of one video."""
    return _rows(OpenMMLabBackend(models, device), images, models)


def _rows(backend: Backend, images: Sequence[Image], models: OpenMMLabModels) -> list[Row]:
    height, width = images[0].shape[:2]
    box = np.array([width * 0.2, height * 0.1, width * 0.8, height * 0.95], np.float32)
    boxes: list[Floats | None] = [box] * len(images)
    rows: list[Row] = []

    def timed(model: Model, work: Callable[[], Any], shape: Callable[[Any], object]) -> Any:
        start = time.perf_counter()
        gave = work()
        rows.append(Row(model.config, str(shape(gave)), (time.perf_counter() - start) / len(images) * 1e3))
        return gave

    timed(models.people, lambda: backend.find_people(images), lambda found: found[0].shape)
    if models.faces != NONE:
        timed(models.faces, lambda: backend.find_faces(images), lambda found: found[0].shape)
    bodies = timed(models.body, lambda: backend.bodies(images, boxes), lambda found: found[0].xy.shape)
    timed(models.face, lambda: backend.faces(images, boxes), lambda found: found[0].xy.shape)
    xy = np.stack([body.xy for body in bodies])
    # Random scores may be 0, and a point of no confidence is not lifted.
    confidence = np.full(xy.shape[:2], 0.5, np.float32)
    timed(models.lift, lambda: backend.lift(np.nan_to_num(xy), confidence, (width, height)), np.shape)
    return rows


def torchvision_row(folder: Path, images: Sequence[Image], device: str) -> Row:
    """Keypoint R-CNN, detection and points together."""
    path = folder / "keypointrcnn.pth"
    torch.save(keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict(), path)
    backend = TorchvisionBackend(TorchvisionModels(str(path), short_side=240), device)
    few = images[:2]
    height, width = few[0].shape[:2]
    start = time.perf_counter()
    backend.find_people(few)
    bodies = backend.bodies(few, [np.array([0, 0, width, height], np.float32)] * len(few))
    seconds = time.perf_counter() - start
    assert bodies[0] is not None
    return Row("keypointrcnn", str(bodies[0].xy.shape), seconds / len(few) * 1e3)


def frames(video: Path | None, count: int) -> list[Image]:
    """The first frames of a video, or made-up ones."""
    if video is None:
        random = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
        return [np.roll(random, 4 * index, axis=1) for index in range(count)]
    with open_video(video).clip() as clip:
        return [frame.image for _, frame in zip(range(count), clip, strict=False)]


def main() -> None:
    """Run them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, help="a video to take frames from; made-up frames if not given")
    parser.add_argument("--frames", type=int, default=8, help="how many")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu", help="of torch")
    arguments = parser.parse_args()
    images = frames(arguments.video, arguments.frames)
    table = Table(title=f"random weights, {len(images)} frames, {arguments.device}", caption=str(versions()))
    for heading in ("model", "gives", "ms a frame"):
        table.add_column(heading)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [row for models in SETS for row in run(with_random_weights(models, folder), images, arguments.device)]
        rows.append(torchvision_row(folder, images, arguments.device))
    for row in rows:
        table.add_row(row.model, row.gave, f"{row.milliseconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
