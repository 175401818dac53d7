"""Folds of small stand-in cohorts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from seizurelit.cache.store import Cache
from seizurelit.cohort.plan import loso_plan
from seizurelit.config import Training
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.store import load_store
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize


@pytest.fixture(scope="session")
def folds_of(tmp_path_factory) -> Callable[..., Callable[..., list[FoldDataModule]]]:
    """Makes, of a cohort's description, what makes its first folds by pose and dystonia with given settings."""

    def described(cohort: StandIn, first: int) -> Callable[..., list[FoldDataModule]]:
        root = tmp_path_factory.mktemp("folds") / "cache"
        synthesize(cohort, root)
        cache = Cache.open(root)
        people = cache.cohort()
        sign = people.sign("dystonia")
        store = load_store(cache, people, sign, "pose", keypoints=True, appearance=True)
        plan = loso_plan(people, sign)

        def make(settings: Training, count: int = first) -> list[FoldDataModule]:
            return [FoldDataModule(store, fold, settings, seed=10 + k) for k, fold in enumerate(plan.folds[:count])]

        return make

    return described
