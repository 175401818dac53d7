"""Videos of nobody's cohort to a small cache of their own, by the same extraction as a cohort's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seizurelit.cache.store import Cache
from seizurelit.cohort.manifest import Cohort, write_cohort
from seizurelit.errors import InputError
from seizurelit.extraction.options import Extract
from seizurelit.extraction.run import extract
from seizurelit.prediction.options import Predict
from seizurelit.video.reading import source_digest

SUFFIXES = frozenset(
    {
        ".mp4",
        ".mov",
        ".avi",
        ".mpg",
        ".mpeg",
        ".asf",
        ".wmv",
        ".mkv",
        ".ts",
        ".m4v",
        ".mts",
        ".m2ts",
        ".vob",
        ".webm",
        ".3gp",
    }
)
"""Of what is taken for a video in a folder."""


@dataclass(frozen=True)
class NewVideo:
    """A video to be scored.

    Attributes:
        name: of its seizure in the small cache, and of its folder of results.
        path: the file.
        digest: SHA-256 of its bytes.
    """

    name: str
    path: Path
    digest: str


@dataclass(frozen=True)
class Extracted:
    """What came of the extraction.

    Attributes:
        cache: with the tensors of those that could be extracted.
        cohort: of the cache; each video is its own subject.
        failed: name → why.
    """

    cache: Cache
    cohort: Cohort
    failed: Mapping[str, str]


def find_videos(path: Path) -> tuple[NewVideo, ...]:
    """The video of a file, or those of a folder, by name.

    Raises:
        InputError: nothing is there, or no video is in the folder.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            msg = f"{path}: no video is in this folder; give a folder of {', '.join(sorted(SUFFIXES))}"
            raise InputError(msg)
    else:
        files = [path]
    names: dict[str, int] = {}
    found = []
    for file in files:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", file.stem).strip("-_")[:60] or "video"
        names[plain.lower()] = names.get(plain.lower(), 0) + 1
        count = names[plain.lower()]
        found.append(NewVideo(plain if count == 1 else f"{plain}-{count}", file, source_digest(file)))
    return tuple(found)


def extract_videos(
    videos: Sequence[NewVideo],
    options: Predict,
    streams: Sequence[str],
    folder: Path,
    say: Callable[[str], None],
    *,
    appearance: bool,
) -> Extracted:
    """Extract what the networks need.

    Args:
        videos: what.
        options: part, patient's box, backend, weights.
        streams: pose, face or both.
        folder: of the small cache.
        say: takes a line for the person who waits.
        appearance: appearance features too.
    """
    table = folder / "videos.csv"
    rows = [
        [
            video.name,
            video.name,
            str(video.path.absolute()),
            _cell(options.start),
            _cell(options.end),
            options.patient_box or "",
        ]
        for video in videos
    ]
    write_cohort(table, ("subject", "seizure", "video", "start", "end", "patient_box"), rows)
    wanted = Extract(
        cohort=table,
        cache=folder / "cache",
        backend=options.backend,
        stream="both" if len(set(streams)) > 1 else streams[0],  # type: ignore[arg-type]
        without=None if appearance else "appearance",
        weights=options.weights,
        workers=1 if len(videos) == 1 else None,
    )
    done = extract(wanted, say, page=False)
    cache = Cache.open(done.cache)
    return Extracted(cache, cache.cohort(), done.failed)


def _cell(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:g}"
