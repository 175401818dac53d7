"""A model file on a cohort that it never saw: the whole table, how the cohort differs, and a calibration on it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.manifest import Cohort
from seizurelit.cohort.plan import Fold, Plan
from seizurelit.config import RESEARCH_USE
from seizurelit.errors import InputError
from seizurelit.evaluation.baselines import always_positive, not_extracted, score_baselines
from seizurelit.evaluation.predictions import pool, prediction_rows, write_predictions
from seizurelit.evaluation.rendering import write_table
from seizurelit.evaluation.statistics.calibration import Calibration, fitted
from seizurelit.evaluation.table import RowKey, RunInfo, Table, make_table
from seizurelit.handover.ensemble import Ensemble, RowModel, score
from seizurelit.handover.fitting import store_of
from seizurelit.handover.likeness import statistics_of, unlikeness
from seizurelit.handover.model_file import MARK, read_header, read_model, rewrite_model
from seizurelit.tracking.pseudonyms import pseudonym, read_key

EXTERNAL: Literal["external"] = "external"
SHIFT = "shift.csv"
UNCHECKED = ", of whom it could not be checked that none was trained on (another key)"
FEWEST_SUBJECTS = 10
"""With fewer, or fewer than three of a class, a calibration is not called one that makes probabilities."""


@dataclass(frozen=True)
class Evaluated:
    """What was found.

    Attributes:
        table: the whole statistical table.
        shift: a line a statistic: stream, statistic, training mean and sd, mean and sd here, difference in training sds.
        lines: for the person who reads.
    """

    table: Table
    shift: tuple[Mapping[str, Any], ...]
    lines: tuple[str, ...]


def evaluate(
    model: Path, root: Path, *, override: Path | None, sign: str | None, out: Path, calibrated: Path | None
) -> Evaluated:
    """Score a cohort by a model file and write predictions.csv, table.csv, table.md, shift.csv and evaluation.json.

    Args:
        model: the file.
        root: cache of the other cohort.
        override: a cohort.csv to read the labels from instead.
        sign: of this sign alone.
        out: folder for the files.
        calibrated: file to write the model to again, calibrated on this cohort.

    Raises:
        InputError: a subject or a recording of this cohort was trained on, classes differ, or tensors do not fit.
    """
    ensemble, header = read_model(model), read_header(model)
    cache = Cache.open(root)
    cohort = cache.cohort(override)
    notes = _refuse_seen(ensemble, cache, cohort, model)
    never_seen = not notes
    rows = [row for row in ensemble.rows if sign in (None, row.sign)]
    if not rows:
        msg = f"{model}: has no network for {sign}; it has {', '.join(row.name for row in ensemble.rows)}"
        raise InputError(msg)
    frames: list[pd.DataFrame] = []
    plans: dict[str, Plan] = {}
    lacking: dict[RowKey, frozenset[str]] = {}
    calibrations: dict[str, tuple[Calibration, str]] = {}
    for row in rows:
        labels = _labels(row, cohort)
        subjects = tuple(sorted({cohort.subject_of(name) for name in labels}))
        plans[row.sign] = Plan(row.sign, EXTERNAL, 0, (Fold(EXTERNAL, subjects, (), ()),))
        wanted = {(row.stream, row.model): row.needs}
        lacking |= {RowKey(*k): names for k, names in not_extracted(cache, cohort, plans[row.sign], wanted).items()}
        scored = score(row, store_of(ensemble, row, cache, cohort, labels))
        frames += _predictions(row, {name: one.members for name, one in scored.items()}, labels, cohort)
        names = sorted(scored)
        found = fitted(
            np.stack([scored[name].score for name in names]),
            np.array([labels[name] for name in names]),
            [cohort.subject_of(name) for name in names],
        )
        if found is not None:
            on = f"a cohort of {found.subjects} subjects and {found.seizures} seizures{'' if never_seen else UNCHECKED}"
            calibrations[row.name] = (found, on)
    for name, plan in plans.items():
        streams = tuple(dict.fromkeys(row.stream for row in rows if row.sign == name))
        frames.append(_baselines(ensemble, cohort, plan, cache, streams))
    without = sorted(set(plans) - set(ensemble.baselines))
    if without:
        notes.append(
            f"{', '.join(without)}: the file has no baselines but always positive; export it again for those of its cohort"
        )
    predictions = pool(frames)
    seeds = tuple(range(max(len(row.members) for row in rows)))
    info = RunInfo(
        run_id=str(ensemble.origin.get("run", "")),
        seeds=seeds,
        rows=tuple(RowKey(row.sign, row.stream, row.model) for row in rows),
        lacking=lacking,
        stand_in=ensemble.stand_in or cohort.is_standin,
        notes=tuple(notes),
    )
    table = make_table(predictions, plans, cohort, info)
    shift, unlike = _shift(ensemble, cache, cohort)
    prevalence = _prevalence(rows, cohort, header)
    write_predictions(out / "predictions.csv", predictions)
    write_table(out, table)
    write_whole(out / SHIFT, _csv(shift).encode())
    value = {
        "schema": 1,
        "research_use": RESEARCH_USE,
        "stand_in": info.stand_in,
        "model": {name: item for name, item in ensemble.origin.items() if name != "key_mark"},
        "notes": notes,
        "prevalence": prevalence,
        "unlike": unlike,
        "never_seen": never_seen,
        "calibrations": {name: {"slope": one.slope, "bias": list(one.bias)} for name, (one, _) in calibrations.items()},
    }
    write_whole(out / "evaluation.json", (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())
    lines = [*_shift_lines(shift, unlike, prevalence), *notes]
    if calibrated is not None:
        lines.append(_rewrite(model, calibrated, calibrations, rows, cohort, never_seen=never_seen))
    return Evaluated(table, tuple(shift), tuple(lines))


def _refuse_seen(ensemble: Ensemble, cache: Cache, cohort: Cohort, model: Path) -> list[str]:
    """Refuse a cohort with anybody whom the networks saw; a note where that cannot be known."""
    key = read_key()
    if pseudonym(MARK, key) != ensemble.origin["key_mark"]:
        return [
            "The file was exported under another key: whether a subject of this cohort was trained on cannot be told here, and a "
            "calibration on it makes no probabilities. Whoever exported the file can tell, with the key that it was exported under."
        ]
    seen = [name for name in cohort.subjects if pseudonym(name, key) in ensemble.subjects]
    for stream in ensemble.streams:
        for name in cache.seizures(stream):
            if pseudonym(cache.metadata(name, stream).source_digest, key) in ensemble.sources:
                seen.append(cache.metadata(name, stream).subject)
    if seen:
        names = ", ".join(sorted(set(seen))[:6])
        msg = (
            f"{cache.root}: {names} may be of those that {model} was trained on (same name or same recording); "
            "evaluate on others, or rename subjects who only share a name"
        )
        raise InputError(msg)
    return []


def _labels(row: RowModel, cohort: Cohort) -> dict[str, int]:
    sign = cohort.sign(row.sign)
    if sign.classes != row.classes:
        msg = f"{cohort.path}: {row.sign} has the classes {', '.join(sign.classes)}; the networks know {', '.join(row.classes)}"
        raise InputError(msg)
    return cohort.labels(sign)


def _predictions(
    row: RowModel, members: Mapping[str, Any], labels: Mapping[str, int], cohort: Cohort
) -> list[pd.DataFrame]:
    return [
        prediction_rows(
            {name: scores[number] for name, scores in members.items()},
            sign=row.sign,
            classes=row.classes,
            stream=row.stream,
            model=row.model,
            seed=number,
            fold=EXTERNAL,
            subject_of={name: cohort.subject_of(name) for name in members},
            label_of=labels,
            threshold=row.members[number].threshold,
        )
        for number in range(len(row.members))
    ]


def _baselines(ensemble: Ensemble, cohort: Cohort, plan: Plan, cache: Cache, streams: tuple[str, ...]) -> pd.DataFrame:
    """Always positive, and what the training cohort taught the other baselines."""
    fitted = ensemble.baselines.get(plan.sign)
    if fitted is None or len(fitted.prior) != len(cohort.sign(plan.sign).classes):
        return always_positive(cohort, cohort.sign(plan.sign), plan)
    return score_baselines(fitted, cohort, plan, cache, streams)


def _shift(ensemble: Ensemble, cache: Cache, cohort: Cohort) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """How the recordings differ from those of training, and how many would not be judged for it."""
    lines: list[dict[str, Any]] = []
    unlike: dict[str, Any] = {}
    for stream, reference in sorted(ensemble.references.items()):
        found = statistics_of(cache, stream, [seizure.name for seizure in cohort.seizures])
        distances = [unlikeness(reference, one) for one in found.values()]
        unlike[stream] = {"unlike": sum(one.unlike for one in distances), "of": len(distances)}
        for place, name in enumerate(reference.names):
            values = [one[name] for one in found.values() if math.isfinite(one.get(name, math.nan))]
            mean = float(np.mean(values)) if values else math.nan
            lines.append(
                {
                    "stream": stream,
                    "statistic": name,
                    "training_mean": float(reference.mean[place]),
                    "training_sd": float(reference.sd[place]),
                    "mean": mean,
                    "sd": float(np.std(values)) if values else math.nan,
                    "difference_in_sd": (mean - float(reference.mean[place])) / float(reference.sd[place]),
                    "seizures": len(values),
                }
            )
    return lines, unlike


def _prevalence(rows: Sequence[RowModel], cohort: Cohort, header: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for row in rows:
        counts = Counter(row.classes[label] for label in cohort.labels(cohort.sign(row.sign)).values())
        found[row.sign] = {"here": dict(counts), "training": _in_training(header, row.sign)}
    return found


def _in_training(header: Mapping[str, Any], sign: str) -> dict[str, int]:
    """Seizures by class, as the file says; empty if it does not."""
    try:
        counts = header["cohort"]["signs"][sign]["seizures"]
        return {str(name): int(count) for name, count in counts.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _csv(lines: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    names = list(lines[0]) if lines else ["stream"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({k: f"{cell:.6g}" if isinstance(cell, float) else cell for k, cell in line.items()})
    return text.getvalue()


def _shift_lines(
    shift: Sequence[Mapping[str, Any]], unlike: Mapping[str, Any], prevalence: Mapping[str, Any]
) -> list[str]:
    lines = []
    for sign, counts in prevalence.items():
        here, trained = (
            ", ".join(f"{k}: {n}" for k, n in sorted(counts[part].items())) for part in ("here", "training")
        )
        lines.append(f"{sign}: seizures by class here {here}; in training {trained or 'not said'}")
    for stream, counts in unlike.items():
        lines.append(f"{stream}: {counts['unlike']} of {counts['of']} recordings are unlike the training cohort")
    known = [line for line in shift if math.isfinite(line["difference_in_sd"])]
    for line in sorted(known, key=lambda line: -abs(line["difference_in_sd"]))[:5]:
        lines.append(f"  {line['stream']} {line['statistic']}: {line['difference_in_sd']:+.1f} training sd")
    return lines


def _rewrite(
    model: Path,
    path: Path,
    found: Mapping[str, tuple[Calibration, str]],
    rows: Sequence[RowModel],
    cohort: Cohort,
    *,
    never_seen: bool,
) -> str:
    """Write the model calibrated on this cohort, if it is large enough for that."""
    if not found:
        msg = f"{cohort.path}: no score rises with its label here, so that there is nothing to calibrate by; no {path} was written"
        raise InputError(msg)
    for row in rows:
        labels = cohort.labels(cohort.sign(row.sign))
        by_class = [
            len({cohort.subject_of(name) for name, label in labels.items() if label == k})
            for k in range(len(row.classes))
        ]
        subjects = len({cohort.subject_of(name) for name in labels})
        if subjects < FEWEST_SUBJECTS or min(by_class) < 3:
            msg = (
                f"{cohort.path}: {subjects} subjects ({min(by_class)} of the rarer class of {row.sign}) are too few to call a "
                f"score a probability; give {FEWEST_SUBJECTS} or more, three of each class; no {path} was written"
            )
            raise InputError(msg)
    if cohort.is_standin and not read_header(model)["stand_in"]:
        msg = f"{cohort.path}: is a stand-in cohort, synthetic people; calibrate on a real one; no {path} was written"
        raise InputError(msg)
    digest = rewrite_model(path, model, found, never_seen=never_seen)
    if not never_seen:
        return f"{path}: the model calibrated on this cohort; its scores stay scores, as the key is another; SHA-256 {digest}"
    return f"{path}: the model with scores that are probabilities on a cohort like this one; SHA-256 {digest}"
