"""What can be chosen: frozen dataclasses for every front door.

A default without a source in the paper is ours and stands in METHOD order: windows, inputs, augmentation, networks, distillation,
optimiser. The resolved `Training` is saved with a run; its hash, together with those of the cohort and the cache, is the run's id.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from seizurelit.errors import InputError

Stream = Literal["pose", "face"]
Model = Literal["agcn", "tcn", "agcn_kd"]
Preset = Literal["fast", "paper"]

STREAMS: tuple[str, ...] = ("pose", "face")
MODELS: tuple[str, ...] = ("agcn", "tcn", "agcn_kd")
OWN_SIGN = {"pose": "dystonia", "face": "emotion"}

RESEARCH_USE = (
    "Research use only. Not a medical device; not for diagnosis, lateralisation or surgical decisions. "
    "Trained on trimmed hyperkinetic seizures."
)


@dataclass(frozen=True)
class Windows:
    """The clips that a network sees; the loss and the score are of a seizure's mean logit over its windows.

    Attributes:
        frames: length of a window, in frames of the network's input (after `step`).
        per_seizure: windows drawn at random from a seizure for each training step.
        stride: distance between the starts of the windows that are scored, in frames of the network's input.
        step: every how many frames of the stream the network sees one; 1 keeps the stream's own rate.
        phases: with a step above 1, how many of its phases are scored (training draws from all of them); windows that start one
            frame later see other frames, and the score is of all of them.
    """

    frames: int = 300
    per_seizure: int = 4
    stride: int = 150
    step: int = 1
    phases: int = 1


@dataclass(frozen=True)
class Inputs:
    """What of the keypoints the network is given.

    Attributes:
        features: any of joint, bone (child minus parent), motion (next frame minus this one) and displacement (joint minus its
            mean over the window, which takes a person's own posture away), stacked as channels.
        confidence: append the confidence as a channel; where it is 0 the joint is missing and its coordinates are 0.
        root: none leaves the root where it is; velocity appends its velocity, in unit lengths a second, to every joint;
            path lets the root joint carry its path from the start of the clip, which centring has taken away.
        proportions: own keeps the body's; standard gives every bone the length that the skeleton file states and leaves its
            direction, which takes away a person's proportions and errors along the bones (3D skeletons with lengths only).
        side: mirror each clip so that the right side is the one that moves more; for movements of either side.
        facing: turn each clip about the vertical axis until its median shoulder or hip line lies along x (3D skeletons only).
        dimensions: 3 keeps what the skeleton has; 2 takes the depth of 3D keypoints away, so that they are seen from the front.
        without: joints that are taken as missing everywhere, such as those that a tracker finds badly.
        condition: column of the cohort that every model is told, as constant one-hot channels (an exercise, a camera).
    """

    features: tuple[Literal["joint", "bone", "motion", "displacement"], ...] = ("joint",)
    confidence: bool = True
    root: Literal["none", "velocity", "path"] = "none"
    proportions: Literal["own", "standard"] = "own"
    side: bool = False
    facing: bool = False
    dimensions: Literal[3, 2] = 3
    without: tuple[str, ...] = ()
    condition: str | None = None


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training window; a draw is shared by all frames of the window.

    Attributes:
        flip: probability of a left/right flip with its joints swapped.
        rotation: largest angle in radians, uniform, about the vertical axis (3D) or in the plane (2D).
        scale: largest relative change of size, uniform.
        speed: largest relative change of speed, uniform; 0 keeps the clock.
        noise: standard deviation of independent noise a coordinate, in unit lengths.
        joint_dropout: probability that a joint is missing throughout the window.
        feature_dropout: probability that a channel of the appearance features is 0 throughout the window.
    """

    flip: float = 0.5
    rotation: float = 0.3
    scale: float = 0.1
    speed: float = 0.0
    noise: float = 0.0
    joint_dropout: float = 0.05
    feature_dropout: float = 0.0


@dataclass(frozen=True)
class Agcn:
    """The adaptive graph convolutional network (Shi et al., CVPR 2019).

    Attributes:
        variant: ten_block is the published 2s-AGCN stream; small has four blocks, for few videos and for two cores.
        adaptive: learn the adjacency (A+B+C); false keeps the fixed graph A, the GCN that the paper contrasts it with.
        dropout: before the classifier.
    """

    variant: Literal["ten_block", "small"] = "ten_block"
    adaptive: bool = True
    dropout: float = 0.0


@dataclass(frozen=True)
class Tcn:
    """The temporal convolutional network (Bai et al., 2018), not causal.

    Attributes:
        input: appearance features, or the stream's keypoints for cohorts without any appearance.
        channels: width of every level.
        levels: residual blocks, with dilations 1, 2, 4, …; 0 pools the input itself, without any convolution.
        kernel: frames a convolution sees.
        dropout: after every convolution.
        input_norm: batch normalisation of the input, for features or channels of unlike scales.
        pool: over a window's frames, the mean, or the mean beside the standard deviation or the maximum of each channel.
        by_condition: with inputs.condition, normalise the pooled features for each condition by itself, and classify them by a
            shared layer and a classifier of each condition.
    """

    input: Literal["appearance", "keypoints"] = "appearance"
    channels: int = 64
    levels: int = 6
    kernel: int = 3
    dropout: float = 0.2
    input_norm: bool = False
    pool: Literal["mean", "mean_std", "mean_max"] = "mean"
    by_condition: bool = False


@dataclass(frozen=True)
class Distillation:
    """L = (1-alpha)·CE + alpha·T²·KL(teacher ‖ student) on the seizures' logits (Hinton et al., 2015).

    Attributes:
        alpha: weight of the teacher; 0 is the control without one.
        temperature: T.
        cross_fitted: take a training subject's teacher logits from a TCN that did not see that subject.
        groups: groups of subjects for cross-fitting.
    """

    alpha: float = 0.5
    temperature: float = 4.0
    cross_fitted: bool = False
    groups: int = 3


@dataclass(frozen=True)
class Optimiser:
    """How the weights are fitted; the number of epochs is fixed, nothing is chosen on a held-out subject.

    Attributes:
        name: adamw, or sgd with Nesterov momentum 0.9 as in 2s-AGCN.
        lr: highest learning rate; a cosine takes it to 0.
        weight_decay: decoupled for adamw, L2 for sgd.
        epochs: passes over the fold's training seizures.
        batch: seizures a step.
        label_smoothing: of the cross-entropy.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    epochs: int = 50
    batch: int = 8
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class Training:
    """All that decides the bits of a trained fold, apart from the data and the seed.

    Attributes:
        windows: the clips.
        inputs: the channels.
        augmentation: the random changes.
        agcn: the keypoint network.
        tcn: the appearance network.
        distillation: from tcn to agcn_kd.
        optimiser: how they are fitted.
        balance: weigh the loss so that both classes, and the subjects within a class, count alike.
        threshold: half is 0.5; inner is chosen for balanced accuracy on the fold's inner validation subjects.
        precision: Lightning's name, such as 32-true or bf16-mixed.
        deterministic: refuse kernels that give other bits each time, as some of CUDA's do; without, a table is not repeatable.
        threads: CPU threads a job.
        stack: folds of a model and seed that are trained together on one device, each to what it would be alone but for rounding;
            1 trains them one by one, 0 all at once. For GPUs: on a CPU the AGCN gains nothing by it.
        trainer: further arguments of Lightning's Trainer, as --trainer.NAME VALUE.
        grid: settings to choose from on each fold's inner validation subjects, such as [{optimiser.lr: [0.001, 0.003],
            agcn.dropout: [0, 0.2]}]: of every mapping all combinations of its values; a model chooses among those that it knows.
        tune: how many of the grid's settings each fold tries, proposed by Optuna one after the other; 0 tries all of them.
    """

    windows: Windows = field(default_factory=Windows)
    inputs: Inputs = field(default_factory=Inputs)
    augmentation: Augmentation = field(default_factory=Augmentation)
    agcn: Agcn = field(default_factory=Agcn)
    tcn: Tcn = field(default_factory=Tcn)
    distillation: Distillation = field(default_factory=Distillation)
    optimiser: Optimiser = field(default_factory=Optimiser)
    balance: bool = True
    threshold: Literal["half", "inner"] = "half"
    precision: str = "32-true"
    deterministic: bool = True
    threads: int = 1
    stack: int = 1
    trainer: dict[str, Any] = field(default_factory=dict)
    grid: list[dict[str, Any]] = field(default_factory=list)
    tune: int = 0


def with_overrides(training: Training, overrides: Mapping[str, Any]) -> Training:
    """The settings with some replaced.

    Args:
        training: the settings.
        overrides: dotted names to values, such as {"optimiser.lr": 0.003}.

    Raises:
        InputError: a name that no setting has, or a value of another type; all of them, a line each.
    """
    faults = []
    replaced: Any = dataclasses.replace
    for name, value in overrides.items():
        group, _, leaf = name.rpartition(".")
        target: Any = getattr(training, group, None) if group else training
        if not dataclasses.is_dataclass(target) or leaf not in {entry.name for entry in dataclasses.fields(target)}:
            faults.append(f"{name}: no such setting; see --help for their names")
            continue
        old = getattr(target, leaf)
        new = tuple(value) if isinstance(old, tuple) and isinstance(value, list) else value
        if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
            new = float(new)
        if old is not None and (not isinstance(new, type(old)) or isinstance(new, bool) != isinstance(old, bool)):
            faults.append(f"{name}: {value!r} is not of the kind of {old!r}")
            continue
        hint = get_type_hints(type(target))[leaf]
        if get_origin(hint) is Literal and new not in get_args(hint):
            faults.append(f"{name}: {value!r} is none of {', '.join(map(repr, get_args(hint)))}")
            continue
        changed = replaced(target, **{leaf: new})
        training = dataclasses.replace(training, **{group: changed}) if group else changed
    if faults:
        raise InputError(*faults)
    return training


# What decides how a run is done, and not what a fold may choose.
_NOT_CHOSEN = {"precision", "threads", "stack", "trainer", "grid", "tune", "tcn.input", "inputs.condition"}
_NOT_CHOSEN |= {"distillation.cross_fitted", "distillation.groups"}


def candidates(training: Training, model: str) -> tuple[dict[str, Any], ...]:
    """The settings of the grid that a model can tell apart, in the order declared; one without any override if there is no grid.

    A distilled student sees its teacher's windows (and its inputs, if the teacher reads keypoints): they are not its own to choose.

    Args:
        training: its `grid` is read, and what decides who reads what.
        model: agcn, tcn or agcn_kd.
    """
    found: list[dict[str, Any]] = []
    for entry in training.grid:
        known = [name for name in entry if _knows(training, model, name)]
        values = [_alternatives(training, name, entry[name]) for name in known]
        for combination in itertools.product(*values):
            setting = dict(zip(known, combination, strict=True))
            if setting not in found:
                found.append(setting)
    return tuple(found) or ({},)


def teaches(training: Training) -> bool:
    """Whether agcn_kd has a teacher, in some of the settings that it can choose."""
    weights = [training.distillation.alpha]
    for entry in training.grid:
        weights += _alternatives(training, "distillation.alpha", entry.get("distillation.alpha", 0.0))
    return any(isinstance(weight, (int, float)) and weight > 0 for weight in weights)


def taught_settings(training: Training) -> tuple[str, ...]:
    """Prefixes of the settings that a student has from its teacher."""
    if not teaches(training):
        return ()
    return ("windows.", "inputs.") if training.tcn.input == "keypoints" else ("windows.",)


def _knows(training: Training, model: str, name: str) -> bool:
    """Whether a setting makes a difference to a model that it may choose by."""
    if name.startswith("agcn."):
        return model != "tcn"
    if name.startswith("tcn."):
        return model == "tcn"
    if name.startswith("distillation."):
        return model == "agcn_kd"
    if model == "agcn_kd" and name.startswith(taught_settings(training)):
        return False
    return not (name.startswith("inputs.") and model == "tcn" and training.tcn.input == "appearance")


def _alternatives(training: Training, name: str, value: Any) -> list[Any]:
    """The values that a grid gives a setting: those of a list, unless the setting is a list itself."""
    group, _, leaf = name.rpartition(".")
    is_list = isinstance(getattr(getattr(training, group, None) if group else training, leaf, None), tuple)
    if not isinstance(value, list) or (is_list and not all(isinstance(item, list) for item in value)):
        return [value]
    return value


def check_grid(training: Training) -> None:
    """Refuse a grid with a setting that does not exist, cannot be chosen, or is out of range in some combination.

    Raises:
        InputError: a line for each.
    """
    faults = []
    if training.tune < 0:
        faults.append(f"--tune {training.tune}: give 0 or more")
    if training.tune and not training.grid:
        faults.append(
            f"--tune {training.tune}: there is no grid to choose from; give --grid, or --config experiments/tune.yaml"
        )
    for entry in training.grid:
        for name, value in entry.items():
            if name in _NOT_CHOSEN:
                faults.append(f"--grid: {name} cannot be chosen by a fold; give it for the whole run")
                continue
            values = _alternatives(training, name, value)
            if not values:
                faults.append(f"--grid: {name} has no value")
            for one in values:
                try:
                    with_overrides(training, {name: one})
                except InputError as error:
                    faults += [f"--grid: {fault}" for fault in error.faults]
    if not faults:
        for setting in dict.fromkeys(json.dumps(one) for model in MODELS for one in candidates(training, model)):
            try:
                check(with_overrides(training, json.loads(setting)))
            except InputError as error:
                faults += [f"--grid, {setting}: {fault}" for fault in error.faults]
    if faults:
        raise InputError(*dict.fromkeys(faults))


def check(training: Training) -> None:
    """Refuse settings out of range, before any job.

    Raises:
        InputError: a line for each.
    """
    t = training
    rules = {
        "windows.frames": (t.windows.frames, t.windows.frames >= 1, "1 or more"),
        "windows.per_seizure": (t.windows.per_seizure, t.windows.per_seizure >= 1, "1 or more"),
        "windows.stride": (t.windows.stride, 1 <= t.windows.stride <= t.windows.frames, "1 to windows.frames"),
        "windows.step": (t.windows.step, t.windows.step >= 1, "1 or more"),
        "windows.phases": (t.windows.phases, 1 <= t.windows.phases <= t.windows.step, "1 to windows.step"),
        "inputs.features": (t.inputs.features, len(set(t.inputs.features)) == len(t.inputs.features) > 0, "each once"),
        "augmentation.flip": (t.augmentation.flip, 0 <= t.augmentation.flip <= 1, "0 to 1"),
        "augmentation.rotation": (t.augmentation.rotation, t.augmentation.rotation >= 0, "0 or more"),
        "augmentation.scale": (t.augmentation.scale, 0 <= t.augmentation.scale < 1, "0 to below 1"),
        "augmentation.speed": (t.augmentation.speed, 0 <= t.augmentation.speed < 1, "0 to below 1"),
        "augmentation.noise": (t.augmentation.noise, t.augmentation.noise >= 0, "0 or more"),
        "augmentation.joint_dropout": (
            t.augmentation.joint_dropout,
            0 <= t.augmentation.joint_dropout < 1,
            "0 to below 1",
        ),
        "augmentation.feature_dropout": (
            t.augmentation.feature_dropout,
            0 <= t.augmentation.feature_dropout < 1,
            "0 to below 1",
        ),
        "agcn.dropout": (t.agcn.dropout, 0 <= t.agcn.dropout < 1, "0 to below 1"),
        "tcn.channels": (t.tcn.channels, t.tcn.channels >= 1, "1 or more"),
        "tcn.levels": (t.tcn.levels, t.tcn.levels >= 0, "0 or more"),
        "tcn.by_condition": (
            t.tcn.by_condition,
            not t.tcn.by_condition or t.inputs.condition,
            "--inputs.condition as well",
        ),
        "tcn.kernel": (t.tcn.kernel, t.tcn.kernel >= 1 and t.tcn.kernel % 2 == 1, "an odd number"),
        "tcn.dropout": (t.tcn.dropout, 0 <= t.tcn.dropout < 1, "0 to below 1"),
        "distillation.alpha": (t.distillation.alpha, 0 <= t.distillation.alpha <= 1, "0 to 1"),
        "distillation.temperature": (t.distillation.temperature, t.distillation.temperature > 0, "above 0"),
        "distillation.groups": (t.distillation.groups, t.distillation.groups >= 2, "2 or more"),
        "optimiser.lr": (t.optimiser.lr, t.optimiser.lr > 0, "above 0"),
        "optimiser.weight_decay": (t.optimiser.weight_decay, t.optimiser.weight_decay >= 0, "0 or more"),
        "optimiser.epochs": (t.optimiser.epochs, t.optimiser.epochs >= 1, "1 or more"),
        "optimiser.batch": (t.optimiser.batch, t.optimiser.batch >= 1, "1 or more"),
        "optimiser.label_smoothing": (
            t.optimiser.label_smoothing,
            0 <= t.optimiser.label_smoothing < 1,
            "0 to below 1",
        ),
        "threads": (t.threads, t.threads >= 1, "1 or more"),
        "stack": (t.stack, t.stack >= 0, "0 or more"),
    }
    faults = [f"--{name} {value}: give {wanted}" for name, (value, good, wanted) in rules.items() if not good]
    if faults:
        raise InputError(*faults)


def training_from_json(fields: Mapping[str, Any]) -> Training:
    """The settings that `dataclasses.asdict` and JSON made a mapping of."""
    ready = dict(fields)
    kinds: dict[str, Any] = get_type_hints(Training)
    for name, kind in kinds.items():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            group = {key: tuple(item) if isinstance(item, list) else item for key, item in fields[name].items()}
            ready[name] = kind(**group)
    return Training(**ready)


def as_json(config: object) -> str:
    """One canonical JSON text of a configuration dataclass: sorted keys, no spaces."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        msg = f"not a configuration: {config!r}"
        raise TypeError(msg)
    return json.dumps(dataclasses.asdict(config), sort_keys=True, separators=(",", ":"))


def digest(*texts: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the texts, joined by newlines."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
