"""All that a report shows of a run, read from its folder and its cache: nothing is computed anew but shares and means."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from seizurelit.cache.store import Cache
from seizurelit.cohort.manifest import Cohort, Seizure, Sign
from seizurelit.config import STREAMS
from seizurelit.errors import InputError
from seizurelit.evaluation.predictions import PROBABILITY, read_predictions
from seizurelit.evaluation.statistics.cases import Cases, cases_of
from seizurelit.evaluation.table import Row, RowKey, Table
from seizurelit.loso.experiment import Row as JobRow
from seizurelit.loso.experiment import Run
from seizurelit.loso.pooling import PREDICTIONS
from seizurelit.reporting.grounds import Grounds, only_of, read_grounds
from seizurelit.training.fit import HISTORY, WINDOWS


class Call(NamedTuple):
    """What one seed of a row says of a seizure.

    Attributes:
        seed: None for a baseline.
        named: the class.
        score: of the positive class; of the named one where there are more than two.
        threshold: NaN where there is none.
        right: whether the class is the label.
    """

    seed: int | None
    named: str
    score: float
    threshold: float
    right: bool


class Window(NamedTuple):
    """The mean score of a window over the seeds; start and end in seconds of the seizure."""

    start: float
    end: float
    score: float


class History(NamedTuple):
    """One training: the mean loss of each epoch, and the share of training seizures that were right."""

    seed: int
    fold: str
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Sighting:
    """What was seen of a seizure.

    Attributes:
        seconds: its length; NaN if nothing was extracted.
        missing: stream → share of its points without a position, over all frames.
        without: stream → share of frames without any point.
        facts: of the recording.
        made_by: stream → what extracted it.
        fault: why nothing more is known, or blank.
    """

    seconds: float = math.nan
    missing: Mapping[str, float] = field(default_factory=dict)
    without: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class Evidence:
    """A run, opened for its report.

    Attributes:
        run: its folder and configuration.
        table: of all that it holds.
        cohort: whose labels it used.
        predictions: out of fold, fusion and baselines among them.
        calls: row → seizure → what each seed says.
        sightings: seizure → what was seen of it.
        windows: row → seizure → scores over time; without those of jobs that kept none.
        histories: row → its trainings.
        videos: seizure → the file, of those that are there.
        grounds: of the scores, if `explain` was asked for them.
        shared: whether names are pseudonyms and nothing stands in it that must stay on the machine (`sharing`).
    """

    run: Run
    table: Table
    cohort: Cohort
    predictions: pd.DataFrame
    calls: Mapping[RowKey, Mapping[str, tuple[Call, ...]]]
    sightings: Mapping[str, Sighting]
    windows: Mapping[RowKey, Mapping[str, tuple[Window, ...]]]
    histories: Mapping[RowKey, tuple[History, ...]]
    videos: Mapping[str, Path]
    grounds: Grounds = field(default_factory=Grounds)
    shared: bool = False

    @cached_property
    def signs(self) -> dict[str, Sign]:
        """The signs of the table, in its order."""
        return {name: self.cohort.sign(name) for name in dict.fromkeys(row.key.sign for row in self.table.rows)}

    @cached_property
    def labels(self) -> dict[str, dict[str, str]]:
        """Sign → seizure → class name, of the rated."""
        return {
            name: {seizure: sign.classes[index] for seizure, index in self.cohort.labels(sign).items()}
            for name, sign in self.signs.items()
        }

    def in_words(self, sign: str, label: str) -> str:
        """A class in words: a sign without names of its own is present or absent."""
        return {"0": "absent", "1": "present"}[label] if self.signs[sign].binary else label

    def rows(self, sign: str, *, trained: bool = False) -> tuple[Row, ...]:
        """The rows of a sign that have a prediction; the trained ones alone if asked."""
        return tuple(
            row for row in self.table.rows if row.key.sign == sign and row.seeds and not (trained and row.baseline)
        )

    def cases(self, row: Row) -> Cases:
        """The scored seizures of a row."""
        key = row.key
        found = self.predictions
        found = found.loc[(found["sign"] == key.sign) & (found["stream"] == key.stream) & (found["model"] == key.model)]
        frames = [group for _, group in found.groupby("seed", dropna=False, sort=True)]
        return cases_of(frames, row.classes)

    def wrong(self, row: Row, seizure: str) -> bool | None:
        """Whether any seed is wrong on a seizure; None where the row says nothing of it."""
        calls = self.calls[row.key].get(seizure, ()) if row.key in self.calls else ()
        if seizure in row.counted_wrong:
            return True
        return any(not call.right for call in calls) if calls else None


def gather(run: Run, table: Table, videos: Path | None = None) -> Evidence:
    """Read what a report needs.

    Args:
        run: the run.
        table: as `loso.run` made it.
        videos: folder from which the cohort names its videos; by default that of its cohort.csv.

    Raises:
        InputError: predictions.csv is absent or damaged. What else cannot be read is left out, or its fault is shown.
    """
    cohort = run.cohort
    predictions = read_predictions(run.folder / PREDICTIONS)
    folder = videos or cohort.path.parent
    paths = {seizure.name: seizure.resolve(folder) for seizure in cohort.seizures}
    return Evidence(
        run=run,
        table=table,
        cohort=cohort,
        predictions=predictions,
        calls=_calls(predictions),
        sightings={seizure.name: _sighting(run, seizure) for seizure in cohort.seizures},
        windows={row.key: _windows(run, row) for row in table.rows},
        histories={row.key: _histories(run, row) for row in table.rows},
        grounds=only_of(read_grounds(run.folder), _scores(predictions)),
        videos={name: path.resolve() for name, path in paths.items() if path is not None and path.is_file()},
    )


def _calls(predictions: pd.DataFrame) -> dict[RowKey, dict[str, tuple[Call, ...]]]:
    found: dict[RowKey, dict[str, list[Call]]] = defaultdict(lambda: defaultdict(list))
    scores = [name for name in predictions.columns if name.startswith(PROBABILITY)]
    filled = {
        sign: [name for name in scores if bool(rows[name].notna().any())] for sign, rows in predictions.groupby("sign")
    }
    for record in predictions.to_dict("records"):
        columns = filled[record["sign"]]
        column = columns[1] if len(columns) == 2 else PROBABILITY + record["prediction"]
        call = Call(
            None if pd.isna(record["seed"]) else int(record["seed"]),
            record["prediction"],
            float(record[column]),
            float(record["threshold"]),
            record["prediction"] == record["label"],
        )
        found[RowKey(record["sign"], record["stream"], record["model"])][record["seizure"]].append(call)
    return {key: {name: tuple(calls) for name, calls in by.items()} for key, by in found.items()}


def _scores(predictions: pd.DataFrame) -> dict[RowKey, dict[str, dict[int, dict[str, float]]]]:
    """Row → seizure → seed → class → score, of the trained rows."""
    found: dict[RowKey, dict[str, dict[int, dict[str, float]]]] = defaultdict(lambda: defaultdict(dict))
    columns = [name for name in predictions.columns if name.startswith(PROBABILITY)]
    for record in predictions.loc[predictions["seed"].notna()].to_dict("records"):
        key = RowKey(record["sign"], record["stream"], record["model"])
        found[key][record["seizure"]][int(record["seed"])] = {
            name.removeprefix(PROBABILITY): float(record[name]) for name in columns if not pd.isna(record[name])
        }
    return found


def _sighting(run: Run, seizure: Seizure) -> Sighting:
    cache = Cache.open(run.setup.cache)
    missing: dict[str, float] = {}
    without: dict[str, float] = {}
    facts: dict[str, Any] = {}
    made_by: dict[str, str] = {}
    seconds = math.nan
    try:
        for stream in STREAMS:
            own = seizure.subject if cache.fitted_for(seizure.subject) else None
            if not cache.has(seizure.name, stream, own):
                own = None
            if not cache.has(seizure.name, stream):
                continue
            metadata = cache.metadata(seizure.name, stream, own)
            facts |= {name: fact for name, fact in metadata.facts.items() if fact is not None}
            made_by[stream] = metadata.extractor
            name = f"{stream}.confidence"
            if name in cache.names(seizure.name, stream, own):
                present = cache.read(seizure.name, stream, [name], fold=own)[name] > 0
                missing[stream] = float(1.0 - present.mean())
                without[stream] = float(1.0 - present.any(axis=1).mean())
                seconds = len(present) / metadata.fps
    except InputError as error:
        return Sighting(fault=error.faults[0])
    if not made_by:
        return Sighting(fault="not extracted")
    if math.isnan(seconds) and isinstance(facts.get("duration_s"), int | float):
        seconds = float(facts["duration_s"])
    return Sighting(seconds, missing, without, facts, made_by)


def _jobs(run: Run, row: Row, file: str) -> list[tuple[int, str, Path]]:
    """(seed, fold, path) of a file in each finished job of a trained row, in order."""
    found = []
    for seed in row.seeds:
        if seed is not None:
            job = run.job_folder(JobRow(*row.key), seed, "fold").parent
            found += [(seed, path.parent.name, path) for path in sorted(job.glob(f"*/{file}"))]
    return found


def _windows(run: Run, row: Row) -> dict[str, tuple[Window, ...]]:
    found: dict[str, dict[tuple[float, float], list[float]]] = defaultdict(lambda: defaultdict(list))
    if len(row.classes) != 2:
        return {}
    for _, _, path in _jobs(run, row, WINDOWS):
        with path.open(encoding="utf-8", newline="") as file:
            for record in csv.DictReader(file):
                span = float(record["start"]), float(record["end"])
                found[record["seizure"]][span].append(float(record["score_1"]))
    return {
        seizure: tuple(Window(*span, sum(scores) / len(scores)) for span, scores in sorted(spans.items()))
        for seizure, spans in found.items()
    }


def _histories(run: Run, row: Row) -> tuple[History, ...]:
    found = []
    for seed, fold, path in _jobs(run, row, HISTORY):
        with path.open(encoding="utf-8", newline="") as file:
            lines = [line for line in csv.DictReader(file) if line.get("train_loss")]
        loss = tuple(float(line["train_loss"]) for line in lines)
        accuracy = tuple(float(line.get("train_accuracy") or "nan") for line in lines)
        found.append(History(seed, fold, loss, accuracy))
    return tuple(found)
