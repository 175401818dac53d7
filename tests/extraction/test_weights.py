"""Checkpoints from elsewhere: what is read, what is refused, and in what words."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from seizurelit.errors import InputError
from seizurelit.extraction.weights import fill, find_weights, provenance, read_checkpoint


class Malware:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def network(width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, width, 1), nn.BatchNorm2d(width))


def test_a_checkpoint_of_mmengine_is_read_with_its_meta(tmp_path):
    path = tmp_path / "net.pth"
    meta = {"dataset_meta": {"classes": ("person", "face"), "sigmas": np.array([0.1, 0.2])}, "loss": np.float32(2)}
    torch.save({"state_dict": network().state_dict(), "meta": meta, "optimizer": {"lr": 1}}, path)
    checkpoint = read_checkpoint(path)
    assert set(checkpoint.state) == set(network().state_dict())
    assert checkpoint.meta["dataset_meta"]["classes"] == ("person", "face")
    assert checkpoint.meta["dataset_meta"]["sigmas"].tolist() == [0.1, 0.2]
    assert checkpoint.weights.name == "net.pth"
    assert checkpoint.weights.subjects_seen == ()


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_checkpoint_is_refused_in_one_line_and_not_run(tmp_path, form):
    path, mark = tmp_path / "net.pth", tmp_path / "ran"
    value = {"state_dict": network().state_dict(), "meta": Malware(mark)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(value))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(InputError, match="it was not loaded") as refused:
        read_checkpoint(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)
    assert not mark.exists()
    if form != "pickle":
        assert "system" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"text, not weights", b"PK\x03\x04 half a zip"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, content, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_checkpoint(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_a_checkpoint_cut_short_is_refused(tmp_path):
    path = tmp_path / "net.pth"
    torch.save(network(50).state_dict(), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(path)


def test_tensors_without_names_are_refused(tmp_path):
    path = tmp_path / "net.pth"
    torch.save([torch.zeros(2)], path)
    with pytest.raises(InputError, match="no tensors under a name"):
        read_checkpoint(path)


def test_subjects_come_from_safetensors_and_from_a_side_car(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(network().state_dict(), path, metadata=provenance(("p2", "p1"), classes=["person"]))
    checkpoint = read_checkpoint(path)
    assert checkpoint.weights.subjects_seen == ("p1", "p2")
    assert checkpoint.meta["classes"] == ["person"]
    side_car = tmp_path / "net.safetensors.json"
    side_car.write_text(json.dumps({"subjects_seen": ["p3"]}))
    assert read_checkpoint(path).weights.subjects_seen == ("p1", "p2", "p3")
    plain = tmp_path / "other.pth"
    torch.save(network().state_dict(), plain)
    (tmp_path / "other.pth.json").write_text(json.dumps({"subjects_seen": ["p4"]}))
    assert read_checkpoint(plain).weights.subjects_seen == ("p4",)


@pytest.mark.parametrize("text", ["{", "{}", '{"subjects_seen": "p1"}', '{"subjects_seen": [1]}', "[]"])
def test_a_side_car_that_does_not_say_whom_is_an_error_not_nobody(tmp_path, text):
    path = tmp_path / "net.pth"
    torch.save(network().state_dict(), path)
    (tmp_path / "net.pth.json").write_text(text)
    with pytest.raises(InputError, match="subjects_seen"):
        read_checkpoint(path)


def test_the_digest_is_of_the_bytes(tmp_path):
    one, two = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save(network().state_dict(), one)
    two.write_bytes(one.read_bytes())
    assert read_checkpoint(one).weights.digest == read_checkpoint(two).weights.digest
    torch.save(network(4).state_dict(), two)
    assert read_checkpoint(one).weights.digest != read_checkpoint(two).weights.digest


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_gets_the_tensors_of_the_file(tmp_path, prefix):
    source, target = network(), network()
    path = tmp_path / "net.pth"
    torch.save(
        {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()} | {"more": torch.ones(1)}, path
    )
    fill(target, read_checkpoint(path), "a network")
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


@pytest.mark.parametrize("other", [network(4), nn.Linear(2, 3)])
def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path, other):
    path = tmp_path / "net.pth"
    torch.save(other.state_dict(), path)
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(InputError, match=r"not the weights of rtmpose: \d of its 7 tensors"):
        fill(target, read_checkpoint(path), "rtmpose")
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_missing_file_says_which_from_where_and_where_to(tmp_path, monkeypatch):
    monkeypatch.setenv("SEIZURELIT_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError) as refused:
        find_weights("rtmpose", None, None, "pose.pth", "https://example.org/pose.pth")
    for part in (str(tmp_path / "pose.pth"), "rtmpose", "https://example.org/pose.pth", "nothing is downloaded"):
        assert part in str(refused.value)
    with pytest.raises(InputError, match="is a folder"):
        find_weights("rtmpose", tmp_path, None, "pose.pth", "somewhere")
    (tmp_path / "pose.pth").touch()
    assert find_weights("rtmpose", None, None, "pose.pth", "somewhere") == tmp_path / "pose.pth"
