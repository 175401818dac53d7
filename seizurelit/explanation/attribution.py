"""Which joints at which times carry a score: integrated gradients, and Grad-CAM on the AGCN.

What is explained is the margin of a class: its logit minus the mean of the others, the mean over a seizure's windows, as the score
is made of that. Axes: N windows, C channels, T frames, V joints, S bins of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.errors import InputError
from seizurelit.models.agcn import Agcn
from seizurelit.training.networks import WindowNetwork

Floats = npt.NDArray[np.float64]
Method = Literal["integrated_gradients", "grad_cam"]

BIN = 0.5
"""Seconds of a bin: what is below a movement is not told apart."""
STEPS = 16
"""Of the path from the baseline, Gauss-Legendre: the attributions of a small AGCN add up to its margin within 1% or so."""
WHOLE = "appearance"
"""Stands for the joints where the features are of the whole crop."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """What of a seizure speaks for a class.

    Attributes:
        names: of the V joints; one, `appearance`, for features of a crop.
        seconds: length of a bin.
        values: (S, V): share of the margin over the baseline's, with its sign; a positive one speaks for the class.
        margin: of the class, over the baseline's, that integrated gradients add up to.
    """

    names: tuple[str, ...]
    seconds: float
    values: Floats
    margin: float

    @property
    def shares(self) -> Floats:
        """(S, V) how much each joint and time speaks for the class, of all that does; 0 where it speaks against it; sums to 1."""
        speaking = self.values.clip(min=0)
        total = speaking.sum()
        return np.asarray(speaking / total if total > 0 else speaking, dtype=float)

    @property
    def by_joint(self) -> Floats:
        """(V,) the shares of the joints."""
        return np.asarray(self.shares.sum(axis=0), dtype=float)


def attribute(
    networks: Sequence[WindowNetwork],
    data: FoldDataModule,
    batch: Batch,
    target: int,
    *,
    method: Method = "integrated_gradients",
    steps: int = STEPS,
) -> list[Attribution]:
    """Attribute the margin of a class, seizure by seizure.

    Args:
        networks: an ensemble of one architecture; the mean of theirs is given. They must be in evaluation mode.
        data: that the batch is of.
        batch: windows of B seizures.
        target: index of the class.
        method: integrated_gradients from the baseline `baseline_of`, or grad_cam, which the AGCN alone has.
        steps: of integrated gradients.

    Returns:
        One for each seizure of the batch, in its order.

    Raises:
        InputError: grad_cam of another network.
    """
    x, mask = networks[0].read(batch)
    B, W = x.shape[:2]
    flat, real = x.flatten(0, 1), mask.flatten(0, 1)
    told = networks[0].told(batch)
    total = torch.zeros(
        *flat.shape[:1], flat.shape[2] if flat.ndim == 4 else flat.shape[-1], _places(data, networks[0])
    )
    gained = torch.zeros(len(flat))
    for member in networks:
        if method == "grad_cam":
            if not isinstance(member.network, Agcn):
                msg = "Grad-CAM is of the AGCN; take integrated gradients"
                raise InputError(msg)
            total += grad_cam(member.network, flat, real, target)
        else:
            part, gain = integrated_gradients(
                member.network, flat, baseline_of(flat, real), real, target, told=told, steps=steps
            )
            total += _by_joint(part, data, member)
            gained += gain
    total /= len(networks)
    gained /= len(networks)
    total = total * real.unsqueeze(-1)
    names = data.skeleton.joints if _places(data, networks[0]) > 1 else (WHOLE,)
    found = []
    for place in range(B):
        cells = cells_of(data, batch, place)
        rows = slice(place * W, place * W + len(cells))
        values = _binned(total[rows].double().numpy(), real[rows].numpy(), cells)
        found.append(Attribution(names, BIN, values, float(gained[rows].mean())))
    return found


def told_channels(network: WindowNetwork, data: FoldDataModule) -> int:
    """How many of the last channels of a network's input are what it is told."""
    return 0 if network.told_apart else data.conditions


def margin(network: nn.Module, x: Tensor, mask: Tensor, target: int, told: Tensor | None = None) -> Tensor:
    """(N,) a class's logit minus the mean of the others."""
    logits: Tensor = network(x, mask) if told is None else network(x, mask, told)
    others = (logits.sum(-1) - logits[:, target]) / (logits.shape[-1] - 1)
    return logits[:, target] - others


def baseline_of(x: Tensor, mask: Tensor) -> Tensor:
    """What is compared with: nothing was found, which is 0 in every channel, and which the networks know from dropped joints.

    Args:
        x: (N, C, T, V) or (N, D, T).
        mask: (N, T).
    """
    del mask
    return torch.zeros_like(x)


