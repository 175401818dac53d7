"""A training step's forward and backward pass as one CUDA graph.

The networks are small: on a GPU, starting their kernels one by one takes many times as long as the kernels themselves. A graph
starts all of them at once. It holds the kernels of one shape of batch with the addresses that they work on, so that each shape has
its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

PRECISIONS = ("32-true", "64-true", "bf16-mixed")
"""Those whose loss is not scaled before its backward pass."""
BEFORE = 2
"""Batches of a shape that are seen before a graph of it is captured: a rare shape is not worth it."""


class Graphs:
    """Does what `passes` does, by replaying.

    Its Python runs while a graph is captured and not again: what may change between batches must be in the batch's tensors or in
    `kind`. Parameters and buffers must stay where they are in memory, as an optimiser and `load_state_dict` leave them.

    Args:
        passes: a batch to the loss, a scalar, and further tensors without gradient.
        module: whose parameters get gradients, and whose buffers the passes renew.
        generators: of random numbers, beside the device's own.
    """

    def __init__(
        self,
        passes: Callable[[Any], tuple[Tensor, ...]],
        module: nn.Module,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.passes = passes
        self.module = module
        self.generators = tuple(generators)
        # One memory for all: what a graph leaves in it is taken out before the next is replayed.
        self.pool = torch.cuda.graph_pool_handle()
        self._seen: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, batch: Sequence[Any], kind: Hashable = None) -> tuple[Tensor, ...]:
        """The passes over a batch.

        Args:
            batch: a NamedTuple whose tensors are on the device.
            kind: what else decides what the passes do.
        """
        key = (kind, *((one.shape, one.dtype) if isinstance(one, Tensor) else one for one in batch))
        if key not in self._graphs:
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] <= BEFORE or torch.is_anomaly_enabled():
                return self.passes(batch)
            self._graphs[key] = _Graph(self, batch)
        return self._graphs[key].replay(batch)


class _Graph:
    """The passes over batches of one shape."""

    def __init__(self, graphs: Graphs, batch: Any) -> None:
        self.batch = type(batch)(*(one.clone() if isinstance(one, Tensor) else one for one in batch))
        parameters = [one for one in graphs.module.parameters() if one.requires_grad]

        def both() -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
            dtype, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
            with torch.autocast("cuda", dtype, enabled, cache_enabled=False):
                found = graphs.passes(self.batch)
            with torch.autocast("cuda", enabled=False):
                return found, torch.autograd.grad(found[0], parameters, allow_unused=True)

        with torch.enable_grad():
            self._warm_up(graphs, both)
            self.graph = torch.cuda.CUDAGraph()
            for generator in graphs.generators:
                self.graph.register_generator_state(generator)
            with torch.cuda.graph(self.graph, pool=graphs.pool):
                found, gradients = both()
        self.found = tuple(one.detach() for one in found)
        self.fitted = [one for one, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
        self.gradients = [gradient for gradient in gradients if gradient is not None]

    @staticmethod
    def _warm_up(graphs: Graphs, both: Callable[[], object]) -> None:
        """Run the passes on a stream of their own, as torch asks for; no running statistic and no random number changes."""
        buffers = list(graphs.module.buffers())
        before = [buffer.clone() for buffer in buffers]
        random, own = torch.cuda.get_rng_state(), [generator.get_state() for generator in graphs.generators]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            both()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
        torch.cuda.set_rng_state(random)
        for generator, state in zip(graphs.generators, own, strict=True):
            generator.set_state(state)

    def replay(self, batch: Sequence[Any]) -> tuple[Tensor, ...]:
        """The passes over a batch; the loss has the gradients that were computed with it."""
        for own, given in zip(self.batch, batch, strict=True):
            if isinstance(own, Tensor):
                own.copy_(given)
        self.graph.replay()
        loss: Tensor = _Computed.apply(self.found[0], self.gradients, *self.fitted)  # type: ignore[no-untyped-call]
        return loss, *(one.clone() for one in self.found[1:])


class _Computed(torch.autograd.Function):
    """A loss whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        """The loss, a copy."""
        del parameters
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The known gradients times that of the loss: copies, as the next replay writes over them."""
        return None, None, *torch._foreach_mul(ctx.gradients, gradients[0])
