"""Whole chain, through the front doors, on tiny real files."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seizurelit import fit as fit_door
from seizurelit.cli import run_door
from seizurelit.config import MODELS

QUICK = (
    *("--windows.frames", 25, "--windows.per_seizure", 1, "--windows.stride", 25),
    *("--optimiser.epochs", 2, "--preset", "fast", "--tcn.levels", 2, "--tcn.channels", 8),
)


def fit(door, cache: Path, *more: object, stream: str = "pose", wandb: str = "off"):
    return door("fit", "--stream", stream, "--cache", cache, "--out", "run", "--wandb", wandb, *QUICK, *more)


@pytest.fixture(scope="module")
def finished(tiny_cache, tmp_path_factory):
    """A run of all three models of pose over all folds, by two workers."""
    folder = tmp_path_factory.mktemp("finished")
    command = [
        sys.executable,
        "-m",
        "seizurelit.fit",
        "--stream",
        "pose",
        "--cache",
        tiny_cache,
        "--out",
        "run",
        "--workers",
        2,
    ]
    key = {"SEIZURELIT_KEY_FILE": str(folder / "key")}
    done = subprocess.run(
        [*map(str, command), *map(str, QUICK)],
        cwd=folder,
        env={**os.environ, **key},
        capture_output=True,
        text=True,
        check=False,
    )
    return folder / "run", done


def test_fit_trains_every_fold_and_prints_the_table(finished):
    run, done = finished
    assert done.returncode == 0, done.stderr
    assert "STAND-IN COHORT" in done.stdout
    assert all(row in done.stdout for row in ("AGCNp", "TCNp", "AGCNp + KD", "always positive", "6/6"))
    predictions = pd.read_csv(run / "predictions.csv", dtype={"label": str})
    folds = json.loads((run / "folds.json").read_text())["dystonia"]["folds"]
    assert len(folds) == 6
    for fold in folds:
        held_out = predictions[predictions["fold"] == fold["name"]]
        assert set(held_out["subject"]) == set(fold["test"])
    trained = predictions[predictions["model"] == "agcn"]
    assert not trained.duplicated(["seed", "seizure"]).any()
    assert {"table.csv", "table.md", "config.json", "predictions.csv"} <= {path.name for path in run.iterdir()}
    folds = pd.read_csv(run / "per_fold.csv", dtype=str)
    assert set(folds["fold"]) == set(predictions["fold"])
    one_class = (folds["positive"] == "0") | (folds["positive"] == folds["seizures"])
    assert set(folds.loc[one_class & (folds["model"] == "agcn"), "auroc"]) == {"undefined (one class)"}


def test_a_second_run_does_nothing_and_gives_the_same_bytes(finished, tiny_cache, door):
    run, _ = finished
    before = (run / "predictions.csv").read_bytes()
    again = door("fit", "--stream", "pose", "--cache", tiny_cache, "--out", run, "--wandb", "off", *QUICK)
    assert again.returncode == 0
    assert "from before" in again.stderr
    assert (run / "predictions.csv").read_bytes() == before


def test_the_number_of_workers_does_not_change_a_bit(finished, tiny_cache, door, tmp_path):
    run, _ = finished
    alone = fit(door, tiny_cache, "--workers", 1)
    assert alone.returncode == 0, alone.stderr
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()


def test_a_killed_run_goes_on_to_the_same_bytes(finished, tiny_cache, door, tmp_path):
    run, _ = finished
    arguments = ["--stream", "pose", "--cache", tiny_cache, "--out", "run", "--wandb", "off", "--workers", 2, *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-m", "seizurelit.fit", *map(str, arguments)], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("jobs/*/*/*/*/*/result.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "predictions.csv").exists()
    done = door("fit", *arguments)
    assert done.returncode == 0, done.stderr
    assert "from before" in done.stderr
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_bytes(finished, tiny_cache, tmp_path):
    run, _ = finished
    arguments = ["--stream", "pose", "--cache", tiny_cache, "--out", "run", "--wandb", "off", "--workers", 2, *QUICK]
    command = [sys.executable, "-m", "seizurelit.fit", *map(str, arguments)]
    for pause in np.random.default_rng(0).uniform(0, 0.5, 4):
        whole = len(list((tmp_path / "run").glob("jobs/*/*/*/*/*/result.json")))
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list((tmp_path / "run").glob("jobs/*/*/*/*/*/result.json"))) == whole:
            time.sleep(0.01)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()


def test_another_configuration_is_refused_with_what_differs(finished, tiny_cache, door):
    run, _ = finished
    refused = door("fit", "--stream", "pose", "--cache", tiny_cache, "--out", run, *QUICK, "--optimiser.lr", 0.5)
    assert refused.returncode == 2
    assert "training.optimiser.lr: 0.01 there, 0.5 now" in refused.stderr


def test_one_fold_says_one_of_six(tiny_cache, door, tmp_path):
    done = fit(door, tiny_cache, "--model", "tcn", "--fold", "sub-03", stream="face")
    assert done.returncode == 0, done.stderr
    assert "1/6" in done.stdout
    assert set(pd.read_csv(tmp_path / "run" / "predictions.csv")["fold"]) == {"sub-03"}


def test_a_student_without_its_teachers_weight_is_the_plain_network(tiny_cache, door, tmp_path):
    done = fit(door, tiny_cache, "--fold", "sub-03", "--distillation.alpha", 0)
    assert done.returncode == 0, done.stderr
    predictions = pd.read_csv(tmp_path / "run" / "predictions.csv").set_index("model")
    scores = predictions.filter(like="prob_")
    assert (scores.loc["agcn_kd"].to_numpy() == scores.loc["agcn"].to_numpy()).all()
    assert (scores.loc["agcn"].to_numpy() != scores.loc["tcn"].to_numpy()).any()


@pytest.mark.parametrize(
    "more", [("--threshold", "inner"), ("--grid", "[{optimiser.lr: 0.001}, {optimiser.lr: 0.01}]")]
)
def test_choices_are_made_on_inner_subjects(tiny_cache, door, tmp_path, more):
    done = fit(door, tiny_cache, "--fold", "sub-03", *more)
    assert done.returncode == 0, done.stderr
    choice = json.loads(
        next((tmp_path / "run").glob("jobs/dystonia/pose/agcn_kd/seed-0/sub-03/choice.json")).read_text()
    )
    assert choice["candidates"]
    inner = next((tmp_path / "run").glob("jobs/dystonia/pose/tcn/seed-0/sub-03/inner.safetensors"))
    from seizurelit.training.checkpoint import read_provenance

    fold = next(
        f
        for f in json.loads((tmp_path / "run" / "folds.json").read_text())["dystonia"]["folds"]
        if f["name"] == "sub-03"
    )
    assert set(read_provenance(inner).subjects_seen) == set(fold["train"]) - set(fold["validation"])
    student = next((tmp_path / "run").glob("jobs/dystonia/pose/agcn_kd/seed-0/sub-03/weights.safetensors"))
    assert set(read_provenance(student).subjects_seen) == set(fold["train"])


def test_cross_fitted_teachers_never_saw_whom_they_teach(tiny_cache, door, tmp_path):
    done = fit(door, tiny_cache, "--fold", "sub-03", "--distillation.cross_fitted", "true")
    assert done.returncode == 0, done.stderr
    from seizurelit.training.checkpoint import read_provenance

    teachers = sorted((tmp_path / "run").glob("jobs/dystonia/pose/tcn/seed-0/sub-03/cross-*.safetensors"))
    seen = [set(read_provenance(path).subjects_seen) for path in teachers]
    everyone = set(read_provenance(teachers[0].parent / "weights.safetensors").subjects_seen)
    assert len(seen) == 3
    assert all(any(subject not in group for group in seen) for subject in everyone)


def test_a_damaged_cache_costs_nothing_that_was_computed(tiny_cache, door, tmp_path):
    import shutil

    cache = tmp_path / "cache"
    shutil.copytree(tiny_cache, cache)
    assert fit(door, cache, "--model", "tcn", "--fold", "sub-01").returncode == 0
    before = pd.read_csv(tmp_path / "run" / "predictions.csv")
    bad = next(cache.glob("*.pose.safetensors"))
    content = bytearray(bad.read_bytes())
    content[-1] ^= 1
    bad.write_bytes(bytes(content))
    done = fit(door, cache, "--model", "tcn")
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    after = pd.read_csv(tmp_path / "run" / "predictions.csv")
    kept, computed = (rows[rows["model"] == "tcn"].reset_index(drop=True) for rows in (after, before))
    pd.testing.assert_frame_equal(kept, computed, check_dtype=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--stream", "hand"), "hand"),
        (("--stream", "pose", "--strem", "x"), "--strem"),
        (("--stream", "pose", "--cache", "nowhere"), "nowhere"),
        (("--stream", "pose", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--stream", "pose", "--sign", "tremor"), "tremor"),
        (("--stream", "pose", "--fold", "sub-99"), "sub-99"),
        (("--stream", "pose", "--seeds", "0"), "--seeds"),
        (("--stream", "pose", "--workers", "0"), "--workers"),
        (("--stream", "pose", "--trainer.max_epoch", "3"), "max_epoch"),
        (("--stream", "pose", "--trainer.devices", "3"), "devices"),
        (("--stream", "pose", "--trainer.gradient_clip_val", "hello"), "gradient_clip_val"),
        (("--stream", "pose", "--grid", "[{optimiser.rate: 1}]"), "optimiser.rate"),
        (("--stream", "pose", "--grid", "[{windows.frames: [50, 80]}]"), '{"windows.frames": 50}: --windows.stride 75'),
        (("--stream", "pose", "--grid", "[{threads: [1, 2]}]"), "threads cannot be chosen"),
        (("--stream", "pose", "--tune", "3"), "there is no grid"),
        (("--stream", "pose", "--windows.frames", "0"), "windows.frames 0"),
    ],
)
def test_bad_options_get_one_line_and_code_2(tiny_cache, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    given = arguments if "--cache" in arguments else (*arguments, "--cache", tiny_cache)
    with pytest.raises(SystemExit) as left:
        run_door(fit_door.main, [*map(str, given), "--out", "run", "--wandb", "off"])
    shown = capsys.readouterr().err
    assert left.value.code == 2, shown
    assert says in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "run" / "jobs").exists()


def test_reproduce_has_every_row_and_wandb_no_name(tiny_cache, door, tmp_path, monkeypatch):
    done = door("reproduce", "--cache", tiny_cache, "--out", "run", *QUICK)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "run" / "predictions.csv", keep_default_na=False).groupby(["sign", "stream", "model"])
    trained = {
        (sign, stream, model) for sign in ("dystonia", "emotion") for stream in ("pose", "face") for model in MODELS
    }
    assert set(rows.groups) >= trained | {(sign, "pose+face", "fusion") for sign in ("dystonia", "emotion")}
    baselines = {"always_positive", "training_prior", "motion_energy", "nuisance"}
    assert baselines <= {model for _, _, model in rows.groups}
    assert len({len(group) for _, group in rows}) == 1, "all rows are of the same seizures"
    assert all(name in done.stdout for name in ("AGCNp", "TCNf", "AGCNf + KD", "fusion", "crossed", "0.83", "0.84"))

    face = door(
        "fit", "--stream", "face", "--model", "tcn", "--cache", tiny_cache, "--out", "run", "--wandb", "off", *QUICK
    )
    assert face.returncode == 0, face.stderr
    assert "TCNf" in face.stdout
    assert not [name for name in ("AGCN", "TCNp", "fusion", "dystonia", "(pose)") if name in face.stdout.split("·")[0]]

    offline = tmp_path / "run" / "wandb"
    runs = list(offline.glob("offline-run-*"))
    assert len(runs) == 72 + 1
    cohort = pd.read_csv(tiny_cache / "cohort.csv")
    private = [*cohort["subject"], *cohort["seizure"], str(tmp_path), socket.gethostname() + "/"]
    for path in offline.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [name for name in private if name.encode() in content], path
    assert {path.name.partition("_")[0] for path in offline.rglob("*.table.json")} == {
        *("results", "predictions", "folds", "confusion"),
    }
    files = {path.name: path for path in offline.rglob("artifacts/*/*")}
    assert set(files) == {"results.csv", "predictions.csv", "folds.csv", "confusion.csv", "report.html"}
    sent = pd.read_csv(files["predictions.csv"], dtype=str)
    own = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype=str)
    assert sent["subject"].str.fullmatch(r"S-[0-9a-f]{12}").all()
    assert sent["subject"].nunique() == 6
    assert sorted(f"{float(cell):.9g}" for cell in sent["prob_1"]) == sorted(own["prob_1"])
    assert "STAND-IN COHORT" in files["report.html"].read_text()


def test_keypoints_of_another_tool_go_through_ingest_to_a_table(door, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "poses").mkdir()
    rows = ["subject,seizure,tremor"]
    for subject in range(6):
        for seizure in range(2):
            rows.append(f"p{subject},p{subject}-{seizure},{subject % 2}")
            points = rng.normal(size=(60, 3, 2)).cumsum(0) * (1 + subject % 2)
            points[5:9, 1] = np.nan
            np.save(tmp_path / "poses" / f"p{subject}-{seizure}.npy", points)
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "arm.yaml").write_text(
        "name: arm\njoints: [shoulder, elbow, wrist]\nbones: [[elbow, shoulder], [wrist, elbow]]\nroot: shoulder\n"
        "scale: [shoulder, elbow]\nflip: []\nchannels: [x, y]\nfps: 25\n"
    )
    done = door(
        *("ingest", "--cohort", "cohort.csv", "--keypoints", "poses", "--skeleton", "arm.yaml", "--stream", "pose"),
        *("--cache", "cache"),
    )
    assert done.returncode == 0, done.stderr
    assert "12 seizures, 6 subjects" in done.stdout
    done = fit(door, Path("cache"), "--sign", "tremor", "--model", "agcn")
    assert done.returncode == 0, done.stderr
    assert "6/6" in done.stdout
    assert "STAND-IN" not in done.stdout
    done = fit(door, Path("cache"), "--sign", "tremor", "--out", "all")
    assert "no pose appearance" in done.stdout


def test_synthesize_says_what_it_made(door, tmp_path):
    options = ("--subjects", 4, "--min_seconds", 2, "--max_seconds", 3, "--appearance_dim", 4)
    done = door("synthesize", "--cache", "cache", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("STAND-IN COHORT: 4 subjects, 7 seizures")
    again = door("synthesize", "--cache", "cache", *options, "--seed", 1)
    assert again.returncode == 2
    assert "cache" in again.stderr


@pytest.mark.parametrize(
    "name",
    ["fit", "reproduce", "report", "synthesize", "ingest", "extract", "pretrain", "ablate", "dashboard", "status"],
)
def test_help_is_there_and_imports_nothing_heavy(door, name):
    done = door(name, "--help")
    assert done.returncode == 0
    assert "--config" in done.stdout
    assert "Research use only" in " ".join(done.stdout.split())
    assert ("--share [{true,false}]" in done.stdout) is (name == "report")
    heavy = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, seizurelit.{name}; print({{'torch', 'pandas', 'wandb', 'scipy'}} & set(sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert heavy.stdout.strip() == "set()"
