"""What the padding of a short window holds matters to no network, in no mode; and what else can be said without a golden value."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seizurelit.cohort.skeleton import built_in
from seizurelit.models import Agcn, Tcn
from seizurelit.models.agcn import FrameNorm, Frames, GraphConvolution

SKELETON = built_in("body11")


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("tcn"):
        pool = name.removeprefix("tcn, ") if "mean" in name else "mean"
        return Tcn(44, 3, channels=8, levels=3, dropout=0.0, input_norm=name == "tcn, normed", pool=pool)
    network = Agcn(SKELETON.adjacency(), 4, 3, variant="small", adaptive=name == "agcn")
    for parameter in network.parameters():  # B and the biases start at 0
        nn.init.normal_(parameter, std=0.1)
    return network


def windows(name: str, frames: int) -> torch.Tensor:
    x = torch.randn(6, 4, frames, 11, generator=torch.Generator().manual_seed(1))
    return x.permute(0, 3, 1, 2).flatten(1, 2) if name.startswith("tcn") else x


def pad(x: torch.Tensor, name: str, frames: int, content: float) -> torch.Tensor:
    shape = list(x.shape)
    shape[2] = frames
    return torch.cat([x, torch.full(shape, content)], dim=2)


@pytest.mark.parametrize("name", ["agcn", "gcn", "tcn", "tcn, normed", "tcn, mean_std", "tcn, mean_max"])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("frames", [1, 29, 30])
def test_a_padded_window_has_the_logits_of_the_short_one(name: str, mode: str, frames: int):
    x = windows(name, frames)
    mask = torch.arange(frames + 11).expand(6, -1) < frames
    expected = make(name).train(mode == "train")(x)
    for content in (0.0, 1e4, float("nan")):
        logits = make(name).train(mode == "train")(pad(x, name, 11, content), mask)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["agcn", "gcn", "tcn", "tcn, normed", "tcn, mean_std", "tcn, mean_max"])
def test_windows_of_a_batch_do_not_see_each_others_length(name: str):
    network = make(name).eval()
    x = windows(name, 40)
    lengths = torch.tensor([40, 3, 17, 40, 25, 8])
    together = network(x, torch.arange(40) < lengths[:, None])
    for i, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[i : i + 1], network(x[i : i + 1, :, :length]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["agcn", "tcn", "tcn, mean_std", "tcn, mean_max"])
def test_padding_gets_no_gradient_and_spoils_none(name: str):
    network = make(name)
    x = pad(windows(name, 20), name, 9, 7.0).requires_grad_()
    network(x, torch.arange(29).expand(6, -1) < 20).sum().backward()
    assert (x.grad[:, :, 20:] == 0).all()
    assert (x.grad[:, :, :20] != 0).any()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_running_statistics_are_of_the_real_frames():
    x = torch.randn(4, 10, 11, 5)
    mask = torch.arange(10).expand(4, -1) < 6
    alone, padded = FrameNorm(5), FrameNorm(5)
    alone(x[:, :6])
    padded(x.masked_fill(~mask[..., None, None], 1e6), Frames(mask))
    torch.testing.assert_close(alone.running_mean, padded.running_mean)
    torch.testing.assert_close(alone.running_var, padded.running_var)


def test_a_window_without_any_real_frame_is_finite():
    mask = torch.ones(6, 20, dtype=torch.bool)
    mask[2] = False
    for name in ("agcn", "tcn"):
        assert make(name)(windows(name, 20), mask).isfinite().all()


def test_the_attention_is_a_distribution_over_source_joints():
    layer = GraphConvolution(4, 16, subsets=3, joints=11, embedding=4, adaptive=True)
    attention = layer.attention(torch.randn(2, 9, 11, 4))
    assert attention.shape == (2, 3, 11, 11)
    torch.testing.assert_close(attention.sum(-2), torch.ones(2, 3, 11))


def test_a_fixed_graph_learns_no_adjacency():
    names = [name for name, _ in make("gcn").named_parameters()]
    assert not [name for name in names if "learned" in name or "embed" in name]
    with pytest.raises(ValueError, match="adaptive=False"):
        make("gcn").blocks[0].spatial.attention(torch.zeros(1, 5, 11, 4))


@pytest.mark.parametrize("skeleton", ["body11", "face23"])
@pytest.mark.parametrize("variant", ["small", "ten_block"])
def test_any_skeleton(skeleton: str, variant: str):
    graph = built_in(skeleton)
    network = Agcn(graph.adjacency(), graph.dimensions, 4, variant=variant)
    assert network(torch.randn(2, graph.dimensions, 16, len(graph.joints))).shape == (2, 4)


def test_an_even_kernel_and_a_flat_adjacency_are_refused():
    with pytest.raises(ValueError, match="odd"):
        Tcn(4, 2, kernel=4)
    with pytest.raises(ValueError, match=r"\(K, V, V\)"):
        Agcn(torch.eye(11), 3, 2)


@pytest.mark.parametrize("pool", ["mean_std", "mean_max"])
def test_a_second_statistic_stands_beside_the_mean(pool: str):
    mean, both = (make(f"tcn, {name}").eval() for name in ("mean", pool))
    for beside, levels in zip(both.levels, mean.levels, strict=True):
        beside.load_state_dict(levels.state_dict())
    x = windows("tcn", 30)
    got = both.features(x)
    torch.testing.assert_close(got[:, :8], mean.features(x))
    frames = x
    for level in both.levels:
        frames = level(frames, None)
    wanted = frames.amax(2) if pool == "mean_max" else (frames.var(2, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(got[:, 8:], wanted)


def test_the_tcn_sees_both_ways():
    network = make("tcn").eval()
    x = windows("tcn", 30).requires_grad_()
    middle = network.levels[0](x, None)[:, :, 15].sum()
    (gradient,) = torch.autograd.grad(middle, x)
    seen = gradient.abs().sum((0, 1)).nonzero().flatten()
    assert seen.tolist() == [13, 14, 15, 16, 17]


@pytest.mark.parametrize("name", ["agcn", "gcn", "tcn", "tcn, normed", "tcn, mean_std", "tcn, mean_max"])
def test_mixed_precision_takes_padded_windows(name: str):
    network = make(name)
    x, mask = windows(name, 30), torch.arange(30) < torch.tensor([30, 12, 30, 7, 30, 30])[:, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(x, mask)
    torch.testing.assert_close(logits.float(), make(name)(x, mask), rtol=0.2, atol=0.3)
    logits.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
