"""A fitting that was interrupted is, bit for bit, the one that was not."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch

from seizurelit.cache.store import Cache
from seizurelit.cohort.plan import loso_plan
from seizurelit.config import Training, with_overrides
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.store import load_store
from seizurelit.scheduling import stopping
from seizurelit.training import resuming
from seizurelit.training.fit import fit
from seizurelit.training.networks import build_network

SETTINGS = with_overrides(
    Training(),
    {
        "windows.frames": 25,
        "windows.stride": 25,
        "windows.per_seizure": 1,
        "agcn.variant": "small",
        "agcn.dropout": 0.3,
        "optimiser.epochs": 5,
        "optimiser.batch": 2,
        "tcn.levels": 1,
        "tcn.channels": 4,
    },
)


class PowerError(Exception):
    """It goes."""


@pytest.fixture
def fold(tiny_cache):
    cache = Cache.open(tiny_cache)
    cohort = cache.cohort()
    sign = cohort.sign("dystonia")
    store = load_store(cache, cohort, sign, "pose", keypoints=True, appearance=True)

    def make(settings, until=None):
        data = FoldDataModule(store, loso_plan(cohort, sign).folds[0], settings, seed=3)
        if until is not None:
            whole = data.training_batches

            def cut(epoch):
                for number, batch in enumerate(whole(epoch)):
                    if epoch == until and number == 1:
                        raise PowerError
                    yield batch

            data.training_batches = cut
        return data

    return make


def run(fold, model, settings, history, checkpoint, until=None):
    data = fold(settings, until)
    more = {}
    if model == "agcn_kd":
        torch.manual_seed(9)
        more = {
            "teachers": (build_network("tcn", settings, data),),
            "teacher_of": torch.zeros(len(data.store.seizures), dtype=torch.long),
        }
    history.mkdir(exist_ok=True)
    return fit(model, data, settings, seed=5, device="cpu", history=history, checkpoint=checkpoint, **more)


def same(one, two):
    a, b = one.network.state_dict(), two.network.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def eager(monkeypatch):
    """Save at every epoch, however short."""
    monkeypatch.setattr(resuming, "EVERY", 0.0)
    monkeypatch.setattr(resuming, "WORTH", 0.0)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("model", ["agcn", "tcn", "agcn_kd"])
@pytest.mark.parametrize("until", [1, 4])
def test_a_fitting_goes_on_bit_for_bit(fold, tmp_path, eager, model, optimiser, until):
    settings = with_overrides(SETTINGS, {"optimiser.name": optimiser})
    undisturbed = run(fold, model, settings, tmp_path / "a", None)
    with pytest.raises(PowerError):
        run(fold, model, settings, tmp_path / "b", tmp_path / "states", until)
    state = json.loads((tmp_path / "states" / "state.json").read_text())
    assert state["file"] == f"epoch-{until}.ckpt"
    assert [path.name for path in (tmp_path / "states").glob("*.ckpt")] == [state["file"]]
    torch.manual_seed(77)  # as in another process
    resumed = run(fold, model, settings, tmp_path / "c", tmp_path / "states")
    assert resumed.trainer.global_step == undisturbed.trainer.global_step
    assert same(resumed, undisturbed)
    assert (tmp_path / "c" / "metrics.csv").read_bytes() == (tmp_path / "a" / "metrics.csv").read_bytes()
    assert resumed.last_loss == undisturbed.last_loss
    # It came to its end; what follows in its job may have been stopped.
    again = run(fold, model, settings, tmp_path / "d", tmp_path / "states")
    assert same(again, undisturbed)
    assert (tmp_path / "d" / "metrics.csv").read_bytes() == (tmp_path / "a" / "metrics.csv").read_bytes()
    assert again.last_loss == undisturbed.last_loss


def test_nothing_is_unpickled(fold, tmp_path, eager, monkeypatch):
    asked = []
    load = torch.load

    def watched(*arguments, **keywords):
        asked.append(keywords.get("weights_only"))
        return load(*arguments, **keywords)

    with pytest.raises(PowerError):
        run(fold, "tcn", SETTINGS, tmp_path / "b", tmp_path / "states", 2)
    monkeypatch.setattr(torch, "load", watched)
    run(fold, "tcn", SETTINGS, tmp_path / "c", tmp_path / "states")
    run(fold, "tcn", SETTINGS, tmp_path / "d", tmp_path / "states")
    assert asked == [True, True]


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, lambda path: path.unlink()])
def test_a_damaged_state_is_not_used(fold, tmp_path, eager, damage):
    undisturbed = run(fold, "tcn", SETTINGS, tmp_path / "a", None)
    with pytest.raises(PowerError):
        run(fold, "tcn", SETTINGS, tmp_path / "b", tmp_path / "states", 2)
    damage(tmp_path / "states" / "epoch-2.ckpt")
    assert same(run(fold, "tcn", SETTINGS, tmp_path / "c", tmp_path / "states"), undisturbed)


def test_the_state_of_other_settings_is_not_used(fold, tmp_path, eager):
    other = with_overrides(SETTINGS, {"optimiser.lr": 0.01})
    undisturbed = run(fold, "tcn", other, tmp_path / "a", None)
    with pytest.raises(PowerError):
        run(fold, "tcn", SETTINGS, tmp_path / "b", tmp_path / "states", 2)
    assert same(run(fold, "tcn", other, tmp_path / "c", tmp_path / "states"), undisturbed)


def test_asked_to_stop_it_saves_and_goes_on(fold, tmp_path):
    undisturbed = run(fold, "tcn", SETTINGS, tmp_path / "a", None)
    stopping.request()
    try:
        with pytest.raises(stopping.Stopped):
            run(fold, "tcn", SETTINGS, tmp_path / "b", tmp_path / "states")
        assert not (tmp_path / "states").exists()  # no epoch was over
        stopping.forget()
        data = fold(SETTINGS)
        whole = data.training_batches

        def asked(epoch):
            if epoch == 1:
                stopping.request()
            return whole(epoch)

        data.training_batches = asked
        with pytest.raises(stopping.Stopped):
            fit("tcn", data, SETTINGS, seed=5, device="cpu", history=None, checkpoint=tmp_path / "states")
    finally:
        stopping.forget()
    assert json.loads((tmp_path / "states" / "state.json").read_text())["file"] == "epoch-2.ckpt"
    assert same(run(fold, "tcn", SETTINGS, tmp_path / "c", tmp_path / "states"), undisturbed)


def test_a_signal_within_an_epoch_is_answered_at_its_end(fold, tmp_path):
    """SIGTERM itself, which Lightning listens to as well, and would end the epoch for after any of its batches."""
    undisturbed = run(fold, "tcn", SETTINGS, tmp_path / "a", None)
    data = fold(SETTINGS)
    whole = data.training_batches

    def signalled(epoch):
        for number, batch in enumerate(whole(epoch)):
            if (epoch, number) == (1, 1):
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    data.training_batches = signalled
    before = signal.signal(signal.SIGTERM, lambda *_: stopping.request())
    try:
        with pytest.raises(stopping.Stopped):
            fit("tcn", data, SETTINGS, seed=5, device="cpu", history=None, checkpoint=tmp_path / "states")
    finally:
        signal.signal(signal.SIGTERM, before)
        stopping.forget()
    assert json.loads((tmp_path / "states" / "state.json").read_text())["file"] == "epoch-2.ckpt"
    assert same(run(fold, "tcn", SETTINGS, tmp_path / "c", tmp_path / "states"), undisturbed)


def test_short_epochs_save_nothing(fold, tmp_path):
    run(fold, "tcn", SETTINGS, tmp_path / "a", tmp_path / "states")
    assert not (tmp_path / "states").exists()


def test_a_full_disk_costs_the_state_alone(fold, tmp_path, eager):
    undisturbed = run(fold, "tcn", SETTINGS, tmp_path / "a", None)
    (tmp_path / "states").symlink_to("/dev/full")
    assert same(run(fold, "tcn", SETTINGS, tmp_path / "c", tmp_path / "states"), undisturbed)
