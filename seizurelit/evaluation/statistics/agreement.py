"""How far raters agree, so that a model's agreement with the label can be read beside it (METHOD.md, point 12).

A `?` is left out, and then taken both ways. An intermittent sign counts once a rater and seizure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from seizurelit.cohort.labels import Rating
from seizurelit.evaluation.scores import NOT_SCORED, Score
from seizurelit.evaluation.statistics.cases import Cases

MISSING = -1


@dataclass(frozen=True)
class Agreement:
    """Agreement of the raters of one sign.

    Attributes:
        raters: sorted.
        seizures: with at least two ratings that are not `?`.
        undecided: ratings that are `?`.
        cohen: kappa of two raters on the seizures that both rated; undefined for more than two raters.
        fleiss: kappa over the seizures that every rater rated.
        alpha: Krippendorff's, nominal, over all seizures with two or more ratings.
        alpha_if_absent: the same with each `?` taken as absent.
        alpha_if_present: the same with each `?` taken as present.
    """

    raters: tuple[str, ...]
    seizures: int
    undecided: int
    cohen: Score
    fleiss: Score
    alpha: Score
    alpha_if_absent: Score
    alpha_if_present: Score


def agreement(ratings: Iterable[Rating], sign: str) -> Agreement:
    """The raters' agreement on a sign.

    Args:
        ratings: of labels.csv, of any signs.
        sign: whose.
    """
    own = [rating for rating in ratings if rating.sign == sign]
    raters = tuple(sorted({rating.rater for rating in own}))
    seizures = sorted({rating.seizure for rating in own})
    values = {(rating.seizure, rating.rater): rating.value for rating in own}

    def table(undecided: int) -> npt.NDArray[np.int_]:
        code = {"0": 0, "1": 1, "?": undecided}
        cells = [[code[values[s, r]] if (s, r) in values else MISSING for r in raters] for s in seizures]
        return np.array(cells, dtype=int).reshape(len(seizures), len(raters))

    decided = table(MISSING)
    return Agreement(
        raters=raters,
        seizures=int(((decided != MISSING).sum(axis=1) >= 2).sum()),
        undecided=sum(value == "?" for value in values.values()),
        cohen=cohen_kappa(decided),
        fleiss=fleiss_kappa(decided),
        alpha=krippendorff_alpha(decided),
        alpha_if_absent=krippendorff_alpha(table(0)),
        alpha_if_present=krippendorff_alpha(table(1)),
    )


def cohen_kappa(table: npt.NDArray[np.int_]) -> Score:
    """Cohen's kappa of (S, 2) ratings, of the seizures that both raters rated; MISSING is none."""
    if table.shape[1] != 2:
        return Score(math.nan, f"{table.shape[1]} raters")
    both = table[(table != MISSING).all(axis=1)]
    if len(np.unique(both)) < 2:
        return Score(math.nan, "one value" if len(both) else "no seizure that both rated")
    return Score(float(metrics.cohen_kappa_score(both[:, 0], both[:, 1])))


def agreement_with_label(cases: Cases) -> tuple[Score, int]:
    """Cohen's kappa of a row's decisions and the labels, the mean over its seeds, and the seizures that it is of.

    Args:
        cases: of a row; a seizure without a score in a seed is not in that seed's kappa.
    """
    found = []
    for predictions in cases.predictions:
        scored = predictions != NOT_SCORED
        found.append(cohen_kappa(np.stack([cases.labels[scored], predictions[scored]], axis=1)))
    undefined = next((score for score in found if not score.defined), None)
    count = int((cases.predictions != NOT_SCORED).any(axis=0).sum())
    return (undefined or Score(float(np.mean([score.value for score in found])))), count


def fleiss_kappa(table: npt.NDArray[np.int_]) -> Score:
    """Fleiss' kappa of (S, R) ratings, of the seizures that all raters rated.

    J. L. Fleiss, Measuring nominal scale agreement among many raters, Psychological Bulletin 76 (1971), 378–382.
    """
    raters = table.shape[1]
    whole = table[(table != MISSING).all(axis=1)]
    if raters < 2 or not len(whole):
        return Score(math.nan, "one rater" if raters < 2 else "no seizure that all rated")
    votes = np.stack([(whole == value).sum(axis=1) for value in np.unique(whole)], axis=1)
    found = float(((votes**2).sum(axis=1) - raters).mean()) / (raters * (raters - 1))
    expected = float(((votes.sum(axis=0) / votes.sum()) ** 2).sum())
    return Score(math.nan, "one value") if votes.shape[1] < 2 else Score((found - expected) / (1 - expected))


def krippendorff_alpha(table: npt.NDArray[np.int_]) -> Score:
    """Krippendorff's nominal alpha of (S, R) ratings, of the seizures with at least two.

    K. Krippendorff, Computing Krippendorff's alpha-reliability (2011), section C.
    """
    values = np.unique(table[table != MISSING])
    votes = np.stack([(table == value).sum(axis=1) for value in values], axis=1) if len(values) else np.zeros((0, 0))
    votes = votes[votes.sum(axis=1) >= 2]
    if not len(votes):
        return Score(math.nan, "no seizure with two ratings")
    raters = votes.sum(axis=1, keepdims=True)
    differing = float(((raters * votes - votes**2) / (raters - 1)).sum())
    totals = votes.sum(axis=0)
    expected = float((totals.sum() * totals - totals**2).sum()) / float(totals.sum() - 1)
    return Score(math.nan, "one value") if expected == 0 else Score(1 - differing / expected)
