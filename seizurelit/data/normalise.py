"""Keypoints of a clip in units of the body: what depends on where, how large and which way round the person was filmed goes.

Only the clip itself is used, no statistic of the cohort, so that nothing can leak. All functions are batched over leading axes
(…, T, V, C), C of x, y, z; `seen` (…, T, V) is true where a joint was found. What was not found is 0 on the way out and is never
looked at on the way in, except that it must be finite.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import Inputs


def _masked_median(values: Tensor, valid: Tensor) -> Tensor:
    """The (lower) median over the last axis of the valid values, NaN where there is none.

    Sorted: torch's own median along an axis has no kernel for a GPU that is allowed where kernels must be deterministic.
    """
    ordered = values.masked_fill(~valid, torch.inf).sort(dim=-1).values
    count = valid.sum(-1, keepdim=True)
    middle = ordered.gather(-1, (count - 1).clamp(min=0) // 2)
    return middle.masked_fill(count == 0, torch.nan).squeeze(-1)


def track(keypoints: Tensor, seen: Tensor, joint: int) -> Tensor:
    """The path of a joint: where it is not seen, it stays where it was last, and before that where it is first.

    Args:
        keypoints: (…, T, V, C).
        seen: (…, T, V).
        joint: index.

    Returns:
        (…, T, C); 0 throughout if it is never seen.
    """
    path, found = keypoints[..., joint, :], seen[..., joint]
    if bool(found.all()):
        return path
    time = torch.arange(found.shape[-1], device=found.device)
    latest = torch.where(found, time, -1).cummax(dim=-1).values
    first = found.to(torch.uint8).argmax(dim=-1, keepdim=True)
    index = torch.where(latest < 0, first, latest)
    path = path.gather(-2, index.unsqueeze(-1).expand(path.shape))
    return path.masked_fill(~found.any(dim=-1)[..., None, None], 0.0)


def unit_length(keypoints: Tensor, seen: Tensor, skeleton: Skeleton) -> Tensor:
    """The clip's unit: the median distance of the skeleton's two scale joints.

    Args:
        keypoints: (…, T, V, C).
        seen: (…, T, V).
        skeleton: names the two joints.

    Returns:
        (…,) above 0. If the two are never seen together, the median distance of the seen joints from their centre; if nothing is
        seen, 1.
    """
    a, b = skeleton.scale
    both = seen[..., a] & seen[..., b]
    unit = _masked_median((keypoints[..., a, :] - keypoints[..., b, :]).norm(dim=-1), both)
    usable = unit > 1e-6
    if bool(usable.all()):
        return unit
    weight = seen.unsqueeze(-1).to(keypoints.dtype)
    centre = (keypoints * weight).sum(-2, keepdim=True) / weight.sum(-2, keepdim=True).clamp(min=1)
    spread = _masked_median((keypoints - centre).norm(dim=-1).flatten(-2), seen.flatten(-2))
    unit = torch.where(usable, unit, spread)
    return torch.where(unit > 1e-6, unit, torch.ones_like(unit))


def normalise(keypoints: Tensor, seen: Tensor, root: Tensor | None, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Subtract the root joint of every frame and divide by the clip's unit of length.

    Args:
        keypoints: (…, T, V, C).
        seen: (…, T, V).
        root: (…, T, C) path that was subtracted from the keypoints before, or None.
        skeleton: root and scale.

    Returns:
        Keypoints (…, T, V, C) and the path of the root (…, T, C) with its first frame as origin, both in unit lengths.
    """
    centre = track(keypoints, seen, skeleton.root)
    unit = unit_length(keypoints, seen, skeleton)[..., None, None]
    path = centre if root is None else centre + root
    path = (path - path[..., :1, :]) / unit
    keypoints = (keypoints - centre.unsqueeze(-2)) / unit.unsqueeze(-1)
    return keypoints * seen.unsqueeze(-1), path


def seen_from_the_front(skeleton: Skeleton) -> Skeleton:
    """A 3D skeleton in the two axes that `without_depth` leaves, lateral and vertical; a 2D one as it is."""
    if skeleton.dimensions == 2:
        return skeleton
    return dataclasses.replace(skeleton, channels=("x", "y", "confidence"), up="y")


def seen_by_networks(skeleton: Skeleton | None, inputs: Inputs) -> Skeleton:
    """The joints and axes that a network is given of a cohort's skeleton; ValueError where there is none."""
    if skeleton is None:
        msg = "there are no keypoints"
        raise ValueError(msg)
    return seen_from_the_front(skeleton) if inputs.dimensions == 2 else skeleton


def without_depth(points: Tensor, skeleton: Skeleton) -> Tensor:
    """Keep the lateral and the vertical axis.

    Args:
        points: (…, C).
        skeleton: tells which axis is vertical; of two dimensions, it leaves the points as they are.

    Returns:
        (…, 2), lateral and vertical, as `seen_from_the_front` has them.
    """
    if skeleton.dimensions == 2:
        return points
    return points[..., [turned_plane(skeleton)[0], "xyz".index(skeleton.up)]]


