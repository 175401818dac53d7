"""Running jobs: order, failures, deaths, interruptions. Real processes, killed for real."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger, job_folder, seal
from seizurelit.scheduling.pool import Pool
from seizurelit.scheduling.run import Interrupted, run_jobs
from seizurelit.scheduling.serial import Serial


@pytest.fixture(params=["serial", "pool"])
def executor(request):
    return Serial() if request.param == "serial" else Pool(2)


def works(journal, names, seconds=0.0, requires=()):
    return [
        Job(f"m/{name}", "tiny_jobs:work", {"name": name, "journal": str(journal), "seconds": seconds}, requires)
        for name in names
    ]


def content(run_dir):
    jobs = run_dir / "jobs"
    return {path.relative_to(jobs).as_posix(): path.read_bytes() for path in jobs.rglob("*") if path.is_file()}


def starts(journal):
    lines = [line.split() for line in journal.read_text().splitlines()]
    return Counter(words[1] for words in lines if words[0] == "start")


def test_all_are_done_teacher_before_student_and_a_second_run_does_nothing(tmp_path, journal, executor):
    teachers = works(journal, "abc")
    students = works(journal, "xyz", requires=("m/c", "m/a"))
    events = []
    outcome = run_jobs([*students, *teachers], tmp_path / "run", executor=executor, on_event=events.append)
    assert outcome.whole
    assert set(outcome.done) == {f"m/{name}" for name in "abcxyz"}
    assert max(outcome.done.index("m/a"), outcome.done.index("m/c")) < min(outcome.done.index(f"m/{s}") for s in "xyz")
    kinds = [event.kind for event in events]
    assert kinds[0] == "planned"
    assert kinds[-1] == "ended"
    assert Counter(kinds) == {"planned": 1, "started": 6, "done": 6, "ended": 1}
    ledger = Ledger(tmp_path / "run")
    assert ledger.result("m/x") == {"name": "x", "score": 0.5, "shape": [1, 2]}
    record = ledger.records()["m/x"]
    assert (record.state, record.attempt, record.error) == ("done", 1, None)
    assert record.seconds >= 0
    assert record.peak_memory_mb > 1
    assert not (tmp_path / "run" / "partial").exists()
    before = content(tmp_path / "run")
    again = run_jobs([*students, *teachers], tmp_path / "run", executor=executor)
    assert (again.done, sorted(again.skipped)) == ((), [f"m/{name}" for name in "abcxyz"])
    assert content(tmp_path / "run") == before
    assert set(starts(journal).values()) == {1}


def test_serial_and_pool_give_the_same_files(tmp_path, journal):
    jobs = works(journal, "abcdef")
    run_jobs(jobs, tmp_path / "one", executor=Serial())
    run_jobs(jobs[::-1], tmp_path / "two", executor=Pool(3))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_failure_stops_only_what_needs_it_and_is_tried_again(tmp_path, journal, executor):
    repaired = tmp_path / "repaired"
    jobs = [
        Job("m/bad", "tiny_jobs:fail", {"unless": str(repaired)}),
        *works(journal, "ab"),
        *works(journal, "x", requires=("m/bad", "m/a")),
        *works(journal, "y", requires=("m/x",)),
    ]
    run_dir = tmp_path / "run"
    events = []
    outcome = run_jobs(jobs, run_dir, executor=executor, on_event=events.append)
    assert not outcome.whole
    assert outcome.failed == {"m/bad": "ValueError: no data for this fold"}
    assert set(outcome.done) == {"m/a", "m/b"}
    assert outcome.blocked["m/x"] == "needs m/bad, which failed: ValueError: no data for this fold"
    assert outcome.blocked["m/y"] == outcome.blocked["m/x"]
    ledger = Ledger(run_dir)
    assert [ledger.record(f"m/{name}").state for name in ("bad", "a", "x", "y")] == [
        "failed",
        "done",
        "blocked",
        "blocked",
    ]
    assert "second line" in ledger.path("m/bad", ".traceback").read_text()
    if isinstance(executor, Pool):
        assert ledger.path("m/bad", ".log").read_text() == "about to fail\n"
    assert not job_folder(run_dir, "m/bad").exists()
    repaired.write_text("")
    outcome = run_jobs(jobs, run_dir, executor=executor)
    assert outcome.whole
    assert outcome.done == ("m/bad", "m/x", "m/y")
    assert ledger.record("m/bad").attempt == 2
    assert not ledger.path("m/bad", ".traceback").exists()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("tiny_jobs:leave", "SystemExit: 3"),
        ("tiny_jobs:number", "TypeError: a job returns a mapping, not int"),
        ("tiny_jobs:unwritable", "TypeError: Object of type object is not JSON serializable"),
        ("tiny_jobs:forge", "ValueError: result.json is the scheduler's own file; a job returns its result instead"),
        ("tiny_jobs:absent", "AttributeError: module 'tiny_jobs' has no attribute 'absent'"),
        ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_whatever_a_job_does_wrong_is_its_own_failure(tmp_path, journal, executor, call, error):
    outcome = run_jobs([Job("m/bad", call), *works(journal, "a")], tmp_path / "run", executor=executor)
    assert outcome.failed == {"m/bad": error}
    assert outcome.done == ("m/a",)


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_killed_worker_is_replaced_and_its_job_tried_again(tmp_path, journal, how):
    falls = tmp_path / "falls.txt"
    jobs = [
        Job("m/fall", "tiny_jobs:fall", {"times": 2, "journal": str(falls), "how": how}),
        *works(journal, "abcd", seconds=0.05),
    ]
    events = []
    outcome = run_jobs(jobs, tmp_path / "run", executor=Pool(2), on_event=events.append)
    assert outcome.whole
    retried = [event.error for event in events if event.kind == "retried"]
    assert len(retried) == 2
    assert all(("SIGKILL" if how == "kill" else "exit code 7") in error for error in retried)
    assert Ledger(tmp_path / "run").record("m/fall").attempt == 3
    assert sorted(path.name for path in job_folder(tmp_path / "run", "m/fall").iterdir()) == ["half.txt", "result.json"]
    assert set(starts(journal).values()) == {1}


def test_a_job_that_always_kills_its_worker_fails_after_three_attempts(tmp_path, journal):
    falls = tmp_path / "falls.txt"
    jobs = [
        Job("m/fall", "tiny_jobs:fall", {"times": 99, "journal": str(falls)}),
        *works(journal, "ab"),
        *works(journal, "x", requires=("m/fall",)),
    ]
    outcome = run_jobs(jobs, tmp_path / "run", executor=Pool(2))
    assert set(outcome.done) == {"m/a", "m/b"}
    assert "killed by SIGKILL" in outcome.failed["m/fall"]
    assert outcome.failed["m/fall"].endswith("(3 attempts)")
    assert set(outcome.blocked) == {"m/x"}
    assert len(falls.read_text().splitlines()) == 3


def test_sigkill_of_a_worker_in_mid_job(tmp_path, journal):
    jobs = works(journal, "abcdef", seconds=0.2)
    killed = []

    def kill_one(event):
        if event.kind == "started" and event.job == "m/c" and not killed:
            killed.append(event.pid)
            time.sleep(0.05)
            os.kill(event.pid, signal.SIGKILL)

    outcome = run_jobs(jobs, tmp_path / "run", executor=Pool(2), on_event=kill_one)
    assert killed
    assert outcome.whole
    run_jobs(jobs, tmp_path / "undisturbed", executor=Serial())
    assert content(tmp_path / "run") == content(tmp_path / "undisturbed")


def test_a_worker_whose_own_child_lives_on_is_still_seen_to_die(tmp_path, journal, alive, until):
    jobs = [Job("m/forked", "tiny_jobs:forked", {"journal": str(journal)})]
    start = time.monotonic()
    outcome = run_jobs(jobs, tmp_path / "run", executor=Pool(1))
    assert "SIGKILL" in outcome.failed["m/forked"]
    assert time.monotonic() - start < 20
    children = [int(line.split()[1]) for line in journal.read_text().splitlines()]
    assert len(children) == 3
    assert until(lambda: not any(alive(pid) for pid in children), 5)


def test_the_fork_server_may_die_too(tmp_path, journal):
    pool = Pool(2)
    jobs = works(journal, "abcdef", seconds=0.05)

    def kill_server(event):
        if event.job == "m/b" and event.kind == "started" and event.attempt == 1:
            pool._server._process.kill()
            os.kill(event.pid, signal.SIGKILL)

    outcome = run_jobs(jobs, tmp_path / "run", executor=pool, on_event=kill_server)
    assert outcome.whole


PARENT = """
from pathlib import Path
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.run import run_jobs, Interrupted
from seizurelit.scheduling.pool import Pool
jobs = [
    Job(f"m/{{name}}", "tiny_jobs:work", {{"name": name, "journal": {journal!r}, "seconds": {seconds}}},
        ("m/a",) if name == "x" else ())
    for name in {names!r}
]
def on_event(event):
    print(event.kind, event.job, event.pid, flush=True)
