"""Whole or absent: what the ledger takes for done."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger, Record, job_folder, seal, write_json


@pytest.fixture
def done(tmp_path):
    folder = tmp_path / "partial" / "x"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text("1,2\n")
    (folder / "deep" / "b.bin").write_bytes(bytes(1000))
    seal(folder, "m/sub-1", {"score": 0.5}, {})
    ledger = Ledger(tmp_path)
    ledger.publish("m/sub-1", folder)
    return ledger


def test_a_sealed_folder_is_done(done):
    assert done.done("m/sub-1")
    assert done.result("m/sub-1") == {"score": 0.5}
    assert not done.done("m/sub-2")
    assert not done.done("m")
    with pytest.raises(KeyError):
        done.result("m/sub-2")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "result.json").unlink(),
        lambda folder: (folder / "result.json").write_text(""),
        lambda folder: (folder / "result.json").write_text("[1]"),
        lambda folder: (folder / "result.json").write_text((folder / "result.json").read_text()[:-10]),
        lambda folder: (folder / "result.json").write_text((folder / "result.json").read_text().replace("0.5", "0.9")),
        lambda folder: (folder / "a.csv").unlink(),
        lambda folder: (folder / "a.csv").write_text("1,2"),
        lambda folder: (folder / "a.csv").write_text("1,3\n"),
        lambda folder: (folder / "deep" / "b.bin").write_bytes(bytes(999)),
        lambda folder: shutil.rmtree(folder / "deep"),
    ],
)
def test_a_damaged_folder_is_not_done(done, damage):
    damage(job_folder(done.run_dir, "m/sub-1"))
    assert not done.done("m/sub-1")


def test_a_folder_in_the_wrong_place_is_not_done(done):
    shutil.copytree(job_folder(done.run_dir, "m/sub-1"), job_folder(done.run_dir, "m/sub-2"))
    assert not done.done("m/sub-2")


def test_a_file_that_somebody_added_changes_nothing(done):
    (job_folder(done.run_dir, "m/sub-1") / ".a.csv.swp").write_text("")
    assert done.done("m/sub-1")


@pytest.mark.parametrize("there", ["folder", "file"])
def test_what_is_broken_is_discarded(done, tmp_path, there):
    place = job_folder(tmp_path, "m/sub-1")
    shutil.rmtree(place)
    if there == "folder":
        place.mkdir()
        (place / "half.txt").write_text("half")
    else:
        place.write_text("")
    folder = tmp_path / "partial" / "y"
    folder.mkdir()
    seal(folder, "m/sub-1", {}, {})
    done.discard("m/sub-1")
    done.discard("m/sub-1")
    done.publish("m/sub-1", folder)
    assert [path.name for path in place.iterdir()] == ["result.json"]
    assert list((tmp_path / "partial").iterdir()) == []


def test_the_digest_is_of_content_alone(tmp_path):
    digests = []
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("a")
        digests.append(seal(tmp_path / name, "j", {"b": 1, "a": (1, 2)}, {"t": "0"}))
    assert digests[0] == digests[1]
    assert (tmp_path / "x" / "result.json").read_bytes() == (tmp_path / "y" / "result.json").read_bytes()


@given(
    state=st.sampled_from(["running", "done", "failed", "blocked"]),
    attempt=st.integers(0, 99),
    seconds=st.none() | st.floats(0, 1e6),
    error=st.none() | st.text(max_size=20),
)
def test_a_record_is_read_as_written(tmp_path_factory, state, attempt, seconds, error):
    ledger = Ledger(tmp_path_factory.mktemp("run"))
    record = Record("a/b", state, attempt, "run", 12, None, "0", "2026", seconds, 1.5, None, {"steps": 2.0}, error, "d")
    ledger.write(record)
    assert ledger.record("a/b") == record


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job": "other"}', '{"job": "a", "colour": 1}'])
def test_a_broken_record_counts_as_none(tmp_path, text):
    ledger = Ledger(tmp_path)
    write_json(ledger.path("a"), {})
    ledger.path("a").write_text(text)
    assert ledger.record("a") == Record("a")


def test_traceback_goes_with_success(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write(Record("a", "failed", error="x"), trace="Traceback …")
    assert ledger.path("a", ".traceback").read_text() == "Traceback …"
    ledger.write(Record("a", "done"))
    assert not ledger.path("a", ".traceback").exists()


def test_ten_thousand_jobs_are_read_in_two_seconds(tmp_path):
    ledger = Ledger(tmp_path)
    jobs = [Job(f"s/m/seed-{k % 5}/sub-{k}", "m:f") for k in range(10_000)]
    ledger.plan(jobs)
    text = json.dumps({"job": "?", "state": "done", "attempt": 1, "seconds": 1.0})
    for job in jobs:
        path = ledger.path(job.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("?", job.id))
    start = time.process_time()
    records = ledger.records()
    assert time.process_time() - start < 2
    assert len(records) == 10_000
    assert all(record.state == "done" for record in records.values())
