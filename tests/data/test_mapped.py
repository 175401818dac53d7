"""A mapped store is the store that was read, and is in memory once for all that map it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from seizurelit.data.mapped import mapped_store
from seizurelit.data.store import load_store


@pytest.fixture
def read(make_cache):
    cache = make_cache(saw=("zoe",))
    cohort = cache.cohort()
    return lambda: load_store(
        cache, cohort, cohort.sign("dystonia"), "pose", keypoints=True, appearance=True, condition="camera"
    )


def same(one, other) -> bool:
    pairs = [(getattr(one, entry.name), getattr(other, entry.name)) for entry in dataclasses.fields(one)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def never():
    msg = "the cache was read again"
    raise AssertionError(msg)


def test_it_is_the_store_that_was_read_and_is_read_once(read, tmp_path: Path):
    path = tmp_path / "tensors" / "key.safetensors"
    assert same(mapped_store(path, read), read())
    assert same(mapped_store(path, never), read())
    assert (path.parent.stat().st_mode & 0o077) == 0


def test_a_damaged_file_is_written_anew(read, tmp_path: Path):
    path = tmp_path / "key.safetensors"
    mapped_store(path, read)
    path.write_bytes(path.read_bytes()[:100])
    assert same(mapped_store(path, read), read())
    assert same(mapped_store(path, never), read())


def test_without_room_on_the_disk_it_is_in_memory(read, tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert same(mapped_store(tmp_path / "file" / "key.safetensors", read), read())


def test_its_tensors_are_pages_of_the_file(read, tmp_path: Path):
    path = tmp_path / "key.safetensors"
    store = mapped_store(path, read)
    spans = [
        tuple(int(end, 16) for end in re.match(r"([0-9a-f]+)-([0-9a-f]+)", line).groups())
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(path))
    ]
    for tensor in (store.keypoints, store.confidence, store.appearance):
        assert any(low <= tensor.data_ptr() < high for low, high in spans)
