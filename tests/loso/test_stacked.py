"""Runs whose folds are trained stacked, through the same jobs, against runs whose folds are trained alone."""

import dataclasses
import json
import shutil

import pandas as pd
import pytest

from bench.small import QUICK_TRAINING
from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.config import with_overrides
from seizurelit.errors import InputError
from seizurelit.loso import job
from seizurelit.loso.audit import audit_run
from seizurelit.loso.options import RunOptions
from seizurelit.loso.run import report_run, run_table
from seizurelit.scheduling.claims import Claims
from seizurelit.scheduling.ledger import Ledger, seal
from seizurelit.scheduling.status import read_status

ROWS = (("dystonia",), ("pose",), ("agcn", "tcn", "agcn_kd"))
STACKED = dataclasses.replace(QUICK_TRAINING, stack=4)
"""Six folds: four and two."""


@pytest.fixture
def options(tiny_cache, tmp_path):
    return RunOptions(cache=tiny_cache, out=tmp_path / "run", seeds=1, preset="fast", workers=1, wandb="off")


def test_the_table_is_that_of_folds_trained_alone(options, tmp_path, capsys):
    training = with_overrides(QUICK_TRAINING, {"optimiser.epochs": 3, "optimiser.batch": 3, "agcn.dropout": 0.2})
    assert run_table(options, training, *ROWS) == 0
    other = dataclasses.replace(options, out=tmp_path / "stacked", seeds=2)
    assert run_table(other, dataclasses.replace(training, stack=4), *ROWS) == 0
    assert "36 trainings" in " ".join(capsys.readouterr().err.split())
    alone, together = (pd.read_csv(one.out / "predictions.csv") for one in (options, other))
    together = together[(together["seed"] == 0) | together["seed"].isna()].reset_index(drop=True)
    columns = [name for name in alone if not name.startswith("prob_")]
    pd.testing.assert_frame_equal(alone[columns], together[columns])
    for name in set(alone) - set(columns):
        assert (alone[name] - together[name]).abs().max() < 1e-3
    names = {path.name for path in (options.out / "jobs/dystonia/pose/agcn/seed-0/sub-01").iterdir()}
    assert {path.name for path in (other.out / "jobs/dystonia/pose/agcn/seed-0/sub-01").iterdir()} == names
    assert audit_run(other.out) == 0
    shown = capsys.readouterr().out
    assert "36 trainings audited, 0 with faults" in shown
    assert "trained together with others by dystonia/pose/agcn_kd/stacked/seed-1/1" in shown
    assert report_run(other.out) == 0

    ledger = Ledger(other.out)
    assert len(ledger.records()) == 36 + 3 * 2 * 2
    assert ledger.record("dystonia/pose/tcn/stacked/seed-0/0").measured["training_steps"] > 0
    with Claims(ledger.folder) as claims:
        assert read_status(ledger, claims).counts["done"] == 48
    before = {name: record.attempt for name, record in ledger.records().items()}
    assert run_table(other, dataclasses.replace(training, stack=4), *ROWS) == 0
    assert {name: record.attempt for name, record in ledger.records().items()} == before
    with pytest.raises(InputError, match=r"training\.stack: 4 there, 0 now"):
        run_table(other, dataclasses.replace(training, stack=0), *ROWS)


def test_one_fold_is_trained_with_its_company_and_has_the_same_bytes(options, tmp_path, capsys):
    one = dataclasses.replace(options, fold="sub-02")
    assert run_table(one, STACKED, ("dystonia",), ("pose",), ("agcn_kd",)) == 0
    jobs = set(Ledger(options.out).records())
    teachers = {f"dystonia/pose/tcn/seed-0/sub-0{k}" for k in range(1, 5)}
    stacks = {f"dystonia/pose/{model}/stacked/seed-0/0" for model in ("tcn", "agcn_kd")}
    assert jobs == {*teachers, *stacks, "dystonia/pose/agcn_kd/seed-0/sub-02"}
    whole = dataclasses.replace(options, out=tmp_path / "whole")
    assert run_table(whole, STACKED, ("dystonia",), ("pose",), ("agcn_kd",)) == 0
    name = "jobs/dystonia/pose/agcn_kd/seed-0/sub-02"
    for path in (options.out / name).iterdir():
        assert path.read_bytes() == (whole.out / name / path.name).read_bytes()


def test_the_weights_of_another_fold_are_refused(options, capsys):
    assert run_table(options, STACKED, ("dystonia",), ("pose",), ("tcn",)) == 0
    stack = options.out / "jobs/dystonia/pose/tcn/stacked/seed-0/0"
    mine = stack / "sub-02" / "weights.safetensors"
    kept = mine.read_bytes()
    fold = {"run_dir": str(options.out), "sign": "dystonia", "stream": "pose", "model": "tcn", "seed": 0, "stack": 0}
    mine.write_bytes((stack / "sub-01" / "weights.safetensors").read_bytes())
    with pytest.raises(SubjectLeakError, match="sub-02"):
        job.train_fold(options.out / "spare", fold="sub-02", **fold)
    # Planted, and sealed as if it had been so: what the folds were made of is another.
    result = json.loads((stack / "result.json").read_text())
    (stack / "result.json").unlink()
    seal(stack, "dystonia/pose/tcn/stacked/seed-0/0", result["result"], result["inputs"])
    capsys.readouterr()
    assert audit_run(options.out) == 1
    assert "sub-02: was trained by another dystonia/pose/tcn/stacked/seed-0/0 than" in capsys.readouterr().out
    # Of the right fold and another seed.
    mine.write_bytes(kept)
    copy = options.out / "jobs/dystonia/pose/tcn/stacked/seed-1/0"
    shutil.copytree(stack, copy)
    with pytest.raises(InputError, match="lies in the place of"):
        job.train_fold(options.out / "spare", fold="sub-02", **{**fold, "seed": 1})


def test_a_failed_stack_costs_its_own_folds(options, monkeypatch, capsys):
    real = job.fit_stacked

    def broken(model, data, *more, **options):
        if data[0].fold.name == "sub-05":
            msg = "the loss is not a number"
            raise RuntimeError(msg)
        return real(model, data, *more, **options)

    monkeypatch.setattr(job, "fit_stacked", broken)
    assert run_table(options, STACKED, ("dystonia",), ("pose",), ("tcn",)) == 1
    shown = " ".join(capsys.readouterr().out.split())  # lines are broken where the terminal ends
    assert "4/6" in shown
    assert "the loss is not a number" in shown
    assert report_run(options.out) == 1
    assert "4/6" in capsys.readouterr().out
    monkeypatch.setattr(job, "fit_stacked", real)
    assert run_table(options, STACKED, ("dystonia",), ("pose",), ("tcn",)) == 0


def test_chance_is_refitted_stacked_too(options, capsys):
    again = dataclasses.replace(options, permute_refit=2)
    assert run_table(again, STACKED, ("dystonia",), ("pose",), ("tcn",)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "2 sets of permuted labels: 12 trainings left" in said
    assert "hours" in said
    table = pd.read_csv(options.out / "table.csv").set_index("model")
    assert table.loc["tcn", "chance_relabellings"] == 2


def test_what_cannot_be_stacked_is_refused_before_any_job(options):
    grid = [{"optimiser.lr": [1e-3, 1e-2]}]
    with pytest.raises(InputError, match="--stack 4: --grid is for folds trained one by one"):
        run_table(options, dataclasses.replace(STACKED, grid=grid), *ROWS)
    assert not options.out.exists()
