"""Bring keypoints and appearance features that other tools made into a cache."""

from __future__ import annotations

from collections.abc import Sequence

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.ingestion.options import Ingest


def main(argv: Sequence[str]) -> int:
    """Parse, check and write, say what is there and what was missing."""
    parser = door_parser("ingest", __doc__ or "", Ingest, trains=False)
    options, _ = parse(parser, Ingest, argv, trains=False)
    from rich.console import Console  # noqa: PLC0415 - the view only once the options are understood
    from rich.progress import Progress  # noqa: PLC0415

    from seizurelit.ingestion.ingest import ingest  # noqa: PLC0415 - numpy likewise

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("seizures", total=None)
        done = ingest(options, lambda made, total: bar.update(task, completed=made, total=total))
    print(
        f"{done.cache}: {done.stream} of {done.seizures} seizures, {done.subjects} subjects; signs: {', '.join(done.signs)}"
    )
    for note in done.notes:
        print(f"note: {note}")
    if done.missing:
        print(f"no file for {len(done.missing)} seizures: {', '.join(done.missing)}")
    return 0


if __name__ == "__main__":
    run_door(main)
