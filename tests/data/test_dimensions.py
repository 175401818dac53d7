"""2D or 3D: what `inputs.dimensions` leaves of a 3D cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from seizurelit.cache.store import Cache
from seizurelit.cohort.plan import Fold
from seizurelit.cohort.skeleton import built_in
from seizurelit.config import Augmentation, Inputs, Training, Windows
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.normalise import normalise, rotate, seen_from_the_front, without_depth
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.errors import InputError
from seizurelit.training.networks import build_network

FOLD = Fold("anna", ("anna",), ("ben", "cleo", "dan", "eva"), ("ben", "dan"))
FLAT = Training(windows=Windows(frames=50, stride=20), inputs=Inputs(features=("joint", "bone"), dimensions=2))


def load(cache: Cache, stream: str) -> SeizureStore:
    cohort = cache.cohort()
    return load_store(cache, cohort, cohort.sign("dystonia"), stream, keypoints=True, appearance=False)


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_depth_is_the_horizontal_axis_that_is_not_lateral(up):
    skeleton = dataclasses.replace(built_in("body11"), up=up)
    points = torch.randn(4, 11, 3)
    left = without_depth(points, skeleton)
    vertical = "xyz".index(up)
    assert torch.equal(left[..., 1], points[..., vertical])
    turned = rotate(points.flatten(0, 1), torch.full((44,), torch.pi / 2), skeleton).view_as(points)
    assert torch.allclose(without_depth(turned, skeleton)[..., 1], left[..., 1])  # the vertical does not turn
    flat = seen_from_the_front(skeleton)
    assert flat.dimensions == 2
    assert torch.equal(without_depth(left, flat), left)


@pytest.mark.parametrize("augmentation", [Augmentation(flip=0, rotation=0, scale=0, joint_dropout=0), Augmentation()])
def test_a_batch_has_two_axes(make_cache: Callable[..., Cache], augmentation):
    """Its channels are those of the 3D batch without z, and a network is sized for them."""
    store = load(make_cache(), "pose")
    training = dataclasses.replace(FLAT, augmentation=augmentation)
    data = FoldDataModule(store, FOLD, training, seed=0)
    batch = next(data.training_batches(0))
    assert batch.keypoints.shape[2] == data.keypoint_channels == 2 * 2 + 1
    if augmentation.rotation == 0:
        full = dataclasses.replace(training, inputs=dataclasses.replace(training.inputs, dimensions=3))
        whole = next(FoldDataModule(store, FOLD, full, seed=0).training_batches(0))
        kept = [0, 1, 3, 4, 6]  # x and y of joint and of bone, confidence
        assert torch.equal(batch.keypoints, whole.keypoints[:, :, kept])
    network = build_network(
        "agcn", dataclasses.replace(training, agcn=dataclasses.replace(training.agcn, variant="small")), data
    )
    assert network(batch).shape[-1] == 2


def test_the_path_of_the_root_loses_its_depth_too(make_cache: Callable[..., Cache]):
    store = load(make_cache(), "pose")
    inputs = Inputs(root="path", confidence=False, dimensions=2)
    plain = Augmentation(flip=0, rotation=0, scale=0, joint_dropout=0)
    training = Training(windows=Windows(frames=200, stride=200), inputs=inputs, augmentation=plain)
    batch = next(FoldDataModule(store, FOLD, training, seed=0).held_out_batches())
    first = store.offsets[:2]
    own = slice(int(first[0]), int(first[1]))
    _, path = normalise(store.keypoints[own], store.confidence[own] > 0, store.root[own], store.skeleton)
    where = batch.seizure.tolist().index(0)
    got = batch.keypoints[where, 0, :, : len(path), store.skeleton.root].T
    seen = store.confidence[own][:, store.skeleton.root] > 0
    assert torch.allclose(got[seen], path[seen][:, :2], atol=1e-6)


def test_what_is_2d_already_stays_as_it_is(make_cache: Callable[..., Cache]):
    store = load(make_cache(), "face")
    as_is = dataclasses.replace(FLAT, inputs=dataclasses.replace(FLAT.inputs, dimensions=3))
    flat, whole = (next(FoldDataModule(store, FOLD, t, seed=0).training_batches(0)) for t in (FLAT, as_is))
    assert torch.equal(flat.keypoints, whole.keypoints)


def test_standard_lengths_of_bones_need_three_dimensions(make_cache: Callable[..., Cache]):
    training = dataclasses.replace(FLAT, inputs=Inputs(proportions="standard", dimensions=2))
    with pytest.raises(InputError, match="proportions standard"):
        FoldDataModule(load(make_cache(), "pose"), FOLD, training, seed=0)
