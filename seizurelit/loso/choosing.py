"""What a fold chooses on its inner validation subjects: which settings of the grid are tried, by whom proposed, and the best.

A fold's held-out subjects have no part in it: every candidate is fitted without the inner validation subjects and scored on
them, and the one that is chosen is fitted again on all of the fold's training subjects (METHOD.md, points 1 and 10).
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from seizurelit.config import Training, candidates, teaches, with_overrides
from seizurelit.errors import InputError
from seizurelit.scheduling.jobs import Job

# Optuna may propose a setting again; so many proposals a setting, and the grid is taken to be searched.
_PROPOSALS = 20


@dataclass(frozen=True)
class Tried:
    """A setting, and what it gave on the inner validation subjects.

    Attributes:
        overrides: the setting.
        threshold: of the positive class; None with more than two classes.
        balanced_accuracy: over the classes that occur, at that threshold.
        log_loss: mean.
    """

    overrides: dict[str, Any]
    threshold: float | None
    balanced_accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Choice:
    """What was chosen on the inner validation subjects, and from what.

    Attributes:
        overrides: the setting.
        threshold: of the positive class; None with more than two classes.
        declared: settings that the grid has for this model.
        candidates: those that were tried, in that order; none where nothing was to be chosen.
    """

    overrides: dict[str, Any]
    threshold: float | None
    declared: int = 1
    candidates: tuple[Tried, ...] = ()

    def record(self) -> dict[str, Any]:
        """As choice.json has it."""
        return asdict(self)


def chooses(training: Training, model: str) -> bool:
    """Whether a fold of this model fits anything on its inner subjects; a teacher does so for a student that chooses.

    Args:
        training: the run's settings.
        model: agcn, tcn or agcn_kd.
    """
    settings = candidates(training, model)
    own = len(settings) > 1 or with_overrides(training, settings[0]).threshold == "inner"
    return own or (model == "tcn" and teaches(training) and chooses(training, "agcn_kd"))


def search(
    settings: Sequence[Mapping[str, Any]], count: int, seed: int, score: Callable[[Mapping[str, Any]], Tried]
) -> list[Tried]:
    """Try settings.

    Args:
        settings: all that are declared.
        count: how many to try; 0 for all.
        seed: of the proposals.
        score: fits and scores one.

    Returns:
        What was tried, in that order. All of them are in the order declared. Fewer are proposed by Optuna's tree-structured
        Parzen estimator (Bergstra et al., NeurIPS 2011) from what the ones before gave; none is tried twice.
    """
    if not 0 < count < len(settings):
        return [score(setting) for setting in settings]
    import optuna  # noqa: PLC0415 - no part of the core; `check_tuner` has asked for it

    optuna.logging.set_verbosity(logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=max(2, count // 3))
    study = optuna.create_study(sampler=sampler, direction="maximize")
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    # Values are places in lists of what is declared, so that a list, a number and a word are all choices.
    values: dict[str, list[Any]] = {name: [] for name in names}
    for setting in settings:
        for name, value in setting.items():
            if value not in values[name]:
                values[name].append(value)
    made: dict[int, Tried] = {}
    for _ in range(_PROPOSALS * count):
        trial = study.ask()
        proposed = {name: values[name][trial.suggest_categorical(name, range(len(values[name])))] for name in names}
        place = next((k for k, setting in enumerate(settings) if proposed == setting), None)
        if place is None:  # a combination of two mappings of the grid, which neither has
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        if place not in made:
            made[place] = score(settings[place])
        found = made[place]
        # Balanced accuracy of few subjects has ties: the loss decides them.
        study.tell(trial, found.balanced_accuracy - 1e-3 * math.tanh(found.log_loss))
        if len(made) == count:
            break
    return list(made.values())


def check_tuner(training: Training) -> None:
    """Refuse --tune where Optuna is not installed.

    Raises:
        InputError: what to install.
    """
    if training.tune and find_spec("optuna") is None:
        msg = "--tune: optuna is not installed; uv pip install 'optuna>=5', or leave --tune out to try the whole grid"
        raise InputError(msg)


def tuning_cost(training: Training, jobs: Sequence[Job]) -> str:
    """What choosing costs, in one line, before it starts; blank where nothing is chosen.

    Args:
        training: the run's settings.
        jobs: trainings of the run.
    """
    trainings = Counter(str(job.arguments["model"]) for job in jobs)
    parts, fits = [], 0
    for model, count in trainings.items():
        if not chooses(training, model):
            continue
        settings = candidates(training, model)
        tried = min(training.tune or len(settings), len(settings))
        networks = {str(sorted((k, str(v)) for k, v in one.items() if k != "threshold")) for one in settings}
        most = min(tried, len(networks))  # thresholds share a network
        parts.append(f"{model} {tried} of {len(settings)} settings")
        fits += count * most
    if not parts:
        return ""
    total = fits + sum(trainings.values())
    return (
        f"chosen on inner subjects alone, a fold at a time: {', '.join(parts)}; up to {fits} further fits, "
        f"{total / sum(trainings.values()):.1f} times the cost of no choice"
    )


def inner_scores(labels: np.ndarray, scores: np.ndarray, threshold: float | None) -> tuple[float, float]:
    """Balanced accuracy over the classes that occur, and mean log loss.

    Args:
        labels: (S,) indices of classes.
        scores: (S, K).
        threshold: of the positive class; None takes the highest score.
    """
    predicted = (scores[:, 1] >= threshold).astype(int) if threshold is not None else scores.argmax(1)
    recalls = [float((predicted[labels == k] == k).mean()) for k in np.unique(labels)]
    loss = -np.log(np.clip(scores[np.arange(len(labels)), labels], 1e-12, None)).mean()
    return float(np.mean(recalls)), float(loss)


def balanced_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The midpoint between neighbouring scores with the highest balanced accuracy; 0.5, or the nearest to it, among equals.

    Args:
        labels: (S,) indices of two classes.
        scores: (S, 2).
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    ordered = np.unique(scores[:, 1])
    options = np.concatenate([[0.5], (ordered[1:] + ordered[:-1]) / 2])
    accuracies = np.array([inner_scores(labels, scores, option)[0] for option in options])
    ties = options[accuracies >= accuracies.max() - 1e-12]
    return float(ties[np.abs(ties - 0.5).argmin()])
