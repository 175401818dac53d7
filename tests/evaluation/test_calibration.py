from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from seizurelit.evaluation.scores import Decisions, score
from seizurelit.evaluation.statistics.calibration import cross_fitted, expected_calibration_error
from seizurelit.evaluation.statistics.cases import Cases


def made(subjects: int, each: int, sharpness: float, seed: int = 0, width: int = 2) -> Cases:
    """Scores whose log odds are `sharpness` times the true ones."""
    rng = np.random.default_rng(seed)
    size = subjects * each
    logits = rng.normal(size=(size, width)) * 1.5
    truth = special.softmax(logits, axis=1)
    labels = (truth.cumsum(axis=1) > rng.random((size, 1))).argmax(axis=1)
    scores = special.softmax(sharpness * logits, axis=1)[None]
    return Cases(
        tuple(map(str, range(width))),
        tuple(f"z{k}" for k in range(size)),
        tuple(f"s{k}" for k in range(subjects)),
        np.repeat(np.arange(subjects), each),
        labels,
        scores.argmax(axis=-1),
        scores,
        np.ones((1, size)),
    )


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_scores_that_are_too_sure_are_tamed(method: str) -> None:
    cases = made(50, 20, 3.0)
    before, after = (score(rows.decisions(0)) for rows in (cases, cross_fitted(cases, method)))
    assert before["calibration_slope"].value == pytest.approx(1 / 3, abs=0.05)
    assert after["calibration_slope"].value == pytest.approx(1.0, abs=0.1)
    assert after["log_loss"].value < before["log_loss"].value
    assert after["accuracy"].value == before["accuracy"].value, "decisions stay"
    assert np.allclose(cross_fitted(cases, method).probabilities.sum(axis=-1), 1)


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_a_subjects_labels_do_not_touch_its_own_calibration(method: str) -> None:
    cases = made(8, 5, 3.0)
    turned = cases.labels.copy()
    turned[cases.owner == 3] = 1 - turned[cases.owner == 3]
    other = Cases(
        cases.classes,
        cases.seizures,
        cases.subjects,
        cases.owner,
        turned,
        cases.predictions,
        cases.probabilities,
        cases.weights,
    )
    one, two = cross_fitted(cases, method).probabilities[0], cross_fitted(other, method).probabilities[0]
    assert (one[cases.owner == 3] == two[cases.owner == 3]).all()
    assert (one[cases.owner != 3] != two[cases.owner != 3]).any()


def test_temperature_takes_several_classes_and_platt_stays_finite() -> None:
    several = made(40, 20, 2.0, width=3)
    before, after = (
        score(rows.decisions(0))["log_loss"].value for rows in (several, cross_fitted(several, "temperature"))
    )
    assert after < before
    with pytest.raises(ValueError, match="platt is of two classes"):
        cross_fitted(several)
    parted = made(6, 1, 3.0)
    labels = (parted.probabilities[0, :, 1] > np.median(parted.probabilities[0, :, 1])).astype(int)
    scores = cross_fitted(
        Cases(
            parted.classes,
            parted.seizures,
            parted.subjects,
            parted.owner,
            labels,
            parted.predictions,
            parted.probabilities,
            parted.weights,
        )
    ).probabilities
    assert ((scores > 0.01) & (scores < 0.99)).all()


def test_no_expected_calibration_error_of_few() -> None:
    few = made(38, 1, 1.0).decisions(0)
    assert expected_calibration_error(few).reason == "fewer than 200 seizures"
    rng = np.random.default_rng(0)
    sure = np.repeat([0.6, 0.9], 500)
    labels = (rng.random(1000) < np.repeat([0.6, 0.7], 500)).astype(int)
    decisions = Decisions(("0", "1"), labels, np.ones(1000, dtype=int), np.stack([1 - sure, sure], axis=1))
    found = expected_calibration_error(decisions).value
    right = labels.reshape(2, 500).mean(axis=1)
    assert found == pytest.approx((abs(0.6 - right[0]) + abs(0.9 - right[1])) / 2)
    assert not math.isnan(found)
