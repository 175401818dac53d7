"""OpenMMLab's networks from the configurations inside its wheels and a file of weights, which mmengine itself never opens."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
import yaml
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import fuse_conv_bn_eval

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mmcv
    import mmdet
    import mmengine
    import mmpose
    from mmcv.cnn import ConvModule
    from mmdet.registry import DATASETS as DETECTION_DATASETS
    from mmdet.registry import MODELS as DETECTORS
    from mmdet.utils import register_all_modules as register_mmdet
    from mmengine.config import Config
    from mmengine.model.utils import revert_sync_batchnorm
    from mmengine.registry import DefaultScope
    from mmpose.apis.inference import dataset_meta_from_config
    from mmpose.registry import MODELS as POSE_MODELS
    from mmpose.utils import register_all_modules as register_mmpose

    register_mmdet(init_default_scope=False)
    register_mmpose(init_default_scope=False)

from seizurelit.errors import InputError
from seizurelit.extraction.backend import Weights
from seizurelit.extraction.models import ALIASES, Model
from seizurelit.extraction.weights import Checkpoint, fill, find_weights, read_checkpoint

# In each forward pass of CSPNeXt, of RTMPose's and RTMDet's backbone.
warnings.filterwarnings("ignore", r"torch\.meshgrid", UserWarning)
warnings.filterwarnings("ignore", r".*torch\.cuda\.amp\.autocast", FutureWarning)

_PACKAGES = ("mmpose", "mmdet")
_UNLISTED = {
    "rtmdet_m_640-8xb32_coco-person": "mmpose/v1/projects/rtmposev1/rtmdet_m_8xb32-100e_coco-obj365-person-235e8209.pth",
    "rtmdet_nano_320-8xb32_coco-person": "mmpose/v1/projects/rtmposev1/rtmdet_nano_8xb32-100e_coco-obj365-person-05d8511e.pth",
    "yolox-s_8xb8-300e_coco-face": "mmpose/mmdet_pretrained/yolo-x_8xb8-300e_coco-face_13274d7c.pth",
}
"""Published weights of mmpose's demo detectors, which no model index names (mmpose/apis/inferencers, demo/docs)."""
_SITE = "https://download.openmmlab.com/"


@dataclass(frozen=True)
class Network:
    """A network ready for inference.

    Attributes:
        module: a detector, pose estimator or lifter, on its device, in eval mode; takes RGB images where mmengine gave BGR.
        config: mmengine's, as it was built.
        scope: registry of its transforms, mmdet or mmpose.
        meta: the dataset's: class names or points.
        weights: what it was filled with.
    """

    module: Any
    config: Any
    scope: str
    meta: dict[str, Any]
    weights: Weights


def versions() -> dict[str, str]:
    """Of what decides the numbers."""
    return {package.__name__: package.__version__ for package in (torch, mmcv, mmdet, mmengine, mmpose)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what OpenMMLab warns and prints while it is imported and built off the user's terminal."""
    level = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)


@contextlib.contextmanager
def scope(name: str) -> Iterator[None]:
    """Build things of this registry; the scope that was set before is set again."""
    with DefaultScope.overwrite_default_scope(name):
        yield


class _Bfloat16(nn.Module):
    """A trunk whose convolutions are in bfloat16; what it gives is float32 again."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The trunk's feature maps, as float32."""
        with torch.autocast(x.device.type, torch.bfloat16):
            maps = self.trunk(x)
        return tuple(part.float() for part in maps)


def load(
    model: Model, folder: Path | None, device: str, changes: dict[str, Any] | None = None, precision: str = "fp32"
) -> Network:
    """Build a network and fill it.

    Args:
        model: configuration and weights.
        folder: where weights lie that have no path.
        device: of torch.
        changes: of the configuration, by dotted name.
        precision: fp32, or bf16 for the trunk.

    Raises:
        InputError: no such configuration; weights absent, unsafe or of another model.
    """
    network, found = build(model, changes)
    checkpoint = read_weights(model, folder)
    classes = class_names(checkpoint.meta)
    if found.scope == "mmdet" and classes is not None and len(classes) != found.config.model.bbox_head.num_classes:
        network, found = build(model, {**(changes or {}), "model.bbox_head.num_classes": len(classes)})
    fill(network, checkpoint, model.name)
    meta = {**found.meta, "classes": classes} if classes is not None else found.meta
    network = _inference(network).to(device)
    if precision == "bf16":
        network.backbone = _Bfloat16(network.backbone)
    return Network(network, found.config, found.scope, meta, checkpoint.weights)


@dataclass(frozen=True)
class Built:
    """What a configuration says beside the network; as in `Network`."""

    config: Any
    scope: str
    meta: dict[str, Any]


