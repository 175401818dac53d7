"""Calibration that has not seen whom it calibrates: fitted on the other subjects' out-of-fold scores, subject by subject.

What comes out is still of the cohort that it was fitted on. A model refitted on everybody needs new data for it
(METHOD.md, point 11).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, special
from sklearn.linear_model import LogisticRegression

from seizurelit.evaluation.scores import NOT_SCORED, Decisions, Score
from seizurelit.evaluation.statistics.cases import Cases, Floats, Ints

FEWEST_FOR_ECE = 200
"""Seizures below which no expected calibration error is given: perfect calibration at 38 has 0.16 in ten bins."""

# Scores are written with nine digits: a 0 is anything below this.
_SMALLEST = 1e-9
# Temperatures between e⁻⁵ and e⁵.
_LOG_TEMPERATURES = (-5.0, 5.0)


def cross_fitted(cases: Cases, method: Literal["platt", "temperature"] = "platt") -> Cases:
    """The row with each subject's scores calibrated by what the others' scores say; decisions stay as they are.

    Args:
        cases: of one row; each seed is calibrated by itself, on the scored seizures, with their weights.
        method: platt is logistic regression on the log odds with Platt's targets, which stays finite where the score parts
            the classes (two classes); temperature divides the log scores by one number.

    Returns:
        The same cases; NaN where the others are of one class, or fewer than two.

    Raises:
        ValueError: platt with more than two classes.
    """
    if method == "platt" and len(cases.classes) != 2:
        msg = "platt is of two classes; take temperature"
        raise ValueError(msg)
    found = np.full_like(cases.probabilities, np.nan)
    for seed in range(cases.seeds):
        scored = (cases.weights[seed] > 0) & (cases.predictions[seed] != NOT_SCORED)
        logs = np.log(cases.probabilities[seed].clip(_SMALLEST))
        for subject in range(len(cases.subjects)):
            test = scored & (cases.owner == subject)
            train = scored & (cases.owner != subject)
            if test.any() and len(np.unique(cases.labels[train])) > 1:
                fit = _platt if method == "platt" else _temperature
                found[seed, test] = fit(logs[train], cases.labels[train], cases.weights[seed, train], logs[test])
    return dataclasses.replace(cases, probabilities=found)


@dataclass(frozen=True)
class Calibration:
    """A calibration in numbers that can be handed over: the softmax of slope · log score + bias.

    Attributes:
        method: platt or temperature.
        slope: of the log scores; 1 / T for a temperature.
        bias: (K,) added to them; 0 for a temperature.
        subjects: how many it was fitted on.
        seizures: likewise.
    """

    method: Literal["platt", "temperature"]
    slope: float
    bias: tuple[float, ...]
    subjects: int
    seizures: int

    def apply(self, scores: Floats) -> Floats:
        """(…, K) calibrated scores of (…, K) scores that sum to 1; never decreasing in a class's own, as the slope is above 0."""
        logs = np.log(np.asarray(scores, dtype=float).clip(_SMALLEST))
        return np.asarray(special.softmax(self.slope * logs + np.asarray(self.bias), axis=-1), dtype=float)


def fitted(scores: Floats, labels: Ints, subjects: Sequence[str]) -> Calibration | None:
    """The calibration that these seizures' out-of-fold scores ask for; Platt's for two classes, a temperature for more.

    Args:
        scores: (n, K), that sum to 1.
        labels: (n,).
        subjects: whose each is; every subject counts alike.

    Returns:
        None where there is nothing to calibrate by: one class alone, or scores that do not rise with the label.
    """
    classes = scores.shape[1] if scores.ndim == 2 else 0
    if classes < 2 or len(np.unique(labels)) < 2:
        return None
    logs = np.log(np.asarray(scores, dtype=float).clip(_SMALLEST))
    count = Counter(subjects)
    weights = np.array([1 / count[subject] for subject in subjects])
    weights *= len(weights) / weights.sum()
    if classes > 2:
        slope, bias = 1 / _temperature_of(logs, labels, weights), (0.0,) * classes
        return Calibration("temperature", slope, bias, len(count), len(labels))
    model, centre, spread = _platt_of(logs, labels, weights)
    slope = float(model.coef_[0, 0]) / spread
    if slope <= 0:
        return None
    return Calibration("platt", slope, (0.0, float(model.intercept_[0]) - slope * centre), len(count), len(labels))


def _platt(logs: Floats, labels: Ints, weights: Floats, new: Floats) -> Floats:
    """(m, 2) of new log scores."""
    fitted, centre, spread = _platt_of(logs, labels, weights)
    return np.asarray(fitted.predict_proba(((new[:, 1] - new[:, 0])[:, None] - centre) / spread), dtype=float)


def _platt_of(logs: Floats, labels: Ints, weights: Floats) -> tuple[LogisticRegression, float, float]:
    """The regression on standardised log odds, their mean and their spread.

    J. Platt, Probabilistic outputs for support vector machines (1999), equation 5.
    """
    odds = logs[:, 1] - logs[:, 0]
    positive = float((labels == 1).sum())
    negative = len(labels) - positive
    targets = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    centre, spread = odds.mean(), max(float(odds.std()), 1e-12)
    fitted = LogisticRegression(C=math.inf, solver="newton-cholesky", max_iter=1000)
    twice = np.concatenate([odds, odds])[:, None]
    truth = np.repeat([1, 0], len(odds))
    fitted.fit(
        (twice - centre) / spread, truth, sample_weight=np.concatenate([weights * targets, weights * (1 - targets)])
    )
    return fitted, float(centre), spread


def _temperature(logs: Floats, labels: Ints, weights: Floats, new: Floats) -> Floats:
    """(m, K) of new log scores."""
    return np.asarray(special.softmax(new / _temperature_of(logs, labels, weights), axis=1), dtype=float)


def _temperature_of(logs: Floats, labels: Ints, weights: Floats) -> float:
    """C. Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2."""

    def loss(log_temperature: float) -> float:
        shares = special.log_softmax(logs / math.exp(log_temperature), axis=1)
        return -float(np.average(shares[np.arange(len(labels)), labels], weights=weights))

    best = optimize.minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return math.exp(best.x)


def expected_calibration_error(decisions: Decisions, bins: int = 10) -> Score:
    """Mean distance of the mean score of the named class from its share that is right, in bins of equal width.

    It is biased upwards, so it is refused below `FEWEST_FOR_ECE` seizures.
    """
    scored = decisions.only(decisions.scored)
    if len(scored.labels) < FEWEST_FOR_ECE:
        return Score(math.nan, f"fewer than {FEWEST_FOR_ECE} seizures")
    named = scored.probabilities.argmax(axis=1)
    score = scored.probabilities.max(axis=1)
    right = named == scored.labels
    weights = np.ones(len(named)) if scored.weights is None else scored.weights
    which = np.minimum((score * bins).astype(int), bins - 1)
    gaps = [float((weights * (score - right))[which == index].sum()) for index in range(bins)]
    return Score(sum(map(abs, gaps)) / float(weights.sum()))
