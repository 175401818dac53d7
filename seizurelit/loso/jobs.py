"""Which jobs make a table: a job a row, seed and fold; a student after its teacher.

Where folds are stacked (`Training.stack`), one more job trains several folds of a row and seed together, and the jobs of these
folds, which need it, score. Which folds are stacked follows from the plan alone, not from those that are asked for: the bits of a
fold depend on its company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seizurelit.cache.store import Cache
from seizurelit.config import Training, teaches
from seizurelit.evaluation.baselines import not_extracted
from seizurelit.evaluation.table import RowKey
from seizurelit.loso.experiment import Row, Run, job_id, stack_id
from seizurelit.scheduling.jobs import Job
from seizurelit.training.networks import reads

CALL = "seizurelit.loso.job:train_fold"
CALL_STACK = "seizurelit.loso.job:train_stack"


@dataclass(frozen=True)
class Request:
    """Which part of a run is asked for.

    Attributes:
        rows: trained rows of the table.
        seeds: how many; they are 0, 1, …
        folds: names of folds; None for all.
    """

    rows: tuple[Row, ...]
    seeds: int
    folds: tuple[str, ...] | None = None

    @property
    def signs(self) -> tuple[str, ...]:
        """The signs of the rows, in their order."""
        return tuple(dict.fromkeys(row.sign for row in self.rows))


def possible_rows(
    cache: Cache, training: Training, signs: Sequence[str], streams: Sequence[str], models: Sequence[str]
) -> tuple[tuple[Row, ...], dict[Row, str]]:
    """The rows that a cache has the tensors for, and for the others the reason why not.

    Args:
        cache: the tensors.
        training: which modality the TCN reads, and whether there is a teacher.
        signs: of the rows.
        streams: of the rows.
        models: of the rows.
    """
    there = {stream: cache.modalities(stream) for stream in streams}
    rows, impossible = [], {}
    for sign in signs:
        for stream in streams:
            for model in models:
                row = Row(sign, stream, model)
                absent = [name for name in reads(model, training) if name not in there[stream]]
                if absent:
                    impossible[row] = f"no {stream} {' and '.join(absent)} in {cache.root}"
                else:
                    rows.append(row)
    return tuple(rows), impossible


def lacking_of(run: Run, rows: Sequence[Row]) -> dict[RowKey, frozenset[str]]:
    """For each row the rated seizures that it cannot score for want of an extraction; baselines among the rows.

    Args:
        run: the run.
        rows: trained rows.
    """
    cache, training = Cache.open(run.setup.cache), run.setup.training
    lacking: dict[RowKey, frozenset[str]] = {}
    for sign in dict.fromkeys(row.sign for row in rows):
        wanted = {(row.stream, row.model): reads(row.model, training) for row in rows if row.sign == sign}
        found = not_extracted(cache, run.cohort, run.plan(sign), wanted)
        lacking |= {RowKey(*key): seizures for key, seizures in found.items()}
    return lacking


def jobs_of(run: Run, request: Request) -> tuple[Job, ...]:
    """The jobs of a request, teachers before students; a teacher that was not asked for is trained all the same.

    A fold that holds out no extracted seizure has nothing to score and no job. Of every row the first fold comes before all others,
    so that it is soon known how long each takes; then stream by stream, so that a worker reads each cohort's tensors once.

    Args:
        run: the run, with its plans.
        request: rows, seeds and folds.
    """
    taught = teaches(run.setup.training)
    teachers = {Row(row.sign, row.stream, "tcn") for row in request.rows if row.model == "agcn_kd" and taught}
    rows = [
        *sorted(teachers, key=lambda row: (row.sign, row.stream)),
        *(row for row in request.rows if row not in teachers),
    ]
    size = run.setup.training.stack
    scored = _scored_folds(run, rows)
    run_dir = str(run.folder.resolve())
    jobs: list[tuple[tuple[int, ...], Job]] = []
    streams = list(dict.fromkeys((row.sign, row.stream) for row in rows))
    for number, row in enumerate(rows):
        folds, stacks = scored[row], _stacks(scored[row], size)
        asked = folds if request.folds is None else tuple(run.plan(row.sign).fold(name).name for name in request.folds)
        if row in teachers:  # a stack of students needs the teachers of all its folds
            asked = (*asked, *_company(asked, _stacks(scored[Row(row.sign, row.stream, "agcn_kd")], size)))
        needed = {place: stack for place, stack in enumerate(stacks) if not set(stack).isdisjoint(asked)}
        stack_of = {fold: place for place, stack in needed.items() for fold in stack}
        stream = streams.index((row.sign, row.stream))
        for seed in range(request.seeds):
            made = [
                *((stack[0], _stack_job(run_dir, row, seed, k, stack, taught=taught)) for k, stack in needed.items()),
                *(
                    (fold, _job(run_dir, row, seed, fold, stack_of.get(fold), taught=taught))
                    for fold in folds
                    if fold in asked
                ),
            ]
            for fold, job in made:
                place = folds.index(fold)
                jobs.append(((seed, not seed == place == 0, stream, place, number, job.call == CALL), job))
    return tuple(job for _, job in sorted(jobs, key=lambda pair: pair[0]))


def _job(run_dir: str, row: Row, seed: int, fold: str, stack: int | None, *, taught: bool) -> Job:
    arguments = _arguments(run_dir, row, seed) | {"fold": fold}
    needs = _teachers(row, seed, (fold,), taught=taught)
    if stack is not None:
        arguments["stack"] = stack
        needs = (*needs, stack_id(row, seed, stack))
    return Job(job_id(row, seed, fold), CALL, arguments, needs, resumable=True)


def _stack_job(run_dir: str, row: Row, seed: int, place: int, folds: tuple[str, ...], *, taught: bool) -> Job:
    arguments = _arguments(run_dir, row, seed) | {"folds": folds}
    needs = _teachers(row, seed, folds, taught=taught)
    return Job(stack_id(row, seed, place), CALL_STACK, arguments, needs, resumable=True)


def _arguments(run_dir: str, row: Row, seed: int) -> dict[str, Any]:
    return {"run_dir": run_dir, "sign": row.sign, "stream": row.stream, "model": row.model, "seed": seed}


def _teachers(row: Row, seed: int, folds: Sequence[str], *, taught: bool) -> tuple[str, ...]:
    """The jobs of the teachers of some folds, for a student."""
    if row.model != "agcn_kd" or not taught:
        return ()
    return tuple(job_id(Row(row.sign, row.stream, "tcn"), seed, fold) for fold in folds)


def _scored_folds(run: Run, rows: Sequence[Row]) -> dict[Row, tuple[str, ...]]:
    """Of each row the folds that hold out an extracted seizure, in the plan's order."""
    lacking, cohort = lacking_of(run, rows), run.cohort
    labels = {sign: cohort.labels(cohort.sign(sign)) for sign in {row.sign for row in rows}}
    found = {}
    for row in rows:
        without = lacking.get(RowKey(row.sign, row.stream, row.model), frozenset())
        subjects = {cohort.subject_of(seizure) for seizure in labels[row.sign] if seizure not in without}
        found[row] = tuple(fold.name for fold in run.plan(row.sign).folds if subjects & set(fold.test))
    return found


def _stacks(folds: Sequence[str], size: int) -> tuple[tuple[str, ...], ...]:
    """Folds that are trained together; none where each is trained alone."""
    if size == 1 or not folds:
        return ()
    size = size or len(folds)
    return tuple(tuple(folds[k : k + size]) for k in range(0, len(folds), size))


def _company(asked: Sequence[str], stacks: Sequence[Sequence[str]]) -> list[str]:
    """All folds that are stacked with one that is asked for."""
    return [fold for stack in stacks if set(stack) & set(asked) for fold in stack]


def trainings_of(jobs: Sequence[Job]) -> int:
    """How many folds some jobs train, whether alone or stacked."""
    return sum(job.call == CALL for job in jobs)
