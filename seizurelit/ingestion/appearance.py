"""Appearance features that another network made: `.npy` of (T', D)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from seizurelit.ingestion.keypoints import load_npy

LARGEST = float(np.finfo(np.float16).max)


def read_appearance(path: Path, faults: list[str]) -> npt.NDArray[np.float16] | None:
    """Read one file.

    Args:
        path: `.npy` of (T', D): a row of features a frame, NaN throughout the row where the frame has none.
        faults: takes one line for everything that is wrong.

    Returns:
        (T', D) float16, as the cache keeps them; None if the file has faults.
    """
    array = load_npy(path, faults)
    if array is None:
        return None
    if array.ndim != 2 or 0 in array.shape:
        faults.append(f"{path}: has the shape {array.shape}; it must be (T', D): frames and features")
        return None
    missing = np.isnan(array)
    if missing.all():
        faults.append(f"{path}: has no feature in any frame; check the file, or delete it")
        return None
    partly = missing.any(axis=1) & ~missing.all(axis=1)
    if partly.any():
        faults.append(
            f"{path}: frame {np.argmax(partly)} has NaN in some of its features (and {partly.sum() - 1} more frames); "
            "write NaN throughout the frames that have none"
        )
        return None
    largest = float(np.nanmax(np.abs(array)))
    if largest > LARGEST:
        faults.append(f"{path}: has values up to {largest:g}; they are kept as float16, up to {LARGEST:g}: divide them")
        return None
    return array.astype(np.float16)
