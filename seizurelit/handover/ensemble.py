"""The networks that score what nobody has rated yet, and what must be known of them: from a run, or from a model file.

A seizure's score is the mean over the ensemble's members of each member's softmax of its mean logit over the windows, as in a
run's table. Axes: M members, W windows, K classes.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seizurelit.cohort.plan import Fold
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import Training
from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.data.inputs import channels_in
from seizurelit.data.normalise import seen_by_networks
from seizurelit.data.store import SeizureStore
from seizurelit.errors import InputError
from seizurelit.evaluation.baselines import Fitted
from seizurelit.evaluation.statistics.calibration import Calibration
from seizurelit.handover.likeness import Reference
from seizurelit.training.losses import seizure_logits
from seizurelit.training.networks import WindowNetwork, reads

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StreamFacts:
    """What the tensors were like that a stream's networks were trained on.

    Attributes:
        fps: frames a second of the keypoints, and the clock of the windows.
        skeleton: of the keypoints; None without any.
        appearance_fps: of the appearance features; None without any.
        appearance_channels: D of them, 0 without any.
        extractors: names of what made the tensors.
        weights_digests: of the weights that made them.
    """

    fps: float
    skeleton: Skeleton | None
    appearance_fps: float | None
    appearance_channels: int
    extractors: tuple[str, ...]
    weights_digests: tuple[str, ...]


@dataclass(frozen=True)
class Sizes:
    """How large a network is: `training.networks.Sizes` from a stream's facts.

    Attributes:
        facts: of the stream.
        training: the settings.
        conditions: K of what the networks are told.
        classes: of the sign.
    """

    facts: StreamFacts
    training: Training
    conditions: int
    classes: int

    @property
    def skeleton(self) -> Skeleton:
        """Of the keypoints that the network sees; ValueError without any."""
        return seen_by_networks(self.facts.skeleton, self.training.inputs)

    @property
    def joints(self) -> int:
        """V."""
        return len(self.skeleton.joints)

    @property
    def keypoint_channels(self) -> int:
        """C of the keypoints."""
        return channels_in(self.training.inputs, self.skeleton)

    @property
    def appearance_channels(self) -> int:
        """D of the appearance features."""
        return self.facts.appearance_channels


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network.

    Attributes:
        name: seed and fold, such as seed-0/sub-03, or seed-0/all for a refit on everybody.
        network: in evaluation mode.
        training: its settings, with what was chosen for it.
        threshold: of the positive class; None for more than two classes.
        held_out: the subjects that it never saw of those that its run had; empty for a refit.
    """

    name: str
    network: WindowNetwork
    training: Training
    threshold: float | None
    held_out: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What a row scored out of fold, for a calibration: n seizures.

    Attributes:
        scores: (n, K), the mean over the seeds.
        labels: (n,).
        subjects: whose each is.
    """

    scores: Floats
    labels: npt.NDArray[np.int_]
    subjects: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RowModel:
    """All networks of a row of the table, and how their score is to be read.

    Attributes:
        sign: of the row.
        stream: of the row.
        model: agcn, tcn or agcn_kd.
        classes: names, in the order of the scores.
        members: the ensemble.
        calibration: of the score; None where none could be fitted.
        calibrated_on: "" where the calibration is of the training cohort's own out-of-fold scores; else what is said of the other
            cohort that it was fitted on.
        never_seen: whether it was checked, under the key of the training cohort's hashes, that nobody of that other cohort was
            trained on.
        conditions: values of what the networks are told, in their order.
        cross_validated: the row of the training table: scores by leaving one subject out, which are not of these very networks
            where they are refits.
        out_of_fold: what the calibration is fitted on; None in a model file.
    """

    sign: str
    stream: str
    model: str
    classes: tuple[str, ...]
    members: tuple[Member, ...]
    calibration: Calibration | None
    calibrated_on: str = ""
    never_seen: bool = False
    conditions: tuple[str, ...] = ()
    cross_validated: Mapping[str, Any] = field(default_factory=dict)
    out_of_fold: OutOfFold | None = None

    @property
    def name(self) -> str:
        """sign/stream/model."""
        return f"{self.sign}/{self.stream}/{self.model}"

    @property
    def reading(self) -> str:
        """What the score may be called: a probability only once calibrated on a cohort that is known never to have been seen."""
        return "probability" if self.calibration is not None and self.calibrated_on and self.never_seen else "score"

    @property
    def needs(self) -> tuple[str, ...]:
        """The modalities of its stream that a new video must have: its own, not its teacher's."""
        own = {name for member in self.members for name in reads(_untaught(self.model), member.training)}
        return tuple(sorted(own))

    @property
    def threshold(self) -> float | None:
        """The members' mean threshold, which an uncalibrated score is held against."""
        cuts = [member.threshold for member in self.members if member.threshold is not None]
        return float(np.mean(cuts)) if cuts and len(self.classes) == 2 else None

    def of_members(self, members: Sequence[Member]) -> RowModel:
        """The same with fewer members."""
        return dataclasses.replace(self, members=tuple(members))


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Everything that is needed to score a new seizure.

    Attributes:
        rows: of the table.
        streams: what their tensors were like.
        references: stream → what the training cohort's seizures were like, for those that are unlike them.
        stand_in: whether the training cohort was synthetic.
        origin: what is said of where the networks come from: run, preset, file, date.
        subjects: the training cohort's, by name in a run, as keyed hashes in a file.
        sources: digests of what the training tensors were made from: seizure's digest → subject; keyed in a file.
        baselines: sign → what the baselines learned of the training cohort; of what is exported.
    """

    rows: tuple[RowModel, ...]
    streams: Mapping[str, StreamFacts]
    references: Mapping[str, Reference]
    stand_in: bool
    origin: Mapping[str, Any]
    subjects: frozenset[str]
    sources: Mapping[str, str]
    baselines: Mapping[str, Fitted] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Windows:
    """The scores of a seizure's windows.

    Attributes:
        spans: (W, 2) start and end in seconds.
        scores: (W, K) mean over the members of each one's softmax.
        margins: (W, K) mean over the members of each one's logit minus that of the mean of its other classes: a seizure's logits
            are the means of its windows', so that these say which windows carry the decision.
    """

    spans: Floats
    scores: Floats
    margins: Floats


@dataclass(frozen=True, eq=False)
class SeizureScore:
    """What an ensemble says of a seizure.

    Attributes:
        members: (M, K) score of each member.
        windows: over time; those of all members.
    """

    members: Floats
    windows: Windows

    @property
    def score(self) -> Floats:
        """(K,) the ensemble's score."""
        return np.asarray(self.members.mean(axis=0), dtype=float)


