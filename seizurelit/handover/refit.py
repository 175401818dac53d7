"""Fit a run's rows once more on all subjects: the networks that are handed over.

The refits are jobs like those of the folds, with the same settings, in `runs/NAME/refit`: a stopped export goes on where it was.
What is known of them is the cross-validated score of the procedure; no score of their own can be, as they saw everybody.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from seizurelit.cohort.files import write_whole
from seizurelit.cohort.leak import Guard
from seizurelit.cohort.plan import Plan, load_plans, refit_plan, save_plans
from seizurelit.errors import InputError, RunError
from seizurelit.handover.ensemble import Ensemble, Member, RowModel, Sizes
from seizurelit.handover.of_run import ensemble_of_run, ready
from seizurelit.loso.experiment import Row, Run, job_id, load_run
from seizurelit.loso.finished import finished
from seizurelit.loso.jobs import CALL
from seizurelit.loso.run import executor_for
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.options import Schedule
from seizurelit.scheduling.progress import Progress
from seizurelit.scheduling.run import run_jobs
from seizurelit.training.checkpoint import load_weights
from seizurelit.training.networks import build_network

EVERYBODY = "everybody"
"""Name of the one fold of a refit, which holds nobody out."""
FOLDER = "refit"


def refitted(
    folder: Path, *, sign: str | None, model: str | None, workers: int | None, say: Callable[[str], None]
) -> Ensemble:
    """The ensemble of a run's rows, each seed refitted on all subjects.

    Args:
        folder: the run.
        sign: of this sign alone.
        model: this one instead of the preferred.
        workers: processes at a time.
        say: takes a line for the person who waits.

    Raises:
        InputError: the run has nothing finished, or is not whole: its cross-validated score would be another procedure's.
        RunError: a refit failed.
    """
    run = load_run(folder)
    ensemble = ensemble_of_run(folder, sign=sign, model=model)
    seeds = {row.name: _seeds(row, run) for row in ensemble.rows}
    again = _refit_run(run, [row.sign for row in ensemble.rows])
    jobs = [job for row in ensemble.rows for job in _jobs(again, row, seeds[row.name])]
    jobs = list({job.id: job for job in jobs}.values())
    say(f"{again.folder}: {len(jobs)} trainings on all subjects")
    executor = executor_for(run.setup, Schedule(workers=workers))
    with Progress(jobs, executor.slots) as progress:
        outcome = run_jobs(jobs, again.folder, executor=executor, on_event=progress)
    if not outcome.whole:
        job, why = next(iter({**outcome.failed, **outcome.blocked}.items()))
        msg = f"{again.folder}: the refit {job} failed: {why}"
        raise RunError(msg)
    rows = [_of_refits(row, again, ensemble) for row in ensemble.rows]
    return dataclasses.replace(ensemble, rows=tuple(rows))


def _seeds(row: RowModel, run: Run) -> tuple[int, ...]:
    """The seeds of a row all of whose folds are done."""
    by_seed: dict[int, set[str]] = {}
    for member in row.members:
        seed, fold = member.name.split("/", 1)
        by_seed.setdefault(int(seed.removeprefix("seed-")), set()).add(fold)
    folds = {fold.name for fold in run.plan(row.sign).folds}
    whole = tuple(seed for seed, done in sorted(by_seed.items()) if done >= folds)
    if not whole:
        most = max((len(done) for done in by_seed.values()), default=0)
        msg = f"{run.folder}: {row.name} has {most} of {len(folds)} folds, so that the procedure has no score yet; run the rest"
        raise InputError(msg)
    return whole


def _refit_run(run: Run, signs: Sequence[str]) -> Run:
    """A folder beside the run's jobs that jobs can open like a run, whose one fold holds nobody out."""
    folder = run.folder / FOLDER
    write_whole(folder / "config.json", (run.folder / "config.json").read_bytes())
    path = folder / "folds.json"
    known: Mapping[str, Plan] = load_plans(path) if path.exists() else {}
    split = run.setup.split_seed
    plans = {
        sign: refit_plan(run.cohort, run.cohort.sign(sign), EVERYBODY, split_seed=split)
        for sign in dict.fromkeys(signs)
    }
    save_plans(path, {**known, **plans})
    return dataclasses.replace(run, folder=folder)


def _jobs(run: Run, row: RowModel, seeds: Sequence[int]) -> list[Job]:
    """Of each seed the row, after its teacher if it has one."""
    found = []
    for seed in seeds:
        models: list[tuple[str, tuple[str, ...]]] = [(row.model, ())]
        if row.model == "agcn_kd" and run.setup.training.distillation.alpha > 0:
            teacher = job_id(Row(row.sign, row.stream, "tcn"), seed, EVERYBODY)
            models = [("tcn", ()), (row.model, (teacher,))]
        for model, needs in models:
            arguments = {
                "run_dir": str(run.folder.resolve()),
                "sign": row.sign,
                "stream": row.stream,
                "model": model,
                "seed": seed,
                "fold": EVERYBODY,
            }
            found.append(Job(job_id(Row(row.sign, row.stream, model), seed, EVERYBODY), CALL, arguments, needs))
    return found


def _of_refits(row: RowModel, again: Run, ensemble: Ensemble) -> RowModel:
    trainings = finished(again, Row(row.sign, row.stream, row.model))
    members = []
    for training in trainings:
        sizes = Sizes(ensemble.streams[row.stream], training.training, len(row.conditions), len(row.classes))
        network = build_network(row.model, training.training, sizes)
        load_weights(training.weights, network, Guard(EVERYBODY, frozenset()))
        members.append(Member(f"seed-{training.seed}/all", ready(network), training.training, training.threshold))
    return row.of_members(members)
