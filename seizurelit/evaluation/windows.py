"""A seizure's score from its windows in other ways than the mean: for signs that come and go (METHOD.md, point 12).

The networks are fitted for the mean logit, and their threshold is of it. What the windows would give when the strongest of them
count for the seizure is read from the same fitted networks, beside the table and exploratory.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from seizurelit.evaluation.predictions import PROBABILITY, classes_of, decide
from seizurelit.evaluation.scores import Score
from seizurelit.evaluation.statistics.cases import Cases, cases_of
from seizurelit.evaluation.statistics.intervals import RESAMPLES, Interval, intervals
from seizurelit.evaluation.statistics.weightings import scores_under

Floats = npt.NDArray[np.float64]

TOP = 0.25
"""Share of the windows, rounded up, whose mean is taken by top-k."""

SCORES = ("auroc", "balanced_accuracy", "accuracy", "f1")

# Scores are written with nine digits: a 0 is anything below this.
_SMALLEST = 1e-9


def mean(margins: Floats) -> float:
    """The mean logit, which is what the networks are fitted for.

    Args:
        margins: (W,) log odds of the positive class, a window each.
    """
    return float(margins.mean())


def top_k(margins: Floats) -> float:
    """The mean of the highest quarter of the windows' log odds (W,), at least of one."""
    count = math.ceil(TOP * len(margins))
    return float(np.sort(margins)[-count:].mean())


def log_sum_exp(margins: Floats) -> float:
    """Log of the mean odds of (W,) log odds: between their mean and their maximum (Pinheiro & Collobert, CVPR 2015, r = 1)."""
    return float(special.logsumexp(margins) - math.log(len(margins)))


POOLINGS: Mapping[str, Callable[[Floats], float]] = {"mean": mean, "top-k": top_k, "log-sum-exp": log_sum_exp}


@dataclass(frozen=True)
class Pooled:
    """A trained row with its windows pooled in one way.

    Attributes:
        sign: of the row.
        stream: of the row.
        model: of the row.
        pooling: of `POOLINGS`.
        seizures: that have windows in every seed.
        scores: name → mean over the seeds.
        intervals: name → over subjects.
    """

    sign: str
    stream: str
    model: str
    pooling: str
    seizures: int
    scores: Mapping[str, Score]
    intervals: Mapping[str, Interval]


def pooled_rows(predictions: pd.DataFrame, windows: pd.DataFrame, *, resamples: int = RESAMPLES) -> list[Pooled]:
    """Every trained row of two classes, pooled in every way, on the same seizures.

    Args:
        predictions: out of fold; rows without windows (baselines, fusion) are passed over.
        windows: a row a window: sign, stream, model, seed, seizure, score_0, score_1 (of the classes in order).
        resamples: of the subjects.
    """
    keys = ["sign", "stream", "model", "seed", "seizure"]
    found = []
    for (sign, stream, model), rows in predictions.groupby(["sign", "stream", "model"], sort=False):
        classes = classes_of(predictions, str(sign))
        own = windows.loc[(windows["sign"] == sign) & (windows["stream"] == stream) & (windows["model"] == model)]
        if len(classes) != 2 or own.empty:
            continue
        logs = np.log(own[["score_0", "score_1"]].to_numpy(dtype=float).clip(_SMALLEST))
        groups = own[keys].assign(margin=logs[:, 1] - logs[:, 0]).groupby(keys)["margin"]
        margins = {key: group.to_numpy(dtype=float) for key, group in groups}
        for name, pooling in POOLINGS.items():
            values = pd.DataFrame([(*key, pooling(group)) for key, group in margins.items()], columns=[*keys, "margin"])
            cases = _cases(rows, values, classes)
            once = scores_under(cases, np.ones((1, len(cases.subjects))), SCORES)
            scores = {key: Score(float(v[0]), "" if np.isfinite(v[0]) else "one class") for key, v in once.items()}
            held = intervals(cases, SCORES, resamples=resamples)
            found.append(Pooled(str(sign), str(stream), str(model), name, len(cases.labels), scores, held))
    return found


def _cases(rows: pd.DataFrame, values: pd.DataFrame, classes: Sequence[str]) -> Cases:
    """The row's cases with other scores, decided at the same thresholds."""
    joined = rows.astype({"seed": "int64"}).merge(
        values[["seed", "seizure", "margin"]].astype({"seed": "int64"}), on=["seed", "seizure"], validate="one_to_one"
    )
    positive = special.expit(joined["margin"].to_numpy(dtype=float))
    table = np.stack([1 - positive, positive], axis=1)
    cuts = joined["threshold"].to_numpy(dtype=float)
    decided = [
        decide(one[None], classes, None if math.isnan(cut) else cut)[0] for one, cut in zip(table, cuts, strict=True)
    ]
    names = {PROBABILITY + classes[0]: table[:, 0], PROBABILITY + classes[1]: table[:, 1]}
    changed = joined.assign(prediction=decided, **names)
    return cases_of([group for _, group in changed.groupby("seed", sort=True)], classes)


def to_csv(rows: Sequence[Pooled]) -> str:
    """A line a row and pooling, at full precision; what is undefined is blank."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = [part for name in SCORES for part in (name, f"{name}_low", f"{name}_high")]
    writer.writerow(("sign", "stream", "model", "pooling", "seizures", *ends))
    for row in rows:
        cells: list[float] = []
        for name in SCORES:
            cells += [row.scores[name].value, row.intervals[name].low, row.intervals[name].high]
        written = ["" if math.isnan(cell) else f"{cell:.9g}" for cell in cells]
        writer.writerow((row.sign, row.stream, row.model, row.pooling, row.seizures, *written))
    return text.getvalue()


def note(rows: Sequence[Pooled]) -> str:
    """One line for the table: AUROC by each pooling; blank without windows."""
    shown: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        value = row.scores["auroc"]
        shown.setdefault((row.sign, row.stream, row.model), []).append(f"{value.value:.2f}" if value.defined else "–")
    if not shown:
        return ""
    parts = [f"{' '.join(key)} {'/'.join(values)}" for key, values in shown.items()]
    return (
        f"AUROC with a seizure's windows pooled by {', '.join(POOLINGS)} (of the same networks, fitted for the mean; exploratory, "
        f"with intervals in pooling.csv): {'; '.join(parts)}."
    )
