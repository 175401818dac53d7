"""Several networks of one architecture as one: each layer holds the weights of R replicas and works on all of them at once.

A stacked network runs the code of the network that it is made of; its layers alone are others. Its batch holds the windows of the
first replica, then those of the second, and so on: (R·N, …). What differs between replicas beside their windows is kept apart:
weights, running statistics, and the random numbers of dropout, which come from a generator for each. A window whose frames are all
padding takes no part in anything, so that replicas may have different numbers of windows.

Maps become batched matrix products, convolutions grouped ones; small ones on a GPU are batched products over unfolded frames, with
which a step of 19 small AGCNs takes a third of the time there. On a CPU, and in float32 at the ten-block's size, these take two to
four times as long as grouped ones.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from seizurelit.models.agcn import FrameNorm, Frames, GraphConvolution

UNFOLDED = 2**28
"""Bytes of unfolded frames, at most, that a convolution makes for a batched product; they are kept for its backward pass."""


@dataclass
class Group:
    """What all layers of a stacked network share.

    Attributes:
        replicas: R.
        windows: real windows of each replica in the present batch; None where all are.
        generators: of each replica's dropout, on the network's device.
        counted: what the normalisations of the present batch share, by mask and sizes.
    """

    replicas: int
    windows: tuple[int, ...] | None = None
    generators: list[torch.Generator] = field(default_factory=list)
    counted: dict[tuple[object, ...], tuple[Tensor | None, _Counted]] = field(default_factory=dict)


class _Counted(NamedTuple):
    """Which positions (frames and joints) of a batch count, and how many.

    Attributes:
        real: (R, N, T, 1, 1), 1 where they do; None where all do.
        number: (R, 1, 1, 1, 1), at least 1.
        unbiased: (R, 1), what makes the variance an unbiased one.
        active: (R, 1), 0 for a replica without any.
        step: (R,) long, likewise.
    """

    real: Tensor | None
    number: Tensor
    unbiased: Tensor
    active: Tensor
    step: Tensor


def _drawn_by_kernel(like: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """What torch's dropout keeps of a tensor, drawn from a generator; the device's own stands still."""
    device = generator.device
    default = torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[device.index or 0]
    before = default.get_state()
    default.set_state(generator.get_state())
    kept = torch.native_dropout(like, p, train=True)[1]
    generator.set_state(default.get_state())
    default.set_state(before)
    return kept


class _Layer(nn.Module):
    """A layer whose weights are set before each pass.

    Args:
        group: of the network.
    """

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group

    def apart(self, x: Tensor) -> Tensor:
        """(R·N, …) as (R, N, …)."""
        return x.reshape(self.group.replicas, -1, *x.shape[1:])


class StackedLinear(_Layer):
    """R maps over the last axis; `weight` is (R, C', C), `bias` (R, C') or None."""

    weight: Tensor
    bias: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(R·N, …, C) to (R·N, …, C')."""
        rows = x.reshape(self.group.replicas, -1, x.shape[-1])
        weight = self.weight.transpose(1, 2)
        y = torch.bmm(rows, weight) if self.bias is None else torch.baddbmm(self.bias.unsqueeze(1), rows, weight)
        return y.view(*x.shape[:-1], -1)


