"""Scores under many weightings of the subjects at once: what a bootstrap, a jackknife and a sign-flip are made of.

A resample of subjects is how often each was drawn. Everything that is made of decisions then is a function of a weighted
sum of the subjects' confusion matrices, AUROC of a quadratic form of their concordances; no resample is ever built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from seizurelit.evaluation.scores import NOT_SCORED, SCORES, Score, score
from seizurelit.evaluation.statistics.cases import Cases, Floats

# Weightings times seizures of one block of AUPRC, which has no sums over subjects.
_BLOCK = 2_000_000


def scores_under(cases: Cases, draws: Floats, names: Iterable[str]) -> dict[str, Floats]:
    """The mean of the seeds' scores under each weighting; equal to `scores.score` of the cases so repeated.

    Args:
        cases: of one row.
        draws: (B, n) how often each subject counts, 0 or more.
        names: which scores, of `WEIGHABLE`.

    Returns:
        Name → (B,); NaN where the score of any seed is undefined.
    """
    counts = summed(tallies(cases), draws)
    found = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in names:
            by_seed = OF_COUNTS[name](counts) if name in OF_COUNTS else _OF_SCORES[name](cases, draws)
            found[name] = np.asarray(by_seed.mean(axis=-1), dtype=float)
    return found


def scores_by_seed(cases: Cases) -> list[dict[str, Score]]:
    """What `scores.score` gives for each seed, by these sums where they are defined: a fraction of the time."""
    names = [name for name in SCORES if name in WEIGHABLE]
    found = []
    for place in range(cases.seeds):
        one = cases.of_seeds([place])
        values = scores_under(one, np.ones((1, len(one.subjects))), names)
        defined = {name: Score(float(value[0])) for name, value in values.items() if not np.isnan(value[0])}
        rest = score(one.decisions(0), [name for name in SCORES if name not in defined])
        found.append({name: defined.get(name) or rest[name] for name in SCORES})
    return found


def tallies(cases: Cases) -> Floats:
    """(n, R, K, K + 1) weight of each subject's cases by seed, label and prediction; the last column is NOT_SCORED."""
    width = len(cases.classes)
    table = np.zeros((len(cases.subjects), cases.seeds, width, width + 1))
    column = np.where(cases.predictions == NOT_SCORED, width, cases.predictions)
    seeds = np.arange(cases.seeds)[:, None]
    np.add.at(table, (cases.owner[None, :], seeds, cases.labels[None, :], column), cases.weights)
    return table


def summed(table: Floats, draws: Floats) -> Floats:
    """(B, R, K, K + 1): the tallies (n, R, K, K + 1) summed with the weights (B, n)."""
    return np.asarray(np.tensordot(draws, table, axes=1))


def _support(counts: Floats) -> Floats:
    return np.asarray(counts.sum(axis=-1))


def _all_classes(counts: Floats, value: Floats) -> Floats:
    return np.where((_support(counts) > 0).all(axis=-1), value, np.nan)


def _settled(counts: Floats) -> Floats:
    """(…, K, K) with two classes: what has no score is given the class that it is not. Otherwise it is left away."""
    square = counts[..., :-1]
    if counts.shape[-2] == 2:
        square = square + counts[..., -1][..., None] * (1.0 - np.eye(2))
    return np.asarray(square)


def _right(counts: Floats) -> Floats:
    return np.asarray(np.diagonal(counts, axis1=-2, axis2=-1))


def _accuracy(counts: Floats) -> Floats:
    return np.asarray(_right(counts).sum(axis=-1) / counts.sum(axis=(-2, -1)))


def _f1_by_class(counts: Floats) -> Floats:
    settled = _settled(counts)
    return np.asarray(2 * _right(settled) / (settled.sum(axis=-2) + _support(counts)))


def _f1(counts: Floats) -> Floats:
    by_class = _f1_by_class(counts)
    return _all_classes(counts, by_class[..., 1] if counts.shape[-2] == 2 else by_class.mean(axis=-1))


def _f1_macro(counts: Floats) -> Floats:
    return _all_classes(counts, _f1_by_class(counts).mean(axis=-1))


def _balanced_accuracy(counts: Floats) -> Floats:
    return _all_classes(counts, (_right(counts) / _support(counts)).mean(axis=-1))


def _sensitivity(counts: Floats) -> Floats:
    if counts.shape[-2] == 2:
        return np.asarray(counts[..., 1, 1] / _support(counts)[..., 1])
    return _balanced_accuracy(counts)


def _specificity(counts: Floats) -> Floats:
    support = _support(counts)
    if counts.shape[-2] == 2:
        return np.asarray(counts[..., 0, 0] / support[..., 0])
    others = support.sum(axis=-1, keepdims=True) - support
    alarms = counts[..., :-1].sum(axis=-2) - _right(counts)
    unscored = counts[..., -1].sum(axis=-1, keepdims=True) - counts[..., -1]
    return _all_classes(counts, ((others - alarms - unscored) / others).mean(axis=-1))


