"""Curves against scikit-learn, and what their bands may not be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from seizurelit.evaluation.statistics.cases import Cases, cases_of
from seizurelit.reporting.curves import GRID, curves


def cases(labels: list[int], scores: list[float], subjects: list[int]) -> Cases:
    frame = pd.DataFrame(
        {
            "seizure": [f"z{k:03}" for k in range(len(labels))],
            "subject": [f"s{k}" for k in subjects],
            "label": [str(label) for label in labels],
            "prediction": [str(int(score >= 0.5)) for score in scores],
            "threshold": 0.5,
            "prob_0": [1 - score for score in scores],
            "prob_1": scores,
        }
    )
    return cases_of([frame], ("0", "1"))


rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 8).map(lambda k: k / 8), st.integers(0, 9)), min_size=4, max_size=40
).filter(lambda drawn: len({label for label, _, _ in drawn}) == 2)


@given(rows)
@settings(max_examples=40, deadline=None)
def test_roc_and_precision_recall_are_scikit_learns_with_ties(drawn):
    labels, scores, subjects = map(list, zip(*drawn, strict=True))
    found = curves(cases(labels, scores, subjects), resamples=10)
    alarms, hits, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.roc.y, [np.interp(x, alarms, hits) for x in GRID], atol=1e-12)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    steps = sorted(zip(recall[:-1], precision[:-1], strict=True), key=lambda pair: pair[0])
    for place in range(1, len(GRID)):
        # The threshold at which this much is recalled for the first time: the highest that recalls it.
        reached = [(r, p) for r, p in steps if r >= GRID[place] - 1e-12]
        least = min(r for r, _ in reached)
        assert found.pr.y[place] == pytest.approx(max(p for r, p in reached if r == least))
    assert found.prevalence == pytest.approx(np.mean(labels))


@given(rows)
@settings(max_examples=25, deadline=None)
def test_a_band_is_inside_the_square_and_only_with_five_subjects(drawn):
    labels, scores, subjects = map(list, zip(*drawn, strict=True))
    found = curves(cases(labels, scores, subjects), resamples=50)
    for curve in (found.roc, found.pr, found.calibration):
        held = np.isfinite(curve.low)
        assert (held == np.isfinite(curve.high)).all()
        assert (curve.low[held] <= curve.high[held]).all()
        assert (curve.low[held] >= -1e-12).all()
        assert (curve.high[held] <= 1 + 1e-12).all()
        assert held.any() <= (len(set(subjects)) >= 5)


def test_scores_that_mean_what_they_say_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 4000)
    labels = (rng.uniform(0, 1, 4000) < scores).astype(int)
    found = curves(cases(labels.tolist(), scores.tolist(), (np.arange(4000) % 40).tolist()), resamples=200)
    middle = (GRID > 0.2) & (GRID < 0.8)
    np.testing.assert_allclose(found.calibration.y[middle], GRID[middle], atol=0.06)
    inside = (found.calibration.low <= GRID) & (found.calibration.high >= GRID)
    assert inside[middle].mean() > 0.9


def test_one_class_has_no_curve():
    assert curves(cases([1, 1, 1], [0.1, 0.5, 0.9], [0, 1, 2])) is None
