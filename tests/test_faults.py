"""Faults drawn at random into real runs, as `make faults` draws more of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_twenty_faults_come_to_the_same_table_or_are_reported(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bench.faults", "--draws", "20", "--seed", "0"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 came out wrong" in done.stdout
