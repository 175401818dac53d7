from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from seizurelit.cohort.manifest import Cohort
from seizurelit.cohort.plan import Plan
from seizurelit.evaluation.scores import NOT_SCORED, SCORES, Decisions, score
from seizurelit.evaluation.statistics.cases import Cases, cases_of, pair
from seizurelit.evaluation.statistics.weightings import WEIGHABLE, scores_by_seed, scores_under

Fabricate = Callable[..., pd.DataFrame]


@st.composite
def tables(draw: st.DrawFn) -> Cases:
    """Random rows of 2 to 4 classes with ties, unscored seizures and folds that a seed has not done."""
    width = draw(st.integers(2, 4))
    size = draw(st.integers(1, 30))
    seeds = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = rng.integers(1, draw(st.sampled_from([3, 6, 1000])), (seeds, size, width)).astype(float)
    probabilities = levels / levels.sum(axis=-1, keepdims=True)
    predictions = probabilities.argmax(axis=-1)
    unscored = rng.random((seeds, size)) < draw(st.sampled_from([0.0, 0.2]))
    predictions[unscored] = NOT_SCORED
    probabilities[unscored] = np.nan
    owner = np.unique(rng.integers(0, draw(st.integers(1, 12)), size), return_inverse=True)[1]
    cases = Cases(
        tuple(map(str, range(width))),
        tuple(f"z{index:02d}" for index in range(size)),
        tuple(f"s{index:02d}" for index in range(int(owner.max()) + 1)),
        owner,
        rng.integers(0, width, size),
        predictions,
        probabilities,
        (rng.random((seeds, size)) >= draw(st.sampled_from([0.0, 0.2]))).astype(float),
    ).only(np.ones(size, dtype=bool))
    level = draw(st.sampled_from(["seizure", "subject", "patient"]))
    return cases if level == "seizure" else cases.weighted_by_subject() if level == "subject" else cases.by_patient()


def repeated(cases: Cases, times: np.ndarray) -> Cases:
    """The cases themselves, each as often as its subject was drawn: the slow plain version."""
    rows = np.repeat(np.arange(len(cases.labels)), times[cases.owner].astype(int))
    return dataclasses.replace(
        cases,
        seizures=tuple(cases.seizures[row] for row in rows),
        owner=cases.owner[rows],
        labels=cases.labels[rows],
        predictions=cases.predictions[:, rows],
        probabilities=cases.probabilities[:, rows],
        weights=cases.weights[:, rows],
    )


@settings(max_examples=12, deadline=None)
@given(tables(), st.integers(0, 2**32 - 1))
def test_weighted_sums_are_the_scores_of_the_repeated_cases(cases: Cases, seed: int) -> None:
    count = len(cases.subjects)
    draws = np.vstack([np.ones(count), np.random.default_rng(seed).integers(0, 3, (2, count))]).astype(float)
    found = scores_under(cases, draws, WEIGHABLE)
    for place, times in enumerate(draws):
        again = repeated(cases, times)
        by_seed = [score(again.decisions(index), WEIGHABLE) for index in range(cases.seeds)]
        for name in WEIGHABLE:
            expected = np.mean([scores[name].value for scores in by_seed])
            assert found[name][place] == pytest.approx(expected, abs=1e-12, nan_ok=True), (name, times)


@settings(max_examples=15, deadline=None)
@given(tables())
def test_scores_by_seed_are_the_scores_with_their_reasons(cases: Cases) -> None:
    for index, found in enumerate(scores_by_seed(cases)):
        expected = score(cases.of_seeds([index]).decisions(0))
        assert list(found) == list(SCORES)
        for name, value in expected.items():
            assert found[name].value == pytest.approx(value.value, abs=1e-12, nan_ok=True), name
            assert found[name].reason == value.reason, name


