"""The batches of several folds side by side, for networks that are trained stacked (`seizurelit.models.stacked`).

Each fold has the batches that it would have alone, in the same order; they stand one after the other, filled up to the size of the
largest with seizures all of whose frames are padding. A fold that has fewer batches in an epoch than the others has none in the
last steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from seizurelit.data.augment import Numbers
from seizurelit.data.fold import Batch, Batches, FoldDataModule


class StackedBatch(NamedTuple):
    """A batch of R folds.

    Attributes:
        rows: the seizures (R·B) of all folds, fold by fold; where a fold has fewer, weight 0 and masks false.
        counts: seizures of each fold; 0 where it has no step.
    """

    rows: Batch
    counts: tuple[int, ...]


_CHANNELS_LAST = (0, 1, 3, 4, 2)
"""From (B, W, C, T, V) to what it is in memory, (B, W, T, V, C)."""


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


class StackedFolds(pl.LightningDataModule):
    """Training batches of R folds, gathered and changed at once where the folds are of one store.

    Args:
        folds: each with its own seed.
    """

    def __init__(self, folds: Sequence[FoldDataModule]) -> None:
        super().__init__()
        self.folds = tuple(folds)
        self.at_once = folds[0].training.augmentation.noise == 0 and len({id(fold.store) for fold in folds}) == 1
        if self.at_once:
            self.weights = torch.stack([fold.weights for fold in folds])  # (R, S)

    def setup(self, stage: str) -> None:
        """Hold the tensors, which the folds share, on the Trainer's device, and gather and change windows there."""
        del stage
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        stores = {id(fold.store): fold.store for fold in self.folds}
        moved = {key: store.to(device) for key, store in stores.items()}
        for fold in self.folds:
            fold.store = moved[id(fold.store)]

    @property
    def steps_per_epoch(self) -> int:
        """Those of the fold that has most."""
        return max(fold.steps_per_epoch for fold in self.folds)

    def training_batches(self, epoch: int) -> Iterator[StackedBatch]:
        """The batches of an epoch.

        Args:
            epoch: from 0.
        """
        if not self.at_once:
            for parts in zip_longest(*(fold.training_batches(epoch) for fold in self.folds)):
                yield side_by_side(parts)
            return
        steps = zip_longest(*(fold.numbers(epoch) for fold in self.folds))
        for several in self.folds[0].passes(steps, folds=len(self.folds)):
            yield from self._at_once(several)

    def _at_once(self, steps: Sequence[Sequence[Numbers | None]]) -> Iterator[StackedBatch]:
        """Gather and change the windows of all folds and of several steps together, which takes a few times as long as for one."""
        R = len(self.folds)
        counts = [tuple(0 if one is None else len(one.seizure) for one in numbers) for numbers in steps]
        every = Numbers.joined([one for numbers in steps for one in numbers if one is not None])
        made = self.folds[0].training_batch(every)
        fold = torch.arange(R).repeat(len(steps)).repeat_interleave(torch.tensor(counts).flatten())
        made = made._replace(weight=self.weights[fold, every.seizure].to(made.weight.device))
        largest = [max(of_step) for of_step in counts]
        real = torch.cat(
            [
                (torch.arange(most) < torch.tensor(of_step).unsqueeze(1)).flatten()
                for most, of_step in zip(largest, counts, strict=True)
            ]
        )
        if not real.all():
            made = _filled_up(made, real.to(made.label.device))
        rows = made.split([most * R for most in largest])
        yield from map(StackedBatch, rows, counts)

    def train_dataloader(self) -> Batches:
        """Ready batches of the Trainer's present epoch."""

        def batches() -> Iterator[StackedBatch]:
            return self.training_batches(self.trainer.current_epoch if self.trainer is not None else 0)

        return Batches(self.steps_per_epoch, batches)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """As `FoldDataModule` does."""
        return self.folds[0].transfer_batch_to_device(batch, device, dataloader_idx)


def _filled_up(made: Batch, real: Tensor) -> Batch:
    """The seizures of a batch at the places (P,) that are real; what fills up the others is a seizure of which nothing is."""
    place = (real.cumsum(0) - 1).clamp(min=0)

    def spread(tensor: Tensor | None, order: tuple[int, ...] | None = None) -> Tensor | None:
        if tensor is None:
            return None
        if order is None:
            return tensor.index_select(0, place)
        return tensor.permute(order).index_select(0, place).permute(_inverse(order))

    apart = ("keypoints", "whole")
    fields: dict[str, Any] = {name: spread(getattr(made, name)) for name in Batch._fields if name not in apart}
    for name in ("keypoints_mask", "appearance_mask", "window_mask"):
        if fields.get(name) is not None:
            fields[name] &= real.view(-1, *(1,) * (fields[name].ndim - 1))
    fields["weight"] *= real
    return Batch(spread(made.keypoints, _CHANNELS_LAST), **fields)


def side_by_side(parts: Sequence[Batch | None]) -> StackedBatch:
    """One batch of several.

    Args:
        parts: a batch of each fold; None where it has no step.
    """
    counts = tuple(0 if part is None else len(part.label) for part in parts)
    largest = max(counts)

    def in_one(name: str, order: tuple[int, ...] | None = None) -> Tensor | None:
        """(R·B, …) of a batch's tensors (B, …), with their axes in another order in memory if asked."""
        tensors = [None if part is None else getattr(part, name) for part in parts]
        found = [tensor if order is None else tensor.permute(order) for tensor in tensors if tensor is not None]
        if not found:
            return None
        if len(tensors) == len(found) and all(tensor.shape == found[0].shape for tensor in found):
            whole = torch.stack(found)
        else:
            shape = [largest, *(max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in found), strict=True))]
            whole = found[0].new_zeros(len(parts), *shape)
            places = [index for index, tensor in enumerate(tensors) if tensor is not None]
            for place, tensor in zip(places, found, strict=True):
                whole[place][tuple(slice(size) for size in tensor.shape)] = tensor
        rows = whole.flatten(0, 1)
        return rows if order is None else rows.permute(_inverse(order))

    apart = ("keypoints", "whole")
    fields: dict[str, Any] = {name: in_one(name) for name in Batch._fields if name not in apart}
    return StackedBatch(Batch(in_one("keypoints", _CHANNELS_LAST), **fields), counts)
