"""Show how far a run is, what runs where, and what failed, from its ledger; also while it is at work, from any machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seizurelit.cli import door_parser, parse, run_door


@dataclass(frozen=True)
class StatusOptions:
    """Which run.

    Attributes:
        run: its folder, as fit or reproduce printed it, or a cache that extract works on.
        watch: look again every two seconds, until the run ends.
        jobs: list every job with its state, attempt, device, duration, memory and digest.
    """

    run: Path
    watch: bool = False
    jobs: bool = False


def main(argv: Sequence[str]) -> int:
    """Parse, read the ledger, print; 1 if a job has failed, else 0."""
    parser = door_parser("status", __doc__ or "", StatusOptions, trains=False, positional=("run",))
    options, _ = parse(parser, StatusOptions, argv, trains=False)
    from rich.console import Console  # noqa: PLC0415 - only once the options are understood
    from rich.live import Live  # noqa: PLC0415

    from seizurelit.scheduling.claims import Claims  # noqa: PLC0415
    from seizurelit.scheduling.status import ledger_of, read_status, render  # noqa: PLC0415

    ledger = ledger_of(options.run)
    claims = Claims(ledger.folder)
    console = Console(highlight=False)
    status = read_status(ledger, claims)
    if options.watch and console.is_terminal:
        with Live(render(status, jobs=options.jobs), console=console, auto_refresh=False) as live:
            while not status.settled:
                time.sleep(2)
                status = read_status(ledger, claims)
                live.update(render(status, jobs=options.jobs), refresh=True)
    else:
        console.print(render(status, jobs=options.jobs))
    return 1 if status.counts["failed"] else 0


if __name__ == "__main__":
    run_door(main)
