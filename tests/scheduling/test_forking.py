"""The process that workers are forked from, started before it is wanted."""

import os
import signal
import time
from pathlib import Path

import pytest

from seizurelit.scheduling import executors, forking
from seizurelit.scheduling.options import Schedule

NOISY = "noisy_on_import"


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    """A module that prints when it is imported."""
    (tmp_path / f"{NOISY}.py").write_text("print('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield (NOISY,)
    forking.leave_ahead()


def alive(server):
    return server._process.poll() is None


def test_a_server_that_was_started_ahead_is_taken_once(noisy):
    forking.start_ahead(noisy, 1)
    (ahead,) = forking._ahead.values()
    taken, another = forking.fork_server_for(noisy, 1), forking.fork_server_for(noisy, 1)
    try:
        assert taken is ahead
        assert another is not ahead
        assert alive(taken)
        assert alive(another)
    finally:
        taken.stop()
        another.stop()
    assert not alive(taken)


@pytest.mark.parametrize(("preload", "threads"), [((NOISY,), 2), ((), 1)])
def test_one_for_other_workers_is_not_taken(noisy, preload, threads):
    forking.start_ahead(noisy, 1)
    (ahead,) = forking._ahead.values()
    other = forking.fork_server_for(preload, threads)
    other.stop()
    assert other is not ahead
    forking.leave_ahead()
    assert not alive(ahead)


def test_what_it_printed_before_it_had_a_log_is_in_the_log(noisy, tmp_path):
    log = tmp_path / "new" / "workers.log"
    forking.start_ahead(noisy, 1)
    time.sleep(0.1)
    server = forking.fork_server_for(noisy, 1)
    server.log_to(log)
    end = time.monotonic() + 60
    while (not log.exists() or not log.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    server.stop()
    assert log.read_text() == "imported\n"


def test_it_ends_with_its_parent(tmp_path):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        server = forking.ForkServer((), 1)
        os.write(write, str(server._process.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    pid = int(os.read(read, 32))
    os.close(read)
    os.close(write)
    end = time.monotonic() + 60
    while time.monotonic() < end and _runs(pid):
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("schedule", "started"),
    [
        (Schedule(workers=2), 1),
        (Schedule(workers=1), 0),
        (Schedule(workers=2, scheduler="ray"), 0),
        (Schedule(workers=2, scheduler="slurm"), 0),
        (Schedule(workers=-3), 0),
    ],
)
def test_only_a_pool_of_this_machine_is_started_ahead(schedule, started):
    executors.start_ahead(schedule, (), 1)
    assert len(forking._ahead) == started
    forking.leave_ahead()
    assert not forking._ahead
