from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from seizurelit.evaluation.predictions import as_frame
from seizurelit.evaluation.scores import NOT_SCORED, SCORES, Decisions, Score, confusion, per_fold, score


def binary(labels: str, predictions: str, scores: list[float] | None = None) -> Decisions:
    """Labels and predictions as digits; '-' is not scored."""
    positive = scores or [{"0": 0.2, "1": 0.8, "-": math.nan}[letter] for letter in predictions]
    return Decisions(
        ("0", "1"),
        np.array(list(map(int, labels)), dtype=int),
        np.array([NOT_SCORED if letter == "-" else int(letter) for letter in predictions], dtype=int),
        np.array([[1 - value, value] for value in positive], dtype=float).reshape(-1, 2),
    )


def test_pooled_scores_by_hand() -> None:
    """4 positive of 7: TP 3, FN 1, FP 1, TN 2."""
    found = score(binary("1111000", "1110100"))
    assert found["f1"].value == pytest.approx(6 / 8)
    assert found["accuracy"].value == pytest.approx(5 / 7)
    assert found["sensitivity"].value == pytest.approx(3 / 4)
    assert found["specificity"].value == pytest.approx(2 / 3)
    assert found["balanced_accuracy"].value == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found["f1_macro"].value == pytest.approx((6 / 8 + 4 / 6) / 2)
    assert found["mcc"].value == pytest.approx((3 * 2 - 1 * 1) / math.sqrt(4 * 4 * 3 * 3))
    assert set(found) == set(SCORES)
    assert all(value.defined for value in found.values())


@pytest.mark.parametrize(("labels", "predictions"), [("111", "110"), ("000", "000"), ("1", "1")])
def test_one_class_is_undefined_never_zero_or_one(labels: str, predictions: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score(binary(labels, predictions))
    for name in ("f1", "f1_macro", "balanced_accuracy", "mcc", "auroc", "auprc"):
        assert str(found[name]) == "undefined (one class)", name
    assert found["accuracy"].defined
    assert found["brier"].defined


def test_no_seizure_is_undefined() -> None:
    assert {str(value) for value in score(binary("", "")).values()} <= {
        "undefined (no seizure)",
        "undefined (no seizure of class 0)",
        "undefined (no seizure of class 1)",
    }


def test_nothing_predicted_positive_is_an_f1_of_zero_and_an_undefined_mcc() -> None:
    found = score(binary("1100", "0000"))
    assert found["f1"].value == 0.0
    assert found["balanced_accuracy"].value == 0.5
    assert str(found["mcc"]) == "undefined (one class predicted)"
    assert found["auroc"].value == 0.5


def test_a_certain_miss_has_no_log_loss() -> None:
    assert (
        score(binary("10", "00", [0.0, 0.0]), ["log_loss"])["log_loss"].reason == "a score of 0 for what was the case"
    )


def test_what_has_no_score_counts_as_wrong_in_decisions_and_not_in_ranks() -> None:
    """A positive and a negative seizure without a score are a miss and a false alarm."""
    whole = binary("1100", "1-0-", [0.9, math.nan, 0.1, math.nan])
    found = score(whole)
    assert found["accuracy"].value == 0.5
    assert found["f1"].value == 0.5
    assert found["balanced_accuracy"].value == 0.5
    assert found["mcc"].value == 0.0
    assert found["auroc"].value == 1.0
    assert found["brier"].value == pytest.approx(0.01)
    assert confusion(whole).tolist() == [[1, 0, 1], [0, 1, 1]]
    assert score(whole.only(whole.scored))["accuracy"].value == 1.0


def test_several_classes_have_macro_scores() -> None:
    names = ("a", "b", "c")
    labels = np.array([0, 0, 1, 1, 2, 2])
    predictions = np.array([0, 1, 1, 1, 2, NOT_SCORED])
    scores = np.array(
        [[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [math.nan] * 3]
    )
    found = score(Decisions(names, labels, predictions, scores))
    assert found["f1"].value == found["f1_macro"].value == pytest.approx((2 / 3 + 4 / 5 + 2 / 3) / 3)
    assert found["balanced_accuracy"].value == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert found["auroc"].value == pytest.approx(metrics.roc_auc_score(labels[:5], scores[:5], multi_class="ovr"))
    assert found["sensitivity"].value == found["balanced_accuracy"].value
    assert found["specificity"].value == pytest.approx((3 / 4 + 2 / 4 + 4 / 4) / 3), "not scored is wrong here too"
    assert found["calibration_slope"].reason == "more than two classes"
    two = Decisions(names, labels[:4], predictions[:4], scores[:4])
    assert score(two)["f1"].reason == "no seizure of class c"


def test_subjects_count_alike_when_weighted() -> None:
    weighted = binary("1000", "1111").weighted_by_subject(["a", "b", "b", "b"])
    assert score(weighted)["accuracy"].value == pytest.approx(0.5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=40))
def test_scores_are_scikit_learns_wherever_they_are_defined(entries: list[tuple[int, int]]) -> None:
    truth = np.array([label for label, _ in entries])
    scores = np.array([value / 8 for _, value in entries])
    predicted = (scores >= 0.5).astype(int)
    found = score(binary("".join(map(str, truth)), "".join(map(str, predicted)), scores.tolist()))
    both = len(set(truth.tolist())) == 2
    expected = {
        "f1": metrics.f1_score(truth, predicted, zero_division=0) if both else math.nan,
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted) if both else math.nan,
        "mcc": metrics.matthews_corrcoef(truth, predicted) if both and len(set(predicted.tolist())) == 2 else math.nan,
        "auroc": metrics.roc_auc_score(truth, scores) if both else math.nan,
        "auprc": metrics.average_precision_score(truth, scores) if both else math.nan,
        "brier": float(np.mean((scores - truth) ** 2)),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12, nan_ok=True), name
        assert found[name].defined == (found[name].reason == ""), name


def fold_rows(fold: str, labels: str, predictions: str) -> list[dict[str, object]]:
    return [
        {
            "sign": "dystonia",
            "stream": "pose",
            "model": "agcn",
            "seed": 0,
            "fold": fold,
            "subject": fold,
            "seizure": f"{fold}-{index}",
            "label": label,
            "prediction": prediction,
            "threshold": 0.5,
            "prob_0": 0.8 if prediction == "0" else 0.2,
            "prob_1": 0.2 if prediction == "0" else 0.8,
        }
        for index, (label, prediction) in enumerate(zip(labels, predictions, strict=True))
    ]


def test_per_fold_prints_undefined_as_undefined() -> None:
    frame = per_fold(as_frame([*fold_rows("sub-02", "11", "10"), *fold_rows("sub-01", "0110", "0100")]))
    assert frame["fold"].tolist() == ["sub-01", "sub-02"]
    assert frame["seizures"].tolist() == [4, 2]
    assert frame["positive"].tolist() == [2, 2]
    assert frame["f1"].tolist() == ["0.666666667", "undefined (one class)"]
    assert frame["accuracy"].tolist() == ["0.75", "0.5"]
    assert frame["auroc"].tolist() == ["0.75", "undefined (one class)"]
    assert per_fold(as_frame(())).empty
    pd.testing.assert_series_equal(frame["seed"], pd.Series([0, 0], dtype="Int64", name="seed"))


def test_a_score_prints_itself() -> None:
    assert str(Score(1 / 3)) == "0.333333333"
    assert str(Score(math.nan, "one class")) == "undefined (one class)"
