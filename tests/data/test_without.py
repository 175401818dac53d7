"""Joints that are taken as missing: `inputs.without`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from seizurelit.cache.store import Cache
from seizurelit.cohort.plan import Fold
from seizurelit.config import Augmentation, Inputs, Training, Windows
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.errors import InputError

FOLD = Fold("anna", ("anna",), ("ben", "cleo", "dan", "eva"), ("ben", "dan"))
PLAIN = Training(
    windows=Windows(frames=50, stride=20),
    inputs=Inputs(features=("joint", "bone", "motion", "displacement")),
    augmentation=Augmentation(flip=0, rotation=0, scale=0, joint_dropout=0),
)


@pytest.fixture
def store(make_cache: Callable[..., Cache]) -> SeizureStore:
    cache = make_cache()
    cohort = cache.cohort()
    return load_store(cache, cohort, cohort.sign("dystonia"), "pose", keypoints=True, appearance=False)


def without(*joints: str) -> Training:
    return dataclasses.replace(PLAIN, inputs=dataclasses.replace(PLAIN.inputs, without=joints))


def test_nothing_of_a_joint_that_is_left_out_is_seen(store: SeizureStore):
    gone = store.skeleton.joints.index("left wrist")
    data = FoldDataModule(store, FOLD, without("left wrist"), seed=0)
    part, whole = (next(d.training_batches(0)).keypoints for d in (data, FoldDataModule(store, FOLD, PLAIN, seed=0)))
    assert whole[..., gone].any()
    assert not part[..., gone].any()
    others = [joint for joint in range(len(store.skeleton.joints)) if joint != gone]
    assert torch.equal(part[..., others], whole[..., others])  # a leaf: no bone of another joint ends there
    changed = dataclasses.replace(store, keypoints=store.keypoints.clone())
    changed.keypoints[:, gone] += 3
    again = next(FoldDataModule(changed, FOLD, without("left wrist"), seed=0).training_batches(0)).keypoints
    assert torch.equal(again, part)


def test_a_name_that_is_no_joint_is_refused(store: SeizureStore):
    with pytest.raises(
        InputError, match=r"--inputs.without: left paw is no joint of body11; its joints are .*left wrist"
    ):
        FoldDataModule(store, FOLD, without("left wrist", "left paw"), seed=0)
