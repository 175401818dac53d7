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

from seizurelit.data.fold import Batch, Batches, FoldDataModule


class StackedBatch(NamedTuple):
    """A batch of R folds.

    Attributes:
        rows: the seizures (R·B) of all folds, fold by fold; weight 0 and masks false where a fold has fewer.
        counts: seizures of each fold; 0 where it has no step.
    """

    rows: Batch
    counts: tuple[int, ...]


class StackedFolds(pl.LightningDataModule):
    """Training batches of R folds.

    Args:
        folds: each with its own seed.
    """

    def __init__(self, folds: Sequence[FoldDataModule]) -> None:
        super().__init__()
        self.folds = tuple(folds)

    @property
    def steps_per_epoch(self) -> int:
        """Those of the fold that has most."""
        return max(fold.steps_per_epoch for fold in self.folds)

    def training_batches(self, epoch: int) -> Iterator[StackedBatch]:
        """The batches of an epoch.

        Args:
            epoch: from 0.
        """
        for parts in zip_longest(*(fold.training_batches(epoch) for fold in self.folds)):
            yield side_by_side(parts)

    def train_dataloader(self) -> Batches:
        """Ready batches of the Trainer's present epoch."""

        def batches() -> Iterator[StackedBatch]:
            return self.training_batches(self.trainer.current_epoch if self.trainer is not None else 0)

        return Batches(self.steps_per_epoch, batches)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """As `FoldDataModule` does."""
        return self.folds[0].transfer_batch_to_device(batch, device, dataloader_idx)


def side_by_side(parts: Sequence[Batch | None]) -> StackedBatch:
    """One batch of several.

    Args:
        parts: a batch of each fold; None where it has no step.
    """
    counts = tuple(0 if part is None else len(part.label) for part in parts)
    largest = max(counts)

    def joined(name: str, order: tuple[int, ...] | None = None) -> Tensor | None:
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
        return rows if order is None else rows.permute(*torch.tensor(order).argsort().tolist())

    fields: dict[str, Any] = {name: joined(name) for name in Batch._fields if name != "keypoints"}
    keypoints = joined("keypoints", (0, 1, 3, 4, 2))  # (B, W, T, V, C)
    return StackedBatch(Batch(keypoints=keypoints, **fields), counts)
