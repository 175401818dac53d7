import numpy as np
import pytest

from seizurelit.evaluation.statistics.calibration import fitted
from seizurelit.handover.likeness import reference_of, unlikeness
from seizurelit.prediction.judging import Seen, judged_windows
from seizurelit.prediction.predict import carried, carriers


def cohort(rng, n=40):
    table = {f"s{i}": {"a": float(rng.normal()), "b": float(rng.normal(5, 2))} for i in range(n)}
    return table, {name: f"p{int(name[1:]) // 2}" for name in table}


def test_recordings_like_the_cohort_are_seldom_called_unlike_and_a_far_one_always():
    rng = np.random.default_rng(0)
    reference = reference_of(*cohort(rng))
    fresh, _ = cohort(rng, 400)
    share = np.mean([unlikeness(reference, one).unlike for one in fresh.values()])
    assert share < 0.12
    far = unlikeness(reference, {"a": 30.0, "b": 5.0})
    assert far.unlike
    assert far.most[0][0] == "a"


def test_few_seizures_tell_no_likeness():
    table, owners = cohort(np.random.default_rng(0), 6)
    assert reference_of(table, owners) is None


def test_the_fewest_windows_that_make_half_carry():
    shares = carried(np.array([1.0, -3.0, 6.0, 3.0]))
    assert shares == pytest.approx([0.1, 0.0, 0.6, 0.3])
    assert carriers(shares) == [False, False, True, False]
    assert carriers(carried(np.array([-1.0, -2.0]))) == [False, False]


def test_a_window_with_too_little_of_the_patient_is_not_judged():
    present = np.array([True] * 50 + [False] * 50)
    seen = Seen(4.0, 0.5, 0.5, 2.0, present, 25.0)
    assert judged_windows(seen, np.array([[0.0, 2.0], [2.0, 4.0], [1.0, 3.0]])) == [True, False, True]


def test_a_calibration_keeps_the_order_and_refuses_scores_that_fall_with_the_label():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    positive = np.clip(0.5 + 0.1 * (labels - 0.5) + 0.1 * rng.normal(size=40), 0.01, 0.99)
    scores = np.stack([1 - positive, positive], axis=1)
    subjects = [f"p{i // 2}" for i in range(40)]
    found = fitted(scores, labels, subjects)
    again = found.apply(scores)[:, 1]
    assert (np.argsort(again, kind="stable") == np.argsort(positive, kind="stable")).all()
    assert again.mean() == pytest.approx(0.5, abs=0.05)
    assert fitted(scores[:, ::-1], labels, subjects) is None
    assert fitted(scores, np.zeros(40, dtype=int), subjects) is None
