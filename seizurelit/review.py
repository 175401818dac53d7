"""Correct an extraction by hand: frames out to CVAT or Label Studio, corrected points back, models fine-tuned on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.config import RESEARCH_USE
from seizurelit.errors import InputError


def _export(argv: Sequence[str]) -> int:
    """Write the least certain frames as pictures and COCO keypoints."""
    from seizurelit.correction.export import Export, export  # noqa: PLC0415 - each command brings its own

    parser = door_parser("review export", _export.__doc__ or "", Export, trains=False)
    options, _ = parse(parser, Export, argv, trains=False)
    from rich.console import Console  # noqa: PLC0415 - the view only once the options are understood
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pictures", total=None)
        done = export(options, lambda made, total: bar.update(task, completed=made, total=total))
    print(f"{done.annotations}: {done.images} pictures of {done.seizures} seizures, the least certain first")
    if done.skipped:
        print(f"nothing to correct in {len(done.skipped)} seizures: {', '.join(done.skipped)}")
    print(f"patient footage with faces: {options.out} must stay on this machine; its README.txt says how to go on")
    return 0


def _import(argv: Sequence[str]) -> int:
    """Write corrected points into the cache."""
    from seizurelit.correction.importing import Import, import_corrections  # noqa: PLC0415

    parser = door_parser("review import", _import.__doc__ or "", Import, trains=False)
    options, _ = parse(parser, Import, argv, trains=False)
    done = import_corrections(options)
    print(
        f"{options.cache}: {done.moved} points moved, {done.added} added, {done.removed} removed in "
        f"{len(done.seizures)} seizures{': ' if done.seizures else ''}{', '.join(done.seizures)}"
    )
    if done.unreviewed:
        print(f"{done.unreviewed} of {done.pictures} pictures have no points in the file and were left as they are")
    return 0


def _finetune(argv: Sequence[str]) -> int:
    """Fine-tune OpenMMLab's detector and pose models on corrected frames, per fold."""
    from seizurelit.correction.options import Finetune  # noqa: PLC0415

    parser = door_parser("review finetune", _finetune.__doc__ or "", Finetune, trains=False)
    options, _ = parse(parser, Finetune, argv, trains=False)
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from seizurelit.cohort.leak import SubjectLeakError  # noqa: PLC0415
    from seizurelit.extraction.models import require_openmmlab  # noqa: PLC0415

    require_openmmlab("review finetune")
    from seizurelit.correction.finetune import finetune  # noqa: PLC0415 - OpenMMLab, which need not be installed

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("models", total=None)
        try:
            done = finetune(options, lambda made, total: bar.update(task, completed=made, total=total))
        except SubjectLeakError as error:
            raise InputError(str(error)) from None
    for made in done:
        loss = "was there already" if made.loss is None else f"loss {made.loss:.4g} in the last epoch"
        print(f"{made.path}: {made.pictures} pictures of {', '.join(made.subjects_seen)}; {loss}")
    print(f"next: extract --fold SUBJECT with the files of {options.out}/SUBJECT, which have not seen that subject")
    return 0


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "export": _export,
    "import": _import,
    "finetune": _finetune,
}


def main(argv: Sequence[str]) -> int:
    """Hand the rest of the command line to one of the commands."""
    command = COMMANDS.get(argv[0]) if argv else None
    if command is not None:
        return command(argv[1:])
    asked = bool(argv) and argv[0] in ("-h", "--help")
    lines = [f"  {name:<9} {(of.__doc__ or '').splitlines()[0]}" for name, of in COMMANDS.items()]
    usage = ["usage: python -m seizurelit.review COMMAND [options]", "", __doc__ or "", "", *lines, "", RESEARCH_USE]
    if asked:
        print("\n".join(usage))
        return 0
    given = f"{argv[0]!r} is none of" if argv else "give one of"
    msg = f"review: {given} {', '.join(COMMANDS)}; see --help"
    raise InputError(msg)


if __name__ == "__main__":
    run_door(main)
