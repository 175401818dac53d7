"""What all rooms' tests share: where the real data lie, and one thread a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a shell has put into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference values beside the checkout."""
    if not SHARED.is_dir():
        reason = f"no real data at {SHARED}"
        if os.environ.get("CI"):
            pytest.fail(reason + ": CI must have it")
        pytest.skip(reason)
    return SHARED


@pytest.fixture(autouse=True)
def _private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and caches of a test stay in its own folder."""
    monkeypatch.setenv("SEIZURELIT_KEY_FILE", str(tmp_path / "pseudonym.key"))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in cohort of six subjects with seizures of a few seconds."""
    from seizurelit.synthetic.options import StandIn
    from seizurelit.synthetic.write import synthesize

    root = tmp_path_factory.mktemp("tiny") / "cache"
    synthesize(StandIn(subjects=6, min_seconds=4, max_seconds=6, appearance_dim=8), root)
    return root


@pytest.fixture
def door(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a front door as a user does, in a folder of its own: door("fit", "--stream", "pose")."""

    def run(name: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
        command = [sys.executable, "-m", f"seizurelit.{name}", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600, **options
        )

    return run


@pytest.fixture(scope="session")
def handed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """cache, run and model of a small stand-in cohort, and the key that they were exported under."""
    from bench.small import small_model

    folder = tmp_path_factory.mktemp("handed")
    key = folder / "key"
    before = os.environ.get("SEIZURELIT_KEY_FILE")
    os.environ["SEIZURELIT_KEY_FILE"] = str(key)
    try:
        cache, run, model = small_model(folder)
    finally:
        if before is None:
            del os.environ["SEIZURELIT_KEY_FILE"]
        else:
            os.environ["SEIZURELIT_KEY_FILE"] = before
    return {"cache": cache, "run": run, "model": model, "key": key}
