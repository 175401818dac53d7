"""The outer loop in this process: what a failed fold costs."""

import dataclasses
import json
import shutil

import pandas as pd
import pytest

from bench.small import QUICK_TRAINING
from seizurelit.config import with_overrides
from seizurelit.errors import InputError
from seizurelit.loso import job
from seizurelit.loso.audit import audit_run
from seizurelit.loso.options import RunOptions
from seizurelit.loso.run import report_run, run_table
from seizurelit.scheduling.ledger import seal


@pytest.fixture
def options(tiny_cache, tmp_path):
    return RunOptions(cache=tiny_cache, out=tmp_path / "run", seeds=1, preset="fast", workers=1, wandb="off")


def test_a_failed_teacher_blocks_its_student_and_nothing_else(options, monkeypatch, capsys):
    real = job.predict

    def broken(module, data, training, **more):
        if data.fold.name == "sub-02" and type(module.network.network).__name__ == "Tcn":
            msg = "the teacher's loss is not a number"
            raise RuntimeError(msg)
        return real(module, data, training, **more)

    monkeypatch.setattr(job, "predict", broken)
    assert run_table(options, QUICK_TRAINING, ("dystonia",), ("pose",), ("agcn", "tcn", "agcn_kd")) == 1
    shown = capsys.readouterr().out
    assert "5/6" in shown
    assert "6/6" in shown
    assert "the teacher's loss is not a number" in shown
    predictions = pd.read_csv(options.out / "predictions.csv")
    folds = {model: set(rows["fold"]) for model, rows in predictions.groupby("model")}
    assert folds["agcn"] - folds["tcn"] == folds["agcn"] - folds["agcn_kd"] == {"sub-02"}
    assert report_run(options.out) == 1
    assert "5/6" in capsys.readouterr().out

    monkeypatch.setattr(job, "predict", real)
    assert run_table(options, QUICK_TRAINING, ("dystonia",), ("pose",), ("agcn", "tcn", "agcn_kd")) == 0
    assert report_run(options.out) == 0


def test_a_teacher_that_saw_the_held_out_subject_is_refused(options, capsys):
    assert run_table(options, QUICK_TRAINING, ("dystonia",), ("pose",), ("tcn",)) == 0
    from seizurelit.cohort.leak import SubjectLeakError
    from seizurelit.training.checkpoint import read_provenance

    folder = options.out / "jobs" / "dystonia" / "pose" / "tcn" / "seed-0"
    saw = read_provenance(folder / "sub-01" / "weights.safetensors").subjects_seen
    assert "sub-02" in saw
    (folder / "sub-02" / "weights.safetensors").write_bytes((folder / "sub-01" / "weights.safetensors").read_bytes())
    with pytest.raises(SubjectLeakError, match="sub-02"):
        job.train_fold(
            options.out / "spare",
            run_dir=str(options.out),
            sign="dystonia",
            stream="pose",
            model="agcn_kd",
            seed=0,
            fold="sub-02",
        )


def test_a_cohort_that_calls_the_subjects_otherwise_is_refused(options, tmp_path, capsys):
    text = (options.cache / "cohort.csv").read_text().replace("sub-01,", "sub-77,")
    (tmp_path / "cohort.csv").write_text(text)
    run_table(
        dataclasses.replace(options, cohort=tmp_path / "cohort.csv"), QUICK_TRAINING, ("dystonia",), ("pose",), ("tcn",)
    )
    assert "was extracted as sub-01's" in capsys.readouterr().err


def test_a_sign_without_any_tensors_says_what_is_missing(options, tmp_path):
    import shutil

    cache = tmp_path / "poses"
    shutil.copytree(options.cache, cache, ignore=shutil.ignore_patterns("*.face.safetensors"))
    with pytest.raises(InputError, match="no face keypoints"):
        run_table(dataclasses.replace(options, cache=cache), QUICK_TRAINING, ("emotion",), ("face",), ("agcn",))


