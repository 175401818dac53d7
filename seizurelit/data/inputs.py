"""The channels that a keypoint network sees: joint, bone, motion, displacement, the root's path or velocity, confidence."""

from __future__ import annotations

import torch
from torch import Tensor

from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import Inputs


def channels_in(inputs: Inputs, skeleton: Skeleton) -> int:
    """How many channels `keypoint_channels` makes.

    Args:
        inputs: which.
        skeleton: its dimensions.
    """
    vectors = len(inputs.features) + (inputs.root == "velocity")
    return vectors * skeleton.dimensions + inputs.confidence


def bones(keypoints: Tensor, seen: Tensor, skeleton: Skeleton) -> Tensor:
    """Child minus parent for each joint (2s-AGCN, Section 4.2); 0 for the root and where either is missing.

    Args:
        keypoints: (…, T, V, C).
        seen: (…, T, V).
        skeleton: the tree.

    Returns:
        (…, T, V, C).
    """
    parents = torch.tensor(skeleton.parents, device=keypoints.device)
    both = seen & seen.index_select(-1, parents)
    return (keypoints - keypoints.index_select(-2, parents)) * both.unsqueeze(-1)


def motion(keypoints: Tensor, seen: Tensor) -> Tensor:
    """The next frame minus this one, in unit lengths a frame; 0 in the last frame and where either is missing.

    Args:
        keypoints: (…, T, V, C).
        seen: (…, T, V).

    Returns:
        (…, T, V, C).
    """
    both = seen[..., 1:, :] & seen[..., :-1, :]
    step = (keypoints[..., 1:, :, :] - keypoints[..., :-1, :, :]) * both.unsqueeze(-1)
    return torch.cat([step, torch.zeros_like(keypoints[..., :1, :, :])], dim=-3)


def displacement(keypoints: Tensor, seen: Tensor) -> Tensor:
    """Each joint minus its mean over the frames of the window in which it is seen; 0 where it is missing.

    Args:
        keypoints: (…, T, V, C), 0 where missing.
        seen: (…, T, V), false in padding.

    Returns:
        (…, T, V, C).
    """
    weight = seen.unsqueeze(-1).to(keypoints.dtype)
    mean = (keypoints * weight).sum(-3, keepdim=True) / weight.sum(-3, keepdim=True).clamp(min=1)
    return (keypoints - mean) * weight


def velocity(path: Tensor, real: Tensor, fps: float) -> Tensor:
    """Velocity of the root, in unit lengths a second; 0 in the last real frame.

    Args:
        path: (…, T, C) in unit lengths.
        real: (…, T) bool, false for padding.
        fps: frames a second of the path.

    Returns:
        (…, T, C).
    """
    step = (path[..., 1:, :] - path[..., :-1, :]) * (real[..., 1:] & real[..., :-1]).unsqueeze(-1) * fps
    return torch.cat([step, torch.zeros_like(path[..., :1, :])], dim=-2)


def keypoint_channels(
    keypoints: Tensor,
    confidence: Tensor,
    path: Tensor,
    real: Tensor,
    *,
    inputs: Inputs,
    skeleton: Skeleton,
    fps: float,
) -> Tensor:
    """Stack the chosen channels.

    Args:
        keypoints: (B, W, T, V, C) normalised, 0 where missing.
        confidence: (B, W, T, V), 0 where missing and in padding.
        path: (B, W, T, C) of the root in unit lengths.
        real: (B, W, T) bool, false for padding.
        inputs: which channels.
        skeleton: the tree.
        fps: frames a second of the clip.

    Returns:
        (B, W, C', T, V): the features in the order of `inputs.features`, the velocity of the root, the
        confidence. All of it is 0 in padding. In memory the channels come last.
    """
    seen = confidence > 0
    V = confidence.shape[-1]
    placed = keypoints
    if inputs.root == "path":
        placed = keypoints.clone()
        placed[..., skeleton.root, :] = path * seen[..., skeleton.root, None]
    stack = []
    for feature in inputs.features:
        if feature == "joint":
            stack.append(placed)
        elif feature == "bone":
            stack.append(bones(keypoints, seen, skeleton))
        elif feature == "motion":
            stack.append(motion(placed, seen))
        else:
            stack.append(displacement(placed, seen))
    if inputs.root == "velocity":
        stack.append(velocity(path, real, fps).unsqueeze(-2).expand(-1, -1, -1, V, -1))
    if inputs.confidence:
        stack.append(confidence.unsqueeze(-1))
    channels = stack[0] if len(stack) == 1 else torch.cat(stack, dim=-1)
    return channels.permute(0, 1, 4, 2, 3)