def new_data(store: SeizureStore, training: Training) -> FoldDataModule:
    """The windows of all seizures of a store, none of them trained on."""
    subjects = tuple(sorted(set(store.subjects)))
    return FoldDataModule(store, Fold("new", subjects, (), ()), training, seed=0)


def score(row: RowModel, store: SeizureStore) -> dict[str, SeizureScore]:
    """Score every seizure of a store.

    Args:
        row: the ensemble.
        store: with the modalities that it needs; its labels are not looked at.

    Raises:
        InputError: the tensors are not what the networks were made for.
    """
    found: dict[str, list[Floats]] = defaultdict(list)
    windows: dict[str, dict[tuple[float, float], list[tuple[Floats, Floats]]]] = defaultdict(lambda: defaultdict(list))
    for training, members in by_settings(row.members):
        data = new_data(store, training)
        batches, spans = list(data.held_out_batches()), data.scored_spans()
        for member in members:
            for batch in batches:
                logits = window_logits(member.network, batch, row.name)
                pooled = torch.softmax(seizure_logits(logits, batch.window_mask), dim=-1).double().numpy()
                shares = torch.softmax(logits, dim=-1).double().numpy()
                margins = margin(logits).double().numpy()
                for place, index in enumerate(batch.seizure.tolist()):
                    name = data.seizure_name(index)
                    found[name].append(pooled[place])
                    for number, span in enumerate(spans[index]):
                        windows[name][span].append((shares[place, number], margins[place, number]))
    return {name: SeizureScore(np.stack(scores), _windows(windows[name])) for name, scores in found.items()}


def by_settings(members: Sequence[Member]) -> list[tuple[Training, list[Member]]]:
    """The members whose windows are the same, together."""
    groups: dict[str, tuple[Training, list[Member]]] = {}
    for member in members:
        key = repr((member.training.windows, member.training.inputs))
        groups.setdefault(key, (member.training, []))[1].append(member)
    return list(groups.values())


def margin(logits: torch.Tensor) -> torch.Tensor:
    """(…, K) each logit minus the mean of the others; for two classes their difference."""
    classes = logits.shape[-1]
    return (logits * classes - logits.sum(-1, keepdim=True)) / (classes - 1)


def window_logits(network: WindowNetwork, batch: Batch, name: str) -> torch.Tensor:
    """(B, W, K) float32.

    Raises:
        InputError: the tensors are not what the network was made for.
    """
    try:
        with torch.inference_mode():
            logits: torch.Tensor = network(batch).float()
        return logits
    except (RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        msg = f"{name}: these tensors are not what the network was trained on ({why}); extract them as its cohort was"
        raise InputError(msg) from None


def _windows(found: Mapping[tuple[float, float], list[tuple[Floats, Floats]]]) -> Windows:
    spans = sorted(found)
    return Windows(
        np.array(spans, dtype=float),
        np.stack([np.mean([share for share, _ in found[span]], axis=0) for span in spans]),
        np.stack([np.mean([part for _, part in found[span]], axis=0) for span in spans]),
    )


def _untaught(model: str) -> str:
    """A student is used without its teacher."""
    return "agcn" if model == "agcn_kd" else model
