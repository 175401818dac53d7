"""`python -m bench.openmm`: our OpenMMLab backend against mmpose's own inferencer on the same models, random weights, by turns.

The inferencer is in fp32 throughout; rows with bf16 are ours with `precision bf16`. It takes a list of frames, as a user
gives it a video. Both run with the same test-time flip, on one device; boxes are the whole frame, as random detectors find none to
agree on; the detector's row is mmdet's own loop over frames.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmdet.apis import inference_detector, init_detector
from mmpose.apis import MMPoseInferencer
from rich.console import Console
from rich.table import Table

from bench.__main__ import ROUNDS, turns
from seizurelit.extraction.models import Model, OpenMMLabModels
from seizurelit.extraction.openmmlab_backend import BODIES, FACES, Detector, PoseModel
from seizurelit.extraction.openmmlab_networks import config_path, load, quiet, scope
from seizurelit.extraction.smoke import frames, random_weights

POSES = ("rtmpose-coco", "lapa")
DETECTORS = ("ssdlite", "rtmdet-nano")


def pose_row(model: Model, flip: bool, images: list[np.ndarray], device: str, precision: str) -> dict[str, float]:
    """Points of the whole frame: ours, then the inferencer's."""
    changes = {"model.test_cfg.flip_test": flip}
    pose = PoseModel(load(model, None, device, changes, precision), model, {**BODIES, **FACES}, OpenMMLabModels().batch)
    height, width = images[0].shape[:2]
    boxes = [np.array([0, 0, width, height], np.float32)] * len(images)
    with quiet():
        inferencer = MMPoseInferencer(
            pose2d=str(config_path(model.config)), pose2d_weights=str(model.weights), det_model="whole_image",
            device=device, show_progress=False,
        )  # fmt: skip
    inferencer.inferencer.model.test_cfg["flip_test"] = flip
    reversed_channels = [np.ascontiguousarray(image[..., ::-1]) for image in images]

    def theirs() -> list[object]:
        return list(inferencer(reversed_channels, return_vis=False))

    return turns(lambda: pose.points(images, boxes), theirs)


def detector_row(model: Model, images: list[np.ndarray], device: str, precision: str) -> dict[str, float]:
    """Boxes of every frame: ours, then mmdet's."""
    detector = Detector(load(model, None, device, precision=precision), OpenMMLabModels())
    with quiet():
        original = init_detector(str(config_path(model.config)), str(model.weights), device=device)
    if not hasattr(original.bbox_head, "loss_cls"):
        original.bbox_head.loss_cls = None
    reversed_channels = [np.ascontiguousarray(image[..., ::-1]) for image in images]

    def mine() -> object:
        detector.forget()
        return detector.find(images, "person")

    def theirs() -> object:
        with scope("mmdet"):
            return inference_detector(original, reversed_channels)

    return turns(mine, theirs)


def main() -> None:
    """Measure, print, write bench_openmm.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, help="a video to take frames from; made-up frames if not given")
    parser.add_argument("--frames", type=int, default=16, help="a turn")
    parser.add_argument("--device", default="cpu", help="of torch")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = frames(arguments.video, arguments.frames)
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        works: dict[str, Callable[[], dict[str, float]]] = {}
        for precision, suffix in (("fp32", ""), ("bf16", ", bf16")):
            for name in POSES:
                for flip in (False, True):
                    works[f"{name}{', flip test' if flip else ''}{suffix}"] = (
                        lambda name=name, flip=flip, precision=precision: pose_row(
                            random_weights(Model(name), Path(folder)), flip, images, arguments.device, precision
                        )
                    )
            for name in DETECTORS:
                works[f"{name}{suffix}"] = lambda name=name, precision=precision: detector_row(
                    random_weights(Model(name), Path(folder)), images, arguments.device, precision
                )
        for name, work in works.items():
            rows[name] = work()
    table = Table(
        title=f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads, {ROUNDS} turns"
    )
    for heading in ("model", "ours, frames/s", "theirs, frames/s", "times as fast", "range"):
        table.add_column(heading)
    for name, row in rows.items():
        mine, theirs = (1e3 * len(images) / row[key] for key in ("a_ms", "b_ms"))
        table.add_row(
            name, f"{mine:.1f}", f"{theirs:.1f}", f"{row['ratio']:.2f}", f"{row['lowest']:.2f}–{row['highest']:.2f}"
        )
    Console().print(table)
    Path("bench_openmm.json").write_text(
        json.dumps({"torch": torch.__version__, "rows": rows}, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
