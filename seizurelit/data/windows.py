"""Where the windows of a seizure lie: drawn at random for training, at a fixed stride for scoring."""

from __future__ import annotations

import torch
from torch import Tensor


def scoring_starts(length: int, frames: int, stride: int) -> Tensor:
    """The starts of all windows that are scored; together they cover the seizure.

    Args:
        length: frames of the seizure, at least 1.
        frames: frames of a window.
        stride: frames from one start to the next; no more than `frames`, else some are never seen.

    Returns:
        (W,) int64, rising; the last window is aligned to the end. A seizure that is shorter than a window has one, from 0.

    Example:
        >>> scoring_starts(700, 300, 150)
        tensor([  0, 150, 300, 400])
    """
    last = max(length - frames, 0)
    starts = torch.arange(0, last + 1, stride)
    return starts if int(starts[-1]) == last else torch.cat([starts, torch.tensor([last])])


def draw_starts(
    lengths: Tensor, frames: int | Tensor, count: int, generator: torch.Generator, *, phases: int = 1
) -> Tensor:
    """Random starts, uniform over all places where a window fits, or over the phases where none does.

    Args:
        lengths: (B,) frames of each seizure.
        frames: frames of a window; one for all, or (B, count).
        count: windows a seizure.
        generator: of random numbers.
        phases: of a network that sees every n-th frame: n, so that a seizure that is shorter than a window is seen at each phase.

    Returns:
        (B, count) int64, from 0 to length - frames; below `phases` where the seizure is shorter than the window.
    """
    uniform = torch.rand(len(lengths), count, generator=generator, dtype=torch.float64)
    return starts_of(uniform, lengths, frames, phases=phases)


def starts_of(uniform: Tensor, lengths: Tensor, frames: int | Tensor, *, phases: int = 1) -> Tensor:
    """The starts (B, count) that uniform numbers (B, count) float64 stand for; the rest as for `draw_starts`."""
    whole = lengths.unsqueeze(1)
    places = (whole - frames + 1).maximum(whole.clamp_max(phases))
    return (uniform * places).long().minimum(places - 1)
