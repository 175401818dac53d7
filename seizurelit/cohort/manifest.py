"""The cohort: who was recorded, which seizures, and how each was rated (`cohort.csv` and what lies beside it)."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from seizurelit.cohort.files import write_whole
from seizurelit.cohort.labels import LABELS, Rating, majority, parse_labels
from seizurelit.cohort.table import Row, Table, folded, name_fault, read_table, seconds
from seizurelit.errors import InputError

RESERVED = ("subject", "seizure", "video", "file", "start", "end")
"""Columns that say which seizure a row is; they are no signs."""

SUBJECT_COLUMNS = ("sex", "gender", "handedness", "age_at_onset", "ez_lobe", "ez_side", "aetiology", "etiology")
"""Columns that are of a subject, not of a seizure: they may not change from row to row."""

PARTICIPANTS = "participants.tsv"
"""The BIDS file of subjects, beside `cohort.csv`."""

STAND_IN = "stand_in"
"""The column in which a synthetic cohort says that it is one."""

FEWEST_SUBJECTS = 2
"""Subjects that a class must have: with fewer, the fold that holds it out has none to learn it from."""

_NOT_AVAILABLE = ("na", "n/a", "nan", "null", "#n/a", "?", "-")


@dataclass(frozen=True)
class Seizure:
    """One trimmed video of one seizure.

    Attributes:
        name: unique in the cohort.
        subject: whose it is.
        video: the cell as written; None if it is empty or there is no such column.
        file: likewise, for what is ingested.
        start: seconds of the source at which the seizure starts; None is its beginning.
        end: seconds of the source at which it ends; None is its end.
        columns: every other column's text, those of participants.tsv and the majority of labels.csv among them.
        row: its line in `cohort.csv`, from 1.
    """

    name: str
    subject: str
    video: str | None
    file: str | None
    start: float | None
    end: float | None
    columns: Mapping[str, str]
    row: int

    @property
    def source(self) -> str | None:
        """The video, or else the file; None if there is neither."""
        return self.video or self.file

    def resolve(self, folder: Path, *, must_exist: bool = False) -> Path | None:
        """The source's path, seen from the folder of `cohort.csv`; None if there is none.

        Raises:
            InputError: if it must exist and does not.
        """
        if self.source is None:
            return None
        path = folder / Path(self.source).expanduser()
        if must_exist and not path.is_file():
            msg = f"{folder / 'cohort.csv'}, row {self.row}: {path} does not exist; correct the path or bring the file"
            raise InputError(msg)
        return path


@dataclass(frozen=True)
class Sign:
    """What is told apart.

    Attributes:
        name: the column.
        classes: ('0', '1') if it is binary, else the names that occur, sorted. A label is an index into them.
    """

    name: str
    classes: tuple[str, ...]

    @property
    def binary(self) -> bool:
        """Whether it is absent (0) or present (1), without names of its own."""
        return self.classes == ("0", "1")

    @property
    def positive(self) -> str | None:
        """The class that an F1 score is about: the second of two; None where there are more."""
        return self.classes[1] if len(self.classes) == 2 else None


@dataclass(frozen=True)
class Cohort:
    """A study's data, as read from one `cohort.csv` and what lies beside it.

    Attributes:
        path: the file.
        seizures: in the file's order.
        columns: all that could be signs or strata: neither subject nor seizure, neither source nor times.
        ratings: of labels.csv; empty without one.
    """

    path: Path
    seizures: tuple[Seizure, ...]
    columns: tuple[str, ...]
    ratings: tuple[Rating, ...] = ()

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """All subjects, sorted."""
        return tuple(sorted({seizure.subject for seizure in self.seizures}))

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over who, what and how rated; not over paths, times and the order of rows."""
        content = sorted(
            [seizure.name, seizure.subject, sorted((key, seizure.columns[key]) for key in self.columns)]
            for seizure in self.seizures
        )
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]

    @cached_property
    def is_standin(self) -> bool:
        """Whether the cohort says of itself that it is synthetic."""
        return any(seizure.columns.get(STAND_IN) == "1" for seizure in self.seizures)

    @cached_property
    def _by_name(self) -> dict[str, Seizure]:
        return {seizure.name: seizure for seizure in self.seizures}

    def seizure(self, name: str) -> Seizure:
        """The seizure of this name; KeyError if there is none."""
        return self._by_name[name]

    def subject_of(self, seizure: str) -> str:
        """Whose seizure it is; KeyError if there is none of this name."""
        return self._by_name[seizure].subject

    def column(self, name: str) -> dict[str, str]:
        """A column's text for every seizure, empty where it is not given.

        Raises:
            InputError: if there is no such column; it lists those that there are.
        """
        if name not in self.columns:
            names = ", ".join(self.columns) or "none besides the names"
            msg = f"{self.path}: there is no column {name!r}; there are {names}"
            raise InputError(msg)
        return {seizure.name: seizure.columns[name] for seizure in self.seizures}

    def sign(self, name: str) -> Sign:
        """The sign of this name.

        Raises:
            InputError: if there is no such column, it has one class, or a class has too few subjects to leave one out.
        """
        if name in self.columns:
            counts = self._subjects_by_class(name)
            fault = _sign_fault(name, counts)
            if fault is None:
                return Sign(name, _classes(counts))
        else:
            fault = "is no column" if name not in RESERVED else "says which seizure a row is"
        could = [other for other in self.columns if _sign_fault(other, self._subjects_by_class(other)) is None]
        names = ", ".join(could) or "none of the columns"
        msg = f"{self.path}: {name!r} cannot be a sign: it {fault}; signs can be {names}"
        raise InputError(msg)

    def _subjects_by_class(self, name: str) -> dict[str, set[str]]:
        counts: dict[str, set[str]] = defaultdict(set)
        for seizure in self.seizures:
            if seizure.columns[name]:
                counts[seizure.columns[name]].add(seizure.subject)
        return counts

    def labels(self, sign: Sign) -> dict[str, int]:
        """The class of every rated seizure, as an index into the sign's classes, in the file's order."""
        index = {label: position for position, label in enumerate(sign.classes)}
        return {seizure: index[label] for seizure, label in self.column(sign.name).items() if label}

    def unrated(self, sign: Sign) -> tuple[str, ...]:
        """The seizures that are left out of this sign, in the file's order."""
        return tuple(seizure for seizure, label in self.column(sign.name).items() if not label)

    def undecided(self, sign: Sign) -> tuple[str, ...]:
        """Those of the unrated that raters of labels.csv saw without agreeing, or could not tell."""
        rated = {rating.seizure for rating in self.ratings if rating.sign == sign.name}
        return tuple(seizure for seizure in self.unrated(sign) if seizure in rated)


