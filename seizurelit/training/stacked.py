"""Several folds of a model fitted at once, each to what it would be alone: own weights, statistics, optimiser, random numbers.

One Trainer makes the steps of all; a fold whose epoch has fewer batches than that of the others stands still in the last. What the
folds share is the module, the settings and the device.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.optim import Optimizer

from seizurelit.config import Distillation, Training, as_json
from seizurelit.config import Optimiser as Choice
from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.data.stacked import StackedBatch, StackedFolds
from seizurelit.errors import InputError
from seizurelit.models.stacked import StackedDropout, stack
from seizurelit.scheduling.worker import measure
from seizurelit.training.fit import trainer_for
from seizurelit.training.graphs import PRECISIONS, Graphs
from seizurelit.training.modules import DistilledStudent, SeizureClassifier
from seizurelit.training.networks import WindowNetwork, build_network
from seizurelit.training.resuming import Saving

BETAS, EPS, MOMENTUM = (0.9, 0.999), 1e-8, 0.9


class StackedWindows(WindowNetwork):
    """`WindowNetwork`s of R folds as one.

    Args:
        networks: of one architecture; they stay as they are.
    """

    def __init__(self, networks: Sequence[WindowNetwork]) -> None:
        network, replicas = stack([one.network for one in networks])
        super().__init__(network, networks[0].modality)
        self.replicas = replicas

    def forward(self, batch: Batch) -> Tensor:
        """Window logits (R·B, W, K) of the batch's seizures, fold by fold."""
        self.replicas.fill()
        logits = super().forward(batch)
        self.replicas.empty()
        return logits

    def state(self, replica: int) -> dict[str, Tensor]:
        """What the fold's own `WindowNetwork` loads."""
        return {f"network.{name}": tensor for name, tensor in self.replicas.state(replica).items()}


def _sent(numbers: Tensor, device: torch.device) -> Tensor:
    """Numbers on a device; from memory that stays where it is, or the copy would wait until a GPU has done all its work."""
    return numbers if device.type == "cpu" else numbers.pin_memory().to(device, non_blocking=True)


class StackedOptimiser(Optimizer):
    """AdamW or SGD with Nesterov momentum over (R, P), every replica with its own steps, cosine and bias correction.

    The same updates as torch's, whose own know one number of steps for all of a tensor.

    Args:
        flat: (R, P).
        choice: which, and its rates.
        decayed: (P,) bool, what weight decay is for.
        steps: (R,) training steps in all of each replica, for the cosine.

    Attributes:
        active: (R,) bool, who makes the next step.
    """

    def __init__(self, flat: Tensor, choice: Choice, decayed: Tensor, steps: Sequence[int]) -> None:
        # A list, not a tensor in the state: Lightning would move that to the device.
        super().__init__([flat], {"lr": choice.lr, "made": [0] * len(flat)})
        self.choice = choice
        self.decay = decayed.to(torch.float64) * choice.weight_decay
        self.steps = torch.tensor(steps, dtype=torch.float64)
        self.active = torch.ones(len(flat), dtype=torch.bool)

    def rates(self, made: Tensor) -> Tensor:
        """(R,) float64 learning rates after so many steps (R,)."""
        share = (made / self.steps.clamp(min=1)).clamp(max=1)
        return self.choice.lr * 0.5 * (1 + torch.cos(math.pi * share))

    @property
    def made(self) -> Tensor:
        """(R,) float64: steps that each replica has made."""
        return torch.tensor(self.param_groups[0]["made"], dtype=torch.float64)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the active replicas.

        Args:
            closure: computes loss and gradients.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        (flat,) = self.param_groups[0]["params"]
        if flat.grad is None:
            return loss
        state = self.state[flat]
        if not state:
            for name in ("mean", "square") if self.choice.name == "adamw" else ("momentum",):
                state[name] = torch.zeros_like(flat)
        rates = self.rates(self.made)
        self.param_groups[0]["made"] = (self.made + self.active).long().tolist()
        if self.decay.dtype != flat.dtype or self.decay.device != flat.device:
            self.decay = self.decay.to(flat)
        if self.choice.name == "adamw":
            self._adamw(flat, flat.grad, state, rates)
        else:
            self._sgd(flat, flat.grad, state, rates)
        return loss

    def _columns(self, like: Tensor, *values: Tensor | float) -> list[Tensor]:
        """(R, 1) each: a number of each replica, 0 for those that stand still; on the device by one copy."""
        every = torch.stack(
            [torch.where(self.active, torch.as_tensor(value, dtype=torch.float64), 0.0) for value in values]
        )
        return list(_sent(every.unsqueeze(2).to(like.dtype), like.device))

    def _adamw(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], rates: Tensor) -> None:
        """Loshchilov and Hutter (2019), algorithm 2."""
        made = self.made.clamp(min=1)
        bias, unbiased = (1 - BETAS[1] ** made).sqrt(), rates / (1 - BETAS[0] ** made)
        columns = self._columns(flat, rates, 1 - BETAS[0], 1 - BETAS[1], unbiased, bias)
        rate, by_mean, by_square, step, divisor = columns
        flat.sub_(flat * self.decay * rate)
        state["mean"].lerp_(gradient, by_mean)
        state["square"].lerp_(gradient.square(), by_square)
        spread = (state["square"].sqrt() / divisor.where(divisor > 0, 1)).add_(EPS)  # not by 0 where nobody steps
        flat.sub_(state["mean"] / spread * step)

    def _sgd(self, flat: Tensor, gradient: Tensor, state: dict[str, Tensor], rates: Tensor) -> None:
        """Nesterov's momentum as torch has it, weight decay as L2."""
        gradient = gradient + flat * self.decay
        moved = state["momentum"] * MOMENTUM + gradient
        active, rate = self._columns(flat, 1.0, rates)
        state["momentum"].lerp_(moved, active)
        flat.sub_((gradient + MOMENTUM * moved) * rate)


