"""Passes that are replayed as CUDA graphs. What needs a GPU is skipped without one."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from seizurelit.config import Training, with_overrides
from seizurelit.synthetic.options import StandIn
from seizurelit.training import graphs
from seizurelit.training.fit import fit, predict
from seizurelit.training.modules import SeizureClassifier
from seizurelit.training.networks import build_network
from seizurelit.training.stacked import StackedClassifier, fit_stacked

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

SETTINGS = with_overrides(
    Training(),
    {
        "windows.frames": 50,
        "windows.stride": 50,
        "windows.step": 2,
        "windows.per_seizure": 2,
        "agcn.variant": "small",
        "optimiser.epochs": 6,
        "optimiser.batch": 8,
        "tcn.levels": 2,
        "tcn.channels": 8,
    },
)


class Pair(NamedTuple):
    """A batch."""

    x: torch.Tensor
    label: torch.Tensor
    whole: bool = True


def passes_of(network):
    def passes(batch):
        logits = network(batch.x)
        return torch.nn.functional.cross_entropy(logits, batch.label), logits.detach()

    return passes


def test_the_known_gradients_are_those_of_the_loss_times_what_comes_back():
    parameters = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]
    known = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0])]
    loss = graphs._Computed.apply(torch.tensor(7.0), known, *parameters)
    assert loss.item() == 7
    (loss / 2).backward()
    assert [one.grad.tolist() for one in parameters] == [[0.5, 1.0], [1.5, 2.0, 2.5]]
    known[0].zero_()  # as the next replay would
    assert parameters[0].grad.tolist() == [0.5, 1.0]


def test_each_shape_and_kind_is_captured_once_after_two_of_it(monkeypatch):
    captured = []

    class Recorded:
        def __init__(self, owner, batch):
            captured.append(tuple(batch.x.shape))
            self.owner = owner

        def replay(self, batch):
            return self.owner.passes(batch)

    monkeypatch.setattr(graphs, "_Graph", Recorded)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    network = torch.nn.Linear(4, 2)
    made = graphs.Graphs(passes_of(network), network)
    for length in (3, 3, 2, 3, 2, 3, 2):
        loss, _ = made(Pair(torch.randn(length, 4), torch.zeros(length, dtype=torch.long)))
        loss.backward()
    assert captured == [(3, 4), (2, 4)]
    for _ in range(3):
        made(Pair(torch.randn(3, 4), torch.zeros(3, dtype=torch.long)), kind="another")
        made(Pair(torch.randn(3, 4), torch.zeros(3, dtype=torch.long), whole=False), kind=None)
    assert captured == [(3, 4), (2, 4), (3, 4), (3, 4)]


def test_a_cpu_replays_nothing(folds):
    module = fit(
        "tcn", folds(SETTINGS)[0], with_overrides(SETTINGS, {"optimiser.epochs": 1}), seed=0, device="cpu", history=None
    )
    assert module.graphs is None


@pytest.fixture(scope="module")
def folds(folds_of):
    """Makes four folds whose subjects have one to three seizures, all longer than a window."""
    return folds_of(StandIn(subjects=8, min_seconds=6, max_seconds=9, appearance_dim=8), 4)


@pytest.fixture
def replays(monkeypatch):
    """Counts them."""
    found = []
    replay = graphs._Graph.replay

    def counted(self, batch):
        found.append(self)
        return replay(self, batch)

    monkeypatch.setattr(graphs._Graph, "replay", counted)
    return found


def teachers_of(model, made, settings):
    torch.manual_seed(50)
    return [build_network("tcn", settings, fold) for fold in made] if model == "agcn_kd" else []


def one(model, data, settings, teachers=()):
    more = {}
    if teachers:
        more = {"teachers": tuple(teachers[:1]), "teacher_of": torch.zeros(len(data.store.seizures), dtype=torch.long)}
    module = fit(model, data, settings, seed=3, device="gpu", history=None, **more)
    return module, predict(module, data, settings, device="gpu")


def state(module):
    return {name: value.double().cpu() for name, value in module.network.state_dict().items()}


CASES = {
    "agcn": ("agcn", {}),
    "agcn, dropout": ("agcn", {"agcn.dropout": 0.3}),
    "ten_block": ("agcn", {"agcn.variant": "ten_block", "optimiser.epochs": 5}),
    "agcn, bf16": ("agcn", {"precision": "bf16-mixed"}),
    "tcn": ("tcn", {"augmentation.feature_dropout": 0.2}),
    "agcn_kd": ("agcn_kd", {}),
    "clipped": ("agcn", {"trainer": {"gradient_clip_val": 0.5}}),
}


@gpu
@pytest.mark.parametrize("case", CASES)
def test_a_replayed_training_is_the_same_training(folds, replays, monkeypatch, case):
    model, overrides = CASES[case]
    settings = with_overrides(SETTINGS, overrides)
    teachers = teachers_of(model, folds(settings), settings)
    replayed, scores = one(model, folds(settings)[0], settings, teachers)
    assert len(replays) > 4
    monkeypatch.setattr(SeizureClassifier, "captured", lambda self: None)
    count = len(replays)
    plain, expected = one(model, folds(settings)[0], settings, teachers)
    assert len(replays) == count
    for name, value in state(plain).items():
        torch.testing.assert_close(
            state(replayed)[name], value, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    for name, value in expected.items():
        assert abs(scores[name] - value).max() < 1e-4


@gpu
@pytest.mark.parametrize("case", ["agcn", "tcn", "agcn_kd"])
def test_a_replayed_stack_is_the_same_stack_and_each_replica_the_fold_alone(folds, replays, monkeypatch, case):
    settings = with_overrides(SETTINGS, {"precision": "64-true"})
    made = folds(settings)
    assert len({len(fold.train_indices) for fold in made}) > 1
    teachers = teachers_of(case, made, settings)

    def together():
        made = folds(settings)
        seeds = [3 + 4 * k for k in range(len(made))]
        return fit_stacked(case, made, settings, seeds=seeds, device="gpu", teachers=teachers)

    replayed = together()
    assert len(replays) > 4
    count = len(replays)
    alone, _ = one(case, folds(settings)[0], settings, teachers)
    for name, value in state(alone).items():
        torch.testing.assert_close(
            state(replayed[0])[name], value, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    monkeypatch.setattr(StackedClassifier, "captured", lambda self: None)
    if case != "agcn_kd":
        before = len(replays)
        plain = together()
        assert len(replays) == before > count
        for a, b in zip(replayed, plain, strict=True):
            for name, value in state(b).items():
                torch.testing.assert_close(state(a)[name], value, rtol=0, atol=1e-9)


@gpu
def test_a_fold_with_padding_goes_step_by_step_and_a_stack_does_not(folds, replays):
    settings = with_overrides(SETTINGS, {"windows.frames": 100, "windows.stride": 100, "precision": "64-true"})
    alone, _ = one("agcn", folds(settings)[0], settings)
    single = len(replays)
    made = folds(settings)
    stacked = fit_stacked("agcn", made, settings, seeds=[3 + k for k in range(len(made))], device="gpu")
    assert len(replays) > single
    for name, value in state(alone).items():
        torch.testing.assert_close(state(stacked[0])[name], value, rtol=0, atol=1e-5)
