"""Two runs' tables beside each other."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from seizurelit.evaluation.comparison import (
    Comparison,
    RowChange,
    change,
    render,
    row_cases,
    to_csv,
    with_equal_seeds,
)
from seizurelit.evaluation.predictions import as_frame
from seizurelit.evaluation.statistics.cases import cases_of
from seizurelit.evaluation.statistics.contrasts import sign_flip
from seizurelit.evaluation.table import RowKey

CLASSES = ("0", "1")
KEY = RowKey("dystonia", "pose", "agcn")


def rows(seed, right, subjects=12, seizures=2, run=0, skip=()):
    """Predictions in which a share `right` is right, at random."""
    random = np.random.default_rng([seed, run])
    made = []
    for subject in range(subjects):
        for seizure in range(seizures):
            label = subject % 2
            told = label if random.random() < right else 1 - label
            score = 0.5 + (told - 0.5) * random.uniform(0.1, 0.9)
            name = f"s{subject:02d}-{seizure}"
            if name in skip:
                continue
            made.append(
                {
                    **{"sign": KEY.sign, "stream": KEY.stream, "model": KEY.model, "seed": seed},
                    **{"fold": f"s{subject:02d}", "subject": f"s{subject:02d}", "seizure": name},
                    **{"label": str(label), "prediction": str(told), "threshold": 0.5},
                    **{"prob_0": 1 - score, "prob_1": score},
                }
            )
    return as_frame(made)


def test_a_change_is_of_the_means_and_its_interval_is_paired():
    old, new = rows(0, 0.6), rows(0, 0.9, run=1)
    found = change(cases_of([old], CLASSES), cases_of([new], CLASSES), "accuracy")
    accuracies = [(frame["label"] == frame["prediction"]).mean() for frame in (old, new)]
    assert (found.old, found.new) == pytest.approx(tuple(accuracies))
    # The same by hand: subjects drawn once for both runs.
    hits = [((f["label"] == f["prediction"]).groupby(f["subject"]).mean()).to_numpy() for f in (old, new)]
    draws = np.random.default_rng(1).integers(0, 12, (4000, 12))
    spread = np.quantile((hits[1] - hits[0])[draws].mean(axis=1), [0.025, 0.975])
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(spread), abs=0.06)
    flip = sign_flip(cases_of([new], CLASSES), cases_of([old], CLASSES))
    assert found.difference == pytest.approx(flip.difference)


def test_a_run_beside_itself_has_not_changed():
    cases = cases_of([rows(0, 0.7)], CLASSES)
    found = change(cases, cases, "f1")
    assert found.difference == 0
    assert not found.outside
    assert not found.interval.defined
    assert found.own.defined


def test_a_number_outside_the_old_interval_is_marked():
    found = change(cases_of([rows(0, 0.55)], CLASSES), cases_of([rows(0, 1.0)], CLASSES), "accuracy")
    assert found.new == 1
    assert found.outside
    assert found.interval.low > 0


def test_unequal_numbers_of_seeds_are_compared_by_their_means():
    old = pd.concat([rows(seed, 0.6) for seed in range(2)])
    new = pd.concat([rows(seed, 0.8, run=1) for seed in range(3)])
    pair = with_equal_seeds(row_cases(old, KEY, CLASSES), row_cases(new, KEY, CLASSES))
    assert pair[0].seeds == pair[1].seeds == 6
    found = change(*pair, "accuracy")
    assert found.old == pytest.approx((old["label"] == old["prediction"]).mean())
    assert found.new == pytest.approx((new["label"] == new["prediction"]).mean())


def test_only_common_seizures_are_compared():
    old, new = rows(0, 0.6, skip=("s03-0", "s03-1")), rows(0, 0.8, run=1)
    found = change(cases_of([old], CLASSES), cases_of([new], CLASSES), "accuracy")
    rest = new[~new["seizure"].str.startswith("s03")]
    assert found.new == pytest.approx((rest["label"] == rest["prediction"]).mean())


def test_it_is_printed_in_80_columns_and_written_whole():
    found = change(cases_of([rows(0, 0.55)], CLASSES), cases_of([rows(0, 1.0)], CLASSES), "accuracy")
    row = RowChange(KEY, "AGCNp+f + KD (fusion)", "dystonia", 24, 2, (1, 1), dict.fromkeys(("f1", "accuracy"), found))
    console = Console(width=80, record=True, file=io.StringIO())
    comparison = Comparison("runs/old", (row,), (), (KEY._replace(model="tcn"),), True)
    console.print(render(comparison))
    shown = console.export_text()
    assert "STAND-IN COHORT" in shown
    assert "→1.00" in shown
    assert f"*+{found.difference:.2f}".replace("0.", ".") in shown
    assert "…" not in shown
    assert "2 seizures that only one of the runs scored" in shown
    assert "Only in this run: dystonia pose tcn" in shown
    lines = to_csv(comparison).splitlines()
    assert lines[1].startswith("dystonia,pose,agcn,f1,")
    assert lines[0].count(",") == lines[1].count(",")
