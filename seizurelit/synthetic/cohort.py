"""Who is in the stand-in cohort: the paper's composition, dealt out at random by the seed.

The counts are those of the paper (section 3, Results); which subject has which of them is drawn, every column
independently of the others, so that neither sex, age nor lobe tells anything about a sign. The numbers of seizures
are so too, except that they are dealt anew where a sign would be in far more or far fewer seizures than the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.seeds import COMPOSITION, LABELS, generator

T = TypeVar("T")

SIGNS = (((1, 0), 7), ((1, 1), 2), ((0, 1), 7), ((0, 0), 3))
"""(dystonia, emotion) and the number of subjects: 9 with dystonia, 9 with emotion, 2 with both (paper), so 3 with
neither."""

SEXES = (("F", 7), ("M", 12))
LOBES = (
    ("frontal", 9),
    ("temporo-frontal", 2),
    ("temporal", 1),
    ("parietal", 3),
    ("operculo-insular", 3),
    ("multi-focal", 1),
)
AGES = (1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 11, 13, 16, 20, 27, 35, 44)
"""Ages at onset in years, sorted: 1–44 with median 7 as in the paper; the ages between are ours."""

COUNTS = ((1, 10), (2, 5), (3, 1), (4, 1), (5, 1), (6, 1))
"""Seizures a subject and number of subjects: 38 in 19, 1–6, mean 2, median 1 (paper); the split between is ours."""

POSITIVE = (0.42, 0.66)
"""Share of the seizures that have a sign: where F1 scores and accuracies of the paper's Table 1 agree (METHOD, 9)."""


@dataclass(frozen=True)
class Subject:
    """One made-up patient.

    Attributes:
        index: position in the cohort, from 0; the key of the subject's child seed.
        name: such as sub-01.
        sex: F or M.
        age_at_onset: years.
        ez_lobe: lobe of the epileptogenic zone.
        dystonia: 1 if the subject's seizures have it.
        emotion: 1 if the subject's seizures have it.
        seizures: how many.
    """

    index: int
    name: str
    sex: str
    age_at_onset: int
    ez_lobe: str
    dystonia: int
    emotion: int
    seizures: int


@dataclass(frozen=True)
class StandInSeizure:
    """One made-up seizure and what the rater writes down for it.

    Attributes:
        subject: whose it is.
        index: among the subject's seizures, from 0; with the subject's index the key of its child seeds.
        name: such as sub-01_seizure-1; unique.
        dystonia: the label, after label noise.
        emotion: the label, after label noise.
    """

    subject: Subject
    index: int
    name: str
    dystonia: int
    emotion: int


def quotas(shares: Sequence[int], total: int) -> list[int]:
    """Whole numbers in proportion to the shares that add up to the total (largest remainder, ties to the first)."""
    exact = [share * total / sum(shares) for share in shares]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _dealt(values: Sequence[tuple[T, int]], total: int, rng: np.random.Generator) -> list[T]:
    counts = quotas([share for _, share in values], total)
    hand = [value for (value, _), count in zip(values, counts, strict=True) for _ in range(count)]
    return [hand[i] for i in rng.permutation(total)]


def _deal_counts(signs: Sequence[tuple[int, int]], rng: np.random.Generator) -> list[int]:
    """Seizures a subject; dealt anew until each sign's share of the seizures is one that the paper's Table 1 allows."""
    low, high = POSITIVE
    best, least = [1] * len(signs), math.inf
    for _ in range(200):
        counts = _dealt(COUNTS, len(signs), rng)
        shares = np.asarray(counts) @ np.asarray(signs) / sum(counts)
        excess = float(np.maximum(low - shares, shares - high).max())
        if excess < least:
            best, least = counts, excess
        if least <= 0:
            break
    return best


def subjects(options: StandIn) -> tuple[Subject, ...]:
    """The subjects, in order of their names; with 19 of them the counts are exactly the paper's."""
    n = options.subjects
    signs, sexes, lobes, counts, ages = (generator(options.seed, COMPOSITION, part) for part in range(5))
    dealt_signs = _dealt(SIGNS, n, signs)
    dealt_sexes = _dealt(SEXES, n, sexes)
    dealt_lobes = _dealt(LOBES, n, lobes)
    each = options.seizures_per_subject
    dealt_counts = _deal_counts(dealt_signs, counts) if each is None else [each] * n
    dealt_ages = ages.permutation(np.rint(np.quantile(AGES, np.linspace(0, 1, n))).astype(int))
    width = max(2, len(str(n)))
    return tuple(
        Subject(
            index=i,
            name=f"sub-{i + 1:0{width}d}",
            sex=dealt_sexes[i],
            age_at_onset=int(dealt_ages[i]),
            ez_lobe=dealt_lobes[i],
            dystonia=dealt_signs[i][0],
            emotion=dealt_signs[i][1],
            seizures=dealt_counts[i],
        )
        for i in range(n)
    )


def seizures(options: StandIn) -> tuple[StandInSeizure, ...]:
    """Every seizure of every subject, labelled as its subject is, but for the label noise."""
    found = []
    for subject in subjects(options):
        for k in range(subject.seizures):
            turned = generator(options.seed, LABELS, subject.index, k).random(2) < options.label_noise
            found.append(
                StandInSeizure(
                    subject=subject,
                    index=k,
                    name=f"{subject.name}_seizure-{k + 1}",
                    dystonia=subject.dystonia ^ int(turned[0]),
                    emotion=subject.emotion ^ int(turned[1]),
                )
            )
    return tuple(found)
