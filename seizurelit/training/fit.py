"""One fitting: a Trainer over a fold's batches for a fixed number of epochs, then scores of subjects it never saw."""

from __future__ import annotations

import csv
import hashlib
import inspect
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.loggers import CSVLogger

from seizurelit.cohort.files import write_whole
from seizurelit.config import Training, as_json
from seizurelit.data.fold import FoldDataModule
from seizurelit.errors import InputError
from seizurelit.scheduling import stopping
from seizurelit.scheduling.worker import measure
from seizurelit.training.modules import DistilledStudent, SeizureClassifier
from seizurelit.training.networks import WindowNetwork, build_network
from seizurelit.training.resuming import Saving

HISTORY = "metrics.csv"
"""The curves of a fitting, as Lightning's CSVLogger names them."""
WINDOWS = "windows.csv"
"""The scores of each window of the held-out seizures, as `predict` writes them."""

# What the outer loop or another option decides; the remedy is printed.
OWNED = {
    "accelerator": "the loop gives a job its device",
    "devices": "the loop gives a job its device; use --workers",
    "deterministic": "use --deterministic",
    "num_nodes": "a fold is trained on one device",
    "strategy": "a fold is trained on one device",
    "logger": "CSV is always written, for wandb use --wandb",
    "max_epochs": "use --optimiser.epochs",
    "precision": "use --precision",
    "default_root_dir": "use --out",
    "callbacks": "cannot be given as text",
    "plugins": "cannot be given as text",
    "profiler": "cannot be kept apart for parallel jobs",
}


class _Trainer(pl.Trainer):
    """Leaves SIGTERM to `stopping` where that answers it, at the end of the epoch; Lightning ends a fit after any batch."""

    @property
    def received_sigterm(self) -> bool:
        """Whether a SIGTERM came that nobody else answers."""
        return bool(super().received_sigterm) and not stopping.requested()


def check_trainer_arguments(training: Training) -> None:
    """Refuse what Lightning's Trainer would not take, before any job starts.

    Args:
        training: its `trainer` and `precision` are tried.

    Raises:
        InputError: a line for each argument that is unknown, owned by the loop or of a value that the Trainer refuses.
    """
    arguments = training.trainer
    known = inspect.signature(pl.Trainer.__init__).parameters
    faults = [f"--trainer.{name}: {OWNED[name]}" for name in arguments if name in OWNED]
    faults += [f"--trainer.{name}: Lightning's Trainer has no such argument" for name in arguments if name not in known]
    if faults:
        raise InputError(*faults)
    try:
        trainer_for(training, epochs=1, device="cpu", logger=False)
    except Exception as error:  # whatever the Trainer says about a value is the user's to read
        what = f"--precision {training.precision}, --trainer {arguments}"
        msg = f"{what}: Lightning's Trainer refuses it: {' '.join(str(error).split())}"
        raise InputError(msg) from None


def trainer_for(
    training: Training, *, epochs: int, device: str, logger: CSVLogger | bool, saving: Saving | None = None
) -> pl.Trainer:
    """A Trainer of one device and a fixed number of epochs.

    Args:
        training: its precision and further arguments.
        epochs: how many.
        device: cpu or gpu.
        logger: of the curves; False keeps none.
        saving: saves states to go on from.
    """
    ours: dict[str, Any] = {
        "max_epochs": epochs,
        "accelerator": device,
        "devices": 1,
        "logger": logger,
        "precision": training.precision,
        "enable_checkpointing": saving is not None,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1_000_000,
        "deterministic": training.deterministic,
        "plugins": [LightningEnvironment()],  # one process a job, under SLURM too
        "callbacks": [saving] if saving is not None else [],
    }
    # What it says of itself at every fold.
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _Trainer(**{**ours, **training.trainer})
    # With deterministic kernels torch also fills every new tensor, for code that reads what nobody wrote: here nothing does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # of the module's own class
    return trainer


def job_seed(*parts: object) -> int:
    """A seed of 31 bits from what identifies a fitting; the same parts give the same seed on every machine."""
    return int(hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:8], 16) & 0x7FFFFFFF


def fit(
    model: str,
    data: FoldDataModule,
    training: Training,
    *,
    seed: int,
    device: str,
    history: Path | None,
    teachers: tuple[WindowNetwork, ...] = (),
    teacher_of: torch.Tensor | None = None,
    checkpoint: Path | None = None,
) -> SeizureClassifier:
    """Fit a model on a fold's training subjects, from where an attempt before was interrupted.

    Args:
        model: agcn, tcn or agcn_kd.
        data: the fold.
        training: all settings.
        seed: of initialisation, dropout, order and augmentation.
        device: cpu or gpu.
        history: folder for the curves (metrics.csv); None keeps none.
        teachers: for agcn_kd, the frozen networks.
        teacher_of: (S,) which teacher teaches which seizure.
        checkpoint: folder of this fitting's states, of which it goes on from the last; None keeps none.
    """
    torch.set_num_threads(training.threads)
    pl.seed_everything(seed, workers=False, verbose=False)
    network = build_network(model, training, data)
    epochs = training.optimiser.epochs
    steps = epochs * data.steps_per_epoch
    module: SeizureClassifier
    if teachers and teacher_of is not None:
        module = DistilledStudent(
            network, teachers, teacher_of, training.distillation, training.optimiser, steps=steps, classes=data.classes
        )
    else:
        module = SeizureClassifier(network, training.optimiser, steps=steps, classes=data.classes)
    logger = CSVLogger(history, name="", version="", flush_logs_every_n_steps=1_000_000) if history else None
    saving = Saving(checkpoint, f"{model} {seed} {steps} {as_json(training)}") if checkpoint is not None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and logging intervals
        if saving is not None and saving.ended:
            saving.take_ended(module, logger)
            return module
        trainer = trainer_for(training, epochs=epochs, device=device, logger=logger or False, saving=saving)
        before = saving.path if saving is not None else None
        trainer.fit(module, datamodule=data, ckpt_path=before, weights_only=True if before else None)
    measure("training_steps", trainer.global_step - (saving.steps if saving is not None else 0))
    return module


def predict(
    module: SeizureClassifier, data: FoldDataModule, training: Training, *, device: str, windows: Path | None = None
) -> dict[str, np.ndarray]:
    """The class scores (K,) of each seizure that the fold holds out, over all its windows.

    Args:
        module: fitted for this fold.
        data: the fold.
        training: for the precision.
        device: cpu or gpu.
        windows: file for the scores of each window (windows.csv: seizure, start and end in seconds, score_0 … score_K-1 in
            the order of the classes); None writes none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batches = trainer_for(training, epochs=1, device=device, logger=False).predict(module, datamodule=data)
    scores: dict[str, np.ndarray] = {}
    rows: list[tuple[str, ...]] = []
    spans = data.scored_spans()
    for indices, probabilities, of_windows in batches or ():
        parts = zip(
            indices.tolist(), probabilities.double().cpu().numpy(), of_windows.double().cpu().tolist(), strict=True
        )
        for index, probability, shares in parts:
            name = data.seizure_name(index)
            scores[name] = probability
            # Beyond the seizure's own windows there is only what fills the batch up.
            for span, window in zip(spans[index], shares, strict=False):
                rows.append((name, *(f"{number:.9g}" for number in (*span, *window))))
    if windows is not None:
        rows.sort(key=lambda row: (row[0], float(row[1])))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("seizure", "start", "end", *(f"score_{index}" for index in range(data.classes))))
        writer.writerows(rows)
        write_whole(windows, text.getvalue().encode())
    return scores
