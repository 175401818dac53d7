from __future__ import annotations

import dataclasses
import itertools
import math
import time

import numpy as np
import pytest
from scipy import stats

from seizurelit.evaluation.scores import score
from seizurelit.evaluation.statistics.cases import Cases
from seizurelit.evaluation.statistics.contrasts import clustered_mcnemar, sign_flip, smallest_p
from seizurelit.evaluation.statistics.multiplicity import holm


def made(predictions: np.ndarray, labels: np.ndarray, owner: np.ndarray) -> Cases:
    positive = np.where(predictions == 1, 0.9, 0.1)
    return Cases(
        ("0", "1"),
        tuple(f"z{index}" for index in range(len(labels))),
        tuple(f"s{index}" for index in range(int(owner.max()) + 1)),
        owner,
        labels,
        predictions,
        np.stack([1 - positive, positive], axis=-1),
        np.ones(predictions.shape),
    )


def drawn(seed: int, subjects: int = 5, seeds: int = 2) -> tuple[Cases, Cases]:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), rng.integers(1, 4, subjects))
    labels = rng.integers(0, 2, len(owner))
    labels[:2] = 0, 1
    first = rng.integers(0, 2, (seeds, len(owner)))
    second = np.where(rng.random((seeds, len(owner))) < 0.6, labels, rng.integers(0, 2, (seeds, len(owner))))
    return made(first, labels, owner), made(second, labels, owner)


@pytest.mark.parametrize("name", ["accuracy", "f1"])
@pytest.mark.parametrize("seed", range(4))
def test_it_equals_a_slow_plain_version(name: str, seed: int) -> None:
    """Every one of the 2^n swaps made in the predictions themselves, with scikit-learn's scores."""
    one, other = drawn(seed)

    def difference(swapped: np.ndarray) -> float:
        turned = swapped[one.owner].astype(bool)
        pair_ = [np.where(turned, b.predictions, a.predictions) for a, b in ((one, other), (other, one))]
        values = [
            np.mean(
                [
                    score(dataclasses.replace(one, predictions=table).decisions(index), [name])[name].value
                    for index in range(one.seeds)
                ]
            )
            for table in pair_
        ]
        return float(values[0] - values[1])

    observed = difference(np.zeros(5))
    null = np.array([difference(np.array(swap)) for swap in itertools.product((0, 1), repeat=5)])
    found = sign_flip(one, other, name)
    assert found.exact
    assert found.difference == pytest.approx(observed, abs=1e-12)
    assert found.p == pytest.approx(np.mean(np.abs(null) >= abs(observed) - 1e-12), abs=1e-12)
    assert found.smallest == pytest.approx(np.mean(np.abs(null) >= np.abs(null).max() - 1e-12), abs=1e-12)
    assert sign_flip(other, one, name).p == found.p


def test_it_equals_scipys_permutation_test_of_paired_samples() -> None:
    """One seizure a subject: the accuracies are paired samples."""
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    first = np.where(rng.random((1, 12)) < 0.9, labels, 1 - labels)
    second = np.where(rng.random((1, 12)) < 0.4, labels, 1 - labels)
    right = [(table == labels)[0].astype(float) for table in (first, second)]
    expected = stats.permutation_test(
        right,
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10**5,
    )
    found = sign_flip(made(first, labels, np.arange(12)), made(second, labels, np.arange(12)))
    assert found.difference == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)


def test_the_smallest_p_of_the_papers_own_accuracies() -> None:
    """METHOD.md, point 4: 1, 0.5, 0.25 and 0.125 for 1, 2, 3 and 4 seizures."""
    assert [smallest_p(k) for k in range(5)] == [1.0, 1.0, 0.5, 0.25, 0.125]
    labels, owner = np.arange(19) % 2, np.arange(19)
    for more in range(1, 5):
        worse = labels.copy()
        worse[:more] = 1 - worse[:more]
        found = sign_flip(made(labels[None], labels, owner), made(worse[None], labels, owner))
        assert (found.p, found.differing) == (smallest_p(more), more)
    same = sign_flip(made(labels[None], labels, owner), made(labels[None], labels, owner))
    assert (same.p, same.difference, same.differing) == (1.0, 0.0, 0)


def test_seeds_are_never_further_observations() -> None:
    one, other = drawn(3, seeds=1)
    tripled = [
        dataclasses.replace(
            cases,
            predictions=np.tile(cases.predictions, (3, 1)),
            probabilities=np.tile(cases.probabilities, (3, 1, 1)),
            weights=np.tile(cases.weights, (3, 1)),
        )
        for cases in (one, other)
    ]
    assert sign_flip(*tripled).p == sign_flip(one, other).p
    assert clustered_mcnemar(*tripled).p == pytest.approx(clustered_mcnemar(one, other).p, abs=1e-12)


def test_above_twenty_differing_subjects_swaps_are_drawn() -> None:
    one, other = drawn(5, subjects=30)
    found = sign_flip(one, other, draws=5000)
    assert not found.exact
    assert found.swaps == 5000
    assert 1 / 5001 <= found.p <= 1
    exact = sign_flip(*drawn(5, subjects=12))
    near = sign_flip(*drawn(5, subjects=12), draws=20_000, most_exact=0)
    assert near.p == pytest.approx(exact.p, abs=0.02)


def test_all_swaps_of_nineteen_subjects_take_less_than_five_seconds() -> None:
    one, other = drawn(8, subjects=19, seeds=5)
    started = time.process_time()
    accuracy, f1 = sign_flip(one, other, "accuracy"), sign_flip(one, other, "f1")
    assert time.process_time() - started < 5
    assert accuracy.exact
    assert f1.exact
    assert accuracy.differing == 19


def test_no_common_seizure_is_no_test() -> None:
    one, other = drawn(1)
    away = dataclasses.replace(other, seizures=tuple(name + "x" for name in other.seizures))
    found = sign_flip(one, away)
    assert math.isnan(found.p)
    assert found.reason == "no common seizure"


def test_durkalskis_statistic_by_hand_and_mcnemars_where_nobody_is_clustered() -> None:
    """Subjects with (b, c, n) = (2, 0, 3), (1, 0, 1), (0, 1, 2), (0, 0, 2)."""
    owner = np.repeat([0, 1, 2, 3], [3, 1, 2, 2])
    labels = np.ones(8, dtype=int)
    first = np.array([[1, 1, 1, 1, 0, 1, 1, 0]])
    second = np.array([[0, 0, 1, 0, 1, 1, 1, 0]])
    found = clustered_mcnemar(made(first, labels, owner), made(second, labels, owner))
    shares = np.array([2 / 3, 1, -1 / 2])
    assert found.statistic == pytest.approx(shares.sum() ** 2 / (shares**2).sum())
    assert (found.gained, found.lost) == (3, 1)
    alone = clustered_mcnemar(made(first, labels, np.arange(8)), made(second, labels, np.arange(8)))
    assert alone.statistic == pytest.approx((3 - 1) ** 2 / (3 + 1)), "McNemar's own, uncorrected"
    assert alone.p == pytest.approx(stats.chi2.sf(1.0, 1))
    assert clustered_mcnemar(made(first, labels, owner), made(first, labels, owner)).p == 1.0


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    with_gap = holm([math.nan, 0.01, 0.02])
    assert math.isnan(with_gap[0])
    assert with_gap[1:] == pytest.approx([0.02, 0.02]), "what was not tested is not counted"
    assert holm([]) == []
