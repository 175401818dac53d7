"""What networks ask of the masks of their batches."""

from __future__ import annotations

import torch
from torch import Tensor


def nothing_padded(mask: Tensor) -> bool:
    """Whether a mask (N, T) says of every frame that it is real.

    While a CUDA graph is captured a device cannot be asked; a mask that is given then stands for a batch with padding.
    """
    if mask.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    return bool(mask.all())
