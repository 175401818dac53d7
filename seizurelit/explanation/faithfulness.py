"""Whether an attribution can be believed: deletion and insertion curves against random orders, and randomised networks.

A map that names what the network looks at must hurt its score more, when its first joints and times are taken away, than a random
choice of as many (Samek et al., 2017; Petsiuk et al., 2018), and must not survive the network's weights (Adebayo et al., 2018).
Axes: N windows, C channels, T frames, V joints, S bins of time, F fractions.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor, nn

from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.evaluation.statistics.intervals import RESAMPLES, Interval, bca, left_out, resamples_of
from seizurelit.explanation.attribution import Attribution, attribute, baseline_of, cells_of
from seizurelit.models.agcn import Agcn
from seizurelit.training.networks import WindowNetwork

Floats = npt.NDArray[np.float64]

FRACTIONS = tuple(step / 10 for step in range(11))
"""Shares of the joints and times that are taken away or put in."""
ORDERS = 4
"""Random orders that the map's own is held against, for each seizure."""


@dataclass(frozen=True, eq=False)
class Curves:
    """The score of the class that a network named, as a seizure's joints and times go and come.

    Attributes:
        deletion: (F,) first what the map names first.
        insertion: (F,) likewise, from nothing.
        random_deletion: (F,) the mean over random orders.
        random_insertion: (F,) likewise.
    """

    deletion: Floats
    insertion: Floats
    random_deletion: Floats
    random_insertion: Floats

    @property
    def deletion_gain(self) -> float:
        """How much lower the score is over the fractions than under random deletion; above 0 is faithful."""
        return float(np.trapezoid(self.random_deletion - self.deletion, FRACTIONS))

    @property
    def insertion_gain(self) -> float:
        """How much higher than under random insertion; above 0 is faithful."""
        return float(np.trapezoid(self.insertion - self.random_insertion, FRACTIONS))


@dataclass(frozen=True)
class Mean:
    """A mean over subjects, each with the mean of its seizures.

    Attributes:
        value: NaN without any.
        interval: 95% BCa over subjects.
        subjects: how many.
        seizures: how many.
    """

    value: float
    interval: Interval
    subjects: int
    seizures: int


def curves(
    network: WindowNetwork,
    data: FoldDataModule,
    batch: Batch,
    attributions: Sequence[Attribution],
    target: int,
    *,
    seed: int = 0,
) -> list[Curves]:
    """Take away and put in what the maps name, seizure by seizure.

    Args:
        network: in evaluation mode.
        data: that the batch is of.
        batch: windows of B seizures.
        attributions: one for each.
        target: the class whose score is followed.
        seed: of the random orders.
    """
    x, mask = network.read(batch)
    found = []
    for place, attribution in enumerate(attributions):
        windows, real = x[place], mask[place]
        kept = batch.window_mask[place]
        windows, real = windows[kept], real[kept]
        cells = cells_of(data, batch, place)  # (N, T) bins
        order = np.argsort(-attribution.values, axis=None, kind="stable")
        generator = np.random.default_rng([seed, place, order.size])
        orders = [order, *(generator.permutation(order.size) for _ in range(ORDERS))]
        runs = [
            _follow(network, data, windows, real, cells=cells, shape=attribution.values.shape, order=one, target=target)
            for one in orders
        ]
        deletion, insertion = (np.stack([run[kind] for run in runs]) for kind in (0, 1))
        found.append(Curves(deletion[0], insertion[0], deletion[1:].mean(axis=0), insertion[1:].mean(axis=0)))
    return found


def _follow(
    network: WindowNetwork,
    data: FoldDataModule,
    windows: Tensor,
    real: Tensor,
    *,
    cells: npt.NDArray[np.intp],
    shape: tuple[int, int],
    order: npt.NDArray[np.intp],
    target: int,
) -> tuple[Floats, Floats]:
    """(F,) scores as the first share of an order is deleted, and as it alone is there."""
    baseline = baseline_of(windows, real)
    deleted: list[float] = []
    inserted: list[float] = []
    for fraction in FRACTIONS:
        first = np.zeros(order.size, dtype=bool)
        first[order[: round(fraction * order.size)]] = True
        chosen = torch.from_numpy(first.reshape(shape)[cells])  # (N, T, V)
        chosen = _as_input(chosen, windows, data)
        for keep, scores in ((~chosen, deleted), (chosen, inserted)):
            with torch.no_grad():
                logits = network.network(torch.where(keep, windows, baseline), real).mean(0)
            scores.append(float(torch.softmax(logits, -1)[target]))
    return np.array(deleted), np.array(inserted)


