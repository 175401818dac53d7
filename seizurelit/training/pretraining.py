"""VGG-19 on FER2013 by its own split: trained on Training, its epoch chosen on PublicTest, scored once on PrivateTest."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from seizurelit.cohort.files import write_whole
from seizurelit.errors import InputError, RunError
from seizurelit.extraction.weights import provenance, read_checkpoint, weights_folder
from seizurelit.models.vgg19 import CROP, EMOTIONS, SIZE, Vgg19, ten_crop_logits
from seizurelit.training.fit import job_seed
from seizurelit.training.options import Pretraining, Recipe
from seizurelit.training.resuming import complete_epoch

SPLITS = ("Training", "PublicTest", "PrivateTest")
FILE = "vgg19_fer2013.safetensors"
"""Name of the weights where extraction looks for them."""

_COLUMNS = ("emotion", "pixels", "Usage")
_MOST_FAULTS = 20
_DECAY_EVERY = 5
"""Epochs between two steps of the learning rate."""


class Faces(NamedTuple):
    """The images of one split, or a batch of them.

    Attributes:
        images: (N, 1, 48, 48) uint8; (N, 1, 44, 44) in a training batch.
        labels: (N,) long, into `EMOTIONS`.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Fer2013:
    """The data set as it was read.

    Attributes:
        splits: Training, PublicTest and PrivateTest.
        digest: SHA-256 of the file.
        repeated: images of PrivateTest that are in Training as well, bit for bit.
    """

    splits: Mapping[str, Faces]
    digest: str
    repeated: int


def read_fer2013(path: Path) -> Fer2013:
    """Read fer2013.csv: a row an image, with its emotion 0 to 6, its 48×48 grey levels row by row, and its Usage.

    Raises:
        InputError: the file is absent or no such table; a line for each row that is wrong, up to 20.
    """
    images: dict[str, list[bytes]] = {split: [] for split in SPLITS}
    labels: dict[str, list[int]] = {split: [] for split in SPLITS}
    faults: list[str] = []
    try:
        with path.open("rb") as binary:
            digest = hashlib.file_digest(binary, "sha256").hexdigest()
        # What is no UTF-8 becomes a sign that no cell may have, so that its row is named.
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            header = [cell.strip() for cell in next(reader, [])]
            missing = [name for name in _COLUMNS if name not in header]
            if missing:
                msg = (
                    f"{path}, row 1: there is no column {', '.join(map(repr, missing))}; give fer2013.csv, whose columns are "
                    f"{', '.join(_COLUMNS)} (or icml_face_data.csv; train.csv and test.csv have no split)"
                )
                raise InputError(msg)
            places = [header.index(name) for name in _COLUMNS]
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                where = f"{path}, row {reader.line_num}"
                if len(cells) != len(header):
                    faults.append(f"{where}: has {len(cells)} cells, the header has {len(header)}; get the file again")
                    continue
                emotion, pixels, usage = (cells[place].strip() for place in places)
                wrong, image = _read_row(emotion, pixels, usage)
                if wrong:
                    faults.append(f"{where}: {wrong}")
                else:
                    images[usage].append(image)
                    labels[usage].append(int(emotion))
    except OSError as error:
        msg = f"--fer2013 {path}: {error.strerror}; give the path of fer2013.csv"
        raise InputError(msg) from None
    except csv.Error as error:
        msg = f"{path}, row {reader.line_num}: is no CSV ({error}); get the file again"
        raise InputError(msg) from None
    if not faults:
        faults = [
            f"{path}: has no row whose Usage is {split}; get the whole file" for split in SPLITS if not images[split]
        ]
    if faults:
        more = len(faults) - _MOST_FAULTS
        raise InputError(*faults[:_MOST_FAULTS], *([f"{path}: and {more} more rows"] if more > 0 else []))
    seen = set(images["Training"])
    splits = {split: _faces(images[split], labels[split]) for split in SPLITS}
    return Fer2013(splits, digest, sum(image in seen for image in images["PrivateTest"]))