def build(model: Model, changes: dict[str, Any] | None = None, *, rgb: bool = True) -> tuple[nn.Module, Built]:
    """A network with random weights from a configuration; arguments and errors as of `load`.

    Args:
        model: only its configuration is used.
        changes: as of `load`.
        rgb: whether it will be given RGB images; False for BGR, as mmengine's own loading gives them.
    """
    path = config_path(model.config)
    with quiet():
        config = Config.fromfile(str(path))
        config.merge_from_dict(changes or {})
        name = config.get("default_scope", "mmpose")
        _without_downloads(config.model)
        # Frames are RGB here; mmengine's are BGR, and a configuration says whether to swap.
        preprocessor = config.model.get("data_preprocessor")
        if rgb and preprocessor is not None and "mean" in preprocessor:
            preprocessor.bgr_to_rgb = not (
                preprocessor.get("bgr_to_rgb", False) or preprocessor.pop("rgb_to_bgr", False)
            )
        with scope(name):
            if name == "mmdet":
                dataset = config.test_dataloader.dataset
                meta = dict(dataset.get("metainfo") or DETECTION_DATASETS.get(dataset.type).METAINFO)
                network = DETECTORS.build(config.model)
            else:
                meta = dataset_meta_from_config(config) or {}
                network = POSE_MODELS.build(config.model)
    network = revert_sync_batchnorm(network)
    if name == "mmdet" and not hasattr(network.bbox_head, "loss_cls"):
        network.bbox_head.loss_cls = None  # SSDHead has none but is asked for it (mmdetection#11780)
    return network, Built(config, name, meta)


def read_weights(model: Model, folder: Path | None) -> Checkpoint:
    """The weights of a model; errors as of `load`."""
    url = published(config_path(model.config))
    file = Path(urlsplit(url).path).name if url else f"{model.name}.pth"
    return read_checkpoint(
        find_weights(model.name, model.weights, folder, file, url or "a checkpoint that was trained with it")
    )


def config_path(name: str) -> Path:
    """The file of a configuration.

    Args:
        name: a short name, a name as in the wheels, or a path.

    Raises:
        InputError: there is none.
    """
    given = Path(name)
    if given.suffix == ".py" or given.parent != Path():
        if given.is_file():
            return given
        msg = f"{name}: no such file; give a configuration of mmengine, or the name of one inside mmdet or mmpose"
        raise InputError(msg)
    found = _configs().get(ALIASES.get(name, name))
    if found is None:
        near = sorted(other for other in _configs() if name.lower() in other.lower())[:3]
        hint = f", such as {', '.join(near)}" if near else ""
        msg = (
            f"{name}: no configuration of this name in mmdet or mmpose{hint}; give one of {', '.join(ALIASES)}, a name from "
            "their model zoos, or a path"
        )
        raise InputError(msg)
    return found


def published(path: Path) -> str | None:
    """Where a configuration's weights were published; None if its package does not say."""
    if path.stem in _UNLISTED:
        return _SITE + _UNLISTED[path.stem]
    for package in _PACKAGES:
        root = _mim(package)
        if not path.is_relative_to(root):
            continue
        for index in [*path.parent.glob("*.yml")]:
            for entry in yaml.safe_load(index.read_text(encoding="utf-8")).get("Models", []):
                if Path(entry["Config"]).name == path.name and entry.get("Weights"):
                    return str(entry["Weights"])
    return None


@cache
def _configs() -> dict[str, Path]:
    """Name → file; where mmpose's demo has one of mmdet's names, mmdet's counts."""
    folders = [_mim("mmpose") / "demo" / "mmdetection_cfg", *(_mim(package) / "configs" for package in _PACKAGES)]
    return {
        path.stem: path for folder in folders for path in sorted(folder.rglob("*.py")) if "_base_" not in path.parts
    }


@cache
def _mim(package: str) -> Path:
    specification = importlib.util.find_spec(package)
    assert specification is not None
    assert specification.origin is not None
    return Path(specification.origin).parent / ".mim"


def _without_downloads(part: Any) -> None:
    """Take `Pretrained` initialisations out of a configuration: building it would fetch them."""
    if isinstance(part, dict):
        initial = part.get("init_cfg")
        if isinstance(initial, dict) and initial.get("type") == "Pretrained":
            part["init_cfg"] = None
        for value in part.values():
            _without_downloads(value)
    elif isinstance(part, list | tuple):
        for value in part:
            _without_downloads(value)


def class_names(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The classes that a checkpoint or a data set says a detector has, in any of mmdet's spellings or ours."""
    for place in (meta.get("dataset_meta"), meta):
        if isinstance(place, dict):
            classes = place.get("classes", place.get("CLASSES"))
            if isinstance(classes, list | tuple):
                return tuple(map(str, classes))
            if isinstance(classes, str):
                return (classes,)
    return None


def _inference(network: Any) -> Any:
    """In eval mode, batch normalisation folded into the convolutions before it, weights in the layout that they like best."""
    network.eval().requires_grad_(requires_grad=False)
    parts = [part for part in network.modules() if isinstance(part, ConvModule)]
    # RTMDet's head shares convolutions over levels that have a normalisation each (mmcv's own fuse_conv_bn breaks it).
    uses = Counter(id(part.conv) for part in parts)
    for part in parts:
        plain = isinstance(part.conv, nn.Conv2d) and part.with_norm and isinstance(part.norm, _BatchNorm)
        if plain and uses[id(part.conv)] == 1 and part.order[:2] == ("conv", "norm"):
            part.conv = fuse_conv_bn_eval(part.conv, part.norm)
            part.with_norm = False
    return network.to(memory_format=torch.channels_last)
