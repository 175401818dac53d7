import numpy as np
import pytest
import torch

pytest.importorskip("captum")

from seizurelit.explanation.adjacency import learned_adjacency
from seizurelit.explanation.attribution import Attribution, attribute, baseline_of, cells_of, integrated_gradients
from seizurelit.explanation.faithfulness import (
    Alike,
    alike,
    between,
    curves,
    destroyed,
    mean_over_subjects,
    randomised,
    survival,
)
from seizurelit.handover.ensemble import new_data
from seizurelit.handover.fitting import store_of
from seizurelit.handover.of_run import ensemble_of_run


@pytest.fixture(scope="module")
def small(handed):
    from seizurelit.cache.store import Cache

    ensemble = ensemble_of_run(handed["run"], model="agcn")
    row = ensemble.rows[0]
    cache = Cache.open(handed["cache"])
    cohort = cache.cohort()
    store = store_of(ensemble, row, cache, cohort, {seizure.name: 0 for seizure in cohort.seizures})
    data = new_data(store, row.members[0].training)
    return row.members[0].network, data, next(data.held_out_batches())


def test_integrated_gradients_add_up_to_the_margin(small):
    network, _, batch = small
    x, mask = network.read(batch)
    x, mask = x.flatten(0, 1), mask.flatten(0, 1)
    part, gain = integrated_gradients(network.network, x, baseline_of(x, mask), mask, 1, steps=64)
    assert torch.allclose(part.flatten(1).sum(1), gain, atol=0.02 * max(1.0, float(gain.abs().max())))


def test_a_network_that_is_told_a_condition_apart_is_explained_under_it():
    """Of the features alone: the condition stands on both ends of the path."""
    from seizurelit.models import Tcn

    torch.manual_seed(0)
    network = Tcn(4, 2, channels=6, levels=1, dropout=0, conditions=3).eval()
    x, mask = torch.randn(5, 4, 20), torch.ones(5, 20, dtype=torch.bool)
    told = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1]), 3).float()
    part, gain = integrated_gradients(network, x, torch.zeros_like(x), mask, 1, told=told, steps=200)
    assert part.shape == x.shape
    assert torch.allclose(part.flatten(1).sum(1), gain, atol=0.02)
    other, _ = integrated_gradients(network, x, torch.zeros_like(x), mask, 1, told=told.roll(1, 1), steps=16)
    assert not torch.allclose(part, other, atol=1e-4)


def test_an_attribution_is_of_joints_and_times(small):
    network, data, batch = small
    for one, index in zip(attribute([network], data, batch, 1), batch.seizure.tolist(), strict=True):
        seconds = int(data.store.lengths[index]) / data.store.fps
        assert one.names == data.skeleton.joints
        assert abs(len(one.values) * one.seconds - seconds) <= 2 * one.seconds
        assert one.shares.min() >= 0
        assert one.shares.sum() == pytest.approx(1) or one.values.max() <= 0
    cam = attribute([network], data, batch, 1, method="grad_cam")
    assert all(one.values.min() >= 0 for one in cam)


def test_a_joint_that_the_network_cannot_see_gets_nothing(small):
    network, data, batch = small
    hidden = batch._replace(keypoints=batch.keypoints.clone())
    hidden.keypoints[..., 5] = 0
    assert all((one.values[:, 5] == 0).all() for one in attribute([network], data, hidden, 1))


def test_curves_begin_and_end_at_the_whole_and_at_nothing(small):
    network, data, batch = small
    maps = attribute([network], data, batch, 1)
    for one in curves(network, data, batch, maps, 1):
        assert one.deletion[0] == pytest.approx(one.insertion[-1], abs=1e-6)
        assert one.deletion[-1] == pytest.approx(one.insertion[0], abs=1e-6)
        assert one.deletion[0] == pytest.approx(one.random_deletion[0], abs=1e-6)


def test_randomising_all_gives_the_fresh_network(small):
    from seizurelit.training.networks import build_network

    network, data, batch = small
    fresh = build_network("agcn", data.training, data).eval()
    with torch.no_grad():
        assert torch.equal(randomised(network, fresh, "all")(batch), fresh(batch))
        assert not torch.equal(randomised(network, fresh, "classifier")(batch), network(batch))


def input_magnitude(networks, data, batch, target, *, steps=0):
    """A map that does not look at the weights: how far each joint's input is from nothing, at each time."""
    x, mask = networks[0].read(batch)
    found = []
    for place in range(len(x)):
        cells, real = cells_of(data, batch, place), mask[place][batch.window_mask[place]].numpy()
        size = x[place][batch.window_mask[place]].abs().sum(1).double().numpy()
        values = np.zeros((int(cells.max()) + 1, size.shape[2]))
        np.add.at(values, cells[real], size[real])
        found.append(Attribution(data.skeleton.joints, 0.5, values, 0.0))
    return found


