"""A run beside an older one, through the loop."""

import dataclasses
import shutil

import pandas as pd
import pytest

from seizurelit.config import Training, with_overrides
from seizurelit.errors import InputError
from seizurelit.loso.options import RunOptions
from seizurelit.loso.run import report_run, run_table

QUICK = with_overrides(
    Training(),
    {"windows.frames": 25, "windows.stride": 25, "windows.per_seizure": 1, "tcn.levels": 1, "tcn.channels": 4},
)
FAST = with_overrides(QUICK, {"optimiser.epochs": 1})


def accuracy(folder):
    rows = pd.read_csv(folder / "predictions.csv")
    rows = rows[rows["model"] == "tcn"]
    return (rows["label"] == rows["prediction"]).mean()


def test_a_run_is_set_beside_an_older_one_of_the_same_cohort_alone(tiny_cache, tmp_path, capsys):
    old = RunOptions(cache=tiny_cache, out=tmp_path / "old", seeds=1, preset="fast", workers=1, wandb="off")
    assert run_table(old, FAST, ("dystonia",), ("pose",), ("tcn",)) == 0
    new = dataclasses.replace(old, out=tmp_path / "new", seeds=2, diff=old.out)
    assert run_table(new, with_overrides(FAST, {"optimiser.epochs": 4}), ("dystonia",), ("pose",), ("tcn",)) == 0
    shown = capsys.readouterr().out
    assert f"Beside {old.out}" in shown.replace("\n", "")
    assert "1 and 2 seeds are compared by their means" in " ".join(shown.split())
    changes = pd.read_csv(new.out / "changes.csv").set_index(["model", "score"])
    row = changes.loc[("tcn", "accuracy")]
    assert row["old"] == pytest.approx(accuracy(old.out))
    assert row["new"] == pytest.approx(accuracy(new.out))
    assert row["change"] == pytest.approx(row["new"] - row["old"], abs=1e-8)
    assert (row["old_seeds"], row["new_seeds"], row["seizures"]) == (1, 2, len(pd.read_csv(tiny_cache / "cohort.csv")))
    before = (new.out / "changes.csv").read_bytes()
    assert report_run(new.out, diff=old.out) == 0
    assert (new.out / "changes.csv").read_bytes() == before

    table = pd.read_csv(tiny_cache / "cohort.csv", dtype=str)
    flipped = table.assign(dystonia=table["dystonia"].map({"0": "1", "1": "0"}))
    flipped.to_csv(tmp_path / "cohort.csv", index=False)
    other = dataclasses.replace(new, cohort=tmp_path / "cohort.csv", out=tmp_path / "other")
    with pytest.raises(InputError, match="old: is a run of another cohort") as refused:
        run_table(other, FAST, ("dystonia",), ("pose",), ("tcn",))
    assert len(refused.value.faults) == 1
    assert not (other.out / "jobs").exists()
    with pytest.raises(InputError, match="holds no run"):
        report_run(new.out, diff=tmp_path / "nothing")
    shutil.rmtree(old.out / "jobs")  # what is needed of the older run are its predictions alone
    assert report_run(new.out, diff=old.out) == 0
