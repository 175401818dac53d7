"""One owner a job, whoever else is at work in the folder, and however they end."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections import Counter

import pytest

from seizurelit.scheduling import claims as module
from seizurelit.scheduling.claims import Claims


@pytest.fixture
def elsewhere(monkeypatch):
    """Make every owner look as if it were on another machine: its heartbeat decides."""
    monkeypatch.setattr(module, "_host", lambda: "")


def dead(claims):
    """Leave as a killed process does: nothing is given back."""
    claims._ended.set()


def test_a_job_has_one_owner_until_that_is_gone(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        assert one.take("a/b")
        assert one.take("a/b")
        assert not two.take("a/b")
        assert two.take("a/c")
        assert (two.holder("a/b"), two.holder("a/c"), two.holder("a/d")) == (one.owner, two.owner, "")
        assert one.others() == (two.owner,)
    with Claims(tmp_path) as three:
        assert three.others() == ()
        assert three.take("a/b")
        assert three.holder("a/b") == three.owner


def test_a_killed_process_of_this_machine_is_gone_at_once(tmp_path, parent, until):
    process = parent(f"""
        from pathlib import Path
        from seizurelit.scheduling.claims import Claims
        with Claims(Path({str(tmp_path)!r})) as claims:
            print(claims.take("a"), flush=True)
            import time; time.sleep(60)
    """)
    assert process.stdout.readline() == "True\n"
    with Claims(tmp_path) as claims:
        assert not claims.take("a")
        process.kill()
        process.wait()
        assert claims.take("a")


def test_another_process_of_the_same_number_is_not_the_owner(tmp_path):
    claims = Claims(tmp_path)
    claims.__enter__()
    about = json.loads(claims._owner_file(claims.owner).read_text())
    assert claims.take("a")
    claims._owner_file(claims.owner).write_text(json.dumps({**about, "born": "1"}))
    with Claims(tmp_path) as other:
        assert other.take("a")
    dead(claims)


def test_another_machine_is_alive_while_its_heart_beats(tmp_path, elsewhere, monkeypatch, until):
    monkeypatch.setattr(module, "BEAT", 0.05)
    one = Claims(tmp_path)
    one.__enter__()
    assert one.take("a")
    with Claims(tmp_path, lease=0.5) as two:
        for _ in range(20):
            assert not two.take("a")
            threading.Event().wait(0.05)
        dead(one)
        assert until(lambda: two.take("a"), 5)
        assert not one.mine("a")  # it finds out when it wakes up
        assert not one.take("a")


def test_of_many_that_want_a_dead_ones_job_one_gets_it(tmp_path):
    """The generations of a claim: no sequence of looks and takings gives a job to two."""
    first = Claims(tmp_path)
    first.__enter__()
    jobs = [f"j/{k}" for k in range(40)]
    assert all(first.take(job) for job in jobs)
    first._owner_file(first.owner).unlink()
    dead(first)
    got: list[str] = []
    barrier = threading.Barrier(8)

    def want():
        with Claims(tmp_path) as mine:
            barrier.wait()
            for job in jobs:
                if mine.take(job):
                    got.append(job)
            barrier.wait()

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(got) == dict.fromkeys(jobs, 1)


def test_without_hard_links_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with Claims(tmp_path) as one, Claims(tmp_path, lease=0.2) as two:
        assert one.take("a")
        assert not two.take("a")
        two._claim("b", 1).touch()  # killed between making the file and writing the name
        assert not two.take("b")
        threading.Event().wait(0.3)
        assert two.take("b")


def test_a_link_that_was_made_though_the_answer_was_lost(tmp_path, monkeypatch):
    real = os.link

    def lose(source, place):
        real(source, place)
        raise FileExistsError(errno.EEXIST, "the server had done it the first time")

    with Claims(tmp_path) as claims:
        (tmp_path / "claims").mkdir()
        monkeypatch.setattr(os, "link", lose)
        assert claims.take("a")
