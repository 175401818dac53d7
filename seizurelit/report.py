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
        audit: instead of the table, show for every training whom its weights, its teacher, its choices and the extraction saw,
            as the files on disk say; exit code 1 if a held-out subject is among them or a file is not what the run sealed.
    """

    run: Path
    audit: bool = False


def main(argv: Sequence[str]) -> int:
    """Parse, pool, print; 0 if every planned fold is there, 1 if one is missing or the audit finds a fault."""
    parser = door_parser("report", __doc__ or "", ReportOptions, trains=False, positional=("run",))
    options, _ = parse(parser, ReportOptions, argv, trains=False)
    if options.audit:
        from seizurelit.loso.audit import audit_run  # noqa: PLC0415 - torch only once the options are understood

        return audit_run(options.run)
    from seizurelit.loso.run import report_run  # noqa: PLC0415 - likewise pandas

    return report_run(options.run)


if __name__ == "__main__":
    run_door(main)
