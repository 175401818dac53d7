"""The outer loop: open the run, train what is missing by whatever executor is there, pool, and make the table."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.config import MODELS, Training, check, check_grid
from seizurelit.errors import InputError
from seizurelit.evaluation import comparison, windows
from seizurelit.evaluation.baselines import BASELINES
from seizurelit.evaluation.fusion import FUSED_STREAM
from seizurelit.evaluation.predictions import read_predictions
from seizurelit.evaluation.rendering import print_table, write_table
from seizurelit.evaluation.scores import per_fold
from seizurelit.evaluation.table import RowKey, RunInfo, Table, make_table
from seizurelit.extraction.flags import look_first
from seizurelit.loso.choosing import check_tuner, tuning_cost
from seizurelit.loso.experiment import Row, Run, Setup, fold_of, identity_of, load_run, open_run
from seizurelit.loso.jobs import Request, jobs_of, lacking_of, possible_rows, trainings_of
from seizurelit.loso.options import PRELOAD, RunOptions
from seizurelit.loso.permuting import cost, refit, refit_null
from seizurelit.loso.pooling import PREDICTIONS, pool_run, read_windows
from seizurelit.loso.standin import stand_in_cache
from seizurelit.loso.watching import Sweep, Watcher
from seizurelit.scheduling.executors import cuda_devices, executor_of
from seizurelit.scheduling.jobs import Executor
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.options import Needs, Schedule, schedule_of
from seizurelit.scheduling.run import Outcome, run_jobs
from seizurelit.training.fit import check_trainer_arguments
from seizurelit.training.loggers import check_loggers
from seizurelit.training.stacked import check_stacking

CHANGES = "changes.csv"
POOLING = "pooling.csv"

_REFIT_SEED = "Refits on permuted labels are of one seed; beside a mean of several they spread more, which can only make p larger."


def run_table(
    options: RunOptions,
    training: Training,
    signs: Sequence[str],
    streams: Sequence[str],
    models: Sequence[str],
    *,
    report: Callable[[Run, Table], None] | None = None,
    shared: Callable[[Run, Table], str] | None = None,
) -> int:
    """Train what is missing of these rows, print their table, and write the run's files.

    Args:
        options: data, folds, seeds, where to.
        training: settings.
        signs: columns of the cohort.
        streams: pose, face.
        models: agcn, tcn, agcn_kd.
        report: called at the end with the run and the table of all that its folder holds.
        shared: makes the report that may leave the machine, for wandb.

    Returns:
        The exit code: 0, or 1 where a fold that was asked for is missing.
    """
    setup = setup_of(options, training)
    rows, impossible = possible_rows(Cache.open(setup.cache), training, signs, streams, models)
    if not rows:
        raise InputError(*impossible.values())
    run = open_run(setup, options.out, tuple(signs))
    if options.diff is not None:
        _refuse_other_cohort(run, options.diff)
    folds = None if options.fold == "all" else (options.fold,)
    request = Request(rows, options.seeds or 1, folds)
    table, whole = train(run, request, impossible, options, shared=shared)
    _show(asked(table, request), run)
    if options.diff is not None:
        print_diff(run, asked(table, request), options.diff)
    if report is not None:
        report(run, table)
    return 0 if whole else 1


def setup_of(options: RunOptions, training: Training) -> Setup:
    """What the options choose, once all that can be refused before any job has been; without a cache, the stand-in cohort.

    Raises:
        InputError: settings out of range, or that Lightning's Trainer would not take.
    """
    console = Console(stderr=True, highlight=False)
    check_trainer_arguments(training)
    check(training)
    check_grid(training)
    check_tuner(training)
    check_stacking(training)
    check_loggers(options.loggers)
    schedule_of(options)
    if options.seeds is None or options.seeds < 1:
        msg = f"--seeds {options.seeds}: give 1 or more"
        raise InputError(msg)
    if options.permute_refit < 0:
        msg = f"--permute-refit {options.permute_refit}: give 0 or more"
        raise InputError(msg)
    if options.permute_refit and options.fold != "all":
        msg = f"--permute-refit: chance is of all folds, not of --fold {options.fold}; leave one of the two out"
        raise InputError(msg)
    if options.cache is None:
        console.print(
            "no --cache was given: the stand-in cohort is used (STAND-IN COHORT, synthetic, no clinical data)"
        )
    cache = Cache.open(options.cache or stand_in_cache(Path("runs"), console))
    if said := look_first(cache):
        console.print(said, soft_wrap=True, markup=False)
    return Setup(
        cache=cache.root,
        cohort=options.cohort,
        folds=options.folds,
        split_seed=options.split_seed,
        training=training,
        preset=str(options.preset),
        device=_device(options),
    )


def train(
    run: Run,
    request: Request,
    impossible: Mapping[Row, str],
    options: RunOptions,
    *,
    shared: Callable[[Run, Table], str] | None = None,
    sweep: Sweep | None = None,
) -> tuple[Table, bool]:
    """Train what is missing of a request, refit it on permuted labels if that is asked for, and make the table.

    Args:
        run: the run.
        request: rows, seeds and folds.
        impossible: rows that the cache has no tensors for, and why.
        options: workers, wandb, and how many refits.
        shared: makes the report that may leave the machine, for wandb.
        sweep: of which the run is a part.

    Returns:
        The table of all that the run's folder holds, and whether every fold is there that was asked for.
    """
    console = Console(stderr=True, highlight=False)
    setup, jobs = run.setup, jobs_of(run, request)
    console.print(
        f"run {run.folder}: {trainings_of(jobs)} trainings, preset {setup.preset}, {request.seeds} seed(s), on {setup.device}"
    )
    if said := tuning_cost(setup.training, jobs):
        console.print(said)
    executor = functools.partial(executor_for, setup, options)
    slots = executor().slots
    if options.permute_refit:
        console.print(cost(run, request, options.permute_refit, slots))

    def summarise(watcher: Watcher, table: Table) -> None:
        watcher.summary(table, None if shared is None or options.wandb == "off" else shared(run, table))

    with Watcher(run, jobs, slots, options, sweep) as watcher:
        outcome = run_jobs(jobs, run.folder, executor=executor(), on_event=watcher)
        if not options.permute_refit:
            table = tabulate(run, request, impossible, outcome)
            summarise(watcher, table)
            return table, outcome.whole
    console.print(cost(run, request, options.permute_refit, slots))
    whole = refit(run, request, options.permute_refit, executor)
    table = tabulate(run, request, impossible, outcome)
    with Watcher(run, (), slots, options, sweep) as watcher:
        summarise(watcher, table)
    return table, whole and outcome.whole


def _refuse_other_cohort(run: Run, old: Path) -> None:
    if identity_of(old)["cohort"] != identity_of(run.folder)["cohort"]:
        msg = f"{old}: is a run of another cohort than {run.folder}; give --diff one of the same seizures and labels"
        raise InputError(msg)


def print_diff(run: Run, table: Table, old: Path) -> None:
    """Print how far a table's numbers are from an older run's, and write it as changes.csv into the newer run's folder.

    Args:
        run: the newer run.
        table: of it.
        old: folder of the older run.

    Raises:
        InputError: no run is there, or it is of another cohort.
    """
    _refuse_other_cohort(run, old)
    new, before = (read_predictions(folder / PREDICTIONS) for folder in (run.folder, old))
    found = comparison.compare(table, new, before, str(old))
    Console().print(comparison.render(found))
    write_whole(run.folder / CHANGES, comparison.to_csv(found).encode())
    print(f"{run.folder / CHANGES}: all changes")


def report_run(folder: Path, report: Callable[[Run, Table], None] | None = None, diff: Path | None = None) -> int:
    """Make the table of a run anew from its finished jobs, and print it.

    Args:
        folder: the run.
        report: called at the end with the run and its table.
        diff: folder of an older run of the same cohort to set it beside.

    Returns:
        0, or 1 where a job that was planned is missing.
    """
    run = load_run(folder)
    ledger = Ledger(folder)
    records = ledger.records()
    planned = [one for job in records if (one := fold_of(job)) is not None]
    rows = tuple(dict.fromkeys(row for row, _, _ in planned))
    seeds = 1 + max((seed for _, seed, _ in planned), default=0)
    open_ = {job: record.error or "not run" for job, record in records.items() if not ledger.done(job)}
    table = tabulate(run, Request(rows, seeds), {}, Outcome(failed=open_))
    _show(table, run)
    if diff is not None:
        print_diff(run, table, diff)
    if report is not None:
        report(run, table)
    return 1 if open_ else 0


def asked(table: Table, request: Request) -> Table:
    """The rows of a table that a request is about: its own, their fusion, and the baselines of its signs and streams.

    A run's folder may hold more, from requests before.
    """
    streams = {row.stream for row in request.rows}
    fused = {FUSED_STREAM} if streams == set(FUSED_STREAM.split("+")) else set()
    trained = {(row.sign, row.stream, row.model) for row in request.rows}

    def belongs(key: RowKey) -> bool:
        if key.model in BASELINES:
            return key.sign in request.signs and key.stream in {"", *streams}
        return tuple(key) in trained or (key.sign in request.signs and key.stream in fused)

    return dataclasses.replace(table, rows=tuple(row for row in table.rows if belongs(row.key)))


def _show(table: Table, run: Run) -> None:
    """The table on standard output, and where the run's files are."""
    print_table(table)
    print(
        f"\n{run.folder}: predictions.csv, per_fold.csv, pooling.csv, table.csv, table.md; jobs/ has each fold's weights and curves"
    )


