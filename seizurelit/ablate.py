"""Try the method's switches one at a time, each beside the rows without it, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.config import OWN_SIGN
from seizurelit.loso.options import PRELOAD, Ablation, RunOptions


@dataclass(frozen=True, kw_only=True)
class AblateOptions(RunOptions):
    """Which switches: experiments/ablations.yaml has those of the method.

    Attributes:
        ablations: each with name, models, settings, stream and only.
        own: sign and the stream that it is read from, pose or face.
    """

    ablations: tuple[Ablation, ...]
    own: dict[str, str] = field(default_factory=lambda: {sign: stream for stream, sign in OWN_SIGN.items()})


def main(argv: Sequence[str]) -> int:
    """Parse, run the reference and every switch, print the table; 0 if all is there, 1 if a fold is missing."""
    parser = door_parser("ablate", __doc__ or "", AblateOptions, trains=True)
    options, training = parse(parser, AblateOptions, argv, trains=True)
    from seizurelit.scheduling.executors import start_ahead  # noqa: PLC0415 - not for --help

    start_ahead(options, PRELOAD, training.threads)  # beside the imports that follow
    from seizurelit.loso.ablations import run_ablations  # noqa: PLC0415 - torch only once the options are understood

    return run_ablations(options, training, options.ablations, options.own)


if __name__ == "__main__":
    run_door(main)
