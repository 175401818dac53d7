"""The grounds of a run's scores, as `python -m seizurelit.explain` wrote them into the run's folder, read for its report.

The form of the files stands at the head of `explanation/run.py`, which takes their names from here. What cannot be read is said in
one line instead of shown.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seizurelit.evaluation.statistics.cases import Floats
from seizurelit.evaluation.table import RowKey

FOLDER = "explanation"
INDEX = "index.json"
SCHEMA = 2

_SAME = 0.01
"""Scores of the same networks differ by less, whatever the batch that they were in."""


@dataclass(frozen=True)
class Figure:
    """A mean over subjects.

    Attributes:
        value: None without any.
        low: of its 95% interval; None without one.
        high: likewise.
        subjects: how many.
    """

    value: float | None
    low: float | None
    high: float | None
    subjects: int


@dataclass(frozen=True, eq=False)
class Band:
    """A score over the shares that are taken away or put in.

    Attributes:
        mean: (F,).
        low: (F,) of its pointwise band; None for too few subjects.
        high: likewise.
    """

    mean: Floats
    low: Floats | None
    high: Floats | None


@dataclass(frozen=True)
class Sanity:
    """Whether the maps outlive their networks' weights.

    Attributes:
        alike: to what → likeness of the ranks, up to a sign, and of the ranks of the sizes.
        limit: from which on a map is said to survive.
        destroyed: None where it cannot be told.
    """

    alike: Mapping[str, tuple[Figure, Figure]]
    limit: float
    destroyed: bool | None


@dataclass(frozen=True, eq=False)
class SeizureGrounds:
    """What spoke for the class that a network named. S bins of time, V joints.

    Attributes:
        named: the class.
        score: of it.
        values: (S, V) integrated gradients; above 0 speaks for the class, below against it.
        grad_cam: (S, V), 0 or above; None where the network has none.
    """

    named: str
    score: float
    values: Floats
    grad_cam: Floats | None


@dataclass(frozen=True, eq=False)
class RowGrounds:
    """The grounds of a row's out-of-fold scores, of one seed.

    Attributes:
        seed: whose networks.
        correct: seizures that they name rightly, of which the means are.
        seizures: how many there are.
        names: of the V joints; one, `appearance`, for features of a crop.
        seconds: length of a bin.
        gains: deletion, insertion → how much more than at random.
        fractions: (F,) shares that are taken away or put in.
        curves: deletion, insertion, random_deletion, random_insertion.
        sanity: None if it was not asked for.
        localisation: method → (right, of), of seizures whose true arm is known; empty without any.
        adjacency: (blocks, V, V) source, target; None without a graph.
        bones: (child, parent).
        places: (V, 2) in [0, 1], y down.
        by_seizure: by name.
    """

    seed: int
    correct: int
    seizures: int
    names: tuple[str, ...]
    seconds: float
    gains: Mapping[str, Figure]
    fractions: Floats
    curves: Mapping[str, Band]
    sanity: Sanity | None
    localisation: Mapping[str, tuple[int, int]]
    adjacency: Floats | None
    bones: tuple[tuple[int, int], ...]
    places: Floats
    by_seizure: Mapping[str, SeizureGrounds]


@dataclass(frozen=True)
class Grounds:
    """All that there is.

    Attributes:
        rows: of the table.
        fault: why something is not shown, in one line, or blank; also where nothing was explained.
    """

    rows: Mapping[RowKey, RowGrounds] = field(default_factory=dict)
    fault: str = ""


def read_grounds(run: Path) -> Grounds:
    """What a run's folder has; a row that cannot be read is left out and said."""
    folder = run / FOLDER
    if not (folder / INDEX).is_file():
        return Grounds()
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["schema"] != SCHEMA:
            return Grounds(fault="The grounds were written by another version; run explain again.")
        records = [(RowKey(str(row["sign"]), str(row["stream"]), str(row["model"])), row) for row in index["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return Grounds(fault=f"{INDEX} of the grounds cannot be read; run explain again.")
    rows: dict[RowKey, RowGrounds] = {}
    faults = []
    for key, record in records:
        try:
            path = folder / Path(str(record["file"])).name
            rows[key] = _row(record, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            faults.append(" ".join(key))
    said = f"The grounds of {', '.join(faults)} cannot be read; run explain again." if faults else ""
    return Grounds(rows, said)


def only_of(grounds: Grounds, scores: Mapping[RowKey, Mapping[str, Mapping[int, Mapping[str, float]]]]) -> Grounds:
    """The grounds without those of other networks than the table's: their scores are not those of the predictions.

    Args:
        grounds: as read.
        scores: row → seizure → seed → class → score, of the predictions.
    """
    kept: dict[RowKey, RowGrounds] = {}
    old = []
    for key, row in grounds.rows.items():
        known = scores.get(key, {})
        same = all(
            abs(known.get(name, {}).get(row.seed, {}).get(one.named, -1.0) - one.score) < _SAME
            for name, one in row.by_seizure.items()
        )
        if same:
            kept[key] = row
        else:
            old.append(" ".join(key))
    said = f"The grounds of {', '.join(old)} are of other networks than the table’s; run explain again." if old else ""
    return Grounds(kept, " ".join(filter(None, [grounds.fault, said])))


def renamed(grounds: Grounds, names: Mapping[str, str], text: Callable[[str], str]) -> Grounds:
    """The same under other names.

    Args:
        grounds: as read.
        names: seizure → its new name; those without one are left out.
        text: what may be said of a text.
    """
    rows = {
        key: dataclasses.replace(
            row,
            names=tuple(map(text, row.names)),
            by_seizure={names[name]: one for name, one in row.by_seizure.items() if name in names},
        )
        for key, row in grounds.rows.items()
    }
    return Grounds(rows, text(grounds.fault))


def _row(record: Mapping[str, Any], value: Mapping[str, Any]) -> RowGrounds:
    names = tuple(map(str, value["names"]))
    count = len(names)
    adjacency = None if value["adjacency"] is None else _floats(value["adjacency"], 3)
    places = _floats(value["places"], 2) if value["places"] else np.zeros((0, 2))
    bones = tuple((int(child), int(parent)) for child, parent in value["bones"])
    if adjacency is not None and (
        adjacency.shape[1:] != (count, count)
        or places.shape != (count, 2)
        or not all(0 <= joint < count for bone in bones for joint in bone)
    ):
        msg = "a graph of other joints"
        raise ValueError(msg)
    return RowGrounds(
        seed=int(record["seed"]),
        correct=int(record["correct"]),
        seizures=int(record["seizures"]),
        names=names,
        seconds=float(value["seconds"]),
        gains={str(name): _figure(gain, "gain") for name, gain in record["faithfulness"].items()},
        fractions=_floats(value["fractions"], 1),
        curves={str(name): _band(curve, len(value["fractions"])) for name, curve in value["curves"].items()},
        sanity=None if record["sanity"] is None else _sanity(record["sanity"]),
        localisation={
            str(method): (int(hits["right"]), int(hits["of"]))
            for method, hits in (record["localisation"] or {}).items()
            if method != "chance"
        },
        adjacency=adjacency,
        bones=bones,
        places=places,
        by_seizure={str(name): _seizure(one, count) for name, one in value["seizures"].items()},
    )


def _seizure(one: Mapping[str, Any], joints: int) -> SeizureGrounds:
    values = _floats(one["values"], 2)
    cam = None if one["grad_cam_values"] is None else _floats(one["grad_cam_values"], 2)
    if values.shape[1] != joints or (cam is not None and cam.shape != values.shape):
        msg = "a map of other joints"
        raise ValueError(msg)
    return SeizureGrounds(str(one["named"]), float(one["score"]), values, cam)


def _sanity(value: Mapping[str, Any]) -> Sanity:
    alike = {
        str(name): (_figure(kinds["signed"], "rho"), _figure(kinds["strength"], "rho"))
        for name, kinds in value["alike"].items()
    }
    return Sanity(alike, float(value["limit"]), None if value["destroyed"] is None else bool(value["destroyed"]))


def _figure(value: Mapping[str, Any], name: str) -> Figure:
    number, low, high = (None if value[key] is None else float(value[key]) for key in (name, "low", "high"))
    return Figure(number, low, high, int(value["subjects"]))


def _band(value: Mapping[str, Any], count: int) -> Band:
    mean, low, high = (None if value[key] is None else _floats(value[key], 1) for key in ("mean", "low", "high"))
    if mean is None or any(part is not None and len(part) != count for part in (mean, low, high)):
        msg = "a curve of other fractions"
        raise ValueError(msg)
    return Band(mean, low, high)


def _floats(value: Sequence[Any], axes: int) -> Floats:
    found = np.asarray(value, dtype=float)
    if found.ndim != axes or not found.size or not np.isfinite(found).all():
        msg = "no such table of numbers"
        raise ValueError(msg)
    return found
