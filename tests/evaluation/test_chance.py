from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seizurelit.evaluation.scores import score
from seizurelit.evaluation.statistics.cases import Cases
from seizurelit.evaluation.statistics.chance import (
    BALANCED_ACCURACY,
    CONDITIONAL,
    COVARIANCE,
    REFITTED,
    against_other_sign,
    conditional,
    refitted,
    relabellings,
    statistic_of,
)

COUNTS = np.array([1] * 10 + [2, 2, 2, 3, 3, 3, 3, 4, 6])


def made(
    of_subject: np.ndarray, seed: int, *, seeds: int = 1, strength: float = 0.0, counts: np.ndarray = COUNTS
) -> Cases:
    """Scores that follow the label of the subject with the given strength."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(counts)), counts)
    labels = of_subject[owner] if len(of_subject) == len(counts) else of_subject
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


NINE = (np.arange(19) < 9).astype(int)[np.random.default_rng(0).permutation(19)]


def test_all_relabellings_of_nineteen_subjects_are_taken() -> None:
    found = conditional(made(NINE, 0, strength=3.0))
    assert (found.kind, found.statistic, found.exact) == (CONDITIONAL, BALANCED_ACCURACY, True)
    assert found.relabellings == math.comb(19, 9) == 92378
    assert found.p < 0.01
    assert conditional(made(NINE, 1)).p > 0.05


def test_patients_balanced_accuracy_equals_a_slow_plain_version() -> None:
    counts = np.array([1, 2, 3, 1, 1, 2, 4])
    truth = np.array([0, 1, 1, 0, 1, 0, 0])
    cases = made(truth, 3, seeds=3, strength=0.8, counts=counts)

    def value(of_subject: np.ndarray) -> float:
        patients = dataclasses.replace(cases, labels=of_subject[cases.owner]).by_patient()
        return float(
            np.mean([score(patients.decisions(k), ["balanced_accuracy"])["balanced_accuracy"].value for k in range(3)])
        )

    null = [value(np.isin(np.arange(7), chosen).astype(int)) for chosen in itertools.combinations(range(7), 3)]
    found = conditional(cases)
    assert found.observed == pytest.approx(value(truth), abs=1e-12)
    assert found.expected == pytest.approx(np.mean(null), abs=1e-12)
    assert found.p == pytest.approx(np.mean(np.array(null) >= found.observed - 1e-12), abs=1e-12)


def test_shares_that_vary_are_permuted_and_their_covariance_taken() -> None:
    counts = np.array([2, 2, 3, 1, 4, 2])
    owner = np.repeat(np.arange(6), counts)
    labels = np.array([0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0])
    cases = made(labels, 5, seeds=2, strength=1.0, counts=counts)
    found = conditional(cases)
    assert (found.statistic, found.exact, found.relabellings) == (COVARIANCE, True, 720)
    shares = np.array([labels[owner == k].mean() for k in range(6)])
    means = np.array([cases.probabilities[:, owner == k, 1].mean() for k in range(6)])
    assert found.observed == pytest.approx(np.cov(shares, means)[0, 1], abs=1e-12)
    null = [np.cov(shares[list(order)], means)[0, 1] for order in itertools.permutations(range(6))]
    assert found.p == pytest.approx(np.mean(np.array(null) >= found.observed - 1e-12), abs=1e-12)
    assert conditional(cases, draws=10).observed == statistic_of(cases, COVARIANCE)


def test_several_classes_are_permuted_by_draws() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 3
    scores = np.eye(3)[labels][None] * 0.6 + rng.dirichlet(np.ones(3), (1, 12)) * 0.4
    cases = Cases(
        ("a", "b", "c"),
        tuple(f"z{k}" for k in range(12)),
        tuple(f"s{k}" for k in range(12)),
        np.arange(12),
        labels,
        scores.argmax(axis=-1),
        scores,
        np.ones((1, 12)),
    )
    found = conditional(cases, draws=999)
    assert (found.exact, found.observed) == (True, 1.0) or (found.exact, found.observed) == (False, 1.0)
    assert found.p <= 2 / 1000
    varied = dataclasses.replace(cases, owner=np.arange(12) // 2, subjects=cases.subjects[:6])
    assert conditional(varied).reason == "labels of several classes vary within a subject"


def test_what_cannot_be_tested_says_why() -> None:
    counts = np.full(6, 2)
    half = made(np.tile([0, 1], 6), 1, counts=counts)
    assert conditional(half).reason == "every subject has the same share of positive seizures"
    assert conditional(made(np.zeros(6, dtype=int), 1, counts=counts)).reason == "one class"
    flat = dataclasses.replace(half, labels=np.array([0, 1] * 5 + [1, 1]), probabilities=np.full((1, 12, 2), 0.5))
    assert conditional(flat).reason == "every subject has the same mean score"
    assert not conditional(half).tested


def test_always_positive_is_at_chance() -> None:
    cases = made(NINE, 0)
    found = conditional(dataclasses.replace(cases, predictions=np.ones_like(cases.predictions)))
    assert (found.observed, found.p) == (0.5, 1.0)


def test_the_p_of_refits() -> None:
    found = refitted(0.7, [0.4, 0.7, 0.8, math.nan, 0.5], BALANCED_ACCURACY)
    assert (found.kind, found.p, found.relabellings) == (REFITTED, 4 / 6, 5), "as large: 0.7, 0.8 and the undefined"
    assert found.expected == pytest.approx(0.6)
    assert refitted(0.9, [0.1] * 19).p == 1 / 20
    assert refitted(math.nan, [0.1]).reason == "the statistic is undefined"
    assert refitted(0.5, []).reason == "no refit"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=5), min_size=6, max_size=12), st.integers(0, 1000))
def test_relabelled_cohorts_deal_whole_subjects(cohort: list[list[int]], seed: int) -> None:
    """Never a seizure across subjects: each subject's labels are those of one other, as far as they fit."""
    labels = {f"{s:02d}-{k}": label for s, own in enumerate(cohort) for k, label in enumerate(own)}
    subject_of = {name: name[:2] for name in labels}
    having = [{subject_of[n] for n, label in labels.items() if label == value} for value in (0, 1)]
    if min(map(len, having)) < 3:
        return
    made_ = list(relabellings(labels, subject_of, 3, seed))
    assert made_ == list(relabellings(labels, subject_of, 5, seed))[:3], "more can be made later"
    for new in made_:
        assert set(new) == set(labels)
        assert all(len({subject_of[n] for n, label in new.items() if label == value}) >= 2 for value in (0, 1))
        for s, own in enumerate(cohort):
            got = Counter(new[f"{s:02d}-{k}"] for k in range(len(own)))
            assert any(
                all(abs(got[v] - len(own) * other.count(v) / len(other)) < 1 for v in (0, 1)) for other in cohort
            )


