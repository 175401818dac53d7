"""Where a folder of the machine that planned a run lies on the machine that works on it; on one that shares its disk, there."""

from __future__ import annotations

from pathlib import Path

_moved: dict[Path, Path] = {}


def here(path: Path) -> Path:
    """Where what lies at `path` on the planning machine lies on this one.

    Args:
        path: of a file or folder, as the run's own files name it.
    """
    for there, now in _moved.items():
        if path == there or there in path.parents:
            return now / path.relative_to(there)
    return path


def moved(there: Path, now: Path) -> None:
    """Note that what lies at `there` on the planning machine was brought to `now`.

    Args:
        there: absolute path of a file or folder on the planning machine.
        now: where it lies on this one.
    """
    _moved[there] = now
