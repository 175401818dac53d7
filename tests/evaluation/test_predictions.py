from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seizurelit.errors import InputError
from seizurelit.evaluation.predictions import (
    COLUMNS,
    as_frame,
    classes_of,
    decide,
    pool,
    prediction_rows,
    read_predictions,
    write_predictions,
)


def row(**changes: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "sign": "dystonia",
        "stream": "pose",
        "model": "agcn",
        "seed": 0,
        "fold": "sub-01",
        "subject": "sub-01",
        "seizure": "sz-1",
        "label": "1",
        "prediction": "0",
        "threshold": 0.5,
        "prob_0": 0.75,
        "prob_1": 0.25,
    }
    return plain | changes


ROWS = [
    row(),
    row(seed=10),
    row(seed=2),
    row(model="nuisance", stream="", seed=None),
    row(sign="limb", seizure="sz-2", label="left, arm", prediction="NA", threshold=None, prob_0=None, prob_1=None)
    | {"prob_left, arm": 1 / 3, "prob_NA": 2 / 3 - 0.1, "prob_none": 0.1},
]


def test_reading_gives_what_was_written_in_the_order_of_the_keys(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "predictions.csv", ROWS)
    read = read_predictions(path)
    assert list(read.columns) == [*COLUMNS, "prob_0", "prob_1", "prob_NA", "prob_left, arm", "prob_none"]
    assert read["seed"].isna().tolist() == [True, False, False, False, False]
    assert read["seed"].dropna().tolist() == [0, 2, 10, 0], "seeds are numbers, blank before them"
    assert read["model"].tolist() == ["nuisance", "agcn", "agcn", "agcn", "agcn"], "a blank stream stands first"
    limb = read.iloc[-1]
    assert (limb["label"], limb["prediction"]) == ("left, arm", "NA"), "class names are text, whatever they look like"
    assert limb["prob_left, arm"] == 0.333333333
    assert np.isnan(limb["threshold"])
    assert np.isnan(limb["prob_0"])


def test_the_file_is_the_same_bytes_whatever_the_order_and_after_reading_it(tmp_path: Path) -> None:
    first = write_predictions(tmp_path / "a.csv", ROWS).read_bytes()
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert write_predictions(tmp_path / "b.csv", shuffled).read_bytes() == first
    assert write_predictions(tmp_path / "c.csv", read_predictions(tmp_path / "a.csv")).read_bytes() == first
    assert b"0.333333333" in first
    assert b"\r" not in first
    assert [path.name for path in sorted(tmp_path.glob("*.csv*"))] == ["a.csv", "b.csv", "c.csv"], "nothing left beside"


def test_a_file_of_no_predictions_is_read_as_none(tmp_path: Path) -> None:
    assert read_predictions(write_predictions(tmp_path / "none.csv", [])).empty
    assert pool([as_frame(()), as_frame(())]).empty


def test_a_duplicate_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "predictions.csv", ROWS[:2])
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(
        InputError, match=r"line 4: sz-1 is predicted a second time by dystonia/pose/agcn/seed-0 \(first: line 2\)"
    ):
        read_predictions(path)


def test_a_duplicate_is_refused_on_writing_and_pooling_even_under_another_fold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2: sz-1 is predicted a second time"):
        write_predictions(tmp_path / "predictions.csv", [row(), row(fold="sub-02")])
    assert not (tmp_path / "predictions.csv").exists()
    with pytest.raises(InputError, match="second time"):
        pool([as_frame([row()]), as_frame([row()])])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "2"}, r"label '2' is none of the classes of dystonia \(0, 1\)"),
        ({"prediction": "yes"}, "prediction 'yes' is none of the classes"),
        ({"prediction": ""}, "prediction is blank"),
        ({"prob_1": 0.3}, "sum to 1"),
        ({"prob_1": None}, "sum to 1"),
        ({"prob_0": 1.5, "prob_1": -0.5}, "sum to 1"),
        ({"prob_0": float("nan")}, "sum to 1"),
        ({"threshold": 1.5}, r"threshold 1\.5 is not in \[0, 1\]"),
    ],
)
def test_what_is_no_prediction_is_refused(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        write_predictions(tmp_path / "predictions.csv", [row(seizure="sz-0"), row(**changes)])


def test_a_seizure_has_one_label_and_one_subject(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"row 2: sz-1 is of subject sub-01 and '0' for dystonia, but of sub-01 and '1' in row 1"
    ):
        write_predictions(tmp_path / "predictions.csv", [row(), row(seed=1, label="0")])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threshold", "treshold", r"line 1: no column 'threshold'"),
        (",0.75,", ",a lot,", r"line 2: prob_0 'a lot' is no number"),
        (",0.75,", ",inf,", r"line 2: prob_0 'inf' is no number"),
        ("agcn,0,", "agcn,zero,", r"line 2: seed 'zero' is no whole number"),
        (",0.25", ",0.25,7", r"line 2: 13 cells where the header has 12"),
    ],
)
def test_a_spoiled_file_is_refused_with_its_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "predictions.csv", [row()])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        read_predictions(path)


def test_no_file_and_no_text_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path / "predictions.csv")
    (tmp_path / "predictions.csv").write_bytes(b"sign,\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_predictions(tmp_path / "predictions.csv")


def test_decisions() -> None:
    two = np.array([[0.5, 0.5], [0.51, 0.49], [0.2, 0.8]])
    assert decide(two, ("0", "1"), 0.5) == ["1", "0", "1"], "at the threshold it is positive"
    assert decide(two, ("0", "1"), None) == ["1", "0", "1"]
    assert decide(two, ("0", "1"), 0.9) == ["0", "0", "0"]
    assert decide(np.array([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]]), ("a", "b", "c"), None) == ["a", "c"]


def test_rows_of_a_fold() -> None:
    frame = prediction_rows(
        {"b": np.array([0.1, 0.9]), "a": np.array([0.7, 0.3])},
        sign="dystonia",
        classes=("0", "1"),
        stream="pose",
        model="agcn",
        seed=3,
        fold="sub-01",
        subject_of={"a": "sub-01", "b": "sub-01"},
        label_of={"a": 0, "b": 0},
    )
    assert frame[["seizure", "label", "prediction", "threshold"]].to_numpy().tolist() == [
        ["a", "0", "0", 0.5],
        ["b", "0", "1", 0.5],
    ]
    assert classes_of(frame, "dystonia") == ("0", "1")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["pose", "face"]), st.integers(0, 3), st.integers(0, 30), st.floats(0, 1)),
        unique_by=lambda item: item[:3],
        max_size=20,
    )
)
def test_writing_twice_is_writing_once(entries: list[tuple[str, int, int, float]]) -> None:
    rows = [
        row(stream=stream, seed=seed, seizure=f"sz-{number}", prob_0=1 - score, prob_1=score)
        for stream, seed, number, score in entries
    ]
    frame = pool([as_frame(rows)])
    assert len(frame) == len(rows)
    again = pool([frame.sample(frac=1.0, random_state=0)])
    pd.testing.assert_frame_equal(frame, again)
