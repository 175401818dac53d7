import dataclasses
import json

import pytest

from seizurelit.config import Training, training_from_json, with_overrides
from seizurelit.errors import InputError


def test_settings_come_back_from_json():
    training = with_overrides(
        Training(), {"optimiser.lr": 0.02, "inputs.features": ["joint", "bone"], "precision": "bf16-mixed"}
    )
    assert training_from_json(json.loads(json.dumps(dataclasses.asdict(training)))) == training


def test_overrides_reach_groups_and_plain_settings():
    training = with_overrides(Training(), {"windows.frames": 50, "balance": False})
    assert (training.windows.frames, training.balance) == (50, False)
    assert Training().windows.frames == 300


@pytest.mark.parametrize("name", ["optimiser.rate", "nothing.lr", "windows", "optimiser.lr.x"])
def test_a_setting_that_does_not_exist_is_named(name):
    with pytest.raises(InputError, match=name):
        with_overrides(Training(), {name: 1})


@pytest.mark.parametrize(
    ("name", "value"), [("optimiser.epochs", 1.5), ("optimiser.lr", "fast"), ("balance", 1), ("windows.frames", True)]
)
def test_a_value_of_another_kind_is_refused(name, value):
    with pytest.raises(InputError, match=name):
        with_overrides(Training(), {name: value})
