from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from seizurelit.cohort.manifest import Cohort
from seizurelit.cohort.plan import Plan
from seizurelit.errors import InputError
from seizurelit.evaluation.fusion import fuse
from seizurelit.evaluation.predictions import as_frame, pool

Fabricate = Callable[..., pd.DataFrame]


def test_the_mean_of_the_students_of_one_sign_seed_and_fold(
    cohort: Cohort, plans: dict[str, Plan], fabricate: Fabricate
) -> None:
    frames = [
        fabricate(cohort, plan, stream, model, seed=seed)
        for plan in plans.values()
        for stream in ("pose", "face")
        for model in ("agcn", "agcn_kd")
        for seed in (0, 1)
    ]
    everything = pool(frames)
    fused = fuse(everything)
    assert set(fused["stream"]) == {"pose+face"}
    assert set(fused["model"]) == {"fusion"}
    assert len(fused) == 2 * 2 * 38
    keys = ["sign", "seed", "seizure"]
    parts = [
        everything.query("model == 'agcn_kd' and stream == @stream").set_index(keys) for stream in ("pose", "face")
    ]
    fused = fused.set_index(keys)
    mean = (parts[0]["prob_1"] + parts[1]["prob_1"]) / 2
    np.testing.assert_allclose(fused["prob_1"].astype(float), mean.loc[fused.index].astype(float), rtol=0, atol=1e-15)
    assert ((fused["prob_1"] >= 0.5) == (fused["prediction"] == "1")).all()
    assert len(pool([everything, fuse(everything)])) == len(everything) + len(fused)


def test_a_seizure_or_fold_of_one_stream_alone_is_not_fused(
    cohort: Cohort, plans: dict[str, Plan], fabricate: Fabricate
) -> None:
    pose = fabricate(cohort, plans["dystonia"], "pose", "agcn_kd")
    face = fabricate(cohort, plans["dystonia"], "face", "agcn_kd", without=("sub-19",))
    fused = fuse(pool([pose, face.loc[face["seizure"] != "sub-18_sz-2"]]))
    assert "sub-19" not in set(fused["fold"])
    assert set(fused.loc[fused["fold"] == "sub-18", "seizure"]) == {"sub-18_sz-1", "sub-18_sz-3", "sub-18_sz-4"}
    assert fuse(pose).empty
    assert fuse(as_frame(())).empty


def test_thresholds_are_averaged_and_classes_without_one_stay_so() -> None:
    def student(stream: str, threshold: float | None, first: float) -> dict[str, object]:
        own = {
            "sign": "s",
            "stream": stream,
            "model": "agcn_kd",
            "seed": 0,
            "fold": "f",
            "subject": "f",
            "seizure": "z",
        }
        return own | {"label": "b", "prediction": "b", "threshold": threshold, "prob_a": first, "prob_b": 1 - first}

    cut = fuse(as_frame([student("pose", 0.4, 0.5), student("face", 0.2, 0.8)])).iloc[0]
    assert cut["threshold"] == pytest.approx(0.3)
    assert cut["prob_b"] == pytest.approx(0.35)
    assert cut["prediction"] == "b"
    blank = fuse(as_frame([student("pose", None, 0.5), student("face", None, 0.8)])).iloc[0]
    assert np.isnan(blank["threshold"])
    assert blank["prediction"] == "a"


def test_students_of_different_folds_are_not_fused(
    cohort: Cohort, plans: dict[str, Plan], fabricate: Fabricate
) -> None:
    pose = fabricate(cohort, plans["dystonia"], "pose", "agcn_kd")
    face = fabricate(cohort, plans["dystonia"], "face", "agcn_kd")
    face.loc[face["fold"] == "sub-01", "fold"] = "group-1"
    with pytest.raises(InputError, match="the pose student has fold 'sub-01', the face student 'group-1'"):
        fuse(pd.concat([pose, face], ignore_index=True))
