"""What the statistics of a row are made of: its seizures and their subjects, with the predictions of every seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from seizurelit.evaluation.scores import NOT_SCORED, Decisions, decisions_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int_]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cases:
    """One row of the table: S seizures (or patients) of n subjects, predicted with R seeds.

    Attributes:
        classes: K names; of two, the second is the positive one.
        seizures: S names; the subjects' own where a case is a patient.
        subjects: n names, each with a case of positive weight in at least one seed.
        owner: (S,) indices of subjects.
        labels: (S,) indices of classes.
        predictions: (R, S) indices of classes, or NOT_SCORED.
        probabilities: (R, S, K); NaN where not scored.
        weights: (R, S); 0 where a seed has not done the case's fold, so that it does not count there.
    """

    classes: tuple[str, ...]
    seizures: tuple[str, ...]
    subjects: tuple[str, ...]
    owner: Ints
    labels: Ints
    predictions: Ints
    probabilities: Floats
    weights: Floats

    @property
    def seeds(self) -> int:
        """R."""
        return len(self.predictions)

    def decisions(self, seed: int) -> Decisions:
        """What `scores.score` takes: the cases that count in the seed at this place, weighted if not all alike."""
        here = self.weights[seed] > 0
        weights = self.weights[seed, here]
        return Decisions(
            self.classes,
            self.labels[here],
            self.predictions[seed, here],
            self.probabilities[seed, here],
            None if bool((weights == 1.0).all()) else weights,
        )

    def only(self, which: Booleans) -> Cases:
        """The cases where (S,) `which` is true and some seed has them; subjects without a case are dropped."""
        which = which & (self.weights > 0).any(axis=0)
        kept, owner = np.unique(self.owner[which], return_inverse=True)
        return Cases(
            self.classes,
            tuple(name for name, keep in zip(self.seizures, which, strict=True) if keep),
            tuple(self.subjects[index] for index in kept),
            np.asarray(owner, dtype=int),
            self.labels[which],
            self.predictions[:, which],
            self.probabilities[:, which],
            self.weights[:, which],
        )

    def of_seeds(self, places: Sequence[int]) -> Cases:
        """The seeds at these places alone."""
        chosen = list(places)
        return dataclasses.replace(
            self,
            predictions=self.predictions[chosen],
            probabilities=self.probabilities[chosen],
            weights=self.weights[chosen],
        ).only(np.ones(len(self.labels), dtype=bool))

    def scored_only(self) -> Cases:
        """Without what counts as wrong for want of a score (METHOD.md, point 7: the secondary figure)."""
        return dataclasses.replace(self, weights=np.where(self.predictions == NOT_SCORED, 0.0, self.weights)).only(
            np.ones(len(self.labels), dtype=bool)
        )

    def weighted_by_subject(self) -> Cases:
        """Each seizure weighted by 1 / the number of its subject's seizures in the seed (METHOD.md, point 8)."""
        weights = np.zeros_like(self.weights)
        for seed, row in enumerate(self.weights > 0):
            counts = np.bincount(self.owner[row], minlength=len(self.subjects))
            weights[seed, row] = 1.0 / counts[self.owner[row]]
        return dataclasses.replace(self, weights=weights)

    def by_patient(self) -> Cases:
        """One case a subject (METHOD.md, point 8).

        Of two classes: positive if any seizure is, with the highest score; decided positive if any seizure was. Of more
        classes: the most frequent one (the first of equals), the mean score, and its highest class. A patient without
        a scored seizure is not scored.
        """
        count, width = len(self.subjects), len(self.classes)
        labels = np.zeros(count, dtype=int)
        predictions = np.full((self.seeds, count), NOT_SCORED)
        probabilities = np.full((self.seeds, count, width), np.nan)
        weights = np.zeros((self.seeds, count))
        for subject in range(count):
            own = self.owner == subject
            votes = np.bincount(self.labels[own], minlength=width)
            labels[subject] = self.labels[own].max() if width == 2 else votes.argmax()
            for seed in range(self.seeds):
                here = own & (self.weights[seed] > 0)
                weights[seed, subject] = float(here.any())
                scored = here & (self.predictions[seed] != NOT_SCORED)
                if not scored.any():
                    continue
                table = self.probabilities[seed, scored]
                if width == 2:
                    predictions[seed, subject] = self.predictions[seed, scored].max()
                    probabilities[seed, subject] = table[table[:, 1].argmax()]
                else:
                    probabilities[seed, subject] = table.mean(axis=0)
                    predictions[seed, subject] = probabilities[seed, subject].argmax()
        owner = np.arange(count)
        return Cases(self.classes, self.subjects, self.subjects, owner, labels, predictions, probabilities, weights)


