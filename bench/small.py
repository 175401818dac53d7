"""A cache, a run and a model file that take seconds to make, for what needs real ones of any size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from seizurelit.config import Training, with_overrides
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize

QUICK = (
    *("--windows.frames", "25", "--windows.per_seizure", "1", "--windows.stride", "25", "--optimiser.epochs", "2"),
    *("--preset", "fast", "--tcn.levels", "2", "--tcn.channels", "8", "--wandb", "off", "--workers", "1"),
)

QUICK_TRAINING = with_overrides(
    Training(),
    {
        "windows.frames": 25,
        "windows.stride": 25,
        "windows.per_seizure": 1,
        "agcn.variant": "small",
        "optimiser.epochs": 1,
        "tcn.levels": 1,
        "tcn.channels": 4,
    },
)
"""A training of a second or less."""


def small_run(folder: Path) -> tuple[Path, Path]:
    """A stand-in cohort of eight subjects and a run of all three models of pose: (cache, run)."""
    cache, run = folder / "cache", folder / "run"
    synthesize(StandIn(subjects=8, min_seconds=4, max_seconds=6, appearance_dim=8), cache)
    door("fit", "--stream", "pose", "--cache", str(cache), "--out", str(run), *QUICK)
    return cache, run


def small_model(folder: Path) -> tuple[Path, Path, Path]:
    """As `small_run`, and an exported model file of it without ONNX: (cache, run, model)."""
    cache, run = small_run(folder)
    out = folder / "exported"
    door("export", str(run), "--out", str(out), "--consent-recorded", "--onnx", "false", "--workers", "1")
    return cache, run, out / "model.safetensors"


def door(name: str, *arguments: str) -> None:
    """Run a front door in a process of its own, one thread; RuntimeError with what it said where it fails."""
    command = [sys.executable, "-m", f"seizurelit.{name}", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
