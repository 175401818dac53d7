"""Score a new seizure video by a run or an exported model, with spread and grounds; or say that it is not to be judged."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from seizurelit.cli import door_parser, parse, run_door
from seizurelit.config import RESEARCH_USE
from seizurelit.prediction.options import Predict


def main(argv: Sequence[str]) -> int:
    """Parse, predict, say what came of it; 1 where a video of a folder failed."""
    parser = door_parser("predict", __doc__ or "", Predict, trains=False, positional=("video",))
    options, _ = parse(parser, Predict, argv, trains=False)
    from seizurelit.prediction.predict import predict, said  # noqa: PLC0415 - torch only once the options are understood

    found = predict(options, lambda line: print(line, file=sys.stderr))
    for one in found:
        print("\n".join(said(one)))
    print(RESEARCH_USE)
    return 1 if any(one.failed for one in found) else 0


if __name__ == "__main__":
    run_door(main)
