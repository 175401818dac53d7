"""Folds that are trained together are what each is alone."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import pytest
import torch

from seizurelit.config import Optimiser, Tcn, Training, with_overrides
from seizurelit.data.stacked import StackedFolds
from seizurelit.errors import InputError
from seizurelit.scheduling import stopping
from seizurelit.synthetic.options import StandIn
from seizurelit.training import resuming
from seizurelit.training.fit import fit, predict
from seizurelit.training.networks import build_network
from seizurelit.training.stacked import StackedOptimiser, check_stacking, fit_stacked

SETTINGS = with_overrides(
    Training(),
    {
        "windows.frames": 30,
        "windows.stride": 30,
        "windows.per_seizure": 2,
        "windows.step": 4,
        "agcn.variant": "small",
        "agcn.dropout": 0.3,
        "optimiser.epochs": 3,
        "optimiser.batch": 4,
        "optimiser.label_smoothing": 0.1,
        "tcn.levels": 2,
        "tcn.channels": 6,
        "precision": "64-true",
    },
)
"""Of the cohort below, some seizures are shorter than a window, so that frames are padded as well."""


@pytest.fixture(scope="module")
def folds(folds_of):
    """Makes the first folds of a cohort whose subjects have one to three seizures: 7 to 9 to train on, so 2 or 3 steps."""
    return folds_of(StandIn(subjects=6, min_seconds=3, max_seconds=7, appearance_dim=8), 6)


def teachers_of(model, made, settings):
    if model != "agcn_kd":
        return []
    found = []
    for k, fold in enumerate(made):
        torch.manual_seed(50 + k)
        found.append(build_network("tcn", settings, fold))
    return found


def alone(model, made, settings, histories=None):
    modules = []
    teachers = teachers_of(model, made, settings)
    for k, fold in enumerate(made):
        more = {}
        if teachers:
            more = {"teachers": (teachers[k],), "teacher_of": torch.zeros(len(fold.store.seizures), dtype=torch.long)}
        history = histories[k] if histories else None
        modules.append(fit(model, fold, settings, seed=3 + k, device="cpu", history=history, **more))
    return modules


def together(model, made, settings, **more):
    seeds = [3 + k for k in range(len(made))]
    return fit_stacked(
        model, made, settings, seeds=seeds, device="cpu", teachers=teachers_of(model, made, settings), **more
    )


def furthest(one, two):
    a, b = one.network.state_dict(), two.network.state_dict()
    assert a.keys() == b.keys()
    assert all(a[name].equal(b[name]) for name in a if name.endswith("num_batches_tracked"))
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a)


CASES = {
    "agcn": ("agcn", {}),
    "agcn, sgd": ("agcn", {"optimiser.name": "sgd", "optimiser.lr": 0.01}),
    "gcn": ("agcn", {"agcn.adaptive": False}),
    "ten_block": ("agcn", {"agcn.variant": "ten_block", "windows.frames": 30, "optimiser.epochs": 1}),
    "agcn, noise and speed": ("agcn", {"augmentation.noise": 0.01, "augmentation.speed": 0.2}),
    "tcn": ("tcn", {}),
    "tcn of keypoints": ("tcn", {"tcn.input": "keypoints", "tcn.pool": "mean_std"}),
    "tcn, feature dropout": ("tcn", {"augmentation.feature_dropout": 0.3, "tcn.pool": "mean_max"}),
    "agcn_kd": ("agcn_kd", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_replica_is_the_fold_trained_alone(folds, case):
    model, overrides = CASES[case]
    settings = with_overrides(SETTINGS, overrides)
    made = folds(settings, 3 if "ten_block" in case else 6)
    assert len({len(fold.train_indices) for fold in made}) > 1
    if "ten_block" not in case:
        assert len({fold.steps_per_epoch for fold in made}) > 1
    one_by_one = alone(model, made, settings)
    start = [build_network(model, settings, fold).state_dict() for fold in made]
    for expected, found, fold, first in zip(
        one_by_one, together(model, made, settings), folds(settings, len(made)), start, strict=True
    ):
        assert furthest(found, expected) < 1e-9
        assert found.last_loss == pytest.approx(expected.last_loss, abs=1e-6)  # torchmetrics sums in float32
        moved = expected.network.state_dict()
        assert max((moved[name] - first[name]).abs().max().item() for name in first) > 1e-3
        scores = [predict(module, fold, settings, device="cpu") for module in (found, expected)]
        for seizure, score in scores[1].items():
            assert scores[0][seizure] == pytest.approx(score, abs=1e-9)


def test_in_single_precision_the_logits_after_the_first_steps_agree(folds):
    settings = with_overrides(SETTINGS, {"precision": "32-true", "optimiser.epochs": 1, "optimiser.lr": 1e-3})
    for model in ("agcn", "tcn"):
        made = folds(settings)
        for expected, found, fold in zip(
            alone(model, made, settings), together(model, made, settings), folds(settings), strict=True
        ):
            logits = [module.eval()(next(iter(fold.held_out_batches()))) for module in (found, expected)]
            torch.testing.assert_close(logits[0], logits[1], atol=1e-3, rtol=0)


def test_in_bfloat16_the_losses_are_near(folds):
    """Rounding to 8 bits differs where sums are taken in another order; what is learned does not."""
    settings = with_overrides(SETTINGS, {"precision": "bf16-mixed"})
    made = folds(settings, 3)
    for expected, found in zip(alone("agcn", made, settings), together("agcn", made, settings), strict=True):
        assert found.last_loss == pytest.approx(expected.last_loss, abs=0.05)


def test_curves_are_those_of_each_fold_alone(folds, tmp_path):
    made = folds(SETTINGS)
    places = {name: [tmp_path / name / str(k) for k in range(len(made))] for name in ("alone", "together")}
    alone("agcn", made, SETTINGS, places["alone"])
    together("agcn", made, SETTINGS, histories=places["together"])
    for one, other in zip(places["alone"], places["together"], strict=True):
        texts = [(place / "metrics.csv").read_text() for place in (one, other)]
        assert texts[0].splitlines()[0] == texts[1].splitlines()[0]
        expected, found = (list(csv.DictReader(text.splitlines())) for text in texts)
        assert len(found) == SETTINGS.optimiser.epochs
        for a, b in zip(expected, found, strict=True):
            assert {name: float(b[name]) for name in a} == pytest.approx({name: float(a[name]) for name in a}, abs=1e-6)


@pytest.fixture
def eager(monkeypatch):
    """Save at every epoch, however short."""
    monkeypatch.setattr(resuming, "EVERY", 0.0)
    monkeypatch.setattr(resuming, "WORTH", 0.0)


@pytest.mark.parametrize("model", ["agcn", "tcn", "agcn_kd"])
def test_an_interrupted_stack_goes_on_bit_for_bit(folds, tmp_path, eager, model):
    single = with_overrides(SETTINGS, {"precision": "32-true"})
    places = [[tmp_path / name / str(k) for k in range(6)] for name in "abc"]
    undisturbed = together(model, folds(single), single, histories=places[0])
    made = folds(single)
    whole = made[2].numbers

    def asked(epoch):
        if epoch == 1:
            stopping.request()
        return whole(epoch)

    made[2].numbers = asked
    try:
        with pytest.raises(stopping.Stopped):
            together(model, made, single, checkpoint=tmp_path / "states")
    finally:
        stopping.forget()
    assert json.loads((tmp_path / "states" / "state.json").read_text())["file"] == "epoch-2.ckpt"
    torch.manual_seed(77)  # as in another process
    resumed = together(model, folds(single), single, checkpoint=tmp_path / "states", histories=places[1])
    ended = together(model, folds(single), single, checkpoint=tmp_path / "states", histories=places[2])
    for one, *others in zip(undisturbed, resumed, ended, strict=True):
        for other in others:
            assert furthest(one, other) == 0
            assert other.last_loss == one.last_loss
    for one, *others in zip(*places, strict=True):
        for other in others:
            assert (other / "metrics.csv").read_bytes() == (one / "metrics.csv").read_bytes()


def test_a_stack_of_other_folds_does_not_go_on_from_there(folds, tmp_path, eager):
    made = folds(SETTINGS)
    fit_stacked("tcn", made[:2], SETTINGS, seeds=(1, 2), device="cpu", checkpoint=tmp_path / "states")
    fresh = fit_stacked("tcn", made[2:4], SETTINGS, seeds=(1, 2), device="cpu")
    after = fit_stacked("tcn", made[2:4], SETTINGS, seeds=(1, 2), device="cpu", checkpoint=tmp_path / "states")
    assert all(furthest(one, other) == 0 for one, other in zip(fresh, after, strict=True))


def test_a_fold_is_the_same_in_any_company(folds):
    """Its neighbours change no random number of it, whether there are more of them or fewer."""
    seeds = [3, 4, 5, 6, 7, 8]
    every = fit_stacked("tcn", folds(SETTINGS), SETTINGS, seeds=seeds, device="cpu")
    made = folds(SETTINGS)
    some = fit_stacked("tcn", made[1:3][::-1], SETTINGS, seeds=seeds[1:3][::-1], device="cpu")
    for one, other in zip(every[1:3][::-1], some, strict=True):
        assert furthest(one, other) < 1e-9
    # The same fold with two seeds: replicas may be of one fold.
    twice = fit_stacked("tcn", [made[1], made[1]], SETTINGS, seeds=[4, 9], device="cpu")
    assert furthest(twice[0], every[1]) < 1e-9
    assert furthest(twice[1], every[1]) > 1e-3


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_optimiser_is_torchs_with_steps_of_ones_own(name):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    choice = Optimiser(name=name, lr=0.01, weight_decay=0.1)
    flat = torch.nn.Parameter(start.clone())
    totals = (9, 6, 4)
    stacked = StackedOptimiser(flat, choice, torch.arange(12) < 7, totals)
    own = []
    for row, total in zip(start, totals, strict=True):
        parts = [torch.nn.Parameter(row[:7].clone()), torch.nn.Parameter(row[7:].clone())]
        groups = [{"params": [parts[0]], "weight_decay": 0.1}, {"params": [parts[1]], "weight_decay": 0.0}]
        kind = torch.optim.AdamW if name == "adamw" else torch.optim.SGD
        more = {} if name == "adamw" else {"momentum": 0.9, "nesterov": True}
        optimiser = kind(groups, lr=0.01, fused=True, **more)
        factor = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda k, total=total: 0.5 * (1 + math.cos(math.pi * min(k / total, 1)))
        )
        own.append((parts, optimiser, factor))
    for step in range(9):
        gradient = torch.randn(3, 12, generator=generator, dtype=torch.float64)
        active = [step % (k + 1) == 0 for k in range(3)]
        before = flat.detach().clone()
        flat.grad = gradient.clone()
        stacked.active = torch.tensor(active)
        stacked.step()
        for k, (parts, optimiser, factor) in enumerate(own):
            if not active[k]:
                assert torch.equal(flat[k], before[k])
                continue
            parts[0].grad, parts[1].grad = gradient[k, :7].clone(), gradient[k, 7:].clone()
            optimiser.step()
            factor.step()
            torch.testing.assert_close(flat[k].detach(), torch.cat(parts).detach(), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"grid": [{"optimiser.lr": [1e-3, 1e-2]}]}, "--grid"),
        ({"threshold": "inner"}, "--threshold inner"),
        ({"tcn": Tcn(input_norm=True)}, r"--tcn\.input_norm"),
        ({"trainer": {"gradient_clip_val": 1.0}}, "gradient_clip_val"),
        ({"precision": "16-mixed"}, "16-mixed"),
    ],
)
def test_what_folds_cannot_do_together_is_refused(change, says):
    check_stacking(dataclasses.replace(SETTINGS, **change))
    with pytest.raises(InputError, match=says):
        check_stacking(dataclasses.replace(SETTINGS, stack=19, **change))


def test_a_batch_side_by_side_holds_each_folds_own(folds):
    made = folds(SETTINGS)
    single = [list(fold.training_batches(1)) for fold in folds(SETTINGS)]
    stacked = list(StackedFolds(made).training_batches(1))
    assert len(stacked) == max(map(len, single)) == 3
    for step, (rows, counts) in enumerate(stacked):
        B = max(counts)
        for k, fold in enumerate(single):
            mine = slice(k * B, k * B + counts[k])
            rest = slice(k * B + counts[k], (k + 1) * B)
            assert not rows.window_mask[rest].any()
            assert not rows.keypoints_mask[rest].any()
            assert not rows.appearance_mask[rest].any()
            assert not rows.weight[rest].any()
            if step >= len(fold):
                assert counts[k] == 0
                continue
            for whole, part in zip(rows, fold[step], strict=True):
                if isinstance(part, torch.Tensor):
                    inside = tuple(slice(size) for size in part.shape[1:])
                    assert torch.equal(whole[mine][(slice(None), *inside)], part)
