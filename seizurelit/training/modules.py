"""The LightningModules: a classifier of seizures, and the student that is distilled from a teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from seizurelit.config import Distillation, Optimiser
from seizurelit.data.fold import Batch
from seizurelit.training.graphs import PRECISIONS, Graphs
from seizurelit.training.losses import cross_entropy, distillation, seizure_logits, weighted_mean
from seizurelit.training.networks import WindowNetwork


class SeizureClassifier(pl.LightningModule):
    """Trains one network on seizures; loss and score are of the mean logit over a seizure's windows.

    Args:
        network: maps a batch to window logits (B, W, K).
        optimiser: how its weights are fitted.
        steps: training steps in all, for the cosine.
        classes: K.
    """

    def __init__(self, network: WindowNetwork, optimiser: Optimiser, *, steps: int, classes: int) -> None:
        super().__init__()
        self.network = network
        self.optimiser = optimiser
        self.steps = steps
        self.last_loss = math.nan
        self.train_loss = MeanMetric()
        self.train_accuracy = MulticlassAccuracy(num_classes=classes, average="micro", validate_args=False)
        self._epoch: list[tuple[Tensor, Tensor, Tensor]] = []  # loss, logits and labels of each step
        self.graphs: Graphs | None = None

    def forward(self, batch: Batch) -> Tensor:
        """The logits (B, K) of the batch's seizures."""
        return seizure_logits(self.network(batch), batch.window_mask)

    def loss(self, batch: Batch, logits: Tensor) -> Tensor:
        """The training loss, a scalar, of (B, K) logits."""
        return cross_entropy(logits, batch.label, batch.weight, self.optimiser.label_smoothing, mean=self.mean)

    def mean(self, values: Tensor, weight: Tensor) -> Tensor:
        """What a batch's loss is of its seizures' (B,)."""
        return weighted_mean(values, weight)

    def passes(self, batch: Batch) -> tuple[Tensor, ...]:
        """The training loss, and the logits (B, K) without gradient."""
        logits = self(batch)
        return self.loss(batch, logits), logits.detach()

    def on_train_start(self) -> None:
        """On a GPU, replay the passes; the loss that a `GradScaler` scales goes the usual way."""
        if self.device.type == "cuda" and self.trainer.precision in PRECISIONS:
            self.graphs = self.captured()

    def captured(self) -> Graphs | None:
        """The passes as CUDA graphs; None where they cannot be captured."""
        return Graphs(self.passes, self)

    def on_train_end(self) -> None:
        """Give the graphs' memory back."""
        self.graphs = None

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """One step; the epoch's mean loss and accuracy go into the history.

        A batch with padding is not replayed: how many of its frames are real decides the shapes inside.
        """
        del index
        passes = self.passes if self.graphs is None or not batch.whole else self.graphs
        loss, logits = passes(batch)
        self._epoch.append((loss.detach(), logits, batch.label))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, once for all of its steps; straight to the logger, as `self.log` takes a short step's time."""
        losses, logits, labels = zip(*self._epoch, strict=True)
        self._epoch = []
        sizes = torch.tensor([len(label) for label in labels], device=labels[0].device)
        self.train_loss.update(torch.stack(losses), sizes)
        self.train_accuracy.update(torch.cat(logits), torch.cat(labels))
        row: dict[str, float] = {
            "epoch": self.current_epoch,
            "train_loss": float(self.train_loss.compute()),
            "train_accuracy": float(self.train_accuracy.compute()),
            "learning_rate": self.trainer.optimizers[0].param_groups[0]["lr"],
        }
        self.train_loss.reset()
        self.train_accuracy.reset()
        self.last_loss = row["train_loss"]
        if self.logger is not None:
            self.logger.log_metrics(row, step=self.global_step - 1)

    def predict_step(self, batch: Batch, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """The seizures' indices (B,), their class scores (B, K), the softmax of the mean logit, and their windows' (B, W, K)."""
        del index
        logits = self.network(batch)
        scores = torch.softmax(seizure_logits(logits, batch.window_mask).float(), dim=-1)
        return batch.seizure, scores, torch.softmax(logits.float(), dim=-1)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimiser, and the cosine that takes its rate to 0 over all steps."""
        choice = self.optimiser
        decayed = [p for p in self.network.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": choice.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        optimiser: Optimizer
        if choice.name == "adamw":
            optimiser = torch.optim.AdamW(groups, lr=choice.lr, fused=True)
        else:
            optimiser = torch.optim.SGD(groups, lr=choice.lr, momentum=0.9, nesterov=True, fused=True)
        cosine = LambdaLR(optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * min(step / max(self.steps, 1), 1))))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}


class DistilledStudent(SeizureClassifier):
    """A keypoint network taught by frozen appearance networks: L = (1-α)·CE + α·T²·KL(teacher ‖ student).

    Teacher and student see the same windows of the same seizures. With cross-fitting there are several teachers, and a seizure
    is taught by the one that did not see its subject.

    Args:
        network: the student.
        teachers: frozen networks of the same fold.
        teacher_of: (S,) index into `teachers` for each seizure of the fold's store.
        settings: α and T.
        optimiser: how the student's weights are fitted.
        steps: training steps in all.
        classes: K.
    """

    teacher_of: Tensor

    def __init__(
        self,
        network: WindowNetwork,
        teachers: Sequence[WindowNetwork],
        teacher_of: Tensor,
        settings: Distillation,
        optimiser: Optimiser,
        *,
        steps: int,
        classes: int,
    ) -> None:
        super().__init__(network, optimiser, steps=steps, classes=classes)
        self.teachers = nn.ModuleList(teachers).requires_grad_(requires_grad=False).eval()  # Lightning keeps each mode
        self.register_buffer("teacher_of", teacher_of, persistent=False)
        self.settings = settings

    def train(self, mode: bool = True) -> DistilledStudent:
        """Training mode is the student's alone; its teachers stay in evaluation mode."""
        super().train(mode)
        self.teachers.eval()
        return self

    @torch.no_grad()
    def teacher_logits(self, batch: Batch) -> Tensor:
        """The logits (B, K) of each seizure's own teacher."""
        chosen = self.teacher_of[batch.seizure]
        every = torch.stack([seizure_logits(teacher(batch), batch.window_mask) for teacher in self.teachers], dim=1)
        return every.gather(1, chosen.view(-1, 1, 1).expand(-1, 1, every.shape[-1])).squeeze(1)

    def loss(self, batch: Batch, logits: Tensor) -> Tensor:
        """(1-α)·CE + α·T²·KL, a scalar."""
        alpha = self.settings.alpha
        hard = super().loss(batch, logits)
        if alpha == 0:
            return hard
        soft = distillation(logits, self.teacher_logits(batch), batch.weight, self.settings.temperature, mean=self.mean)
        return (1 - alpha) * hard + alpha * soft
