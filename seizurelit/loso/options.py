"""The options that `fit` and `reproduce` share; imports nothing heavy, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seizurelit.config import Preset, Stream
from seizurelit.scheduling.options import Schedule

PRELOAD = ("seizurelit.loso.job",)
"""What workers import."""


@dataclass(frozen=True)
class RunOptions(Schedule):
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
        device: what the folds are trained on: auto is gpu where this machine has one; with --scheduler ray or slurm, say which
            the cluster is to give.
        permute_refit: how often to fit every fold anew on permuted labels, one seed each, for the p against chance; its cost is
            printed first.
        diff: folder of an older run of the same cohort, whose table this one is set beside.
        wandb: offline writes to the run folder alone, online sends pseudonymous metrics, off writes none.
        loggers: tensorboard and mlflow, also in the run folder, by Lightning's loggers and under the same pseudonyms.
    """

    cache: Path | None = None
    cohort: Path | None = None
    fold: str = "all"
    folds: Path | None = None
    seeds: int | None = None
    split_seed: int = 0
    out: Path | None = None
    preset: Preset | None = None
    device: Literal["auto", "cpu", "gpu"] = "auto"
    permute_refit: int = 0
    diff: Path | None = None
    wandb: Literal["offline", "online", "off"] = "offline"
    loggers: tuple[Literal["tensorboard", "mlflow"], ...] = ()


@dataclass(frozen=True)
class Ablation:
    """One switch, and the rows in which it is tried; each is set beside the same row without it.

    Attributes:
        name: as the table calls it.
        models: of agcn, tcn, agcn_kd; or fusion, which is set beside agcn_kd.
        settings: what is changed, such as {agcn.adaptive: false}; nothing where rows of the reference itself are compared.
        stream: own is the sign's own stream, other the one that the paper reads the other sign from.
        only: signs of this own stream alone; by default all.
    """

    name: str
    models: tuple[Literal["agcn", "tcn", "agcn_kd", "fusion"], ...]
    settings: dict[str, Any] = field(default_factory=dict)
    stream: Literal["own", "other"] = "own"
    only: Stream | None = None
