"""The networks as the papers' equations read, layer by layer: what `make bench` measures ours against.

Nothing is fused: every adjacency subset has its own embeddings and its own map, joints and frames stay in (N, C, T, V), the TCN's
levels are plain convolutions. Written for this comparison from Shi et al. (CVPR 2019) and Bai et al. (2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from seizurelit.models.agcn import KERNEL, VARIANTS, Agcn
from seizurelit.models.tcn import Tcn


class ReferenceGraphConvolution(nn.Module):
    """f_out = ReLU(norm(Σ_k W_k f_in (A_k + B_k + C_k)) + residual), equation 3, one subset after another."""

    def __init__(self, in_channels: int, out_channels: int, adjacency: Tensor, embedding: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency.clone())
        subsets = len(adjacency)
        self.learned = nn.Parameter(torch.zeros_like(adjacency))
        self.source = nn.ModuleList(nn.Conv2d(in_channels, embedding, 1) for _ in range(subsets))
        self.target = nn.ModuleList(nn.Conv2d(in_channels, embedding, 1) for _ in range(subsets))
        self.maps = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 1) for _ in range(subsets))
        self.norm = nn.BatchNorm2d(out_channels)
        self.down: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.down = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) to (N, C', T, V)."""
        N, C, T, V = x.shape
        total = torch.zeros(())
        for k, (source, target, mapped) in enumerate(zip(self.source, self.target, self.maps, strict=True)):
            one = source(x).permute(0, 3, 1, 2).reshape(N, V, -1)
            two = target(x).reshape(N, -1, V)
            attention = torch.softmax(one @ two / one.shape[-1], dim=-2)
            graph = self.adjacency[k] + self.learned[k] + attention
            spread = (x.reshape(N, C * T, V) @ graph).view(N, C, T, V)
            total = total + mapped(spread)
        return functional.relu(self.norm(total) + self.down(x))


class ReferenceAgcn(nn.Module):
    """The stream of 2s-AGCN (Figure 3 of the paper) for unpadded windows (N, C, T, V), of the sizes that `VARIANTS` names."""

    def __init__(self, adjacency: Tensor, in_channels: int, classes: int, *, variant: str) -> None:
        super().__init__()
        size = VARIANTS[variant]
        self.data_norm = nn.BatchNorm1d(adjacency.shape[-1] * in_channels)
        self.spatial, self.temporal, self.norms, self.residuals = (nn.ModuleList() for _ in range(4))
        width = in_channels
        for index, (channels, stride) in enumerate(size.blocks):
            self.spatial.append(ReferenceGraphConvolution(width, channels, adjacency, channels // size.share))
            padding = (KERNEL // 2, 0)
            self.temporal.append(nn.Conv2d(channels, channels, (KERNEL, 1), stride=(stride, 1), padding=padding))
            self.norms.append(nn.BatchNorm2d(channels))
            residual: nn.Module = nn.Identity()
            if width != channels or stride != 1:
                shortcut = nn.Conv2d(width, channels, 1, stride=(stride, 1))
                residual = nn.Sequential(shortcut, nn.BatchNorm2d(channels))
            self.residuals.append(residual)
            if index == 0:
                self.residuals[0] = nn.Identity()  # the first block has none
            width = channels
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, V) to logits (N, K)."""
        N, C, T, V = x.shape
        x = self.data_norm(x.permute(0, 3, 1, 2).reshape(N, V * C, T)).view(N, V, C, T).permute(0, 2, 3, 1)
        layers = zip(self.spatial, self.temporal, self.norms, self.residuals, strict=True)
        for index, (spatial, temporal, norm, residual) in enumerate(layers):
            y = norm(temporal(spatial(x)))
            x = functional.relu(y if index == 0 else y + residual(x))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


class ReferenceTcn(nn.Module):
    """The generic TCN (Bai et al., 2018, Figure 1), not causal, over unpadded windows (N, D, T); mean over the frames."""

    def __init__(
        self, in_channels: int, classes: int, *, channels: int, levels: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        for level in range(levels):
            width, dilation = (in_channels if level == 0 else channels), 2**level
            padding = (kernel - 1) * dilation // 2
            layers = nn.Sequential(
                weight_norm(nn.Conv1d(width, channels, kernel, padding=padding, dilation=dilation)),
                nn.ReLU(),
                nn.Dropout1d(dropout),
                weight_norm(nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation)),
                nn.ReLU(),
                nn.Dropout1d(dropout),
            )
            shortcut = nn.Conv1d(width, channels, 1) if width != channels else nn.Identity()
            self.levels.append(nn.ModuleDict({"layers": layers, "shortcut": shortcut}))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, T) to logits (N, K)."""
        for level in self.levels:
            assert isinstance(level, nn.ModuleDict)
            x = functional.relu(level["layers"](x) + level["shortcut"](x))
        logits: Tensor = self.classifier(x.mean(2))
        return logits


@torch.no_grad()
def copy_agcn(ours: Agcn, reference: ReferenceAgcn) -> None:
    """Give the reference our weights, the fused ones cut up, so that both compute the same.

    Maps before a normalisation have no bias here; the reference's are 0.
    """

    def norm(theirs: nn.Module, mine: nn.Module) -> None:
        theirs.load_state_dict(mine.state_dict())

    norm(reference.data_norm, ours.data_norm)
    for index, block in enumerate(ours.blocks):
        spatial, mine = reference.spatial[index], block.spatial
        subsets = mine.subsets
        spatial.learned.copy_(mine.learned)
        weights = mine.embed.weight[..., None, None].chunk(2 * subsets)
        biases = mine.embed.bias.chunk(2 * subsets)
        for k in range(subsets):
            for layer, place in ((spatial.source[k], k), (spatial.target[k], subsets + k)):
                layer.weight.copy_(weights[place])
                layer.bias.copy_(biases[place])
            spatial.maps[k].weight.copy_(mine.output.weight.chunk(subsets, dim=1)[k][..., None, None])
            spatial.maps[k].bias.zero_()
        norm(spatial.norm, mine.norm)
        shortcuts = [(spatial.down, mine.down), (reference.residuals[index], block.residual)]
        for theirs, own in shortcuts:
            if own is not None:
                theirs[0].weight.copy_(own.map.weight[..., None, None])
                theirs[0].bias.zero_()
                norm(theirs[1], own.norm)
        reference.temporal[index].weight.copy_(block.temporal.weight)
        reference.temporal[index].bias.zero_()
        norm(reference.norms[index], block.norm)
    reference.classifier.load_state_dict(ours.classifier.state_dict())


@torch.no_grad()
def copy_tcn(ours: Tcn, reference: ReferenceTcn) -> None:
    """Give the reference our weights."""
    for mine, theirs in zip(ours.levels, reference.levels, strict=True):
        theirs["layers"][0].load_state_dict(mine.first.state_dict())
        theirs["layers"][3].load_state_dict(mine.second.state_dict())
        if mine.project is not None:
            theirs["shortcut"].load_state_dict(mine.project.state_dict())
    reference.classifier.load_state_dict(ours.classifier.state_dict())
