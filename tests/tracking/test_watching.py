"""What a run tells wandb, TensorBoard and MLflow, read back from what lies on disk."""

import json
import re
import shutil
import socket
import sqlite3

import pandas as pd
import pytest

from seizurelit.config import Training, with_overrides
from seizurelit.errors import InputError
from seizurelit.loso.experiment import open_run
from seizurelit.loso.options import RunOptions
from seizurelit.loso.run import run_table, setup_of
from seizurelit.loso.watching import Sweep, Watcher
from seizurelit.training import loggers

QUICK = with_overrides(
    Training(),
    {
        "windows.frames": 25,
        "windows.stride": 25,
        "windows.per_seizure": 1,
        "optimiser.epochs": 2,
        "tcn.levels": 1,
        "tcn.channels": 4,
    },
)
PLACE = "clinic-archive-q7"


def panels(view):
    """Every metric and table that a dashboard's panels ask for."""
    for section in view.sections:
        for panel in section.panels:
            for name in [*(getattr(panel, "metrics", None) or []), *(getattr(panel, "y", None) or [])]:
                yield getattr(name, "name", name)
            if hasattr(panel, "table_name"):
                yield panel.table_name


@pytest.fixture
def run(tiny_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "nobody")
    cache = tmp_path / "cache"
    shutil.copytree(tiny_cache, cache)
    options = RunOptions(
        cache=cache,
        out=tmp_path / PLACE / "run",
        seeds=1,
        preset="fast",
        workers=1,
        loggers=("tensorboard", "mlflow"),
    )

    def again():
        return run_table(options, QUICK, ("dystonia",), ("pose",), ("tcn",), shared=lambda run, table: "<p>shared</p>")

    assert again() == 0
    return options.out, again


