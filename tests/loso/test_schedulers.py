"""One table, whoever trains its folds: through the front door, by this process, by Ray and by SLURM's jobs."""

from __future__ import annotations

import json
import re

import pytest

from seizurelit.scheduling.ledger import Ledger

pytestmark = pytest.mark.slow
QUICK = (
    *("--stream", "pose", "--model", "agcn_kd", "--preset", "fast", "--wandb", "off", "--windows.frames", "25"),
    *("--windows.stride", "25", "--tcn.levels", "1", "--tcn.channels", "4", "--optimiser.epochs", "2"),
)
SCHEDULERS = {
    "ray": ("--scheduler", "ray"),
    "ray, files sent": ("--scheduler", "ray", "--ray-files", "shipped"),
    "slurm": ("--scheduler", "slurm", "--slurm", "{cluster: local}", "--workers", "2"),
}


@pytest.fixture
def serial(door, tiny_cache):
    """A function that runs one fold and its teacher by a scheduler: (what was printed, predictions.csv, ledger)."""

    def run(tmp_path, *arguments):
        out = tmp_path / "run"
        done = door("fit", "--cache", tiny_cache, "--fold", "sub-02", "--out", out, *QUICK, *arguments)
        assert done.returncode == 0, done.stderr
        return done, (out / "predictions.csv").read_bytes(), Ledger(out).records()

    return run


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_same_predictions_and_ledger(name, tmp_path, serial):
    pytest.importorskip("ray" if "ray" in name else "submitit", reason="make env-cluster installs it")
    _, expected, here = serial(tmp_path / "serial", "--workers", "1")
    done, found, there = serial(tmp_path / "other", *SCHEDULERS[name])
    assert found == expected
    assert "Traceback" not in done.stderr
    assert list(there) == list(here)
    assert {record.state for record in there.values()} == {"done"}
    assert all(re.fullmatch("[0-9a-f]{64}", record.digest) for record in there.values())
    assert len({record.pid for record in here.values()} & {record.pid for record in there.values()}) == 0


def test_a_run_begun_here_is_finished_by_a_cluster(tmp_path, serial, door, tiny_cache):
    pytest.importorskip("submitit", reason="make env-cluster installs it")
    out = tmp_path / "run"
    teacher = ("--model", "tcn", "--workers", "1")
    assert door("fit", "--cache", tiny_cache, "--fold", "sub-02", "--out", out, *QUICK, *teacher).returncode == 0
    done, _, records = serial(tmp_path, *SCHEDULERS["slurm"])
    assert "1 from before" in done.stderr
    assert [record.attempt for record in records.values()] == [1, 1]


def test_options_that_do_not_go_together(door, tiny_cache):
    for arguments, says in (
        (("--workers", "0"), "--workers 0: give 1 or more"),
        (("--per-device", "0"), "--per_device 0: give 1 or more"),
        (("--ray-address", "auto"), "are for --scheduler ray"),
        (("--slurm", json.dumps({"mem_gb": 1})), "is for --scheduler slurm"),
        (("--scheduler", "slurm"), "there is no sbatch here"),
        (("--scheduler", "slurm", "--slurm", "{cluster: local, slurm_partitionn: gpu}"), "submitit does not take this"),
        (("--scheduler", "ray", "--ray-address", "127.0.0.1:1"), "no Ray cluster"),
        (("--device", "gpu"), "torch finds no GPU here"),
    ):
        done = door("fit", "--cache", tiny_cache, "--fold", "sub-02", *QUICK, *arguments)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
