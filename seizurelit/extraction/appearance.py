"""What the face and the body look like, as features: VGG-19 of FER2013 on the aligned face, ImageNet's ResNet-50 on the body.

A frame without a crop (nobody there, an eye that was not found) is a row of NaN throughout: that is how the cache keeps a frame
without features, and the folds read it as 0. Zeros would say that something was seen.
"""

from __future__ import annotations

import dataclasses
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import ResNet50_Weights, resnet50

from seizurelit.cohort.skeleton import built_in
from seizurelit.config import digest
from seizurelit.errors import InputError
from seizurelit.extraction.backend import Floats, Image
from seizurelit.extraction.weights import Checkpoint, fill, read_checkpoint, weights_folder
from seizurelit.models.vgg19 import SIZE, Vgg19, centre_crops, from_published

FACE_FILE = "vgg19_fer2013.safetensors"
"""Of the face's weights in the folder of weights; `seizurelit.pretrain` writes it there."""
BODY_WEIGHTS = "IMAGENET1K_V1"
"""torchvision's name of the body's weights. The features of V2, with its smoothed and mixed labels, transfer less well
(Kornblith et al., NeurIPS 2021)."""

EYE_DISTANCE = 0.42
"""Between the middles of the eyes, as a share of the crop; with the two below, how faces lie in FER2013."""
EYE_HEIGHT = 0.38
"""Of the eyes' middle in the crop, from the top."""
NOSE_DROP = 0.72
"""From the eyes' middle to the nostrils in a face from the front, in distances between the eyes. A turned head brings its eyes
together but not nearer to the nose, so that this, where it is larger, is what the scale is taken from."""
_LEAST_EYES = 4.0
"""Pixels between the eyes of the smallest face that is cut out."""

BODY_SIZE = 224
BODY_MARGIN = 1.1
"""Side of the body's crop, in longer sides of its box."""

VERSION = 1
"""To be raised when the same crops give other features."""

_PATIENCE = 10.0
"""Seconds to wait for torchvision's server."""

_BATCH = 16
"""Crops at a time; more are no faster on one core."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, as torchvision's weights expect them."""

_JOINTS = built_in("face23").joints


def _joints(*numbers: int) -> list[int]:
    return [_JOINTS.index(f"ibug-{number}") for number in numbers]


_RIGHT_EYE, _LEFT_EYE = _joints(36, 39), _joints(42, 45)
_NOSTRILS = _joints(31, 35)


@dataclass(frozen=True)
class Missing:
    """Why there are no appearance features.

    Attributes:
        reason: which file is wanted, from where, and where it goes; one line.
    """

    reason: str


@dataclass(frozen=True, eq=False)
class AppearanceModel:
    """A frozen network from crops to features.

    Attributes:
        name: for metadata and messages.
        digest: of what is done to a crop, apart from the weights.
        weights_digest: SHA-256 of the weights' file.
        subjects_seen: of the cohort, that the weights were fitted on.
        size: D.
    """

    name: str
    digest: str
    weights_digest: str
    subjects_seen: tuple[str, ...]
    size: int
    _network: Callable[[Tensor], Tensor]
    _prepare: Callable[[npt.NDArray[np.uint8]], Tensor]
    _device: torch.device

    def features(self, crops: Sequence[Image | None]) -> npt.NDArray[np.float16]:
        """The features of crops.

        Args:
            crops: from `align_face` or `crop_body`; None where there was none.

        Returns:
            (N, D); NaN throughout the row of a None.
        """
        found = np.full((len(crops), self.size), np.nan, dtype=np.float16)
        present = [index for index, crop in enumerate(crops) if crop is not None]
        with torch.inference_mode():
            for start in range(0, len(present), _BATCH):
                chosen = present[start : start + _BATCH]
                batch = self._prepare(np.stack([crop for index in chosen if (crop := crops[index]) is not None]))
                batch = batch.to(self._device).contiguous(memory_format=torch.channels_last)
                found[chosen] = self._network(batch).to(torch.float16).cpu().numpy()
        return found


