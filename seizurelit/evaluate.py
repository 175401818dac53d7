"""Evaluate an exported model on a cohort that it never saw: the whole table, and how the cohort differs from that of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seizurelit.cli import door_parser, parse, run_door


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Which model, which cohort.

    Attributes:
        model: file of an exported model.
        cache: folder of the other cohort's tensors.
        cohort: a cohort.csv to read the labels from instead of the copy in the cache.
        sign: of this sign alone.
        out: folder for predictions.csv, table.csv, table.md, shift.csv and evaluation.json.
        calibrated: file to write the model to again, calibrated on this cohort. Its scores are then called probabilities, if
            the key is that of the export, so that it is known that nobody of this cohort was trained on.
    """

    model: Path
    cache: Path
    cohort: Path | None = None
    sign: str | None = None
    out: Path = Path("evaluation")
    calibrated: Path | None = None


def main(argv: Sequence[str]) -> int:
    """Parse, score, print the table and the shift."""
    parser = door_parser("evaluate", __doc__ or "", EvaluateOptions, trains=False)
    options, _ = parse(parser, EvaluateOptions, argv, trains=False)
    from seizurelit.evaluation.rendering import print_table  # noqa: PLC0415 - torch only once the options are understood
    from seizurelit.handover.external import evaluate  # noqa: PLC0415

    done = evaluate(
        options.model,
        options.cache,
        override=options.cohort,
        sign=options.sign,
        out=options.out,
        calibrated=options.calibrated,
    )
    print_table(done.table)
    for line in done.lines:
        print(line)
    print(f"{options.out}: predictions.csv, table.csv, table.md, shift.csv, evaluation.json")
    return 0


if __name__ == "__main__":
    run_door(main)
