"""A store's tensors in a file that all workers of a run map, so that they hold the cohort once between them.

The first worker that needs a store reads the cache and writes the file; the others, and itself, map it. The file lies among what a
run has under way: it goes with the run, and what a killed run left is deleted by the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from seizurelit.cohort.files import write_whole
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.data.store import SeizureStore

_KEY = "store"


def mapped_store(path: Path, read: Callable[[], SeizureStore]) -> SeizureStore:
    """The store that a file holds, mapped; it is read and written there first if there is none.

    Args:
        path: the file, named by all that decides the store.
        read: reads the store from the cache.

    Returns:
        The store; in this process's own memory where the file cannot be written.
    """
    store = _open(path)
    if store is not None:
        return store
    store = read()
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, _bytes(store))
    return _open(path) or store


def _bytes(store: SeizureStore) -> bytes:
    tensors, plain = {}, {}
    for entry in fields(store):
        value: Any = getattr(store, entry.name)
        if isinstance(value, Tensor):
            tensors[entry.name] = value.contiguous()
        elif isinstance(value, Skeleton):
            plain[entry.name] = value.to_json()
        elif value is not None:
            plain[entry.name] = value
    return save(tensors, {_KEY: json.dumps(plain)})


def _open(path: Path) -> SeizureStore | None:
    """None where no whole file is."""
    try:
        with safe_open(path, framework="pt") as file:
            plain: dict[str, Any] = json.loads(file.metadata()[_KEY])
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    skeleton = plain.pop("skeleton", None)
    others: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return SeizureStore(**others, **tensors, skeleton=None if skeleton is None else Skeleton.from_json(skeleton))
