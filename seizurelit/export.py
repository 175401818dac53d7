"""Hand a run over: its rows refitted on all subjects in one file, with a model card and ONNX, in a model hub's layout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.config import RESEARCH_USE, Model


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Which run, and where to.

    Attributes:
        run: its folder, as fit or reproduce printed it, with all folds done.
        out: folder to be made: model.safetensors, README.md (the card), config.json, onnx/; uploaded by
            `hf upload OWNER/NAME FOLDER .`.
        consent_recorded: say that the patients' consent to share what is made of their data is on record; without it nothing is
            exported.
        sign: of this sign alone.
        model: this one of each sign and stream instead of agcn_kd, or else agcn, or else tcn.
        workers: processes at a time; the default is one a CPU core, or one a GPU.
        onnx: write ONNX too, checked against torch in onnxruntime.
        licence: of the weights, for the card, as a model hub abbreviates it; other is research use only.
    """

    run: Path
    out: Path
    consent_recorded: bool = False
    sign: str | None = None
    model: Model | None = None
    workers: int | None = None
    onnx: bool = True
    licence: str = "other"


def main(argv: Sequence[str]) -> int:
    """Parse, refit, write, say what is there."""
    parser = door_parser("export", __doc__ or "", ExportOptions, trains=False, positional=("run",))
    options, _ = parse(parser, ExportOptions, argv, trains=False)
    from seizurelit.handover.export import export  # noqa: PLC0415 - torch only once the options are understood

    done = export(
        options.run,
        options.out,
        consent_recorded=options.consent_recorded,
        sign=options.sign,
        model=options.model,
        workers=options.workers,
        onnx=options.onnx,
        licence=options.licence,
        say=lambda line: print(line, file=sys.stderr),
    )
    print(f"{done.folder}: {', '.join(done.rows)}")
    print(f"SHA-256 of model.safetensors: {done.digest}")
    for name, largest in done.onnx.items():
        print(f"{name}: within {largest:.1e} of torch")
    if done.without:
        print(f"no ONNX: {done.without}")
    print(
        "The score of these networks is the cross-validated one of the run: they saw every subject, and have none of their own."
    )
    print(RESEARCH_USE)
    return 0


if __name__ == "__main__":
    run_door(main)
