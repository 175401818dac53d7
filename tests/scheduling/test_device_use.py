"""How busy a device was: against a stand-in of the driver's tool, as no device is needed for it."""

import time
from functools import partial

import pytest

from seizurelit.scheduling import worker
from seizurelit.scheduling.device_use import DeviceUse
from seizurelit.scheduling.jobs import Job, Task


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """tool(script) puts an nvidia-smi of this shell script first on the path; what it is asked is in `asked`."""
    place = tmp_path / "bin"
    place.mkdir()

    def make(script):
        path = place / "nvidia-smi"
        path.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n{script}\n')
        path.chmod(0o755)

    monkeypatch.setenv("PATH", str(place), prepend=":")
    return make


def looked(device, seconds=0.6):
    with DeviceUse(device, every=0.02) as use:
        end = time.monotonic() + seconds
        while use.percent is None and time.monotonic() < end:
            time.sleep(0.02)
    return use.percent


def test_the_mean_of_what_the_tool_says_of_this_device(tool, tmp_path):
    tool("echo 40")
    assert looked("GPU-17", 30) == 40.0
    assert "--id=GPU-17" in (tmp_path / "asked").read_text()
    with DeviceUse("0", every=0.02) as use:
        use._seen += [10.0, 20.0]
        assert use.percent is not None
        assert 10 <= use.percent <= 40


@pytest.mark.parametrize("script", ["echo '[N/A]'", "exit 9", "echo no devices were found; exit 6"])
def test_a_tool_that_knows_nothing_gives_no_figure(tool, script):
    tool(script)
    assert looked("0") is None


@pytest.mark.parametrize("device", [None, "0,1"])
def test_nothing_is_asked_without_one_device(tool, tmp_path, device):
    tool("echo 40")
    assert looked(device, 0.2) is None
    assert not (tmp_path / "asked").exists()


def test_no_tool_no_figure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert looked("0", 0.1) is None


def test_a_job_reports_it(tool, tmp_path, journal, monkeypatch):
    tool("echo 73")
    monkeypatch.setattr(worker, "DeviceUse", partial(DeviceUse, every=0.02))
    job = Job("m/a", "tiny_jobs:work", {"name": "a", "journal": str(journal), "seconds": 1.0})
    (tmp_path / "a").mkdir()
    assert worker.execute(Task(job, tmp_path / "a", tmp_path / "log", {}), "0").device_percent == 73.0
    (tmp_path / "b").mkdir()
    assert worker.execute(Task(job, tmp_path / "b", tmp_path / "log", {}), None).device_percent is None
