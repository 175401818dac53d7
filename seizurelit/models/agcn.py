"""The adaptive graph convolutional network over keypoints (Shi et al., "Two-Stream Adaptive Graph …", CVPR 2019).

Written from the paper's equations. Axes: N windows, C channels, T frames, V joints, K adjacency subsets, E embedding channels.
The network takes (N, C, T, V), as the field does, and works on (N, T, V, C): its 1×1 convolutions are then matrix products over the
last axis and the adjacency needs no transposition, which halves the time of a step on a CPU. (They are `nn.Linear` also because
oneDNN's strided 1×1 convolution of a few channels in that layout writes past its buffers in torch 2.13.)

Padded frames. A window that is shorter than the batch's is padded and carries a mask. A padded frame is 0 wherever a temporal
convolution could see it, takes no part in the attention, in the statistics of batch normalisation and in the pooling; a padded
window therefore has the logits of the unpadded one, and what the padding holds (even NaN) does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from seizurelit.models.masks import nothing_padded


@dataclass(frozen=True)
class Variant:
    """The size of a stream.

    Attributes:
        blocks: channels and temporal stride of each block.
        share: a block's channels for each channel of its embeddings (C' / E).
    """

    blocks: tuple[tuple[int, int], ...]
    share: int


VARIANTS = {
    # The published stream (Section 4.3 of the paper).
    "ten_block": Variant(((64, 1),) * 4 + ((128, 2),) + ((128, 1),) * 2 + ((256, 2),) + ((256, 1),) * 2, share=4),
    # Ours, for few seizures and two cores.
    "small": Variant(((16, 2), (32, 2), (32, 1), (64, 1)), share=8),
}
KERNEL = 9
"""Frames that a temporal convolution sees (K_t in the paper)."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Which frames of a padded batch are real.

    Attributes:
        mask: (N, T) bool, true for a real frame.
    """

    mask: Tensor

    @cached_property
    def rows(self) -> Tensor:
        """(P,) positions of the real frames among the N·T. Only the device knows how many: not while a CUDA graph is captured."""
        return self.mask.flatten().nonzero().squeeze(1)

    @cached_property
    def total(self) -> Tensor:
        """(N,) real frames of each window, at least 1."""
        return self.mask.sum(1).clamp(min=1)

    def strided(self, stride: int) -> Frames:
        """Those that are left when every `stride`-th frame is kept."""
        return self if stride == 1 else Frames(self.mask[:, ::stride])


class _Turned(torch.autograd.Function):
    """A tensor (N, T, V, C) in another order in memory; its gradient comes back in the order that it had itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, channels_first: bool) -> Tensor:
        """The same numbers, channels first in memory or as they stand."""
        ctx.channels_first = channels_first
        return _in_order(x, channels_first)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient of the tensor."""
        return _in_order(gradients[0], not ctx.channels_first), None


def _in_order(x: Tensor, channels_first: bool) -> Tensor:
    return x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1) if channels_first else x.contiguous()


def _turned(x: Tensor, *, channels_first: bool = False) -> Tensor:
    """A tensor (N, T, V, C) whose last axis is the last in memory, or whose channels come first there; a copy if need be.

    Sums and products of tensors in different orders cost several times those of like ones, forward and backward; hence orders are
    changed here alone.
    """
    there = x.permute(0, 3, 1, 2).is_contiguous() if channels_first else x.is_contiguous()
    if there:
        return x
    turned: Tensor = _Turned.apply(x, channels_first)  # type: ignore[no-untyped-call]
    return turned


class FrameNorm(nn.BatchNorm2d):
    """Batch normalisation of each channel over windows, real frames and joints; padded frames come out as 0.

    Attributes:
        exact: train in float32 as the original does, channels first: torch then sums the statistics in float64 on a CPU, and the
            convolution that follows adds in the original's order. Channels last, the sums are in float32 and a tenth cheaper for
            the whole step, and now and then turn the sign of a ReLU's input that lies within 1e-6 of 0.
    """

    exact = False

    def forward(self, input: Tensor, frames: Frames | None = None) -> Tensor:
        """Normalise.

        Args:
            input: (N, T, V, C).
            frames: the real frames, or None where all are.

        Returns:
            (N, T, V, C).
        """
        if frames is None:
            return self._normalise(input)
        N, T, V, C = input.shape
        real = input.reshape(N * T, V * C).index_select(0, frames.rows).view(1, -1, V, C)
        real = self._normalise(real).reshape(-1, V * C)
        return real.new_zeros(N * T, V * C).index_copy(0, frames.rows, real).view(N, T, V, C)

    def _normalise(self, input: Tensor) -> Tensor:
        if self.exact and self.training and input.dtype == self.weight.dtype:
            input = _turned(input, channels_first=True)
        return super().forward(input.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Projection(nn.Module):
    """A 1×1 convolution with its normalisation: the residual where channels or frames change.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: every how many frames one is kept.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.map = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = FrameNorm(out_channels)

    def forward(self, x: Tensor, frames: Frames | None = None) -> Tensor:
        """(N, T, V, C) to (N, ceil(T / stride), V, C'); `frames` are those of the output."""
        y: Tensor = self.norm(self.map(_turned(x[:, :: self.stride])), frames)
        return y