def test_the_audit_names_a_leaked_teacher_that_was_planted(options, capsys):
    """A teacher of another fold, in the place of this one's and sealed as if it were its own."""
    assert run_table(options, QUICK_TRAINING, ("dystonia",), ("pose",), ("tcn", "agcn_kd")) == 0
    shown = capsys.readouterr().out
    table = pd.read_csv(options.out / "table.csv").set_index("model")
    pooling = pd.read_csv(options.out / "pooling.csv").set_index(["model", "pooling"])
    assert len(pooling) == 2 * 3
    for model in ("tcn", "agcn_kd"):  # the mean of the windows' logits is what the table is made of
        assert pooling.loc[(model, "mean"), "auroc"] == pytest.approx(table.loc[model, "auroc"], abs=1e-8)
        assert pooling.loc[(model, "mean"), "accuracy"] == pytest.approx(table.loc[model, "accuracy"], abs=1e-8)
    assert "pooled by mean, top-k, log-sum-exp" in " ".join(shown.split())
    assert audit_run(options.out) == 0
    shown = capsys.readouterr().out
    assert "12 trainings audited, 0 with faults" in shown
    assert "taught by dystonia/pose/tcn/seed-0/sub-02" in shown

    place = "dystonia/pose/tcn/seed-0/"
    teacher = options.out / "jobs" / place / "sub-02"
    (teacher / "weights.safetensors").write_bytes((teacher.parent / "sub-01" / "weights.safetensors").read_bytes())
    assert audit_run(options.out) == 1
    assert f"{place}sub-02: files are not those that the training sealed" in capsys.readouterr().out

    result = json.loads((teacher / "result.json").read_text())
    (teacher / "result.json").unlink()
    seal(teacher, f"{place}sub-02", result["result"], result["inputs"])
    assert audit_run(options.out) == 1
    shown = capsys.readouterr().out
    assert "saw the held-out sub-02" in shown
    assert "agcn_kd/seed-0/sub-02: was taught by another dystonia/pose/tcn/seed-0/sub-02 than lies there now" in shown
    assert "12 trainings audited, 2 with faults" in shown


def test_the_audit_finds_another_threshold_setting_or_number_of_epochs(options, capsys):
    """Each changed in a finished training that is then sealed as if it had been so."""
    assert run_table(options, QUICK_TRAINING, ("dystonia",), ("pose",), ("tcn",)) == 0
    assert audit_run(options.out) == 0
    name = "dystonia/pose/tcn/seed-0/sub-02"
    place = options.out / "jobs" / name
    choice = (place / "choice.json").read_text()
    history = (place / "metrics.csv").read_text()
    last = history.strip().splitlines()[-1]

    def sealed():
        result = json.loads((place / "result.json").read_text())
        (place / "result.json").unlink()
        seal(place, name, result["result"], result["inputs"])
        capsys.readouterr()
        assert audit_run(options.out) == 1
        return capsys.readouterr().out

    (place / "choice.json").write_text(choice.replace('"threshold": 0.5', '"threshold": 0.41'))
    assert f"{name}: predicts at the thresholds [0.5], and 0.41 was chosen" in sealed()
    (place / "choice.json").write_text(choice.replace('"overrides": {}', '"overrides": {"optimiser.lr": 0.5}'))
    assert "its weights are of the setting {}" in sealed()
    (place / "choice.json").write_text(choice)
    columns = history.splitlines()[0].split(",")
    cells = dict(zip(columns, last.split(","), strict=True)) | {"epoch": "1"}
    (place / "metrics.csv").write_text(history + ",".join(cells[column] for column in columns) + "\n")
    assert f"{name}: was trained for 2 epochs of 1" in sealed()


def test_a_job_of_another_run_is_not_pooled(options, tmp_path):
    assert run_table(options, QUICK_TRAINING, ("dystonia",), ("pose",), ("tcn",)) == 0
    other = dataclasses.replace(options, out=tmp_path / "other")
    longer = with_overrides(QUICK_TRAINING, {"optimiser.epochs": 2})
    assert run_table(dataclasses.replace(other, fold="sub-01"), longer, ("dystonia",), ("pose",), ("tcn",)) == 0
    job_of = "jobs/dystonia/pose/tcn/seed-0/sub-01"
    shutil.rmtree(options.out / job_of)
    shutil.copytree(other.out / job_of, options.out / job_of)
    with pytest.raises(InputError, match="seed-0/sub-01: is of run"):
        report_run(options.out)