def integrated_gradients(
    network: nn.Module,
    x: Tensor,
    baseline: Tensor,
    mask: Tensor,
    target: int,
    *,
    told: Tensor | None = None,
    steps: int = STEPS,
) -> tuple[Tensor, Tensor]:
    """Integrated gradients (Sundararajan et al., ICML 2017) of a class's margin, by captum.

    Args:
        network: an `Agcn` or a `Tcn` in evaluation mode.
        x: (N, C, T, V) or (N, D, T).
        baseline: likewise.
        mask: (N, T) of the real frames.
        target: index of the class.
        told: (N, K) of a network that is told something beside its input.
        steps: of the path.

    Returns:
        As x; and (N,) the margin minus the baseline's, to which they should add up.
    """
    from captum.attr import IntegratedGradients  # noqa: PLC0415 - an extra, only where grounds are asked for

    def forward(points: Tensor, real: Tensor, beside: Tensor | None = None) -> Tensor:
        return margin(network, points, real, target, beside)

    more = (mask,) if told is None else (mask, told)
    part = IntegratedGradients(forward).attribute(
        x, baseline, additional_forward_args=more, n_steps=steps, internal_batch_size=max(len(x), 64)
    )
    with torch.no_grad():
        gain = margin(network, x, mask, target, told) - margin(network, baseline, mask, target, told)
    return part.detach(), gain


def grad_cam(network: Agcn, x: Tensor, mask: Tensor, target: int) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017) on the last block: (N, T, V), 0 or above.

    Args:
        network: in evaluation mode.
        x: (N, C, T, V).
        mask: (N, T) of the real frames.
        target: index of the class.
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: tuple[Tensor, object]) -> None:
        kept.append(output[0])
        output[0].retain_grad()

    handle = network.blocks[-1].register_forward_hook(keep)
    try:
        with torch.enable_grad():
            torch.autograd.backward(margin(network, x.detach().requires_grad_(), mask, target).sum())
    finally:
        handle.remove()
    features = kept[0]
    assert features.grad is not None
    weight = features.grad.mean(dim=(1, 2), keepdim=True)
    cam = (features * weight).sum(-1).clamp(min=0).detach()  # (N, T', V)
    stretched = nn.functional.interpolate(cam.transpose(1, 2), size=x.shape[2], mode="linear", align_corners=False)
    return stretched.transpose(1, 2)


def _places(data: FoldDataModule, member: WindowNetwork) -> int:
    return data.joints if member.modality == "keypoints" else 1


def _by_joint(part: Tensor, data: FoldDataModule, member: WindowNetwork) -> Tensor:
    """(N, T, V) sums over the channels of each joint, or (N, T, 1) over all features; what the network is told is left out."""
    if part.ndim == 4:  # (N, C, T, V), the last channels are what it is told
        return part[:, : part.shape[1] - data.conditions].sum(1)
    own = part[:, : part.shape[1] - told_channels(member, data)]
    if member.modality == "keypoints":  # (N, V·C, T)
        return own.reshape(len(own), data.joints, -1, own.shape[-1]).sum(2).transpose(1, 2)
    return own.sum(1).unsqueeze(-1)


def cells_of(data: FoldDataModule, batch: Batch, place: int) -> npt.NDArray[np.intp]:
    """(W, T) the bin of time in which each frame of a seizure's windows lies; that of its last real frame in the padding.

    Args:
        data: that the batch is of.
        batch: windows of B seizures.
        place: the seizure's, in the batch.
    """
    windows, store = data.training.windows, data.store
    mask, step = batch.keypoints_mask, windows.step / store.fps
    if mask is None:
        mask = batch.appearance_mask
        assert mask is not None
        assert store.appearance_fps is not None
        step = max(1, round(windows.step * store.appearance_fps / store.fps)) / store.appearance_fps
    starts = [start for start, _ in data.scored_spans()[int(batch.seizure[place])]]
    times = np.array(starts)[:, None] + np.arange(mask.shape[-1]) * step
    bins = np.floor(times / BIN + 1e-9).astype(np.intp)
    real = mask[place, : len(starts)].numpy()
    last = int(bins[real].max()) if real.any() else 0
    return np.asarray(bins.clip(max=last), dtype=np.intp)


def _binned(values: Floats, real: npt.NDArray[np.bool_], cells: npt.NDArray[np.intp]) -> Floats:
    """(S, V) of the windows' (W, T, V), each window with the weight that it has in the mean."""
    found = np.zeros((int(cells.max()) + 1, values.shape[2]))
    np.add.at(found, cells[real], values[real] / len(values))
    return found
