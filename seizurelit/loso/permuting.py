"""Chance by refitting: every fold is fitted anew on permuted labels, as often as asked (METHOD.md, points 2 and 3).

Each set of permuted labels is a run of its own in runs/NAME/permuted/SIGN/0007: the same tensors, folds, settings and guard,
another cohort.csv, one seed. Once all its folds are done and audited, its predictions.csv is kept and its weights are not.
"""

from __future__ import annotations

import dataclasses
import shutil
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from seizurelit.cohort.manifest import write_cohort
from seizurelit.errors import InputError, RunError
from seizurelit.evaluation.comparison import rows_of
from seizurelit.evaluation.fusion import FUSED_STREAM, STUDENT, fuse
from seizurelit.evaluation.predictions import pool, read_predictions, write_predictions
from seizurelit.evaluation.statistics.cases import cases_of
from seizurelit.evaluation.statistics.chance import relabellings, statistic_of
from seizurelit.evaluation.table import Row, RowKey, Table
from seizurelit.loso.audit import audit
from seizurelit.loso.experiment import Run, identity_of, open_run
from seizurelit.loso.jobs import CALL, Request, jobs_of, trainings_of
from seizurelit.loso.pooling import PREDICTIONS, trained_rows
from seizurelit.scheduling.claims import Claims
from seizurelit.scheduling.jobs import Executor, Job
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.progress import Progress, spoken
from seizurelit.scheduling.run import Event, run_jobs

PERMUTED = "permuted"
COHORT = "cohort.csv"

# Of the permutations. A set depends on it and on its own number alone, so that more sets can be added to those that are there.
_SEED = 0


def cost(run: Run, request: Request, count: int, slots: int) -> str:
    """What the refits that are still to be done will cost, in one line, from what this run's jobs took.

    Args:
        run: the run.
        request: its rows; one seed of them is refitted.
        count: sets of permuted labels a sign.
        slots: trainings at a time.
    """
    jobs = _jobs(run, request)
    left = [
        job for sign in jobs for _ in range(count - len(_finished(run, sign, count, jobs[sign]))) for job in jobs[sign]
    ]
    said = f"{count} sets of permuted labels: {trainings_of(left)} trainings left (sets × folds × models)"
    seconds = _seconds(run, request)
    if left and seconds:
        spent = sum(value for values in seconds.values() for value in values)
        mean = spent / max(1, sum(len(values) for kind, values in seconds.items() if kind[-1] == CALL))
        each = {kind: statistics.mean(values) for kind, values in seconds.items()}
        total = sum(each.get(_kind(job), mean) for job in left) / slots
        said += f", about {total / 3600:.1f} hours ({spoken(total)}), {slots} at a time, as this run's took {mean:.1f} s each"
    elif left:
        said += "; how long that takes is said once the first trainings of this run are timed"
    students = {(row.sign, row.stream) for row in request.rows if row.model == STUDENT}
    fused = sum(all((sign, stream) in students for stream in FUSED_STREAM.split("+")) for sign in request.signs)
    rows = len(request.rows) + fused
    return f"{said}. No p can be below 1/{count + 1}: after Holm over {rows} rows, 0.05 needs {20 * rows} sets or more."


def refit(run: Run, request: Request, count: int, executor: Callable[[], Executor]) -> bool:
    """Fit one seed of all rows and folds on permuted labels, until there are so many sets of every sign.

    What is there already is kept. A set with a failed fold is not kept whole and is tried again by the next call.

    Args:
        run: the run, whose own folds are done.
        request: its rows.
        count: sets a sign.
        executor: makes who runs a set's jobs.

    Returns:
        Whether all sets are whole.

    Raises:
        InputError: the labels cannot be permuted so that every class keeps its subjects.
        RunError: a fold's weights saw its held-out subject.
    """
    jobs = _jobs(run, request)
    finished = {sign: _finished(run, sign, count, jobs[sign]) for sign in jobs}
    every = [job for sign in jobs for _ in range(count - len(finished[sign])) for job in jobs[sign]]
    if not every:
        return True
    whole = True
    with Progress(tuple(every), executor().slots) as progress:

        def told(event: Event) -> None:
            if event.kind not in {"planned", "ended"}:
                progress(event)

        for place, *sets in zip(range(count), *(_relabelled(run, sign, count) for sign in jobs), strict=True):
            for sign, labels in zip(jobs, sets, strict=True):
                folder = _folder(run, sign, place)
                if place in finished[sign]:
                    _forget(folder)
                    continue
                _write_cohort(folder / COHORT, run, sign, labels)
                setup = dataclasses.replace(run.setup, cohort=folder / COHORT)
                permuted = open_run(setup, folder, (sign,))
                own = jobs_of(permuted, _of_sign(request, sign))
                outcome = run_jobs(own, folder, executor=executor(), on_event=told)
                whole = whole and outcome.whole
                if outcome.whole:
                    _keep(permuted)
        progress(Event("ended", "", len(every)))
    return whole


