"""Out-of-fold predictions, all that a table is made of: one row a seizure, model and seed (`predictions.csv`)."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seizurelit.cohort.files import write_whole
from seizurelit.errors import InputError

KEYS = ("sign", "stream", "model", "seed", "fold", "subject", "seizure")
COLUMNS = (*KEYS, "label", "prediction", "threshold")
PROBABILITY = "prob_"

# `stream` is blank for a baseline that looks at no stream, `seed` for one that draws nothing, `threshold` for more
# than two classes.
_REQUIRED = ("sign", "model", "fold", "subject", "seizure", "label", "prediction")
_SHOWN_FAULTS = 20
# Probabilities are written with nine digits, and were often computed in float32.
_SUM_TOLERANCE = 1e-5


def decide(probabilities: np.ndarray, classes: Sequence[str], threshold: float | None) -> list[str]:
    """The class named for each seizure.

    Args:
        probabilities: (S, K), in the order of `classes`.
        classes: K names; of two, the second is the positive one.
        threshold: with two classes, the positive one is named where its score is at or above this; None means 0.5.
            With more, the class of the highest score is named, the first of equals, and a threshold means nothing.

    Returns:
        S class names.
    """
    scores = np.asarray(probabilities, dtype=float).reshape(-1, len(classes))
    cut = 0.5 if threshold is None else threshold
    chosen = (scores[:, 1] >= cut).astype(int) if len(classes) == 2 else scores.argmax(axis=1)
    return [classes[index] for index in chosen]


def prediction_rows(
    scores: Mapping[str, np.ndarray],
    *,
    sign: str,
    classes: Sequence[str],
    stream: str,
    model: str,
    seed: int | None,
    fold: str,
    subject_of: Mapping[str, str],
    label_of: Mapping[str, int],
    threshold: float | None = 0.5,
) -> pd.DataFrame:
    """The predictions of one fold as rows.

    Args:
        scores: seizure → (K,) probabilities, in the order of `classes`.
        sign: the sign that is predicted.
        classes: its K class names; of two, the second is the positive one.
        stream: pose, face, pose+face, or blank where a baseline looks at none.
        model: agcn, tcn, agcn_kd, fusion or a baseline's name.
        seed: of the training; None where nothing is drawn.
        fold: its name.
        subject_of: seizure → subject.
        label_of: seizure → index of its class.
        threshold: of the positive class; left blank for more than two classes.
    """
    seizures = sorted(scores)
    table = np.array([scores[name] for name in seizures], dtype=float).reshape(len(seizures), len(classes))
    decided = decide(table, classes, threshold)
    kept = threshold if len(classes) == 2 else None
    return as_frame(
        {
            "sign": sign,
            "stream": stream,
            "model": model,
            "seed": seed,
            "fold": fold,
            "subject": subject_of[name],
            "seizure": name,
            "label": classes[label_of[name]],
            "prediction": prediction,
            "threshold": kept,
            **{PROBABILITY + c: float(value) for c, value in zip(classes, row, strict=True)},
        }
        for name, prediction, row in zip(seizures, decided, table, strict=True)
    )


def as_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows with the columns of `COLUMNS` and `prob_<class>` as a frame with fixed types, in the order given.

    Text is object (blank = ''), `seed` is Int64 (blank = NA), `threshold` and the probabilities are float64 (blank =
    NaN).
    """
    listed = list(rows)
    scores = sorted({name for row in listed for name in row if name.startswith(PROBABILITY)})
    frame: dict[str, Any] = {}
    for name in COLUMNS:
        cells = [row.get(name) for row in listed]
        if name == "seed":
            seeds: list[Any] = [pd.NA if _blank(cell) else int(str(cell)) for cell in cells]
            frame[name] = pd.Series(seeds, dtype="Int64")
        elif name == "threshold":
            frame[name] = _floats(cells)
        else:
            frame[name] = np.array(["" if cell is None else str(cell) for cell in cells], dtype=object)
    for name in scores:
        frame[name] = _floats([row.get(name) for row in listed])
    return pd.DataFrame(frame, columns=[*COLUMNS, *scores])