def _classes(values: Iterable[str]) -> tuple[str, ...]:
    found = set(values)
    return ("0", "1") if found <= {"0", "1"} else tuple(sorted(found))


def _sign_fault(name: str, counts: Mapping[str, set[str]]) -> str | None:
    wrong = name_fault(name)
    if wrong:
        return wrong
    if not counts:
        return "has no rated seizure"
    if len(counts) == 1:
        return f"has the one class {next(iter(counts))!r}"
    few = [f"{label!r} ({len(counts[label])})" for label in sorted(counts) if len(counts[label]) < FEWEST_SUBJECTS]
    if few:
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        return f"has fewer than {FEWEST_SUBJECTS} subjects of class {', '.join(few[:5])}{more}"
    return None


def read_cohort(path: Path, *, source: Literal["video", "file"] | None = None) -> Cohort:
    """Read and check a cohort whole.

    Args:
        path: `cohort.csv`: one row a seizure with the columns `subject`, `seizure`, optionally `video` or `file`,
            `start` and `end` in seconds, and any others. Commas, semicolons or tabs; UTF-8. `participants.tsv` and
            `labels.csv` are read from the same folder if they are there.
        source: the column that must be there with a cell in every row, if any.

    Raises:
        InputError: with one line for every fault of the three files.
    """
    faults: list[str] = []
    required = ("subject", "seizure") if source is None else ("subject", "seizure", source)
    table = read_table(path, required, faults)
    if table is None:
        raise InputError(*faults)
    _check_names(table, faults)
    if source is not None:
        faults += [
            f"{path}, row {row.line}: no {source}; give its path, seen from the folder of the table"
            for row in table.rows
            if not row.cells[source]
        ]
    times = _times(table, faults)
    _check_sources(table, times, faults)
    columns = tuple(name for name in table.columns if name not in RESERVED)
    for name in columns:
        _check_column(table, name, faults)
    of_subjects = _participants(path.parent / PARTICIPANTS, table, faults)
    constants = [name for name in columns if name in SUBJECT_COLUMNS]
    for name in constants:
        _check_constant(table, name, faults)
    added = tuple(name for name in next(iter(of_subjects.values()), {}) if name not in table.columns)

    seizures = []
    for row in table.rows:
        cells = row.cells
        subject = cells["subject"]
        values = {name: cells[name] for name in columns}
        values |= {name: of_subjects.get(subject, {}).get(name, "") for name in added}
        start, end = times[row.line]
        seizures.append(
            Seizure(
                cells["seizure"],
                subject,
                cells.get("video") or None,
                cells.get("file") or None,
                start,
                end,
                values,
                row.line,
            )
        )
    cohort = Cohort(path, tuple(seizures), columns + added)

    beside = path.parent / LABELS
    if beside.is_file() and beside.resolve() != path.resolve():
        ratings = parse_labels(beside, [seizure.name for seizure in seizures], faults)
        cohort = _with_ratings(cohort, ratings)
    if faults:
        raise InputError(*faults)
    return cohort