def standard_proportions(keypoints: Tensor, seen: Tensor, skeleton: Skeleton) -> Tensor:
    """Give every bone the skeleton's standard length and leave its direction.

    A bone whose parent is missing starts at the nearest ancestor that is seen.

    Args:
        keypoints: (…, T, V, C) normalised, the root at 0.
        seen: (…, T, V).
        skeleton: with lengths.

    Returns:
        (…, T, V, C) in the lengths' unit, 0 where missing.
    """
    parents = skeleton.parents
    lineage = torch.zeros(len(parents), len(parents), dtype=keypoints.dtype, device=keypoints.device)
    for joint in range(len(parents)):
        ancestor = joint
        while ancestor != skeleton.root:
            lineage[joint, ancestor] = 1.0
            ancestor = parents[ancestor]
    length = torch.zeros(len(parents), dtype=keypoints.dtype, device=keypoints.device)
    for (child, _), standard in zip(skeleton.bones, skeleton.lengths or (), strict=True):
        length[child] = standard
    filled = keypoints
    if not bool(seen.all()):
        filled = keypoints.clone()
        for joint in lineage.sum(1).argsort().tolist():  # parents first
            here = seen[..., joint].unsqueeze(-1)
            filled[..., joint, :] = torch.where(here, keypoints[..., joint, :], filled[..., parents[joint], :])
    bone = filled - filled[..., list(parents), :]
    bone = bone * (length / bone.norm(dim=-1).clamp(min=1e-6)).unsqueeze(-1)
    return torch.einsum("ja,...ac->...jc", lineage, bone) * seen.unsqueeze(-1)


def rotate(points: Tensor, angle: Tensor, skeleton: Skeleton) -> Tensor:
    """Turn about the vertical axis (3D) or in the plane (2D).

    Args:
        points: (…, C) with any axes between those of the angle and C.
        angle: (…) radians, from the first towards the second axis of the turned plane.
        skeleton: its dimensions and vertical axis.

    Returns:
        As `points`.
    """
    first, second = turned_plane(skeleton)
    angle = angle.view(*angle.shape, *(1,) * (points.ndim - 1 - angle.ndim))
    cos, sin = angle.cos(), angle.sin()
    parts = list(points.unbind(-1))
    parts[first], parts[second] = (
        parts[first] * cos - parts[second] * sin,
        parts[first] * sin + parts[second] * cos,
    )
    return torch.stack(parts, dim=-1)


def turned_plane(skeleton: Skeleton) -> tuple[int, int]:
    """The two axes that a rotation mixes: x and y in 2D; in 3D those that are not vertical, the lateral one first."""
    if skeleton.dimensions == 2:
        return 0, 1
    horizontal = [axis for axis, name in enumerate("xyz") if name != skeleton.up]
    return horizontal[0], horizontal[1]


def face_camera(keypoints: Tensor, path: Tensor, seen: Tensor, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Turn a clip about the vertical axis until the median line of the `facing` pair, left to right, lies along the lateral axis.

    Args:
        keypoints: (…, T, V, C) normalised.
        path: (…, T, C) of the root.
        seen: (…, T, V).
        skeleton: of three dimensions and with a facing pair; any other is left as it is.

    Returns:
        Both, turned.
    """
    if skeleton.facing is None or skeleton.dimensions == 2:
        return keypoints, path
    left, right = skeleton.facing
    first, second = turned_plane(skeleton)
    both = seen[..., left] & seen[..., right]
    line = keypoints[..., right, :] - keypoints[..., left, :]
    # Side by side, so that torch takes each angle alone: many in a row it computes otherwise, and a clip's last bit would depend on
    # how many others there are.
    along = torch.stack([_masked_median(line[..., axis], both) for axis in (first, second)], dim=-1)
    angle = -torch.atan2(along[..., 1], along[..., 0]).nan_to_num(0.0)
    return rotate(keypoints, angle, skeleton), rotate(path, angle, skeleton)


def left_moves_more(keypoints: Tensor, seen: Tensor, skeleton: Skeleton) -> Tensor:
    """Whether the left joints of a clip move more than their right twins.

    How much a joint moves is its range over the clip, summed over the axes.

    Args:
        keypoints: (…, T, V, C) normalised.
        seen: (…, T, V).
        skeleton: `flip` names the pairs, left then right.

    Returns:
        (…) bool; false where neither is seen.
    """
    missing = ~seen.unsqueeze(-1)
    high = keypoints.masked_fill(missing, -torch.inf).amax(-3)
    low = keypoints.masked_fill(missing, torch.inf).amin(-3)
    extent = (high - low).clamp(min=0).sum(-1)
    left, right = (torch.tensor(side, device=keypoints.device) for side in zip(*skeleton.flip, strict=True))
    return extent.index_select(-1, left).sum(-1) > extent.index_select(-1, right).sum(-1)
