"""Weights from elsewhere: found or asked for by name, read without running what is in them, fitted to their network or refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from seizurelit.errors import InputError
from seizurelit.extraction.backend import Weights

_KEY = "seizurelit"
"""Of our own part of a safetensors file's metadata; see `provenance`."""
_STATES = ("state_dict", "model_state_dict", "model")
"""Under which a checkpoint keeps the tensors, where it has more than those."""


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that was read.

    Attributes:
        path: the file.
        state: name → tensor.
        meta: plain values that the file has beside them; mmengine's `meta`, or our own from safetensors metadata.
        weights: for the metadata of what is made with them.
    """

    path: Path
    state: Mapping[str, Tensor]
    meta: Mapping[str, Any]
    weights: Weights


def weights_folder() -> Path:
    """Where weights are looked for if nothing is said: $SEIZURELIT_WEIGHTS, else ~/.cache/seizurelit/weights."""
    given = os.environ.get("SEIZURELIT_WEIGHTS")
    return Path(given) if given else Path.home() / ".cache" / "seizurelit" / "weights"


def find_weights(what: str, path: Path | None, folder: Path | None, file: str, source: str) -> Path:
    """The file of a model's weights; nothing is ever downloaded.

    Args:
        what: the model, for the message.
        path: given by the user; None to look for `file` in `folder`.
        folder: None for `weights_folder()`.
        file: name under which the publisher has it.
        source: where it can be had, for the message.

    Raises:
        InputError: there is no such file; says which one, from where, and where it goes.
    """
    wanted = path or (folder or weights_folder()) / file
    if wanted.is_file():
        return wanted
    why = "is a folder" if wanted.is_dir() else "no such file"
    place = "there" if path is None else f"there, or {file} into {folder or weights_folder()}"
    msg = f"{wanted}: {why}; {what} needs its weights: put {source} {place} (nothing is downloaded by itself)"
    raise InputError(msg)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read safetensors, or a torch checkpoint as nothing but tensors, plain values and numpy arrays.

    A pickle that would call anything else (`torch.load(weights_only=True)`) is refused before it runs.

    Raises:
        InputError: the file is absent, damaged, no checkpoint, or holds code.
    """
    if not path.is_file():
        msg = f"{path}: no such file; give a file of weights"
        raise InputError(msg)
    digest = _sha256(path)
    if path.suffix == ".safetensors":
        state, meta, subjects = _read_safetensors(path)
    else:
        state, meta = _read_torch(path)
        subjects = ()
    seen = tuple(sorted({*subjects, *_side_car(path)}))
    return Checkpoint(path, state, meta, Weights(path.name, digest, seen))


def provenance(subjects_seen: tuple[str, ...], **facts: Any) -> dict[str, str]:
    """Metadata for `safetensors.torch.save_file` that `read_checkpoint` gives back as `weights.subjects_seen` and `meta`."""
    return {_KEY: json.dumps({"subjects_seen": sorted(subjects_seen), **facts}, sort_keys=True)}


def fill(network: nn.Module, checkpoint: Checkpoint, what: str) -> None:
    """Copy a checkpoint's tensors into a network; what the file has beyond the network's own is left.

    Args:
        network: of the architecture that the checkpoint was made with.
        checkpoint: as read.
        what: the network, for the message.

    Raises:
        InputError: the file lacks a tensor of the network, or has it in another shape: it is another model's.
    """
    own = network.state_dict()
    # `module.` is what a checkpoint of DataParallel has before each name.
    state = {name.removeprefix("module."): tensor for name, tensor in checkpoint.state.items()}
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    differing = [name for name in own if name in state and state[name].shape != own[name].shape]
    if missing or differing:
        first = f"no {missing[0]}" if missing else _shapes(differing[0], state, own)
        count = len(missing) + len(differing)
        msg = (
            f"{checkpoint.path}: these are not the weights of {what}: {count} of its {len(own)} tensors are missing or of "
            f"another shape ({first}); give the file that belongs to it, or the configuration that belongs to the file"
        )
        raise InputError(msg)
    network.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)


def _shapes(name: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _side_car(path: Path) -> tuple[str, ...]:
    """Subjects from FILE.json beside a file of weights; a side-car that cannot be read is no reason to trust the weights."""
    side_car = path.with_name(path.name + ".json")
    if not side_car.exists():
        return ()
    try:
        return _subjects(json.loads(side_car.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = (
            f'{side_car}: does not say {{"subjects_seen": [names]}} ({_one_line(error)}); correct it, or delete it if the '
            "weights are from outside the cohort"
        )
        raise InputError(msg) from None


def _subjects(value: Any) -> tuple[str, ...]:
    names = value["subjects_seen"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        msg = f"subjects_seen is {names!r}"
        raise TypeError(msg)
    return tuple(names)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], tuple[str, ...]]:
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            subjects = _subjects(meta) if "subjects_seen" in meta else ()
            return {name: file.get_tensor(name) for name in file.keys()}, meta, subjects  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        msg = f"{path}: no safetensors file, or a damaged one ({_one_line(error)}); get it again"
        raise InputError(msg) from None


def _read_torch(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with _plain_numpy(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the protocol of a foreign pickle
            value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            msg = (
                f"{path}: no checkpoint of torch but another pickle, which could run anything; it was not loaded; get the "
                "weights from their publisher"
            )
        else:
            msg = (
                f"{path}: holds more than weights: a call of {found[1]}; it was not loaded, as that could run anything; "
                "get it from its publisher, or save the state_dict alone where the file was made"
            )
        raise InputError(msg) from None
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        AssertionError,
        struct.error,
    ) as error:
        msg = f"{path}: no checkpoint of torch, or a damaged one ({_one_line(error)}); get it again"
        raise InputError(msg) from None
    meta: dict[str, Any] = {}
    if isinstance(value, dict):
        meta = value["meta"] if isinstance(value.get("meta"), dict) else {}
        value = next((value[key] for key in _STATES if isinstance(value.get(key), Mapping)), value)
    state = (
        {str(name): item for name, item in value.items() if isinstance(item, torch.Tensor)}
        if isinstance(value, Mapping)
        else {}
    )
    if not state:
        msg = f"{path}: has no tensors under a name of their own; give a checkpoint of a model"
        raise InputError(msg)
    return state, meta


@contextmanager
def _plain_numpy() -> Iterator[None]:
    """Let numpy arrays and numbers through as well, which mmengine's checkpoints have among their meta data."""
    kinds: list[Any] = [np.dtype, np.ndarray, *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"}]
    # Files of numpy 1 name the same two functions by another module.
    calls: list[Any] = [
        (call, f"{module}.multiarray.{call.__name__}")
        for call in (multiarray._reconstruct, multiarray.scalar)
        for module in ("numpy._core", "numpy.core")
    ]
    with torch.serialization.safe_globals(kinds + calls):
        yield


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
