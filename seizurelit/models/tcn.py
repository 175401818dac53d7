"""The temporal convolutional network over feature sequences (Bai, Kolter and Koltun, 2018), without its causality.

Axes: N windows, D features, T frames. Classification sees the whole window, so that every convolution looks both ways.
A padded frame is 0 before every convolution and takes no part in the pooling: a padded window has the logits of the unpadded one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from seizurelit.models.masks import nothing_padded


class _WideConv(nn.Conv1d):
    """A convolution that takes (N, C, T) as batches have it, the channels of a frame side by side in memory, without copying it.

    The features are many times wider than the network: copied first, this layer takes half as long again. What it gives is in the
    order of (N, C', T).
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, T) to (N, C', T)."""
        kernel, padding = self.weight.unsqueeze(2), (0, int(self.padding[0]))
        y = functional.conv2d(input.unsqueeze(2), kernel, self.bias, padding=padding, dilation=(1, *self.dilation))
        return y.squeeze(2).contiguous()


class Level(nn.Module):
    """Two dilated convolutions with weight normalisation, ReLU and spatial dropout, and a residual (Figure 1b of the paper).

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        kernel: frames that a convolution sees; odd.
        dilation: distance between them.
        dropout: probability that a channel is 0 throughout the window.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        padding = (kernel - 1) * dilation // 2
        first = nn.Conv1d if in_channels == channels else _WideConv
        self.first = weight_norm(first(in_channels, channels, kernel, padding=padding, dilation=dilation))
        self.second = weight_norm(nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation))
        self.dropout = nn.Dropout1d(dropout)
        self.project = _WideConv(in_channels, channels, 1) if in_channels != channels else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, C, T) to (N, C', T); `mask` (N, 1, T) is 1 for a real frame, None where all are."""
        y = self.dropout(functional.relu(self.first(x)))
        if mask is not None:
            y = y * mask
        y = self.dropout(functional.relu(self.second(y)))
        y = functional.relu_(y + (x if self.project is None else self.project(x)))
        return y if mask is None else y * mask


class ConditionNorm(nn.Module):
    """Normalise pooled features by running statistics of each condition, which single batches have too few windows to tell.

    In training as in evaluation the running statistics are used; training renews them first. They are the mean and variance over
    all windows of a condition so far, and once there are more, over about the last `span`.

    Args:
        features: F.
        conditions: K; a window of no condition has statistics of its own.
        span: windows.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, features: int, conditions: int, span: int = 100) -> None:
        super().__init__()
        self.span = span
        self.register_buffer("mean", torch.zeros(conditions + 1, features))
        self.register_buffer("variance", torch.ones(conditions + 1, features))
        self.register_buffer("seen", torch.zeros(conditions + 1, 1))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(N, F) of conditions (N, K), one-hot or 0 throughout, to (N, F)."""
        slots = torch.cat([condition, 1 - condition.sum(1, keepdim=True)], dim=1)
        if self.training:
            self._renew(x.detach(), slots)
        return ((x - slots @ self.mean) * (slots @ self.variance + 1e-6).rsqrt()).clamp(-5, 5)

    def _renew(self, x: Tensor, slots: Tensor) -> None:
        count = slots.sum(0).unsqueeze(1)
        mean = slots.T @ x / count.clamp(min=1)
        variance = slots.T @ (x - slots @ mean).square() / count.clamp(min=1)
        self.seen += count
        share = count / torch.maximum(self.seen.clamp(max=self.span), count).clamp(min=1)
        step = mean - self.mean
        self.variance.copy_(torch.lerp(self.variance, variance, share) + share * (1 - share) * step.square())
        self.mean += share * step


class Tcn(nn.Module):
    """Windows of features to logits.

    Args:
        in_channels: D.
        classes: number of classes.
        channels: width of every level.
        levels: residual blocks, with dilations 1, 2, 4, …; 0 pools the input itself, without any convolution.
        kernel: frames that a convolution sees; odd.
        dropout: after every convolution.
        input_norm: normalise each feature over the batch's real frames first, for features of unlike scales.
        pool: mean over real frames, or beside it the standard deviation (statistics pooling, Snyder et al., 2018) or the
            maximum of each channel.
        conditions: K; above 0 the network is told a condition apart from its features, has a second layer of `channels` after the
            pooling, before which features are normalised by condition, and a classifier for each.

    Example:
        >>> import torch
        >>> network = Tcn(in_channels=128, classes=2)
        >>> network(torch.zeros(5, 128, 60)).shape
        torch.Size([5, 2])
    """

    def __init__(  # noqa: PLR0917 - the order of the configuration
        self,
        in_channels: int,
        classes: int,
        channels: int = 64,
        levels: int = 6,
        kernel: int = 3,
        dropout: float = 0.2,
        *,
        input_norm: bool = False,
        pool: Literal["mean", "mean_std", "mean_max"] = "mean",
        conditions: int = 0,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            msg = f"kernel must be odd, so that a convolution looks as far back as ahead; not {kernel}"
            raise ValueError(msg)
        self.input_norm = nn.BatchNorm1d(in_channels) if input_norm else None
        self.levels = nn.ModuleList(
            Level(in_channels if level == 0 else channels, channels, kernel, 2**level, dropout)
            for level in range(levels)
        )
        self.pool = pool
        self.classes = classes
        width = (channels if levels else in_channels) * (1 if pool == "mean" else 2)
        self.condition_norm: ConditionNorm | None = None
        if conditions:
            self.condition_norm = ConditionNorm(width, conditions)
            self.hidden = nn.Sequential(nn.Linear(width + conditions, channels), nn.ReLU(), nn.Dropout(dropout))
            self.pooled_dropout = nn.Dropout(dropout)
            width = channels
        self.classifier = nn.Linear(width, classes * max(conditions, 1))

    def features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The pooled features before the classifier.

        Args:
            x: (N, D, T).
            mask: (N, T), true for a real frame; None where all are.

        Returns:
            (N, channels), the mean over real frames; (N, 2·channels) where another statistic stands beside it.
        """
        if mask is None or nothing_padded(mask):
            if self.input_norm is not None:
                x = self.input_norm(x)
            for level in self.levels:
                x = level(x, None)
            return self._pooled(x, x.mean(2), None)
        real = (mask != 0).unsqueeze(1)
        x = x.masked_fill(~real, 0)  # not a product: the padding may hold NaN
        if self.input_norm is not None:
            frames = x.transpose(1, 2)
            x = frames.masked_scatter(real.transpose(1, 2), self.input_norm(frames[real.squeeze(1)])).transpose(1, 2)
        weight = real.to(x.dtype)
        for level in self.levels:
            x = level(x, weight)
        return self._pooled(x, x.sum(2) / weight.sum(2).clamp(min=1), weight)

    def _pooled(self, x: Tensor, mean: Tensor, weight: Tensor | None) -> Tensor:
        """The mean (N, C) of (N, C, T) and the statistic beside it; `weight` (N, 1, T) is 1 for a real frame."""
        if self.pool == "mean":
            return mean
        if self.pool == "mean_max":  # the levels end in a ReLU, and padding is 0
            return torch.cat([mean, x.amax(2)], dim=1)
        squares = (x - mean.unsqueeze(2)).square()
        variance = squares.mean(2) if weight is None else (squares * weight).sum(2) / weight.sum(2).clamp(min=1)
        return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)  # the gradient of a root is finite above 0

    def forward(self, x: Tensor, mask: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """Logits of each window.

        Args:
            x: (N, D, T).
            mask: (N, T), true for a real frame; None where all are.
            condition: (N, K), one-hot or 0 throughout, for a network with conditions.

        Returns:
            (N, classes); 0 for a window of no condition.

        Raises:
            ValueError: a network with conditions is told none.
        """
        pooled = self.features(x, mask)
        if self.condition_norm is None:
            logits: Tensor = self.classifier(pooled)
            return logits
        if condition is None:
            msg = "a network with conditions needs the condition of each window"
            raise ValueError(msg)
        pooled = self.pooled_dropout(self.condition_norm(pooled, condition))
        every = self.classifier(self.hidden(torch.cat([pooled, condition], dim=1)))
        return torch.einsum("nkc,nk->nc", every.view(len(x), -1, self.classes), condition)
