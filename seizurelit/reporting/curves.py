"""ROC, precision-recall and calibration of a row of two classes, with pointwise bands over subjects.

The bands take the fitted models as given, as the intervals of the table do, and are percentiles: a band is to be looked at,
a number has its BCa interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seizurelit.evaluation.scores import NOT_SCORED
from seizurelit.evaluation.statistics.cases import Cases, Floats
from seizurelit.evaluation.statistics.intervals import FEWEST_SUBJECTS, LEVEL, MOST_UNDEFINED, resamples_of

RESAMPLES = 1000
GRID = np.linspace(0.0, 1.0, 51)
BANDWIDTH = 0.1
"""Of the Gaussian kernel that smooths the share of positive seizures over the score."""

# Seizures near a score, as the kernel counts them, below which nothing is drawn.
_FEWEST_NEAR = 3.0


@dataclass(frozen=True)
class Curve:
    """A curve over `GRID`, the mean of the seeds'.

    Attributes:
        y: (G,); NaN where it is not drawn.
        low: (G,) lower edge of the band; all NaN without a band.
        high: (G,) upper edge.
    """

    y: Floats
    low: Floats
    high: Floats

    @property
    def drawn(self) -> bool:
        """Whether there is anything to draw."""
        return bool(np.isfinite(self.y).any())


@dataclass(frozen=True)
class Curves:
    """The three curves of a row.

    Attributes:
        roc: sensitivity over 1 - specificity.
        pr: precision over recall.
        calibration: smoothed share of positive seizures over the score.
        prevalence: share of positive seizures, the precision of chance.
        scores: (label 0 or 1, mean score over the seeds) of each seizure.
    """

    roc: Curve
    pr: Curve
    calibration: Curve
    prevalence: float
    scores: tuple[tuple[int, float], ...]


def curves(cases: Cases, *, resamples: int = RESAMPLES) -> Curves | None:
    """The curves of a row; None for other than two classes, or where nothing or one class alone is scored.

    Args:
        cases: the scored seizures of a row.
        resamples: of subjects, for the bands; the same for all seeds and rows of the same subjects.
    """
    if len(cases.classes) != 2 or len(np.unique(cases.labels)) < 2:
        return None
    count = len(cases.subjects)
    draws = np.vstack([np.ones((1, count)), resamples_of(count, resamples)])
    ranked = [_ranked(cases, seed, draws) for seed in range(cases.seeds)]
    scored = (cases.predictions != NOT_SCORED) & (cases.weights > 0)
    sums = np.where(scored, cases.probabilities[:, :, 1], 0.0).sum(axis=0)
    times = scored.sum(axis=0)
    return Curves(
        roc=_banded(np.mean([part[0] for part in ranked], axis=0), count),
        pr=_banded(np.mean([part[1] for part in ranked], axis=0), count),
        calibration=_banded(np.mean([_smoothed(cases, seed, draws) for seed in range(cases.seeds)], axis=0), count),
        prevalence=float(cases.labels[times > 0].mean()),
        scores=tuple(
            (int(label), float(total / n)) for label, total, n in zip(cases.labels, sums, times, strict=True) if n
        ),
    )


def _banded(values: Floats, subjects: int) -> Curve:
    """The first of (B + 1, G) values, and the band of the others at each place where few of them are undefined."""
    resampled = values[1:]
    undefined = np.isnan(resampled).mean(axis=0)
    held = (undefined <= MOST_UNDEFINED) & np.isfinite(values[0]) & (subjects >= FEWEST_SUBJECTS)
    low, high = np.full_like(values[0], np.nan), np.full_like(values[0], np.nan)
    if held.any():
        ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low[held], high[held] = np.nanquantile(resampled[:, held], ends, axis=0)
    return Curve(values[0], low, high)


def _ranked(cases: Cases, seed: int, draws: Floats) -> tuple[Floats, Floats]:
    """(B, G) sensitivity over `GRID` of 1 - specificity, and precision over `GRID` of recall; a tie is one step."""
    weights = np.where(cases.predictions[seed] == NOT_SCORED, 0.0, cases.weights[seed])
    scores = cases.probabilities[seed, :, 1]
    order = np.flatnonzero(weights > 0)
    order = order[np.argsort(-scores[order], kind="stable")]
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    weighted = draws[:, cases.owner[order]] * weights[order]
    positive = cases.labels[order] == 1
    hits = np.cumsum(weighted * positive, axis=1)[:, last]
    alarms = np.cumsum(weighted * ~positive, axis=1)[:, last]
    roc, pr = np.full((2, len(draws), len(GRID)), np.nan)
    for index, (hit, alarm) in enumerate(zip(hits, alarms, strict=True)):
        if hit[-1] > 0 and alarm[-1] > 0:
            recall = hit / hit[-1]
            roc[index] = np.interp(GRID, np.append(0.0, alarm / alarm[-1]), np.append(0.0, recall))
            flagged = hit + alarm
            precision = np.divide(hit, flagged, out=np.zeros_like(hit), where=flagged > 0)
            pr[index] = precision[np.searchsorted(recall, np.maximum(GRID - 1e-12, 1e-12)).clip(max=len(recall) - 1)]
    return roc, pr


def _smoothed(cases: Cases, seed: int, draws: Floats) -> Floats:
    """(B, G) share of positive seizures near each score, by the estimator of Nadaraya and Watson."""
    weights = np.where(cases.predictions[seed] == NOT_SCORED, 0.0, cases.weights[seed])
    scores = np.where(weights > 0, cases.probabilities[seed, :, 1], 0.0)
    kernel = np.exp(-0.5 * ((GRID[None, :] - scores[:, None]) / BANDWIDTH) ** 2) * weights[:, None]
    near, positive = np.zeros((2, len(cases.subjects), len(GRID)))
    np.add.at(near, cases.owner, kernel)
    np.add.at(positive, cases.owner, kernel * (cases.labels == 1)[:, None])
    total = draws @ near
    share = np.divide(draws @ positive, total, out=np.full_like(total, np.nan), where=total > 1e-9)
    share[:, near.sum(axis=0) < _FEWEST_NEAR] = np.nan
    return share
