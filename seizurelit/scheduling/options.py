"""Where the jobs of a door run; imports nothing heavy, so that --help is quick."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seizurelit.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """Who runs the jobs, and how many at a time.

    Attributes:
        scheduler: local is processes of this machine; ray is a Ray cluster; slurm is a SLURM job each, through submitit
            (`make env-cluster` installs both).
        workers: jobs at a time; by default one a CPU core, or as many as fit on the GPUs; of a Ray cluster all that it has, of
            SLURM 16 in the queue.
        per_device: jobs at a time on one GPU; by default as many as fit beside the first, by the device memory that it took.
        ray_address: host:port of a running cluster, or auto for the one that this machine is a node of; without it one is
            started on this machine for the run.
        ray_files: shared, every node sees the run folder and the cache under the same path; shipped, they are sent through
            Ray's object store; auto finds out.
        slurm: parameters of submitit, such as '{slurm_partition: gpu, timeout_min: 120, mem_gb: 8}'; cluster: local
            tries them with processes of this machine.
    """

    scheduler: Literal["local", "ray", "slurm"] = "local"
    workers: int | None = None
    per_device: int | None = None
    ray_address: str | None = None
    ray_files: Literal["auto", "shared", "shipped"] = "auto"
    slurm: dict[str, Any] = field(default_factory=dict)


def schedule_of(options: Schedule) -> Schedule:
    """The part of a door's options that says where jobs run.

    Raises:
        InputError: numbers out of range, or options of a scheduler that was not chosen; a line each.
    """
    faults = [
        f"--{name} {value}: give 1 or more"
        for name, value in (("workers", options.workers), ("per_device", options.per_device))
        if value is not None and value < 1
    ]
    if options.scheduler != "ray" and (options.ray_address is not None or options.ray_files != "auto"):
        faults.append("--ray_address, --ray_files: are for --scheduler ray; give it too, or leave them out")
    if options.scheduler != "slurm" and options.slurm:
        faults.append("--slurm: is for --scheduler slurm; give it too, or leave it out")
    if options.slurm.get("cluster", "slurm") not in ("slurm", "local"):
        faults.append(f"--slurm: cluster is slurm or local, not {options.slurm['cluster']}")
    if faults:
        raise InputError(*faults)
    return Schedule(**{entry.name: getattr(options, entry.name) for entry in dataclasses.fields(Schedule)})


@dataclass(frozen=True)
class Needs:
    """What the jobs of a run want from whoever runs them.

    Attributes:
        preload: modules that all of them import.
        threads: CPU threads each.
        devices: CUDA devices of this machine, as CUDA_VISIBLE_DEVICES writes them; empty for none.
        gpu: each takes a GPU, wherever it runs.
        apart: each needs a process that may die of it, as of a video that breaks a decoder, even where there is one worker.
        reads: folders outside of the run folder that jobs read and do not write; None where they write outside of it.
    """

    preload: tuple[str, ...]
    threads: int = 1
    devices: tuple[str, ...] = ()
    gpu: bool = False
    apart: bool = False
    reads: tuple[Path, ...] | None = None