class StackedConvolution(_Layer):
    """R convolutions; `weight` is (R, C', C, …), or made of `magnitude` and `direction` (weight normalisation).

    Args:
        group: of the network.
        source: nn.Conv1d or nn.Conv2d that the replicas are alike to.
    """

    weight: Tensor | None = None
    magnitude: Tensor | None = None
    direction: Tensor | None = None
    bias: Tensor | None = None

    def __init__(self, group: Group, source: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__(group)
        if source.groups != 1 or source.padding_mode != "zeros" or not isinstance(source.padding, tuple):
            msg = f"it is not known how to stack {source}"
            raise ValueError(msg)
        self.convolve: Any = functional.conv1d if isinstance(source, nn.Conv1d) else functional.conv2d
        self.settings = {"stride": source.stride, "padding": source.padding, "dilation": source.dilation}
        across = (source.kernel_size[1:], source.stride[1:], source.padding[1:])
        self.along_time = across in {((), (), ()), ((1,), (1,), (0,))}

    def forward(self, x: Tensor) -> Tensor:
        """(R·N, C, T, …) to (R·N, C', T', …)."""
        weight = self.weight
        if self.magnitude is not None and self.direction is not None:
            norm = self.direction.flatten(2).norm(dim=2).view(self.magnitude.shape)
            weight = self.direction * (self.magnitude / norm)
        assert weight is not None
        rows = x.numel() * x.element_size() * weight.shape[3] // self.settings["stride"][0]
        small = self.along_time and rows <= UNFOLDED
        return self.unfolded(x, weight) if x.is_cuda and small else self.grouped(x, weight)

    def grouped(self, x: Tensor, weight: Tensor) -> Tensor:
        """As one convolution of R groups."""
        side_by_side = self.apart(x).transpose(0, 1).flatten(1, 2)
        bias = None if self.bias is None else self.bias.flatten()
        y: Tensor = self.convolve(side_by_side, weight.flatten(0, 1), bias, groups=self.group.replicas, **self.settings)
        return y.view(len(y), self.group.replicas, -1, *y.shape[2:]).transpose(0, 1).flatten(0, 1)

    def unfolded(self, x: Tensor, weight: Tensor) -> Tensor:
        """As a matrix product of each replica, over the frames that each output frame sees; for kernels along time alone."""
        R, C_out, C, K = weight.shape[:4]
        stride, padding, dilation = (self.settings[name][0] for name in ("stride", "padding", "dilation"))
        frames = x.permute(0, 2, 3, 1) if x.ndim > 3 else x.permute(0, 2, 1).unsqueeze(2)  # (R·N, T, V, C)
        frames = functional.pad(frames, (0, 0, 0, 0, padding, padding))
        seen = frames.unfold(1, (K - 1) * dilation + 1, stride)[..., ::dilation]  # (R·N, T', V, C, K)
        rows = seen.transpose(3, 4).reshape(R, -1, K * C)
        maps = weight.flatten(3).permute(0, 3, 2, 1).reshape(R, K * C, C_out)
        y = torch.bmm(rows, maps) if self.bias is None else torch.baddbmm(self.bias.unsqueeze(1), rows, maps)
        return y.view(len(x), -1, *x.shape[3:], C_out).movedim(-1, 1)


class _Normalise(torch.autograd.Function):
    """Batch normalisation of each replica and channel over the positions of weight 1: y = x̂·γ + β there, 0 elsewhere."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes them by place
        ctx: Any, x: Tensor, real: Tensor | None, gamma: Tensor, beta: Tensor, count: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(R, N, T, V, C), real (R, N, T, 1, 1), the rest (R, 1, 1, 1, C) and (R, 1, 1, 1, 1); also the mean and the variance."""
        axes = (1, 2, 3)
        whole = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        if real is None:
            variance, mean = torch.var_mean(whole, axes, correction=0, keepdim=True)
            centred = whole - mean
        else:
            mean = (whole * real).sum(axes, keepdim=True) / count
            centred = (whole - mean).mul_(real)
            variance = centred.square().sum(axes, keepdim=True) / count
        scale = (variance + eps).rsqrt()
        normed = centred.mul_(scale)
        y = torch.addcmul(beta if real is None else beta * real, normed, gamma)
        ctx.save_for_backward(normed, real, gamma, scale, count)
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)
        return y.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradient γ/σ·(dy - mean(dy) - x̂·mean(dy·x̂)) at the positions that count."""
        normed, real, gamma, scale, count = ctx.saved_tensors
        axes = (1, 2, 3)
        if gradients[0] is None:
            return (None,) * 6
        dtype = gradients[0].dtype
        dy = gradients[0].to(normed.dtype)
        if real is not None:
            dy = dy * real
        by_beta = dy.sum(axes, keepdim=True)
        by_gamma = (dy * normed).sum(axes, keepdim=True)
        dx = torch.addcmul(dy, normed, -by_gamma / count)
        dx.sub_(by_beta / count if real is None else (by_beta / count) * real).mul_(gamma * scale)
        return dx.to(dtype), None, by_gamma, by_beta, None, None


class StackedNorm(_Layer):
    """R `FrameNorm`s; `weight` and `bias` are (R, C)."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, group: Group, sources: Sequence[nn.BatchNorm1d | nn.BatchNorm2d]) -> None:
        super().__init__(group)
        momentum = sources[0].momentum
        if momentum is None:
            msg = "running statistics without a momentum: it is not known how to stack them"
            raise ValueError(msg)
        self.eps, self.momentum = sources[0].eps, momentum
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, torch.stack([getattr(source, name) for source in sources]))

    def forward(self, input: Tensor, frames: Frames | None = None) -> Tensor:
        """(R·N, T, V, C) to the same; padded frames must be finite, and come out as 0."""
        x = self.apart(input)
        counted = self._counted(x, None if frames is None else frames.mask)
        gamma, beta = (part[:, None, None, None] for part in (self.weight, self.bias))
        if not self.training:
            scale = gamma * (self.running_var[:, None, None, None] + self.eps).rsqrt()
            y = (x - self.running_mean[:, None, None, None]) * scale + beta
            return (y if counted.real is None else y * counted.real).to(x.dtype).flatten(0, 1)
        normalise: Any = _Normalise.apply
        y, mean, variance = normalise(x, counted.real, gamma, beta, counted.number, self.eps)
        with torch.no_grad():
            share = counted.active * self.momentum
            self.running_mean.lerp_(mean.flatten(1), share)
            self.running_var.lerp_(variance.flatten(1) * counted.unbiased, share)
            self.num_batches_tracked.add_(counted.step)
        normed: Tensor = y.flatten(0, 1)
        return normed

    def _counted(self, x: Tensor, mask: Tensor | None) -> _Counted:
        """Of (R, N, T, V, C) and the mask (R·N, T) of its frames: the same for all layers that see it in a pass."""
        _, N, T, V, _ = x.shape
        known = self.group.counted
        if (key := (id(mask), N, T, V)) not in known:
            dtype = self.weight.dtype
            real = None if mask is None else self.apart(mask)[..., None, None].to(dtype)
            if real is None:
                number = torch.full((len(x), 1), N * T * V, dtype=dtype, device=x.device)
            else:
                number = real.flatten(1).sum(1, keepdim=True) * V
            count, active = number.clamp(min=1), number.clamp(max=1)
            unbiased = count / (count - 1).clamp(min=1)
            counted = _Counted(real, count[..., None, None, None], unbiased, active, active.squeeze(1).long())
            known[key] = mask, counted  # with the mask, so that no other has its id
        return known[key][1]