def _mcc(counts: Floats) -> Floats:
    """Gorodkin's correlation of K classes; with more than two, having no score is a prediction of its own."""
    table = _settled(counts) if counts.shape[-2] == 2 else counts
    truth, predicted = table.sum(axis=-1), table.sum(axis=-2)
    total = truth.sum(axis=-1)
    both = _right(table).sum(axis=-1) * total - (truth * predicted[..., : truth.shape[-1]]).sum(axis=-1)
    spread = (total**2 - (truth**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    value = both / np.sqrt(spread)
    return _all_classes(counts, np.where((predicted > 0).sum(axis=-1) > 1, value, np.nan))


OF_COUNTS: dict[str, Callable[[Floats], Floats]] = {
    "f1": _f1,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
}
"""Functions of (…, K, K + 1) counts, as `tallies` orders them, to (…)."""


def _weights(cases: Cases, seed: int) -> Floats:
    """(S,) weights of the cases that have a score."""
    return np.where(cases.predictions[seed] == NOT_SCORED, 0.0, cases.weights[seed])


def _one_against_rest(cases: Cases) -> range:
    return range(1, 2) if len(cases.classes) == 2 else range(len(cases.classes))


def _class_weights(cases: Cases, seed: int) -> Floats:
    """(n, K) weight of each subject's scored cases of each class."""
    table = np.zeros((len(cases.subjects), len(cases.classes)))
    np.add.at(table, (cases.owner, cases.labels), _weights(cases, seed))
    return table


def _concordance(cases: Cases, seed: int, index: int) -> Floats:
    """(n, n): weight of the pairs in which a case of the class outscores another; a tie is half. Rows own the former."""
    count = len(cases.subjects)
    weights, scores = _weights(cases, seed), cases.probabilities[seed, :, index]
    inside = (cases.labels == index) & (weights > 0)
    table = np.zeros((count, count))
    for subject in range(count):
        rest = np.flatnonzero((cases.labels != index) & (cases.owner == subject) & (weights > 0))
        if not len(rest):
            continue
        rest = rest[np.argsort(scores[rest])]
        below = np.concatenate([[0.0], np.cumsum(weights[rest])])
        left = np.searchsorted(scores[rest], scores[inside], side="left")
        right = np.searchsorted(scores[rest], scores[inside], side="right")
        won = weights[inside] * (below[left] + below[right]) / 2
        table[:, subject] = np.bincount(cases.owner[inside], weights=won, minlength=count)
    return table


def _auroc(cases: Cases, draws: Floats) -> Floats:
    by_seed = []
    for seed in range(cases.seeds):
        present = draws @ _class_weights(cases, seed)
        values = []
        for index in _one_against_rest(cases):
            pairs = present[:, index] * (present.sum(axis=1) - present[:, index])
            values.append(((draws @ _concordance(cases, seed, index)) * draws).sum(axis=1) / pairs)
        by_seed.append(np.where((present > 0).all(axis=1), np.mean(values, axis=0), np.nan))
    return np.stack(by_seed, axis=-1)


def _auprc(cases: Cases, draws: Floats) -> Floats:
    """Average precision: precision summed over the steps of recall, equal scores being one step."""
    by_seed = []
    step = max(1, _BLOCK // max(1, len(cases.labels)))
    for seed in range(cases.seeds):
        present = draws @ _class_weights(cases, seed)
        weights = _weights(cases, seed)
        values = []
        for index in _one_against_rest(cases):
            scores = cases.probabilities[seed, :, index]
            order = np.flatnonzero(weights > 0)
            order = order[np.argsort(-scores[order], kind="stable")]
            last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)) if len(order) else order
            inside = cases.labels[order] == index
            blocks = []
            for start in range(0, len(draws), step):
                weighted = draws[start : start + step, cases.owner[order]] * weights[order]
                hits = np.cumsum(weighted * inside, axis=1)[:, last]
                flagged = np.cumsum(weighted, axis=1)[:, last]
                precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
                gained = np.diff(hits, axis=1, prepend=0.0)
                blocks.append((precision * gained).sum(axis=1))
            values.append(np.concatenate(blocks) / present[:, index])
        by_seed.append(np.where((present > 0).all(axis=1), np.mean(values, axis=0), np.nan))
    return np.stack(by_seed, axis=-1)


def _mean_loss(cases: Cases, draws: Floats, losses: Floats) -> Floats:
    """(B, R) weighted mean of (R, S) losses; NaN where an infinite one counts, or nothing does."""
    by_seed = []
    for seed in range(cases.seeds):
        weights = _weights(cases, seed)
        infinite = np.isinf(losses[seed]) & (weights > 0)
        finite = np.where(np.isfinite(losses[seed]), losses[seed], 0.0)
        sums = [
            np.bincount(cases.owner, weights=values, minlength=len(cases.subjects))
            for values in (weights * finite, weights, infinite.astype(float))
        ]
        loss, total, never = (draws @ np.stack(sums, axis=-1)).T
        by_seed.append(np.where((total > 0) & (never == 0), loss / total, np.nan))
    return np.stack(by_seed, axis=-1)


def _brier(cases: Cases, draws: Floats) -> Floats:
    truth = np.eye(len(cases.classes))[cases.labels]
    if len(cases.classes) == 2:
        losses = (cases.probabilities[..., 1].clip(0.0, 1.0) - truth[:, 1]) ** 2
    else:
        losses = ((cases.probabilities - truth) ** 2).mean(axis=-1)
    return _mean_loss(cases, draws, losses)


def _log_loss(cases: Cases, draws: Floats) -> Floats:
    shares = cases.probabilities / cases.probabilities.sum(axis=-1, keepdims=True)
    return _mean_loss(cases, draws, -np.log(shares[:, np.arange(len(cases.labels)), cases.labels]))


_OF_SCORES: dict[str, Callable[[Cases, Floats], Floats]] = {
    "auroc": _auroc,
    "auprc": _auprc,
    "brier": _brier,
    "log_loss": _log_loss,
}
WEIGHABLE: tuple[str, ...] = (*OF_COUNTS, *_OF_SCORES)
