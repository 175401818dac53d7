"""Refits on permuted labels, trained for real on the tiny cohort."""

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from bench.small import QUICK_TRAINING
from seizurelit.cache.store import Cache
from seizurelit.errors import InputError
from seizurelit.evaluation.statistics.chance import relabellings
from seizurelit.loso import job, permuting
from seizurelit.loso.options import RunOptions
from seizurelit.loso.run import report_run, run_table


@pytest.fixture
def options(tiny_cache, tmp_path):
    return RunOptions(
        cache=tiny_cache, out=tmp_path / "run", seeds=1, preset="fast", workers=1, wandb="off", permute_refit=3
    )


def run(options, models=("tcn",), signs=("dystonia",)):
    return run_table(options, QUICK_TRAINING, signs, ("pose",), models)


def table_of(options):
    return pd.read_csv(options.out / "table.csv").set_index("model")


def test_every_fold_is_fitted_anew_on_each_set_and_p_is_counted(options, tiny_cache, capsys):
    assert run(options, ("tcn", "agcn_kd")) == 0
    said = capsys.readouterr()
    first, then = (line for line in " ".join(said.err.split()).split("3 sets of permuted labels: ")[1:])
    assert first.startswith("36 trainings left")
    assert "timed" in first
    assert "36 trainings left" in then
    assert "hours" in then
    assert "No p can be below 1/4: after Holm over 2 rows, 0.05 needs 40 sets or more." in then

    cohort = Cache.open(tiny_cache).cohort()
    sign = cohort.sign("dystonia")
    subject_of = {name: cohort.subject_of(name) for name in cohort.labels(sign)}
    expected = list(relabellings(cohort.labels(sign), subject_of, 3))
    table = table_of(options)
    for model in ("tcn", "agcn_kd"):
        null = []
        for place, labels in enumerate(expected):
            folder = options.out / "permuted" / "dystonia" / f"{place:04d}"
            frame = pd.read_csv(folder / "predictions.csv", dtype={"label": str, "prediction": str})
            rows = frame[frame["model"] == model]
            assert dict(zip(rows["seizure"], rows["label"], strict=True)) == {k: str(v) for k, v in labels.items()}
            assert (rows["fold"] == rows["subject"]).all()
            patients = rows.groupby("subject")[["label", "prediction"]].max()
            recalls = (patients["label"] == patients["prediction"]).groupby(patients["label"]).mean()
            null.append(recalls.mean())
            assert {path.name for path in folder.iterdir()} == {
                *("cohort.csv", "config.json", "folds.json", "predictions.csv")
            }
        observed = table.loc[model, "chance_observed"]
        as_large = sum(value >= observed - 1e-9 for value in null)
        assert table.loc[model, "chance_p_refit"] == pytest.approx((as_large + 1) / 4)
        assert table.loc[model, "chance_expected"] == pytest.approx(np.mean(null))
        assert table.loc[model, "chance_test"] == "refitted"
        assert table.loc[model, "chance_relabellings"] == 3
    assert table.loc["always_positive", "chance_test"] != "refitted"

    assert report_run(options.out) == 0
    assert (table_of(options)["chance_p_refit"].dropna() == table["chance_p_refit"].dropna()).all()


def test_what_is_done_is_kept_and_more_sets_are_added(options, capsys, monkeypatch):
    assert run(options) == 0
    folder = options.out / "permuted" / "dystonia"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/predictions.csv")}
    trained = []
    real = job.fit

    def counted(model, *more, **options):
        trained.append(model)
        return real(model, *more, **options)

    monkeypatch.setattr(job, "fit", counted)
    assert run(options) == 0
    assert not trained
    assert "0 trainings left" in capsys.readouterr().err.replace("\n", " ")
    assert run(dataclasses.replace(options, permute_refit=4)) == 0
    assert trained == ["tcn"] * 6
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert table_of(options).loc["tcn", "chance_relabellings"] == 4

    assert run(options, ("agcn",)) == 0
    models = pd.read_csv(folder / "0000" / "predictions.csv")["model"]
    assert set(models) == {"agcn", "tcn"}
    table = table_of(options)
    assert table.loc["tcn", "chance_relabellings"] == 4
    assert table.loc["agcn", "chance_relabellings"] == 3


def test_an_interrupted_set_goes_on_to_the_same_bytes(options, tmp_path, monkeypatch, capsys):
    assert run(options) == 0
    calm = [(options.out / "permuted" / "dystonia" / f"{k:04d}" / "predictions.csv").read_bytes() for k in range(3)]
    again = dataclasses.replace(options, out=tmp_path / "again")
    real, count = job.predict, itertools.count()

    def broken(*arguments, **more):
        if next(count) == 6 + 6 + 2:  # the run's own folds, the first set's, two of the second's
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(job, "predict", broken)
    with pytest.raises(Exception, match="stopped: 3 of 6 jobs"):  # the one under way is let come to its end
        run(again)
    assert (again.out / "permuted" / "dystonia" / "0000" / "predictions.csv").exists()
    assert not (again.out / "permuted" / "dystonia" / "0001" / "predictions.csv").exists()
    capsys.readouterr()
    assert run(again) == 0
    assert "12 trainings left" in capsys.readouterr().err.replace("\n", " ")  # a set counts whole
    assert [
        (again.out / "permuted" / "dystonia" / f"{k:04d}" / "predictions.csv").read_bytes() for k in range(3)
    ] == calm


def test_a_failed_fold_leaves_its_set_out(options, monkeypatch, capsys):
    real = job.predict

    def broken(module, data, training, **more):
        if data.fold.name == "sub-02" and "permuted/dystonia/0001" in str(more["windows"]):
            msg = "no number"
            raise RuntimeError(msg)
        return real(module, data, training, **more)

    monkeypatch.setattr(job, "predict", broken)
    assert run(options) == 1
    assert table_of(options).loc["tcn", "chance_relabellings"] == 2
    monkeypatch.setattr(job, "predict", real)
    assert run(options) == 0
    assert table_of(options).loc["tcn", "chance_relabellings"] == 3


def test_a_leak_in_a_set_is_found_before_its_weights_go(options, monkeypatch, capsys):
    real = permuting.run_jobs

    def leaky(jobs, folder, **more):
        outcome = real(jobs, folder, **more)
        place = folder / "jobs" / "dystonia" / "pose" / "tcn" / "seed-0"
        other = (place / "sub-01" / "weights.safetensors").read_bytes()
        (place / "sub-02" / "weights.safetensors").write_bytes(other)
        return outcome

    monkeypatch.setattr(permuting, "run_jobs", leaky)
    with pytest.raises(Exception, match="sub-02"):
        run(options)
    assert not list(options.out.glob("permuted/dystonia/*/predictions.csv"))


def test_sets_of_other_labels_or_settings_are_refused(options, capsys):
    assert run(options) == 0
    folder = options.out / "permuted" / "dystonia" / "0002"
    text = (folder / "config.json").read_text()
    config = json.loads(text)
    config["identity"]["training"]["optimiser"]["epochs"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="0002: is of other training than this run"):
        report_run(options.out)
    (folder / "config.json").write_text(text)
    (folder / "predictions.csv").write_bytes((folder.parent / "0001" / "predictions.csv").read_bytes())
    with pytest.raises(InputError, match="0002: is of other labels"):
        report_run(options.out)


@pytest.mark.parametrize(("change", "says"), [({"permute_refit": -1}, "0 or more"), ({"fold": "sub-01"}, "--fold")])
def test_what_cannot_be_refitted_is_refused(options, change, says):
    with pytest.raises(InputError, match=says):
        run(dataclasses.replace(options, **change))