@settings(max_examples=30, deadline=None)
@given(tables())
def test_the_scores_are_scikit_learns_or_undefined_with_a_reason(cases: Cases) -> None:
    """Directly from scikit-learn on what has a score, weights and several classes among it."""
    decisions = cases.decisions(0)
    decisions = decisions.only(decisions.scored)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = score(decisions)
    assert {name for name, value in found.items() if value.defined} == {n for n, v in found.items() if not v.reason}
    truth, named, scores, weights = (
        decisions.labels,
        decisions.predictions,
        decisions.probabilities,
        decisions.weights,
    )
    width = len(decisions.classes)
    whole = set(truth.tolist()) == set(range(width))
    average = "binary" if width == 2 else "macro"
    onehot = np.eye(width, dtype=int)[truth]
    positive = scores[:, 1] if width == 2 else scores
    expected: dict[str, float] = dict.fromkeys(("f1", "f1_macro", "balanced_accuracy", "auroc", "auprc"), math.nan)
    if len(truth):
        expected["accuracy"] = metrics.accuracy_score(truth, named, sample_weight=weights)
        expected["brier"] = np.average(
            ((scores - onehot) ** 2).mean(axis=1) if width > 2 else (scores[:, 1] - truth) ** 2, weights=weights
        )
        expected["log_loss"] = metrics.log_loss(truth, scores, labels=range(width), sample_weight=weights)
    if whole:
        expected["f1"] = metrics.f1_score(truth, named, average=average, sample_weight=weights, zero_division=0)
        expected["f1_macro"] = metrics.f1_score(truth, named, average="macro", sample_weight=weights, zero_division=0)
        expected["balanced_accuracy"] = metrics.balanced_accuracy_score(truth, named, sample_weight=weights)
        expected["auroc"] = metrics.roc_auc_score(truth, positive, multi_class="ovr", sample_weight=weights)
        expected["auprc"] = metrics.average_precision_score(
            truth if width == 2 else onehot, positive, sample_weight=weights
        )
        expected["sensitivity"] = metrics.recall_score(truth, named, average=average, sample_weight=weights)
        inverse = [
            metrics.recall_score(truth != index, named != index, sample_weight=weights, zero_division=0)
            for index in range(width)
        ]
        expected["specificity"] = inverse[1] if width == 2 else float(np.mean(inverse))
        if len(set(named.tolist())) > 1:
            expected["mcc"] = metrics.matthews_corrcoef(truth, named, sample_weight=weights)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_patients_and_subjects_by_hand() -> None:
    """Subject a: 3 seizures, one positive, found in another; b: one negative, called positive; c: not scored."""
    cases = Cases(
        ("0", "1"),
        ("a1", "a2", "a3", "b1", "c1"),
        ("a", "b", "c"),
        np.array([0, 0, 0, 1, 2]),
        np.array([0, 1, 0, 0, 1]),
        np.array([[1, 0, 0, 1, NOT_SCORED]]),
        np.array([[[0.2, 0.8], [0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [math.nan] * 2]]),
        np.ones((1, 5)),
    )
    patients = cases.by_patient()
    assert patients.seizures == ("a", "b", "c")
    assert patients.labels.tolist() == [1, 0, 1]
    assert patients.predictions.tolist() == [[1, 1, NOT_SCORED]]
    assert patients.probabilities[0, :2, 1].tolist() == [0.8, 0.7]
    assert score(patients.decisions(0))["accuracy"].value == pytest.approx(1 / 3), "who has no score counts as wrong"
    assert score(cases.weighted_by_subject().decisions(0))["accuracy"].value == pytest.approx((1 / 3 + 0 + 0) / 3)
    assert score(cases.decisions(0))["accuracy"].value == pytest.approx(1 / 5)
    left = cases.scored_only()
    assert left.subjects == ("a", "b")
    assert score(left.decisions(0))["accuracy"].value == pytest.approx(1 / 4)
    several = dataclasses.replace(
        cases, classes=("x", "y", "z"), probabilities=np.dstack([cases.probabilities, np.zeros((1, 5))])
    ).by_patient()
    assert several.labels.tolist() == [0, 0, 1], "the most frequent class, the first of equals"
    assert several.predictions.tolist() == [[0, 1, NOT_SCORED]], "the highest mean score"


def test_calibration_slope() -> None:
    """Log odds that are twice what the frequencies say have slope one half; what cannot be fitted says why."""
    odds = np.repeat([-2.0, -1.0, 0.0, 1.0, 2.0], 2000)
    rng = np.random.default_rng(0)
    truth = (rng.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(int)

    def slope(truth: np.ndarray, positive: np.ndarray) -> object:
        decisions = Decisions(
            ("0", "1"), truth, (positive >= 0.5).astype(int), np.stack([1 - positive, positive], axis=1)
        )
        found = score(decisions, ["calibration_slope"])["calibration_slope"]
        return found.value if found.defined else found.reason

    assert slope(truth, 1 / (1 + np.exp(-odds))) == pytest.approx(1.0, abs=0.05)
    assert slope(truth, 1 / (1 + np.exp(-2 * odds))) == pytest.approx(0.5, abs=0.03)
    assert slope(np.array([0, 1]), np.array([0.2, 0.9])) == "the score parts the classes"
    assert slope(np.array([0, 1, 1]), np.array([0.0, 0.4, 0.3])) == "a score of 0 or 1"
    assert slope(np.array([0, 1, 1]), np.array([0.4, 0.4, 0.4])) == "one score for all"
    assert slope(np.array([1, 1]), np.array([0.4, 0.6])) == "one class"


def test_cases_come_from_frames(cohort: Cohort, plans: dict[str, Plan], fabricate: Fabricate) -> None:
    plan = plans["dystonia"]
    frames = [
        fabricate(cohort, plan, "pose", "agcn", seed=0),
        fabricate(cohort, plan, "pose", "agcn", seed=1, without=("sub-19",)),
    ]
    label = dict(zip(frames[0]["seizure"], frames[0]["label"], strict=True))
    frames[1] = frames[1].loc[frames[1]["seizure"] != "sub-18_sz-1"]
    cases = cases_of(
        frames,
        ("0", "1"),
        [(), ("sub-18_sz-1",)],
        label_of=label,
        subject_of={"sub-18_sz-1": "sub-18"},
    )
    assert cases.weights.sum(axis=1).tolist() == [38, 32]
    assert len(cases.subjects) == 19
    assert cases.weights[1, cases.seizures.index("sub-18_sz-1")] == 1
    assert cases.predictions[1, cases.seizures.index("sub-18_sz-1")] == NOT_SCORED
    assert cases.of_seeds([1]).subjects == cases.subjects[:-1]
    right = [float((frame["label"] == frame["prediction"]).sum()) for frame in frames]
    assert score(cases.decisions(0))["accuracy"].value == pytest.approx(right[0] / 38)
    assert score(cases.decisions(1))["accuracy"].value == pytest.approx(right[1] / 32)
    one, other = pair(cases, cases_of([fabricate(cohort, plan, "", "nuisance", seed=None)], ("0", "1")))
    assert len(one.labels) == len(other.labels) == 31, "what both have scored in every seed"
    assert (other.predictions[0] == other.predictions[1]).all(), "a baseline stands against every seed"
    with pytest.raises(ValueError, match="2 and 3 seeds"):
        pair(cases, cases_of([frames[0]] * 3, ("0", "1")))