def refit_null(run: Run, table: Table, predictions: pd.DataFrame) -> dict[RowKey, tuple[float, ...]]:
    """The chance statistic of each trained row in every set of permuted labels that is there: `RunInfo.refit_null`.

    Args:
        run: the run.
        table: of the true labels, which says what each row's statistic is.
        predictions: that the table is made of; the statistic is of the same seizures.

    Raises:
        InputError: a set is of another configuration, or not of the labels that its number stands for.
    """
    null: dict[RowKey, list[float]] = defaultdict(list)
    for sign in dict.fromkeys(row.key.sign for row in table.rows):
        rows = [row for row in table.rows if row.key.sign == sign and not row.baseline and row.chance.tested]
        places = [int(path.parent.name) for path in (run.folder / PERMUTED / sign).glob(f"[0-9]*/{PREDICTIONS}")]
        if not places or not rows:
            continue
        subject_of = {name: run.cohort.subject_of(name) for name in run.cohort.labels(run.cohort.sign(sign))}
        observed = {row.key: _seizures(predictions, row.key) for row in rows}
        for place, labels in enumerate(_relabelled(run, sign, max(places) + 1)):
            if place not in places:
                continue
            label_of = {name: rows[0].classes[index] for name, index in labels.items()}
            found = _read_set(run, sign, place, label_of)
            for row in rows:
                frame = rows_of(found, row.key)
                frame = frame.loc[frame["seizure"].isin(observed[row.key])]
                if set(frame["seizure"]) == observed[row.key]:
                    null[row.key].append(_statistic(row, frame, label_of, subject_of))
    return {key: tuple(values) for key, values in null.items()}


def _statistic(row: Row, frame: pd.DataFrame, label_of: Mapping[str, str], subject_of: Mapping[str, str]) -> float:
    cases = cases_of([frame], row.classes, [row.counted_wrong], label_of=label_of, subject_of=subject_of)
    return statistic_of(cases, row.chance.statistic)


def _read_set(run: Run, sign: str, place: int, label_of: Mapping[str, str]) -> pd.DataFrame:
    folder = _folder(run, sign, place)
    differs = {name for name, value in identity_of(folder).items() if value != identity_of(run.folder)[name]}
    found = read_predictions(folder / PREDICTIONS)
    wrong = any(label_of[name] != label for name, label in zip(found["seizure"], found["label"], strict=True))
    if differs - {"cohort"} or wrong:
        what = "labels" if wrong else ", ".join(sorted(differs - {"cohort"}))
        msg = f"{folder}: is of other {what} than this run; remove the folder and run again"
        raise InputError(msg)
    return found


def _seizures(predictions: pd.DataFrame, key: RowKey) -> set[str]:
    """Those that every seed of a row has scored."""
    return set.intersection(*(set(rows["seizure"]) for _, rows in rows_of(predictions, key).groupby("seed")))


def _jobs(run: Run, request: Request) -> dict[str, tuple[Job, ...]]:
    """Sign → the jobs of one set, which are those of the run's first seed."""
    return {sign: jobs_of(run, _of_sign(request, sign)) for sign in request.signs}


def _of_sign(request: Request, sign: str) -> Request:
    return Request(tuple(row for row in request.rows if row.sign == sign), seeds=1)


def _kind(job: Job) -> tuple[str, str, str]:
    return str(job.arguments["stream"]), str(job.arguments["model"]), job.call


def _seconds(run: Run, request: Request) -> dict[tuple[str, str, str], list[float]]:
    """(stream, model, call) → what each finished job of the run took, in seconds."""
    ledger = Ledger(run.folder)
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for job in jobs_of(run, request):
        record = ledger.record(job.id)
        if record.state == "done" and record.seconds is not None:
            found[_kind(job)].append(record.seconds)
    return found


def _folder(run: Run, sign: str, place: int) -> Path:
    return run.folder / PERMUTED / sign / f"{place:04d}"


def _finished(run: Run, sign: str, count: int, jobs: tuple[Job, ...]) -> set[int]:
    """The sets that hold all the rows of these jobs."""
    wanted = {(job.arguments["stream"], job.arguments["model"]) for job in jobs}
    done = set()
    for place in range(count):
        path = _folder(run, sign, place) / PREDICTIONS
        if path.exists():
            frame = read_predictions(path)
            if wanted <= set(zip(frame["stream"], frame["model"], strict=True)):
                done.add(place)
    return done


def _relabelled(run: Run, sign: str, count: int) -> Iterator[dict[str, int]]:
    cohort = run.cohort
    labels = cohort.labels(cohort.sign(sign))
    try:
        yield from relabellings(labels, {name: cohort.subject_of(name) for name in labels}, count, _SEED)
    except ValueError as error:
        msg = f"{cohort.path}: {sign} cannot be permuted: {error}; leave --permute-refit out"
        raise InputError(msg) from None


def _write_cohort(path: Path, run: Run, sign: str, labels: Mapping[str, int]) -> None:
    """The run's cohort, all its columns, with other labels for one sign; without the videos' paths."""
    cohort = run.cohort
    classes = cohort.sign(sign).classes
    rows = []
    for seizure in cohort.seizures:
        cells = dict(seizure.columns)
        if seizure.name in labels:
            cells[sign] = classes[labels[seizure.name]]
        rows.append([seizure.subject, seizure.name, *(cells[name] for name in cohort.columns)])
    write_cohort(path, ("subject", "seizure", *cohort.columns), rows)


def _keep(run: Run) -> None:
    """Audit a set whose folds are all done, keep its predictions beside those of other rows, and delete its jobs."""
    faults = [fault for chain in audit(run) for fault in chain.faults]
    if faults:
        raise RunError(faults[0])
    path, trained = run.folder / PREDICTIONS, trained_rows(run)
    if path.exists():
        known = read_predictions(path)
        made = set(zip(trained["stream"], trained["model"], strict=True))
        pairs = zip(known["stream"], known["model"], strict=True)
        kept = [pair not in made and pair[0] != FUSED_STREAM for pair in pairs]
        trained = pool([trained, known.loc[kept]])
    write_predictions(path, pool([trained, fuse(trained)]))
    _forget(run.folder)


def _forget(folder: Path) -> None:
    """Delete the jobs of a set that is kept: their weights would fill a disk. Another run at work on it does so itself."""
    if Claims(folder / "ledger").others():
        return
    for name in ("jobs", "ledger"):
        shutil.rmtree(folder / name, ignore_errors=True)
