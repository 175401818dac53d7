"""The temporal convolutional network over feature sequences (Bai, Kolter and Koltun, 2018), without its causality.

Axes: N windows, D features, T frames. Classification sees the whole window, so that every convolution looks both ways.
A padded frame is 0 before every convolution and takes no part in the pooling: a padded window has the logits of the unpadded one.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


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
        self.first = weight_norm(nn.Conv1d(in_channels, channels, kernel, padding=padding, dilation=dilation))
        self.second = weight_norm(nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation))
        self.dropout = nn.Dropout1d(dropout)
        self.project = nn.Conv1d(in_channels, channels, 1) if in_channels != channels else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, C, T) to (N, C', T); `mask` (N, 1, T) is 1 for a real frame, None where all are."""
        y = self.dropout(functional.relu(self.first(x)))
        if mask is not None:
            y = y * mask
        y = self.dropout(functional.relu(self.second(y)))
        y = functional.relu(y + (x if self.project is None else self.project(x)))
        return y if mask is None else y * mask


class Tcn(nn.Module):
    """Windows of features to logits.

    Args:
        in_channels: D.
        classes: number of classes.
        channels: width of every level.
        levels: residual blocks, with dilations 1, 2, 4, …
        kernel: frames that a convolution sees; odd.
        dropout: after every convolution.
        input_norm: normalise each feature over the batch's real frames first, for features of unlike scales.

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
        self.classifier = nn.Linear(channels, classes)

    def features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The pooled features before the classifier.

        Args:
            x: (N, D, T).
            mask: (N, T), true for a real frame; None where all are.

        Returns:
            (N, channels): the mean over real frames.
        """
        if mask is None or bool(mask.all()):
            if self.input_norm is not None:
                x = self.input_norm(x)
            for level in self.levels:
                x = level(x, None)
            return x.mean(2)
        real = (mask != 0).unsqueeze(1)
        x = x.masked_fill(~real, 0)  # not a product: the padding may hold NaN
        if self.input_norm is not None:
            frames = x.transpose(1, 2)
            x = frames.masked_scatter(real.transpose(1, 2), self.input_norm(frames[real.squeeze(1)])).transpose(1, 2)
        weight = real.to(x.dtype)
        for level in self.levels:
            x = level(x, weight)
        return x.sum(2) / weight.sum(2).clamp(min=1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of each window.

        Args:
            x: (N, D, T).
            mask: (N, T), true for a real frame; None where all are.

        Returns:
            (N, classes).
        """
        logits: Tensor = self.classifier(self.features(x, mask))
        return logits
