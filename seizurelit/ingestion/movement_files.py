"""DeepLabCut, SLEAP, Lightning Pose and Anipose through the library `movement`, with what it does not check itself."""

from __future__ import annotations

import csv
import importlib
import logging
import pickletools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seizurelit.errors import InputError
from seizurelit.ingestion.keypoints import MOST_FRAMES, first_faults
from seizurelit.ingestion.people import Detections

Software = Literal["DeepLabCut", "SLEAP", "LightningPose", "Anipose"]

_HARMLESS = {
    ("numpy", "scalar"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy", "_reconstruct"),
    ("pandas", "FrozenList"),
    ("_codecs", "encode"),
}
"""(package, name) of what pandas and numpy themselves put into the attributes of an HDF5 file."""
_CALLS = ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID")
"""Ways to name code in a pickle, beside GLOBAL, that the protocol in which PyTables writes does not have."""


def read_through_movement(path: Path, software: Software, faults: list[str]) -> Detections | None:
    """Read a file that one of the four tools wrote.

    A joint that has a place but no score (a label set by hand, a triangulated point) has confidence 1.

    Args:
        path: of the file.
        software: whose it is.
        faults: takes one line for everything that is wrong.

    Raises:
        InputError: movement is not installed.
    """
    movement = _library()
    found = list(_faults(path, software))
    if found:
        faults += first_faults(found, str(path))
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            recording = movement.load_dataset(path, source_software=software)
            position = np.asarray(recording.position.values, dtype=np.float64).transpose(0, 3, 2, 1)
            scores = np.asarray(recording.confidence.values, dtype=np.float64).transpose(0, 2, 1)
        except Exception as error:  # whatever a foreign reader trips over is a fault of the file
            words = " ".join(str(error).split())[:160] or type(error).__name__
            faults.append(f"{path}: cannot be read as a file of {software} ({words}); write it again by {software}")
            return None
    if len(position) > MOST_FRAMES:
        faults.append(f"{path}: has {len(position):,} frames; cut it to the seizure")
        return None
    missing: npt.NDArray[np.bool_] = np.any(np.isnan(position), axis=-1)
    frames, people = np.nonzero(~missing.all(axis=-1))
    if len(frames) == 0:
        faults.append(f"{path}: has nobody in any of its {len(position)} frames; check the file, or delete it")
        return None
    scores = np.where(missing, 0.0, np.nan_to_num(scores, nan=1.0))[frames, people]
    return Detections(
        frames,
        people,
        np.where(missing[..., None], np.nan, position)[frames, people],
        np.clip(scores, 0.0, 1.0),
        tuple(map(str, recording.individuals.values)),
        len(position),
        tuple(map(str, recording.keypoints.values)),
        None,
        highest=float(scores.max()),
    )


def _library() -> Any:
    """`movement.io`, without the log that it would write about patients' files into the home folder."""
    shown = warnings.showwarning
    try:
        library = importlib.import_module("movement.io")
        importlib.import_module("loguru").logger.remove()
    except ImportError as error:
        msg = (
            f"this format is read by movement, which is not installed ({error.name or error}); "
            "uv pip install 'movement>=0.15' (seizurelit's extra 'movement')"
        )
        raise InputError(msg) from None
    finally:
        warnings.showwarning = shown
    logging.getLogger("sleap_io").setLevel(logging.ERROR)
    return library


def _faults(path: Path, software: Software) -> Iterator[str]:
    """What movement would pass over, or report without its place."""
    try:
        if path.stat().st_size == 0:
            yield f"{path}: is empty; write it again, or delete it"
        elif path.suffix == ".csv":
            yield from _csv_faults(path, software)
        else:
            yield from _hdf5_faults(path, software)
    except OSError as error:
        yield f"{path}: cannot be read ({error.strerror or error}); write it again by {software}"
    except (UnicodeDecodeError, csv.Error):
        yield f"{path}: is no CSV text in UTF-8; write it again by {software}"


def _csv_faults(path: Path, software: Software) -> Iterator[str]:
    """Cells that are no number, and frames that are out of order: movement counts rows and ignores frames' numbers."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file)) or [[]]
    if software == "Anipose":
        header, column = 1, rows[0].index("fnum") if "fnum" in rows[0] else None
    else:
        header = next((number for number, row in enumerate(rows[:4]) if row and row[0] == "coords"), 3) + 1
        column = 0
    before: int | None = None
    for line, row in enumerate(rows[header:], start=header + 1):
        if not row:
            continue
        if len(row) != len(rows[0]):
            yield f"{path}, row {line}: has {len(row)} cells under a header of {len(rows[0])}; write it again"
            continue
        for position, cell in enumerate(row):
            if position != column and cell and not _is_number(cell):
                yield f"{path}, row {line}: {cell[:20]!r} is no number; leave it empty if the joint is missing"
        if column is None:
            continue
        if not row[column].removesuffix(".0").isdigit():
            yield (
                f"{path}, row {line}: {row[column][:40]!r} is no number of a frame; give the tracks of the video, "
                "not the labels of its images"
            )
            return
        frame = int(row[column].removesuffix(".0"))
        if before is not None and frame != before + 1:
            yield f"{path}, row {line}: frame {frame} follows frame {before}; write a row for every frame"
        before = frame


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _hdf5_faults(path: Path, software: Software) -> Iterator[str]:
    """Pickled objects that would run code, frames out of order, several videos, several bodies without tracks."""
    h5py = importlib.import_module("h5py")
    if not h5py.is_hdf5(path):
        yield f"{path}: is no HDF5 file, or a damaged one; write it again by {software}"
        return
    hidden: list[str] = []

    def visit(name: str, node: Any) -> None:
        for key, value in node.attrs.items():
            content = value.encode() if isinstance(value, str) else bytes(value) if isinstance(value, bytes) else b""
            runs = _runs(content)
            if runs:
                hidden.append(
                    f"{path}: {name}.{key} holds a pickled {runs}, which may run code; take the table as .csv"
                )
            if key == "PSEUDOATOM" and content == b"object":
                hidden.append(f"{path}: {name} holds pickled objects; save the table as .csv")

    def link(name: str, node: Any) -> None:
        if isinstance(node, h5py.ExternalLink):
            hidden.append(f"{path}: {name} lies in another file ({node.filename}); copy it into this one")

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
        file.visititems_links(link)
        yield from hidden
        table = file.get("df_with_missing/table")
        if software == "DeepLabCut" and table is not None and "index" in (table.dtype.names or ()):
            steps = np.flatnonzero(np.diff(table["index"]) != 1)
            if len(steps):
                before, after = table["index"][steps[0]], table["index"][steps[0] + 1]
                yield f"{path}: frame {after} follows frame {before}; write a row for every frame"
    if path.suffix == ".slp" and not hidden:
        yield from _slp_faults(path)


def _slp_faults(path: Path) -> Iterator[str]:
    labels = importlib.import_module("sleap_io").load_slp(str(path), open_videos=False)
    if len(labels.videos) > 1:
        yield f"{path}: holds {len(labels.videos)} videos, of which the first alone would be read; one file a seizure"
    if not labels.tracks:
        crowded = [frame.frame_idx for frame in labels.labeled_frames if len(frame.predicted_instances) > 1]
        if crowded:
            yield f"{path}: frame {crowded[0]} has several bodies and nothing says whose they are; run SLEAP's tracking"


def _runs(content: bytes) -> str | None:
    """What a text that PyTables would unpickle names as code; None if it is plain data.

    PyTables unpickles every text that ends as a pickle does. One that cannot be taken apart is not trusted either.
    """
    if not content.endswith(b"."):
        return None
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in _CALLS:
                return opcode.name
            if opcode.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                if (module.split(".")[0], name) not in _HARMLESS:
                    return str(argument)
    except Exception:  # the unpickler of C may read on where this one stops
        return "text of unknown kind"
    return None
