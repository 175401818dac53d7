"""Train the models of one stream over all folds and print their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.config import MODELS, OWN_SIGN, Model, Stream
from seizurelit.loso.options import PRELOAD, RunOptions


@dataclass(frozen=True, kw_only=True)
class FitOptions(RunOptions):
    """Which stream, sign and model.

    Attributes:
        stream: pose (body) or face.
        sign: column of the cohort; by default dystonia for pose, emotion for face.
        model: agcn, tcn or agcn_kd (which trains its teacher too); by default all three.
    """

    stream: Stream
    sign: str | None = None
    model: Model | None = None


def main(argv: Sequence[str]) -> int:
    """Parse, run the folds, print the table; 0 if all is there, 1 if a fold is missing."""
    parser = door_parser("fit", __doc__ or "", FitOptions, trains=True)
    options, training = parse(parser, FitOptions, argv, trains=True)
    from seizurelit.scheduling.executors import start_ahead  # noqa: PLC0415 - not for --help

    start_ahead(options, PRELOAD, training.threads)  # beside the imports that follow
    from seizurelit.loso.run import run_table  # noqa: PLC0415 - torch only once the options are understood
    from seizurelit.reporting.report import render_shared, report  # noqa: PLC0415 - likewise pandas

    models = MODELS if options.model is None else (options.model,)
    signs = (options.sign or OWN_SIGN[options.stream],)
    return run_table(options, training, signs, (options.stream,), models, report=report, shared=render_shared)


if __name__ == "__main__":
    run_door(main)
