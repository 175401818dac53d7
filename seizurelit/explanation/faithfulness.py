"""Whether an attribution can be believed: deletion and insertion curves against random orders, and randomised networks.

A map that names what the network looks at must hurt its score more, when its first joints and times are taken away, than a random
choice of as many (Samek et al., 2017; Petsiuk et al., 2018), and must not survive the network's weights (Adebayo et al., 2018).
Axes: N windows, C channels, T frames, V joints, S bins of time, F fractions.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor, nn

from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.evaluation.statistics.intervals import (
    FEWEST_SUBJECTS,
    LEVEL,
    RESAMPLES,
    SAME,
    Interval,
    bca,
    left_out,
    resamples_of,
)
from seizurelit.explanation.attribution import (
    Attribution,
    attribute,
    baseline_of,
    cells_of,
    told_channels,
)
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


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """The mean over subjects of the means of their seizures' curves, with a pointwise band.

    Attributes:
        mean: (F,).
        low: (F,) of 95% of resamples of the subjects; NaN for too few of them.
        high: (F,) likewise.
    """

    mean: Floats
    low: Floats
    high: Floats


def mean_curve(values: Sequence[Floats], subjects: Sequence[str], *, resamples: int = RESAMPLES) -> MeanCurve:
    """The mean of (F,) curves over subjects.

    Args:
        values: one a seizure.
        subjects: whose each is.
        resamples: of the subjects, for the band, which takes the networks as given.
    """
    names = sorted(set(subjects))
    owned = [[one for one, owner in zip(values, subjects, strict=True) if owner == name] for name in names]
    means = np.stack([np.mean(own, axis=0) for own in owned])
    mean = np.asarray(means.mean(axis=0), dtype=float)
    if len(names) < FEWEST_SUBJECTS:
        return MeanCurve(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    draws = resamples_of(len(names), resamples)
    low, high = np.quantile(
        draws @ means / draws.sum(axis=1, keepdims=True), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0
    )
    return MeanCurve(mean, low, high)


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
    told = network.told(batch)
    found = []
    for place, attribution in enumerate(attributions):
        kept = batch.window_mask[place]
        windows, real = x[place][kept], mask[place][kept]
        beside = None if told is None else told.view(*batch.window_mask.shape, -1)[place][kept]
        cells = cells_of(data, batch, place)  # (N, T) bins
        order = np.argsort(-attribution.values, axis=None, kind="stable")
        generator = np.random.default_rng([seed, place, order.size])
        orders = [order, *(generator.permutation(order.size) for _ in range(ORDERS))]
        runs = [
            _follow(
                network,
                data,
                windows,
                real,
                told=beside,
                cells=cells,
                shape=attribution.values.shape,
                order=one,
                target=target,
            )
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
    told: Tensor | None,
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
        chosen = _as_input(chosen, windows, told_channels(network, data))
        for keep, scores in ((~chosen, deleted), (chosen, inserted)):
            given = (torch.where(keep, windows, baseline), real)
            with torch.no_grad():
                logits = network.network(*given, *(() if told is None else (told,))).mean(0)
            scores.append(float(torch.softmax(logits, -1)[target]))
    return np.array(deleted), np.array(inserted)


def _as_input(chosen: Tensor, windows: Tensor, told: int) -> Tensor:
    """(N, T, V) cells as a mask of the network's input; what it is told (the last channels) goes with any of a frame's joints."""
    if windows.ndim == 4:  # (N, C, T, V)
        return chosen.unsqueeze(1).expand_as(windows)
    if chosen.shape[-1] == 1:  # features of the whole crop
        return chosen.transpose(1, 2).expand_as(windows)
    own = chosen.transpose(1, 2).repeat_interleave((windows.shape[1] - told) // chosen.shape[-1], dim=1)
    beside = chosen.any(-1).unsqueeze(1).expand(-1, told, -1)
    return torch.cat([own, beside], dim=1)


_FEWER_STEPS = 8  # of the randomised networks' maps, which are compared by rank alone

STAGES = ("classifier", "upper half", "all")
"""Of a cascading randomisation, from the output downwards."""
RANDOM, OTHERS = "two untrained networks", "other subjects' seizures"
"""What a likeness is held against: that of the maps of two networks neither of which was trained, of one seizure; and that of the
trained networks' maps of two seizures. What such maps share comes from the input and the architecture."""
DRAWS = 3
"""Untrained networks a fold. One alone, the same for all, turns the sign over in all seizures alike, or in none."""
SURVIVES = 0.5
"""Likeness from which on a map is said to survive its network's weights; our choice, as the authors name none."""


