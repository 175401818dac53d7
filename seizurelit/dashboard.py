"""Save the dashboard of a run on wandb: its tables, its folds by model, its curves; needs wandb-workspaces and an API key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seizurelit.cli import door_parser, parse, run_door


@dataclass(frozen=True)
class DashboardOptions:
    """Which run, and where on wandb.

    Attributes:
        run: its folder, as fit, reproduce or ablate printed it (of an ablation, the reference's: all of it is one group).
        entity: wandb's team or user.
        project: wandb's project, to which the run was sent.
    """

    run: Path
    entity: str
    project: str = "seizurelit"


def main(argv: Sequence[str]) -> int:
    """Parse, save the view, print its address."""
    parser = door_parser("dashboard", __doc__ or "", DashboardOptions, trains=False, positional=("run",))
    options, _ = parse(parser, DashboardOptions, argv, trains=False)
    from seizurelit.loso.experiment import load_run  # noqa: PLC0415 - torch only once the options are understood
    from seizurelit.tracking.dashboard import definition, save  # noqa: PLC0415 - likewise

    run = load_run(options.run)
    print(save(definition(run.run_id, entity=options.entity, project=options.project, stand_in=run.stand_in)))
    return 0


if __name__ == "__main__":
    run_door(main)