def face_appearance(
    weights: Path | None = None, folder: Path | None = None, device: str = "cpu"
) -> AppearanceModel | Missing:
    """VGG-19's 512 features before its classifier, of the middle 44×44 of a face from `align_face`.

    Args:
        weights: the file that `seizurelit.pretrain` made, or a published .pth of the same network; None to look for
            `FACE_FILE` in the folder.
        folder: of weights; None for `weights_folder()`.
        device: of torch, such as cpu or cuda:0.

    Raises:
        InputError: a file that was named is not there, is unsafe, damaged or another model's.
    """
    path = weights or (folder or weights_folder()) / FACE_FILE
    if weights is None and not path.is_file():
        return Missing(
            f"{path}: no such file; the appearance of the face needs VGG-19's weights: make them there by "
            f"python -m seizurelit.pretrain --fer2013 fer2013.csv --out {path} (fer2013.csv is on Kaggle, in the challenge "
            "'challenges-in-representation-learning-facial-expression-recognition-challenge')"
        )
    checkpoint = _state(read_checkpoint(path))
    checkpoint = dataclasses.replace(checkpoint, state=from_published(checkpoint.state))
    first, last = (checkpoint.state.get(name) for name in ("convolutions.0.weight", "classifier.weight"))
    network = Vgg19(
        classes=7 if last is None or not last.ndim else len(last),
        width=64 if first is None or not first.ndim else len(first),
    )
    _fill_exactly(network, checkpoint, "VGG-19 of FER2013")
    size = network.classifier.in_features
    return _model(
        "vgg19-fer2013",
        checkpoint,
        network,
        features=network.features,
        prepare=_prepare_faces,
        size=size,
        device=device,
    )


def body_appearance(
    weights: str | Path | None = None, folder: Path | None = None, device: str = "cpu"
) -> AppearanceModel | Missing:
    """ResNet-50's 2048 pooled features of a body from `crop_body`.

    Args:
        weights: a file; or IMAGENET1K_V1 or IMAGENET1K_V2, which are looked for in the folder and else downloaded to it; None
            to look for `BODY_WEIGHTS` in the folder and download nothing.
        folder: of weights; None for `weights_folder()`.
        device: of torch, such as cpu or cuda:0.

    Raises:
        InputError: a file that was named is not there, is unsafe, damaged or another model's.
    """
    names = ResNet50_Weights.__members__
    if weights is None or str(weights) in names:
        url = names[BODY_WEIGHTS if weights is None else str(weights)].url
        path = (folder or weights_folder()) / Path(urlsplit(url).path).name
        if not path.is_file():
            why = "no such file" if weights is None else _download(url, path)
            if why:
                return Missing(
                    f"{path}: {why}; the appearance of the body needs ResNet-50's weights: fetch {url} where there is internet "
                    f"and put it there{'' if weights else f' (or give --body_features {BODY_WEIGHTS}, which downloads it)'}"
                )
    else:
        path = Path(weights)
    checkpoint = _state(read_checkpoint(path))
    checkpoint = dataclasses.replace(
        checkpoint, state={name: tensor for name, tensor in checkpoint.state.items() if not name.startswith("fc.")}
    )
    network = resnet50(weights=None)
    size = network.fc.in_features
    network.fc = nn.Identity()
    _fill_exactly(network, checkpoint, "torchvision's ResNet-50")
    return _model("resnet50", checkpoint, network, features=network, prepare=_prepare_bodies, size=size, device=device)


def align_face(image: Image, keypoints: Floats) -> Image | None:
    """The face upright, in FER2013's size and framing, as the network saw faces in training.

    Turned, scaled and moved so that the eyes lie level, at `EYE_HEIGHT` and `EYE_DISTANCE`; what lies beyond the image repeats
    its edge.

    Args:
        image: (H, W, 3) RGB.
        keypoints: (23, 2) pixels of `image`, in face23's order; NaN where missing.

    Returns:
        (48, 48) grey; None where a corner of an eye is missing or the face is too small.
    """
    eyes = np.stack([keypoints[_RIGHT_EYE].mean(axis=0), keypoints[_LEFT_EYE].mean(axis=0)]).astype(np.float64)
    across = eyes[1] - eyes[0]  # the subject's right eye is at the image's left
    distance = float(np.hypot(*across))
    if not distance >= _LEAST_EYES:  # NaN as well
        return None
    middle = eyes.mean(axis=0)
    drop = float(np.hypot(*(keypoints[_NOSTRILS].mean(axis=0) - middle)))
    unit = max(distance, drop / NOSE_DROP) if np.isfinite(drop) else distance
    # Reduced by whole steps from a larger crop, so that no pixel of a large face is passed over.
    steps = max(1, int(np.ceil(unit / (EYE_DISTANCE * SIZE))))
    side = SIZE * steps
    scale = EYE_DISTANCE * side / unit
    cos, sin = scale * across / distance
    turn = np.array([[cos, sin], [-sin, cos]])
    shift = np.array([side / 2, side * EYE_HEIGHT]) - turn @ middle
    upright = cv2.warpAffine(image, np.column_stack([turn, shift]), (side, side), borderMode=cv2.BORDER_REPLICATE)
    grey = cv2.cvtColor(upright, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SIZE, SIZE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def crop_body(image: Image, box: Floats) -> Image | None:
    """The square about a body's box, with its surroundings instead of a change of proportions.

    Args:
        image: (H, W, 3) RGB.
        box: (4,) x1, y1, x2, y2 in pixels; NaN for no body.

    Returns:
        (224, 224, 3) RGB, ImageNet's mean colour beyond the image; None for no body, or a box outside the image.
    """
    if not np.isfinite(box).all():
        return None
    x1, y1, x2, y2 = (float(value) for value in box)
    height, width = image.shape[:2]
    if min(x2, width) - max(x1, 0) < 1 or min(y2, height) - max(y1, 0) < 1:
        return None
    side = max(1, round(max(x2 - x1, y2 - y1) * BODY_MARGIN))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    inside = image[max(top, 0) : top + side, max(left, 0) : left + side]
    above, before = max(-top, 0), max(-left, 0)
    below, after = side - above - inside.shape[0], side - before - inside.shape[1]
    colour = [round(255 * mean) for mean in _MEAN]
    square = cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_CONSTANT, value=colour)
    interpolation = cv2.INTER_AREA if side > BODY_SIZE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (BODY_SIZE, BODY_SIZE), interpolation=interpolation), dtype=np.uint8)


