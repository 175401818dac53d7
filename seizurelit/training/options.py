"""What can be chosen of the pretraining on FER2013; imports nothing heavy, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seizurelit.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights, apart from the data: the recipe that is common for FER2013.

    Attributes:
        epochs: passes over Training; the one whose weights score best on PublicTest is kept.
        batch: images a step, over all devices together.
        lr: learning rate of SGD.
        hold: epochs before the learning rate falls.
        decay: what it is multiplied with every 5 epochs after that.
        momentum: of SGD.
        weight_decay: L2.
        dropout: before the classifier.
        width: channels of the first convolution; 64 is VGG-19, fewer are for a machine without a GPU.
        seed: of initialisation, order, crops and dropout.
        precision: Lightning's name, such as 32-true or bf16-mixed.
    """

    epochs: int = 250
    batch: int = 128
    lr: float = 0.01
    hold: int = 80
    decay: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    width: int = 64
    seed: int = 0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            InputError: a line for each option.
        """
        rules = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch": (self.batch >= 2, "2 or more"),
            "lr": (self.lr > 0, "above 0"),
            "hold": (self.hold >= 0, "0 or more"),
            "decay": (0 < self.decay <= 1, "above 0, up to 1"),
            "momentum": (0 <= self.momentum < 1, "0 to below 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "dropout": (0 <= self.dropout < 1, "0 to below 1"),
            "width": (self.width >= 1, "1 or more"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        faults = [
            f"--{name} {getattr(self, name)}: give {wanted}" for name, (good, wanted) in rules.items() if not good
        ]
        if faults:
            raise InputError(*faults)


@dataclass(frozen=True, kw_only=True)
class Pretraining(Recipe):
    """The data, where the weights go, and on what they are trained.

    Attributes:
        fer2013: fer2013.csv, with the columns emotion, pixels and Usage.
        out: file of the weights; by default where extract looks for them. What a stopped training goes on from stands
            beside it, in a folder of the same name and .training.
        accelerator: auto takes a GPU if there is one.
        devices: how many of them.
    """

    fer2013: Path
    out: Path | None = None
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        """As `Recipe`, and the file's kind.

        Raises:
            InputError: a line for each option.
        """
        super().__post_init__()
        if self.out is not None and self.out.suffix != ".safetensors":
            msg = f"--out {self.out}: give a file whose name ends with .safetensors"
            raise InputError(msg)
