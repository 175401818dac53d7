"""Whether a row is above chance: labels permuted between subjects, with the fitted models or with models fitted anew.

Seizures are never permuted across subjects (METHOD.md, points 2 and 3). With fixed scores the test is conditional and
approximate: it takes the fitted models as given, although they were fitted to the labels that it permutes. The test that
is not so fits every fold anew on each set of permuted labels: `relabellings` makes the sets, `refitted` the p.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seizurelit.cohort.manifest import FEWEST_SUBJECTS
from seizurelit.evaluation.scores import NOT_SCORED
from seizurelit.evaluation.statistics.cases import Cases, Floats, Ints
from seizurelit.evaluation.statistics.intervals import TOLERANCE
from seizurelit.evaluation.statistics.weightings import scores_under

MOST_ENUMERATED = 100_000
"""Relabellings up to which all are taken; the paper's 19 subjects of whom 9 are positive have 92,378."""

DRAWS = 20_000
CONDITIONAL = "conditional, approximate"
REFITTED = "refitted"
BALANCED_ACCURACY = "balanced accuracy of patients"
COVARIANCE = "covariance of a subject's share of positive seizures with its mean score"

_TRIES = 1000


@dataclass(frozen=True)
class Chance:
    """The outcome of a permutation test.

    Attributes:
        kind: CONDITIONAL or REFITTED.
        statistic: what was computed of each relabelling.
        observed: with the true labels; NaN where there is no test.
        expected: its mean over the relabellings: the chance level.
        p: one-sided for a row above chance, two-sided for an association with another sign; NaN where there is no test.
        relabellings: taken.
        exact: whether they are all there are.
        reason: why there is no test, or blank.
    """

    kind: str
    statistic: str
    observed: float
    expected: float
    p: float
    relabellings: int
    exact: bool
    reason: str = ""

    @property
    def tested(self) -> bool:
        """Whether there is a p."""
        return not math.isnan(self.p)


def conditional(cases: Cases, *, statistic: str | None = None, draws: int = DRAWS, seed: int = 0) -> Chance:
    """Permute the subjects' labels against the fixed predictions; one-sided, above chance.

    One label a subject: it is permuted, and the statistic is the balanced accuracy of patients, mean over the seeds.
    Labels that vary within a subject: the subjects' shares of positive seizures are permuted, and the statistic is their
    covariance with the subjects' mean scores; patients without a score are left out there.

    Args:
        cases: of one row; subjects that a seed has not done are left out.
        statistic: BALANCED_ACCURACY or COVARIANCE; None takes the former where each subject has one label.
        draws: relabellings drawn where there are too many for all; p is (b + 1) / (N + 1) then.
        seed: of the draws.
    """
    if not len(cases.labels):
        return _untested("no fold done")
    whole = cases.only(np.asarray((cases.weights > 0).all(axis=0)))
    if len(whole.subjects) < 2:
        return _untested("fewer than two subjects in every seed")
    if statistic == BALANCED_ACCURACY or (statistic is None and _constant(whole)):
        return _of_labels(whole.by_patient(), draws, seed)
    if len(whole.classes) != 2:
        return _untested("labels of several classes vary within a subject")
    return _of_shares(whole, whole.labels, draws, seed, sides="above")


def statistic_of(cases: Cases, statistic: str) -> float:
    """The statistic of `conditional` alone: what a refit on permuted labels gives to `refitted`; NaN if undefined.

    Args:
        cases: of the refitted row, with the permuted labels.
        statistic: that of the row with the true labels; permuted shares may happen to be one label a subject.
    """
    return conditional(cases, statistic=statistic, draws=1).observed


def refitted(observed: float, null: Sequence[float], statistic: str = "") -> Chance:
    """The p of a row whose folds were all fitted anew on permuted labels: (b + 1) / (N + 1).

    Args:
        observed: the statistic with the true labels.
        null: the statistic of each refit; one that is undefined counts as at least as large.
        statistic: its name.
    """
    if math.isnan(observed) or not null:
        return dataclasses.replace(_untested("the statistic is undefined" if null else "no refit"), kind=REFITTED)
    values = np.array(null, dtype=float)
    as_large = int((np.isnan(values) | (values >= observed - TOLERANCE)).sum())
    defined = values[~np.isnan(values)]
    expected = float(defined.mean()) if len(defined) else math.nan
    return Chance(REFITTED, statistic, observed, expected, (as_large + 1) / (len(values) + 1), len(values), False)


