"""How often the intervals hold the truth and the tests cry wolf, on simulated cohorts: `python -m bench.coverage`.

Simulated are scores, not networks. A subject has a number of seizures as in the paper's cohort, one label, and a tendency of its
own that all its scores share; 19 subjects are drawn from a population whose true scores are known from 400,000 of them (AUROC:
from 20,000). For the tests nothing is there to be found: scores that do not know the label, and two models that are alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Iterable

import numpy as np
from rich.console import Console
from rich.table import Table

from seizurelit.evaluation.statistics.cases import Cases, Ints
from seizurelit.evaluation.statistics.chance import against_other_sign, conditional
from seizurelit.evaluation.statistics.contrasts import clustered_mcnemar, sign_flip
from seizurelit.evaluation.statistics.intervals import difference_interval, intervals
from seizurelit.evaluation.statistics.multiplicity import ALPHA, holm
from seizurelit.evaluation.statistics.weightings import scores_under

SUBJECTS = 19
POSITIVE = 9
COUNTS = np.array([1] * 10 + [2, 2, 2, 3, 3, 3, 3, 4, 6])
POPULATION = 400_000
SCORES = ("f1", "accuracy", "balanced_accuracy", "auroc")
SEEDS = 3
ROWS = 14
"""Trained rows of the whole table: the family of tests against chance."""


def cohort(
    rng: np.random.Generator, subjects: int, *, signal: float, exact: bool, seeds: int = SEEDS, models: int = 1
) -> list[Cases]:
    """One row a model, on the same subjects.

    Args:
        rng: of everything.
        subjects: how many.
        signal: how far the log odds of the two classes are from 0; their noise has a standard deviation of 1.7.
        exact: the paper's composition, dealt at random; otherwise subjects are independent draws from a population.
        seeds: of each row.
        models: how many rows; alike, and more alike on the same subject.
    """
    if exact:
        counts = rng.permutation(COUNTS)
        labels = rng.permutation((np.arange(subjects) < POSITIVE).astype(int))
    else:
        counts = rng.choice(COUNTS, subjects)
        labels = (rng.random(subjects) < POSITIVE / SUBJECTS).astype(int)
    owner = np.repeat(np.arange(subjects), counts)
    shared = rng.normal(size=subjects)[owner] * 0.8 + rng.normal(size=len(owner)) * 0.8
    rows = []
    for _ in range(models):
        own = rng.normal(size=subjects)[owner] * 0.8
        logits = shared + own + rng.normal(size=(seeds, len(owner))) * 0.9 + signal * (2 * labels[owner] - 1)
        rows.append(_row(logits, labels, owner, subjects))
    return rows


def _row(logits: np.ndarray, labels: Ints, owner: Ints, subjects: int) -> Cases:
    positive = 1 / (1 + np.exp(-logits))
    return Cases(
        ("0", "1"),
        tuple(map(str, range(len(owner)))),
        tuple(map(str, range(subjects))),
        owner,
        labels[owner],
        (logits >= 0).astype(int),
        np.stack([1 - positive, positive], axis=-1),
        np.ones(logits.shape),
    )


def truth(signal: float) -> dict[str, float]:
    """The population's scores; AUROC from a part of it, as its sums are over pairs of subjects."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in SCORES}
    size = 2000
    for _ in range(POPULATION // size):
        row = cohort(rng, size, signal=signal, exact=False, seeds=1)[0]
        counted = scores_under(row, np.ones((1, size)), ("f1", "accuracy", "balanced_accuracy"))
        for name, value in counted.items():
            found[name].append(float(value[0]))
    for _ in range(10):
        row = cohort(rng, size, signal=signal, exact=False, seeds=1)[0]
        found["auroc"].append(float(scores_under(row, np.ones((1, size)), ["auroc"])["auroc"][0]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def coverage(cohorts: int, resamples: int, signal: float) -> Iterable[tuple[str, ...]]:
    """A line for each score: how often its interval holds the population's value, and how wide it is."""
    known = truth(signal)
    inside: dict[str, list[bool]] = {name: [] for name in (*SCORES, "difference")}
    widths: dict[str, list[float]] = {name: [] for name in inside}
    for index in range(cohorts):
        rng = np.random.default_rng([1, index])
        one, other = cohort(rng, SUBJECTS, signal=signal, exact=False, models=2)
        found = {
            name: (interval, known[name]) for name, interval in intervals(one, SCORES, resamples=resamples).items()
        }
        found["difference"] = difference_interval(one, other, "accuracy", resamples=resamples), 0.0
        for name, (interval, value) in found.items():
            if interval.defined:
                inside[name].append(interval.low <= value <= interval.high)
                widths[name].append(interval.high - interval.low)
    for name, hits in inside.items():
        value = 0.0 if name == "difference" else known[name]
        label = "accuracy of two alike, difference" if name == "difference" else name
        yield label, f"{value:.3f}", _share(hits), f"{np.mean(widths[name]):.2f}", f"{cohorts - len(hits)}"


def errors(cohorts: int) -> Iterable[tuple[str, ...]]:
    """A line for each test: how often p ≤ 0.05 where there is nothing."""
    found: dict[str, list[bool]] = {}

    def note(name: str, p: float) -> None:
        if not math.isnan(p):
            found.setdefault(name, []).append(p <= ALPHA)

    for index in range(cohorts):
        rng = np.random.default_rng([2, index])
        one, other = cohort(rng, SUBJECTS, signal=0.8, exact=True, models=2)
        note("sign-flip, accuracy", sign_flip(one, other, "accuracy").p)
        note("sign-flip, F1", sign_flip(one, other, "f1").p)
        note("clustered McNemar (Durkalski)", clustered_mcnemar(one, other).p)
        blind = cohort(rng, SUBJECTS, signal=0.0, exact=True)[0]
        note("chance, labels of patients", conditional(blind).p)
        # Leaving a subject out moves the rest's prevalence, and a signal-free model's scores, away from its label.
        pushed = cohort(rng, SUBJECTS, signal=-0.3, exact=True)[0]
        note("chance, scores pushed away from the label", conditional(pushed).p)
        varied = dataclasses.replace(blind, labels=rng.integers(0, 2, len(blind.labels)))
        note("chance, labels that vary", conditional(varied, draws=2000).p)
        labels = rng.permutation((np.arange(SUBJECTS) < POSITIVE).astype(int))
        names = {name: int(labels[subject]) for name, subject in zip(one.seizures, one.owner, strict=True)}
        note("the other sign, two-sided", against_other_sign(one, "other", names).chance.p)
        if index % 10 == 0:
            rows = cohort(rng, SUBJECTS, signal=0.0, exact=True, models=ROWS)
            note(f"any of {ROWS} rows above chance, Holm", min(holm([conditional(row).p for row in rows])))
            pairs = [cohort(rng, SUBJECTS, signal=0.8, exact=True, models=2) for _ in range(4)]
            note("any of 4 contrasts, Holm", min(holm([sign_flip(a, b).p for a, b in pairs])))
    for name, hits in found.items():
        yield name, _share(hits), str(len(hits))


def _share(hits: list[bool]) -> str:
    """A share and twice its standard error."""
    share = float(np.mean(hits)) if hits else math.nan
    return f"{share:.3f} ± {2 * math.sqrt(share * (1 - share) / max(1, len(hits))):.3f}"


def main() -> None:
    """Simulate and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.coverage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=200, help="simulated cohorts")
    parser.add_argument("--resamples", type=int, default=1000, help="of each interval")
    parser.add_argument("--signal", type=float, default=0.8, help="of the rows that have an interval")
    given = parser.parse_args()
    started = time.perf_counter()
    console = Console(width=100)
    held = Table(
        title=f"95% BCa intervals, {given.cohorts} cohorts of {SUBJECTS} subjects, {given.resamples} resamples"
    )
    for heading in ("", "true", "coverage", "mean width", "no interval"):
        held.add_column(heading, justify="right" if heading else "left")
    for line in coverage(given.cohorts, given.resamples, given.signal):
        held.add_row(*line)
    console.print(held)
    cried = Table(title=f"p ≤ {ALPHA} where there is nothing, {given.cohorts} cohorts")
    for heading in ("", "share", "tests"):
        cried.add_column(heading, justify="right" if heading else "left")
    for line in errors(given.cohorts):
        cried.add_row(*line)
    console.print(cried)
    console.print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
