import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from seizurelit.training.losses import cross_entropy, distillation, seizure_logits


def test_seizure_logits_ignore_windows_that_only_fill_the_batch():
    logits = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [99.0, -99.0]], [[5.0, 5.0], [7.0, 7.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    torch.testing.assert_close(seizure_logits(logits, mask), torch.tensor([[2.0, 1.0], [7.0, 7.0]]))


def test_cross_entropy_is_torchs_for_equal_weights():
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(cross_entropy(logits, target, torch.ones(6)), functional.cross_entropy(logits, target))


def test_a_weight_counts_as_that_many_seizures():
    logits, target = torch.randn(2, 2), torch.tensor([0, 1])
    weighted = cross_entropy(logits, target, torch.tensor([1.5, 0.5]))
    repeated = functional.cross_entropy(logits[[0, 0, 0, 1]], target[[0, 0, 0, 1]])
    torch.testing.assert_close(weighted, repeated)


@given(st.floats(0.5, 10), st.integers(2, 5), st.integers(0, 1000))
def test_distillation_is_zero_for_the_teachers_own_logits_and_positive_elsewhere(temperature, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.randn(4, classes, generator=generator)
    student = torch.randn(4, classes, generator=generator)
    weight = torch.ones(4)
    assert distillation(teacher, teacher, weight, temperature).item() == pytest.approx(0, abs=1e-5)
    assert distillation(student, teacher, weight, temperature).item() > 0


def test_distillation_is_hintons():
    student, teacher = torch.randn(5, 2), torch.randn(5, 2)
    expected = 16 * functional.kl_div(
        torch.log_softmax(student / 4, -1), torch.softmax(teacher / 4, -1), reduction="batchmean"
    )
    torch.testing.assert_close(distillation(student, teacher, torch.ones(5), 4.0), expected)
