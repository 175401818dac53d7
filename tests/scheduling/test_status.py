"""What a person is shown of a run, from its ledger alone."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from seizurelit.errors import InputError
from seizurelit.scheduling.claims import Claims
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.run import run_jobs
from seizurelit.scheduling.serial import Serial
from seizurelit.scheduling.status import ledger_of, read_status, render


def shown(run_dir, **options):
    text = io.StringIO()
    ledger = ledger_of(run_dir)
    Console(file=text, width=120).print(render(read_status(ledger, Claims(ledger.folder)), **options))
    return text.getvalue()


@pytest.fixture
def finished(tmp_path, journal):
    jobs = [
        *(Job(f"m/a/seed-0/{k}", "tiny_jobs:work", {"name": str(k), "journal": str(journal)}) for k in range(3)),
        Job("m/b/seed-0/bad", "tiny_jobs:fail", {"unless": str(tmp_path / "never")}),
        Job("m/b/seed-0/last", "tiny_jobs:work", requires=("m/b/seed-0/bad",)),
    ]
    run_jobs(jobs, tmp_path / "run", executor=Serial())
    return tmp_path / "run"


def test_a_run_that_ended(finished):
    text = shown(finished)
    assert "no run is at work" in text
    assert "3 of 5 jobs done, 1 failed, 1 blocked" in text
    assert "m/b/seed-0/bad" in text
    assert "ValueError: no data for this fold" in text
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("m/a"))
    assert row[1] == "3/3"
    assert float(row[-1]) > 1  # MiB


def test_every_job_has_its_line(finished):
    text = shown(finished, jobs=True)
    digest = Ledger(finished).record("m/a/seed-0/1").digest
    line = next(line for line in text.splitlines() if line.strip().startswith("m/a/seed-0/1"))
    assert line.split()[1:4] == ["done", "1", "cpu"]
    assert digest[:12] in line


def test_how_busy_the_devices_were(finished):
    ledger = Ledger(finished)
    for name, percent in (("0", 40.0), ("1", 71.0), ("2", 90.0)):
        ledger.write(
            replace(ledger.record(f"m/a/seed-0/{name}"), device="0", device_memory_mb=812.0, device_percent=percent)
        )
    row = next(line.split() for line in shown(finished).splitlines() if line.strip().startswith("m/a"))
    assert row[-2:] == ["812", "71"]
    line = next(line for line in shown(finished, jobs=True).splitlines() if line.strip().startswith("m/a/seed-0/2"))
    assert " 812 " in line
    assert " 90 " in line


def test_a_run_at_work_and_one_that_was_killed(finished):
    ledger = Ledger(finished)
    with Claims(ledger.folder) as claims:
        record = replace(ledger.record("m/a/seed-0/0"), state="running", run=claims.owner, device="1", host="node7")
        ledger.write(record)
        text = shown(finished)
        assert "one run is at work" in text
        assert "1 running" in text
        line = next(line for line in text.splitlines() if line.strip().startswith("m/a/seed-0/0"))
        assert "node7 process" in line
        assert not read_status(ledger, Claims(ledger.folder)).settled
    text = shown(finished)
    assert "running" not in text.splitlines()[1]
    assert "1 pending" in text
    assert read_status(ledger, Claims(ledger.folder)).settled


def test_where_no_ledger_is(tmp_path, door):
    with pytest.raises(InputError, match="has no ledger of jobs"):
        ledger_of(tmp_path)
    done = door("status", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}: has no ledger")


def test_the_door(finished, door):
    done = door("status", finished, "--jobs", "true")
    assert done.returncode == 1
    assert "m/b/seed-0/bad" in done.stdout