def cases_of(
    frames: Sequence[pd.DataFrame],
    classes: Sequence[str],
    unscored: Sequence[Sequence[str]] = (),
    label_of: Mapping[str, str] | None = None,
    subject_of: Mapping[str, str] | None = None,
) -> Cases:
    """The cases of one row.

    Args:
        frames: the row's predictions, a frame a seed, as `read_predictions` gives them.
        classes: of the sign.
        unscored: for each seed the seizures that count as wrong although they have no score; none if empty.
        label_of: seizure → class name, needed for those.
        subject_of: seizure → subject, needed for those.
    """
    extra = list(unscored) or [()] * len(frames)
    label: dict[str, str] = {}
    subject: dict[str, str] = {}
    for frame in frames:
        label |= dict(zip(frame["seizure"], frame["label"], strict=True))
        subject |= dict(zip(frame["seizure"], frame["subject"], strict=True))
    for names in extra:
        label |= {name: (label_of or {})[name] for name in names}
        subject |= {name: (subject_of or {})[name] for name in names}
    seizures = tuple(sorted(label))
    place = {name: index for index, name in enumerate(seizures)}
    subjects = tuple(sorted(set(subject.values())))
    number = {name: index for index, name in enumerate(subjects)}
    shape = (len(frames), len(seizures))
    predictions = np.full(shape, NOT_SCORED)
    probabilities = np.full((*shape, len(classes)), np.nan)
    weights = np.zeros(shape)
    for seed, (frame, names) in enumerate(zip(frames, extra, strict=True)):
        at = [place[name] for name in frame["seizure"]]
        decisions = decisions_of(frame, classes)
        predictions[seed, at] = decisions.predictions
        probabilities[seed, at] = decisions.probabilities
        weights[seed, [*at, *(place[name] for name in names)]] = 1.0
    order = list(classes)
    return Cases(
        tuple(classes),
        seizures,
        subjects,
        np.array([number[subject[name]] for name in seizures], dtype=int),
        np.array([order.index(label[name]) for name in seizures], dtype=int),
        predictions,
        probabilities,
        weights,
    )


def pair(one: Cases, other: Cases) -> tuple[Cases, Cases]:
    """Two rows of one sign on what they have in common: the seizures that both have scored in every seed.

    Seed stands against seed at the same place; a row of one seed (a baseline's) stands against each seed of the other.

    Raises:
        ValueError: the numbers of seeds differ and neither is 1.
    """
    seeds = max(one.seeds, other.seeds)
    if {one.seeds, other.seeds} - {1, seeds}:
        msg = f"{one.seeds} and {other.seeds} seeds cannot be paired"
        raise ValueError(msg)

    def scored(cases: Cases) -> set[str]:
        there = ((cases.weights > 0) & (cases.predictions != NOT_SCORED)).all(axis=0)
        return {name for name, keep in zip(cases.seizures, there, strict=True) if keep}

    common = scored(one) & scored(other)

    def part(cases: Cases) -> Cases:
        kept = cases.only(np.array([name in common for name in cases.seizures], dtype=bool))
        times = seeds // kept.seeds
        return dataclasses.replace(
            kept,
            predictions=np.tile(kept.predictions, (times, 1)),
            probabilities=np.tile(kept.probabilities, (times, 1, 1)),
            weights=np.ones((seeds, len(kept.labels))),
        )

    return part(one), part(other)