def relabellings(
    labels: Mapping[str, int], subject_of: Mapping[str, str], count: int, seed: int = 0
) -> Iterator[dict[str, int]]:
    """Sets of permuted labels for refitting, each a whole cohort's.

    Each subject is dealt another subject's labels, one permutation of the subjects a set. Who has one label carries it to
    all seizures of the one who is dealt it. Otherwise as many labels as the subject needs are taken from the other's sorted ones
    at equal steps from a random start, and shuffled within the subject: its share of positive seizures is the other's, rounded
    up or down at random.

    Args:
        labels: seizure → index of its class.
        subject_of: seizure → subject.
        count: of sets; each depends on `seed` and its place alone, so that more can be made later.
        seed: of the permutations.

    Yields:
        Seizure → index of its class. Every class keeps as many subjects as a sign must have.

    Raises:
        ValueError: no permutation keeps every class.
    """
    seizures = sorted(labels)
    subjects = sorted({subject_of[name] for name in seizures})
    own = {subject: [name for name in seizures if subject_of[name] == subject] for subject in subjects}
    dealt = {subject: np.array([labels[name] for name in own[subject]]) for subject in subjects}
    classes = set(labels.values())
    for place in range(count):
        rng = np.random.default_rng([seed, place])
        for _ in range(_TRIES):
            order = rng.permutation(len(subjects))
            made: dict[str, int] = {}
            for subject, index in zip(subjects, order, strict=True):
                source, wanted = dealt[subjects[index]], len(own[subject])
                steps = (rng.random() + np.arange(wanted)) * len(source) / wanted
                new = rng.permutation(np.sort(source)[steps.astype(int)])
                made |= dict(zip(own[subject], new.tolist(), strict=True))
            having = {label: {subject_of[name] for name, new in made.items() if new == label} for label in classes}
            if all(len(subjects_of) >= FEWEST_SUBJECTS for subjects_of in having.values()):
                yield made
                break
        else:
            msg = f"no permutation keeps {FEWEST_SUBJECTS} subjects of each class"
            raise ValueError(msg)


@dataclass(frozen=True)
class OtherSign:
    """How a row's scores go with another sign of the same seizures (METHOD.md, point 9).

    Attributes:
        sign: the other one.
        auroc: of the row's scores for the other sign, mean over the seeds; NaN where undefined. Below 0.5 they tell its
            absence.
        own_auroc: for the row's own sign, of the same seizures.
        chance: the permutation test of the association, two-sided.
    """

    sign: str
    auroc: float
    own_auroc: float
    chance: Chance

    @property
    def tells_it_as_well(self) -> bool:
        """Whether the scores part the other sign, either way, at least as well as their own."""
        return abs(self.auroc - 0.5) >= abs(self.own_auroc - 0.5)


def against_other_sign(
    cases: Cases, sign: str, labels: Mapping[str, int], *, draws: int = DRAWS, seed: int = 0
) -> OtherSign:
    """Test a row's scores against another sign: covariance of the subjects' means, labels permuted between subjects.

    Args:
        cases: of the row, with two classes.
        sign: the other sign, with two classes.
        labels: seizure → 0 or 1 for it; seizures that are not rated for it are left out.
        draws: as for `conditional`.
        seed: as for `conditional`.
    """
    scored = (cases.weights > 0).all(axis=0) & (cases.predictions != NOT_SCORED).all(axis=0)
    rated = np.array([name in labels for name in cases.seizures], dtype=bool)
    common = cases.only(scored & rated)
    other = np.array([labels[name] for name in common.seizures], dtype=int)
    if len(common.classes) != 2 or len(common.subjects) < 2:
        reason = "more than two classes" if len(common.classes) != 2 else "fewer than two common subjects"
        return OtherSign(sign, math.nan, math.nan, _untested(reason))
    once = np.ones((1, len(common.subjects)))
    auroc, own = (
        float(scores_under(dataclasses.replace(common, labels=labels_), once, ["auroc"])["auroc"][0])
        for labels_ in (other, common.labels)
    )
    return OtherSign(sign, auroc, own, _of_shares(common, other, draws, seed, sides="both"))