def _state(checkpoint: Checkpoint) -> Checkpoint:
    """Without the prefix that DataParallel puts before each name."""
    state = {name.removeprefix("module."): tensor for name, tensor in checkpoint.state.items()}
    return dataclasses.replace(checkpoint, state=state)


def _fill_exactly(network: nn.Module, checkpoint: Checkpoint, what: str) -> None:
    """Fill a network from a file of its own tensors and no more: ResNet-101 has all that ResNet-50 has, too."""
    own = network.state_dict()
    more = [name for name in checkpoint.state if name not in own]
    endless = [name for name, tensor in checkpoint.state.items() if not tensor.isfinite().all()]
    if more and all(name in checkpoint.state for name in own):
        msg = f"{checkpoint.path}: these are not the weights of {what}: it has no {more[0]}; give the file that belongs to it"
        raise InputError(msg)
    if endless:
        msg = f"{checkpoint.path}: {endless[0]} has values that are no numbers; the file is damaged: get it again"
        raise InputError(msg)
    fill(network, checkpoint, what)


def _model(
    name: str,
    checkpoint: Checkpoint,
    network: nn.Module,
    *,
    features: Callable[[Tensor], Tensor],
    prepare: Callable[[npt.NDArray[np.uint8]], Tensor],
    size: int,
    device: str,
) -> AppearanceModel:
    _fold_norms(network.eval())
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    facts = (name, VERSION, size, EYE_DISTANCE, EYE_HEIGHT, NOSE_DROP, BODY_SIZE, BODY_MARGIN)
    return AppearanceModel(
        name=name,
        digest=digest(*map(str, facts)),
        weights_digest=checkpoint.weights.digest,
        subjects_seen=checkpoint.weights.subjects_seen,
        size=size,
        _network=features,
        _prepare=prepare,
        _device=torch.device(device),
    )


def _fold_norms(network: nn.Module) -> None:
    """Put each normalisation into the convolution before it: the same function in a fifth less time on a CPU."""
    for module in network.modules():
        for (first, convolution), (second, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(convolution, norm))
                setattr(module, second, nn.Identity())


def _prepare_faces(crops: npt.NDArray[np.uint8]) -> Tensor:
    """(N, 48, 48) grey to (N, 1, 44, 44) in [0, 1]."""
    return centre_crops(torch.from_numpy(crops).unsqueeze(1)).float() / 255


def _prepare_bodies(crops: npt.NDArray[np.uint8]) -> Tensor:
    """(N, 224, 224, 3) RGB to (N, 3, 224, 224), channels last in memory, as torchvision's weights expect it."""
    mean, std = torch.tensor(_MEAN), torch.tensor(_STD)
    return ((torch.from_numpy(crops).float() / 255 - mean) / std).permute(0, 3, 1, 2)


def _download(url: str, path: Path) -> str:
    """Fetch a file of torchvision's, whose name ends with the first digits of its SHA-256; why not, if it cannot be had."""
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE):  # torch's own downloader would wait for ever
            pass
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError) as error:
        return f"cannot be downloaded ({' '.join(str(error).split())[:200]})"
    return ""
