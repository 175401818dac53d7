"""The AGCN's parts. What needs a GPU is skipped without one."""

from __future__ import annotations

import copy

import pytest
import torch

from seizurelit.cohort.skeleton import built_in
from seizurelit.models import Agcn, Tcn
from seizurelit.models.agcn import spread
from seizurelit.models.stacked import stack

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def test_a_product_of_each_frame_is_the_one_of_all():
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(2, 3, 11, 11, generator=generator, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(2, 7, 11, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 7, 11, 3, 5, generator=generator, dtype=torch.float64)
    expected = torch.einsum("nkij,ntic->ntjkc", A, rows)
    wanted = torch.autograd.grad((expected * weight).sum(), (A, rows))
    for by_frame in (False, True):
        found = spread(A, rows, by_frame=by_frame)
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
        for got, want in zip(torch.autograd.grad((found * weight).sum(), (A, rows)), wanted, strict=True):
            torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


@gpu
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("model", ["agcn", "tcn"])
def test_a_gpu_computes_what_the_processor_does(model: str, stacked: bool):
    torch.manual_seed(0)
    if model == "tcn":
        made, x = [Tcn(20, 2, channels=8, levels=3, dropout=0.0) for _ in range(3)], torch.randn(6, 20, 40)
    else:
        made, x = [Agcn(built_in("body11").adjacency(), 4, 2) for _ in range(3)], torch.randn(6, 4, 40, 11)
    found = []
    for device in ("cpu", "cuda"):
        networks = [copy.deepcopy(network).double().to(device) for network in made]
        network, fitted = networks[0], list(networks[0].parameters())
        if stacked:
            network, replicas = stack(networks)
            network, fitted = network.to(device), [replicas.flat]
            replicas.fill()
        logits = network(x.double().to(device))
        gradients = torch.autograd.grad(logits.square().sum(), fitted)
        found.append([logits.detach().cpu(), *(gradient.cpu() for gradient in gradients)])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu, atol=1e-8, rtol=1e-7)
