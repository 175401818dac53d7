"""Poolings of a seizure's windows."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from seizurelit.evaluation.predictions import as_frame
from seizurelit.evaluation.windows import log_sum_exp, mean, note, pooled_rows, to_csv, top_k


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=30), st.floats(-5, 5))
def test_log_sum_exp_lies_between_the_mean_and_the_highest_and_all_move_with_the_logits(values, shift):
    margins = np.array(values)
    assert margins.mean() - 1e-9 <= log_sum_exp(margins) <= margins.max() + 1e-9
    assert margins.mean() - 1e-9 <= top_k(margins) <= margins.max() + 1e-9
    for pooling in (mean, top_k, log_sum_exp):
        assert pooling(margins + shift) == pytest.approx(pooling(margins) + shift, abs=1e-9)
        assert pooling(np.full(len(margins), 1.5)) == pytest.approx(1.5)


def test_by_hand():
    margins = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert top_k(margins) == 3.5
    assert log_sum_exp(margins) == pytest.approx(math.log(np.exp(margins).mean()))


def rows(prob, seed=0):
    return [
        {
            **{
                "sign": "dystonia",
                "stream": "pose",
                "model": "agcn",
                "seed": seed,
                "fold": f"p{k}",
                "subject": f"p{k}",
            },
            **{"seizure": f"p{k}-1", "label": str(k % 2), "threshold": 0.5},
            **{"prediction": "1" if p >= 0.5 else "0", "prob_0": 1 - p, "prob_1": p},
        }
        for k, p in enumerate(prob)
    ]


def test_a_sign_that_shows_in_one_window_of_many_is_found_by_the_strongest():
    """Positives have one strong window among quiet ones; negatives are lukewarm throughout, so the mean misleads."""
    logits = [[0.3] * 8 if k % 2 == 0 else [-1.0] * 7 + [4.0] for k in range(12)]
    of_mean = [special.expit(np.mean(one)) for one in logits]
    windows = pd.DataFrame(
        [
            {
                **{"sign": "dystonia", "stream": "pose", "model": "agcn", "seed": 0, "seizure": f"p{k}-1"},
                **{"score_0": special.expit(-value), "score_1": special.expit(value)},
            }
            for k, one in enumerate(logits)
            for value in one
        ]
    )
    frame = as_frame([*rows(of_mean), *({**row, "model": "nuisance", "seed": None} for row in rows(of_mean))])
    found = {row.pooling: row for row in pooled_rows(frame, windows, resamples=200)}
    assert {name: row.scores["auroc"].value for name, row in found.items()} == {
        "mean": 0.0,
        "top-k": 1.0,
        "log-sum-exp": 1.0,
    }
    right = np.mean([(p >= 0.5) == (k % 2 == 1) for k, p in enumerate(of_mean)])
    assert found["mean"].scores["accuracy"].value == right
    assert len(found) == 3
    text = to_csv(list(found.values()))
    assert text.splitlines()[1].startswith("dystonia,pose,agcn,mean,12,0,")
    assert "dystonia pose agcn 0.00/1.00/1.00" in note(list(found.values()))
    assert note([]) == ""
