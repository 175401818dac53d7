"""JSON files of other tools: read whole, or one line that says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from seizurelit.ingestion.keypoints import Floats

LARGEST = 2**30
"""Bytes; a file of an hour and a whole body has a fifth of it, and what is read of it takes ten times as much."""


def read_json(path: Path, faults: list[str]) -> Any:
    """The value of a JSON file; None, with a fault, if there is none.

    NaN is read as Python and json_tricks write it.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            faults.append(f"{path}: has {size:,} bytes, more than {LARGEST:,}; cut it to the seizure")
            return None
        content = path.read_bytes()
    except OSError as error:
        faults.append(f"{path}: cannot be read ({error.strerror}); check that it is there, and its permissions")
        return None
    if not content.strip():
        faults.append(f"{path}: is empty; write it again, or delete it")
        return None
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        faults.append(f"{path}: is no UTF-8 text, so no JSON; give the tool's own file")
        return None
    except json.JSONDecodeError as error:
        faults.append(f"{path}, row {error.lineno}: is no JSON ({error.msg}); write it again, or delete it")
        return None
    except (ValueError, RecursionError):
        faults.append(f"{path}: is no JSON that can be read; give the tool's own file")
        return None
    if value is None:
        faults.append(f"{path}: holds nothing but null; write it again, or delete it")
    return value


def numbers(value: object, axes: int) -> Floats | None:
    """(V, axes or more) from a list of numbers, flat or one list a point; NaN for null; None if it is something else.

    Args:
        value: from the file.
        axes: how many numbers of a flat list are one point.
    """
    if not isinstance(value, list) or not value:
        return None
    try:
        array = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    if array.ndim == 1:
        return array.reshape(-1, axes) if len(array) % axes == 0 else None
    return array if array.ndim == 2 else None
