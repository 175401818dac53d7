"""The grounds of a run's out-of-fold scores: joint × time attribution, the learned graph, and whether they can be believed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.config import Model


@dataclass(frozen=True)
class ExplainOptions:
    """Which run, and what of it.

    Attributes:
        run: its folder, as fit or reproduce printed it; the grounds go to its folder `explanation`.
        sign: of this sign alone.
        model: of this model alone; by default of every row.
        seed: whose networks are explained.
        sanity: also randomise the networks' weights, which takes three more attributions of each seizure.
    """

    run: Path
    sign: str | None = None
    model: Model | None = None
    seed: int = 0
    sanity: bool = True


def main(argv: Sequence[str]) -> int:
    """Parse, explain, say what was found."""
    parser = door_parser("explain", __doc__ or "", ExplainOptions, trains=False, positional=("run",))
    options, _ = parse(parser, ExplainOptions, argv, trains=False)
    from seizurelit.explanation.run import explain_run  # noqa: PLC0415 - torch only once the options are understood

    lines = explain_run(
        options.run,
        sign=options.sign,
        model=options.model,
        seed=options.seed,
        sanity=options.sanity,
        say=lambda line: print(line, file=sys.stderr),
    )
    for line in lines:
        print(line)
    return 0


if __name__ == "__main__":
    run_door(main)
