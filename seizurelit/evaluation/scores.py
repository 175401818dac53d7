"""Scores of predictions against labels, by scikit-learn where it is right; undefined is NaN with the reason.

A seizure that counts as wrong although it has no score (METHOD.md, point 7) has the prediction `NOT_SCORED`: it lowers
what is made of decisions (F1, accuracy, …), and is left out of what is made of scores (AUROC, Brier, …).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import sklearn
from scipy import special
from sklearn import metrics
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from seizurelit.evaluation.predictions import PROBABILITY, classes_of

NOT_SCORED = -1


@dataclass(frozen=True)
class Score:
    """A number, or NaN and why there is none.

    Attributes:
        value: NaN where undefined.
        reason: blank where defined.
    """

    value: float
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.value)

    def __str__(self) -> str:
        return f"{self.value:.9g}" if self.defined else f"undefined ({self.reason})"


@dataclass(frozen=True)
class Decisions:
    """What scores are made of, one entry a seizure.

    Attributes:
        classes: K names in the order of the probabilities; of two, the second is the positive one.
        labels: (S,) indices of classes.
        predictions: (S,) indices of classes, or NOT_SCORED.
        probabilities: (S, K); NaN where not scored.
        weights: (S,), or None where every seizure counts 1.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int_]
    predictions: npt.NDArray[np.int_]
    probabilities: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64] | None = None

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(S,) which seizures have a score."""
        return np.asarray(self.predictions != NOT_SCORED)

    def only(self, which: npt.NDArray[np.bool_]) -> Decisions:
        """The seizures where (S,) `which` is true."""
        weights = None if self.weights is None else self.weights[which]
        return Decisions(self.classes, self.labels[which], self.predictions[which], self.probabilities[which], weights)

    def weighted_by_subject(self, subjects: Sequence[str]) -> Decisions:
        """Each seizure weighted by 1 / the number of its subject's seizures here, so that patients count alike."""
        names, counts = np.unique(np.asarray(subjects, dtype=object), return_counts=True)
        share = dict(zip(names.tolist(), (1.0 / counts).tolist(), strict=True))
        weights = np.array([share[name] for name in subjects], dtype=float)
        return Decisions(self.classes, self.labels, self.predictions, self.probabilities, weights)


def decisions_of(rows: pd.DataFrame, classes: Sequence[str]) -> Decisions:
    """The decisions in rows of one sign, model and seed."""
    index = {name: place for place, name in enumerate(classes)}
    labels = np.array([index[name] for name in rows["label"]], dtype=int)
    predictions = np.array([index[name] for name in rows["prediction"]], dtype=int)
    scores = rows[[PROBABILITY + name for name in classes]].to_numpy(dtype=float)
    return Decisions(tuple(classes), labels, predictions, scores)


def confusion(decisions: Decisions) -> npt.NDArray[np.int_]:
    """(K, K + 1) seizures by label (rows) and prediction (columns); the last column is NOT_SCORED."""
    width = len(decisions.classes)
    if not len(decisions.labels):
        return np.zeros((width, width + 1), dtype=int)
    square = metrics.confusion_matrix(decisions.labels, decisions.predictions, labels=[*range(width), NOT_SCORED])
    return np.asarray(square[:-1], dtype=int)


def score(decisions: Decisions, names: Iterable[str] | None = None) -> dict[str, Score]:
    """Scores by name; see `SCORES` for what there is.

    `f1` is of the positive class where there are two classes, and macro where there are more.

    Args:
        decisions: of one model and one seed.
        names: which to compute; None means all.
    """
    # What is checked here was checked before, and takes most of the time of a table.
    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        return {name: _SCORES[name](decisions) for name in (SCORES if names is None else names)}


