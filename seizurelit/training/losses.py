"""The losses of a seizure's logits: weighted cross-entropy and the distillation from a teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def seizure_logits(window_logits: Tensor, window_mask: Tensor) -> Tensor:
    """The mean logit of each seizure over its windows.

    Args:
        window_logits: (B, W, K).
        window_mask: (B, W) bool, False for a window that only fills the batch.

    Returns:
        (B, K).
    """
    mask = window_mask.unsqueeze(-1).to(window_logits.dtype)
    return (window_logits * mask).sum(1) / mask.sum(1).clamp_min(1)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """The mean of (B,) values under (B,) weights whose mean over the fold is 1.

    Divided by the batch's size and not by its weights: else a batch of one class would undo the balance.
    """
    return (values * weight).mean()


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    smoothing: float = 0.0,
    *,
    mean: Callable[[Tensor, Tensor], Tensor] = weighted_mean,
) -> Tensor:
    """Weighted cross-entropy of (B, K) logits against (B,) classes.

    Args:
        logits: (B, K).
        target: (B,) class indices.
        weight: (B,) weight of each seizure.
        smoothing: share of the target spread evenly over the classes (Szegedy et al., 2016).
        mean: of (B,) values under (B,) weights.
    """
    return mean(functional.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing), weight)


def distillation(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor,
    temperature: float,
    *,
    mean: Callable[[Tensor, Tensor], Tensor] = weighted_mean,
) -> Tensor:
    """T²·KL(teacher ‖ student) of softened scores (Hinton et al., 2015, section 2), weighted as the cross-entropy is.

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits, without gradient.
        weight: (B,) weight of each seizure.
        temperature: T.
        mean: of (B,) values under (B,) weights.
    """
    log_student = torch.log_softmax(student / temperature, dim=-1)
    log_teacher = torch.log_softmax(teacher / temperature, dim=-1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(-1)
    return temperature**2 * mean(divergence, weight)
