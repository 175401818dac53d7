"""Random changes of training windows: drawn for a whole batch at once, each shared by all frames of its window.

Drawing is apart from applying: a `Draw` holds every random number of a batch, drawn on the CPU in one fixed order, so that
the same seed and epoch give the same batch on any device and for any choice of modalities. Axes: B seizures, W windows of
each, T frames, V joints, C of x, y, z, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import Augmentation, Inputs
from seizurelit.data.normalise import rotate, turned_plane
from seizurelit.errors import InputError


class Later(NamedTuple):
    """Seeds of some seizures of a batch.

    Attributes:
        seizures: how many.
        noise: seeds the noise.
        joints: likewise the joints to drop.
        features: likewise the features to drop.
    """

    seizures: int
    noise: int
    joints: int
    features: int

    @staticmethod
    def uniform(seeds: Iterable[tuple[int, int]], *shape: int) -> Tensor:
        """(B, …) uniform numbers of seizures with their seeds, given as (seizures, seed)."""
        drawn = [torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) for count, seed in seeds]
        return torch.cat(drawn)


@dataclass(frozen=True)
class Draw:
    """The random numbers of a batch's windows.

    Attributes:
        speed: (B, W) factor of the clock.
        flip: (B, W) bool.
        angle: (B, W) radians.
        scale: (B, W) factor of size.
        later: what seeds the numbers that are drawn only where they are wanted: of the B seizures, or of some after others.
    """

    speed: Tensor
    flip: Tensor
    angle: Tensor
    scale: Tensor
    later: tuple[Later, ...]


class Numbers(NamedTuple):
    """All that is random about a batch, before any setting is looked at.

    Attributes:
        seizure: (B,) index into the store.
        uniform: (4, B, W) float32, for flip, angle, scale and speed.
        place: (B, W) float64, for where a window starts.
        later: seeds of the rest.
    """

    seizure: Tensor
    uniform: Tensor
    place: Tensor
    later: tuple[Later, ...]

    @classmethod
    def of(cls, seizure: Tensor, windows: int, generator: torch.Generator) -> Numbers:
        """Draw those of so many windows of each seizure (B,)."""
        uniform, later = _uniform(len(seizure), windows, generator)
        place = torch.rand(len(seizure), windows, generator=generator, dtype=torch.float64)
        return cls(seizure, uniform, place, (later,))

    @classmethod
    def joined(cls, several: Sequence[Numbers]) -> Numbers:
        """Those of several batches, one after the other; not for noise, whose numbers depend on a batch's frames."""
        return cls(
            torch.cat([one.seizure for one in several]),
            torch.cat([one.uniform for one in several], dim=1),
            torch.cat([one.place for one in several]),
            tuple(part for one in several for part in one.later),
        )


def _uniform(seizures: int, windows: int, generator: torch.Generator) -> tuple[Tensor, Later]:
    uniform = torch.rand(4, seizures, windows, generator=generator)
    noise, joints, features = torch.randint(2**62, (3,), generator=generator).tolist()
    return uniform, Later(seizures, noise, joints, features)


def draw(settings: Augmentation, seizures: int, windows: int, generator: torch.Generator) -> Draw:
    """Draw the changes of a batch.

    Args:
        settings: their ranges.
        seizures: B.
        windows: W.
        generator: on the CPU; it is advanced by the same amount whatever the settings.
    """
    uniform, later = _uniform(seizures, windows, generator)
    return changes(settings, uniform, (later,))


def changes(settings: Augmentation, uniform: Tensor, later: tuple[Later, ...]) -> Draw:
    """The changes that uniform numbers (4, B, W) stand for."""
    centred = 2 * uniform[1:] - 1
    return Draw(
        flip=uniform[0] < settings.flip,
        angle=centred[0] * settings.rotation,
        scale=1 + centred[1] * settings.scale,
        speed=1 + centred[2] * settings.speed,
        later=later,
    )


def refuse_flip(settings: Augmentation, inputs: Inputs, classes: tuple[str, ...]) -> None:
    """Classes that name a side are not what they were after a left/right flip.

    Raises:
        InputError: there is such a class and flips are asked for.
    """
    sided = [name for name in classes if any(side in name.lower() for side in ("left", "right"))]
    if sided and settings.flip > 0:
        msg = (
            f"--augmentation.flip {settings.flip}: would turn the class {', '.join(sided)} into its opposite; "
            "give --augmentation.flip 0"
        )
        raise InputError(msg)
    if sided and inputs.side:
        msg = f"--inputs.side: would turn the class {', '.join(sided)} into its opposite; give --inputs.side false"
        raise InputError(msg)


