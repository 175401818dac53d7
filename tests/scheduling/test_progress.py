"""What a person who waits is shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.progress import Progress, spoken, time_left, time_left_by_length
from seizurelit.scheduling.run import Event, run_jobs
from seizurelit.scheduling.serial import Serial


def test_plain_lines_where_there_is_no_terminal(tmp_path, journal):
    jobs = [
        *(Job(f"m/seed-0/{k}", "tiny_jobs:work", {"name": str(k), "journal": str(journal)}) for k in range(3)),
        Job("m/seed-0/bad", "tiny_jobs:fail", {"unless": str(tmp_path / "never")}),
        Job("m/seed-0/last", "tiny_jobs:work", requires=("m/seed-0/bad",)),
    ]
    text = io.StringIO()
    with Progress(jobs, 1, Console(file=text, width=40), every=0) as progress:
        run_jobs(jobs, tmp_path / "run", executor=Serial(), on_event=progress)
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("1 of 5 jobs done, about ")
    assert "m/seed-0/bad failed: ValueError: no data for this fold" in lines
    assert lines[-1].startswith("3 of 5 jobs done, 1 failed, 1 blocked in ")
    assert "\x1b" not in text.getvalue()
    text = io.StringIO()
    with Progress(jobs, 1, Console(file=text)) as progress:
        run_jobs(jobs, tmp_path / "run", executor=Serial(), on_event=progress)
    assert text.getvalue().splitlines()[-1].startswith("3 of 5 jobs done, 3 from before, 1 failed")


def test_a_terminal_shows_what_runs_and_keeps_only_faults():
    text = io.StringIO()
    jobs = [Job(f"dystonia/pose/agcn/seed-0/sub-{k}", "m:f") for k in range(3)]
    with Progress(jobs, 2, Console(file=text, force_terminal=True, width=100)) as progress:
        progress(Event("planned", "", 3))
        progress(Event("started", jobs[0].id, 3))
        progress(Event("done", jobs[0].id, 3, seconds=4.0))
        progress(Event("started", jobs[1].id, 3))
        progress(Event("started", jobs[2].id, 3))
        progress.live.refresh()
        shown = text.getvalue()
        assert "1 of 3 jobs done" in shown
        assert "1/3" in shown
        assert "4 s left" in shown
        assert jobs[1].id in shown
        progress(Event("retried", jobs[1].id, 3, error="worker 5 was killed by SIGKILL"))
    assert f"{jobs[1].id} is tried again: worker 5 was killed by SIGKILL" in text.getvalue()


@pytest.mark.parametrize(
    ("left", "seconds", "running", "workers", "expected"),
    [
        ({"a": 4}, {}, {}, 2, None),
        ({"a": 4}, {"a": (2, 10.0)}, {}, 2, 10.0),
        ({"a": 4}, {"a": (2, 10.0)}, {"a": [2.0, 3.0]}, 2, 7.5),
        ({"a": 1}, {"a": (2, 10.0)}, {"a": [50.0]}, 2, 0.0),
        ({"a": 2, "b": 2}, {"a": (3, 3.0), "b": (1, 9.0)}, {}, 1, 20.0),
        ({"b": 2}, {"a": (2, 4.0)}, {}, 1, 4.0),
        ({"a": 1}, {"a": (1, 6.0)}, {}, 8, 6.0),
        ({}, {"a": (1, 6.0)}, {}, 2, 0.0),
    ],
)
def test_time_left(left, seconds, running, workers, expected):
    assert time_left(left, seconds, running, workers) == expected


@pytest.mark.parametrize(
    ("left", "pace", "running", "workers", "expected"),
    [
        ({"a": 10}, None, {}, 2, None),
        ({"a": 10, "b": 30}, 2.0, {}, 1, 80.0),
        ({"a": 10, "b": 10}, 2.0, {"a": 5.0, "b": 35.0}, 2, 15.0),
        ({"a": 1, "b": 60}, 1.0, {"b": 10.0}, 2, 50.0),
        ({}, 2.0, {}, 2, 0.0),
    ],
)
def test_time_left_of_jobs_of_known_lengths(left, pace, running, workers, expected):
    assert time_left_by_length(left, pace, running, workers) == expected


def test_a_long_job_at_the_end_is_not_taken_for_a_short_one():
    jobs = [Job(name, "m:f") for name in ("short", "long", "bad")]
    text = io.StringIO()
    with Progress(jobs, 1, Console(file=text), every=0, lengths={"short": 2.0, "long": 60.0, "bad": 0.0}) as progress:
        progress(Event("started", "bad", 3))
        progress(Event("failed", "bad", 3, error="no such file"))
        progress(Event("started", "short", 3))
        progress(Event("done", "short", 3, seconds=4.0))
    assert text.getvalue().splitlines()[-1] == "1 of 3 jobs done, 1 failed, about 2 min left"


def test_durations_are_spoken():
    assert [spoken(t) for t in (None, 7.4, 89, 170, 7500)] == ["–", "7 s", "89 s", "3 min", "2 h 05 min"]
