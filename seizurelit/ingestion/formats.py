"""The formats that `ingest` reads beside the house's own: where a seizure's file is, and what reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seizurelit.ingestion.coco import read_coco
from seizurelit.ingestion.keypoints import SUFFIXES
from seizurelit.ingestion.mmpose import read_mmpose
from seizurelit.ingestion.movement_files import Software, read_through_movement
from seizurelit.ingestion.openpose import read_openpose
from seizurelit.ingestion.people import Detections

Reader = Callable[[Path, str, list[str]], Detections | None]
"""(path, stream, faults) → what is there; None if it has faults."""


@dataclass(frozen=True)
class Format:
    """What a tool writes.

    Attributes:
        suffixes: of its files, the preferred one first; empty for a folder.
        read: None for the house's own files, which are read in the channels of the skeleton.
        before: what a tool puts before the video's name.
        after: what a tool puts after it and before the suffix begins with one of these.
        twice: the tool itself writes the same under several suffixes.
    """

    suffixes: tuple[str, ...]
    read: Reader | None = None
    before: tuple[str, ...] = ("",)
    after: tuple[str, ...] = ()
    twice: bool = False

    @property
    def kind(self) -> str:
        """For messages: .h5 or .csv file, or folder."""
        return f"{' or '.join(self.suffixes)} file" if self.suffixes else "folder"

    def accepts(self, path: Path) -> bool:
        """Whether this is a file (or folder) of the format by its name, and is there."""
        return path.is_file() and path.suffix in self.suffixes if self.suffixes else path.is_dir()

    def find(self, folder: Path, name: str, others: Sequence[str]) -> list[Path]:
        """The files of a seizure by its name: the exact one, or those that the tool's own additions make of it.

        Args:
            folder: where they are.
            name: of the seizure.
            others: names of all seizures; what begins with a longer one of them is that one's.
        """
        exact = [folder / f"{before}{name}{suffix}" for before in self.before for suffix in self.suffixes or ("",)]
        found = [path for path in exact if self.accepts(path)]
        if not found and self.after:
            longer = tuple(other for other in others if other != name and other.startswith(name))
            starts = tuple(f"{name}{after}" for after in self.after)
            entries = sorted(folder.iterdir()) if folder.is_dir() else []
            found = [
                path
                for path in entries
                if path.name.startswith(starts) and not (longer and path.name.startswith(longer)) and self.accepts(path)
            ]
        if self.twice:
            best = {path.with_suffix(""): path for path in sorted(found, key=self._rank, reverse=True)}
            found = sorted(best.values())
        return found

    def _rank(self, path: Path) -> int:
        return self.suffixes.index(path.suffix)


def _through(software: Software) -> Reader:
    def read(path: Path, stream: str, faults: list[str]) -> Detections | None:
        del stream  # a file has one set of joints
        return read_through_movement(path, software, faults)

    return read


FORMATS: Mapping[str, Format] = {
    "files": Format(SUFFIXES),
    "deeplabcut": Format((".h5", ".csv"), _through("DeepLabCut"), after=("DLC", "DeepCut"), twice=True),
    "sleap": Format((".slp", ".h5"), _through("SLEAP"), after=(".",)),
    "lightning-pose": Format((".csv",), _through("LightningPose")),
    "anipose": Format((".csv",), _through("Anipose")),
    "openpose": Format((), read_openpose),
    "mmpose": Format((".json",), read_mmpose, before=("", "results_")),
    "coco": Format((".json",), read_coco),
}
"""By the names of `--format`."""
