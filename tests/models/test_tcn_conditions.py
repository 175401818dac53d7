"""The TCN that is told a condition apart from its features: normalisation and classifier of each condition."""

from __future__ import annotations

import pytest
import torch

from seizurelit.models.tcn import ConditionNorm, Tcn


def one_hot(index: torch.Tensor, conditions: int) -> torch.Tensor:
    """-1 is no condition."""
    return torch.nn.functional.one_hot(index + 1, conditions + 1)[:, 1:].float()


def test_each_condition_is_normalised_by_itself_however_few_of_it_a_batch_has():
    torch.manual_seed(0)
    norm = ConditionNorm(5, 3, span=10_000)
    index = torch.randint(-1, 3, (2_000,))
    scale = torch.tensor([1.0, 10.0, 0.01, 3.0])
    x = (torch.randn(2_000, 5) + 4) * scale[index][:, None]
    for part, told in zip(x.split(7), one_hot(index, 3).split(7), strict=True):
        norm(part, told)
    for condition in (-1, 0, 1, 2):
        own = x[index == condition]
        slot = condition % 4
        torch.testing.assert_close(norm.mean[slot], own.mean(0), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(norm.variance[slot], own.var(0, correction=0), rtol=1e-2, atol=1e-7)
    before = norm.mean.clone()
    z = norm.eval()(x, one_hot(index, 3))
    assert torch.equal(norm.mean, before)
    assert z[index == 0].mean().abs() < 0.02
    assert (z[index == 0].std() - 1).abs() < 0.02


def test_old_windows_are_forgotten():
    norm = ConditionNorm(1, 1, span=50)
    told = torch.ones(10, 1)
    for value in (0.0, 8.0):
        for _ in range(50):
            norm(torch.full((10, 1), value), told)
    assert norm.mean[0].item() == pytest.approx(8, abs=0.01)


@pytest.mark.parametrize("levels", [0, 2])
def test_conditions_have_classifiers_of_their_own(levels: int):
    torch.manual_seed(0)
    network = Tcn(6, 3, 8, levels, dropout=0.0, pool="mean_std", conditions=4)
    x, told = torch.randn(8, 6, 20), one_hot(torch.tensor([0, 1, 2, 3] * 2), 4)
    network(x, None, told)
    network.eval()
    before = network(x, None, told)
    assert before.shape == (8, 3)
    with torch.no_grad():
        network.classifier.weight[:3] += 1  # of condition 0
    after = network(x, None, told)
    changed = (after != before).any(1)
    assert changed.tolist() == [True, False, False, False] * 2
    longer = torch.cat([x, torch.full((8, 6, 5), float("nan"))], dim=2)
    torch.testing.assert_close(network(longer, torch.arange(25).expand(8, -1) < 20, told), after, rtol=1e-4, atol=1e-5)


def test_a_window_of_no_condition_is_refused_nothing_and_told_nothing():
    """Its logits are 0: no classifier is of its kind."""
    network = Tcn(6, 2, 8, 1, conditions=4).eval()
    logits = network(torch.randn(2, 6, 20), None, torch.zeros(2, 4))
    assert torch.equal(logits, torch.zeros(2, 2))


def test_without_a_condition_the_network_says_what_it_lacks():
    with pytest.raises(ValueError, match="condition"):
        Tcn(6, 2, 8, 1, conditions=4)(torch.randn(2, 6, 20))