class StackedDropout(_Layer):
    """Dropout of each replica from its own generator, with the draws that its network would make alone.

    Args:
        group: of the network.
        source: nn.Dropout, or nn.Dropout1d of (N, C, T).
    """

    def __init__(self, group: Group, source: nn.Dropout | nn.Dropout1d) -> None:
        super().__init__(group)
        self.p = source.p
        self.by_channel = isinstance(source, nn.Dropout1d)

    def forward(self, x: Tensor) -> Tensor:
        """(R·N, …) to the same."""
        if not self.training or self.p == 0:
            return x
        N = len(x) // self.group.replicas
        factor = x.new_zeros(self.group.replicas, N, *((*x.shape[1:-1], 1) if self.by_channel else x.shape[1:]))
        windows = self.group.windows or (N,) * self.group.replicas
        fused = x.is_cuda and not self.by_channel  # a kernel of its own, that draws otherwise
        for mine, generator, count in zip(factor, self.group.generators, windows, strict=True):
            if fused and count:
                mine[:count] = _drawn_by_kernel(mine[:count], self.p, generator)
            elif count:
                mine[:count].bernoulli_(1 - self.p, generator=generator)
        factor.div_(1 - self.p)
        return x * factor.flatten(0, 1)


class _Slot(NamedTuple):
    """Where a parameter of the plain network lies among all of a replica's, and who uses it."""

    name: str
    shape: torch.Size
    layer: nn.Module
    attribute: str