def _read_row(emotion: str, pixels: str, usage: str) -> tuple[str, bytes]:
    """What is wrong with a row, or nothing and its pixels."""
    if usage not in SPLITS:
        return f"Usage {usage[:40]!r} is none of {', '.join(SPLITS)}", b""
    if emotion not in ("0", "1", "2", "3", "4", "5", "6"):
        return f"emotion {emotion[:40]!r} is none of 0 to 6", b""
    try:
        image = bytes(map(int, pixels.split()))
    except ValueError:
        return "pixels has something else than whole numbers from 0 to 255", b""
    if len(image) != SIZE * SIZE:
        return f"pixels has {len(image)} numbers, not {SIZE}·{SIZE} = {SIZE * SIZE}", b""
    return "", image


def _faces(images: list[bytes], labels: list[int]) -> Faces:
    pixels = torch.frombuffer(bytearray(b"".join(images)), dtype=torch.uint8)
    return Faces(pixels.view(-1, 1, SIZE, SIZE), torch.tensor(labels))


def random_crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """A crop of each image at a random place, every second one mirrored.

    Args:
        images: (N, 1, 48, 48).
        generator: of the draws.

    Returns:
        (N, 1, 44, 44).
    """
    count, _, height, width = images.shape
    top = torch.randint(height - CROP + 1, (count, 1, 1), generator=generator)
    left = torch.randint(width - CROP + 1, (count, 1, 1), generator=generator)
    mirrored = torch.rand((count, 1, 1), generator=generator) < 0.5
    along = torch.arange(CROP)
    rows, columns = top + along.view(1, -1, 1), left + torch.where(mirrored, along.flip(0), along)
    return images[torch.arange(count).view(-1, 1, 1), 0, rows, columns].unsqueeze(1)


class _Batches:
    """An iterable with a length, which is all that Lightning asks of a dataloader."""

    def __init__(self, length: int, batches: Callable[[], Iterator[Faces]]) -> None:
        self.length = length
        self.batches = batches

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Faces]:
        return self.batches()