class _Stacked(SeizureClassifier):
    """What a stacked module does otherwise than one of a single network.

    `begin` is called once after construction.
    """

    network: StackedWindows
    sizes: Tensor

    def begin(
        self,
        folds: Sequence[FoldDataModule],
        epochs: int,
        generators: Sequence[torch.Generator],
        curves: list[CSVLogger],
    ) -> None:
        """Take what belongs to each replica.

        Args:
            folds: of the replicas.
            epochs: of the fitting.
            generators: of each replica's dropout.
            curves: of each replica; none keeps none.
        """
        self.per_epoch = tuple(fold.steps_per_epoch for fold in folds)
        self.counts = (0,) * len(folds)
        self.epochs = epochs
        self.network.replicas.group.generators = list(generators)
        self.curves = curves
        self.rows: list[list[dict[str, float]]] = [[] for _ in folds]
        self.sums: Tensor | None = None
        self.register_buffer("sizes", torch.zeros(len(folds), dtype=torch.long), persistent=False)
        self.dropouts = [one for one in self.network.modules() if isinstance(one, StackedDropout) and one.p > 0]

    def mean(self, values: Tensor, weight: Tensor) -> Tensor:
        """(R,): the loss of each replica, over its own seizures alone."""
        losses: Tensor = (values * weight).view(len(self.counts), -1).sum(1) / self.sizes.clamp(min=1)
        return losses

    def passes(self, batch: Batch) -> tuple[Tensor, ...]:
        """The sum of the replicas' losses, whose gradients do not meet; (3, R) losses times seizures, right answers, seizures."""
        logits = self(batch)
        losses = self.loss(batch, logits)
        with torch.no_grad():
            real = batch.window_mask.any(1)
            right = ((logits.argmax(1) == batch.label) & real).view(len(losses), -1).sum(1)
            sums = torch.stack([losses.double() * self.sizes, right.double(), self.sizes.double()])
        return losses.sum(), sums

    def captured(self) -> Graphs | None:
        """The passes as CUDA graphs, unless they draw a dropout by the device's own generator."""
        if not all(layer.by_channel for layer in self.dropouts):
            return None
        return Graphs(self.passes, self, self.network.replicas.group.generators)

    def training_step(self, batch: StackedBatch, index: int) -> Tensor:  # type: ignore[override]
        """A step of every replica that has a batch."""
        del index
        rows, self.counts = batch
        W = rows.window_mask.shape[1]
        self.network.replicas.group.windows = tuple(count * W for count in self.counts)
        self.sizes.copy_(_sent(torch.tensor(self.counts), self.device))
        # What a dropout draws depends on how many windows each replica has.
        kind = self.counts if self.dropouts else None
        loss, sums = self.passes(rows) if self.graphs is None else self.graphs(rows, kind)
        self.sums = sums if self.sums is None else self.sums + sums
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Who has no batch makes no step."""
        assert isinstance(optimizer, StackedOptimiser)
        optimizer.active = torch.tensor([count > 0 for count in self.counts])

    def on_train_epoch_end(self) -> None:
        """Note each replica's curves, as its own module would have them."""
        assert self.sums is not None
        losses, right, sizes = self.sums.cpu()
        self.sums = None
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, StackedOptimiser)
        figures = zip(losses / sizes, right / sizes, optimiser.rates(optimiser.made), optimiser.made, strict=True)
        for rows, (loss, accuracy, rate, made) in zip(self.rows, figures, strict=True):
            rows.append(
                {
                    "train_loss": float(loss),
                    "train_accuracy": float(accuracy),
                    "learning_rate": float(rate),
                    "epoch": self.current_epoch,
                    "step": int(made) - 1,
                }
            )

    def configure_optimizers(self) -> Any:
        """One for all, which has the cosines in it."""
        replicas = self.network.replicas
        steps = [count * self.epochs for count in self.per_epoch]
        return StackedOptimiser(replicas.flat, self.optimiser, replicas.matrices(), steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep random numbers and curves with the rest."""
        random = [generator.get_state() for generator in self.network.replicas.group.generators]
        checkpoint["replicas"] = {"random": random, "rows": self.rows}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them up again."""
        for generator, state in zip(
            self.network.replicas.group.generators, checkpoint["replicas"]["random"], strict=True
        ):
            generator.set_state(state.cpu())
        self.rows = [list(rows) for rows in checkpoint["replicas"]["rows"]]

    def write_curves(self) -> None:
        """As each replica's own logger would have written them."""
        for logger, rows in zip(self.curves, self.rows, strict=False):
            for row in rows:
                logger.log_metrics({name: value for name, value in row.items() if name != "step"}, int(row["step"]))
            logger.save()


class StackedClassifier(_Stacked):
    """`SeizureClassifier`s of R folds."""


class StackedStudent(_Stacked, DistilledStudent):
    """`DistilledStudent`s of R folds, each with its own fold's teacher."""


def fit_stacked(
    model: str,
    folds: Sequence[FoldDataModule],
    training: Training,
    *,
    seeds: Sequence[int],
    device: str,
    histories: Sequence[Path] = (),
    teachers: Sequence[WindowNetwork] = (),
    checkpoint: Path | None = None,
) -> tuple[SeizureClassifier, ...]:
    """Fit a model on the training subjects of several folds at once.

    Args:
        model: agcn, tcn or agcn_kd.
        folds: R of them.
        training: all settings.
        seeds: of each fold's initialisation, dropout, order and augmentation.
        device: cpu or gpu.
        histories: a folder for each fold's curves (metrics.csv); none keeps none.
        teachers: for agcn_kd, each fold's frozen network.
        checkpoint: folder of this fitting's states, of which it goes on from the last; None keeps none.

    Returns:
        A module of each fold, as `fit` gives it, on the CPU.
    """
    torch.set_num_threads(training.threads)
    networks, generators = [], []
    for fold, seed in zip(folds, seeds, strict=True):
        pl.seed_everything(seed, workers=False, verbose=False)
        networks.append(build_network(model, training, fold))
        generator = torch.Generator("cpu" if device == "cpu" else "cuda")
        generator.manual_seed(seed)
        if device == "cpu":  # the draws of the initialisation come first
            generator.set_state(torch.get_rng_state())
        generators.append(generator)
    data, epochs, classes = StackedFolds(folds), training.optimiser.epochs, folds[0].classes
    common: dict[str, Any] = {"steps": epochs * data.steps_per_epoch, "classes": classes}
    module: _Stacked
    if teachers:
        everyone = torch.zeros(max(len(fold.store.seizures) for fold in folds), dtype=torch.long)
        taught: tuple[StackedWindows, ...] = (StackedWindows(teachers),)
        settings: Distillation = training.distillation
        module = StackedStudent(StackedWindows(networks), taught, everyone, settings, training.optimiser, **common)
    else:
        module = StackedClassifier(StackedWindows(networks), training.optimiser, **common)
    curves = [CSVLogger(path, name="", version="", flush_logs_every_n_steps=1_000_000) for path in histories]
    module.begin(folds, epochs, generators, curves)
    who = " ".join(f"{fold.fold.name} {seed} {fold.steps_per_epoch}" for fold, seed in zip(folds, seeds, strict=True))
    saving = Saving(checkpoint, f"stacked {model} {who} {as_json(training)}") if checkpoint is not None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and logging intervals
        if saving is not None and saving.ended:
            saving.take_ended(module, None)
        else:
            trainer = trainer_for(training, epochs=epochs, device=device, logger=False, saving=saving)
            before = saving.path if saving is not None else None
            trainer.fit(module, datamodule=data, ckpt_path=before, weights_only=True if before else None)
            made = (trainer.global_step - (saving.steps if saving is not None else 0)) // data.steps_per_epoch
            measure("training_steps", made * sum(module.per_epoch))
    module.write_curves()
    fitted = []
    for index, network in enumerate(networks):
        network.to(module.network.replicas.flat.dtype).load_state_dict(module.network.state(index))
        one = SeizureClassifier(network, training.optimiser, steps=epochs * module.per_epoch[index], classes=classes)
        one.last_loss = module.rows[index][-1]["train_loss"]
        fitted.append(one)
    return tuple(fitted)


def check_stacking(training: Training) -> None:
    """Refuse what folds cannot do together, before any job.

    Raises:
        InputError: a line for each.
    """
    if training.stack == 1:
        return
    reasons = {
        "--grid": bool(training.grid),
        "--threshold inner": training.threshold == "inner",
        "--distillation.cross_fitted": training.distillation.cross_fitted,
        "--tcn.by_condition": training.tcn.by_condition,
        "--tcn.input_norm": training.tcn.input_norm,
        f"--trainer {training.trainer}": bool(training.trainer),
        f"--precision {training.precision}": training.precision not in PRECISIONS,
    }
    faults = [
        f"--stack {training.stack}: {name} is for folds trained one by one; leave one of the two out"
        for name, given in reasons.items()
        if given
    ]
    if faults:
        raise InputError(*faults)
