"""From 2D points over time to 3D with mmpose's lifters: VideoPose3D in one pass over the clip, MotionBERT in windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seizurelit.cohort.points import Correspondence, translate
from seizurelit.errors import InputError
from seizurelit.extraction.backend import Floats
from seizurelit.extraction.models import Model
from seizurelit.extraction.openmmlab_networks import Network

LIFTED = "h36m17"
_COCO = ((11, 12), (12,), (14,), (16,), (11,), (13,), (15,), (5, 6, 11, 12), (5, 6), (0,), (1, 2))
_ARMS = ((5,), (7,), (9,), (6,), (8,), (10,))
_H36M = {
    "coco17": Correspondence("coco17", 17, _COCO + _ARMS),
    "wholebody133": Correspondence("wholebody133", 133, _COCO + _ARMS),
    # Halpe has a hip, a neck and the top of the head of its own.
    "halpe26": Correspondence(
        "halpe26", 26, ((19,), (12,), (14,), (16,), (11,), (13,), (15,), (18, 19), (18,), (0,), (17,), *_ARMS)
    ),
}
"""Human3.6M's 17 joints, as mmpose makes them for its lifters (`convert_keypoint_definition`)."""
_RATE = 2
"""Human3.6M and so VideoPose3D have 50 frames a second where we have 25."""


class Lifter:
    """A lifter that was trained on Human3.6M.

    Args:
        network: as loaded.
        model: what it was loaded from, for messages.
        scheme: of the 2D points.

    Raises:
        InputError: it is neither of the two kinds.
    """

    def __init__(self, network: Network, model: Model, scheme: str) -> None:
        kind = type(network.module).__name__, type(network.module.backbone).__name__
        if kind not in (("PoseLifter", "TCN"), ("PoseLifter", "DSTFormer")):
            msg = f"{model.config}: is no lifter that can be used here; give videopose3d or motionbert"
            raise InputError(msg)
        self._network = network
        self._from = _H36M[scheme]
        self._tcn = kind[1] == "TCN"
        if self._tcn:
            _dilate(network.module.backbone)

    def lift(self, xy: Floats, confidence: Floats, size: tuple[int, int]) -> Floats:
        """The 3D points of a clip.

        Points that are missing are interpolated over time for the network's sake and are missing again in what is given.

        Args:
            xy: (T, V, 2) pixels.
            confidence: (T, V).
            size: width and height of the frame.

        Returns:
            (T, 17, 3) in metres from the pelvis: x to the image's right, y up, z towards the camera. MotionBERT's metre
            is what mmpose assumes for an unknown camera.
        """
        points, sure = translate(self._from, xy, confidence)
        present = sure > 0
        if not present.any():
            return np.full((*points.shape[:2], 3), np.nan, np.float32)
        filled = _fill(points, present)
        with torch.inference_mode():
            lifted = self._videopose3d(filled, size) if self._tcn else self._motionbert(filled, sure, size)
        lifted = (lifted - lifted[:, :1]) * np.array([1, -1, -1], np.float32)
        lifted[~present | ~present[:, :1]] = np.nan
        return lifted.astype(np.float32)

    def _videopose3d(self, points: Floats, size: tuple[int, int]) -> Floats:
        """Every frame from the 243 (or as many as it was made for) at 50 a second around it, the clip's ends repeated."""
        module = self._network.module
        frames = np.arange(_RATE * len(points) - 1) / _RATE
        dense = _interpolate(frames, np.arange(len(points)), points.reshape(len(points), -1)).reshape(-1, 17, 2)
        codec = module.head.decoder
        given = codec.encode(
            dense,
            lifting_target=np.zeros((1, 17, 3), np.float32),
            lifting_target_visible=np.ones((1, 17, 1), np.float32),
            camera_param={"w": size[0], "h": size[1]},
        )
        past, future = _margins(module.backbone)
        padded = np.pad(given["keypoint_labels"].astype(np.float32), ((0, 0), (past, future)), mode="edge")
        features = module.backbone(torch.from_numpy(padded)[None].to(_device(module)))[-1]
        # The head takes one frame a sample: (1, channels, T) → (T, channels, 1).
        lifted = module.head([features[0].T[:, :, None]])
        return np.asarray(codec.decode(lifted.cpu().numpy())[0][::_RATE])

    def _motionbert(self, points: Floats, sure: Floats, size: tuple[int, int]) -> Floats:
        """Windows of as many frames as it has places for; the last ends with the clip."""
        module = self._network.module
        codec = module.head.decoder
        target = np.zeros((len(points), 17, 3), np.float32)  # for one frame alone mmpose's codec fails when T > 1
        given = codec.encode(points, sure, lifting_target=target, camera_param={"w": size[0], "h": size[1]})
        labels = torch.from_numpy(given["keypoint_labels"].astype(np.float32)).to(_device(module))
        longest = module.backbone.temp_embed.shape[1]
        lifted = np.zeros((len(points), 17, 3), np.float32)
        for start in range(0, len(points), longest):
            chosen = slice(max(0, min(start, len(points) - longest)), start + longest)
            lifted[chosen] = module.head(module.backbone(labels[None, chosen]))[0].cpu().numpy()
        width = np.full(len(points), size[0], np.float32)
        height = np.full(len(points), size[1], np.float32)
        return np.asarray(codec.decode(lifted, w=width, h=height, factor=given["factor"])[0])


def _dilate(backbone: Any) -> None:
    """Turn strides into dilation: the same weights give every frame of a clip in one pass instead of one of each window."""
    if not backbone.use_stride_conv:
        return
    backbone.use_stride_conv = False
    backbone.expand_conv.conv.stride = (1,)
    dilation = backbone.kernel_sizes[0]
    for block, size in zip(backbone.tcn_blocks, backbone.kernel_sizes[1:], strict=True):
        block.use_stride_conv = False
        block.stride = 1
        block.dilation = dilation
        block.pad = (size - 1) * dilation // 2
        block.causal_shift = size // 2 * dilation if block.causal else 0
        block.conv1[0].conv.stride = (1,)
        block.conv1[0].conv.dilation = (dilation,)
        dilation *= size


def _margins(backbone: Any) -> tuple[int, int]:
    """Frames that the network needs before and after each."""
    reach = int(np.prod(backbone.kernel_sizes)) - 1
    return (reach, 0) if backbone.causal else (reach // 2, reach // 2)


def _fill(points: Floats, present: Any) -> Floats:
    """(T, 17, 2) without gaps: over time between the frames that have a joint; one that never is lies where the others do."""
    frames = np.arange(len(points))
    filled = points.copy()
    for joint in range(points.shape[1]):
        known = present[:, joint]
        if known.any():
            filled[:, joint] = _interpolate(frames, frames[known], points[known, joint])
    never = ~present.any(axis=0)
    filled[:, never] = filled[:, ~never].mean(axis=1, keepdims=True)
    return filled


def _interpolate(at: Any, frames: Any, values: Floats) -> Floats:
    """(T, …) values of columns (N, C) at other times, the first and the last held beyond them."""
    columns = [np.interp(at, frames, column) for column in values.T]
    return np.stack(columns, axis=-1).astype(np.float32)


def _device(module: Any) -> torch.device:
    device: torch.device = next(iter(module.parameters())).device
    return device