class Fer2013DataModule(pl.LightningDataModule):
    """Batches of the three splits, made whole: the images are in memory, and a batch depends on the seed and the epoch alone.

    Args:
        data: as it was read.
        recipe: for the batch and the seed.
    """

    def __init__(self, data: Fer2013, recipe: Recipe) -> None:
        super().__init__()
        self.data = data
        self.recipe = recipe

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of Training; what is left over is another epoch's, as the order is drawn anew."""
        return max(1, len(self.data.splits["Training"].labels) // self.recipe.batch)

    def training_batches(self, epoch: int) -> Iterator[Faces]:
        """The batches of an epoch, or this device's share of each."""
        images, labels = self.data.splits["Training"]
        generator = torch.Generator().manual_seed(job_seed("fer2013", self.recipe.seed, epoch))
        order = torch.randperm(len(labels), generator=generator)
        for step in range(self.steps_per_epoch):
            chosen = order[step * self.recipe.batch : (step + 1) * self.recipe.batch]
            yield self._share(Faces(random_crops(images[chosen], generator), labels[chosen]))

    def held_out_batches(self, split: str) -> Iterator[Faces]:
        """All images of PublicTest or PrivateTest, in order."""
        images, labels = self.data.splits[split]
        for start in range(0, len(labels), self.recipe.batch):
            part = slice(start, start + self.recipe.batch)
            yield self._share(Faces(images[part], labels[part]))

    def train_dataloader(self) -> _Batches:
        """Batches of the Trainer's present epoch."""
        return _Batches(
            self.steps_per_epoch, lambda: self.training_batches(self.trainer.current_epoch if self.trainer else 0)
        )

    def val_dataloader(self) -> _Batches:
        """PublicTest."""
        return self._held_out("PublicTest")

    def test_dataloader(self) -> _Batches:
        """PrivateTest."""
        return self._held_out("PrivateTest")

    def _held_out(self, split: str) -> _Batches:
        length = -(-len(self.data.splits[split].labels) // self.recipe.batch)
        return _Batches(length, lambda: self.held_out_batches(split))

    def _share(self, batch: Faces) -> Faces:
        rank, devices = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return Faces(batch.images[rank::devices], batch.labels[rank::devices])


class EmotionClassifier(pl.LightningModule):
    """A `Vgg19` trained by SGD on random crops, scored by the mean logit of ten crops.

    Args:
        recipe: all settings.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = Vgg19(width=recipe.width, dropout=recipe.dropout)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        classes = len(EMOTIONS)
        self.train_loss = MeanMetric()
        self.train_accuracy = MulticlassAccuracy(classes, average="micro")
        scores = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "macro_f1": MulticlassF1Score(classes, average="macro"),
            }
        )
        self.public_scores = scores.clone(prefix="public_")
        self.private_scores = scores.clone(prefix="private_")

    def on_train_epoch_start(self) -> None:
        """Dropout depends on seed, epoch and device alone, so that a resumed training is the one that was stopped."""
        torch.manual_seed(job_seed("dropout", self.recipe.seed, self.current_epoch, self.global_rank))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count the epoch as complete, so that the next attempt begins with the next epoch's batches."""
        complete_epoch(checkpoint)

    def training_step(self, batch: Faces, index: int) -> Tensor:
        """Cross-entropy of random crops (N, 1, 44, 44)."""
        del index
        logits = self.network(_grey(batch.images))
        loss = functional.cross_entropy(logits, batch.labels)
        self.train_loss.update(loss.detach(), len(batch.labels))
        self.train_accuracy.update(logits.detach(), batch.labels)
        return loss

    def validation_step(self, batch: Faces, index: int) -> None:
        """PublicTest, ten crops."""
        del index
        if len(batch.labels):
            self.public_scores.update(ten_crop_logits(self.network, _grey(batch.images)), batch.labels)

    def on_validation_epoch_end(self) -> None:
        """What the epoch is chosen by."""
        self.log_dict(self.public_scores.compute())
        self.public_scores.reset()

    def test_step(self, batch: Faces, index: int) -> None:
        """PrivateTest, ten crops."""
        del index
        if len(batch.labels):
            self.private_scores.update(ten_crop_logits(self.network, _grey(batch.images)), batch.labels)

    def on_test_epoch_end(self) -> None:
        """The scores to report."""
        self.log_dict(self.private_scores.compute())

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """SGD, and a learning rate that falls in steps once it was held."""
        recipe = self.recipe
        optimiser = torch.optim.SGD(
            self.network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )

        def factor(epoch: int) -> float:
            return float(recipe.decay ** ((epoch - recipe.hold) // _DECAY_EVERY + 1)) if epoch >= recipe.hold else 1.0

        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": LambdaLR(optimiser, factor), "interval": "epoch"}}


def _grey(images: Tensor) -> Tensor:
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Pretrained:
    """Weights that are on disk.

    Attributes:
        path: the file.
        facts: what stands in it: model, width, classes, data, data_digest, repeated, recipe, epoch, public_accuracy,
            public_macro_f1, private_accuracy, private_macro_f1.
        before: whether it was there already.
    """

    path: Path
    facts: Mapping[str, Any]
    before: bool


def pretrain(options: Pretraining, progress: Callable[[int, int, str], None] = lambda *_: None) -> Pretrained | None:
    """Train, choose, score once, save; goes on where the same command was stopped.

    Args:
        options: data, file, recipe and devices.
        progress: is told steps done, steps in all, and how it stands.

    Returns:
        What was saved; None in the processes of the second and further devices.

    Raises:
        InputError: the data have faults, the Trainer refuses an option, or the file or a stopped training is of other options.
    """
    data = read_fer2013(options.fer2013)
    recipe = Recipe(**{entry.name: getattr(options, entry.name) for entry in dataclasses.fields(Recipe)})
    out = options.out or weights_folder() / FILE
    asked = {"data_digest": data.digest, "recipe": dataclasses.asdict(recipe)}
    if out.exists():
        facts = read_checkpoint(out).meta
        _refuse_other(asked, facts, f"{out}: is there already, ")
        return Pretrained(out, facts, before=True)
    folder = out.with_name(out.name + ".training")
    started = folder / "started.json"
    try:
        if started.exists():
            _refuse_other(asked, json.loads(started.read_text(encoding="utf-8")), f"{folder}: was begun ")
        else:
            write_whole(started, json.dumps(asked, indent=1, sort_keys=True).encode())
    except OSError as error:
        msg = f"--out {out}: {error.strerror} ({folder}); give a file in a folder that can be written"
        raise InputError(msg) from None

    torch.manual_seed(job_seed("initialisation", recipe.seed))
    module, batches = EmotionClassifier(recipe), Fer2013DataModule(data, recipe)
    # The last stands behind the best, so that it knows of it.
    always: dict[str, Any] = {"enable_version_counter": False, "save_on_train_epoch_end": True}
    best = ModelCheckpoint(folder, filename="best", monitor="public_accuracy", mode="max", **always)
    history = _History(folder / "history.csv", progress)
    trainer = _trainer(options, [history, best, ModelCheckpoint(folder, filename="last", **always)])
    last = folder / "last.ckpt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and logging intervals
        try:
            trainer.fit(module, datamodule=batches, ckpt_path=last if last.exists() else None, weights_only=True)
        except SystemExit:
            if trainer.state.status == TrainerStatus.INTERRUPTED:
                raise KeyboardInterrupt from None
            raise
        if not Path(best.best_model_path).is_file():
            msg = f"{folder}: has no best.ckpt; delete the folder and run again"
            raise RunError(msg)
        scores = trainer.test(
            module, datamodule=batches, ckpt_path=best.best_model_path, weights_only=True, verbose=False
        )
    if not trainer.is_global_zero:
        return None
    facts = {
        "model": "vgg19",
        "width": recipe.width,
        "classes": list(EMOTIONS),
        "data": "FER2013",
        "repeated": data.repeated,
        "epoch": int(history.best["epoch"]),
        "public_accuracy": history.best["public_accuracy"],
        "public_macro_f1": history.best["public_macro_f1"],
        **scores[0],
        **asked,
    }
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.network.state_dict().items()}
    write_whole(out, save(state, metadata=provenance((), **facts)))
    for name in ("started.json", "last.ckpt", "best.ckpt"):  # the history stays
        (folder / name).unlink()
    return Pretrained(out, facts, before=False)


def _refuse_other(asked: Mapping[str, Any], there: Mapping[str, Any], what: str) -> None:
    """Do not go on with, or write over, what other data or another recipe made."""
    if all(there.get(key) == value for key, value in asked.items()):
        return
    old = there.get("recipe") or {}
    names = [f"--{name} {old.get(name)}" for name, value in asked["recipe"].items() if old.get(name) != value]
    if there.get("data_digest") != asked["data_digest"]:
        names.append("another fer2013.csv")
    msg = f"{what}with {', '.join(names)}; say the same, delete it, or give another --out"
    raise InputError(msg)


def _trainer(options: Pretraining, callbacks: list[Callback]) -> pl.Trainer:
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pl.Trainer(
                max_epochs=options.epochs,
                accelerator=options.accelerator,
                devices=options.devices,
                precision=options.precision,  # type: ignore[arg-type]  # any text; the Trainer checks it
                callbacks=callbacks,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                use_distributed_sampler=False,
                deterministic=True,
            )
    except Exception as error:  # whatever the Trainer says about a value is the user's to read
        what = f"--accelerator {options.accelerator} --devices {options.devices} --precision {options.precision}"
        msg = f"{what}: Lightning's Trainer refuses it: {' '.join(str(error).split())}"
        raise InputError(msg) from None


class _History(Callback):
    """A row an epoch, which the checkpoints keep and a CSV file shows; tells the progress."""

    def __init__(self, path: Path, progress: Callable[[int, int, str], None]) -> None:
        self.path = path
        self.progress = progress
        self.rows: list[dict[str, float]] = []

    @property
    def best(self) -> dict[str, float]:
        """The row of the epoch that is kept: the first of equals, as ModelCheckpoint has it."""
        return max(self.rows, key=lambda row: row["public_accuracy"])

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        stands = ""
        if self.rows:
            stands = f"PublicTest {self.rows[-1]['public_accuracy']:.3f}, best {self.best['public_accuracy']:.3f}"
        if trainer.is_global_zero:
            self.progress(trainer.global_step, int(trainer.estimated_stepping_batches), stands)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = {"epoch": float(trainer.current_epoch), "learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}
        for name in ("train_loss", "train_accuracy"):
            metric: Any = getattr(pl_module, name)
            row[name] = float(metric.compute())
            metric.reset()
        row |= {name: float(trainer.callback_metrics[name]) for name in ("public_accuracy", "public_macro_f1")}
        self.rows.append(row)
        if trainer.is_global_zero:
            lines = [",".join(row), *(",".join(f"{value:.6g}" for value in values.values()) for values in self.rows)]
            write_whole(self.path, ("\n".join(lines) + "\n").encode())