def spread(A: Tensor, rows: Tensor, *, by_frame: bool) -> Tensor:
    """Features aggregated over the graph by each subset.

    Args:
        A: (N, K, V, V), source joint, target joint.
        rows: (N, T, V, C).
        by_frame: make a product of each frame, as a GPU does: the gradient of A is then no few long sums over frames and channels,
            which left most of a GPU idle and took a third of the ten-block's step. One product for all frames of a window is what
            suits a CPU.

    Returns:
        (N, T, V, K, C).
    """
    N, T, V, C = rows.shape
    A = A.transpose(-1, -2).reshape(N, -1, V)
    if by_frame:
        return (A.unsqueeze(1).expand(-1, T, -1, -1) @ rows).view(N, T, -1, V, C).transpose(2, 3)
    aggregated = A @ rows.permute(0, 2, 1, 3).reshape(N, V, T * C)
    return aggregated.view(N, -1, V, T, C).permute(0, 3, 2, 1, 4)


class GraphConvolution(nn.Module):
    """f_out = ReLU(norm(Σ_k W_k f_in (A_k + B_k + C_k)) + residual), equation 3 of the paper.

    The K maps W_k are one product over the K aggregated copies of the input, the 2·K embeddings of C are another. Maps that a
    normalisation follows have no bias: its mean would take it away again.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        subsets: K.
        joints: V.
        embedding: E, channels of each embedding of C.
        adaptive: learn B and C; false leaves A alone.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, subsets: int, joints: int, embedding: int, adaptive: bool
    ) -> None:
        super().__init__()
        self.subsets = subsets
        self.learned: nn.Parameter | None = None
        self.embed: nn.Linear | None = None
        if adaptive:
            self.learned = nn.Parameter(torch.zeros(subsets, joints, joints))
            self.embed = nn.Linear(in_channels, 2 * subsets * embedding)
        self.output = nn.Linear(subsets * in_channels, out_channels, bias=False)
        self.norm = FrameNorm(out_channels)
        self.down = Projection(in_channels, out_channels, stride=1) if in_channels != out_channels else None

    def attention(self, x: Tensor, frames: Frames | None = None) -> Tensor:
        """C of the paper: softmax over the source joint of embed_aᵀ·embed_b / (E·T), equation 4.

        Args:
            x: (N, T, V, C).
            frames: the real frames, or None where all are.

        Returns:
            (N, K, V, V), source joint, target joint; each column sums to 1.

        Raises:
            ValueError: the network was made with adaptive=False.
        """
        if self.embed is None:
            msg = "a network with adaptive=False has no attention"
            raise ValueError(msg)
        N, T, V, _ = x.shape
        embedded: Tensor = self.embed(x)
        E = embedded.shape[-1] // (2 * self.subsets)
        size: Tensor | int = E * T
        if frames is not None:
            # Padded frames are 0, so that their embeddings are the biases: the same for all joints, which the softmax does not see.
            size = (E * frames.total)[:, None, None, None]
        a, b = (
            embedded.view(N, T, V, 2, self.subsets, E).permute(3, 0, 4, 2, 1, 5).reshape(2, N, self.subsets, V, T * E)
        )
        return torch.softmax(a @ b.transpose(-1, -2) / size, dim=-2)

    def forward(self, x: Tensor, adjacency: Tensor, frames: Frames | None = None) -> Tensor:
        """Spread the features of each frame over the graph.

        Args:
            x: (N, T, V, C).
            adjacency: (K, V, V), the fixed A; source joint, target joint.
            frames: the real frames, or None where all are.

        Returns:
            (N, T, V, C').
        """
        N, T, V, C = x.shape
        rows = _turned(x)
        A = adjacency.expand(N, -1, -1, -1)
        if self.learned is not None:
            A = A + self.learned + self.attention(rows, frames)
        # The K aggregated copies of a joint side by side as channels.
        copies = spread(A, rows, by_frame=rows.is_cuda).reshape(N, T, V, self.subsets * C)
        y: Tensor = self.norm(self.output(copies), frames)
        return functional.relu_(y + (x if self.down is None else self.down(rows, frames)))


class Block(nn.Module):
    """Graph convolution, temporal convolution over `KERNEL` frames, residual, ReLU (Figure 3 of the paper).

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: every how many frames one is kept.
        residual: whether the input is added to the output; the first block of the stream does not.
        subsets: K.
        joints: V.
        embedding: E; 0 for a network that is not adaptive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        residual: bool,
        subsets: int,
        joints: int,
        embedding: int,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.spatial = GraphConvolution(
            in_channels, out_channels, subsets=subsets, joints=joints, embedding=embedding, adaptive=embedding > 0
        )
        self.temporal = nn.Conv2d(
            out_channels, out_channels, (KERNEL, 1), stride=(stride, 1), padding=(KERNEL // 2, 0), bias=False
        )
        self.norm = FrameNorm(out_channels)
        self.residual: nn.Module | None = None
        if residual and (in_channels != out_channels or stride != 1):
            self.residual = Projection(in_channels, out_channels, stride=stride)
        self.adds_input = residual and self.residual is None

    def forward(self, x: Tensor, adjacency: Tensor, frames: Frames | None = None) -> tuple[Tensor, Frames | None]:
        """(N, T, V, C) to (N, ceil(T / stride), V, C'), with the real frames of the output."""
        after = None if frames is None else frames.strided(self.stride)
        spread = self.spatial(x, adjacency, frames).permute(0, 3, 1, 2)  # a view: torch.channels_last
        y: Tensor = self.norm(self.temporal(spread).permute(0, 2, 3, 1), after)
        if self.residual is None and not self.adds_input:
            return functional.relu(y), after  # a view: in place, its gradient would be copied
        return functional.relu_(y + (x if self.residual is None else self.residual(x, after))), after


class Agcn(nn.Module):
    """Windows of keypoints to logits.

    At the start B is 0 and all maps are drawn after He et al. (2015), so that a block begins as the fixed graph with an even
    attention.

    Args:
        adjacency: (K, V, V) the fixed graph A, column-normalised: identity, inward, outward (`Skeleton.adjacency()`).
        in_channels: C of the input.
        classes: number of classes.
        variant: ten_block is the published stream (3.43 M parameters at V=11 and 2 classes); small has four blocks.
        adaptive: A+B+C; false keeps A, the fixed-graph GCN.
        dropout: of the pooled features, before the classifier.

    Example:
        >>> network = Agcn(torch.eye(11).expand(3, 11, 11), in_channels=4, classes=2, variant="small")
        >>> network(torch.zeros(5, 4, 100, 11)).shape
        torch.Size([5, 2])
    """

    adjacency: Tensor

    def __init__(
        self,
        adjacency: Tensor | npt.NDArray[np.float32],
        in_channels: int,
        classes: int,
        *,
        variant: Literal["ten_block", "small"] = "ten_block",
        adaptive: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        graph = torch.as_tensor(adjacency, dtype=torch.float32).clone()
        if graph.ndim != 3 or graph.shape[1] != graph.shape[2]:
            msg = f"adjacency must be (K, V, V), not {tuple(graph.shape)}"
            raise ValueError(msg)
        self.register_buffer("adjacency", graph)
        subsets, joints, _ = graph.shape
        size = VARIANTS[variant]
        self.data_norm = FrameNorm(joints * in_channels)
        self.blocks = nn.ModuleList()
        width = in_channels
        for index, (channels, stride) in enumerate(size.blocks):
            embedding = channels // size.share if adaptive else 0
            self.blocks.append(
                Block(width, channels, stride, residual=index > 0, subsets=subsets, joints=joints, embedding=embedding)
            )
            width = channels
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, FrameNorm):
                module.exact = variant == "ten_block"
        for module in self.blocks.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The pooled features before the classifier.

        Args:
            x: (N, C, T, V).
            mask: (N, T), true for a real frame; None where all are.

        Returns:
            (N, channels of the last block): the mean over real frames and joints.
        """
        N, C, T, V = x.shape
        frames = None if mask is None or nothing_padded(mask) else Frames(mask != 0)
        # The first normalisation has a statistic for each joint and channel.
        x = self.data_norm(x.permute(0, 2, 3, 1).reshape(N, T, 1, V * C), frames).reshape(N, T, V, C)
        for block in self.blocks:
            x, frames = block(x, self.adjacency, frames)
        # A padded frame is 0 here, so that the sum needs no mask. A mean would divide its gradient joint by joint.
        return x.sum((1, 2)) / (x.shape[1] * V if frames is None else (frames.total * V)[:, None])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of each window.

        Args:
            x: (N, C, T, V).
            mask: (N, T), true for a real frame; None where all are.

        Returns:
            (N, classes).
        """
        logits: Tensor = self.classifier(self.dropout(self.features(x, mask)))
        return logits
