"""The executor that a schedule asks for."""

from __future__ import annotations

import os

from seizurelit.scheduling import forking
from seizurelit.scheduling.jobs import Executor
from seizurelit.scheduling.options import Needs, Schedule
from seizurelit.scheduling.pool import Pool
from seizurelit.scheduling.ray_cluster import RayCluster
from seizurelit.scheduling.serial import Serial
from seizurelit.scheduling.slurm import Slurm


def cuda_devices() -> tuple[str, ...]:
    """This machine's CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES writes them; empty for none."""
    import torch  # noqa: PLC0415 - the room itself does without

    if not torch.cuda.is_available():
        return ()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(given.split(",")) if given else tuple(map(str, range(torch.cuda.device_count())))


def executor_of(schedule: Schedule, needs: Needs) -> Executor:
    """Who runs the jobs: on this machine a pool over the GPUs or the cores, or this process where one worker may be it.

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
        # As many workers as are asked for are spread over the devices, the first of them where there are fewer.
        devices, each = needs.devices[: schedule.workers], schedule.per_device
        if each is None and schedule.workers is not None:
            each = max(1, schedule.workers // len(devices))
        return Pool(threads=needs.threads, preload=needs.preload, devices=devices, per_device=each)
    workers = _workers(schedule, needs.threads)
    if workers == 1 and not needs.apart:
        return Serial(needs.threads)
    return Pool(workers, threads=needs.threads, preload=needs.preload)


def start_ahead(schedule: Schedule, preload: tuple[str, ...], threads: int) -> None:
    """Let the imports of this machine's workers begin, if there will be more than one, while a door goes on with its own.

    Args:
        schedule: of the door's options, checked or not.
        preload: modules that jobs need.
        threads: CPU threads of each.
    """
    if schedule.scheduler == "local" and threads >= 1 and _workers(schedule, threads) > 1:
        forking.start_ahead(preload, threads)


def _workers(schedule: Schedule, threads: int) -> int:
    return schedule.workers or max(1, len(os.sched_getaffinity(0)) // threads)