def _untested(reason: str) -> Chance:
    return Chance(CONDITIONAL, "", math.nan, math.nan, math.nan, 0, False, reason)


def _constant(cases: Cases) -> bool:
    pairs = {(int(owner), int(label)) for owner, label in zip(cases.owner, cases.labels, strict=True)}
    return len(pairs) == len(cases.subjects)


def _of_labels(patients: Cases, draws: int, seed: int) -> Chance:
    """Permute the labels of patients; the statistic is a sum over them of what each adds under the label it is dealt."""
    width = len(patients.classes)
    counts = np.bincount(patients.labels, minlength=width)
    if (counts == 0).any():
        return _untested("one class" if (counts > 0).sum() == 1 else "a class without a subject")
    seeds = np.arange(patients.seeds)[:, None]
    hits = np.zeros((patients.seeds, len(patients.labels), width + 1))
    hits[seeds, np.arange(len(patients.labels)), patients.predictions] = 1.0  # NOT_SCORED is the last, which is dropped
    gain = hits[..., :width].mean(axis=0) / counts / width
    observed = float(gain[np.arange(len(patients.labels)), patients.labels].sum())
    number = math.factorial(len(patients.labels)) // math.prod(math.factorial(int(count)) for count in counts)
    exact = number <= MOST_ENUMERATED and width == 2
    if exact:
        chosen = _subsets(len(patients.labels), int(counts[1]))
        null = gain[:, 0].sum() + (gain[:, 1] - gain[:, 0])[chosen].sum(axis=1)
    else:
        rng = np.random.default_rng(seed)
        dealt = rng.permuted(np.tile(patients.labels, (draws, 1)), axis=1)
        null = gain[np.arange(len(patients.labels)), dealt].sum(axis=1)
    return _outcome(BALANCED_ACCURACY, observed, null, exact=exact, sides="above")


def _of_shares(cases: Cases, labels: Ints, draws: int, seed: int, *, sides: Literal["above", "both"]) -> Chance:
    """Permute the subjects' shares of positive seizures against the subjects' mean scores."""
    scored = (cases.predictions != NOT_SCORED).all(axis=0)
    owner = np.unique(cases.owner[scored], return_inverse=True)[1]
    size = np.bincount(owner)
    if len(size) < 2:
        return _untested("fewer than two subjects with a score")
    shares = np.bincount(owner, labels[scored]) / size
    means = np.bincount(owner, cases.probabilities[:, scored, 1].mean(axis=0)) / size
    if np.ptp(shares) < TOLERANCE:
        return _untested("every subject has the same share of positive seizures")
    if np.ptp(means) < TOLERANCE:
        return _untested("every subject has the same mean score")
    centred = (means - means.mean()) / (len(size) - 1)
    high = int((shares == shares.max()).sum())
    exact = True
    if len(set(shares.tolist())) == 2 and math.comb(len(size), high) <= MOST_ENUMERATED:
        null = np.ptp(shares) * centred[_subsets(len(size), high)].sum(axis=1)  # the deviations sum to 0
    elif math.factorial(len(size)) <= MOST_ENUMERATED:
        null = shares[np.array(list(itertools.permutations(range(len(size)))))] @ centred
    else:
        null = np.random.default_rng(seed).permuted(np.tile(shares, (draws, 1)), axis=1) @ centred
        exact = False
    return _outcome(COVARIANCE, float(shares @ centred), null, exact=exact, sides=sides)


@functools.lru_cache(maxsize=4)
def _subsets(count: int, size: int) -> Ints:
    """(C(count, size), size) all ways to choose so many of so many."""
    flat = itertools.chain.from_iterable(itertools.combinations(range(count), size))
    return np.fromiter(flat, dtype=int).reshape(-1, size)


def _outcome(statistic: str, observed: float, null: Floats, *, exact: bool, sides: Literal["above", "both"]) -> Chance:
    tolerance = TOLERANCE * max(1.0, abs(observed))
    if sides == "both":
        as_large = int((np.abs(null) >= abs(observed) - tolerance).sum())
    else:
        as_large = int((null >= observed - tolerance).sum())
    p = as_large / len(null) if exact else (as_large + 1) / (len(null) + 1)
    return Chance(CONDITIONAL, statistic, observed, float(null.mean()), p, len(null), exact)
