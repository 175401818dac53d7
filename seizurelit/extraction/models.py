"""Which models the backends of torch use, by name or file: what a user chooses, without importing any of them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seizurelit.errors import InputError

ALIASES = {
    "ssdlite": "ssdlite_mobilenetv2-scratch_8xb24-600e_coco",
    "rtmdet": "rtmdet_m_640-8xb32_coco-person",
    "rtmdet-nano": "rtmdet_nano_320-8xb32_coco-person",
    "yolox-face": "yolox-s_8xb8-300e_coco-face",
    "rtmpose": "rtmpose-m_8xb512-700e_body8-halpe26-256x192",
    "rtmpose-coco": "rtmpose-m_8xb256-420e_coco-256x192",
    "lapa": "rtmpose-m_8xb64-120e_lapa-256x256",
    "wflw": "td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256",
    "videopose3d": "video-pose-lift_tcn-243frm-supv-cpn-ft_8xb128-200e_h36m",
    "motionbert": "motionbert_dstformer-ft-243frm_8xb32-120e_h36m",
}
"""Short name → name of a configuration inside the wheels of mmdet and mmpose."""


@dataclass(frozen=True)
class Model:
    """One model of OpenMMLab.

    Attributes:
        config: a short name (ssdlite, rtmdet, rtmpose, lapa, videopose3d, motionbert, …), the name of any configuration
            inside the wheels of mmdet and mmpose, a path of one (which is Python, and runs), or none.
        weights: file of its weights (.pth, .safetensors); by default the published file's name in the folder.
    """

    config: str
    weights: Path | None = None

    @property
    def name(self) -> str:
        """Of the configuration, without its folder."""
        name = ALIASES.get(self.config, self.config)
        return Path(name).stem if name.endswith(".py") else name


@dataclass(frozen=True)
class OpenMMLabModels:
    """What the OpenMMLab backend runs.

    Attributes:
        people: detector of people; ssdlite is the paper's, rtmdet the stronger.
        faces: detector of faces; none where that of people has a class named face, or no face is wanted.
        body: top-down pose model of COCO-17, Halpe-26 or COCO-WholeBody points.
        face: top-down model of LaPa-106, WFLW-98, 300W-68 or COCO-WholeBody's face points; none for no face.
        lift: 2D → 3D over time, videopose3d or motionbert; none for 2D alone.
        folder: where weights lie that are given without a path; $SEIZURELIT_WEIGHTS or ~/.cache/seizurelit/weights if unset.
        batch: crops or frames that go through a network at once.
        least_score: detections below are dropped.
        flip_test: average with the mirrored crop: half the speed for a little accuracy.
        precision: of the convolutional trunks of detectors and pose models; bf16 is faster on GPUs and on CPUs with bfloat16 units,
            and moves points by what bfloat16 rounds.
    """

    people: Model = field(default_factory=lambda: Model("rtmdet"))
    faces: Model = field(default_factory=lambda: Model("yolox-face"))
    body: Model = field(default_factory=lambda: Model("rtmpose"))
    face: Model = field(default_factory=lambda: Model("lapa"))
    lift: Model = field(default_factory=lambda: Model("videopose3d"))
    folder: Path | None = None
    batch: int = 16
    least_score: float = 0.3
    flip_test: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"


def require_openmmlab(what: str, otherwise: str = "") -> None:
    """Before `openmmlab_backend` is imported.

    Args:
        what: wants it, for the message.
        otherwise: what can be done without it, likewise.

    Raises:
        InputError: OpenMMLab is not installed here.
    """
    missing = [name for name in ("mmengine", "mmcv", "mmdet", "mmpose") if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"{what}: {', '.join(missing)} not installed; run make openmm{otherwise}"
        raise InputError(msg)


@dataclass(frozen=True)
class TorchvisionModels:
    """What the torchvision backend runs.

    Attributes:
        weights: file of Keypoint R-CNN's weights, or COCO_V1 to download torchvision's; by default that file in the folder.
        folder: where it lies; $SEIZURELIT_WEIGHTS or ~/.cache/seizurelit/weights if unset.
        short_side: frames are scaled to this many pixels on the shorter side; 800 is what it was trained on.
        batch: frames that go through the network at once.
        least_score: detections below are dropped.
    """

    weights: str | None = None
    folder: Path | None = None
    short_side: int = 800
    batch: int = 4
    least_score: float = 0.3
