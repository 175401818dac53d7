"""One job: a model of a stream for a sign, one seed, one fold. Choose on inner subjects if asked, fit, score, write."""

from __future__ import annotations

import csv
import functools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seizurelit.cache.store import Cache
from seizurelit.cohort.leak import Guard
from seizurelit.cohort.manifest import Sign
from seizurelit.cohort.plan import Fold
from seizurelit.config import Training, candidates, digest, taught_settings, teaches, with_overrides
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.mapped import mapped_store
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.errors import InputError
from seizurelit.evaluation.predictions import prediction_rows, write_predictions
from seizurelit.loso.choosing import Choice, Tried, balanced_threshold, chooses, inner_scores, search
from seizurelit.loso.experiment import WEIGHTS, Row, Run, load_run, require_same_cache, stack_id
from seizurelit.training.checkpoint import Provenance, load_weights, read_provenance, save_weights
from seizurelit.training.fit import HISTORY, WINDOWS, fit, job_seed, predict
from seizurelit.training.modules import SeizureClassifier
from seizurelit.training.networks import WindowNetwork, build_network, reads
from seizurelit.training.stacked import fit_stacked

INNER_WEIGHTS = "inner.safetensors"
CHOICE = "choice.json"
SHARED = "tensors"
"""Folder beside the folders of jobs under way, of what they map together."""


@dataclass(frozen=True)
class _Task:
    """What all steps of one job share."""

    run: Run
    row: Row
    seed: int
    fold: Fold
    sign: Sign
    store: SeizureStore
    checkpoint: Path | None

    def data(self, training: Training, *, fold: Fold | None = None, inner: bool = False) -> FoldDataModule:
        return FoldDataModule(self.store, fold or self.fold, training, seed=self.job_seed, inner=inner)

    @property
    def job_seed(self) -> int:
        """The same for agcn and agcn_kd, so that the student differs from the plain network by its teacher alone."""
        family = "tcn" if self.row.model == "tcn" else "agcn"
        return job_seed(self.seed, self.row.sign, self.row.stream, family, self.fold.name)

    def states(self, fitting: str) -> Path | None:
        """Where a fitting of this job saves what its next attempt goes on from."""
        return self.checkpoint / fitting if self.checkpoint is not None else None

    def teacher_row(self) -> Row:
        return Row(self.row.sign, self.row.stream, "tcn")


@dataclass(frozen=True)
class _Wanted:
    """The tensors of a job; `shared` is where all workers of this machine map them from, and tells nothing of which they are."""

    run_dir: Path
    sign: str
    stream: str
    modalities: tuple[str, ...]
    extraction: str | None
    shared: Path = field(compare=False)


@functools.lru_cache(maxsize=8)
def _store(wanted: _Wanted) -> SeizureStore:
    """A worker opens a stream's tensors once, for all of its jobs; those that were extracted for one fold, once a fold."""
    run = load_run(wanted.run_dir)
    cohort = run.cohort
    require_same_cache(run)
    modalities = wanted.modalities

    def read() -> SeizureStore:
        return load_store(
            Cache.open(run.setup.cache),
            cohort,
            cohort.sign(wanted.sign),
            wanted.stream,
            keypoints="keypoints" in modalities,
            appearance="appearance" in modalities,
            condition=run.setup.training.inputs.condition,
            fold=wanted.extraction,
        )

    key = [run.run_id, cohort.digest, wanted.sign, wanted.stream, sorted(modalities), wanted.extraction]
    return mapped_store(wanted.shared / f"{digest(json.dumps(key))}.safetensors", read)


