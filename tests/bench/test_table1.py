"""The bare loop of the benchmark does what ours does: as many steps, the same seizures, a score for each that is held out."""

import pytest
import torch
from torch.utils.data import DataLoader

from bench import table1
from bench.table1 import Windows, bare_training, preset
from seizurelit.config import with_overrides
from seizurelit.data.fold import FoldDataModule
from seizurelit.data.store import load_store
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    options = StandIn(subjects=6, min_seconds=8, max_seconds=9, appearance_dim=8)
    cache = synthesize(options, tmp_path_factory.mktemp("cohort") / "cache")
    people = cache.cohort()
    table1._PEOPLE[:] = [people]
    return load_store(cache, people, people.sign("dystonia"), "pose", keypoints=True, appearance=True)


def test_as_many_steps_of_the_same_windows_as_ours(store):
    training = with_overrides(preset(1), {"optimiser.batch": 3})
    fold = table1.training_folds(store)[0]
    ours = FoldDataModule(store, fold, training, seed=0)
    windows = Windows(FoldDataModule(store, fold, with_overrides(training, {"optimiser.batch": 1}), seed=0))
    theirs = list(DataLoader(windows, batch_size=3))
    batches = list(ours.training_batches(0))
    assert len(theirs) == len(batches)
    assert theirs[0][0].shape[1:] == batches[0].keypoints.shape[2:]
    assert theirs[0][1].shape[1:] == batches[0].appearance.shape[2:]
    labels = torch.cat([batch[2] for batch in theirs]).sort().values
    assert labels.tolist() == torch.cat([batch.label for batch in batches]).sort().values.tolist()


def test_the_bare_loop_prepares_window_by_window(store, monkeypatch):
    prepared, prepare = [], FoldDataModule.batch

    def noted(self, index, *arguments):
        prepared.append(len(index))
        return prepare(self, index, *arguments)

    monkeypatch.setattr(FoldDataModule, "batch", noted)
    training = with_overrides(preset(1), {"optimiser.batch": 1})
    windows = Windows(FoldDataModule(store, table1.training_folds(store)[0], training, seed=0))
    assert prepared == [1] * len(list(windows))


@pytest.mark.parametrize("model", ["agcn", "tcn"])
def test_every_held_out_seizure_has_scores(store, model):
    fold = table1.training_folds(store)[0]
    teacher, scores = bare_training(model, store, fold.name, preset(1), None)
    held_out = [name for name, subject in zip(store.seizures, store.subjects, strict=True) if subject in fold.test]
    assert sorted(scores) == sorted(held_out)
    assert all(sum(given) == pytest.approx(1) for given in scores.values())
    if model == "tcn":
        _, taught = bare_training("agcn_kd", store, fold.name, preset(1), teacher)
        assert sorted(taught) == sorted(held_out)