try:
    outcome = run_jobs(jobs, Path({run!r}), executor=Pool(2), on_event=on_event)
except Interrupted as stop:
    raise SystemExit(str(stop))
"""


@pytest.mark.parametrize("moment", [("planned", 1), ("started", 2), ("done", 1), ("done", 4)])
def test_sigkill_of_the_parent_and_restart(tmp_path, journal, parent, alive, until, moment):
    kind, count = moment
    script = PARENT.format(journal=str(journal), seconds=0.15, names="abcdex", run=str(tmp_path / "run"))
    process = parent(script)
    seen = 0
    while seen < count:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        seen += line.startswith(kind)
    process.kill()
    process.wait()
    text = journal.read_text() if journal.exists() else ""
    workers = {int(line.split()[2]) for line in text.splitlines() if line.startswith("start")}
    assert until(lambda: not any(alive(pid) for pid in workers), 5)
    ledger = Ledger(tmp_path / "run")
    whole = {f"m/{name}" for name in "abcdex" if ledger.done(f"m/{name}")}
    second = parent(script)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    # Told by the second parent, as a worker of the first may note its start between the kill and its own end.
    told = Counter(tuple(line.split()[:2]) for line in out.splitlines())
    assert {job for kind, job in (words for words in told if len(words) == 2) if kind == "skipped"} == whole
    expected = {("started", f"m/{name}"): 1 for name in "abcdex" if f"m/{name}" not in whole}
    assert {words: count for words, count in told.items() if words[0] in ("started", "retried")} == expected
    assert all(starts(journal)[job.removeprefix("m/")] == 1 for job in whole)
    names = works(tmp_path / "other.txt", "abcde")
    undisturbed = [*names, *works(tmp_path / "other.txt", "x", requires=("m/a",))]
    run_jobs(undisturbed, tmp_path / "undisturbed", executor=Serial())
    assert content(tmp_path / "run") == content(tmp_path / "undisturbed")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["jobs", "ledger"]
    assert all(record.state == "done" for record in ledger.records().values())


def test_what_a_job_started_goes_with_the_parent(tmp_path, journal, parent, alive, until):
    process = parent(f"""
        from pathlib import Path
        from seizurelit.scheduling.jobs import Job
        from seizurelit.scheduling.run import run_jobs
        from seizurelit.scheduling.pool import Pool
        run_jobs([Job("m/c", "tiny_jobs:child", {{"journal": {str(journal)!r}}})], Path({str(tmp_path / "run")!r}),
                 executor=Pool(1))
    """)
    assert until(lambda: journal.exists() and journal.read_text().endswith("\n"))
    pid = int(journal.read_text().split()[1])
    assert alive(pid)
    process.kill()
    assert until(lambda: not alive(pid), 5)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path, journal, parent, alive, until):
    script = PARENT.format(journal=str(journal), seconds=0.4, names="abcdex", run=str(tmp_path / "run"))
    process = parent(script)
    while not process.stdout.readline().startswith("done"):
        pass
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "Traceback" not in err
    assert err.startswith("stopped: ")
    assert "of 6 jobs are done and kept" in err
    assert f"the same command, with the same run folder {tmp_path / 'run'}, goes on from here" in err
    workers = {int(line.split()[2]) for line in journal.read_text().splitlines() if line.startswith("start")}
    assert until(lambda: not any(alive(pid) for pid in workers), 5)
    ledger = Ledger(tmp_path / "run")
    assert {record.state for record in ledger.records().values()} <= {"pending", "done"}
    assert not (tmp_path / "run" / "partial").exists()
    second = parent(script)
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert all(record.state == "done" for record in ledger.records().values())


def test_ctrl_c_in_a_serial_job(tmp_path, journal, monkeypatch):
    def stop(event):
        if event.kind == "started" and event.job == "m/b":
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="1 of 3 jobs are done and kept, 1 under way begin anew"):
        run_jobs(works(journal, "abc"), tmp_path / "run", executor=Serial(), on_event=stop)
    assert run_jobs(works(journal, "abc"), tmp_path / "run", executor=Serial()).skipped == ("m/a",)


def test_ctrl_c_that_a_trainer_turned_into_an_exit(tmp_path, journal):
    before = signal.getsignal(signal.SIGINT)
    jobs = [Job("m/a", "tiny_jobs:interrupted"), *works(journal, "b")]
    with pytest.raises(Interrupted, match="0 of 2 jobs are done and kept, 1 under way begin anew"):
        run_jobs(jobs, tmp_path / "run", executor=Serial())
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("end", ["both finish", "the first is killed"])
def test_two_parents_share_the_jobs_and_do_none_twice(tmp_path, journal, parent, end):
    names = "abcdefghij"
    script = PARENT.format(journal=str(journal), seconds=0.3, names=names, run=str(tmp_path / "run"))
    first, second = parent(script), parent(script)
    if end == "the first is killed":
        while not first.stdout.readline().startswith("started"):
            pass
        first.kill()
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    first.wait(timeout=60)
    assert all(Ledger(tmp_path / "run").done(f"m/{name}") for name in names)
    told = [line.split()[:2] for line in out.splitlines()]
    if end == "both finish":
        others = [line.split()[:2] for line in first.stdout.read().splitlines()]
        assert set(starts(journal).values()) == {1}
        done = Counter(job for kind, job in [w for w in told + others if len(w) == 2] if kind == "done")
        assert done == {f"m/{name}": 1 for name in names}
        assert sum(words[0] == "done" for words in told) in range(1, 10)
    settled = Counter(words[1] for words in told if words[0] in ("done", "skipped"))
    assert settled == {f"m/{name}": 1 for name in names}


def test_a_failure_of_another_run_is_taken_from_it(tmp_path, journal, parent):
    script = f"""
        from pathlib import Path
        from seizurelit.scheduling.jobs import Job
        from seizurelit.scheduling.run import run_jobs
        from seizurelit.scheduling.pool import Pool
        run_jobs([Job("m/bad", "tiny_jobs:fail", {{"unless": "/nowhere"}}),
                  Job("m/long", "tiny_jobs:work", {{"name": "long", "journal": {str(journal)!r}, "seconds": 3.0}})],
                 Path({str(tmp_path / "run")!r}), executor=Pool(1), on_event=lambda e: print(e.kind, e.job, flush=True))
    """
    process = parent(script)
    while not process.stdout.readline().startswith("started m/long"):
        pass
    outcome = run_jobs([Job("m/bad", "tiny_jobs:nothing")], tmp_path / "run", executor=Serial())
    assert outcome.failed == {"m/bad": "ValueError: no data for this fold"}
    process.kill()
    process.wait()
    assert run_jobs([Job("m/bad", "tiny_jobs:nothing")], tmp_path / "run", executor=Serial()).whole


def test_a_half_written_folder_is_done_anew(tmp_path, journal, executor):
    run_dir = tmp_path / "run"
    jobs = works(journal, "abc")
    run_jobs(jobs, run_dir, executor=executor)
    whole = content(run_dir)
    (job_folder(run_dir, "m/a") / "result.json").unlink()
    (job_folder(run_dir, "m/b") / "predictions.csv").write_text("seizure,sc")
    (job_folder(run_dir, "m/b") / "left over").write_text("")
    outcome = run_jobs(jobs, run_dir, executor=executor)
    assert (set(outcome.done), outcome.skipped) == ({"m/a", "m/b"}, ("m/c",))
    assert content(run_dir) == whole


@given(
    needs=st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8),
    whole=st.sets(st.integers(0, 7)),
    bad=st.sets(st.integers(0, 7)),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_job_is_settled_once_whatever_the_graph(journal, tmp_path_factory, needs, whole, bad, order):
    folder = tmp_path_factory.mktemp("graph")
    jobs = [
        Job(f"m/{k}", "tiny_jobs:number" if k in bad else "tiny_jobs:nothing", requires=requires)
        for k, row in enumerate(needs)
        for requires in [tuple(sorted({f"m/{n}" for n in row if n < k}))]
    ]
    ledger = Ledger(folder)
    for k in whole & set(range(len(jobs))):
        place = job_folder(folder, f"m/{k}")
        place.mkdir(parents=True)
        seal(place, f"m/{k}", {}, {})
    shuffled = order.sample(jobs, len(jobs))
    events = []
    outcome = run_jobs(shuffled, folder, executor=Serial(), on_event=events.append)
    ends = Counter(event.job for event in events if event.kind in ("done", "failed", "blocked", "skipped"))
    assert ends == Counter(job.id for job in jobs)
    assert len(outcome.done) + len(outcome.failed) + len(outcome.blocked) + len(outcome.skipped) == len(jobs)
    starts = Counter(event.job for event in events if event.kind == "started")
    assert set(starts) == {*outcome.done, *outcome.failed}
    assert all(count == 1 for count in starts.values())
    for job in jobs:
        assert ledger.done(job.id) == (job.id in {*outcome.done, *outcome.skipped})
        if job.id in outcome.blocked:
            assert any(need in {*outcome.failed, *outcome.blocked} for need in job.requires)


def test_a_student_stays_while_its_teacher_gives_the_same(tmp_path, journal):
    run_dir = tmp_path / "run"
    jobs = [*works(journal, "a"), *works(journal, "x", requires=("m/a",))]
    run_jobs(jobs, run_dir, executor=Serial())
    (job_folder(run_dir, "m/a") / "result.json").unlink()
    assert run_jobs(jobs, run_dir, executor=Serial()).skipped == ("m/x",)
    other = [Job("m/a", "tiny_jobs:see"), jobs[1]]
    (job_folder(run_dir, "m/a") / "result.json").unlink()
    assert run_jobs(other, run_dir, executor=Pool(1)).done == ("m/a", "m/x")


def test_a_whole_student_outlives_a_failing_teacher(tmp_path, journal):
    run_dir = tmp_path / "run"
    jobs = [*works(journal, "a"), *works(journal, "x", requires=("m/a",))]
    run_jobs(jobs, run_dir, executor=Serial())
    (job_folder(run_dir, "m/a") / "result.json").unlink()
    outcome = run_jobs([Job("m/a", "tiny_jobs:leave"), jobs[1]], run_dir, executor=Serial())
    assert (set(outcome.failed), outcome.skipped, outcome.blocked) == ({"m/a"}, ("m/x",), {})


def test_the_ledger_is_mended_when_the_kill_came_between_folder_and_record(tmp_path, journal):
    run_dir = tmp_path / "run"
    jobs = works(journal, "a")
    run_jobs(jobs, run_dir, executor=Serial())
    ledger = Ledger(run_dir)
    ledger.path("m/a").unlink()
    run_jobs(jobs, run_dir, executor=Serial())
    assert ledger.record("m/a").state == "done"


def test_threads_devices_and_an_empty_folder(tmp_path, journal, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    jobs = [Job(f"m/{k}", "tiny_jobs:see") for k in range(8)]
    run_jobs(jobs, tmp_path / "cpu", executor=Pool(2, threads=3))
    cpu = Ledger(tmp_path / "cpu")
    assert cpu.result("m/0") == {"threads": "3", "device": "", "folder": [], "stdin": ""}  # sees none
    pool = Pool(devices=("0", "1"), per_device=2)
    assert pool.slots == 4
    run_jobs(jobs, tmp_path / "gpu", executor=pool)
    gpu = Ledger(tmp_path / "gpu")
    for k in range(8):
        assert gpu.result(f"m/{k}")["device"] == gpu.record(f"m/{k}").device
    assert {gpu.record(f"m/{k}").device for k in range(4)} == {"0", "1"}
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_nothing_is_imported_twice(tmp_path, journal):
    (Path(journal).parent / "modules" / "heavy.py").write_text(f"""
