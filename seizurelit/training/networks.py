"""From a batch of windows to window logits: which tensors a model reads, and how large its network is."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import Training, teaches
from seizurelit.data.fold import Batch
from seizurelit.models.agcn import Agcn
from seizurelit.models.tcn import Tcn


def reads(model: str, training: Training) -> tuple[str, ...]:
    """The modalities of a stream without which a model cannot be trained: its own and, for the student, its teacher's."""
    own = training.tcn.input if model == "tcn" else "keypoints"
    taught = model == "agcn_kd" and teaches(training)
    return tuple(dict.fromkeys((own, training.tcn.input) if taught else (own,)))


class Sizes(Protocol):
    """What decides how large a network is; a `FoldDataModule` says it of its data, a model file of those it was trained on."""

    @property
    def skeleton(self) -> Skeleton:
        """Of the keypoints that the network sees."""

    @property
    def joints(self) -> int:
        """V."""

    @property
    def keypoint_channels(self) -> int:
        """C of the keypoints."""

    @property
    def appearance_channels(self) -> int:
        """D of the appearance features."""

    @property
    def conditions(self) -> int:
        """K of what the network is told."""

    @property
    def classes(self) -> int:
        """Of the sign."""


class WindowNetwork(nn.Module):
    """A plain network and the part of a batch that it reads.

    Args:
        network: an `Agcn` or a `Tcn`.
        modality: keypoints or appearance.

    Attributes:
        told_apart: whether what the network is told (the batch's condition) is no channel of its input, but given beside it.
    """

    def __init__(self, network: nn.Module, modality: str) -> None:
        super().__init__()
        self.network = network
        self.modality = modality
        self.told_apart = isinstance(network, Tcn) and network.condition_norm is not None

    def forward(self, batch: Batch) -> Tensor:
        """Window logits (B, W, K)."""
        x, mask = self.read(batch)
        b, w = x.shape[:2]
        given = (x.flatten(0, 1), None if batch.whole else mask.flatten(0, 1))
        told = self.told(batch)
        logits: Tensor = self.network(*given) if told is None else self.network(*given, told)
        return logits.view(b, w, -1)

    def told(self, batch: Batch) -> Tensor | None:
        """(B·W, K) what the network is told beside its input, alike for the windows of a seizure; None for nothing."""
        if not self.told_apart or batch.condition is None:
            return None
        return batch.condition.repeat_interleave(batch.window_mask.shape[1], 0)

    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the plain network is given of a batch: (B, W, C, T, V) or (B, W, D, T), and the mask (B, W, T) of real frames."""
        x, mask = (
            (batch.appearance, batch.appearance_mask)
            if self.modality == "appearance"
            else (batch.keypoints, batch.keypoints_mask)
        )
        if x is None or mask is None:
            msg = f"the batch holds no {self.modality}"
            raise ValueError(msg)
        told = (
            None if batch.condition is None else batch.condition[:, None, :, None] * mask.unsqueeze(2)
        )  # (B, W, K, T)
        if self.modality == "keypoints" and isinstance(self.network, Tcn):
            x = x.permute(0, 1, 4, 2, 3).flatten(2, 3)  # (B, W, C, T, V) to (B, W, V·C, T)
        if told is None or self.told_apart:
            return x, mask
        if x.ndim == 5:  # every joint is told
            told = told.unsqueeze(-1).expand(-1, -1, -1, -1, x.shape[-1])
        return torch.cat([x, told], dim=2), mask


def build_network(model: str, training: Training, data: Sizes) -> WindowNetwork:
    """The untrained network of a model, sized for its data.

    Args:
        model: agcn, tcn or agcn_kd.
        training: widths and switches.
        data: a fold's data, or whatever else tells channels, joints, skeleton and classes.
    """
    if model == "tcn":
        modality = training.tcn.input
        channels = data.appearance_channels if modality == "appearance" else data.keypoint_channels * data.joints
        tcn = training.tcn
        channels += 0 if tcn.by_condition else data.conditions
        network = Tcn(
            channels,
            data.classes,
            tcn.channels,
            tcn.levels,
            tcn.kernel,
            tcn.dropout,
            input_norm=tcn.input_norm,
            pool=tcn.pool,
            conditions=data.conditions if tcn.by_condition else 0,
        )
        return WindowNetwork(network, modality)
    agcn = Agcn(
        torch.from_numpy(np.asarray(data.skeleton.adjacency())),
        data.keypoint_channels + data.conditions,
        data.classes,
        variant=training.agcn.variant,
        adaptive=training.agcn.adaptive,
        dropout=training.agcn.dropout,
    )
    return WindowNetwork(agcn, "keypoints")
