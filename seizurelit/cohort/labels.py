"""Several raters' opinions of a sign (`labels.csv`), and the majority that becomes a label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seizurelit.cohort.table import name_fault, read_table, seconds
from seizurelit.errors import InputError

if TYPE_CHECKING:
    from seizurelit.cohort.manifest import Cohort

LABELS = "labels.csv"
"""The name of the file, beside `cohort.csv`."""

Value = Literal["0", "1", "?"]


@dataclass(frozen=True)
class Rating:
    """What one rater said of one sign in one seizure; an intermittent sign has one rating for each time it was seen.

    Attributes:
        seizure: a seizure of the cohort.
        sign: name of the sign.
        rater: who said so.
        value: 0 absent, 1 present, ? cannot be told.
        onset: seconds from the start of the seizure, or None.
        offset: seconds from the start of the seizure, or None.
        side: as written, such as left; blank if not given.
        limb: as written, such as arm; blank if not given.
        blinded: whether the rater knew nothing else of the patient; None if not given.
    """

    seizure: str
    sign: str
    rater: str
    value: Value
    onset: float | None = None
    offset: float | None = None
    side: str = ""
    limb: str = ""
    blinded: bool | None = None


def read_labels(path: Path, cohort: Cohort) -> tuple[Rating, ...]:
    """Read `labels.csv`: the columns seizure, sign, rater, value, and optionally onset, offset, side, limb, blinded.

    Raises:
        InputError: every fault with its row.
    """
    faults: list[str] = []
    ratings = parse_labels(path, [seizure.name for seizure in cohort.seizures], faults)
    if faults:
        raise InputError(*faults)
    return ratings


def parse_labels(path: Path, seizures: Collection[str], faults: list[str]) -> tuple[Rating, ...]:
    """As `read_labels`, of the named seizures; faults are appended to a list."""
    table = read_table(path, ("seizure", "sign", "rater", "value"), faults)
    known = set(seizures)
    ratings: list[Rating] = []
    lines: dict[tuple[str, str, str], list[tuple[int, Rating]]] = defaultdict(list)
    for row in table.rows if table else ():
        at, cells = f"{path}, row {row.line}", row.cells
        before = len(faults)
        if cells["seizure"] not in known:
            faults.append(
                f"{at}: seizure {cells['seizure']!r} is not in cohort.csv; delete the row or correct the name"
            )
        wrong = name_fault(cells["sign"])
        if wrong:
            faults.append(f"{at}: sign {cells['sign']!r} {wrong}")
        if not cells["rater"]:
            faults.append(f"{at}: no rater; name the rater, by a pseudonym if need be")
        if cells["value"] not in ("0", "1", "?"):
            faults.append(f"{at}: value {cells['value']!r} is none of 0, 1 and ?; write one of them, or delete the row")
        times: list[float | None] = []
        for name in ("onset", "offset"):
            time = seconds(cells.get(name, ""))
            if isinstance(time, str):
                faults.append(f"{at}: {name} {cells[name]!r} {time}")
            times.append(None if isinstance(time, str) else time)
        onset, offset = times
        if onset is not None and offset is not None and onset >= offset:
            faults.append(f"{at}: onset {onset:g} s is not before offset {offset:g} s; correct one of them")
        if cells.get("blinded", "") not in ("", "0", "1"):
            faults.append(
                f"{at}: blinded {cells['blinded']!r} is neither 0 nor 1; write one of them, or leave it empty"
            )
        if len(faults) > before:
            continue
        blinded = {"0": False, "1": True}.get(cells.get("blinded", ""))
        value: Value = "1" if cells["value"] == "1" else "0" if cells["value"] == "0" else "?"
        rating = Rating(
            cells["seizure"],
            cells["sign"],
            cells["rater"],
            value,
            onset,
            offset,
            cells.get("side", ""),
            cells.get("limb", ""),
            blinded,
        )
        key = (rating.seizure, rating.sign, rating.rater)
        for line, other in lines[key]:
            if other.value != rating.value:
                faults.append(
                    f"{at}: rater {rating.rater!r} says {rating.value} for {rating.sign!r} of {rating.seizure!r}, "
                    f"but {other.value} in row {line}; keep one of the two"
                )
                break
            if other == rating:
                faults.append(f"{at}: repeats row {line}; delete one of the two")
                break
        lines[key].append((row.line, rating))
        ratings.append(rating)
    return tuple(ratings)


def majority(ratings: Iterable[Rating]) -> dict[str, dict[str, Literal["0", "1"] | None]]:
    """What most raters say, sign by sign and seizure by seizure.

    A rater has one vote a sign and seizure, however often the sign was seen. `?` is a vote that it cannot be told.

    Returns:
        sign → seizure → "0", "1", or None where no value has more votes than any other, or where that one is `?`.
    """
    votes: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for rating in ratings:
        votes[rating.sign][rating.seizure][rating.rater] = rating.value
    return {
        sign: {seizure: _winner(by_rater.values()) for seizure, by_rater in seizures.items()}
        for sign, seizures in votes.items()
    }


def _winner(values: Iterable[str]) -> Literal["0", "1"] | None:
    counts = Counter(values)
    for value, others in (("0", ("1", "?")), ("1", ("0", "?"))):
        if all(counts[value] > counts[other] for other in others):
            return "1" if value == "1" else "0"
    return None
