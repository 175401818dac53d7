"""The store and the batches of a fold, from a real cache on disk."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.cache.store import Cache
from seizurelit.cohort.leak import Guard, SubjectLeakError
from seizurelit.cohort.plan import Fold
from seizurelit.config import Augmentation, Inputs, Optimiser, Training, Windows, with_overrides
from seizurelit.data import fold as fold_module
from seizurelit.data.fold import Batch, FoldDataModule, seizure_weights
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.errors import InputError

FOLD = Fold("anna", ("anna",), ("ben", "cleo", "dan", "eva"), ("ben", "dan"))
SMALL = Training(windows=Windows(frames=50, per_seizure=3, stride=20), optimiser=Optimiser(batch=3))
PLAIN = Augmentation(flip=0, rotation=0, scale=0, joint_dropout=0)


def load(cache: Cache, stream: str = "pose", sign: str = "dystonia", **options: object) -> SeizureStore:
    cohort = cache.cohort()
    options = {"keypoints": True, "appearance": True, **options}
    return load_store(cache, cohort, cohort.sign(sign), stream, **options)


@pytest.fixture
def store(make_cache: Callable[..., Cache]) -> SeizureStore:
    return load(make_cache())


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a, b, strict=True))


def test_the_store_holds_what_the_cache_does(make_cache: Callable[..., Cache]):
    cache = make_cache(skip=("e1",))
    store = load(cache)
    assert store.seizures == ("a1", "a2", "b1", "c1", "d1")
    assert store.missing == ("e1",)  # c2 is not rated
    assert store.labels.tolist() == [1, 1, 0, 0, 1]
    assert store.lengths.tolist() == [90, 41, 200, 63, 12]
    assert store.keypoints.isfinite().all()
    assert (store.keypoints[store.confidence == 0] == 0).all()
    written = cache.read("b1", "pose")
    own = slice(int(store.offsets[2]), int(store.offsets[3]))
    there = store.confidence[own] > 0
    assert torch.equal(store.keypoints[own][there], torch.from_numpy(written["pose.keypoints"])[there])
    assert torch.equal(store.root[own], torch.from_numpy(written["pose.root"]))
    assert load(cache, "face").root is None
    alone = load(cache, keypoints=False)
    assert alone.keypoints is None
    assert alone.lengths.tolist() == [90, 45, 200, 65, 15]


def test_a_condition_is_one_hot_over_the_cohort(make_cache: Callable[..., Cache]):
    store = load(make_cache(), condition="camera")
    assert store.conditions == ("x", "y")
    assert (store.condition.sum(1) == 1).all()
    data = FoldDataModule(store, FOLD, SMALL, seed=0)
    batch = next(data.training_batches(0))
    assert data.conditions == 2
    assert torch.equal(batch.condition, store.condition[batch.seizure])


def test_what_does_not_go_together_is_refused(make_cache: Callable[..., Cache]):
    with pytest.raises(InputError, match=r"b1\.pose.*frame rate") as caught:
        load(make_cache(fps={"b1": 30.0, "d1": 50.0}))
    assert len(caught.value.faults) == 2


def test_an_empty_store_is_refused(make_cache: Callable[..., Cache]):
    with pytest.raises(InputError, match="extract or ingest"):
        load(make_cache(), subjects=())


def test_no_held_out_subject_reaches_the_training_side(make_cache: Callable[..., Cache], store: SeizureStore):
    guard = Guard.of(FOLD)
    with pytest.raises(SubjectLeakError, match="anna"):
        load(make_cache(), guard=guard)
    assert set(load(make_cache(), subjects=FOLD.train, guard=guard).subjects) == set(FOLD.train)
    # A fold that was tampered with after its own check, and indices that were.
    leaky = Fold("anna", ("anna",), ("ben", "cleo", "dan", "eva"), ())
    object.__setattr__(leaky, "train", ("anna", *FOLD.train))
    with pytest.raises(SubjectLeakError, match=r"training data.*anna"):
        FoldDataModule(store, leaky, SMALL, seed=0)
    data = FoldDataModule(store, FOLD, SMALL, seed=0)
    data.train_indices = torch.arange(len(store.seizures))
    with pytest.raises(SubjectLeakError, match=r"training batch.*anna"):
        list(data.training_batches(0))
    inner = FoldDataModule(store, FOLD, SMALL, seed=0, inner=True)
    inner.train_indices = data.train_indices = store.indices(FOLD.train)
    with pytest.raises(SubjectLeakError, match="ben"):
        list(inner.training_batches(0))


def test_an_extraction_that_saw_the_held_out_subject_is_refused(make_cache: Callable[..., Cache]):
    cache = make_cache(saw=("anna", "ben"))
    with pytest.raises(SubjectLeakError, match=r"extraction.*anna"):
        FoldDataModule(load(cache), FOLD, SMALL, seed=0)
    with pytest.raises(SubjectLeakError, match=r"extraction.*anna"):
        load(cache, subjects=FOLD.train, guard=Guard.of(FOLD))
    other = Fold("cleo", ("cleo",), ("dan", "eva"), ())
    assert FoldDataModule(load(cache), other, SMALL, seed=0).subjects_seen == ("anna", "ben", "dan", "eva")


@pytest.mark.parametrize("speed", [0.0, 1e-9, 0.3])
@pytest.mark.parametrize("subject", ["anna", "cleo", "eva"])  # the first, the middle and the last of the store
def test_held_out_frames_are_never_gathered_for_training(store: SeizureStore, speed: float, subject: str):
    held_out = Fold(subject, (subject,), tuple(sorted(set(store.subjects) - {subject})), ())
    spoilt = {}
    for name, offsets in (
        ("keypoints", store.offsets),
        ("root", store.offsets),
        ("appearance", store.appearance_offsets),
    ):
        tensor = getattr(store, name).clone()
        for index in store.indices(held_out.test).tolist():
            tensor[offsets[index] : offsets[index + 1]] = torch.nan
        spoilt[name] = tensor
    training = dataclasses.replace(
        SMALL,
        augmentation=Augmentation(speed=speed),
        inputs=Inputs(features=("joint", "bone", "motion"), root="velocity"),
    )
    data = FoldDataModule(dataclasses.replace(store, **spoilt), held_out, training, seed=0)
    for batch in data.training_batches(0):
        assert batch.keypoints.isfinite().all()
        assert batch.appearance.isfinite().all()


def test_an_epoch_holds_every_training_seizure_once(store: SeizureStore):
    data = FoldDataModule(store, FOLD, SMALL, seed=0)
    batches = list(data.training_batches(0))
    assert len(batches) == data.steps_per_epoch == len(data.train_dataloader())
    seen = torch.cat([batch.seizure for batch in batches])
    assert sorted(data.seizure_name(i) for i in seen.tolist()) == ["b1", "c1", "d1", "e1"]
    assert [len(batch.label) for batch in batches] == [2, 2]  # even, not 3 and 1
    assert data.subjects_seen == FOLD.train
    shapes = {(tuple(b.keypoints.shape), tuple(b.appearance.shape), tuple(b.window_mask.shape)) for b in batches}
    assert shapes == {((2, 3, 4, 50, 11), (2, 3, 2, 10), (2, 3))}
    inner = FoldDataModule(store, FOLD, SMALL, seed=0, inner=True)
    assert inner.subjects_seen == ("cleo", "eva")
    assert [store.subjects[i] for i in inner.held_out_indices] == ["ben", "dan"]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_steps_made_in_one_pass_are_those_made_one_by_one(store: SeizureStore, monkeypatch, batch):
    settings = with_overrides(
        SMALL, {"optimiser.batch": batch, "augmentation.speed": 0.1, "augmentation.joint_dropout": 0.3}
    )
    data = FoldDataModule(store, FOLD, settings, seed=4)
    together = list(data.training_batches(2))
    monkeypatch.setattr(fold_module, "PASS", {"cpu": 0})
    alone = list(data.training_batches(2))
    assert len(together) == len(alone) == data.steps_per_epoch
    for one, other in zip(together, alone, strict=True):
        assert one.whole == other.whole == bool(other.keypoints_mask.all() and other.appearance_mask.all())
        for name in ("label", "weight", "seizure", "window_mask"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        frames = other.keypoints_mask.shape[-1]  # the longest of a batch, of a pass
        torch.testing.assert_close(one.keypoints[..., :frames, :], other.keypoints, rtol=0, atol=1e-5)
        assert torch.equal(one.keypoints_mask[..., :frames], other.keypoints_mask)
        assert not one.keypoints_mask[..., frames:].any()
        frames = other.appearance_mask.shape[-1]
        assert torch.equal(one.appearance[..., :frames], other.appearance)


def test_a_pass_holds_as_many_steps_as_the_device_has_room_for(store: SeizureStore, monkeypatch):
    data = FoldDataModule(store, FOLD, SMALL, seed=0)
    data.store = dataclasses.replace(store, labels=store.labels.to("meta"))
    monkeypatch.setattr(fold_module, "PASS", {"meta": 2 * 3 * data.batch_bytes})
    assert list(data.passes("abcde", folds=3)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(data.passes("ab", folds=100)) == [["a"], ["b"]]


def test_batches_depend_on_seed_and_epoch_alone(store: SeizureStore):
    def epoch(seed: int, number: int) -> list[Batch]:
        torch.manual_seed(torch.randint(1000, (1,)).item())  # the global generator has no say
        return list(FoldDataModule(store, FOLD, SMALL, seed=seed).training_batches(number))

    first = epoch(0, 3)
    assert all(same(a, b) for a, b in zip(first, epoch(0, 3), strict=True))
    assert not all(same(a, b) for a, b in zip(first, epoch(0, 4), strict=True))
    assert not all(same(a, b) for a, b in zip(first, epoch(1, 3), strict=True))


def test_the_modalities_that_are_held_do_not_change_the_draws(make_cache: Callable[..., Cache]):
    cache = make_cache()
    both = list(FoldDataModule(load(cache), FOLD, SMALL, seed=0).training_batches(0))
    alone = list(FoldDataModule(load(cache, appearance=False), FOLD, SMALL, seed=0).training_batches(0))
    for a, b in zip(both, alone, strict=True):
        assert b.appearance is None
        assert torch.equal(a.keypoints, b.keypoints)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("speed", [0.0, 0.3])
def test_teacher_and_student_see_the_same_seconds(store: SeizureStore, step: int, speed: float):
    # Joint 5 tells the frame, as the features do: the path of a joint in units of an unmoving body.
    frame = torch.cat([torch.arange(n) for n in store.lengths.tolist()]).float()
    keypoints = torch.zeros_like(store.keypoints)
    keypoints[:, 1, 1] = 1.0
    keypoints[:, 5, 0] = frame
    told = dataclasses.replace(store, keypoints=keypoints, confidence=torch.ones_like(store.confidence))
    augmentation = dataclasses.replace(PLAIN, speed=speed)
    windows = Windows(frames=30, per_seizure=6, stride=20, step=step)
    data = FoldDataModule(told, FOLD, dataclasses.replace(SMALL, windows=windows, augmentation=augmentation), seed=1)
    compared = 0
    for batch in [*data.training_batches(0), *data.held_out_batches()]:
        students, teachers = batch.keypoints[:, :, 0, :, 5], batch.appearance[:, :, 1]
        every = round(5 / step)
        for j in range(teachers.shape[-1]):
            i = round(j * 5 / step)
            if i >= students.shape[-1]:
                continue
            both = batch.keypoints_mask[:, :, i] & batch.appearance_mask[:, :, j]
            # The features are of every fifth frame: half of that is what their clock can be off, at every speed.
            assert ((students[:, :, i] - teachers[:, :, j])[both].abs() <= 2.5 + every * 0.5 + 1e-3).all()
            compared += int(both.sum())
        names = batch.appearance[:, :, 0]
        assert (
            names[batch.appearance_mask]
            == batch.seizure[:, None, None].expand(names.shape)[batch.appearance_mask]
            + (batch.seizure[:, None, None].expand(names.shape)[batch.appearance_mask] > 3)
        ).all()
    assert compared > 50


def test_held_out_batches_hold_every_window_once(store: SeizureStore):
    data = FoldDataModule(store, FOLD, SMALL, seed=0)
    batches = list(data.held_out_batches())
    assert len(batches) == len(data.predict_dataloader())
    counts = {
        data.seizure_name(int(i)): int(mask.sum())
        for b in batches
        for i, mask in zip(b.seizure, b.window_mask, strict=True)
    }
    assert counts == {"a1": 3, "a2": 1}
    for a, b in zip(batches, data.held_out_batches(), strict=True):
        assert same(a, b)
    short = next(b for b in batches if "a2" in [data.seizure_name(int(i)) for i in b.seizure])
    row = [data.seizure_name(int(i)) for i in short.seizure].index("a2")
    assert short.keypoints_mask[row, 0].tolist() == [True] * 41 + [False] * 9
    assert (short.keypoints[row, 0, :, 41:] == 0).all()


@pytest.mark.parametrize(("phases", "share"), [(1, 1 / 3), (2, 2 / 3), (3, 1)])
def test_windows_of_all_phases_see_every_frame(store: SeizureStore, phases: int, share: float):
    windows = dataclasses.replace(SMALL.windows, frames=4, stride=4, step=3, phases=phases)
    data = FoldDataModule(store, FOLD, dataclasses.replace(SMALL, windows=windows), seed=0)
    for batch in data.held_out_batches():
        for index, mask in zip(batch.seizure.tolist(), batch.window_mask, strict=True):
            length = int(store.lengths[index])
            starts = data._scored_starts(length)
            assert int(mask.sum()) == len(starts)
            seen = {start + 3 * k for start in starts.tolist() for k in range(4)} & set(range(length))
            assert len(seen) == pytest.approx(share * length, abs=1)


def test_a_batch_of_windows_is_bounded(store: SeizureStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("seizurelit.data.fold.WINDOWS_A_BATCH", 4)
    fold = Fold("all", ("anna", "ben", "cleo"), ("dan", "eva"), ())
    batches = list(FoldDataModule(store, fold, SMALL, seed=0).held_out_batches())
    assert sorted(i for b in batches for i in b.seizure.tolist()) == [0, 1, 2, 3]
    assert all(b.window_mask.numel() <= 4 or len(b.seizure) == 1 for b in batches)


def test_speed_one_is_no_interpolation(store: SeizureStore):
    data = FoldDataModule(store, FOLD, dataclasses.replace(SMALL, augmentation=PLAIN), seed=0)
    from seizurelit.data.augment import draw

    index, starts = torch.tensor([0, 2]), torch.tensor([[0, 7], [100, 30]])
    drawn = draw(PLAIN, 2, 2, torch.Generator().manual_seed(0))
    plain, _ = data._keypoints(index, starts, drawn)
    data.training = dataclasses.replace(SMALL, augmentation=dataclasses.replace(PLAIN, speed=1e-9))
    slow, _ = data._keypoints(index, starts, dataclasses.replace(drawn, speed=torch.ones(2, 2)))
    torch.testing.assert_close(slow, plain)


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcdef")), min_size=1, max_size=30))
def test_weights_balance_classes_and_subjects(rows: list[tuple[int, str]]):
    labels, subjects = torch.tensor([label for label, _ in rows]), [subject for _, subject in rows]
    weights = seizure_weights(labels, subjects)
    assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    share = {k: weights[labels == k].sum().item() for k in set(labels.tolist())}
    assert max(share.values()) == pytest.approx(min(share.values()), rel=1e-4)
    for k in share:
        of_subject = {
            s: sum(w.item() for w, (label, subject) in zip(weights, rows, strict=True) if (label, subject) == (k, s))
            for s in {subject for label, subject in rows if label == k}
        }
        assert max(of_subject.values()) == pytest.approx(min(of_subject.values()), rel=1e-4)


def test_weights_can_be_left_out(store: SeizureStore):
    data = FoldDataModule(store, FOLD, dataclasses.replace(SMALL, balance=False), seed=0)
    assert (data.weights == 1).all()


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (Training(windows=Windows(frames=50, stride=60)), "stride"),
        (Training(windows=Windows(frames=0)), "1 or more"),
    ],
)
def test_windows_that_skip_frames_are_refused(store: SeizureStore, training: Training, message: str):
    with pytest.raises(InputError, match=message):
        FoldDataModule(store, FOLD, training, seed=0)


def test_sided_classes_are_not_flipped(make_cache: Callable[..., Cache]):
    store = load(make_cache(), sign="side")
    with pytest.raises(InputError, match="left, right"):
        FoldDataModule(store, FOLD, SMALL, seed=0)
    FoldDataModule(store, FOLD, dataclasses.replace(SMALL, augmentation=PLAIN), seed=0)


def test_a_root_velocity_needs_a_root(store: SeizureStore):
    training = dataclasses.replace(SMALL, inputs=Inputs(root="velocity"))
    with pytest.raises(InputError, match=r"pose\.root"):
        FoldDataModule(dataclasses.replace(store, root=None), FOLD, training, seed=0)


def test_nothing_to_train_on_is_refused(store: SeizureStore):
    with pytest.raises(InputError, match="no training subject"):
        FoldDataModule(store, Fold("anna", ("anna",), ("zoe",), ()), SMALL, seed=0)


def test_the_trainer_asks_for_each_epoch_anew(store: SeizureStore):
    seen: list[list[torch.Tensor]] = []

    class Recorder(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def on_train_epoch_start(self) -> None:
            seen.append([])

        def training_step(self, batch: Batch, index: int) -> torch.Tensor:
            seen[-1].append(batch.keypoints)
            return self.weight.sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = FoldDataModule(store, FOLD, SMALL, seed=5)
    trainer = pl.Trainer(
        max_epochs=3,
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Recorder(), datamodule=data)
    assert len(seen) == 3
    for epoch, batches in enumerate(seen):
        expected = [batch.keypoints for batch in FoldDataModule(store, FOLD, SMALL, seed=5).training_batches(epoch)]
        assert all(torch.equal(a, b) for a, b in itertools.zip_longest(batches, expected))
