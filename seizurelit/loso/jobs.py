"""Which jobs make a table: a job a row, seed and fold; a student after its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seizurelit.cache.store import Cache
from seizurelit.config import Training, teaches
from seizurelit.evaluation.baselines import not_extracted
from seizurelit.evaluation.table import RowKey
from seizurelit.loso.experiment import Row, Run, job_id
from seizurelit.scheduling.jobs import Job
from seizurelit.training.networks import reads

CALL = "seizurelit.loso.job:train_fold"


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
    lacking, cohort = lacking_of(run, rows), run.cohort
    labels = {sign: cohort.labels(cohort.sign(sign)) for sign in request.signs}
    run_dir = str(run.folder.resolve())
    jobs: list[tuple[tuple[int, ...], Job]] = []
    streams = list(dict.fromkeys((row.sign, row.stream) for row in rows))
    for number, row in enumerate(rows):
        plan = run.plan(row.sign)
        without = lacking.get(RowKey(row.sign, row.stream, row.model), frozenset())
        scored = {cohort.subject_of(seizure) for seizure in labels[row.sign] if seizure not in without}
        folds = plan.folds if request.folds is None else tuple(plan.fold(name) for name in request.folds)
        folds = tuple(fold for fold in folds if not scored.isdisjoint(fold.test))
        for place, fold in enumerate(folds):
            for seed in range(request.seeds):
                first = seed == place == 0
                order = (seed, not first, streams.index((row.sign, row.stream)), place, number)
                jobs.append((order, _job(run_dir, row, seed, fold.name, taught=taught)))
    return tuple(job for _, job in sorted(jobs, key=lambda pair: pair[0]))


def _job(run_dir: str, row: Row, seed: int, fold: str, *, taught: bool) -> Job:
    teacher = (job_id(Row(row.sign, row.stream, "tcn"), seed, fold),) if row.model == "agcn_kd" and taught else ()
    arguments = {
        "run_dir": run_dir,
        "sign": row.sign,
        "stream": row.stream,
        "model": row.model,
        "seed": seed,
        "fold": fold,
    }
    return Job(job_id(row, seed, fold), CALL, arguments, teacher, resumable=True)
