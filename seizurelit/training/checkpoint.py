"""Weights on disk: safetensors with the subjects they saw; a fold that holds one of them out cannot load them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from seizurelit.cohort.leak import Guard
from seizurelit.errors import InputError


@dataclass(frozen=True)
class Provenance:
    """What a set of weights is and whom it saw.

    Attributes:
        model: agcn, tcn or agcn_kd.
        sign: the sign it classifies.
        stream: pose or face.
        fold: the fold it was fitted for.
        seed: of initialisation, order, augmentation and dropout.
        subjects_seen: every subject whose data, directly or through a teacher, took part in the fitting.
        classes: names of the sign's classes, in the order of the logits.
        choice: the setting that was chosen on the inner subjects, {} where nothing was chosen.
        run_id: hash of the configuration.
    """

    model: str
    sign: str
    stream: str
    fold: str
    seed: int
    subjects_seen: tuple[str, ...]
    classes: tuple[str, ...]
    choice: dict[str, object]
    run_id: str


def save_weights(path: Path, network: nn.Module, provenance: Provenance) -> None:
    """Write a network's state and its provenance.

    Args:
        path: the .safetensors file.
        network: its parameters and buffers are written.
        provenance: goes into the file's metadata as JSON.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, path, metadata={"seizurelit": json.dumps(vars(provenance), sort_keys=True)})


def read_provenance(path: Path) -> Provenance:
    """Whom the weights of a file saw, without reading the weights.

    Raises:
        InputError: the file is absent, damaged or not ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            fields = json.loads((file.metadata() or {})["seizurelit"])
        fields["subjects_seen"] = tuple(fields["subjects_seen"])
        fields["classes"] = tuple(fields["classes"])
        return Provenance(**fields)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        msg = f"{path}: no weights of this project ({' '.join(str(error).split())}); delete its job's folder and run again"
        raise InputError(msg) from None


def load_weights(path: Path, network: nn.Module, guard: Guard) -> Provenance:
    """Fill a network from a file, unless the file saw a subject that the guard holds out.

    Args:
        path: the .safetensors file.
        network: of the same architecture.
        guard: of the fold that wants the weights.

    Raises:
        SubjectLeakError: the weights saw a held-out subject.
        InputError: the file is absent, damaged or of another architecture.
    """
    provenance = read_provenance(path)
    guard.admit(provenance.subjects_seen, f"{provenance.model} weights {path}")
    try:
        with safe_open(path, framework="pt") as file:
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - not a dict
    except (SafetensorError, RuntimeError) as error:
        msg = f"{path}: does not fit the network ({' '.join(str(error).split())[:200]}); delete its job's folder and run again"
        raise InputError(msg) from None
    return provenance