def _with_ratings(cohort: Cohort, ratings: tuple[Rating, ...]) -> Cohort:
    """The cohort with the majority of each sign that has no column of its own."""
    votes = {sign: by for sign, by in majority(ratings).items() if sign not in cohort.columns and sign not in RESERVED}
    added = tuple(sorted(votes))
    seizures = tuple(
        dataclasses.replace(
            seizure, columns={**seizure.columns, **{sign: votes[sign].get(seizure.name) or "" for sign in added}}
        )
        for seizure in cohort.seizures
    )
    return Cohort(cohort.path, seizures, cohort.columns + added, ratings)


def _check_names(table: Table, faults: list[str]) -> None:
    """Names that can be file names; no seizure twice; no subject under two spellings, which would be a leak."""
    seizures: dict[str, Row] = {}
    subjects: dict[str, Row] = {}
    for row in table.rows:
        at = f"{table.path}, row {row.line}"
        for what in ("subject", "seizure"):
            wrong = name_fault(row.cells[what])
            if wrong:
                faults.append(f"{at}: {what} {row.cells[what][:40]!r} {wrong}")
        subject, seizure = row.cells["subject"], row.cells["seizure"]
        if folded(subject) == "all":
            faults.append(f"{at}: subject {subject!r} stands for every fold; rename it")
        if seizure:
            first = seizures.setdefault(folded(seizure), row)
            if first is not row:
                name = first.cells["seizure"]
                same = "is" if name == seizure else f"is, but for case or blanks, the {name!r} that is"
                faults.append(
                    f"{at}: seizure {seizure!r} {same} in row {first.line} already; every seizure needs its own name"
                )
        if subject:
            first = subjects.setdefault(_subject_key(subject), row)
            if first.cells["subject"] != subject:
                faults.append(
                    f"{at}: subject {subject!r} is {first.cells['subject']!r} in row {first.line}, spelled otherwise, "
                    "and would be trained on when it is tested on; write it one way, or rename one if they are two"
                )


def _subject_key(name: str) -> str:
    """One text for all spellings of a subject: case, blanks and dashes, zeros before a number, the prefix of BIDS."""
    dashed = re.sub(r"[\s_\-]+", "-", folded(name))
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"^sub-?(?=.)", "", dashed))


def _times(table: Table, faults: list[str]) -> dict[int, tuple[float | None, float | None]]:
    """(start, end) of each line, in seconds."""
    times = {}
    for row in table.rows:
        pair: list[float | None] = []
        for name in ("start", "end"):
            value = seconds(row.cells.get(name, ""))
            if isinstance(value, str):
                faults.append(f"{table.path}, row {row.line}: {name} {row.cells[name]!r} {value}")
            pair.append(None if isinstance(value, str) else value)
        start, end = pair
        if end is not None and (start or 0.0) >= end:
            faults.append(
                f"{table.path}, row {row.line}: start {start or 0:g} s is not before end {end:g} s; correct one of them"
            )
        times[row.line] = (start, end)
    return times


def _check_sources(table: Table, times: Mapping[int, tuple[float | None, float | None]], faults: list[str]) -> None:
    """One video is of one subject, and the same part of it is one seizure."""
    for name in ("video", "file"):
        first: dict[str, Row] = {}
        parts: dict[tuple[str, float | None, float | None], Row] = {}
        for row in table.rows:
            where = row.cells.get(name, "")
            if not where:
                continue
            other = first.setdefault(where, row)
            if other.cells["subject"] != row.cells["subject"]:
                faults.append(
                    f"{table.path}, row {row.line}: {name} {where!r} is of subject {other.cells['subject']!r} in row "
                    f"{other.line} and of {row.cells['subject']!r} here; a file is of one subject"
                )
                continue
            same = parts.setdefault((where, *times[row.line]), row)
            if same is not row:
                faults.append(
                    f"{table.path}, row {row.line}: the same part of {name} {where!r} as row {same.line}; "
                    "give start and end, or delete one of the two"
                )


