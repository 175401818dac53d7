"""Going on from the epoch: what a fitting leaves on disk while it lasts, and how its next attempt takes that up.

The state is Lightning's own checkpoint, loaded with `weights_only=True`; the random numbers' state and the curves so far are in it.
`state.json` beside it names it, with its SHA-256, and is written last: a state that was half written does not count.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import CSVLogger

from seizurelit.cohort.files import write_whole
from seizurelit.scheduling import stopping
from seizurelit.training.modules import SeizureClassifier

EVERY = 10.0
"""Seconds between two states, at least; an epoch that takes longer is saved each time."""

WORTH = 50.0
"""How many times as long as saving takes there must be between two states: it costs 2% at most."""


class Saving(Checkpoint):
    """Saves a fitting at the end of an epoch, and goes on from there bit for bit.

    Args:
        folder: of this fitting alone.
        key: what decides the fitting's bits; a state of another key does not count.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = hashlib.sha256(f"{key} {torch.__version__} {version('pytorch-lightning')}".encode()).hexdigest()
        self.last = time.monotonic()
        self.took = 0.0
        self.rows: list[dict[str, Any]] = []
        self._random: Mapping[str, Any] | None = None
        self._known = self._read()

    def _read(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads((self.folder / "state.json").read_bytes())
            if state["key"] != self.key or _sha256(self.folder / state["file"]) != state["sha256"]:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return state

    @property
    def path(self) -> Path | None:
        """The state to go on from; None if there is none that is whole."""
        return None if self._known is None else self.folder / self._known["file"]

    @property
    def steps(self) -> int:
        """Training steps that attempts before this one made."""
        return 0 if self._known is None else int(self._known["steps"])

    @property
    def ended(self) -> bool:
        """Whether the state is that of a fitting which came to its end."""
        return self._known is not None and bool(self._known["ended"])

    def state_dict(self) -> dict[str, Any]:
        """What Lightning saves with the rest: random numbers and curves."""
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        return {"cpu": torch.get_rng_state(), "cuda": cuda, "rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep what Lightning has read until the epoch begins."""
        self.rows = state_dict["rows"]
        self._random = state_dict

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Count the epoch as complete."""
        del trainer, pl_module
        complete_epoch(checkpoint)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the state that was read, if one was."""
        del pl_module
        if self._random is not None:
            torch.set_rng_state(self._random["cpu"])
            if self._random["cuda"] is not None:
                torch.cuda.set_rng_state(self._random["cuda"])
            self._random = None
            if isinstance(trainer.logger, CSVLogger):
                trainer.logger.experiment.metrics = list(self.rows)
        if stopping.requested():
            raise stopping.Stopped

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, if it is time or the process was asked to stop; as a `Checkpoint`, after the module's own hook."""
        del pl_module
        if _epochs(trainer) == trainer.max_epochs:
            return  # `on_train_end` comes next
        if stopping.requested() or self._due():
            self._save(trainer, ended=False)
        if stopping.requested():
            raise stopping.Stopped

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep a fitting that came to its end, if it took long enough: what follows it in its job may be stopped too."""
        del pl_module
        if self._due():
            self._save(trainer, ended=True)

    def _due(self) -> bool:
        return time.monotonic() - self.last >= max(EVERY, WORTH * self.took)

    def _save(self, trainer: pl.Trainer, *, ended: bool) -> None:
        start = time.monotonic()
        if isinstance(trainer.logger, CSVLogger):  # which writes its rows at the end
            self.rows = list(trainer.logger.experiment.metrics)
        name = f"epoch-{_epochs(trainer)}{'-end' if ended else ''}.ckpt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            trainer.save_checkpoint(self.folder / name)
            state = {
                "key": self.key,
                "file": name,
                "sha256": _sha256(self.folder / name),
                "steps": trainer.global_step,
                "ended": ended,
            }
            write_whole(self.folder / "state.json", (json.dumps(state, sort_keys=True) + "\n").encode())
        except (OSError, RuntimeError) as error:  # a full disk, of which torch's own writer says RuntimeError
            print(f"{self.folder / name}: could not be saved ({error}); the fitting goes on without")
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)
        else:
            for old in self.folder.glob("*.ckpt"):
                if old.name != name:
                    old.unlink(missing_ok=True)
        self.last = time.monotonic()
        self.took = self.last - start

    def take_ended(self, module: SeizureClassifier, logger: CSVLogger | None) -> None:
        """Fill a module with the weights of a fitting that came to its end, and write its curves.

        Args:
            module: as it was before the fitting.
            logger: of the curves.
        """
        state = torch.load(str(self.path), map_location="cpu", weights_only=True)
        module.on_load_checkpoint(state)
        module.load_state_dict(state["state_dict"])
        self.rows = state["callbacks"][self.state_key]["rows"]
        if logger is not None:
            logger.experiment.metrics = list(self.rows)
            logger.save()
            module.last_loss = float(self.rows[-1]["train_loss"])


def complete_epoch(checkpoint: dict[str, Any]) -> None:
    """Count a checkpoint's epoch as complete: Lightning does so after the hooks, and would begin the next with its batches."""
    for counts in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
        counts["completed"] = counts["processed"]


def _epochs(trainer: pl.Trainer) -> int:
    """Epochs whose steps are all made."""
    return int(trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]  # Lightning types it too widely


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
