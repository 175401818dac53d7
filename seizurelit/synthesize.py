"""Make the stand-in cohort: 19 subjects, 38 seizures, tensors of both streams, so that everything runs without clinical data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.synthetic.options import StandIn


@dataclass(frozen=True, kw_only=True)
class SynthesizeOptions(StandIn):
    """Where the cohort goes, and what it is like.

    Attributes:
        cache: folder of the cache; made if it is not there.
    """

    cache: Path


def main(argv: Sequence[str]) -> int:
    """Parse, synthesise, say what is there."""
    parser = door_parser("synthesize", __doc__ or "", SynthesizeOptions, trains=False)
    options, _ = parse(parser, SynthesizeOptions, argv, trains=False)
    from rich.console import Console  # noqa: PLC0415 - the rooms only once the options are understood
    from rich.progress import Progress  # noqa: PLC0415

    from seizurelit.synthetic.write import synthesize  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("seizures", total=None)
        cache = synthesize(
            StandIn(**{entry.name: getattr(options, entry.name) for entry in fields(StandIn)}),
            options.cache,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    cohort = cache.cohort()
    print(f"STAND-IN COHORT: {len(cohort.subjects)} subjects, {len(cohort.seizures)} seizures in {cache.root}")
    return 0


if __name__ == "__main__":
    run_door(main)
