"""Who runs the jobs, by what was asked for and what they need."""

from __future__ import annotations

import pytest

from seizurelit.errors import InputError
from seizurelit.scheduling.executors import executor_of
from seizurelit.scheduling.options import Needs, Schedule, schedule_of
from seizurelit.scheduling.pool import Pool
from seizurelit.scheduling.ray_cluster import RayCluster
from seizurelit.scheduling.serial import Serial
from seizurelit.scheduling.slurm import Slurm


def test_one_worker_is_this_process_unless_its_jobs_may_kill_it():
    assert isinstance(executor_of(Schedule(workers=1), Needs(())), Serial)
    assert isinstance(executor_of(Schedule(workers=1), Needs((), apart=True)), Pool)
    assert executor_of(Schedule(workers=3), Needs(())).slots == 3


@pytest.mark.parametrize(
    ("asked", "slots"), [({}, 2), ({"workers": 1}, 1), ({"workers": 6}, 6), ({"per_device": 3}, 6), ({"workers": 3}, 2)]
)
def test_workers_are_spread_over_the_devices(asked, slots):
    """Without a number there is one on each at first, until the first job tells how many fit."""
    assert executor_of(Schedule(**asked), Needs((), devices=("0", "1"), gpu=True)).slots == slots


def test_clusters():
    assert isinstance(executor_of(Schedule(scheduler="ray"), Needs(())), RayCluster)
    slurm = executor_of(Schedule(scheduler="slurm", workers=5, slurm={"cluster": "local"}), Needs(()))
    assert isinstance(slurm, Slurm)
    assert slurm.slots == 5
    with pytest.raises(InputError, match="cluster is slurm or local"):
        schedule_of(Schedule(scheduler="slurm", slurm={"cluster": "lsf"}))
