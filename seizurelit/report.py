"""Make the table of a finished or interrupted run anew from its out-of-fold predictions, print it, and write its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from seizurelit.cli import door_parser, parse, run_door


@dataclass(frozen=True)
class ReportOptions:
    """Which run.

    Attributes:
        run: its folder, as fit or reproduce printed it.
        audit: instead of the table, show for every training whom its weights, its teacher, its choices and the extraction saw,
            as the files on disk say; exit code 1 if a held-out subject is among them or a file is not what the run sealed.
        diff: folder of an older run of the same cohort, whose table this one is set beside.
        videos: folder from which the cohort names its videos, which the report links to; by default that of its cohort.csv.
        share: instead of the local report write report-shared.html, which may be passed on: keyed pseudonyms for names, no
            path, no link, no attribute of a patient.
    """

    run: Path
    audit: bool = False
    diff: Path | None = None
    videos: Path | None = None
    share: bool = False


def main(argv: Sequence[str]) -> int:
    """Parse, pool, print, report; 0 if every planned fold is there, 1 if one is missing or the audit finds a fault."""
    parser = door_parser("report", __doc__ or "", ReportOptions, trains=False, positional=("run",))
    options, _ = parse(parser, ReportOptions, argv, trains=False)
    if options.audit:
        from seizurelit.loso.audit import audit_run  # noqa: PLC0415 - torch only once the options are understood

        return audit_run(options.run)
    from seizurelit.loso.run import report_run  # noqa: PLC0415 - likewise pandas
    from seizurelit.reporting.report import report_with_figures, share  # noqa: PLC0415 - likewise

    report = share if options.share else partial(report_with_figures, videos=options.videos)
    return report_run(options.run, diff=options.diff, report=report)


if __name__ == "__main__":
    run_door(main)
