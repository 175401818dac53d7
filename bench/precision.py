"""Whether bfloat16 changes the table: `python -m bench.precision`, a line a fold and bench-precision.json.

Every fold of one row of the stand-in cohort is trained in float32 with seeds 0 and 1, and in bf16-mixed with seed 0, preset fast.
The seizures' scores in bf16 are compared with those in float32 of the same seed, and those of the two seeds with each other: the
first difference should be no larger than the second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch

from bench.machine import machine
from seizurelit.cache.store import Cache
from seizurelit.cli import PRESETS
from seizurelit.cohort.plan import loso_plan
from seizurelit.config import OWN_SIGN, Training, with_overrides
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.store import load_store
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize
from seizurelit.training.fit import fit, predict

WAYS = (("32-true", 0), ("32-true", 1), ("bf16-mixed", 0))


def compare(cache: Cache, stream: str, model: str, folds: int | None, out: Path) -> dict[str, object]:
    """Train fold by fold and keep what there is in `out` after each."""
    people = cache.cohort()
    sign = people.sign(OWN_SIGN[stream])
    store = load_store(cache, people, sign, stream, keypoints=True, appearance=True)
    fast = {name: value for name, value in PRESETS["fast"].items() if name != "seeds"}
    scores: dict[tuple[str, int], list[float]] = {way: [] for way in WAYS}
    labels: list[int] = []
    found: dict[str, object] = {}
    plan = loso_plan(people, sign).folds
    for place, fold in enumerate(plan[:folds]):
        for precision, seed in WAYS:
            training = with_overrides(Training(precision=precision), fast)
            data = FoldDataModule(store, fold, training, seed=seed)
            module = fit(model, data, training, seed=seed, device="cpu", history=None)
            given = predict(module, data, training, device="cpu")
            scores[precision, seed] += [float(given[name][1]) for name in sorted(given)]
        labels += [int(store.labels[store.seizures.index(name)]) for name in sorted(given)]
        found = summary(scores, labels) | {"machine": machine(), "row": f"{sign.name} {stream} {model}"}
        found |= {"folds": place + 1, "of": len(plan)}
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(json.dumps({name: value for name, value in found.items() if name != "machine"}), flush=True)
    return found


def summary(scores: dict[tuple[str, int], list[float]], labels: list[int]) -> dict[str, object]:
    """Accuracy of each way, and the mean absolute differences of scores."""
    reference, other_seed, low = (scores[way] for way in WAYS)

    def apart(one: list[float], other: list[float]) -> float:
        return statistics.mean(abs(a - b) for a, b in zip(one, other, strict=True))

    def accuracy(given: list[float]) -> float:
        return statistics.mean((score >= 0.5) == (label == 1) for score, label in zip(given, labels, strict=True))

    return {
        "seizures": len(labels),
        "accuracy": {f"{name} seed {seed}": round(accuracy(given), 3) for (name, seed), given in scores.items()},
        "bf16 against float32, mean |difference|": round(apart(reference, low), 4),
        "seed 1 against seed 0, mean |difference|": round(apart(reference, other_seed), 4),
        "changed classes, bf16": sum((a >= 0.5) != (b >= 0.5) for a, b in zip(reference, low, strict=True)),
        "changed classes, seed": sum((a >= 0.5) != (b >= 0.5) for a, b in zip(reference, other_seed, strict=True)),
    }


def main() -> None:
    """Make the stand-in cohort and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", choices=tuple(OWN_SIGN), default="pose")
    parser.add_argument("--model", choices=("agcn", "tcn"), default="agcn")
    parser.add_argument("--folds", type=int, help="the first so many; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cache = synthesize(StandIn(), Path(folder) / "cache")
        compare(cache, options.stream, options.model, options.folds, Path("bench-precision.json"))


if __name__ == "__main__":
    main()
