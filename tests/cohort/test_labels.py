"""Several raters: what they may say, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.cohort.labels import Rating, majority, read_labels
from seizurelit.cohort.manifest import read_cohort
from seizurelit.errors import InputError

HEADER = "seizure,sign,rater,value,onset,offset,side,limb,blinded\n"


@pytest.fixture
def cohort_csv(tmp_path: Path) -> Path:
    path = tmp_path / "cohort.csv"
    rows = [f"P{number},s{number},{number % 2}" for number in range(1, 7)]
    path.write_text("subject,seizure,dystonia\n" + "\n".join(rows))
    return path


def test_majority_becomes_a_sign(cohort_csv: Path) -> None:
    rows = [("s1", "111"), ("s2", "000"), ("s3", "110"), ("s4", "01?"), ("s5", "??1"), ("s6", "00?")]
    lines = [
        f"{name},nystagmus,{rater},{value}" for name, values in rows for rater, value in zip("ABC", values, strict=True)
    ]
    (cohort_csv.parent / "labels.csv").write_text("seizure,sign,rater,value\n" + "\n".join(lines))
    cohort = read_cohort(cohort_csv)
    sign = cohort.sign("nystagmus")
    assert sign.binary
    assert cohort.labels(sign) == {"s1": 1, "s2": 0, "s3": 1, "s6": 0}
    assert cohort.unrated(sign) == cohort.undecided(sign) == ("s4", "s5")
    assert len(cohort.ratings) == 18


def test_the_cohort_s_own_column_stands(cohort_csv: Path) -> None:
    (cohort_csv.parent / "labels.csv").write_text("seizure,sign,rater,value\ns1,dystonia,A,0\n")
    cohort = read_cohort(cohort_csv)
    assert cohort.columns == ("dystonia",)
    assert cohort.labels(cohort.sign("dystonia"))["s1"] == 1


def test_all_columns(cohort_csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(HEADER + "s1,dystonia,A,1,3.5,9,left,arm,1\ns1,dystonia,A,1,20,31,right,arm,1\n")
    first, second = read_labels(path, read_cohort(cohort_csv))
    assert first == Rating("s1", "dystonia", "A", "1", 3.5, 9.0, "left", "arm", True)
    assert majority([first, second]) == {"dystonia": {"s1": "1"}}


def test_faults(cohort_csv: Path) -> None:
    path = cohort_csv.parent / "labels.csv"
    path.write_text(
        HEADER
        + "s9,dystonia,A,1,,,,,\ns1,a/b,A,1,,,,,\ns1,dystonia,,1,,,,,\ns1,dystonia,A,2,,,,,\ns1,dystonia,A,1,9,3,,,\n"
        + "s1,dystonia,A,1,x,,,,\ns1,dystonia,A,1,,,,,yes\ns2,dystonia,A,1,,,,,\ns2,dystonia,A,0,,,,,\ns2,dystonia,A,1,,,,,\n"
    )
    with pytest.raises(InputError) as caught:
        read_cohort(cohort_csv)
    words = [
        "row 2: seizure 's9' is not in cohort.csv",
        "row 3: sign 'a/b' has a slash",
        "row 4: no rater",
        "row 5: value '2' is none of 0, 1 and ?",
        "row 6: onset 9 s is not before offset 3 s",
        "row 7: onset 'x' is no number",
        "row 8: blinded 'yes' is neither 0 nor 1",
        "row 10: rater 'A' says 0 for 'dystonia' of 's2', but 1 in row 9",
        "row 11: repeats row 9",
    ]
    assert len(caught.value.faults) == len(words)
    for fault, word in zip(caught.value.faults, words, strict=True):
        assert f"{path}, {word}" in fault


@given(st.lists(st.sampled_from("01?"), min_size=1, max_size=7))
def test_majority_is_symmetric(values: list[str]) -> None:
    """Swapping present and absent swaps the outcome; the raters' order does not matter."""

    def outcome(votes: list[str]) -> str | None:
        return majority(Rating("s", "sign", str(rater), vote) for rater, vote in enumerate(votes))["sign"]["s"]

    swap = {"0": "1", "1": "0", "?": "?", None: None}
    assert outcome([swap[value] for value in values]) == swap[outcome(values)]
    assert outcome(values[::-1]) == outcome(values)
