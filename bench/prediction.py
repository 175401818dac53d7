"""How long a prediction takes of what the video lasts: the networks alone, with grounds, on tensors of a stand-in seizure of 60 s.

python -m bench.prediction --run runs/NAME
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from seizurelit.handover.ensemble import score
from seizurelit.handover.fitting import store_of
from seizurelit.handover.of_run import ensemble_of_run
from seizurelit.prediction.scoring import grounds
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize


def main() -> None:
    """Print the seconds of each part, the median of five turns, and their share of the video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        cache = synthesize(StandIn(subjects=4, min_seconds=60, max_seconds=60), Path(temporary) / "cache")
        cohort = cache.cohort()
        ensemble = ensemble_of_run(options.run)
        row = ensemble.rows[0]
        store = store_of(ensemble, row, cache, cohort, {cohort.seizures[0].name: 0})
        parts = {"networks": lambda: score(row, store), "grounds": lambda: grounds(row, store, 1)}
        for name, part in parts.items():
            taken = []
            for _ in range(5):
                start = time.monotonic()
                part()
                taken.append(time.monotonic() - start)
            middle = sorted(taken)[2]
            print(f"{name}: {middle:.2f} s of 60 s, {middle / 60:.1%} ({row.name}, {len(row.members)} members)")


if __name__ == "__main__":
    main()
