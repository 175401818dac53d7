"""Train VGG-19 on FER2013, whose layer before the classifier gives the features of the face."""

from __future__ import annotations

from collections.abc import Sequence

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.training.options import Pretraining


def main(argv: Sequence[str]) -> int:
    """Parse, train, say how it scored and where the weights are."""
    parser = door_parser("pretrain", __doc__ or "", Pretraining, trains=False)
    options, _ = parse(parser, Pretraining, argv, trains=False)
    from rich.console import Console  # noqa: PLC0415 - the view only once the options are understood
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from seizurelit.training.pretraining import pretrain  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[stands]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=None, stands="")
        done = pretrain(
            options,
            lambda step, steps, stands: bar.update(task, completed=step, total=steps, stands=stands),
        )
    if done is None:
        return 0
    facts = done.facts
    print(f"{done.path}{' was there already' if done.before else ''}: epoch {facts['epoch']}, chosen on PublicTest")
    print(f"PublicTest:  accuracy {facts['public_accuracy']:.4f}, macro F1 {facts['public_macro_f1']:.4f}")
    print(f"PrivateTest: accuracy {facts['private_accuracy']:.4f}, macro F1 {facts['private_macro_f1']:.4f}")
    if facts["repeated"]:
        print(f"note: {facts['repeated']} images of PrivateTest are in Training too, bit for bit")
    return 0


if __name__ == "__main__":
    run_door(main)