def _check_column(table: Table, name: str, faults: list[str]) -> None:
    """Cells that cannot be meant, in a column that may be a sign."""
    cells = [(row.line, row.cells[name]) for row in table.rows if row.cells[name]]
    before = len(faults)
    for line, cell in cells:
        if cell.casefold() in _NOT_AVAILABLE:
            remedy = f"or write the raters' opinions into {LABELS}" if cell == "?" else "an empty cell is not rated"
            faults.append(f"{table.path}, row {line}: {name} is {cell!r}; leave it empty, {remedy}")
    if len(faults) > before or name in SUBJECT_COLUMNS:
        cells = [(line, cell) for line, cell in cells if cell.casefold() not in _NOT_AVAILABLE]
    other = [(line, cell) for line, cell in cells if cell not in ("0", "1")]
    if _meant_binary([cell for _, cell in cells]) and name not in SUBJECT_COLUMNS:
        faults += [
            f"{table.path}, row {line}: {name} is {cell[:40]!r}, where other rows have 0 or 1; "
            "write 0, 1, or nothing if not rated"
            for line, cell in other
        ]
        return
    spelled: dict[str, tuple[int, str]] = {}
    for line, cell in cells:
        first, spelling = spelled.setdefault(folded(cell), (line, cell))
        if spelling != cell:
            faults.append(
                f"{table.path}, row {line}: {name} is {cell!r}, but {spelling!r} in row {first}; "
                "write one class one way"
            )


def _meant_binary(cells: Sequence[str]) -> bool:
    """Whether a column is 0/1 with slips in it: half of it is, or all of it is in another notation of numbers."""
    plain = [cell for cell in cells if cell in ("0", "1")]
    if not cells or len(plain) == len(cells):
        return False
    if all(re.fullmatch(r"[+]?0*[01]([.,]0*)?", cell) for cell in cells):
        return True  # 1.0 and 0.0, as a table with gaps is often saved
    numbers = [cell for cell in cells if re.fullmatch(r"\d+(\.\d+)?", cell)]
    if len(numbers) == len(cells) and len(set(cells) - {"0", "1"}) > 2:
        return False  # a count or a measure
    return 2 * len(plain) >= len(cells)


def _check_constant(table: Table, name: str, faults: list[str]) -> None:
    first: dict[str, tuple[int, str]] = {}
    for row in table.rows:
        cell, subject = row.cells[name], row.cells["subject"]
        if not cell:
            continue
        line, other = first.setdefault(subject, (row.line, cell))
        if other != cell:
            faults.append(
                f"{table.path}, row {row.line}: {name} of subject {subject!r} is {cell!r}, but {other!r} in row "
                f"{line}; it is of the subject: correct one of the two"
            )


def _participants(path: Path, table: Table, faults: list[str]) -> dict[str, dict[str, str]]:
    """The columns that participants.tsv gives to the cohort's subjects; `n/a` is BIDS's empty cell."""
    if not path.is_file():
        return {}
    read = read_table(path, ("participant_id",), faults, delimiters="\t,;")
    if read is None:
        return {}
    names = [name for name in read.columns if name != "participant_id"]
    for name in names:
        if name in RESERVED:
            faults.append(f"{path}, row 1: column {name!r} belongs into {table.path}; delete or rename it here")
    subjects = {row.cells["subject"] for row in table.rows}
    bare = {subject.removeprefix("sub-"): subject for subject in subjects}
    found: dict[str, tuple[Row, dict[str, str]]] = {}
    for row in read.rows:
        subject = bare.get(row.cells["participant_id"].removeprefix("sub-"))
        if subject is None:
            continue  # the study may have had more participants
        if subject in found:
            faults.append(
                f"{path}, row {row.line}: participant {row.cells['participant_id']!r} is in row "
                f"{found[subject][0].line} already; delete one of the two"
            )
            continue
        found[subject] = (row, {name: "" if row.cells[name] == "n/a" else row.cells[name] for name in names})
    for row in table.rows:
        if row.cells["subject"] not in found:
            continue
        other, values = found[row.cells["subject"]]
        for name in names:
            here = row.cells.get(name, "")
            if here and values[name] and here != values[name]:
                faults.append(
                    f"{table.path}, row {row.line}: {name} of subject {row.cells['subject']!r} is {here!r}, but "
                    f"{values[name]!r} in {path}, row {other.line}; correct one of the two"
                )
    empty = dict.fromkeys(names, "")
    return {subject: found[subject][1] if subject in found else empty for subject in sorted(subjects)}


def write_cohort(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a `cohort.csv`, whole or not at all.

    Args:
        path: the file.
        columns: the header.
        rows: the cells of each row, in the header's order; None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if cell is None else cell for cell in row])
    write_whole(path, text.getvalue().encode())