def test_one_label_a_subject_is_carried_to_all_its_seizures() -> None:
    owner = np.repeat(np.arange(19), COUNTS)
    labels = {f"z{k:02d}": int(NINE[s]) for k, s in enumerate(owner)}
    subject_of = {f"z{k:02d}": f"s{s:02d}" for k, s in enumerate(owner)}
    seen = set()
    for new in relabellings(labels, subject_of, 40, seed=1):
        of_subject = {subject_of[name]: label for name, label in new.items()}
        assert all(of_subject[subject_of[name]] == label for name, label in new.items())
        assert sum(of_subject.values()) == 9
        seen.add(tuple(of_subject.values()))
    assert len(seen) == 40
    with pytest.raises(ValueError, match="no permutation keeps 2 subjects"):
        next(relabellings({"a": 0, "b": 1}, {"a": "x", "b": "y"}, 1))


def test_one_sign_that_poses_as_the_other_is_found() -> None:
    """The paper's: of 9 with the sign 2 have the other one, of the other 10 have 7. A score of not-the-other looks good."""
    own = np.array([1] * 9 + [0] * 10)
    other = np.array([1, 1, *[0] * 7, *[1] * 7, 0, 0, 0])
    cases = made(1 - other, 2, seeds=2, strength=1.5)
    cases = dataclasses.replace(cases, labels=own[cases.owner])
    labels = {name: int(other[s]) for name, s in zip(cases.seizures, cases.owner, strict=True)}
    found = against_other_sign(cases, "emotion", labels)
    assert found.chance.p < 0.01, "two-sided: the score tells its absence"
    assert found.auroc < 0.3
    assert found.tells_it_as_well
    honest = against_other_sign(made(own, 2, seeds=2, strength=2.5), "emotion", labels)
    assert honest.own_auroc > 0.9
    assert not honest.tells_it_as_well
    fewer = {name: label for name, label in labels.items() if name != "z0"}
    assert against_other_sign(cases, "emotion", fewer).chance.tested
    assert against_other_sign(cases, "emotion", {}).chance.reason == "fewer than two common subjects"


def test_type_one_error_of_labels_that_mean_nothing() -> None:
    p = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        p.append(conditional(made(rng.permutation(NINE), seed + 1000), draws=199).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.09
    assert np.mean(np.array(p) <= 0.5) > 0.15, "and it is not always 1"