MOST_OTHERS = 40
"""Seizures that one is compared with; of more every n-th."""


class Alike(NamedTuple):
    """How alike two maps are in the ranks of their values (Spearman), as the authors give it with signs and without.

    Attributes:
        signed: of values with their signs, taken positive: an untrained classifier may turn all signs over, and a map that is
            turned over is no other map. NaN where a map is flat.
        strength: of the sizes of the values, whatever their signs.
    """

    signed: float
    strength: float


def alike(one: Floats, other: Floats) -> Alike:
    """Compare two maps (S, V)."""

    def rho(a: Floats, b: Floats) -> float:
        return math.nan if a.std() == 0 or b.std() == 0 else float(stats.spearmanr(a.ravel(), b.ravel())[0])

    return Alike(abs(rho(one, other)), rho(np.abs(one), np.abs(other)))


def mean_alike(found: Sequence[Alike]) -> Alike:
    """The mean of several, without those that are NaN."""
    parts = [[value for value in values if not math.isnan(value)] for values in zip(*found, strict=True)]
    signed, strength = (float(np.mean(values)) if values else math.nan for values in parts or ([], []))
    return Alike(signed, strength)


def destroyed(signed: Mean, strength: Mean) -> bool | None:
    """Whether a network's weights decide its maps: the likeness to those of untrained ones is below `SURVIVES`, interval and all.

    False where it is above, interval and all: a map that is the same for any weights, such as the size of the input, has a
    likeness of 1. None where the interval reaches across, or there is none.
    """
    lows, highs = zip(*map(_ends, (signed, strength)), strict=True)
    if any(low >= SURVIVES for low in lows):
        return False
    return True if all(high < SURVIVES for high in highs) else None


def _ends(mean: Mean) -> tuple[float, float]:
    """Of the interval; the value itself where all resamples have it."""
    if mean.interval.reason == SAME:
        return mean.value, mean.value
    return mean.interval.low, mean.interval.high


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
    fresh: Sequence[WindowNetwork],
    data: FoldDataModule,
    batch: Batch,
    *,
    attributions: Sequence[Attribution],
    target: int,
    maps: Callable[..., list[Attribution]] = attribute,
) -> list[dict[str, Alike]]:
    """How alike each map is to those of networks whose weights were taken away.

    Args:
        network: trained.
        fresh: untrained networks of the same architecture, two or more.
        data: that the batch is of.
        batch: windows of B seizures.
        attributions: the trained network's maps.
        target: the class that they are of.
        maps: how they were made; called as `attribute`.

    Returns:
        A seizure: each of `STAGES` → the mean over the untrained networks; `RANDOM` → the mean over pairs of them.
    """
    found: list[dict[str, Alike]] = [{} for _ in attributions]
    untrained: list[list[Attribution]] = []
    for stage in STAGES:
        others = [maps([randomised(network, one, stage)], data, batch, target, steps=_FEWER_STEPS) for one in fresh]
        for place, own in enumerate(attributions):
            found[place][stage] = mean_alike([alike(own.values, other[place].values) for other in others])
        if stage == "all":
            untrained = others
    for place in range(len(attributions)):
        pairs = itertools.combinations([one[place].values for one in untrained], 2)
        found[place][RANDOM] = mean_alike([alike(one, other) for one, other in pairs])
    return found


def between(values: Sequence[Floats], subjects: Sequence[str], classes: Sequence[str]) -> list[Alike]:
    """How alike each seizure's map is to those of other subjects' seizures that were named the same, stretched to its length.

    Args:
        values: (S, V) of each.
        subjects: whose each is.
        classes: what each is of.

    Returns:
        For each the mean over the others; NaN without any.
    """
    found = []
    for own, subject, named in zip(values, subjects, classes, strict=True):
        others = [
            other
            for other, owner, kind in zip(values, subjects, classes, strict=True)
            if owner != subject and kind == named
        ]
        others = others[:: -(-len(others) // MOST_OTHERS) or 1]
        found.append(mean_alike([alike(own, stretched(other, len(own))) for other in others]))
    return found


def stretched(values: Floats, bins: int) -> Floats:
    """(bins, V) of a map (S, V) that lasts as long."""
    places = np.linspace(0, len(values) - 1, bins)
    return np.stack([np.interp(places, np.arange(len(values)), column) for column in values.T], axis=1)


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
