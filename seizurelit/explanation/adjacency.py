"""The graph that an AGCN has learned: A + B + C of each block, the mean over windows of seizures that it named rightly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seizurelit.data.fold import Batch
from seizurelit.models.agcn import Agcn, Block, Frames
from seizurelit.training.networks import WindowNetwork

Floats = npt.NDArray[np.float64]


def learned_adjacency(network: WindowNetwork, batch: Batch, chosen: Sequence[int]) -> Floats:
    """A + B + C of each block (Shi et al., CVPR 2019, equation 3), summed over the subsets.

    Args:
        network: an AGCN in evaluation mode; without the learned parts, A alone.
        batch: windows of B seizures.
        chosen: seizures of the batch over whose windows the mean is taken.

    Returns:
        (blocks, V, V), source joint, target joint.
    """
    agcn = network.network
    assert isinstance(agcn, Agcn)
    x, mask = network.read(batch)
    kept = torch.zeros_like(batch.window_mask)
    kept[list(chosen)] = batch.window_mask[list(chosen)]
    windows, real = x[kept], mask[kept]
    found: list[Floats] = []

    def see(block: nn.Module, arguments: tuple[Tensor, Tensor, Frames | None]) -> None:
        assert isinstance(block, Block)
        features, adjacency, frames = arguments
        spatial = block.spatial
        total = adjacency.expand(len(features), -1, -1, -1)
        if spatial.learned is not None:
            total = total + spatial.learned + spatial.attention(features, frames)
        found.append(total.sum(1).mean(0).double().numpy())

    handles = [block.register_forward_pre_hook(see) for block in agcn.blocks]
    try:
        with torch.no_grad():
            agcn(windows, real)
    finally:
        for handle in handles:
            handle.remove()
    return np.stack(found)
