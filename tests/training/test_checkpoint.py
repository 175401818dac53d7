import pickle

import pytest
import torch
from torch import nn

from seizurelit.cohort.leak import Guard, SubjectLeakError
from seizurelit.errors import InputError
from seizurelit.training.checkpoint import Provenance, load_weights, read_provenance, save_weights

PROVENANCE = Provenance(
    "tcn", "dystonia", "pose", "sub-03", 0, ("sub-01", "sub-02"), ("0", "1"), {"optimiser.lr": 0.1}, "abc"
)


def test_weights_come_back_with_what_they_saw(tmp_path):
    path, network = tmp_path / "w.safetensors", nn.Linear(3, 2)
    save_weights(path, network, PROVENANCE)
    other = nn.Linear(3, 2)
    assert load_weights(path, other, Guard("sub-03", frozenset({"sub-03"}))) == PROVENANCE
    assert torch.equal(other.weight, network.weight)


def test_a_fold_refuses_weights_that_saw_its_held_out_subject(tmp_path):
    path, network = tmp_path / "w.safetensors", nn.Linear(3, 2)
    save_weights(path, network, PROVENANCE)
    before = network.weight.detach().clone()
    with pytest.raises(SubjectLeakError, match=r"sub-02.*|w\.safetensors"):
        load_weights(path, network, Guard("sub-02", frozenset({"sub-02"})))
    assert torch.equal(network.weight, before)


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, pickle.dumps({"weight": 1}), b'{"a": 1}'])
def test_what_is_no_safetensors_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no weights of this project") as error:
        read_provenance(path)
    assert "\n" not in str(error.value)


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, nn.Linear(3, 2), PROVENANCE)
    with pytest.raises(InputError, match="does not fit"):
        load_weights(path, nn.Linear(4, 2), Guard("sub-03", frozenset({"sub-03"})))
