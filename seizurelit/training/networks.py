"""From a batch of windows to window logits: which tensors a model reads, and how large its network is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from seizurelit.config import Training
from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.models.agcn import Agcn
from seizurelit.models.tcn import Tcn


def reads(model: str, training: Training) -> tuple[str, ...]:
    """The modalities of a stream without which a model cannot be trained: its own and, for the student, its teacher's."""
    own = training.tcn.input if model == "tcn" else "keypoints"
    taught = model == "agcn_kd" and training.distillation.alpha > 0
    return tuple(dict.fromkeys((own, training.tcn.input) if taught else (own,)))


class WindowNetwork(nn.Module):
    """A plain network and the part of a batch that it reads.

    Args:
        network: an `Agcn` or a `Tcn`.
        modality: keypoints or appearance.
    """

    def __init__(self, network: nn.Module, modality: str) -> None:
        super().__init__()
        self.network = network
        self.modality = modality

    def forward(self, batch: Batch) -> Tensor:
        """Window logits (B, W, K)."""
        x, mask = self._read(batch)
        b, w = x.shape[:2]
        logits: Tensor = self.network(x.flatten(0, 1), mask.flatten(0, 1))
        return logits.view(b, w, -1)

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.modality == "appearance":
            if batch.appearance is None or batch.appearance_mask is None:
                msg = "the batch holds no appearance features"
                raise ValueError(msg)
            return batch.appearance, batch.appearance_mask
        if batch.keypoints is None or batch.keypoints_mask is None:
            msg = "the batch holds no keypoints"
            raise ValueError(msg)
        if isinstance(self.network, Tcn):  # (B, W, C, T, V) to (B, W, V·C, T)
            return batch.keypoints.permute(0, 1, 4, 2, 3).flatten(2, 3), batch.keypoints_mask
        return batch.keypoints, batch.keypoints_mask


def build_network(model: str, training: Training, data: FoldDataModule) -> WindowNetwork:
    """The untrained network of a model, sized for a fold's data.

    Args:
        model: agcn, tcn or agcn_kd.
        training: widths and switches.
        data: tells channels, joints, skeleton and classes.
    """
    if model == "tcn":
        modality = training.tcn.input
        channels = data.appearance_channels if modality == "appearance" else data.keypoint_channels * data.joints
        tcn = training.tcn
        return WindowNetwork(Tcn(channels, data.classes, tcn.channels, tcn.levels, tcn.kernel, tcn.dropout), modality)
    agcn = Agcn(
        torch.from_numpy(np.asarray(data.skeleton.adjacency())),
        data.keypoint_channels,
        data.classes,
        variant=training.agcn.variant,
        adaptive=training.agcn.adaptive,
        dropout=training.agcn.dropout,
    )
    return WindowNetwork(agcn, "keypoints")