import os
from tiny_jobs import note
note({str(journal)!r}, f"import {{os.getpid()}}")
def f(folder): return {{}}
""")
    jobs = [Job(f"m/{k}", "heavy:f") for k in range(6)]
    assert run_jobs(jobs, tmp_path / "run", executor=Pool(3, preload=("heavy", "no_such_module"))).whole
    assert len(journal.read_text().splitlines()) == 1
    assert "no_such_module" in (tmp_path / "run" / "ledger" / "workers.log").read_text()


def test_a_program_without_a_guard_is_not_run_again_by_workers(tmp_path, journal, parent):
    script = PARENT.format(journal=str(journal), seconds=0, names="abc", run=str(tmp_path / "run"))
    out, _ = parent(script).communicate(timeout=60)
    assert out.count("planned") == 1


def test_two_workers_share_the_time(tmp_path, journal):
    jobs = works(journal, "abcdefghijkl", seconds=0.25)
    run_jobs(works(journal, "z"), tmp_path / "warm", executor=Pool(1))
    begun = []

    def on_event(event):
        if event.kind == "started":
            begun.append(time.monotonic())

    run_jobs(jobs, tmp_path / "run", executor=Pool(2), on_event=on_event)
    assert time.monotonic() - begun[0] < 0.7 * 12 * 0.25


def test_importing_the_room_is_cheap(parent):
    script = """
        import sys, seizurelit.scheduling.run, seizurelit.scheduling.pool, seizurelit.scheduling.serial
        import seizurelit.scheduling.progress, seizurelit.tracking.wandb_runs
        print([name for name in ("torch", "numpy", "pandas", "wandb", "sklearn") if name in sys.modules])
    """
    assert parent(script).communicate(timeout=60)[0] == "[]\n"
