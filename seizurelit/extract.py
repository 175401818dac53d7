"""Extract the videos of a cohort: the patient's body and face, frame by frame, into a cache that the folds train on."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Sequence

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.extraction.options import Extract


def main(argv: Sequence[str]) -> int:
    """Parse, extract, say what failed and where the page is; 1 where a seizure failed."""
    parser = door_parser("extract", __doc__ or "", Extract, trains=False)
    options, _ = parse(parser, Extract, argv, trains=False)
    from seizurelit.extraction.run import extract  # noqa: PLC0415 - only once the options are understood

    done = extract(options, lambda line: print(line, file=sys.stderr))
    before = f", {done.skipped} of them before" if done.skipped else ""
    print(f"{done.cache}: {done.done} of {done.seizures} seizures are extracted{before}")
    for seizure, why in done.look.items():
        print(f"look: {seizure}: {why}", file=sys.stderr)
    if done.page is not None:
        print(f"look at {done.page}", flush=True)
        if options.open_page and not webbrowser.open(done.page.absolute().as_uri()):
            print("--open_page: there is no browser here; open the page yourself", file=sys.stderr)
    for seizure, why in done.failed.items():
        print(f"failed: {seizure}: {why}", file=sys.stderr)
    return 1 if done.failed else 0


if __name__ == "__main__":
    run_door(main)
