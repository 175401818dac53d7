"""Two models on the same seizures: the exact sign-flip by subject, and McNemar's test for clustered pairs.

Swapping both models' predictions of a subject, for all its seizures and seeds, changes nothing if the models are
exchangeable (METHOD.md, point 4). Seeds are never further observations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from seizurelit.evaluation.statistics.cases import Cases, Floats, pair
from seizurelit.evaluation.statistics.intervals import TOLERANCE
from seizurelit.evaluation.statistics.weightings import OF_COUNTS, tallies

MOST_EXACT = 20
"""Subjects on which the models differ, up to which all swaps are taken."""

DRAWS = 100_000
_BLOCK = 1 << 13


@dataclass(frozen=True)
class SignFlip:
    """The outcome of a sign-flip test.

    Attributes:
        difference: one model's score minus the other's; NaN where undefined.
        p: two-sided; NaN where there is no test.
        smallest: the smallest p that any outcome of this test could have had.
        subjects: with a common seizure.
        differing: those of them on which the models differ, which alone count.
        swaps: taken; all of them if `exact`, up to those that change nothing.
        exact: whether they are all.
        reason: why there is no test, or blank.
    """

    difference: float
    p: float
    smallest: float
    subjects: int
    differing: int
    swaps: int
    exact: bool
    reason: str = ""


def sign_flip(
    one: Cases,
    other: Cases,
    name: Literal["accuracy", "f1"] = "accuracy",
    *,
    draws: int = DRAWS,
    seed: int = 0,
    most_exact: int = MOST_EXACT,
) -> SignFlip:
    """Test two rows' difference of a pooled score on their common seizures.

    Args:
        one: a row.
        other: another row of the same sign.
        name: of the score.
        draws: swaps drawn where there are too many for all.
        seed: of the draws.
        most_exact: differing subjects up to which all swaps are taken.

    Returns:
        With all swaps p is the share of those whose difference is as large; with draws (b + 1) / (N + 1).
    """
    one, other = pair(one, other)
    first, second = tallies(one), tallies(other)
    if not len(first):
        return SignFlip(math.nan, math.nan, math.nan, 0, 0, 0, True, "no common seizure")
    differs = np.flatnonzero((np.abs(first - second) > TOLERANCE).any(axis=(1, 2, 3)))
    observed = float(_differences(first, second, differs[:0], np.zeros((1, 0)), name)[0])
    if math.isnan(observed):
        return SignFlip(math.nan, math.nan, math.nan, len(first), len(differs), 0, True, "the score is undefined")
    exact = len(differs) <= most_exact
    # Swapping everybody turns the difference's sign alone, so half of all swaps are enough: the first is never swapped.
    total = 2 ** max(len(differs) - 1, 0) if exact else draws
    rng = np.random.default_rng(seed)
    places = np.arange(max(len(differs) - 1, 0))
    parts = []
    for start in range(0, total, _BLOCK):
        count = min(_BLOCK, total - start)
        if exact:
            rest = (np.arange(start, start + count)[:, None] >> places) & 1
        else:
            rest = rng.integers(0, 2, (count, len(places)))
        swapped = np.hstack([np.zeros((count, min(1, len(differs)))), rest.astype(float)])
        parts.append(np.abs(_differences(first, second, differs, swapped, name)))
    null = np.concatenate(parts)
    as_large = int((null >= abs(observed) - TOLERANCE).sum())
    largest = int((null >= null.max() - TOLERANCE).sum())
    return SignFlip(
        observed,
        as_large / total if exact else (as_large + 1) / (total + 1),
        largest / total if exact else 1 / (total + 1),
        len(first),
        len(differs),
        total,
        exact,
    )


def _differences(first: Floats, second: Floats, differs: np.ndarray, swapped: Floats, name: str) -> Floats:
    """(B,) one score minus the other, mean over the seeds, where (B, m) says which of the `differs` are swapped.

    `first` and `second` are (n, R, K, K + 1) tallies.
    """
    change = (second - first)[differs]
    one, other = first.sum(axis=0), second.sum(axis=0)
    if name == "accuracy":  # linear in the swaps, and the labels of both are the same
        right = np.trace(change[..., :-1], axis1=2, axis2=3) / one.sum(axis=(1, 2))
        base = np.trace((one - other)[..., :-1], axis1=1, axis2=2) / one.sum(axis=(1, 2))
        return np.asarray(base.mean() + 2 * swapped @ right.mean(axis=1))
    if first.shape[2] == 2:  # F1 = 2 TP / (positive + predicted positive), and all common seizures have a score
        hits, named, positive = change[..., 1, 1], change[..., 1].sum(axis=2), one[:, 1].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = 2 * (one[:, 1, 1] + swapped @ hits) / (one[..., 1].sum(axis=1) + swapped @ named + positive)
            loss = 2 * (other[:, 1, 1] - swapped @ hits) / (other[..., 1].sum(axis=1) - swapped @ named + positive)
        both = (positive > 0) & (one[:, 0].sum(axis=1) > 0)
        return np.asarray(np.where(both, gain - loss, np.nan).mean(axis=-1))
    moved = np.tensordot(swapped, change, axes=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = OF_COUNTS[name](one + moved) - OF_COUNTS[name](other - moved)
    return np.asarray(difference.mean(axis=-1))


def smallest_p(difference: int) -> float:
    """The smallest two-sided p that a sign-flip by subject can give when one model is right on so many more seizures.

    It is reached where the models differ on that many subjects, on one seizure of each; of the paper's own accuracies,
    it is 1, 0.5, 0.25 and 0.125 for 1, 2, 3 and 4 seizures (METHOD.md, point 4).
    """
    return 1.0 if difference == 0 else 2.0 ** (1 - abs(difference))


@dataclass(frozen=True)
class ClusteredMcNemar:
    """McNemar's test for clustered pairs.

    Attributes:
        statistic: chi-squared with one degree of freedom; NaN where no subject differs.
        p: two-sided, asymptotic: with few differing subjects it is far below the exact one.
        gained: seizures that `one` alone has right, mean over the seeds.
        lost: seizures that `other` alone has right.
    """

    statistic: float
    p: float
    gained: float
    lost: float


def clustered_mcnemar(one: Cases, other: Cases) -> ClusteredMcNemar:
    """Durkalski's test: (Σ (b−c)/n)² / Σ ((b−c)/n)² over the subjects.

    V. L. Durkalski et al., Analysis of clustered matched-pair data, Statistics in Medicine 22 (2003), 2417–2428. A subject's
    discordant counts b and c are means over the seeds.
    """
    one, other = pair(one, other)
    right = [cases.predictions == cases.labels for cases in (one, other)]
    gained = (right[0] & ~right[1]).mean(axis=0)
    lost = (right[1] & ~right[0]).mean(axis=0)
    count = len(one.subjects)
    size = np.bincount(one.owner, minlength=count)
    shares = (np.bincount(one.owner, gained, count) - np.bincount(one.owner, lost, count)) / size
    spread = float((shares**2).sum())
    statistic = float(shares.sum()) ** 2 / spread if spread > TOLERANCE else math.nan
    p = float(stats.chi2.sf(statistic, 1)) if spread > TOLERANCE else 1.0
    return ClusteredMcNemar(statistic, p, float(gained.sum()), float(lost.sum()))