def mirror(points: Tensor, skeleton: Skeleton) -> Tensor:
    """Change the sign of the lateral axis of (…, C)."""
    sign = torch.ones(points.shape[-1], dtype=points.dtype, device=points.device)
    sign[turned_plane(skeleton)[0]] = -1
    return points * sign


def flip_keypoints(keypoints: Tensor, confidence: Tensor, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Mirror left and right: the lateral axis changes its sign and paired joints swap. Twice is the identity.

    Args:
        keypoints: (…, T, V, C) relative to the root.
        confidence: (…, T, V).
        skeleton: the pairs.
    """
    swap = torch.tensor(skeleton.flip_permutation, device=keypoints.device)
    return mirror(keypoints.index_select(-2, swap), skeleton), confidence.index_select(-1, swap)


def flip_where(
    chosen: Tensor, keypoints: Tensor, confidence: Tensor, path: Tensor, skeleton: Skeleton
) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror the windows that are chosen, with the path of the root.

    Args:
        chosen: (B, W) bool.
        keypoints: (B, W, T, V, C) relative to the root.
        confidence: (B, W, T, V).
        path: (B, W, T, C) of the root.
        skeleton: the pairs.
    """
    window = chosen[..., None, None]
    flipped, swapped = flip_keypoints(keypoints, confidence, skeleton)
    return (
        torch.where(window.unsqueeze(-1), flipped, keypoints),
        torch.where(window, swapped, confidence),
        torch.where(window, mirror(path, skeleton), path),
    )


def augment_keypoints(
    keypoints: Tensor, confidence: Tensor, path: Tensor, drawn: Draw, *, settings: Augmentation, skeleton: Skeleton
) -> tuple[Tensor, Tensor, Tensor]:
    """Flip, rotate, scale, add noise, drop joints.

    Args:
        keypoints: (B, W, T, V, C) normalised, 0 where missing.
        confidence: (B, W, T, V), 0 where missing.
        path: (B, W, T, C) of the root in unit lengths.
        drawn: the batch's random numbers, on the tensors' device or the CPU.
        settings: their ranges; what is 0 costs nothing.
        skeleton: pairs and axes.

    Returns:
        The three, changed.
    """
    device = keypoints.device
    if settings.flip > 0:
        keypoints, confidence, path = flip_where(drawn.flip.to(device), keypoints, confidence, path, skeleton)
    if settings.rotation > 0:
        angle = drawn.angle.to(device)
        keypoints, path = rotate(keypoints, angle, skeleton), rotate(path, angle, skeleton)
    if settings.scale > 0:
        factor = drawn.scale.to(device)[..., None, None]
        keypoints, path = keypoints * factor.unsqueeze(-1), path * factor
    if settings.noise > 0:
        (later,) = drawn.later
        generator = torch.Generator().manual_seed(later.noise)
        noise = torch.randn(keypoints.shape, generator=generator).to(device)
        keypoints = keypoints + settings.noise * noise * (confidence > 0).unsqueeze(-1)
    if settings.joint_dropout > 0:
        _, W, _, V = confidence.shape
        uniform = Later.uniform(((part.seizures, part.joints) for part in drawn.later), W, 1, V)
        kept = (uniform >= settings.joint_dropout).to(device)
        confidence = confidence * kept
        keypoints = keypoints * kept.unsqueeze(-1)
    return keypoints, confidence, path


def augment_appearance(appearance: Tensor, drawn: Draw, settings: Augmentation) -> Tensor:
    """Drop features of (B, W, T, D) throughout a window and scale up the others, as dropout does."""
    if settings.feature_dropout > 0:
        _, W, _, D = appearance.shape
        uniform = Later.uniform(((part.seizures, part.features) for part in drawn.later), W, 1, D)
        kept = uniform >= settings.feature_dropout
        appearance = appearance * (kept / max(1 - settings.feature_dropout, 1e-6)).to(appearance.device)
    return appearance
