"""Pre-emption and too little: what is saved, what is tried again, and how."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from seizurelit.errors import RunError
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.pool import Pool
from seizurelit.scheduling.run import run_jobs
from seizurelit.scheduling.serial import Serial

PARENT = """
from pathlib import Path
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.run import run_jobs, Interrupted
from seizurelit.scheduling.pool import Pool
from seizurelit.scheduling.serial import Serial
jobs = [Job(f"m/{{n}}", "tiny_jobs:epochs", {{"name": n, "journal": {journal!r}, "count": 40}}, resumable=True) for n in "abc"]
try:
    run_jobs(jobs, Path({run!r}), executor={executor}, on_event=lambda e: print(e.kind, e.job, e.pid, flush=True))
except Interrupted as stop:
    raise SystemExit(str(stop))
"""


def content(run_dir):
    jobs = run_dir / "jobs"
    return {path.relative_to(jobs).as_posix(): path.read_bytes() for path in jobs.rglob("*") if path.is_file()}


def resumable(journal, names="abc", **more):
    return [
        Job(f"m/{n}", "tiny_jobs:epochs", {"name": n, "journal": str(journal), "count": 40, **more}, resumable=True)
        for n in names
    ]


def attempts(journal, name):
    """The epoch from which each attempt went on."""
    lines = [line.split() for line in journal.read_text().splitlines()]
    return [int(words[3]) for words in lines if words[:2] == ["start", name]]


@pytest.mark.parametrize("executor", ["Pool(2)", "Serial()"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_preemption_saves_and_the_next_run_goes_on_from_the_epoch(tmp_path, journal, parent, until, executor, number):
    script = PARENT.format(journal=str(journal), run=str(tmp_path / "run"), executor=executor)
    process = parent(script)
    assert until(lambda: journal.exists() and "start a" in journal.read_text())
    assert not until(lambda: "end a" in journal.read_text(), 0.5)
    os.kill(process.pid, number)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    saved = 2 if executor == "Pool(2)" else 1
    assert f"0 of 3 jobs are done and kept, {saved} under way go on from their last epoch;" in err
    assert "Traceback" not in err
    ledger = Ledger(tmp_path / "run")
    assert {record.state for record in ledger.records().values()} == {"pending"}
    assert not (tmp_path / "run" / "partial").exists()
    run_jobs(resumable(journal), tmp_path / "run", executor=Pool(2))
    begun = attempts(journal, "a")
    assert begun[0] == 0
    assert begun[1] > 0
    assert not (tmp_path / "run" / "checkpoints").exists()
    run_jobs(resumable(tmp_path / "other.txt", seconds=0.0), tmp_path / "undisturbed", executor=Serial())
    assert content(tmp_path / "run") == content(tmp_path / "undisturbed")
    assert ledger.record("m/a").measured == {"epochs": 40 - begun[1]}


def test_the_second_signal_ends_at_once(tmp_path, journal, parent, until):
    script = PARENT.format(journal=str(journal), run=str(tmp_path / "run"), executor="Pool(2)").replace(
        "40", "4, 'seconds': 9"
    )
    process = parent(script)
    assert until(lambda: journal.exists() and "start b" in journal.read_text())
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=5)[1]
    assert "2 under way begin anew" in err


def test_a_worker_that_is_told_to_stop_is_replaced_and_its_job_goes_on(tmp_path, journal):
    told = []

    def tell_one(event):
        if event.kind == "started" and not told:
            told.append(event.pid)
            signal.pthread_sigmask(signal.SIG_BLOCK, [])  # nothing is held back here
            os.kill(event.pid, signal.SIGTERM)

    outcome = run_jobs(resumable(journal, "ab"), tmp_path / "run", executor=Pool(2), on_event=tell_one)
    assert outcome.whole
    counts = {len(attempts(journal, name)) for name in "ab"}
    assert counts == {1, 2}
    assert Ledger(tmp_path / "run").result("m/a") == {"rows": 40}


def test_a_checkpoint_of_other_inputs_does_not_count(tmp_path):
    ledger = Ledger(tmp_path)
    folder = ledger.checkpoint("m/x", {"m/t": "1"})
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("[]")
    assert (ledger.checkpoint("m/x", {"m/t": "1"}) / "state.json").exists()
    assert not (ledger.checkpoint("m/x", {"m/t": "2"}) / "state.json").exists()
    ledger.forget_checkpoint("m/x")
    assert not (tmp_path / "checkpoints").exists()


def test_a_job_that_runs_out_of_device_memory_is_tried_again_alone(tmp_path, journal):
    jobs = [Job(f"m/{k}", "tiny_jobs:hungry", {"journal": str(journal), "need": 0.6}) for k in range(3)]
    events = []
    outcome = run_jobs(jobs, tmp_path / "run", executor=Pool(devices=("0",), per_device=3), on_event=events.append)
    assert outcome.whole
    again = [event for event in events if event.kind == "retried"]
    assert again
    assert all(event.error.endswith("(now alone on its device)") for event in again)


def test_one_that_is_too_large_for_the_device_fails_with_the_message(tmp_path, journal):
    jobs = [
        Job("m/large", "tiny_jobs:hungry", {"journal": str(journal), "need": 2.0}),
        Job("m/student", "tiny_jobs:nothing", requires=("m/large",)),
        *(Job(f"m/{k}", "tiny_jobs:nothing") for k in range(3)),
    ]
    outcome = run_jobs(jobs, tmp_path / "run", executor=Pool(devices=("0", "1"), per_device=2))
    message = "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB (alone on its device)"
    assert outcome.failed == {"m/large": message}
    assert set(outcome.blocked) == {"m/student"}
    assert len(outcome.done) == 3
    assert Ledger(tmp_path / "run").record("m/large").attempt == 2


@pytest.mark.parametrize(("mb", "most"), [(2000, 3), (7000, 1), (100, 4)])
def test_as_many_on_a_device_as_fit_by_what_the_first_job_took(tmp_path, journal, monkeypatch, mb, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    jobs = [Job(f"m/{k}", "tiny_jobs:device_user", {"journal": str(journal), "mb": mb}) for k in range(16)]
    assert run_jobs(jobs, tmp_path / "run", executor=Pool(devices=("0", "1"), per_device=None)).whole
    at_once, widest, alone_at_first = {"0": 0, "1": 0}, {"0": 0, "1": 0}, True
    ended = False
    for line in journal.read_text().splitlines():
        kind, device, _ = line.split()
        at_once[device] += 1 if kind == "start" else -1
        ended = ended or kind == "end"
        alone_at_first = alone_at_first and (ended or at_once[device] <= 1)
        widest[device] = max(widest[device], at_once[device])
    assert alone_at_first
    assert set(widest.values()) == {most}
    record = Ledger(tmp_path / "run").record("m/0")
    assert (record.device_memory_mb, record.device) == (mb, "0")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
@pytest.mark.parametrize("executor", [Serial(), Pool(2)], ids=["serial", "pool"])
def test_a_full_disk_ends_the_run_with_one_line_and_loses_nothing(tmp_path, journal, executor):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        jobs = [
            Job("m/first", "tiny_jobs:nothing"),
            Job("m/full", "tiny_jobs:full", requires=("m/first",)),  # so that the first is done by then
            Job("m/last", "tiny_jobs:nothing"),
        ]
        with pytest.raises(RunError, match="the disk is full; make room"):
            run_jobs(jobs, small / "run", executor=executor)
        assert Ledger(small / "run").done("m/first")
        subprocess.run(["mount", "-o", "remount,size=20m", small], check=True)
        assert run_jobs(jobs, small / "run", executor=executor).whole
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)  # workers may take a moment to end
