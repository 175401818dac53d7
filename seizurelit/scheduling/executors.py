"""The executor that a schedule asks for."""

from __future__ import annotations

import os

from seizurelit.scheduling.jobs import Executor
from seizurelit.scheduling.options import Needs, Schedule
from seizurelit.scheduling.pool import Pool
from seizurelit.scheduling.ray_cluster import RayCluster
from seizurelit.scheduling.serial import Serial
from seizurelit.scheduling.slurm import Slurm


def executor_of(schedule: Schedule, needs: Needs) -> Executor:
    """Who runs the jobs: on this machine this process for one CPU worker, otherwise a pool over the GPUs or the cores.

    Args:
        schedule: checked by `schedule_of`.
        needs: of the jobs.
    """
    if schedule.scheduler == "ray":
        return RayCluster(
            schedule.ray_address,
            reads=needs.reads,
            workers=schedule.workers,
            threads=needs.threads,
            gpu=needs.gpu,
            per_device=schedule.per_device,
            files=schedule.ray_files,
        )
    if schedule.scheduler == "slurm":
        parameters = dict(schedule.slurm)
        cluster = parameters.pop("cluster", "slurm")
        return Slurm(
            parameters,
            workers=schedule.workers,
            threads=needs.threads,
            gpu=needs.gpu,
            cluster=cluster,
        )
    if needs.devices:
        return Pool(threads=needs.threads, preload=needs.preload, devices=needs.devices, per_device=schedule.per_device)
    workers = schedule.workers or max(1, len(os.sched_getaffinity(0)) // needs.threads)
    return Serial(needs.threads) if workers == 1 else Pool(workers, threads=needs.threads, preload=needs.preload)