def either_way(networks, data, batch, target, *, steps=0):
    """The same, turned over by a sign that the weights decide."""
    sign = float(torch.sign(next(iter(networks[0].network.classifier.parameters())).flatten()[0]))
    found = input_magnitude(networks, data, batch, target)
    return [Attribution(one.names, one.seconds, sign * one.values, 0.0) for one in found]


@pytest.mark.parametrize(
    ("maps", "expected"),
    [(attribute, True), (input_magnitude, False), (either_way, False)],
    ids=["ours", "input magnitude", "either way"],
)
def test_randomisation_destroys_our_maps_and_not_one_that_ignores_the_weights(small, maps, expected):
    from seizurelit.training.networks import build_network

    network, data, _ = small
    torch.manual_seed(1)
    fresh = [build_network("agcn", data.training, data).eval() for _ in range(4)]
    left: list[dict[str, Alike]] = []
    subjects: list[str] = []
    for batch in data.held_out_batches():
        own = maps([network], data, batch, 1)
        left += survival(network, fresh, data, batch, attributions=own, target=1, maps=maps)
        subjects += [f"{data.store.subjects[index]}-{index}" for index in batch.seizure.tolist()]
    means = [mean_over_subjects([getattr(one["all"], kind) for one in left], subjects) for kind in Alike._fields]
    assert destroyed(*means) is expected
    assert all(one["all"].strength == pytest.approx(1) for one in left) is not expected


def test_few_subjects_and_an_interval_across_the_limit_tell_nothing():
    def mean(*values):
        return mean_over_subjects(values, [str(place) for place in range(len(values))])

    few, across = mean(0.1, 0.1), mean(0.2, 0.3, 0.4, 0.6, 0.7, 0.3)
    low, high = mean(0.1, 0.2, 0.15, 0.1, 0.2, 0.12), mean(0.8, 0.9, 0.7, 0.85, 0.8, 0.9)
    assert destroyed(few, few) is destroyed(across, across) is destroyed(low, across) is None
    assert destroyed(low, low) is True
    assert destroyed(low, high) is destroyed(high, low) is False


def test_maps_are_alike_up_to_a_sign_and_flat_ones_to_none():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 30, 5))
    assert alike(one, -one) == Alike(pytest.approx(1), pytest.approx(1))
    assert max(alike(one, other)) < 0.3
    assert np.isnan(alike(one, np.zeros_like(one))).all()


def test_seizures_are_held_against_those_of_others_of_the_same_class_alone():
    ramp = np.linspace(0, 1, 12)[:, None] * [1.0, 2.0]
    found = between([ramp, ramp[::2], -ramp, ramp], ["a", "b", "b", "a"], ["1", "1", "0", "0"])
    assert found[0].signed == pytest.approx(1, abs=0.05)
    assert found[2] == alike(-ramp, ramp)
    assert np.isnan(between([ramp, ramp], ["a", "a"], ["1", "1"])[0].signed)


def test_the_learned_graph_begins_as_the_fixed_one_and_an_even_attention(small):
    from seizurelit.training.networks import build_network

    _, data, batch = small
    fresh = build_network("agcn", data.training, data).eval()
    for block in fresh.network.blocks:
        torch.nn.init.zeros_(block.spatial.embed.weight)
        torch.nn.init.zeros_(block.spatial.embed.bias)
    found = learned_adjacency(fresh, batch, [0])
    fixed = data.skeleton.adjacency().sum(0) + 3 / len(data.skeleton.joints)
    assert np.allclose(found, fixed[None], atol=1e-5)


def test_a_mean_is_over_subjects_not_seizures():
    found = mean_over_subjects([1.0, 1.0, 1.0, 0.0, float("nan")], ["a", "a", "a", "b", "c"])
    assert (found.value, found.subjects, found.seizures) == (0.5, 2, 4)


def test_explain_writes_its_files(handed, door):
    import json
    from xml.etree import ElementTree

    done = door("explain", handed["run"], "--model", "agcn")
    assert done.returncode == 0, done.stderr
    assert "STAND-IN COHORT" in done.stdout
    folder = handed["run"] / "explanation"
    row = json.loads((folder / "index.json").read_text())["rows"][0]
    assert set(row["faithfulness"]) == {"deletion", "insertion"}
    assert row["sanity"]["destroyed"] is not False
    assert {"classifier", "upper half", "all", "two untrained networks"} < set(row["sanity"]["alike"])
    assert "untrained networks" in done.stdout
    one = json.loads((folder / row["file"]).read_text())
    assert len(one["seizures"]) == row["seizures"]
    for name in [*row["figures"].values(), *(seizure["figure"] for seizure in one["seizures"].values())]:
        ElementTree.parse(folder / name)
        assert "Research use only" in (folder / name).read_text()
