"""The batches of one fold: windows of its training subjects, drawn anew each epoch, and all windows of those it holds out.

The tensors of all seizures are in memory; a batch is gathered, normalised and augmented whole, without a round through Python
for each sample and without workers, so that it depends on the seed and the epoch alone. Axes: B seizures, W windows of each, T
frames, V joints, C channels, D features.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from seizurelit.cohort.leak import Guard
from seizurelit.cohort.plan import Fold
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import Training
from seizurelit.data.augment import (
    Draw,
    Numbers,
    augment_appearance,
    augment_keypoints,
    changes,
    flip_where,
    refuse_flip,
)
from seizurelit.data.inputs import channels_in, keypoint_channels
from seizurelit.data.normalise import (
    face_camera,
    left_moves_more,
    normalise,
    seen_by_networks,
    standard_proportions,
    without_depth,
)
from seizurelit.data.store import SeizureStore
from seizurelit.data.windows import scoring_starts, starts_of
from seizurelit.errors import InputError

WINDOWS_A_BATCH = 64
"""Windows that are scored together, unless one seizure has more."""


class Batch(NamedTuple):
    """Windows of B seizures.

    Attributes:
        keypoints: (B, W, C, T, V) float32, channels last in memory; None where the store holds none.
        keypoints_mask: (B, W, T) bool, false for padding.
        appearance: (B, W, D, T') float32; None where the store holds none.
        appearance_mask: (B, W, T') bool.
        condition: (B, K) one-hot of what the networks are told; None without one.
        window_mask: (B, W) bool, false for a window that only fills the batch.
        label: (B,) long.
        weight: (B,) float32; 1 on average over the fold's training seizures.
        seizure: (B,) long, index into the store.
        whole: known to be without padding in either modality; false where nobody has looked.
    """

    keypoints: Tensor | None
    keypoints_mask: Tensor | None
    appearance: Tensor | None
    appearance_mask: Tensor | None
    condition: Tensor | None
    window_mask: Tensor
    label: Tensor
    weight: Tensor
    seizure: Tensor
    whole: bool = False

    def split(self, sizes: Sequence[int]) -> list[Batch]:
        """The batch in parts of so many seizures each, each looked at whether it is whole."""
        lengths = list(sizes)
        parts: list[Any] = [
            one.split(lengths) if isinstance(one, Tensor) else [one] * len(lengths)  # type: ignore[no-untyped-call]
            for one in self
        ]
        batches = [Batch(*fields) for fields in zip(*parts, strict=True)]
        if self.whole:
            return batches
        masks = [mask for mask in (self.keypoints_mask, self.appearance_mask) if mask is not None]
        real = torch.stack([mask.flatten(1).all(1) for mask in masks]).all(0).tolist()  # asks a device once
        ends = list(itertools.accumulate(lengths))
        whole = [all(real[end - length : end]) for length, end in zip(lengths, ends, strict=True)]
        return [batch._replace(whole=flag) for batch, flag in zip(batches, whole, strict=True)]


def seizure_weights(labels: Tensor, subjects: Sequence[str]) -> Tensor:
    """Loss weights under which classes count alike, subjects within a class, and a subject's seizures within that.

    Args:
        labels: (n,) class indices.
        subjects: whose each is.

    Returns:
        (n,) float32 with mean 1.

    Example:
        >>> seizure_weights(torch.tensor([0, 0, 0, 1]), ["a", "a", "b", "c"])
        tensor([0.5000, 0.5000, 1.0000, 2.0000])
    """
    groups = list(zip(labels.tolist(), subjects, strict=True))
    seizures = Counter(groups)
    members = Counter(label for label, _ in seizures)
    share = [1 / (len(members) * members[label] * seizures[label, subject]) for label, subject in groups]
    return torch.tensor(share, dtype=torch.float32) * len(share)


PASS = {"cpu": 2**21, "cuda": 2**28}
"""Bytes of windows that are made in one pass, at most, unless one step has more: what a core's cache holds, what a GPU spares."""

Step = TypeVar("Step")


class Batches:
    """An iterable with a length, which is all that Lightning asks of a dataloader."""

    def __init__(self, length: int, batches: Callable[[], Iterator[Any]]) -> None:
        self.length = length
        self.batches = batches

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return self.batches()


class FoldDataModule(pl.LightningDataModule):
    """One fold of a store.

    Args:
        store: all seizures, those of held-out subjects too; they are gathered for scoring alone.
        fold: who is held out; one without training subjects is for scoring alone, with networks from elsewhere.
        training: windows, inputs, augmentation, batch size, balance.
        seed: of order, windows and augmentation.
        inner: hold the validation subjects out of training, and score them instead of the test subjects.

    Raises:
        SubjectLeakError: a subject to train on, or one that the extraction's weights saw, is held out.
        InputError: nothing to train on, flips of classes that name a side, a stride that skips frames, the root's path
            or standard proportions where there are none, a joint to leave out that is none.
    """

    def __init__(self, store: SeizureStore, fold: Fold, training: Training, *, seed: int, inner: bool = False) -> None:
        super().__init__()
        self.store = store
        self.fold = fold
        self.training = training
        self.seed = seed
        self.guard = Guard.of(fold, inner=inner)
        self.guard.admit(store.extraction_saw, f"the extraction of the {store.stream} tensors")
        train = fold.inner_train if inner else fold.train
        self.guard.admit(train, "the training data")
        refuse_flip(training.augmentation, training.inputs, store.classes)
        windows = training.windows
        smallest = min(windows.frames, windows.stride, windows.step, windows.per_seizure)
        if smallest < 1 or windows.stride > windows.frames:
            msg = f"--windows: all must be 1 or more, and stride no longer than frames, or some are never scored; not {windows}"
            raise InputError(msg)
        centred = store.stream == "pose" and store.keypoints is not None and store.root is None
        if training.inputs.root != "none" and centred:
            msg = "--inputs.root: not every seizure has pose.root; extract or ingest it, or leave the option out"
            raise InputError(msg)
        bones = None if store.skeleton is None else self.skeleton
        if (
            training.inputs.proportions == "standard"
            and bones is not None
            and (bones.lengths is None or bones.dimensions == 2)
        ):
            msg = (
                f"--inputs.proportions standard: {bones.name} is 2D or states no lengths of bones; leave the option out"
            )
            raise InputError(msg)
        unknown = [] if bones is None else [name for name in training.inputs.without if name not in bones.joints]
        if bones is not None and unknown:
            msg = f"--inputs.without: {', '.join(unknown)} is no joint of {bones.name}; its joints are {', '.join(bones.joints)}"
            raise InputError(msg)
        self.train_indices = store.indices(train)
        self.held_out_indices = store.indices(fold.validation if inner else fold.test)
        if train and not len(self.train_indices):
            msg = f"fold {fold.name}: no training subject has a rated and extracted seizure; extract or ingest more"
            raise InputError(msg)
        self.weights = torch.ones(len(store.seizures))
        if training.balance and len(self.train_indices):
            subjects = [store.subjects[index] for index in self.train_indices.tolist()]
            self.weights[self.train_indices] = seizure_weights(store.labels[self.train_indices], subjects)
        self._lengths = store.lengths

    @property
    def subjects_seen(self) -> tuple[str, ...]:
        """All whose data reach what is fitted on this fold, directly or through the extraction's weights; sorted."""
        trained = {self.store.subjects[index] for index in self.train_indices.tolist()}
        return tuple(sorted(trained.union(self.store.extraction_saw)))

    @property
    def classes(self) -> int:
        """K."""
        return len(self.store.classes)

    @property
    def skeleton(self) -> Skeleton:
        """The joints of a batch's keypoints; ValueError where there are none."""
        return seen_by_networks(self.store.skeleton, self.training.inputs)

    @property
    def joints(self) -> int:
        """V."""
        return len(self.skeleton.joints)

    @property
    def keypoint_channels(self) -> int:
        """C of a batch's keypoints."""
        return channels_in(self.training.inputs, self.skeleton)

    @property
    def appearance_channels(self) -> int:
        """D of a batch's appearance features; ValueError where there are none."""
        if self.store.appearance is None:
            msg = "the store holds no appearance features"
            raise ValueError(msg)
        return self.store.appearance.shape[1]

    @property
    def conditions(self) -> int:
        """K of a batch's condition; 0 without one."""
        return len(self.store.conditions)

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch."""
        return -(-len(self.train_indices) // self.training.optimiser.batch)

    @property
    def batch_bytes(self) -> int:
        """Of a training batch's windows, about."""
        a_frame = self.joints * self.keypoint_channels if self.store.keypoints is not None else 0
        a_frame += self.appearance_channels if self.store.appearance is not None else 0
        return (
            4
            * a_frame
            * self.training.windows.frames
            * self.training.windows.per_seizure
            * self.training.optimiser.batch
        )

    def setup(self, stage: str) -> None:
        """Hold the store's tensors on the Trainer's device, and gather and change windows there."""
        del stage
        assert self.trainer is not None
        self.store = self.store.to(self.trainer.strategy.root_device)

    def seizure_name(self, index: int) -> str:
        """The seizure of a batch's index."""
        return self.store.seizures[index]

    def training_batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch: every training seizure once, in batches as equal in size as can be.

        Args:
            epoch: from 0; with the seed it decides every random number.
        """
        for several in self.passes(self.numbers(epoch), folds=1):
            yield from self.training_batch(Numbers.joined(several)).split([len(one.seizure) for one in several])

    def passes(self, steps: Iterable[Step], *, folds: int) -> Iterator[list[Step]]:
        """Steps whose windows are gathered and changed together, as many as make `PASS`: many small ones take as long as few.

        With noise each step is a pass of its own, as its numbers depend on the frames of a batch.

        Args:
            steps: anything.
            folds: how many batches a step has.
        """
        remaining = iter(steps)
        most = max(1, PASS[self.store.labels.device.type] // max(1, self.batch_bytes * folds))
        most = 1 if self.training.augmentation.noise > 0 else most
        while several := list(itertools.islice(remaining, most)):
            yield several

    def numbers(self, epoch: int) -> Iterator[Numbers]:
        """All that is random about an epoch's batches.

        Args:
            epoch: from 0; with the seed it decides every random number.
        """
        key = hashlib.sha256(f"{self.seed}/{epoch}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
        order = self.train_indices[torch.randperm(len(self.train_indices), generator=generator)]
        for index in order.tensor_split(self.steps_per_epoch):
            self.guard.admit((self.store.subjects[i] for i in index.tolist()), "a training batch")
            yield Numbers.of(index, self.training.windows.per_seizure, generator)

    def training_batch(self, numbers: Numbers) -> Batch:
        """The windows that random numbers stand for."""
        windows, index = self.training.windows, numbers.seizure
        drawn = changes(self.training.augmentation, numbers.uniform, numbers.later)
        span = ((windows.frames - 1) * windows.step * drawn.speed).ceil().long() + 1
        starts = starts_of(numbers.place, self._lengths[index], span, phases=windows.step)
        made = self.batch(index, starts, torch.ones_like(starts, dtype=torch.bool), drawn)
        masks = (made.keypoints_mask, made.appearance_mask)
        return made._replace(whole=all(mask is None or bool(mask.all()) for mask in masks))

    def held_out_batches(self) -> Iterator[Batch]:
        """All windows of every held-out seizure, the windows of a seizure in one batch, without augmentation."""
        for indices, starts in self._scoring_plan():
            widest = max(map(len, starts))
            padded = torch.stack([torch.nn.functional.pad(part, (0, widest - len(part))) for part in starts])
            mask = torch.arange(widest) < torch.tensor([len(part) for part in starts]).unsqueeze(1)
            yield self.batch(torch.tensor(indices), padded, mask, None)

    def scored_spans(self) -> dict[int, list[tuple[float, float]]]:
        """Held-out seizure's index → (start, end) of each window that is scored, in seconds, in the order of the batches."""
        windows, fps = self.training.windows, self.store.fps
        length = windows.frames * windows.step
        return {
            index: [(start / fps, min(start + length, int(self._lengths[index])) / fps) for start in starts.tolist()]
            for indices, listed in self._scoring_plan()
            for index, starts in zip(indices, listed, strict=True)
        }

    def train_dataloader(self) -> Batches:
        """Ready batches of the Trainer's present epoch."""

        def batches() -> Iterator[Batch]:
            return self.training_batches(self.trainer.current_epoch if self.trainer is not None else 0)

        return Batches(self.steps_per_epoch, batches)

    def test_dataloader(self) -> Batches:
        """Ready batches of the held-out seizures."""
        return Batches(len(self._scoring_plan()), self.held_out_batches)

    def predict_dataloader(self) -> Batches:
        """As `test_dataloader`."""
        return self.test_dataloader()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch, if it is not there: on a CPU Lightning's own walk over it costs more than the work."""
        if device.type == "cpu":
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _scored_starts(self, length: int) -> Tensor:
        """(W,) first frames of the windows that are scored of a seizure, phase by phase."""
        windows = self.training.windows
        phases = range(min(windows.phases, length))
        parts = [
            phase + windows.step * scoring_starts(-(-(length - phase) // windows.step), windows.frames, windows.stride)
            for phase in phases
        ]
        return torch.cat(parts)

    def _scoring_plan(self) -> list[tuple[list[int], list[Tensor]]]:
        """Held-out seizures and their windows' starts, seizures of like length together, so that little is padded."""
        starts = {index: self._scored_starts(int(self._lengths[index])) for index in self.held_out_indices.tolist()}
        plan: list[tuple[list[int], list[Tensor]]] = []
        for index in sorted(starts, key=lambda index: (len(starts[index]), index)):
            if not plan or (len(plan[-1][0]) + 1) * len(starts[index]) > WINDOWS_A_BATCH:
                plan.append(([], []))
            plan[-1][0].append(index)
            plan[-1][1].append(starts[index])
        return plan

    def batch(self, index: Tensor, starts: Tensor, window_mask: Tensor, drawn: Draw | None) -> Batch:
        """Gather, normalise and, in training, change windows.

        Args:
            index: (B,) seizures of the store.
            starts: (B, W) first frames.
            window_mask: (B, W) bool.
            drawn: the changes; None for scoring.

        Returns:
            Where the store's tensors are.
        """
        weight, device = self.weights[index], self.store.labels.device
        index, starts, window_mask = index.to(device), starts.to(device), window_mask.to(device)
        keypoints, keypoints_mask = self._keypoints(index, starts, drawn)
        appearance, appearance_mask = self._appearance(index, starts, drawn)
        return Batch(
            keypoints,
            keypoints_mask,
            appearance,
            appearance_mask,
            None if self.store.condition is None else self.store.condition[index],
            window_mask,
            self.store.labels[index],
            weight.to(device),
            index,
        )

    def _keypoints(self, index: Tensor, starts: Tensor, drawn: Draw | None) -> tuple[Tensor | None, Tensor | None]:
        """(B, W, C, T, V) and (B, W, T) of the windows that start at (B, W) frames."""
        store, training = self.store, self.training
        if store.keypoints is None or store.confidence is None or store.offsets is None or store.skeleton is None:
            return None, None
        windows, inputs, skeleton = training.windows, training.inputs, self.skeleton
        speed = drawn.speed if drawn is not None and training.augmentation.speed > 0 else None
        clock = _Clock.of(index, starts, speed, frames=windows.frames, step=windows.step, offsets=store.offsets)
        keypoints, confidence = clock.keypoints(store.keypoints, store.confidence)
        if inputs.without:
            kept = torch.tensor([name not in inputs.without for name in skeleton.joints], device=keypoints.device)
            keypoints, confidence = keypoints * kept.unsqueeze(-1), confidence * kept
        root = None if store.root is None else clock.read(store.root)
        keypoints, path = normalise(keypoints, confidence > 0, root, skeleton)
        if inputs.dimensions == 2:
            keypoints, path = (without_depth(points, store.skeleton) for points in (keypoints, path))
        if inputs.proportions == "standard":
            keypoints = standard_proportions(keypoints, confidence > 0, skeleton)
        if inputs.facing:
            keypoints, path = face_camera(keypoints, path, confidence > 0, skeleton)
        if inputs.side:
            chosen = left_moves_more(keypoints, confidence > 0, skeleton)
            keypoints, confidence, path = flip_where(chosen, keypoints, confidence, path, skeleton)
        if drawn is not None:
            keypoints, confidence, path = augment_keypoints(
                keypoints, confidence, path, drawn, settings=training.augmentation, skeleton=skeleton
            )
        fps = store.fps / windows.step
        channels = keypoint_channels(keypoints, confidence, path, clock.real, inputs=inputs, skeleton=skeleton, fps=fps)
        return channels, clock.real

    def _appearance(self, index: Tensor, starts: Tensor, drawn: Draw | None) -> tuple[Tensor | None, Tensor | None]:
        """(B, W, D, T') and (B, W, T') over the same seconds as the keypoints.

        The features keep their own rate, unless it is above the one at which the network sees keypoints.
        """
        store, training = self.store, self.training
        if store.appearance is None or store.appearance_offsets is None or store.appearance_fps is None:
            return None, None
        windows = training.windows
        ratio = store.appearance_fps / store.fps
        step = max(1, round(windows.step * ratio))
        frames = max(1, round(windows.frames * windows.step * ratio / step))
        speed = drawn.speed if drawn is not None and training.augmentation.speed > 0 else None
        first = (starts * ratio).round().long()
        clock = _Clock.of(index, first, speed, frames=frames, step=step, offsets=store.appearance_offsets)
        appearance = clock.read(store.appearance) * clock.real.unsqueeze(-1)
        if drawn is not None:
            appearance = augment_appearance(appearance, drawn, training.augmentation)
        return appearance.transpose(-1, -2), clock.real


class _Clock(NamedTuple):
    """Which stored frames a batch's windows read. What lies past a seizure's end reads its last frame and is not real.

    Attributes:
        now: (B, W, T) rows of the stored tensor.
        after: the row that follows each, None without interpolation.
        share: (B, W, T) how far between the two, None likewise.
        real: (B, W, T) bool.
    """

    now: Tensor
    after: Tensor | None
    share: Tensor | None
    real: Tensor

    @classmethod
    def of(
        cls, index: Tensor, starts: Tensor, speed: Tensor | None, *, frames: int, step: int, offsets: Tensor
    ) -> _Clock:
        """The rows of windows of `frames` that start at (B, W) frames of seizures (B,), at (B, W) speeds.

        Where all windows end in padding, the batch is shorter.
        """
        first = offsets[index][:, None, None]
        last = (offsets[index + 1] - offsets[index])[:, None, None] - 1
        slowest = step if speed is None else step * float(speed.min())
        frames = min(frames, int((last.squeeze(-1) - starts).max() / slowest) + 1)
        ticks = torch.arange(frames, device=starts.device) * step
        if speed is None:
            position = starts.unsqueeze(-1) + ticks
            return cls(first + position.minimum(last), None, None, position <= last)
        exact = starts.unsqueeze(-1) + ticks * speed.unsqueeze(-1).to(starts.device)
        position = exact.floor().long()
        share = exact - position
        return cls(first + position.minimum(last), first + (position + 1).minimum(last), share, exact <= last)

    def read(self, stored: Tensor) -> Tensor:
        """(B, W, T, …) float32 of a stored (ΣT, …)."""
        now = stored.index_select(0, self.now.flatten()).view(*self.now.shape, *stored.shape[1:]).float()
        if self.after is None or self.share is None:
            return now
        after = stored.index_select(0, self.after.flatten()).view(now.shape).float()
        return torch.lerp(now, after, self.share.view(*self.share.shape, *(1,) * (stored.ndim - 1)))

    def keypoints(self, stored: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints (B, W, T, V, C) and confidence (B, W, T, V); both 0 in padding and where a joint is missing.

        Between two frames of which one misses the joint, the other's position is taken.
        """
        seen = self.read(confidence) * self.real.unsqueeze(-1)
        points = self.read(stored)
        if self.share is not None:
            share = self.read((confidence > 0).float())
            points = points / share.unsqueeze(-1).clamp(min=1e-6)
        return points * (seen > 0).unsqueeze(-1), seen