def pool(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All predictions of several jobs in one frame, in the order of the file, checked as a whole.

    Raises:
        InputError: a seizure that is predicted twice, or labelled in two ways.
    """
    listed = [frame for frame in frames if len(frame)]
    if not listed:
        return as_frame(())
    joined = pd.concat(listed, ignore_index=True)
    scores = sorted(name for name in joined.columns if name.startswith(PROBABILITY))
    joined = joined[[*COLUMNS, *scores]]
    check_predictions(joined, "the run's predictions")
    return _ordered(joined)


def classes_of(predictions: pd.DataFrame, sign: str) -> tuple[str, ...]:
    """The class names of a sign, sorted: the `prob_` columns that its rows fill; of two, the second is positive."""
    rows = predictions.loc[predictions["sign"] == sign]
    scores = [name for name in predictions.columns if name.startswith(PROBABILITY)]
    return tuple(sorted(name.removeprefix(PROBABILITY) for name in scores if bool(rows[name].notna().any())))


def write_predictions(path: Path, predictions: pd.DataFrame | Iterable[Mapping[str, Any]]) -> Path:
    """Write `predictions.csv`, whole or not at all: sorted by `KEYS`, floats as `.9g`, what does not apply blank.

    The same predictions in any order give the same bytes.

    Raises:
        InputError: a row that is not an out-of-fold prediction, a duplicate, or a contradiction, each with its row.
    """
    frame = predictions if isinstance(predictions, pd.DataFrame) else as_frame(predictions)
    check_predictions(frame, path.name)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in _ordered(frame).itertuples(index=False, name=None):
        writer.writerow(["" if _blank(cell) else f"{cell:.9g}" if isinstance(cell, float) else cell for cell in row])
    write_whole(path, text.getvalue().encode())
    return path


def read_predictions(path: Path) -> pd.DataFrame:
    """Read `predictions.csv` back, in the order of the file.

    Raises:
        InputError: every fault that is found, each with its line in the file.
    """
    remedy = "run again to have it written anew"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        msg = f"{path}: no such file; name a run folder that has one, or run it first"
        raise InputError(msg) from None
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 (byte {error.start}); {remedy}"
        raise InputError(msg) from None
    reader = csv.reader(io.StringIO(text), strict=True)
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    faults: list[str] = []
    try:
        header = next(reader, [])
        scores = [name for name in header if name.startswith(PROBABILITY)]
        faults += [f"line 1: no column '{name}'" for name in COLUMNS if name not in header]
        faults += [f"line 1: unknown column '{name}'" for name in header if name not in (*COLUMNS, *scores)]
        faults += [
            f"line 1: column '{name}' stands twice" for name in sorted({n for n in header if header.count(n) > 1})
        ]
        if faults:
            _refuse(str(path), faults)
        numbers = ["threshold", *scores]
        for cells in reader:
            line = f"line {reader.line_num}"
            if len(cells) != len(header):
                faults.append(f"{line}: {len(cells)} cells where the header has {len(header)}")
                continue
            row: dict[str, Any] = dict(zip(header, cells, strict=True))
            seed = row["seed"]
            if seed and not re.fullmatch(r"\d{1,18}", seed):
                faults.append(f"{line}: seed '{seed}' is no whole number")
                continue
            wrong = [name for name in numbers if row[name] and _number(row[name]) is None]
            faults += [f"{line}: {name} '{row[name]}' is no number" for name in wrong]
            if not wrong:
                rows.append({**row, **{name: _number(row[name]) for name in numbers}})
                lines.append(line)
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")
    frame = as_frame(rows)
    if faults or rows:
        _refuse(str(path), [*faults, *(_faults(frame, lines) if rows else [])])
    return frame


def check_predictions(predictions: pd.DataFrame, where: str) -> None:
    """Refuse rows that are no out-of-fold predictions, duplicates and contradictions.

    Args:
        predictions: typed as `as_frame` does.
        where: what the message calls them.

    Raises:
        InputError: a line for each fault, with its row (from 1, the header not counted).
    """
    _refuse(where, _faults(predictions, [f"row {row}" for row in range(1, len(predictions) + 1)]))


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    columns = [frame[name].tolist() for name in KEYS]
    seed = KEYS.index("seed")
    columns[seed] = [-1 if _blank(cell) else int(cell) for cell in columns[seed]]
    keys = list(zip(*columns, strict=True))
    return frame.iloc[sorted(range(len(keys)), key=keys.__getitem__)].reset_index(drop=True)


def _faults(frame: pd.DataFrame, lines: Sequence[str]) -> list[str]:
    """What stops the rows from being out-of-fold predictions; `lines` says where each row stands."""
    scores = [name for name in frame.columns if name.startswith(PROBABILITY)]
    classes = {sign: classes_of(frame, sign) for sign in dict.fromkeys(frame["sign"])}
    values = frame[scores].to_numpy(dtype=float)
    first: dict[tuple[Any, ...], str] = {}
    known: dict[tuple[str, str], tuple[str, str, str]] = {}
    faults: list[str] = []
    for index, row in enumerate(frame[list(COLUMNS)].itertuples(index=False, name=None)):
        sign, stream, model, seed, _, subject, seizure, label, prediction, threshold = row
        line = lines[index]
        blank = [name for name in _REQUIRED if row[COLUMNS.index(name)] == ""]
        if blank:
            faults.append(f"{line}: {', '.join(blank)} is blank")
            continue
        own = classes[sign]
        faults += [
            f"{line}: {what} '{name}' is none of the classes of {sign} ({', '.join(own) or 'no score is given'})"
            for what, name in (("label", label), ("prediction", prediction))
            if name not in own
        ]
        filled = values[index][[name.removeprefix(PROBABILITY) in own for name in scores]]
        if not (np.isfinite(filled).all() and (filled >= 0).all() and abs(filled.sum() - 1) <= _SUM_TOLERANCE):
            faults.append(
                f"{line}: the scores of {seizure} are not probabilities of all classes of {sign} that sum to 1"
            )
        if not _blank(threshold) and not 0 <= threshold <= 1:
            faults.append(f"{line}: threshold {threshold:.9g} is not in [0, 1]")
        key = (sign, stream, model, -1 if _blank(seed) else int(seed), seizure)
        if key in first:
            by = "/".join(part for part in (sign, stream, model) if part) + ("" if _blank(seed) else f"/seed-{seed}")
            faults.append(f"{line}: {seizure} is predicted a second time by {by} (first: {first[key]})")
        first.setdefault(key, line)
        fact = known.setdefault((sign, seizure), (subject, label, line))
        if fact[:2] != (subject, label):
            faults.append(
                f"{line}: {seizure} is of subject {subject} and '{label}' for {sign}, "
                f"but of {fact[0]} and '{fact[1]}' in {fact[2]}"
            )
    return faults


def _refuse(where: str, faults: Sequence[str]) -> None:
    if faults:
        shown = [f"{where}, {fault}" for fault in faults[:_SHOWN_FAULTS]]
        if len(faults) > _SHOWN_FAULTS:
            shown.append(f"{where}: {len(faults) - _SHOWN_FAULTS} more faults of this kind")
        shown.append(f"{where}: predictions are never mended by hand; remove the file and run again")
        raise InputError(*shown)


def _floats(cells: Sequence[Any]) -> np.ndarray:
    return np.array([math.nan if _blank(cell) else float(cell) for cell in cells], dtype=float)


def _blank(cell: Any) -> bool:
    return (
        cell is None
        or cell is pd.NA
        or (isinstance(cell, str) and cell == "")
        or (isinstance(cell, float) and math.isnan(cell))
    )


def _number(text: str) -> float | None:
    if text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
