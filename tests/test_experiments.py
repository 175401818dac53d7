"""Every experiment that is shipped can be read by its door."""

from pathlib import Path

import pytest

from seizurelit.ablate import AblateOptions
from seizurelit.cli import door_parser, parse
from seizurelit.config import candidates, check, check_grid
from seizurelit.fit import FitOptions
from seizurelit.reproduce import ReproduceOptions

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))


def test_there_are_experiments():
    assert {path.stem for path in FILES} >= {"ablations", "table1", "tune", "ui_prmd"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_is_read_and_in_range(path):
    doors = {
        "table1": ("reproduce", ReproduceOptions),
        "tune": ("reproduce", ReproduceOptions),
        "ablations": ("ablate", AblateOptions),
    }
    door, options = doors.get(path.stem, ("fit", FitOptions))
    _, training = parse(door_parser(door, "", options, trains=True), options, ["--config", str(path)], trains=True)
    check(training)
    check_grid(training)
    if path.stem == "tune":
        assert {model: len(candidates(training, model)) for model in ("tcn", "agcn", "agcn_kd")} == {
            "tcn": 24,
            "agcn": 24,
            "agcn_kd": 72,
        }
