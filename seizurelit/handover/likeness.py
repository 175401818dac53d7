"""How unlike the training cohort a recording is: simple statistics of the clip and their Mahalanobis distance.

The distance is held against those that the training seizures have from the seizures of the other subjects, so that the share of
them that is as far away is a conformal p (Vovk et al., 2005): of recordings like the cohort's, at most a share p is called
unlike. It says that a recording is unlike, never that a score is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import SeizureTensors
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.evaluation.baselines import motion_features

Floats = npt.NDArray[np.float64]

UNLIKE = 0.05
"""From this conformal p down a recording is called unlike; in a cohort too small for it, from the smallest p that there is."""

FEWEST = 8
"""Training seizures below which likeness is not told."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What the training cohort's seizures were like: F statistics of n seizures.

    Attributes:
        names: of the statistics.
        mean: (F,).
        sd: (F,) above 0.
        precision: (F, F) inverse of the Ledoit-Wolf covariance of the standardised statistics.
        distances: (n,) sorted: of each seizure from the seizures of all other subjects.
    """

    names: tuple[str, ...]
    mean: Floats
    sd: Floats
    precision: Floats
    distances: Floats


@dataclass(frozen=True)
class Unlikeness:
    """How far a recording is from the training cohort.

    Attributes:
        distance: Mahalanobis.
        typical: that which 95% of the training seizures keep within.
        p: share of the training seizures that are as far from the others, this one counted among them.
        most: names of the three statistics in which it differs most, with how many standard deviations.
    """

    distance: float
    typical: float
    p: float
    most: tuple[tuple[str, float], ...]
    seizures: int

    @property
    def unlike(self) -> bool:
        """Whether it is called unlike."""
        return self.p <= max(UNLIKE, 1 / (self.seizures + 1))


def clip_statistics(tensors: SeizureTensors) -> dict[str, float]:
    """What a recording is like, whatever the sign: length, what is missing, how much moves, and the shape of the body.

    Returns:
        Name → number; NaN where it cannot be told. Lengths are in units of the skeleton's scale, so that a camera does not count.
    """
    metadata = tensors.metadata
    stream, skeleton = metadata.stream, metadata.skeleton
    found: dict[str, float] = {}
    if f"{stream}.keypoints" in tensors and skeleton is not None:
        keypoints = np.asarray(tensors[f"{stream}.keypoints"], dtype=float)
        confidence = np.asarray(tensors[f"{stream}.confidence"], dtype=float)
        present = (confidence > 0) & np.isfinite(keypoints).all(axis=-1)
        found["log duration"] = math.log(max(len(present), 1) / metadata.fps)
        found["missing joints"] = float(1 - present.mean())
        found["frames without"] = float(1 - present.any(axis=1).mean())
        found["mean confidence"] = float(confidence[present].mean()) if present.any() else math.nan
        root = tensors.tensors.get(f"{stream}.root")
        moves = motion_features(
            tensors[f"{stream}.keypoints"], tensors[f"{stream}.confidence"], root, skeleton, metadata.fps
        )
        found |= {f"log motion of {name}": value for name, value in moves.items()}
        found |= _shape(keypoints, present, skeleton)
    elif f"{stream}.appearance" in tensors and metadata.appearance_fps is not None:
        features = np.asarray(tensors[f"{stream}.appearance"], dtype=float)
        blank = (features == 0).all(axis=1)
        found["log duration"] = math.log(max(len(features), 1) / metadata.appearance_fps)
        found["frames without"] = float(blank.mean())
        rest = features[~blank]
        found["mean feature"] = float(rest.mean()) if rest.size else math.nan
        found["spread of features"] = float(rest.std()) if rest.size else math.nan
        steps = np.abs(np.diff(features, axis=0))
        found["change of features"] = float(steps.mean()) if steps.size else math.nan
    return found


def _shape(keypoints: Floats, present: npt.NDArray[np.bool_], skeleton: Skeleton) -> dict[str, float]:
    """Median length of the bones of a pair of sides, and height of joints over the root, in units of the scale."""
    one, other = skeleton.scale
    both = present[:, one] & present[:, other]
    unit = float(np.median(np.linalg.norm(keypoints[both, one] - keypoints[both, other], axis=-1))) if both.any() else 0
    if not unit > 0:
        return {}
    up = "xyz".index(skeleton.up)
    mirror = skeleton.flip_permutation
    lengths: dict[int, list[float]] = {}
    heights: dict[int, list[float]] = {}
    for child, parent in skeleton.bones:
        group = min(child, mirror[child])
        seen = present[:, child] & present[:, parent]
        if seen.any():
            bone = keypoints[seen, child] - keypoints[seen, parent]
            lengths.setdefault(group, []).append(float(np.median(np.linalg.norm(bone, axis=-1))) / unit)
        over = present[:, child] & present[:, skeleton.root]
        if over.any():
            rise = keypoints[over, child, up] - keypoints[over, skeleton.root, up]
            heights.setdefault(group, []).append(float(np.median(rise)) / unit)
    joints = skeleton.joints
    found = {f"length to {joints[group]}": math.log(max(float(np.mean(some)), 1e-6)) for group, some in lengths.items()}
    return found | {f"height of {joints[group]}": float(np.mean(some)) for group, some in heights.items()}


def statistics_of(cache: Cache, stream: str, seizures: Sequence[str]) -> dict[str, dict[str, float]]:
    """Seizure → `clip_statistics`, of those that the cache has."""
    return {name: clip_statistics(cache.read(name, stream)) for name in seizures if cache.has(name, stream)}


def reference_of(statistics: Mapping[str, Mapping[str, float]], subject_of: Mapping[str, str]) -> Reference | None:
    """What a training cohort is like.

    Args:
        statistics: seizure → its `clip_statistics`.
        subject_of: seizure → subject.

    Returns:
        None for fewer than `FEWEST` seizures, or fewer than three subjects.
    """
    seizures = sorted(statistics)
    owners = np.array([subject_of[name] for name in seizures])
    if len(seizures) < FEWEST or len(set(owners.tolist())) < 3:
        return None
    names = tuple(sorted({name for found in statistics.values() for name in found}))
    table = np.array([[statistics[seizure].get(name, math.nan) for name in names] for seizure in seizures])
    distances = []
    for subject in sorted(set(owners.tolist())):
        others = _fit(table[owners != subject])
        distances.append(_distance(_standardised(table[owners == subject], *others[:2]), others[2]))
    return Reference(names, *_fit(table), np.sort(np.concatenate(distances)))


def unlikeness(reference: Reference, statistics: Mapping[str, float]) -> Unlikeness:
    """How far a recording is from a training cohort.

    Args:
        reference: the cohort's.
        statistics: the recording's `clip_statistics`; what it lacks, or the cohort lacked, counts as average.
    """
    row = np.array([statistics.get(name, math.nan) for name in reference.names])
    standard = _standardised(row[None], reference.mean, reference.sd)[0]
    distance = float(_distance(standard[None], reference.precision)[0])
    n = len(reference.distances)
    p = (1 + int((reference.distances >= distance).sum())) / (n + 1)
    order = np.argsort(-np.abs(standard))[:3]
    most = tuple((reference.names[index], float(standard[index])) for index in order)
    return Unlikeness(distance, float(np.quantile(reference.distances, 0.95)), p, most, n)


def _fit(table: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, standard deviation and precision of (n, F) statistics, NaN where one could not be told."""
    with np.errstate(all="ignore"):
        known = np.isfinite(table)
        count = known.sum(axis=0).clip(min=1)
        filled = np.where(known, table, 0)
        mean = filled.sum(axis=0) / count
        sd = np.sqrt((np.where(known, table - mean, 0) ** 2).sum(axis=0) / count)
    # What does not vary in the cohort must not make any other value infinitely unlike.
    sd = np.maximum(sd, 0.05)
    covariance = LedoitWolf(assume_centered=True).fit(_standardised(table, mean, sd))
    return mean, sd, np.asarray(covariance.precision_, dtype=float)


def _standardised(rows: Floats, mean: Floats, sd: Floats) -> Floats:
    return np.asarray(np.nan_to_num((rows - mean) / sd, nan=0.0, posinf=0.0, neginf=0.0), dtype=float)


def _distance(standard: Floats, precision: Floats) -> Floats:
    return np.asarray(np.sqrt(np.einsum("nf,fg,ng->n", standard, precision, standard).clip(min=0)), dtype=float)
