"""Who is in the stand-in cohort."""

from collections import Counter
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seizurelit.errors import InputError
from seizurelit.synthetic.cohort import POSITIVE, quotas, seizures, subjects
from seizurelit.synthetic.options import StandIn


@pytest.mark.parametrize("seed", range(10))
def test_composition_is_the_papers(seed):
    options = StandIn(seed=seed)
    found = subjects(options)
    assert len(found) == 19
    assert Counter(subject.sex for subject in found) == {"F": 7, "M": 12}
    assert Counter(subject.ez_lobe for subject in found) == {
        "frontal": 9,
        "temporo-frontal": 2,
        "temporal": 1,
        "parietal": 3,
        "operculo-insular": 3,
        "multi-focal": 1,
    }
    ages = [subject.age_at_onset for subject in found]
    assert (min(ages), median(ages), max(ages)) == (1, 7, 44)
    counts = [subject.seizures for subject in found]
    assert (min(counts), median(counts), mean(counts), max(counts), sum(counts)) == (1, 1, 2, 6, 38)
    assert sum(subject.dystonia for subject in found) == 9
    assert sum(subject.emotion for subject in found) == 9
    assert sum(subject.dystonia * subject.emotion for subject in found) == 2
    rated = seizures(options)
    assert len(rated) == len({seizure.name for seizure in rated}) == 38
    for sign in ("dystonia", "emotion"):
        assert POSITIVE[0] <= mean(getattr(seizure, sign) for seizure in rated) <= POSITIVE[1]


@given(st.integers(2, 400), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_any_number_of_subjects_keeps_the_proportions(n, seed):
    found = subjects(StandIn(subjects=n, seed=seed))
    assert len({subject.name for subject in found}) == n
    assert [subject.name for subject in found] == sorted(subject.name for subject in found)
    for sign in ("dystonia", "emotion"):
        assert abs(sum(getattr(subject, sign) for subject in found) - n * 9 / 19) <= 2
    assert abs(sum(subject.sex == "F" for subject in found) - n * 7 / 19) <= 1
    assert all(1 <= subject.seizures <= 6 for subject in found)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(0, 500))
def test_quotas_add_up_and_stay_within_one(shares, total):
    counts = quotas(shares, total)
    assert sum(counts) == total
    assert all(abs(count - share * total / sum(shares)) < 1 for count, share in zip(counts, shares, strict=True))


def test_fixed_number_of_seizures():
    found = seizures(StandIn(subjects=6, seizures_per_subject=4))
    assert Counter(seizure.subject.name for seizure in found) == {f"sub-{i:02d}": 4 for i in range(1, 7)}


def test_labels_are_the_subjects_but_for_noise():
    assert all(s.dystonia == s.subject.dystonia and s.emotion == s.subject.emotion for s in seizures(StandIn()))
    noisy = seizures(StandIn(subjects=200, label_noise=0.2))
    assert 0.15 < mean(s.dystonia != s.subject.dystonia for s in noisy) < 0.25


def test_a_seed_is_a_cohort():
    assert seizures(StandIn(seed=3)) == seizures(StandIn(seed=3))
    assert subjects(StandIn(seed=3)) != subjects(StandIn(seed=4))


def test_every_wrong_option_is_named_at_once():
    with pytest.raises(InputError) as caught:
        StandIn(subjects=1, signal=float("nan"), min_seconds=5, max_seconds=2, seizures_per_subject=0)
    faults = caught.value.faults
    assert len(faults) == 4
    assert all(any(word in fault for fault in faults) for word in ("subjects is 1", "signal is nan", "min_seconds 5"))
