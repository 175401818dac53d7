"""Jobs through submitit, by its local executor: the same jobs as processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from seizurelit.errors import InputError
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.run import run_jobs
from seizurelit.scheduling.serial import Serial
from seizurelit.scheduling.slurm import Slurm

pytest.importorskip("submitit", reason="make env-cluster installs submitit")
pytestmark = pytest.mark.slow


def content(run_dir):
    jobs = run_dir / "jobs"
    return {path.relative_to(jobs).as_posix(): path.read_bytes() for path in jobs.rglob("*") if path.is_file()}


def test_the_same_files_and_ledger_as_without(tmp_path, journal):
    repaired = tmp_path / "repaired"
    jobs = [
        Job(f"m/{name}", "tiny_jobs:work", {"name": name, "journal": str(journal), "seconds": 0.2}, requires)
        for name, requires in (("a", ()), ("b", ()), ("x", ("m/a", "m/b")))
    ]
    jobs += [
        Job("m/bad", "tiny_jobs:fail", {"unless": str(repaired)}),
        Job("m/after", "tiny_jobs:nothing", {}, ("m/bad",)),
    ]
    run_jobs(jobs, tmp_path / "serial", executor=Serial())
    outcome = run_jobs(jobs, tmp_path / "slurm", executor=Slurm(workers=3, cluster="local"))
    assert outcome.failed == {"m/bad": "ValueError: no data for this fold"}
    assert set(outcome.blocked) == {"m/after"}
    assert content(tmp_path / "slurm") == content(tmp_path / "serial")
    ledger = Ledger(tmp_path / "slurm")
    record = ledger.record("m/x")
    assert (record.state, record.attempt) == ("done", 1)
    assert record.pid != os.getpid()
    assert "about to fail" in ledger.path("m/bad", ".log").read_text()
    assert "ValueError" in ledger.path("m/bad", ".traceback").read_text()
    assert not (ledger.folder / "slurm").exists()


def test_a_job_that_vanishes_is_tried_again(tmp_path, journal):
    jobs = [Job("m/fall", "tiny_jobs:fall", {"times": 1, "journal": str(journal)})]
    events = []
    outcome = run_jobs(jobs, tmp_path / "run", executor=Slurm(cluster="local"), on_event=events.append)
    assert outcome.whole
    (retried,) = [event for event in events if event.kind == "retried"]
    assert "its SLURM job" in retried.error
    assert Ledger(tmp_path / "run").record("m/fall").attempt == 2


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_time_limit_or_preemption_saves_and_the_job_goes_on(tmp_path, journal, number, until):
    job = Job("m/a", "tiny_jobs:epochs", {"name": "a", "journal": str(journal), "count": 40}, resumable=True)

    def warn():
        assert until(journal.exists)
        time.sleep(0.3)
        os.kill(int(journal.read_text().split()[2]), number)

    warner = threading.Thread(target=warn)
    warner.start()
    outcome = run_jobs([job], tmp_path / "run", executor=Slurm(cluster="local"))
    warner.join()
    assert outcome.whole
    starts = [line.split() for line in journal.read_text().splitlines() if line.startswith("start")]
    assert len(starts) == 2
    assert int(starts[1][3]) > 0
    assert Ledger(tmp_path / "run").result("m/a") == {"rows": 40}


def test_ctrl_c_saves_what_runs_and_takes_back_what_waits(tmp_path, journal, parent, until):
    script = f"""
        from pathlib import Path
        from seizurelit.scheduling.jobs import Job
        from seizurelit.scheduling.slurm import Slurm
        from seizurelit.scheduling.run import run_jobs
        jobs = [Job(f"m/{{name}}", "tiny_jobs:epochs", dict(name=name, journal={str(journal)!r}, count=60, seconds=0.1),
                    resumable=True) for name in "ab"]
        run_jobs(jobs, Path({str(tmp_path / "run")!r}), executor=Slurm(cluster="local", workers=2))
    """
    process = parent(script)
    assert until(lambda: journal.exists() and len(journal.read_text().splitlines()) == 2)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert "2 under way go on from their last epoch" in said
    again = parent(script)
    assert again.wait(60) == 0
    starts = [line.split() for line in journal.read_text().splitlines() if line.startswith("start")]
    assert [int(words[3]) > 0 for words in starts] == [False, False, True, True]


def test_jobs_end_when_their_run_is_gone(tmp_path, journal, parent, until, alive, monkeypatch):
    script = f"""
        from pathlib import Path
        from seizurelit.scheduling import slurm
        from seizurelit.scheduling.jobs import Job
        from seizurelit.scheduling.run import run_jobs
        slurm._BEAT = 0.5
        jobs = [Job("m/a", "tiny_jobs:work", dict(name="a", journal={str(journal)!r}, seconds=60))]
        run_jobs(jobs, Path({str(tmp_path / "run")!r}), executor=slurm.Slurm(cluster="local"))
    """
    # The job reads how long to wait from its own module, which it imports anew.
    (tmp_path / "modules" / "sitecustomize.py").write_text("import seizurelit.scheduling.slurm as s; s._GONE = 3.0\n")
    process = parent(script)
    assert until(journal.exists)
    worker = int(journal.read_text().split()[2])
    process.kill()
    process.wait()
    assert alive(worker)
    assert until(lambda: not alive(worker), 20)


def test_unknown_parameters_and_a_machine_without_slurm(tmp_path, journal):
    job = Job("m/a", "tiny_jobs:nothing")
    with pytest.raises(InputError, match="sbatch"):
        run_jobs([job], tmp_path / "run", executor=Slurm())
    with pytest.raises(InputError, match="slurm_partitionn"):
        run_jobs([job], tmp_path / "run", executor=Slurm({"slurm_partitionn": "gpu"}, cluster="local"))