def train_fold(
    folder: Path,
    *,
    run_dir: str,
    sign: str,
    stream: str,
    model: str,
    seed: int,
    fold: str,
    stack: int | None = None,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Do one job and write its files: weights.safetensors, predictions.csv, metrics.csv (the curves), windows.csv, choice.json.

    Args:
        folder: an empty folder that becomes the job's.
        run_dir: the run, whose config.json and folds.json say all else.
        sign: of the row.
        stream: of the row.
        model: of the row.
        seed: 0, 1, …
        fold: name of the held-out fold.
        stack: which of the row's stacks has trained this fold; None trains it here.
        checkpoint: folder of what an interrupted attempt goes on from.

    Returns:
        Numbers for the ledger and the dashboard: seizures, correct, threshold, last training loss.
    """
    run = load_run(Path(run_dir))
    task = _task(run, Row(sign, stream, model), seed, fold, checkpoint=checkpoint, shared=folder.parent / SHARED)
    store = task.store
    choice = _choose(task, folder)
    training = with_overrides(run.setup.training, choice.overrides)

    data = task.data(training)
    guard = Guard.of(task.fold)
    if stack is None:
        teachers, seen = _teachers(task, training, data, guard, inner=False)
        module = fit(
            model,
            data,
            training,
            seed=task.job_seed,
            device=run.setup.device,
            history=folder,
            teachers=teachers,
            teacher_of=_teacher_of(task, teachers, seen),
            checkpoint=task.states("fit"),
        )
        subjects = _subjects(data, seen)
    else:
        module, subjects = _of_stack(task, training, data, stack, folder)
    guard.admit(subjects, f"{model} of this fold")
    _save(folder / WEIGHTS, module, task, subjects, choice.overrides)
    if model == "tcn" and run.setup.training.distillation.cross_fitted:
        _cross_fit(task, training, folder)

    scores = predict(module, data, training, device=run.setup.device, windows=folder / WINDOWS)
    predictions = prediction_rows(
        scores,
        sign=sign,
        classes=task.sign.classes,
        stream=stream,
        model=model,
        seed=seed,
        fold=fold,
        subject_of=dict(zip(store.seizures, store.subjects, strict=True)),
        label_of=dict(zip(store.seizures, store.labels.tolist(), strict=True)),
        threshold=choice.threshold,
    )
    write_predictions(folder / "predictions.csv", predictions)
    (folder / CHOICE).write_text(json.dumps(choice.record(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return {
        "seizures": len(predictions),
        "correct": int((predictions["label"] == predictions["prediction"]).sum()),
        "threshold": choice.threshold,
        "overrides": choice.overrides,
        "train_loss": module.last_loss,
    }


def _task(run: Run, row: Row, seed: int, fold: str, *, checkpoint: Path | None, shared: Path) -> _Task:
    extraction = fold if Cache.open(run.setup.cache).fitted_for(fold) else None
    modalities = reads(row.model, run.setup.training)
    store = _store(_Wanted(run.folder, row.sign, row.stream, modalities, extraction, shared))
    return _Task(run, row, seed, run.plan(row.sign).fold(fold), run.cohort.sign(row.sign), store, checkpoint)


def _subjects(data: FoldDataModule, taught_by: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """All whose data reach a fold's weights, through its teachers too; sorted."""
    return tuple(sorted({*data.subjects_seen, *(subject for group in taught_by for subject in group)}))


def train_stack(
    folder: Path,
    *,
    run_dir: str,
    sign: str,
    stream: str,
    model: str,
    seed: int,
    folds: Sequence[str],
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Fit several folds of a row together and write FOLD/weights.safetensors and FOLD/metrics.csv of each, as `train_fold` would.

    Args:
        folder: an empty folder that becomes the job's.
        run_dir: the run.
        sign: of the row.
        stream: of the row.
        model: of the row.
        seed: 0, 1, …
        folds: names of the held-out folds.
        checkpoint: folder of what an interrupted attempt goes on from.

    Returns:
        The last training loss of each fold.
    """
    run = load_run(Path(run_dir))
    training, row = run.setup.training, Row(sign, stream, model)
    shared = folder.parent / SHARED
    tasks = [_task(run, row, seed, fold, checkpoint=checkpoint, shared=shared) for fold in folds]
    data = [task.data(training) for task in tasks]
    taught_by = [
        _teachers(task, training, own, Guard.of(task.fold), inner=False) for task, own in zip(tasks, data, strict=True)
    ]
    modules = fit_stacked(
        model,
        data,
        training,
        seeds=[task.job_seed for task in tasks],
        device=run.setup.device,
        histories=[folder / fold for fold in folds],
        teachers=[teacher for teachers, _ in taught_by for teacher in teachers],
        checkpoint=tasks[0].states("fit"),
    )
    for task, own, (_, seen), module in zip(tasks, data, taught_by, modules, strict=True):
        subjects = _subjects(own, seen)
        Guard.of(task.fold).admit(subjects, f"{model} of fold {task.fold.name}")
        _save(folder / task.fold.name / WEIGHTS, module, task, subjects, {})
    return {"train_loss": {task.fold.name: module.last_loss for task, module in zip(tasks, modules, strict=True)}}


def _of_stack(
    task: _Task, training: Training, data: FoldDataModule, stack: int, folder: Path
) -> tuple[SeizureClassifier, tuple[str, ...]]:
    """A fold's module as its stack left it, and whom it saw; its curves are copied into the fold's folder."""
    row, place = task.row, task.run.folder / "jobs" / stack_id(task.row, task.seed, stack) / task.fold.name
    network = build_network(row.model, training, data)
    found = load_weights(place / WEIGHTS, network, Guard.of(task.fold))
    own = (found.run_id, found.sign, found.stream, found.model, found.seed, found.fold)
    wanted = (task.run.run_id, row.sign, row.stream, row.model, task.seed, task.fold.name)
    if own != wanted:
        what, where = ("/".join(map(str, each)) for each in (own, wanted))
        msg = f"{place / WEIGHTS}: is {what}, and lies in the place of {where}; delete its job's folder and run again"
        raise InputError(msg)
    module = SeizureClassifier(
        network, training.optimiser, steps=training.optimiser.epochs * data.steps_per_epoch, classes=data.classes
    )
    shutil.copyfile(place / HISTORY, folder / HISTORY)
    with (folder / HISTORY).open(encoding="utf-8", newline="") as file:
        module.last_loss = float(list(csv.DictReader(file))[-1]["train_loss"])
    return module, found.subjects_seen


def _choose(task: _Task, folder: Path) -> Choice:
    """Fit settings of the grid without the inner validation subjects, score them on these, and take the best."""
    training, model = task.run.setup.training, task.row.model
    settings, default = candidates(training, model), 0.5 if len(task.sign.classes) == 2 else None
    handed = _handed_down(task)
    if not chooses(training, model):
        return Choice({**settings[0], **handed}, default, len(settings))
    guard = Guard.of(task.fold, inner=True)
    modules: dict[str, tuple[SeizureClassifier, FoldDataModule, np.ndarray, np.ndarray]] = {}

    def fitted(overrides: Mapping[str, Any]) -> tuple[SeizureClassifier, FoldDataModule, np.ndarray, np.ndarray]:
        """A network, its data, and the labels (S,) and scores (S, K) of the inner subjects; one for all thresholds."""
        own = {**{name: value for name, value in overrides.items() if name != "threshold"}, **handed}
        key = json.dumps(own, sort_keys=True)
        if key not in modules:
            setting = with_overrides(training, own)
            data = task.data(setting, inner=True)
            teachers, seen = _teachers(task, setting, data, guard, inner=True)
            module = fit(
                model,
                data,
                setting,
                seed=task.job_seed,
                device=task.run.setup.device,
                history=None,
                teachers=teachers,
                teacher_of=_teacher_of(task, teachers, seen),
                checkpoint=task.states(f"inner-{digest(key)}"),
            )
            scores = predict(module, data, setting, device=task.run.setup.device)
            labels = np.array([int(task.store.labels[task.store.seizures.index(seizure)]) for seizure in scores])
            modules[key] = module, data, labels, np.stack(list(scores.values()))
        return modules[key]

    def tried(overrides: Mapping[str, Any]) -> Tried:
        _, _, labels, scores = fitted(overrides)
        inner = with_overrides(training, overrides).threshold == "inner"
        threshold = balanced_threshold(labels, scores) if default is not None and inner else default
        return Tried({**overrides, **handed}, threshold, *inner_scores(labels, scores, threshold))

    made = search(settings, training.tune, task.job_seed, tried)
    best = max(made, key=lambda one: (one.balanced_accuracy, -one.log_loss))  # the first of equals
    if model == "tcn":  # the teacher of the student's own inner fits must not have seen the inner subjects either
        module, data, _, _ = fitted(best.overrides)
        _save(folder / INNER_WEIGHTS, module, task, data.subjects_seen, best.overrides)
    return Choice(best.overrides, best.threshold, len(settings), tuple(made))


def _handed_down(task: _Task) -> dict[str, Any]:
    """What a student has from its teacher's choice: both see the same windows."""
    training = task.run.setup.training
    if task.row.model != "agcn_kd" or not teaches(training):
        return {}
    folder = task.run.job_folder(task.teacher_row(), task.seed, task.fold.name)
    choice: Mapping[str, Any] = read_provenance(folder / WEIGHTS).choice
    return {name: value for name, value in choice.items() if name.startswith(taught_settings(training))}


def _teachers(
    task: _Task, training: Training, data: FoldDataModule, guard: Guard, *, inner: bool
) -> tuple[tuple[WindowNetwork, ...], tuple[tuple[str, ...], ...]]:
    """The frozen teachers of a student and the subjects that each saw; none for other models or α = 0."""
    if task.row.model != "agcn_kd" or training.distillation.alpha == 0:
        return (), ()
    folder = task.run.job_folder(task.teacher_row(), task.seed, task.fold.name)
    if inner:
        paths = [folder / INNER_WEIGHTS]
    elif training.distillation.cross_fitted:
        paths = sorted(folder.glob("cross-*.safetensors"))
    else:
        paths = [folder / WEIGHTS]
    networks, seen = [], []
    for path in paths:
        choice: Mapping[str, Any] = read_provenance(path).choice
        network = build_network("tcn", with_overrides(task.run.setup.training, choice), data)
        seen.append(load_weights(path, network, guard).subjects_seen)
        networks.append(network)
    return tuple(networks), tuple(seen)


def _teacher_of(
    task: _Task, teachers: tuple[WindowNetwork, ...], seen: tuple[tuple[str, ...], ...]
) -> torch.Tensor | None:
    """Which teacher teaches which seizure: with several, the first that did not see its subject."""
    if not teachers:
        return None
    chosen = []
    for subject in task.store.subjects:
        unseen = [index for index, subjects in enumerate(seen) if subject not in subjects]
        chosen.append(unseen[0] if len(teachers) > 1 and unseen else 0)
    return torch.tensor(chosen)


def _cross_fit(task: _Task, training: Training, folder: Path) -> None:
    """Teachers that each leave one group of training subjects out (groups dealt in sorted order)."""
    groups = min(training.distillation.groups, len(task.fold.train))
    for index in range(groups):
        left_out = task.fold.train[index::groups]
        fold = Fold(task.fold.name, task.fold.test, task.fold.train, left_out)
        data = task.data(training, fold=fold, inner=True)
        module = fit(
            "tcn",
            data,
            training,
            seed=job_seed(task.job_seed, "cross", index),
            device=task.run.setup.device,
            history=None,
            checkpoint=task.states(f"cross-{index}"),
        )
        _save(folder / f"cross-{index}.safetensors", module, task, data.subjects_seen, {})


def _save(
    path: Path, module: SeizureClassifier, task: _Task, subjects: tuple[str, ...], choice: dict[str, Any]
) -> None:
    row = task.row
    provenance = Provenance(
        row.model, row.sign, row.stream, task.fold.name, task.seed, subjects, task.sign.classes, choice, task.run.run_id
    )
    save_weights(path, module.network, provenance)
