"""wandb: what leaves, and that its faults stay its own.

Real offline runs; where wandb must misbehave, a module of that name does.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seizurelit.tracking.wandb_runs import REPORT, STAND_IN, Tracker

ROOT = Path(__file__).parents[2]
SUBJECT = "Quentin-Zyx77"
PLACE = "clinic-archive-q7"


def track(run_dir, warn=lambda line: None, names=(SUBJECT,), **options):
    return Tracker(
        run_dir, "offline", f"group of {SUBJECT}", names=names, warn=warn, tags=[f"tag {SUBJECT}"], **options
    )


def log(tracker, name=f"dystonia/pose/agcn/seed-0/{SUBJECT}"):
    tracker.job(
        name,
        config={"fold": SUBJECT, "cache": f"/data/{PLACE}/cache", "folder": Path("/data", PLACE), "lr": 1e-3},
        history=[{"epoch": k, "loss": 1.0 / (k + 1), f"score of {SUBJECT}": 0.5} for k in range(3)],
        summary={"accuracy": 0.75, "note": f"{SUBJECT} on {socket.gethostname()} in {Path.cwd()}"},
        tags=[SUBJECT],
    )


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_private_is_in_any_file(tmp_path, monkeypatch):
    run_dir = tmp_path / PLACE / "runs"
    monkeypatch.setenv("WANDB_NOTES", f"notes of {SUBJECT}")
    monkeypatch.setenv("WANDB_RUN_GROUP", SUBJECT)
    monkeypatch.setattr(sys, "argv", [*sys.argv, f"--fold={SUBJECT}"])
    warnings = []
    with track(run_dir, warnings.append, stand_in=True) as tracker:
        log(tracker)
        tracker.summary(
            {
                "results": [
                    {"sign": "dystonia", "model": "agcn", "F1": 0.7512, "missing": f"{SUBJECT}: /data/{PLACE}"},
                    {"sign": "dystonia", "model": "tcn", "F1": None, "missing": None},
                ],
                f"predictions of {SUBJECT}": [{"subject": SUBJECT, "label": "1", "prob_1": 0.25}],
            },
            figures={"dystonia/pose/agcn/f1": 0.7512, f"of {SUBJECT}": 1},
            config={"out": str(run_dir)},
            tags=("dystonia", SUBJECT),
            report=f"<p>{STAND_IN}, S-012345678901</p>",
        )
        assert tracker._process is not None
    assert warnings == []
    runs = sorted(path for path in (run_dir / "wandb").iterdir() if path.name.startswith("offline-run-"))
    assert len(runs) == 2
    files = [path for path in run_dir.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".wandb" for path in files) == 2
    assert sum(path.name.endswith(".table.json") for path in files) == 2
    assert sum(path.name == REPORT for path in files) == 1
    everything = b"\n".join([path.read_bytes() + str(path.relative_to(run_dir)).encode() for path in files])
    # The stand-in, the figures and the pseudonym are there, so the search does see what is written.
    for present in (STAND_IN, "accuracy", "dystonia/pose/agcn/seed-0/S-", "0.751"):
        assert present.encode() in everything, present
    private = [
        SUBJECT,
        "Zyx77",
        PLACE,
        str(tmp_path),
        str(ROOT),
        str(Path.home()),
        sys.executable,
        "pytest",
        "debug-core",
        "/tmp",
        "seizurelit-wandb-",
    ]
    for planted in private:
        assert planted.encode() not in everything, planted
    host = re.escape(socket.gethostname().encode())
    assert re.search(rb"(?<!\w)" + host + rb"(?!\w)", everything) is None or len(socket.gethostname()) < 3
    assert not [path for path in files if path.suffix == ".log" or path.name == "requirements.txt"]


def test_what_was_written_offline_is_read_back(tmp_path, records):
    rows = [{"sign": "dystonia", "F1": 0.75, "seed": None}, {"sign": "emotion", "F1": None, "seed": 1}]
    with track(tmp_path) as tracker:
        log(tracker, "dystonia/pose/agcn/seed-0/a")
        tracker.summary(
            {"results": rows}, figures={"dystonia/pose/agcn/f1": 0.75}, tags=("dystonia",), report="<p>a page</p>"
        )
    by_name = {}
    for folder in (tmp_path / "wandb").glob("offline-run-*"):
        found = list(records(next(folder.glob("*.wandb"))))
        by_name[next(r.run.display_name for r in found if r.WhichOneof("record_type") == "run")] = folder, found

    folder, found = by_name["dystonia/pose/agcn/seed-0/a"]
    start = next(r.run for r in found if r.WhichOneof("record_type") == "run")
    assert start.run_group.startswith("group of S-")
    assert sorted(tag.partition("S-")[0] for tag in start.tags) == ["", "tag "]
    steps = [
        {item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json) for item in r.history.item}
        for r in found
        if r.WhichOneof("record_type") == "history"
    ]
    assert [step["loss"] for step in steps] == [1.0, 0.5, pytest.approx(1 / 3)]

    folder, found = by_name["summary"]
    table = json.loads(next(folder.rglob("results*.table.json")).read_text())
    assert (table["columns"], table["data"]) == (
        ["sign", "F1", "seed"],
        [["dystonia", 0.75, None], ["emotion", None, 1]],
    )
    artifact = next(
        r.request.log_artifact.artifact if r.HasField("request") else r.artifact
        for r in found
        if r.WhichOneof("record_type") == "artifact" or r.request.HasField("log_artifact")
    )
    paths = {entry.path: entry.local_path for entry in artifact.manifest.contents}
    assert set(paths) == {"results.csv", REPORT}
    for name, local in paths.items():
        assert not Path(local).is_absolute()
        assert (tmp_path / local).name == name
        assert (tmp_path / local).is_file()
    assert (tmp_path / paths[REPORT]).read_text() == "<p>a page</p>"
    final = {}
    for record in found:
        if record.WhichOneof("record_type") == "summary":
            final |= {
                ".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.summary.update
            }
    assert final["dystonia/pose/agcn/f1"] == 0.75
    assert "dystonia" in next(r.run for r in found if r.WhichOneof("record_type") == "run").tags


def test_a_report_that_names_someone_stays(tmp_path):
    warnings = []
    with track(tmp_path, warnings.append) as tracker:
        tracker.summary({"results": [{"F1": 0.5}]}, report=f"<p>{SUBJECT.upper()}</p>")
    assert len(warnings) == 1
    assert "the report names a subject" in warnings[0]
    assert not list(tmp_path.rglob(REPORT))
    assert list(tmp_path.rglob("results.csv"))


def test_a_run_that_goes_on_knows_what_was_logged(tmp_path):
    with track(tmp_path) as tracker:
        assert not tracker.logged("a")
        log(tracker, "a")
        log(tracker, "a")
    again = track(tmp_path)
    assert again.logged("a")
    assert not again.logged("b")
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
    again.close()


def test_off_does_nothing(tmp_path):
    with Tracker(tmp_path, "off", "g") as tracker:
        log(tracker)
        tracker.summary({"results": [{"a": 1}]})
        assert tracker.logged("a")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def fake_wandb(tmp_path, monkeypatch):
    """A module named wandb, for the tracker's process alone."""

    def install(text):
        folder = tmp_path / "fake"
        folder.mkdir()
        (folder / "wandb.py").write_text(text)
        monkeypatch.syspath_prepend(str(folder))

    return install


