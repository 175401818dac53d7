"""The options that `fit` and `reproduce` share; imports nothing heavy, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seizurelit.config import Preset


@dataclass(frozen=True)
class RunOptions:
    """Which data, which part of the table, and where it goes.

    Attributes:
        cache: folder of tensors made by extract, ingest or synthesize; without it the stand-in cohort is made and used.
        cohort: a cohort.csv to read the labels from instead of the copy in the cache.
        fold: all, or the name of one fold (in leave-one-subject-out, its held-out subject).
        folds: CSV of fold and subject, instead of leaving one subject out.
        seeds: trainings of each fold, with seeds 0, 1, …; set by the preset unless given.
        split_seed: of the inner validation subjects.
        out: run folder; the default is named by the run's id, so that the same command goes on where it was.
        preset: fast (the default without a GPU) or paper (the default with one).
        workers: processes at a time; the default is one a CPU core, or one a GPU.
        wandb: offline writes to the run folder alone, online sends pseudonymous metrics, off writes none.
    """

    cache: Path | None = None
    cohort: Path | None = None
    fold: str = "all"
    folds: Path | None = None
    seeds: int | None = None
    split_seed: int = 0
    out: Path | None = None
    preset: Preset | None = None
    workers: int | None = None
    wandb: Literal["offline", "online", "off"] = "offline"