class Replicas(nn.Module):
    """The weights of R networks, (R, P): what an optimiser fits.

    Attributes:
        flat: (R, P), each replica's parameters end to end, in the plain network's order.
        group: shared by the stacked network's layers.
    """

    def __init__(self, networks: Sequence[nn.Module], network: nn.Module, group: Group, slots: Sequence[_Slot]) -> None:
        super().__init__()
        self.group = group
        self.flat = nn.Parameter(
            torch.stack([torch.cat([p.detach().flatten() for p in one.parameters()]) for one in networks])
        )
        self._slots = tuple(slots)
        self._stacked = (network,)  # not registered: whoever has the network registers it

    def views(self) -> dict[str, Tensor]:
        """Name → (R, …) of each parameter."""
        parts = self.flat.split_with_sizes([slot.shape.numel() for slot in self._slots], 1)
        return {slot.name: part.view(len(part), *slot.shape) for slot, part in zip(self._slots, parts, strict=True)}

    def fill(self) -> None:
        """Give the network's layers these weights; before each pass."""
        self.group.counted.clear()
        for slot, view in zip(self._slots, self.views().values(), strict=True):
            setattr(slot.layer, slot.attribute, view)

    def empty(self) -> None:
        """Take them away again, after a pass: they hold on to its graph, and to the stream on which that began."""
        for slot in self._slots:
            setattr(slot.layer, slot.attribute, None)

    def state(self, replica: int) -> dict[str, Tensor]:
        """The state of one network, as its own `state_dict` would have it."""
        found = {name: view[replica].detach().clone() for name, view in self.views().items()}
        for path, module in self._stacked[0].named_modules():
            for name, buffer in module.named_buffers(path, recurse=False):
                found[name] = (buffer[replica] if isinstance(module, _Layer) else buffer).clone()
        return found

    def matrices(self) -> Tensor:
        """(P,) bool: what belongs to parameters of more than one axis."""
        return torch.cat([torch.full((slot.shape.numel(),), len(slot.shape) > 1) for slot in self._slots])


def stack(networks: Sequence[nn.Module]) -> tuple[nn.Module, Replicas]:
    """Networks of one architecture as one; call `Replicas.fill` before each pass, and `empty` after it.

    Args:
        networks: R of them; they stay as they are.

    Returns:
        The network, of the class of the given ones, for (R·N, …); its weights.

    Raises:
        ValueError: a layer has weights or statistics of its own and is not known here, or networks differ in what they share.
    """
    group = Group(len(networks))
    network = copy.deepcopy(networks[0])
    uses: dict[str, tuple[nn.Module, str]] = {}
    _swap(network, [*networks], "", group, uses)
    named = dict(networks[0].named_parameters())
    if missed := named.keys() - uses.keys():
        msg = f"not known how to stack {', '.join(sorted(missed))}"
        raise ValueError(msg)
    slots = [_Slot(name, parameter.shape, *uses[name]) for name, parameter in named.items()]
    return network, Replicas(networks, network, group, slots)


def _swap(
    module: nn.Module, sources: list[nn.Module], path: str, group: Group, uses: dict[str, tuple[nn.Module, str]]
) -> None:
    """Put stacked layers in the place of a module's children, and note which parameter each attribute is."""
    if isinstance(module, GraphConvolution) and module.learned is not None:
        module.learned = None
        del module.learned
        uses[f"{path}learned"] = (module, "learned_of_replicas")
        module.register_forward_pre_hook(_repeat_learned)
        module.register_forward_hook(_forget_learned)
    for name, buffer in module.named_buffers(recurse=False):
        if any(not torch.equal(buffer, getattr(source, name)) for source in sources):
            msg = f"networks differ in {path}{name}, or it is not known how to stack it"
            raise ValueError(msg)
    for name, child in list(module.named_children()):
        below = f"{path}{name}."
        own = [getattr(source, name) for source in sources]
        layer: _Layer
        parts = {"weight": "weight", "bias": "bias"}
        if isinstance(child, nn.Linear):
            layer = StackedLinear(group)
        elif isinstance(child, nn.Conv1d | nn.Conv2d):
            layer = StackedConvolution(group, child)
            if parametrize.is_parametrized(child, "weight"):
                del parts["weight"]
                parts |= {f"parametrizations.weight.original{k}": name for k, name in enumerate(_WEIGHT_NORM)}
        elif isinstance(child, FrameNorm):
            layer = StackedNorm(group, own)
        elif isinstance(child, nn.Dropout | nn.Dropout1d):
            layer = StackedDropout(group, child)
        else:
            _swap(child, own, below, group, uses)
            continue
        layer.train(child.training)
        known = dict(child.named_parameters())
        uses |= {f"{below}{part}": (layer, attribute) for part, attribute in parts.items() if part in known}
        setattr(module, name, layer)


_WEIGHT_NORM = ("magnitude", "direction")


def _repeat_learned(module: nn.Module, given: tuple[Any, ...]) -> None:
    """Give each window the B of its replica: (R, K, V, V) to (R·N, K, V, V)."""
    learned: Any = module.learned_of_replicas
    module.learned = learned.repeat_interleave(len(given[0]) // len(learned), 0)


def _forget_learned(module: nn.Module, given: tuple[Any, ...], result: Tensor) -> None:
    """Take it away again."""
    del given, result
    layer: Any = module
    layer.learned = None
