import numpy as np
import pytest
import torch

pytest.importorskip("captum")

from seizurelit.explanation.adjacency import learned_adjacency
from seizurelit.explanation.attribution import attribute, baseline_of, integrated_gradients
from seizurelit.explanation.faithfulness import curves, mean_over_subjects, randomised
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
    store = store_of(ensemble, row, cache, cohort, {seizure.name: 0 for seizure in cohort.seizures[:2]})
    data = new_data(store, row.members[0].training)
    return row.members[0].network, data, next(data.held_out_batches())


def test_integrated_gradients_add_up_to_the_margin(small):
    network, _, batch = small
    x, mask = network.read(batch)
    x, mask = x.flatten(0, 1), mask.flatten(0, 1)
    part, gain = integrated_gradients(network.network, x, baseline_of(x, mask), mask, 1, steps=64)
    assert torch.allclose(part.flatten(1).sum(1), gain, atol=0.02 * max(1.0, float(gain.abs().max())))


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
    assert set(row["sanity"]) == {"classifier", "upper half", "all"}
    one = json.loads((folder / row["file"]).read_text())
    assert len(one["seizures"]) == row["seizures"]
    for name in [*row["figures"].values(), *(seizure["figure"] for seizure in one["seizures"].values())]:
        ElementTree.parse(folder / name)
        assert "Research use only" in (folder / name).read_text()