def _as_input(chosen: Tensor, windows: Tensor, data: FoldDataModule) -> Tensor:
    """(N, T, V) cells as a mask of the network's input; what it is told goes with any of a frame's joints."""
    if windows.ndim == 4:  # (N, C, T, V)
        return chosen.unsqueeze(1).expand_as(windows)
    if chosen.shape[-1] == 1:  # features of the whole crop
        return chosen.transpose(1, 2).expand_as(windows)
    own = chosen.transpose(1, 2).repeat_interleave((windows.shape[1] - data.conditions) // chosen.shape[-1], dim=1)
    told = chosen.any(-1).unsqueeze(1).expand(-1, data.conditions, -1)
    return torch.cat([own, told], dim=1)


_FEWER_STEPS = 8  # of the randomised networks' maps, which are compared by rank alone

STAGES = ("classifier", "upper half", "all")
"""Of a cascading randomisation, from the output downwards."""


def randomised(network: WindowNetwork, fresh: WindowNetwork, stage: str) -> WindowNetwork:
    """A copy of a network whose upper part has the weights of one that was never trained.

    Args:
        network: trained.
        fresh: of the same architecture, untrained.
        stage: of `STAGES`.
    """
    mixed = copy.deepcopy(network)
    ours, theirs = mixed.network, fresh.network
    blocks = "blocks" if isinstance(ours, Agcn) else "levels"
    pairs: list[tuple[nn.Module, nn.Module]] = [(_part(ours, "classifier"), _part(theirs, "classifier"))]
    stack = list(zip(_part(ours, blocks).children(), _part(theirs, blocks).children(), strict=True))
    if stage == "upper half":
        pairs += stack[len(stack) // 2 :]
    elif stage == "all":
        pairs = [(ours, theirs)]
    for own, other in pairs:
        own.load_state_dict(other.state_dict())
    return mixed


def _part(network: nn.Module, name: str) -> nn.Module:
    part: nn.Module = getattr(network, name)
    return part


def survival(
    network: WindowNetwork,
    fresh: WindowNetwork,
    data: FoldDataModule,
    batch: Batch,
    *,
    attributions: Sequence[Attribution],
    target: int,
) -> list[dict[str, float]]:
    """Spearman's correlation of each map with that of the randomised network, stage → ρ, seizure by seizure; NaN for a flat map."""
    found: list[dict[str, float]] = [{} for _ in attributions]
    for stage in STAGES:
        others = attribute([randomised(network, fresh, stage)], data, batch, target, steps=_FEWER_STEPS)
        for place, (one, other) in enumerate(zip(attributions, others, strict=True)):
            flat = one.values.std() == 0 or other.values.std() == 0
            found[place][stage] = (
                math.nan if flat else float(stats.spearmanr(one.values.ravel(), other.values.ravel())[0])
            )
    return found


def mean_over_subjects(values: Sequence[float], subjects: Sequence[str], *, resamples: int = RESAMPLES) -> Mean:
    """The mean over subjects of the means of their seizures, with its BCa interval over subjects.

    Args:
        values: one a seizure; NaN is left out.
        subjects: whose each is.
        resamples: of the subjects.
    """
    kept = [(subject, value) for subject, value in zip(subjects, values, strict=True) if not math.isnan(value)]
    names = sorted({subject for subject, _ in kept})
    if not names:
        return Mean(math.nan, Interval(math.nan, math.nan, 0, 0, "no seizure"), 0, 0)
    means = np.array([np.mean([value for owner, value in kept if owner == name]) for name in names], dtype=float)

    def weighted(draws: Floats) -> Floats:
        total = draws.sum(axis=1)
        return np.asarray(
            np.divide(draws @ means, total, out=np.full(len(draws), np.nan), where=total > 0), dtype=float
        )

    count = len(names)
    interval = bca(float(means.mean()), weighted(resamples_of(count, resamples)), weighted(left_out(count)))
    return Mean(float(means.mean()), interval, count, len(kept))
