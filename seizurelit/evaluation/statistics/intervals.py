"""Bias-corrected and accelerated intervals over subjects (Efron 1987; METHOD.md, point 5).

They condition on the fitted models: no network is fitted anew in a resample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from seizurelit.evaluation.statistics.cases import Cases, Floats, pair
from seizurelit.evaluation.statistics.weightings import scores_under

RESAMPLES = 2000
LEVEL = 0.95
MOST_UNDEFINED = 0.05
"""Share of resamples without a score above which there is no interval."""

FEWEST_SUBJECTS = 5
SAME = "the same score in every resample"
"""Why there is no interval of what does not vary."""

# Scores that differ by less are equal: they are sums of the same counts in another order.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Interval:
    """An interval, or NaN and why there is none.

    Attributes:
        low: its lower end.
        high: its upper end.
        resamples: drawn.
        undefined: those in which the score was undefined.
        reason: blank where there is an interval.
    """

    low: float
    high: float
    resamples: int
    undefined: int = 0
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is one."""
        return not math.isnan(self.low)


def resamples_of(subjects: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """(B, n) how often each of n subjects is drawn when n are drawn with replacement; the same for the same seed."""
    drawn = np.random.default_rng(seed).integers(0, subjects, (resamples, subjects))
    flat = (drawn + subjects * np.arange(resamples)[:, None]).ravel()
    return np.bincount(flat, minlength=resamples * subjects).reshape(resamples, subjects).astype(float)


def left_out(subjects: int) -> Floats:
    """(n, n) weightings of the jackknife: each subject left out once."""
    return 1.0 - np.eye(subjects)


def bca(estimate: float, resampled: Floats, jackknife: Floats, level: float = LEVEL) -> Interval:
    """The BCa interval of a score.

    Args:
        estimate: the score.
        resampled: (B,) the score in each resample of subjects; NaN where undefined.
        jackknife: (n,) the score without each subject.
        level: of confidence.

    Returns:
        The interval: z0 from the mid-rank of the estimate among the defined resamples, the acceleration from the
        subjects' jackknife, the ends by linear interpolation of the sorted resamples, as scipy.stats.bootstrap takes
        them.
    """
    total = len(resampled)
    values = resampled[~np.isnan(resampled)]
    undefined = total - len(values)

    def none(reason: str) -> Interval:
        return Interval(math.nan, math.nan, total, undefined, reason)

    if math.isnan(estimate):
        return none("the score is undefined")
    if len(jackknife) < FEWEST_SUBJECTS:
        return none(f"fewer than {FEWEST_SUBJECTS} subjects")
    if undefined > MOST_UNDEFINED * total:
        return none(f"undefined in {undefined} of {total} resamples")
    if np.isnan(jackknife).any():
        return none("undefined without one of the subjects")
    if np.ptp(values) < TOLERANCE:
        return none(SAME)
    below = int((values < estimate - TOLERANCE).sum())
    equal = int((np.abs(values - estimate) <= TOLERANCE).sum())
    rank = (below + equal / 2) / len(values)
    if rank in (0.0, 1.0):
        return none("all resamples on one side of the score")
    z0 = stats.norm.ppf(rank)
    deviations = jackknife.mean() - jackknife
    spread = float((deviations**2).sum())
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5) if spread > TOLERANCE**2 else 0.0
    z = z0 + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    ends = stats.norm.cdf(z0 + z / (1 - acceleration * z))
    low, high = np.quantile(values, ends)
    return Interval(float(low), float(high), total, undefined)


def intervals(
    cases: Cases, names: Iterable[str], *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, Interval]:
    """Intervals of a row's scores, each the mean of its seeds' scores; one resample of subjects serves all seeds.

    Args:
        cases: of the row.
        names: of `WEIGHABLE`.
        resamples: how many.
        seed: of the resamples.
        level: of confidence.
    """
    names = tuple(names)
    count = len(cases.subjects)
    if not cases.seeds or not count:
        return {name: Interval(math.nan, math.nan, 0, 0, "no fold done") for name in names}
    rows = np.vstack([np.ones((1, count)), left_out(count), resamples_of(count, resamples, seed)])
    found = scores_under(cases, rows, names)
    return {name: bca(float(v[0]), v[1 + count :], v[1 : 1 + count], level) for name, v in found.items()}


def difference_interval(
    one: Cases, other: Cases, name: str, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Interval:
    """The interval of one row's score minus the other's on their common seizures, both in the same resamples."""
    one, other = pair(one, other)
    count = len(one.subjects)
    if not count:
        return Interval(math.nan, math.nan, 0, 0, "no common seizure")
    rows = np.vstack([np.ones((1, count)), left_out(count), resamples_of(count, resamples, seed)])
    v = scores_under(one, rows, [name])[name] - scores_under(other, rows, [name])[name]
    return bca(float(v[0]), v[1 + count :], v[1 : 1 + count], level)
