"""Make the table of a finished or interrupted run anew from its out-of-fold predictions, and print it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seizurelit.cli import door_parser, parse, run_door


@dataclass(frozen=True)
class ReportOptions:
    """Which run.

    Attributes:
        run: its folder, as fit or reproduce printed it.
    """

    run: Path


def main(argv: Sequence[str]) -> int:
    """Parse, pool, print; 0 if every planned fold is there, 1 if one is missing."""
    parser = door_parser("report", __doc__ or "", ReportOptions, trains=False, positional=("run",))
    options, _ = parse(parser, ReportOptions, argv, trains=False)
    from seizurelit.loso.run import report_run  # noqa: PLC0415 - pandas only once the options are understood

    return report_run(options.run)


if __name__ == "__main__":
    run_door(main)