@pytest.mark.parametrize(
    "fault",
    [
        "raise ImportError('no wandb today')",
        "def Settings(**options): raise TypeError('unknown setting')",
        "Settings = dict\ndef init(**options): raise RuntimeError('service gone\\nsecond line')",
        "Settings = dict\ndef init(**options): raise SystemExit(3)",
    ],
)
def test_a_wandb_that_raises_is_a_line_of_warning(tmp_path, fake_wandb, fault):
    fake_wandb(fault)
    warnings = []
    tracker = track(tmp_path, warnings.append)
    for k in range(5):
        log(tracker, str(k))
    start = time.monotonic()
    tracker.close(20)
    assert time.monotonic() - start < 20
    assert len(warnings) == 2
    assert all("\n" not in line and line.startswith("wandb: ") for line in warnings)
    assert "5 of 5 runs are not logged" in warnings[1]


@pytest.mark.parametrize("where", ["import time; time.sleep(100)", "import os; os._exit(9)"])
def test_a_wandb_that_hangs_or_dies_never_holds_up_the_run(tmp_path, fake_wandb, where):
    fake_wandb(where)
    warnings = []
    tracker = track(tmp_path, warnings.append)
    start = time.monotonic()
    big = {"text": "x" * 200_000}  # more than a pipe holds
    for k in range(5):
        tracker.job(str(k), config=big, history=[], summary={})
    assert time.monotonic() - start < 2
    tracker.close(1.0)
    assert time.monotonic() - start < 5
    assert tracker._process.poll() is not None
    assert warnings
    log(tracker)
    tracker.close(1.0)


def test_a_killed_process_is_noticed(tmp_path):
    warnings = []
    tracker = track(tmp_path, warnings.append)
    log(tracker, "a")
    tracker._process.kill()
    log(tracker, "b")
    tracker.close(5)
    assert any("not logged" in line for line in warnings)


def test_a_service_that_hangs_is_ended_too(tmp_path):
    warnings = []
    tracker = track(tmp_path, warnings.append)
    log(tracker, "a")
    deadline = time.monotonic() + 60
    while not tracker.logged("a") and time.monotonic() < deadline:
        time.sleep(0.02)
    tasks = Path(f"/proc/{tracker._process.pid}/task").glob("*/children")
    services = [int(pid) for path in tasks for pid in path.read_text().split()]
    assert services
    for pid in services:
        os.kill(pid, signal.SIGSTOP)
    log(tracker, "b")
    tracker.close(1.0)
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in services) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in services)
    assert warnings == [
        "wandb: still busy after 1 s, so ended; 1 of 2 runs are not logged (the run goes on without it)"
    ]


def test_what_cannot_be_veiled_is_not_sent(tmp_path):
    warnings = []
    with track(tmp_path, warnings.append) as tracker:
        tracker.job("a", config={"x": object()}, history=[], summary={})
        tracker.summary({"results": [{"a": object()}]})
    assert len(warnings) == 2
    assert not list(tmp_path.glob("wandb/offline-run-*"))


def test_it_ends_when_the_parent_is_killed(tmp_path):
    script = """
import os, sys, time
from pathlib import Path
from seizurelit.tracking.wandb_runs import Tracker
Path(sys.argv[1], "fake").mkdir()
Path(sys.argv[1], "fake", "wandb.py").write_text("import time; time.sleep(100)")
sys.path.insert(0, str(Path(sys.argv[1], "fake")))
tracker = Tracker(Path(sys.argv[1]), "offline", "g")
tracker.job("a", config={}, history=[], summary={})
print(tracker._process.pid, flush=True)
time.sleep(100)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 15
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(pid)
