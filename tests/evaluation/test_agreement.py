from __future__ import annotations

import numpy as np
import pytest

from seizurelit.cohort.labels import Rating
from seizurelit.evaluation.statistics.agreement import (
    MISSING,
    agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
)


def test_fleiss_own_kind_of_example() -> None:
    """14 raters, 10 subjects, 5 values: kappa 0.210 (the worked example of the textbooks)."""
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    table = np.array([np.repeat(range(5), row) for row in counts])
    assert fleiss_kappa(table).value == pytest.approx(0.210, abs=0.0005)


def test_krippendorffs_own_example() -> None:
    """Krippendorff (2011), section C: 4 observers, 12 units, with gaps; nominal alpha 0.743."""
    rows = ["123321412...", "1233224125.3", ".333234225" + "1.", "1233244125" + "1."]
    table = np.array([[MISSING if cell == "." else int(cell) for cell in row] for row in rows]).T
    assert krippendorff_alpha(table).value == pytest.approx(0.743, abs=0.0005)


def test_cohens_by_hand_and_what_is_undefined() -> None:
    """Both yes 20, both no 15, disagreeing 5 and 10 of 50: kappa 0.4."""
    table = np.array([(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15)
    assert cohen_kappa(table).value == pytest.approx(0.4)
    assert cohen_kappa(table[:20]).reason == "one value"
    assert fleiss_kappa(table[:20]).reason == "one value"
    assert krippendorff_alpha(table[:20]).reason == "one value"
    assert cohen_kappa(np.zeros((3, 3), dtype=int)).reason == "3 raters"
    assert krippendorff_alpha(np.full((3, 2), MISSING)).reason == "no seizure with two ratings"
    assert fleiss_kappa(np.zeros((3, 1), dtype=int)).reason == "one rater"


def test_what_cannot_be_told_is_left_out_and_taken_both_ways() -> None:
    said = {"a": "1100?1", "b": "110?01"}
    ratings = [
        Rating(f"z{place}", "dystonia", rater, value)  # type: ignore[arg-type]
        for rater, values in said.items()
        for place, value in enumerate(values)
    ]
    ratings.append(Rating("z0", "dystonia", "a", "1", onset=3.0))  # seen a second time
    ratings.append(Rating("z0", "emotion", "c", "1"))
    found = agreement(ratings, "dystonia")
    assert (found.raters, found.seizures, found.undecided) == (("a", "b"), 4, 2)
    assert found.alpha.value == 1.0
    assert found.cohen.value == 1.0
    assert found.alpha_if_absent.value == 1.0, "both doubts were of what the other called absent"
    assert found.alpha_if_present.value < 0.5
    assert agreement(ratings, "emotion").alpha.reason == "no seizure with two ratings"
    assert agreement([], "emotion").raters == ()
