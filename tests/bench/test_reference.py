"""The plain networks that the benchmarks compare with compute what ours compute."""

import pytest
import torch

from bench.reference import ReferenceAgcn, ReferenceTcn, copy_agcn, copy_tcn
from seizurelit.cohort.skeleton import built_in
from seizurelit.models import Agcn, Tcn


def close(ours, theirs):
    assert (ours - theirs).norm() <= 1e-9 * theirs.norm()


@pytest.mark.parametrize("variant", ["small", "ten_block"])
def test_reference_agcn_has_our_logits_and_gradients(variant):
    torch.manual_seed(0)
    adjacency = torch.from_numpy(built_in("body11").adjacency())
    ours = Agcn(adjacency, 4, 2, variant=variant).double()
    reference = ReferenceAgcn(adjacency, 4, 2, variant=variant).double()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    copy_agcn(ours, reference)
    x = torch.randn(3, 4, 40, 11, dtype=torch.float64)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    labels = torch.tensor([0, 1, 1])
    found, expected = ours(one), reference(two)
    close(found, expected)
    torch.nn.functional.cross_entropy(found, labels).backward()
    torch.nn.functional.cross_entropy(expected, labels).backward()
    close(one.grad, two.grad)
    close(ours.blocks[0].spatial.learned.grad, reference.spatial[0].learned.grad)


def test_reference_tcn_has_our_logits():
    torch.manual_seed(0)
    ours = Tcn(12, 2, channels=16, levels=3, dropout=0.2).double().eval()
    reference = ReferenceTcn(12, 2, channels=16, levels=3, kernel=3, dropout=0.2).double().eval()
    copy_tcn(ours, reference)
    x = torch.randn(3, 12, 50, dtype=torch.float64)
    close(ours(x), reference(x))
