"""The stand-in cohort that is used where no cache is given: made on first use, then found again."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from seizurelit.config import as_json, digest
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import VERSION, synthesize


def stand_in_cache(folder: Path, console: Console) -> Path:
    """The cache of the default stand-in cohort below a folder; synthesised if it is not there yet.

    Args:
        folder: where run folders lie.
        console: told when something is made.
    """
    options = StandIn()
    place = folder / f"stand-in-cohort-{digest(str(VERSION), as_json(options))[:8]}"
    with console.status(f"making the stand-in cohort in {place}"):
        synthesize(options, place)
    return place
