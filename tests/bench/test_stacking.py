"""What `bench.stacking` compares."""

from __future__ import annotations

import copy

import pytest

from bench import stacking
from seizurelit.cache.store import Cache
from seizurelit.cohort.plan import loso_plan
from seizurelit.config import Training
from seizurelit.data.stacked import StackedFolds
from seizurelit.data.store import load_store
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize


def test_a_stack_shares_its_store_after_its_folds_were_fitted_alone(tmp_path, monkeypatch: pytest.MonkeyPatch):
    synthesize(StandIn(subjects=4, min_seconds=3, max_seconds=4), tmp_path / "cache")
    cache = Cache.open(tmp_path / "cache")
    cohort = cache.cohort()
    sign = cohort.sign("dystonia")
    store = load_store(cache, cohort, sign, "pose", keypoints=True, appearance=False)
    stacks = []

    def alone(model, data, training, **more):
        data.store = copy.copy(data.store)  # as a fitting on a GPU leaves it: moved there

    monkeypatch.setattr(stacking, "fit", alone)
    monkeypatch.setattr(stacking, "fit_stacked", lambda model, folds, training, **more: stacks.append(folds))
    works = stacking.ways("agcn", store, loso_plan(cohort, sign).folds, Training(), "cpu")
    for name in ("one", "each", "stacked"):
        works[name]()
    (folds,) = stacks
    assert len(folds) == 4
    assert [fold.seed for fold in folds] == [0, 1, 2, 3]
    assert StackedFolds(folds).at_once
