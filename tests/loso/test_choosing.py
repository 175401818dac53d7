"""What a fold chooses: who is asked, what is tried, and that a student has its teacher's windows."""

import dataclasses
import json

import numpy as np
import pytest

from seizurelit.config import Training, candidates, check_grid, teaches, with_overrides
from seizurelit.errors import InputError
from seizurelit.loso import choosing
from seizurelit.loso.audit import audit_run
from seizurelit.loso.choosing import Tried, check_tuner, chooses, search, tuning_cost
from seizurelit.loso.options import RunOptions
from seizurelit.loso.run import run_table
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger
from seizurelit.training.checkpoint import read_provenance

GRID = {
    "optimiser.lr": [1e-3, 1e-2],
    "tcn.channels": [4, 8],
    "agcn.dropout": [0.0, 0.2, 0.4],
    "distillation.alpha": [0.0, 0.5],
    "windows.frames": [25, 20],
    "threshold": ["half", "inner"],
}
QUICK = dataclasses.replace(
    with_overrides(
        Training(),
        {
            "windows.frames": 25,
            "windows.stride": 20,
            "windows.per_seizure": 1,
            "agcn.variant": "small",
            "optimiser.epochs": 1,
            "tcn.levels": 1,
            "tcn.channels": 4,
        },
    ),
    grid=[GRID],
)


def test_a_model_chooses_among_what_it_can_tell_apart():
    count = {model: len(candidates(QUICK, model)) for model in ("tcn", "agcn", "agcn_kd")}
    assert count == {"tcn": 2 * 2 * 2 * 2, "agcn": 2 * 3 * 2 * 2, "agcn_kd": 2 * 3 * 2 * 2}
    assert not any("windows.frames" in setting for setting in candidates(QUICK, "agcn_kd"))
    alone = dataclasses.replace(with_overrides(QUICK, {"distillation.alpha": 0.0}), grid=[{"windows.frames": [25, 20]}])
    assert not teaches(alone)
    assert len(candidates(alone, "agcn_kd")) == 2
    # A list is the value itself where the setting is one.
    inputs = [{"inputs.features": ["joint", "bone"]}, {"inputs.features": [["joint"], ["motion"]]}]
    assert candidates(dataclasses.replace(QUICK, grid=inputs), "agcn") == (
        {"inputs.features": ["joint", "bone"]},
        {"inputs.features": ["joint"]},
        {"inputs.features": ["motion"]},
    )
    assert candidates(dataclasses.replace(QUICK, grid=inputs), "tcn") == ({},)
    only_student = dataclasses.replace(QUICK, grid=[{"distillation.temperature": [2.0, 4.0]}])
    assert [chooses(only_student, model) for model in ("tcn", "agcn", "agcn_kd")] == [True, False, True]


def scored(setting):
    """Best where lr is 0.003, channels are 32 and T is 4."""
    near = (setting["a"] == 3) + (setting["b"] == 2) + (setting["c"] == 4)
    return Tried(dict(setting), 0.5, near / 3, 1.0 - near / 4)


def test_optuna_tries_so_many_different_ones_and_finds_better_ones_than_chance():
    settings = [{"a": a, "b": b, "c": c} for a in range(5) for b in range(4) for c in range(5)]
    found = []
    for seed in range(20):
        made = search(settings, 15, seed, scored)
        assert len({json.dumps(one.overrides) for one in made}) == len(made) == 15
        assert [one.overrides for one in search(settings, 15, seed, scored)] == [one.overrides for one in made]
        found.append(max(one.balanced_accuracy for one in made))
    rng = np.random.default_rng(0)
    values = np.array([scored(setting).balanced_accuracy for setting in settings])
    blind = [values[rng.choice(len(values), 15, replace=False)].max() for _ in range(2000)]
    assert np.mean(found) > np.mean(blind)
    everything = search(settings, 0, 0, scored)
    assert [one.overrides for one in everything] == settings
    assert [one.overrides for one in search(settings, 100, 0, scored)] == settings


def test_the_cost_is_what_is_fitted_then(tiny_cache, tmp_path, monkeypatch, capsys):
    from seizurelit.loso import job

    calls = []
    real = job.fit

    def counted(model, *more, **options):
        calls.append((model, options["history"] is None))
        return real(model, *more, **options)

    monkeypatch.setattr(job, "fit", counted)
    options = RunOptions(
        cache=tiny_cache, out=tmp_path / "run", seeds=1, preset="fast", workers=1, wandb="off", fold="sub-03"
    )
    grid = [{"optimiser.lr": [1e-3, 1e-2], "windows.frames": [20, 25], "threshold": ["half", "inner"]}]
    training = dataclasses.replace(QUICK, grid=grid, tune=3)
    assert run_table(options, training, ("dystonia",), ("pose",), ("tcn", "agcn_kd")) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "tcn 3 of 8 settings, agcn_kd 3 of 4 settings; up to 5 further fits, 3.5 times the cost of no choice" in said
    inner = [model for model, is_inner in calls if is_inner]
    assert inner.count("tcn") <= 3
    assert inner.count("agcn_kd") <= 2  # two learning rates; a threshold costs no fit
    assert len(inner) >= 3

    folder = tmp_path / "run" / "jobs" / "dystonia" / "pose"
    choices = {
        model: json.loads((folder / model / "seed-0" / "sub-03" / "choice.json").read_text())
        for model in ("tcn", "agcn_kd")
    }
    assert [len(choice["candidates"]) for choice in choices.values()] == [3, 3]
    assert [choice["declared"] for choice in choices.values()] == [8, 4]
    frames = {model: choice["overrides"]["windows.frames"] for model, choice in choices.items()}
    assert frames["tcn"] == frames["agcn_kd"]
    student = read_provenance(folder / "agcn_kd" / "seed-0" / "sub-03" / "weights.safetensors")
    assert student.choice["windows.frames"] == frames["tcn"]
    for model, choice in choices.items():
        best = max(choice["candidates"], key=lambda one: (one["balanced_accuracy"], -one["log_loss"]))
        assert choice["overrides"] == best["overrides"]
        result = Ledger(tmp_path / "run").result(f"dystonia/pose/{model}/seed-0/sub-03")
        assert (result["overrides"], result["threshold"]) == (choice["overrides"], choice["threshold"])
    assert audit_run(tmp_path / "run") == 0
    assert "setting chosen on " in capsys.readouterr().out


def test_nothing_is_said_where_nothing_is_chosen():
    jobs = [Job("a", "m:f", {"model": "agcn"})]
    assert tuning_cost(Training(), jobs) == ""
    assert tuning_cost(dataclasses.replace(Training(), threshold="inner"), jobs).startswith("chosen on inner subjects")


def test_what_cannot_be_chosen_is_refused_together(monkeypatch):
    grid = [{"threads": [1, 2], "optimiser.lr": [], "agcn.variant": ["small", "huge"], "nothing": [1]}]
    with pytest.raises(InputError) as refused:
        check_grid(dataclasses.replace(QUICK, grid=grid, tune=-1))
    assert len(refused.value.faults) == 5
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="optuna is not installed"):
        check_tuner(dataclasses.replace(QUICK, tune=2))
    check_tuner(QUICK)
