from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy import stats

from seizurelit.evaluation.scores import score
from seizurelit.evaluation.statistics.cases import Cases
from seizurelit.evaluation.statistics.intervals import (
    bca,
    difference_interval,
    intervals,
    left_out,
    resamples_of,
)
from seizurelit.evaluation.statistics.weightings import WEIGHABLE

COUNTS = np.array([1] * 10 + [2, 2, 2, 3, 3, 3, 3, 4, 6])


def made(seed: int, seeds: int = 1, counts: np.ndarray = COUNTS, strength: float = 1.0) -> Cases:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(counts)), counts)
    labels = (np.arange(len(counts)) % 2)[owner]
    positive = 1 / (1 + np.exp(-rng.normal(size=(seeds, len(owner))) - strength * (2 * labels - 1)))
    return Cases(
        ("0", "1"),
        tuple(f"z{index}" for index in range(len(owner))),
        tuple(f"s{index}" for index in range(len(counts))),
        owner,
        labels,
        (positive >= 0.5).astype(int),
        np.stack([1 - positive, positive], axis=-1),
        np.ones(positive.shape),
    )


def plain(cases: Cases, name: str, resamples: int, seed: int) -> tuple[float, float]:
    """BCa as Efron wrote it, a resample at a time, with scikit-learn's scores of the drawn seizures."""
    subjects = len(cases.subjects)
    own = [np.flatnonzero(cases.owner == subject) for subject in range(subjects)]

    def value(chosen: list[int]) -> float:
        rows = np.concatenate([own[subject] for subject in chosen])
        scores = []
        for index in range(cases.seeds):
            drawn = cases.decisions(index)
            part = type(drawn)(
                drawn.classes, drawn.labels[rows], drawn.predictions[rows], drawn.probabilities[rows], None
            )
            scores.append(score(part, [name])[name].value)
        return float(np.mean(scores))

    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, subjects, (resamples, subjects))
    boot = np.array([value(list(row)) for row in drawn])
    boot = np.sort(boot[~np.isnan(boot)])
    estimate = value(list(range(subjects)))
    jack = np.array([value([s for s in range(subjects) if s != out]) for out in range(subjects)])
    below = np.mean(boot < estimate - 1e-12) + np.mean(np.abs(boot - estimate) <= 1e-12) / 2
    z0 = stats.norm.ppf(below)
    up = jack.mean() - jack
    a = (up**3).sum() / (6 * (up**2).sum() ** 1.5)
    ends = []
    for z in stats.norm.ppf([0.025, 0.975]):
        position = stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) * (len(boot) - 1)
        low = math.floor(position)
        ends.append(boot[low] + (position - low) * (boot[min(low + 1, len(boot) - 1)] - boot[low]))
    return float(ends[0]), float(ends[1])


@pytest.mark.parametrize("name", ["f1", "accuracy", "auroc", "mcc"])
def test_it_equals_a_slow_plain_version(name: str) -> None:
    cases = made(1, seeds=2)
    found = intervals(cases, [name], resamples=150, seed=7)[name]
    assert (found.low, found.high) == pytest.approx(plain(cases, name, 150, 7), abs=1e-12)


def test_it_equals_scipys_where_a_subject_has_one_number() -> None:
    """One seizure a subject: accuracy is a mean of independent numbers, and the same generator draws the same."""
    cases = made(3, counts=np.ones(19, dtype=int))
    right = (cases.predictions == cases.labels)[0].astype(float)
    found = intervals(cases, ["accuracy"], resamples=999, seed=5)["accuracy"]
    expected = stats.bootstrap(
        (right,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(5), vectorized=True
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_resample_is_of_subjects_and_the_same_for_the_same_seed() -> None:
    draws = resamples_of(19, 50, seed=1)
    assert draws.shape == (50, 19)
    assert (draws.sum(axis=1) == 19).all()
    assert (draws == resamples_of(19, 50, seed=1)).all()
    assert (draws != resamples_of(19, 50, seed=2)).any()
    assert left_out(3).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_seeds_are_no_further_observations() -> None:
    """The same seed five times has the interval of one."""
    one = made(4)
    five = Cases(
        *(getattr(one, name) for name in ("classes", "seizures", "subjects", "owner", "labels")),
        np.tile(one.predictions, (5, 1)),
        np.tile(one.probabilities, (5, 1, 1)),
        np.tile(one.weights, (5, 1)),
    )
    for name, found in intervals(five, WEIGHABLE, resamples=200).items():
        again = intervals(one, [name], resamples=200)[name]
        assert (found.low, found.high) == pytest.approx((again.low, again.high), abs=1e-12), name


def test_what_has_no_interval_says_why() -> None:
    varied = np.linspace(0, 1, 100)
    jackknife = np.linspace(0.4, 0.6, 10)
    assert bca(0.5, varied, jackknife).defined
    assert bca(math.nan, varied, jackknife).reason == "the score is undefined"
    assert bca(0.5, np.full(100, 0.5), np.full(10, 0.5)).reason == "the same score in every resample"
    assert bca(2.0, varied, jackknife).reason == "all resamples on one side of the score"
    assert bca(0.5, varied, jackknife[:4]).reason == "fewer than 5 subjects"
    gaps = varied.copy()
    gaps[:5] = math.nan
    five = bca(0.5, gaps, jackknife)
    assert (five.defined, five.undefined, five.resamples) == (True, 5, 100), "5% may be undefined"
    gaps[5] = math.nan
    six = bca(0.5, gaps, jackknife)
    assert (six.defined, six.reason) == (False, "undefined in 6 of 100 resamples")
    jackknife[3] = math.nan
    assert bca(0.5, varied, jackknife).reason == "undefined without one of the subjects"
    few = made(1, counts=np.array([2, 2, 2, 2]))
    assert intervals(few, ["accuracy"], resamples=50)["accuracy"].reason == "fewer than 5 subjects"


def test_a_difference_is_of_the_same_resamples() -> None:
    one, other = made(1), made(2, strength=0.2)
    nothing = difference_interval(one, one, "accuracy", resamples=100)
    assert nothing.reason == "the same score in every resample"
    found = difference_interval(one, other, "accuracy", resamples=500)
    back = difference_interval(other, one, "accuracy", resamples=500)
    assert found.defined
    assert (found.low, found.high) == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_ten_thousand_resamples_of_eight_rows_take_seconds() -> None:
    rows = [made(seed, seeds=5) for seed in range(8)]
    started = time.process_time()
    for cases in rows:
        found = intervals(cases, WEIGHABLE, resamples=10_000)
        assert all(interval.defined for interval in found.values())
    assert time.process_time() - started < 10