def tabulate(run: Run, request: Request, impossible: Mapping[Row, str], outcome: Outcome) -> Table:
    """Pool a run's finished jobs and write predictions.csv, per_fold.csv, pooling.csv, table.csv and table.md.

    Args:
        run: the run.
        request: the rows and seeds that the table is asked for.
        impossible: rows that the cache has no tensors for, and why.
        outcome: why other jobs are missing.
    """
    predictions, notes = pool_run(run)
    pooled = windows.pooled_rows(predictions, read_windows(run))
    write_whole(run.folder / POOLING, windows.to_csv(pooled).encode())
    notes = (*notes, *filter(None, [windows.note(pooled)]))
    plans = {sign: run.plan(sign) for sign in dict.fromkeys([*request.signs, *predictions["sign"]])}
    failed: dict[tuple[RowKey, int | None, str], str] = {}
    for job, why in {**outcome.failed, **outcome.blocked}.items():
        if (one := fold_of(job)) is not None:  # of a stack that failed, its folds say so
            row, seed, fold = one
            failed[RowKey(row.sign, row.stream, row.model), seed, fold] = why
    # The folder may hold rows of requests before, which lack what they lack.
    held = predictions.loc[predictions["model"].isin(MODELS), ["sign", "stream", "model"]].drop_duplicates()
    rows = tuple(dict.fromkeys([*request.rows, *(Row(*key) for key in held.itertuples(index=False))]))
    info = RunInfo(
        run_id=run.run_id,
        preset=run.setup.preset,
        seeds=tuple(range(request.seeds)),
        rows=tuple(RowKey(row.sign, row.stream, row.model) for row in request.rows),
        failed=failed,
        lacking=lacking_of(run, rows),
        stand_in=run.stand_in,
        fixed_graph=not run.setup.training.agcn.adaptive,
        notes=(*(f"no row {row.sign} {row.stream} {row.model}: {why}" for row, why in impossible.items()), *notes),
    )
    table = make_table(predictions, plans, run.cohort, info)
    null = refit_null(run, table, predictions)
    if null:
        several = (_REFIT_SEED,) if request.seeds > 1 else ()
        info = dataclasses.replace(info, refit_null=null, notes=(*info.notes, *several))
        table = make_table(predictions, plans, run.cohort, info)
    write_table(run.folder, table)
    write_whole(run.folder / "per_fold.csv", per_fold(predictions).to_csv(index=False, lineterminator="\n").encode())
    return table


def _device(options: RunOptions) -> str:
    if options.device == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if options.device == "gpu" and options.scheduler == "local" and not torch.cuda.is_available():
        msg = "--device gpu: torch finds no GPU here; give cpu, or a --scheduler whose machines have one"
        raise InputError(msg)
    return options.device


def executor_for(setup: Setup, schedule: Schedule) -> Executor:
    """Who trains the folds of a run.

    Args:
        setup: of the run.
        schedule: where, and how many at a time.
    """
    gpu, schedule = setup.device == "gpu", schedule_of(schedule)
    reads = tuple(path for path in (setup.cache, setup.cohort, setup.folds) if path is not None)
    devices = cuda_devices() if gpu and schedule.scheduler == "local" else ()
    return executor_of(schedule, Needs(PRELOAD, setup.training.threads, devices, gpu=gpu, reads=reads))
