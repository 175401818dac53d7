"""Text tables that people write by hand or save from a spreadsheet: read whole, every fault with its row."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST_NAME = 100
"""Characters of a subject's, a seizure's or a fold's name: it becomes the name of a file."""

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        line: its line in the file, from 1; the header is line 1.
        cells: the text of each column, without the blanks around it.
    """

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table as it was read: column names and rows in the file's order."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, required: Sequence[str], faults: list[str], *, delimiters: str = ",;\t") -> Table | None:
    """Read a delimited text file in UTF-8, with or without a byte order mark.

    Commas, semicolons and tabs are told apart by the header: the delimiter is the one under which the required columns
    appear.

    Args:
        path: the file.
        required: columns that must be there.
        faults: takes one line for everything that is wrong.
        delimiters: which delimiters are tried, the usual one first.

    Returns:
        The rows that could be read, without empty ones; None where there is no table at all.
    """
    text = _text(path, faults)
    if text is None:
        return None
    records = _records(path, text, required, faults, delimiters)
    if not records:
        return None
    (_, header), *body = records
    columns = tuple(cell.strip() for cell in header)
    while columns and not columns[-1] and all(not "".join(cells[len(columns) - 1 :]).strip() for _, cells in body):
        columns = columns[:-1]  # a spreadsheet's empty columns at the right
    if not _header_is_sound(path, columns, required, faults):
        return None
    rows = []
    for line, cells in body:
        stripped = [cell.strip() for cell in cells]
        if len(stripped) > len(columns) and not any(stripped[len(columns) :]):
            stripped = stripped[: len(columns)]
        if len(stripped) != len(columns):
            remedy = (
                "put quotes around a cell that has the delimiter in it"
                if len(stripped) > len(columns)
                else "write an empty cell for what is not known"
            )
            faults.append(f"{path}, row {line}: {len(stripped)} cells under a header of {len(columns)}; {remedy}")
            continue
        broken = [name for name, cell in zip(columns, stripped, strict=True) if "\n" in cell or "\r" in cell]
        if broken:
            faults.append(
                f"{path}, row {line}: column {broken[0]!r} runs over several lines; "
                "close the quote, or write it in one line"
            )
            continue
        rows.append(Row(line, dict(zip(columns, stripped, strict=True))))
    if not body:
        faults.append(f"{path}: there is a header but no row; write one row for each {required[-1]}")
    return Table(path, columns, tuple(rows))


def _text(path: Path, faults: list[str]) -> str | None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        faults.append(f"{path}: {what}; give the path of a CSV file")
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        faults.append(f"{path}: cannot be read ({error.strerror}); check its permissions")
        return None
    if not content.strip():
        faults.append(f"{path}: is empty; its first row must name the columns")
        return None
    if content.startswith(b"PK\x03\x04"):
        faults.append(f"{path}: is a spreadsheet or zip file, not text; save it as 'CSV UTF-8'")
        return None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        faults.append(f"{path}: is UTF-16 or binary, not UTF-8 text; save it as 'CSV UTF-8'")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        for number, line in enumerate(content.split(b"\n"), start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                guess = line.decode("cp1252", errors="replace").strip()
                byte = line[error.start]
                faults.append(
                    f"{path}, row {number}: byte 0x{byte:02x} is not UTF-8 (is {guess[:60]!r} meant?); "
                    "save it as 'CSV UTF-8'"
                )
        return None


def _records(
    path: Path, text: str, required: Sequence[str], faults: list[str], delimiters: str
) -> list[tuple[int, list[str]]]:
    """(line, cells) of every record that is not empty, by the delimiter under which most required columns appear."""
    first = next(line for line in text.splitlines() if line.strip())

    def found(delimiter: str) -> int:
        names = {cell.strip().casefold() for cell in next(csv.reader([first], delimiter=delimiter), [])}
        return sum(name in names for name in required)

    delimiter = max(delimiters, key=found)  # the first of equals
    records = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                records.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        faults.append(
            f"{path}, row {line}: cannot be split at {_DELIMITERS[delimiter]} ({error}); close the quotes of this row"
        )
    return records


def _header_is_sound(path: Path, columns: tuple[str, ...], required: Sequence[str], faults: list[str]) -> bool:
    before = len(faults)
    missing = [name for name in required if name not in columns]
    for name in missing:
        near = [column for column in columns if column.casefold() == name]
        remedy = f"rename {near[0]!r}" if near else f"add it to the header, which has {', '.join(columns)[:200]!r}"
        faults.append(f"{path}, row 1: there is no column {name!r}; {remedy}")
    for number, name in enumerate(columns, start=1):
        if not name:
            faults.append(f"{path}, row 1: column {number} has no name; name it or delete it")
        elif any(not character.isprintable() for character in name):
            faults.append(
                f"{path}, row 1: column {number}, {name!r}, has a control character in its name; write it anew"
            )
        elif name.casefold() in [other.casefold() for other in columns[: number - 1]]:
            faults.append(f"{path}, row 1: there are two columns {name!r}; delete or rename one")
    return len(faults) == before


def name_fault(name: str) -> str | None:
    """Why a text cannot name a subject, seizure, sign or fold, which become names of files; None if it can."""
    if not name:
        return "is empty; give it a name"
    if any(not character.isprintable() for character in name):
        return "has a control character; write it anew"
    if "/" in name or "\\" in name:
        return "has a slash, and it becomes the name of a file; use - instead"
    if name.startswith("."):
        return "starts with a dot, and it becomes the name of a file; leave the dot out"
    if ".." in name:
        return "has two dots in a row, and it becomes the name of a file; use - instead"
    if len(name) > LONGEST_NAME or len(name.encode()) > 2 * LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters, and it becomes the name of a file; shorten it"
    return None


def folded(text: str) -> str:
    """A text without the differences that nobody means: case, kinds and number of blanks, ways to write an accent."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def seconds(text: str) -> float | str | None:
    """A time in seconds from a cell: None if empty, the fault's words (a str) if it is no time."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        if ":" in text:
            return "is no number; write seconds, such as 90 for 1:30"
        if "," in text:
            return "is no number; write the decimals after a point"
        return "is no number; write seconds"
    if not math.isfinite(value):
        return "is not finite; write seconds, or leave it empty"
    if value < 0:
        return "is negative; count seconds from the start of the file"
    return value