def test_all_that_is_told_is_there_and_says_nothing_of_people_or_places(run, tiny_cache, tmp_path, records, capsys):
    folder, again = run
    cohort = pd.read_csv(tiny_cache / "cohort.csv", dtype=str)
    private = [*cohort["subject"], *cohort["seizure"], PLACE, str(tmp_path), "/tmp", "test_watching"]
    host = re.compile(rb"(?<!\w)" + re.escape(socket.gethostname().encode()) + rb"(?!\w)")
    files = [
        path for name in ("wandb", "tensorboard", "mlflow") for path in (folder / name).rglob("*") if path.is_file()
    ]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes() + str(path.relative_to(folder)).encode()
        assert not [name for name in private if name.encode() in content], path
        assert not host.search(content), path

    # wandb has whatever the dashboard's panels ask for.
    from seizurelit.tracking.dashboard import definition

    told, tags = set(), set()
    for path in (folder / "wandb").glob("offline-run-*/*.wandb"):
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                tags |= set(record.run.tags)
            for item in [*record.history.item, *record.summary.update]:
                told |= {item.key, *item.nested_key[:1]}
    asked = set(panels(definition("g", entity="e", stand_in=True)))
    assert len(asked) == 10
    assert asked <= told
    assert tags == {"STAND-IN COHORT", "fast", "dystonia", "pose", "tcn"}

    accuracy = pd.read_csv(folder / "table.csv").set_index("model").loc["tcn", "accuracy"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    jobs = sorted((folder / "tensorboard" / "dystonia" / "pose" / "tcn" / "seed-0").iterdir())
    assert len(jobs) == 6
    curve = EventAccumulator(str(jobs[0])).Reload().Scalars("train_loss")
    known = [
        pd.read_csv(path)["train_loss"].tolist() for path in folder.glob("jobs/dystonia/pose/tcn/seed-0/*/metrics.csv")
    ]
    assert any([event.value for event in curve] == pytest.approx(one) for one in known)
    final = EventAccumulator(str(folder / "tensorboard" / "summary")).Reload()
    assert final.Scalars("dystonia/pose/tcn/accuracy")[0].value == pytest.approx(accuracy)
    assert "STAND-IN COHORT" in (folder / "tensorboard" / "summary" / "hparams.yaml").read_text()

    def mlflow(query):
        with sqlite3.connect(folder / "mlflow" / "mlflow.db") as store:
            return store.execute(query).fetchall()

    assert len(mlflow("select * from runs where lifecycle_stage = 'active'")) == 7
    assert mlflow("select value from metrics where key = 'dystonia/pose/tcn/accuracy'")[0][0] == pytest.approx(accuracy)
    assert ("training.optimiser.epochs", "2") in mlflow("select key, value from params")
    assert ("tag.tcn", "true") in mlflow("select key, value from tags")
    assert set(mlflow("select value from tags where key in ('mlflow.user', 'mlflow.source.name')")) == {("withheld",)}

    # The same command goes on: nothing is told twice, the summary is told anew.
    before = {path: path.stat().st_mtime_ns for path in folder.glob("tensorboard/dystonia/**/events.*")}
    assert again() == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(mlflow("select * from runs where lifecycle_stage = 'active'")) == 7
    assert "loggers:" not in capsys.readouterr().err


def test_the_runs_of_a_sweep_are_one_group_and_keep_their_places_when_they_go_on(tiny_cache, tmp_path):
    options = RunOptions(cache=tiny_cache, out=tmp_path / "run", seeds=1, preset="fast", workers=1)
    run = open_run(setup_of(options, QUICK), options.out, ("dystonia",))
    parts = [Watcher(run, (), 1, options, Sweep("4f1c", part)).tracker for part in ("bone", "motion", "bone")]
    alone = Watcher(run, (), 1, options).tracker
    assert [part._group for part in parts] == ["4f1c"] * 3
    assert alone._group == run.run_id
    ids = [part._id(f"{name}/a") for part, name in zip(parts, ("bone", "motion", "bone"), strict=True)]
    assert ids[0] == ids[2] != ids[1]
    assert parts[0]._tags == ["STAND-IN COHORT", "fast", "bone"]


def test_a_store_that_cannot_be_written_is_a_line(tiny_cache, tmp_path, capsys):
    options = RunOptions(
        cache=tiny_cache, out=tmp_path / "run", seeds=1, preset="fast", workers=1, wandb="off", loggers=("tensorboard",)
    )
    options.out.mkdir()
    (options.out / "tensorboard").write_text("a file where a folder should be")
    assert run_table(options, QUICK, ("dystonia",), ("pose",), ("tcn",)) == 0
    assert capsys.readouterr().err.count("loggers: ") == 1


def test_a_missing_package_is_refused_before_any_job(tiny_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None if name == "sqlalchemy" else object())
    options = RunOptions(cache=tiny_cache, out=tmp_path / "run", seeds=1, loggers=("tensorboard", "mlflow"))
    with pytest.raises(InputError, match="mlflow needs sqlalchemy; uv pip install sqlalchemy") as refused:
        run_table(options, QUICK, ("dystonia",), ("pose",), ("tcn",))
    assert len(refused.value.faults) == 1
    assert not options.out.exists()


def test_the_dashboard_is_of_one_group_and_by_model(tmp_path, capsys):
    from seizurelit.tracking.dashboard import TABLES, definition

    view = definition("4f1c", entity="lab", stand_in=True)
    assert view.name == "STAND-IN COHORT 4f1c"
    assert [section.name for section in view.sections] == ["Table", "Folds", "Curves", "Cost"]
    assert view.runset_settings.filters == "Metric(\"Group\") == '4f1c'"
    text = json.dumps(view.sections[0].panels[0].markdown)
    assert "Research use only" in text
    assert "STAND-IN COHORT" in text
    assert {panel.table_name for panel in view.sections[0].panels[1:]} == set(TABLES)
    spec = json.dumps(view._to_model().model_dump(by_alias=True), default=str)  # what would be sent
    assert "train_loss" in spec
    assert "4f1c" in spec