def per_fold(predictions: pd.DataFrame) -> pd.DataFrame:
    """The scores of each fold alone, as text: `.9g`, or `undefined (why)`; a fold of one subject often has one class.

    Args:
        predictions: as `read_predictions` gives them.

    Returns:
        A row a sign, stream, model, seed and fold, with `seizures` (n), `positive` (n of the positive class, blank for
        more than two classes), and the scores accuracy, f1 (macro for more than two classes), balanced_accuracy and
        auroc.
    """
    rows = []
    keys = ["sign", "stream", "model", "seed", "fold"]
    classes = {sign: classes_of(predictions, sign) for sign in dict.fromkeys(predictions["sign"])}
    for key, group in predictions.groupby(keys, sort=True, dropna=False):
        own = classes[str(key[0])]
        decisions = decisions_of(group, own)
        positive = int((decisions.labels == 1).sum()) if len(own) == 2 else ""
        scores = score(decisions, ("accuracy", "f1", "balanced_accuracy", "auroc"))
        texts = {name: str(value) for name, value in scores.items()}
        rows.append({**dict(zip(keys, key, strict=True)), "seizures": len(group), "positive": positive, **texts})
    columns = [*keys, "seizures", "positive", "accuracy", "f1", "balanced_accuracy", "auroc"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["seed"] = frame["seed"].astype("Int64")
    return frame


def _one_class(decisions: Decisions) -> str:
    """Why the labels do not allow a score that compares classes, or blank."""
    if not len(decisions.labels):
        return "no seizure"
    present = set(decisions.labels.tolist())
    if len(present) == 1:
        return "one class"
    absent = [name for index, name in enumerate(decisions.classes) if index not in present]
    return f"no seizure of class {', '.join(absent)}" if absent else ""


def _wrong(decisions: Decisions) -> npt.NDArray[np.int_]:
    """(S,) predictions; with two classes, what has no score is given the class that it is not."""
    if len(decisions.classes) != 2:
        return decisions.predictions
    return np.where(decisions.scored, decisions.predictions, 1 - decisions.labels)


def _accuracy(decisions: Decisions) -> Score:
    if not len(decisions.labels):
        return Score(math.nan, "no seizure")
    value = metrics.accuracy_score(decisions.labels, decisions.predictions, sample_weight=decisions.weights)
    return Score(float(value))


def _f1_macro(decisions: Decisions) -> Score:
    if reason := _one_class(decisions):
        return Score(math.nan, reason)
    value = metrics.f1_score(
        decisions.labels,
        _wrong(decisions),
        labels=range(len(decisions.classes)),
        average="macro",
        sample_weight=decisions.weights,
        zero_division=0.0,
    )
    return Score(float(value))


def _f1(decisions: Decisions) -> Score:
    if len(decisions.classes) != 2:
        return _f1_macro(decisions)
    if reason := _one_class(decisions):
        return Score(math.nan, reason)
    value = metrics.f1_score(
        decisions.labels,
        _wrong(decisions),
        sample_weight=decisions.weights,
        zero_division=0.0,
    )
    return Score(float(value))


def _recall(decisions: Decisions, index: int) -> Score:
    own = decisions.only(decisions.labels == index)
    if not len(own.labels):
        return Score(math.nan, f"no seizure of class {decisions.classes[index]}")
    return _accuracy(own)


def _sensitivity(decisions: Decisions) -> Score:
    return _recall(decisions, 1) if len(decisions.classes) == 2 else _balanced_accuracy(decisions)


def _specificity(decisions: Decisions) -> Score:
    """With more than two classes the mean over them of the share of the others' seizures that are not called so.

    What has no score is a false alarm of every class but its own.
    """
    if len(decisions.classes) == 2:
        return _recall(decisions, 0)
    if reason := _one_class(decisions):
        return Score(math.nan, reason)
    shares = []
    for index in range(len(decisions.classes)):
        others = decisions.only(decisions.labels != index)
        quiet = others.scored & (others.predictions != index)
        shares.append(metrics.accuracy_score(np.ones_like(quiet), quiet, sample_weight=others.weights))
    return Score(float(np.mean(shares)))


def _balanced_accuracy(decisions: Decisions) -> Score:
    if reason := _one_class(decisions):
        return Score(math.nan, reason)
    value = metrics.recall_score(
        decisions.labels,
        decisions.predictions,
        labels=range(len(decisions.classes)),
        average="macro",
        sample_weight=decisions.weights,
        zero_division=0.0,
    )
    return Score(float(value))


def _mcc(decisions: Decisions) -> Score:
    if reason := _one_class(decisions):
        return Score(math.nan, reason)
    predicted = _wrong(decisions)
    if len(set(predicted.tolist())) == 1:
        return Score(math.nan, "one class predicted")
    return Score(float(metrics.matthews_corrcoef(decisions.labels, predicted, sample_weight=decisions.weights)))


def _ranked(decisions: Decisions) -> tuple[Decisions, str]:
    scored = decisions.only(decisions.scored)
    return scored, _one_class(scored)


def _auroc(decisions: Decisions) -> Score:
    scored, reason = _ranked(decisions)
    if reason:
        return Score(math.nan, reason)
    if len(scored.classes) == 2:
        value = metrics.roc_auc_score(scored.labels, scored.probabilities[:, 1], sample_weight=scored.weights)
        return Score(float(value))
    value = metrics.roc_auc_score(
        scored.labels,
        scored.probabilities,
        labels=range(len(scored.classes)),
        multi_class="ovr",
        average="macro",
        sample_weight=scored.weights,
    )
    return Score(float(value))


def _auprc(decisions: Decisions) -> Score:
    scored, reason = _ranked(decisions)
    if reason:
        return Score(math.nan, reason)
    if len(scored.classes) == 2:
        value = metrics.average_precision_score(scored.labels, scored.probabilities[:, 1], sample_weight=scored.weights)
        return Score(float(value))
    truth = np.eye(len(scored.classes), dtype=int)[scored.labels]
    value = metrics.average_precision_score(truth, scored.probabilities, average="macro", sample_weight=scored.weights)
    return Score(float(value))


def _brier(decisions: Decisions) -> Score:
    """With more than two classes the mean of each against the rest, which for two equals the usual score."""
    scored = decisions.only(decisions.scored)
    if not len(scored.labels):
        return Score(math.nan, "no seizure")
    truth = np.eye(len(scored.classes))[scored.labels]
    columns = range(1, 2) if len(scored.classes) == 2 else range(len(scored.classes))
    values = [
        metrics.brier_score_loss(
            truth[:, index],
            scored.probabilities[:, index].clip(0.0, 1.0),
            sample_weight=scored.weights,
            labels=[0, 1],
        )
        for index in columns
    ]
    return Score(float(np.mean(values)))


def _log_loss(decisions: Decisions) -> Score:
    scored, reason = _ranked(decisions)
    if not len(scored.labels):
        return Score(math.nan, reason)
    truth = scored.labels
    if bool((scored.probabilities[np.arange(len(truth)), truth] <= 0).any()):
        return Score(math.nan, "a score of 0 for what was the case")
    scores = scored.probabilities / scored.probabilities.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nine digits need not sum to 1 exactly
        value = metrics.log_loss(truth, scores, labels=list(range(len(scored.classes))), sample_weight=scored.weights)
    return Score(float(value))


def _calibration_slope(decisions: Decisions) -> Score:
    """Slope of the logistic regression of the label on the log odds of the score; 1 is calibrated, below 1 too sure."""
    scored, reason = _ranked(decisions)
    if len(scored.classes) != 2:
        return Score(math.nan, "more than two classes")
    if reason:
        return Score(math.nan, reason)
    positive = scored.probabilities[:, 1]
    if bool(((positive <= 0) | (positive >= 1)).any()):
        return Score(math.nan, "a score of 0 or 1")
    inside, outside = positive[scored.labels == 1], positive[scored.labels == 0]
    if float(np.ptp(positive)) == 0.0:
        return Score(math.nan, "one score for all")
    if inside.min() >= outside.max() or inside.max() <= outside.min():
        return Score(math.nan, "the score parts the classes")  # the likelihood has no maximum
    odds = special.logit(positive)[:, None]
    spread = float(odds.std())  # the solver's tolerances are of features of this size
    fitted = LogisticRegression(C=math.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            fitted.fit((odds - odds.mean()) / spread, scored.labels, sample_weight=scored.weights)
        except ConvergenceWarning:
            return Score(math.nan, "the regression does not converge")
    return Score(float(fitted.coef_[0, 0]) / spread)


_SCORES: dict[str, Callable[[Decisions], Score]] = {
    "f1": _f1,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "auroc": _auroc,
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "auprc": _auprc,
    "brier": _brier,
    "log_loss": _log_loss,
    "calibration_slope": _calibration_slope,
}
SCORES: tuple[str, ...] = tuple(_SCORES)
