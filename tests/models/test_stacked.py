"""Stacked layers against the layers that they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seizurelit.cohort.skeleton import built_in
from seizurelit.models import Agcn, Tcn
from seizurelit.models.stacked import StackedConvolution, _drawn_by_kernel, _Normalise, stack

R, N = 3, 4
COUNTS = (4, 3, 0)
"""Real windows of each replica."""


def make(name: str) -> nn.Module:
    if name == "tcn":
        network: nn.Module = Tcn(20, 2, channels=8, levels=3, dropout=0.0)
    else:
        adaptive = name != "gcn"
        network = Agcn(built_in("body11").adjacency(), 4, 2, variant="small", adaptive=adaptive)
    for parameter in network.parameters():  # B and the biases start at 0
        nn.init.normal_(parameter, std=0.1)
    return network.double()


@pytest.mark.parametrize("name", ["agcn", "gcn", "tcn"])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("convolution", ["grouped", "unfolded"])
def test_logits_gradients_and_statistics_are_those_of_each_network(
    name: str, mode: str, padded: bool, convolution: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(StackedConvolution, "grouped", getattr(StackedConvolution, convolution))  # as on a GPU
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(1)
    networks = [make(name).train(mode == "train") for _ in range(R)]
    stacked, replicas = stack(networks)
    shape = (R * N, 20, 40) if name == "tcn" else (R * N, 4, 40, 11)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    mask = torch.ones(R * N, 40, dtype=torch.bool)
    counts = (N,) * R
    if padded:
        counts = COUNTS
        for replica, count in enumerate(counts):
            mask[replica * N + count : (replica + 1) * N] = False
        mask[1, 29:] = False
        x = x * mask.view(R * N, 1, 40, *(1,) * (x.ndim - 3))
    replicas.fill()
    together = stacked(x, mask)
    before = [{key: value.clone() for key, value in network.state_dict().items()} for network in networks]
    total = torch.zeros((), dtype=torch.float64)
    for replica, (network, count) in enumerate(zip(networks, counts, strict=True)):
        mine = slice(replica * N, replica * N + count)
        if count:
            expected = network(x[mine], mask[mine])
            torch.testing.assert_close(together[mine], expected, atol=1e-12, rtol=1e-10)
            expected.square().sum().backward()
            total = total + together[mine].square().sum()
    total.backward()
    assert replicas.flat.grad is not None
    for replica, (network, count) in enumerate(zip(networks, counts, strict=True)):
        state = replicas.state(replica)
        assert state.keys() == network.state_dict().keys()
        for key, value in (network.state_dict() if count else before[replica]).items():
            torch.testing.assert_close(state[key], value, atol=1e-12, rtol=1e-10)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
        expected = torch.cat([gradient.flatten() for gradient in gradients])
        torch.testing.assert_close(replicas.flat.grad[replica], expected, atol=1e-12, rtol=1e-8)


@pytest.mark.parametrize("padded", [False, True])
def test_the_normalisations_gradient_is_its_derivative(padded: bool):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    gamma, beta = (
        torch.randn(2, 1, 1, 1, 2, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)
    )
    real = torch.ones(2, 3, 4, 1, 1, dtype=torch.float64)
    real[1, 2] = real[0, 1, 3] = 0
    count = real.sum((1, 2, 3, 4), keepdim=True) * 2 if padded else torch.full((2, 1, 1, 1, 1), 24.0).double()

    def normalised(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = _Normalise.apply(x, real if padded else None, gamma, beta, count, 1e-5)[0]
        return y

    assert torch.autograd.gradcheck(normalised, (x, gamma, beta))


def test_a_layer_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="0\\.weight"):
        stack([nn.Sequential(nn.Bilinear(2, 2, 2)) for _ in range(2)])
    with pytest.raises(ValueError, match="differ in adjacency"):
        stack([Agcn(torch.eye(5).expand(3, 5, 5) * scale, 4, 2, variant="small") for scale in (1, 2)])
    for told in ({"input_norm": True}, {"conditions": 2}):
        networks = [Tcn(5, 2, 4, 1, **told) for _ in range(2)]
        for network in networks[1:]:
            for buffer in network.buffers():
                buffer.add_(1)
        with pytest.raises(ValueError, match="know"):
            stack(networks)


def test_dropout_draws_what_each_network_would_alone():
    """By the kernel as a GPU has it, too: on a CPU both ways draw alike."""
    x = torch.ones(R * N, 5)
    stacked, replicas = stack([nn.Sequential(nn.Dropout(0.3), nn.Linear(5, 1)) for _ in range(R)])
    replicas.group.generators = [torch.Generator().manual_seed(k) for k in range(R)]
    replicas.group.windows = COUNTS
    expected = torch.zeros(2, R, N, 5)
    for replica, count in enumerate(COUNTS):
        torch.manual_seed(replica)
        for draw in expected if count else ():
            draw[replica, :count] = nn.functional.dropout(torch.ones(count, 5), 0.3)
    torch.manual_seed(9)
    state = torch.get_rng_state()
    for draw in expected:
        torch.testing.assert_close(stacked[0](x).view(R, N, 5), draw)
    generator = torch.Generator().manual_seed(0)
    for draw in expected:
        kept = _drawn_by_kernel(torch.empty(COUNTS[0], 5), 0.3, generator)
        assert torch.equal(kept, draw[0] > 0)
    assert torch.equal(torch.get_rng_state(), state)
