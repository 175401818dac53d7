"""Train every row of Table 1 over all folds, with the crossed rows, the fusion and the baselines, and print the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.config import MODELS, OWN_SIGN, STREAMS
from seizurelit.loso.options import PRELOAD, RunOptions


@dataclass(frozen=True)
class ReproduceOptions(RunOptions):
    """Which signs.

    Attributes:
        signs: columns of the cohort.
    """

    signs: tuple[str, ...] = tuple(OWN_SIGN.values())


def main(argv: Sequence[str]) -> int:
    """Parse, run the folds of both streams, print the table; 0 if all is there, 1 if a fold is missing."""
    parser = door_parser("reproduce", __doc__ or "", ReproduceOptions, trains=True)
    options, training = parse(parser, ReproduceOptions, argv, trains=True)
    from seizurelit.scheduling.executors import start_ahead  # noqa: PLC0415 - not for --help

    start_ahead(options, PRELOAD, training.threads)  # beside the imports that follow
    from seizurelit.loso.run import run_table  # noqa: PLC0415 - torch only once the options are understood
    from seizurelit.reporting.report import render_shared, report  # noqa: PLC0415 - likewise pandas

    return run_table(options, training, options.signs, STREAMS, MODELS, report=report, shared=render_shared)


if __name__ == "__main__":
    run_door(main)
