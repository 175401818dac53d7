"""Damaged and hostile files: model files, caches, a run's JSON and cohort tables give one line, never a traceback.

    make fuzz ARGS="--draws 10000 --seed 0"

Half of the draws change bytes. The other half change the content where the form allows it (a JSON value, a cell), with the sums
made anew, as somebody would who knows the form. A draw passes if the file is read, or refused with `InputError`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seizurelit.cache.store import Cache
from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.cohort.manifest import read_cohort
from seizurelit.cohort.plan import load_plans
from seizurelit.errors import InputError
from seizurelit.handover.model_file import read_model
from seizurelit.loso.experiment import load_run

KINDS = ("model", "cache", "json", "cohort")
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        2,
        10**9,
        10**30,
        -(10**30),
        1e308,
        float("nan"),
        "",
        "x",
        "../../etc/passwd",
        "\0",
        "é",
        "💥",
    ),
    *([], {}, [[]], {"a": 1}, [1] * 50, "A" * 5000, "__class__", "=1+1", "nan"),
)


class Files:
    """One good file of each kind, made once, and what reads it.

    Args:
        folder: where damaged copies go.
        model: a model file.
        cache: a cache folder of the stand-in cohort.
        run: a run folder.
    """

    def __init__(self, folder: Path, model: Path, cache: Path, run: Path) -> None:
        self.folder = folder
        seizure = next(iter(Cache.open(cache).seizures("pose")))
        self.seizure = seizure
        self.content = {
            "model": model.read_bytes(),
            "cache": (cache / f"{seizure}.pose.safetensors").read_bytes(),
            "cohort": (cache / "cohort.csv").read_bytes(),
        }
        self.json = {name: (run / name).read_bytes() for name in ("config.json", "folds.json")}
        (folder / "cache").mkdir(parents=True)
        (folder / "run").mkdir()
        (folder / "cache" / "cohort.csv").write_bytes(self.content["cohort"])

    def read(self, kind: str, content: bytes, name: str) -> None:
        """Write a damaged file and read it as a door would."""
        if kind == "model":
            path = self.folder / "model.safetensors"
            path.write_bytes(content)
            read_model(path)
        elif kind == "cache":
            cache = Cache(self.folder / "cache")
            cache.path(self.seizure, "pose").write_bytes(content)
            cache.read(self.seizure, "pose")
        elif kind == "json":
            (self.folder / "run" / name).write_bytes(content)
            if name == "folds.json":
                load_plans(self.folder / "run" / name)
            else:
                load_run(self.folder / "run")
        else:
            path = self.folder / "cohort.csv"
            path.write_bytes(content)
            read_cohort(path)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes turned over, put in, taken out, cut short, doubled."""
    data = bytearray(content)
    # The head of a safetensors file is where it can go wrong in more than one way.
    reach = len(data) if rng.random() < 0.4 else min(len(data), 4000)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, max(reach, 1)))
        what = rng.random()
        if what < 0.4 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif what < 0.6:
            data[at:at] = rng.bytes(int(rng.integers(1, 20)))
        elif what < 0.75:
            del data[at : at + int(rng.integers(1, 50))]
        elif what < 0.85:
            del data[at:]
        elif what < 0.95:
            data[at:at] = data[at // 2 : at // 2 + 64]
        else:
            data[:8] = struct.pack("<Q", int(rng.integers(0, 2**62)))
    return bytes(data)


def changed(value: Any, rng: np.random.Generator) -> Any:
    """A JSON value with one thing in it replaced, taken out, or nested."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = str(rng.choice(sorted(value)))
        if rng.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = int(rng.integers(len(value)))
        if rng.random() < 0.1:
            return value[:at] + value[at + 1 :]
        return [*value[:at], changed(value[at], rng), *value[at + 1 :]]
    return _VALUES[int(rng.integers(len(_VALUES)))]


def rewritten(kind: str, content: bytes, rng: np.random.Generator) -> bytes:
    """The file with its content changed and its sums made anew."""
    if kind == "cohort":
        rows = [line.split(b",") for line in content.splitlines()]
        row = rows[int(rng.integers(len(rows)))]
        new = _VALUES[int(rng.integers(len(_VALUES)))]
        row[int(rng.integers(len(row)))] = str(new).encode("utf-8", errors="replace")
        return b"\n".join(b",".join(cells) for cells in rows)
    if kind == "json":
        return json.dumps(changed(json.loads(content), rng)).encode()
    length = struct.unpack("<Q", content[:8])[0]
    raw = json.loads(content[8 : 8 + length])
    if rng.random() < 0.02:  # a text that nests too deep for any reader
        raw["__metadata__"] = dict.fromkeys(raw["__metadata__"], "[" * 200000)
    else:
        key = next(iter(raw["__metadata__"]))
        head = json.loads(raw["__metadata__"][key])
        part = "value" if kind == "model" else "metadata"
        head[part] = changed(head[part], rng)
        if kind == "model":
            text = json.dumps(
                [head["value"], head["sha256"]], sort_keys=True, ensure_ascii=False, separators=(",", ":")
            )
            head["digest"] = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        else:
            text = json.dumps([head["metadata"], head["sha256"]], sort_keys=True, ensure_ascii=False)
            head["key"] = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        raw["__metadata__"][key] = json.dumps(head, sort_keys=True, ensure_ascii=False)
    header = json.dumps(raw).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def fuzz(files: Files, draws: int, seed: int, told: Callable[[str], None]) -> dict[str, Counter[str]]:
    """Draw and read.

    Args:
        files: to start from.
        draws: over the four kinds in turn.
        seed: of the draws; draw n is the same whatever their number.
        told: takes the traceback of a draw that failed.

    Returns:
        kind → how many were read, refused, and failed.
    """
    found = {kind: Counter[str]() for kind in KINDS}
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        kind = KINDS[draw % len(KINDS)]
        name = ("config.json", "folds.json")[draw // len(KINDS) % 2] if kind == "json" else ""
        good = files.json[name] if kind == "json" else files.content[kind]
        try:
            content = damaged(good, rng) if rng.random() < 0.5 else rewritten(kind, good, rng)
            files.read(kind, content, name)
            found[kind]["read"] += 1
        except (InputError, SubjectLeakError):
            found[kind]["refused"] += 1
        except Exception:  # that is what is looked for
            found[kind]["failed"] += 1
            told(f"draw {draw} ({kind} {name}):\n{traceback.format_exc()}")
    return found


def main() -> int:
    """Make a model, a cache and a run, draw, print the counts; 1 if any draw failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from bench.small import small_model

    with tempfile.TemporaryDirectory() as temporary:
        cache, run, model = small_model(Path(temporary))
        files = Files(Path(temporary) / "fuzz", model, cache, run)
        found = fuzz(files, options.draws, options.seed, lambda text: print(text, file=sys.stderr))
    for kind, counts in found.items():
        print(f"{kind}: {counts['read']} read, {counts['refused']} refused, {counts['failed']} failed")
    failed = sum(counts["failed"] for counts in found.values())
    print(f"{options.draws} draws, seed {options.seed}: {failed} with a traceback")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
