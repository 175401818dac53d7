"""A folder of videos as a cohort without labels, for those who have no cohort.csv yet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from seizurelit.cohort.manifest import read_cohort, write_cohort
from seizurelit.errors import InputError

VIDEOS = frozenset(
    {
        ".3gp",
        ".asf",
        ".avi",
        ".m1v",
        ".m2v",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ts",
        ".vob",
        ".wmv",
    }
)
"""Endings of files that are taken for videos, in small letters."""


def cohort_of_folder(folder: Path, table: Path, say: Callable[[str], None]) -> Path:
    """Write a cohort.csv of all videos in a folder; one that is there already, perhaps with labels, is kept.

    A file is a seizure. Its subject is the sub-folder that it lies in, or else itself: that cannot be known from a file,
    and is said.

    Args:
        folder: of videos, also in sub-folders.
        table: the file to write, the cache's own cohort.csv.
        say: takes a line for the person who waits.

    Returns:
        `table`.

    Raises:
        InputError: there is no video in the folder, or it or one in it cannot be read.
    """
    paths = sorted(path for path in _files(folder) if path.suffix.lower() in VIDEOS)
    if not paths:
        msg = f"--cohort {folder}: has no video ({' '.join(sorted(VIDEOS))}); give a cohort.csv, or a folder of videos"
        raise InputError(msg)
    if table.is_file():
        known = {seizure.video for seizure in read_cohort(table, source="video").seizures}
        new = [str(path) for path in paths if str(path) not in known]
        if new:
            say(
                f"warning: {folder}: {len(new)} videos are not in {table} and are left out, such as {new[0]}; add their rows"
            )
        return table
    names = _names(paths)
    rows = [(_name(path.parts[0]) if len(path.parts) > 1 else names[path], names[path], str(path)) for path in paths]
    write_cohort(table, ("subject", "seizure", "video"), rows)
    say(
        f"{folder}: {len(rows)} videos of {len({row[0] for row in rows})} subjects, if each file (or sub-folder) is a "
        f"subject of its own; before anything is trained, write who is who, and the signs, into a cohort.csv like {table}"
    )
    return table


def _files(folder: Path) -> Iterator[Path]:
    """All files in a folder and those in it, as paths from it on."""

    def refuse(error: OSError) -> None:
        msg = (
            f"--cohort {folder}: {error.filename} cannot be read ({error.strerror}); check the path and who may read it"
        )
        raise InputError(msg)

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        yield from (Path(parent, file).relative_to(folder) for file in files if not file.startswith("."))


def _names(paths: list[Path]) -> dict[Path, str]:
    """A name for each file: its own without the ending, with as much of its path as makes it unique."""
    stems = [_name(path.stem).casefold() for path in paths]
    whole = {path: _name("-".join(path.parts)) for path in paths}
    return {
        path: _name(path.stem) if stems.count(stem) == 1 else whole[path]
        for path, stem in zip(paths, stems, strict=True)
    }


def _name(text: str) -> str:
    """A text as a name: no characters that a name of ours cannot have."""
    return re.sub(r"\.{2,}|[^\w. -]+", "-", text).strip(". ") or "video"
