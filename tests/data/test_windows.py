"""Laws of where windows lie."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.data.windows import draw_starts, scoring_starts


@given(st.integers(1, 2000), st.integers(1, 400), st.data())
def test_scoring_windows_cover_all_frames_and_stay_inside(length: int, frames: int, data: st.DataObject):
    stride = data.draw(st.integers(1, frames))
    starts = scoring_starts(length, frames, stride)
    seen = torch.zeros(length, dtype=torch.bool)
    for start in starts.tolist():
        seen[start : start + frames] = True
    assert seen.all()
    assert int(starts[0]) == 0
    assert (starts.diff() > 0).all()
    assert (starts.diff() <= stride).all()
    assert int(starts[-1]) == max(length - frames, 0)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=8), st.integers(1, 300), st.integers(0, 2**31))
def test_draws_are_within_bounds(lengths: list[int], frames: int, seed: int):
    starts = draw_starts(torch.tensor(lengths), frames, 5, torch.Generator().manual_seed(seed))
    assert starts.shape == (len(lengths), 5)
    assert (starts >= 0).all()
    assert (starts <= (torch.tensor(lengths)[:, None] - frames).clamp(min=0)).all()


def test_draws_reach_the_first_and_the_last_place():
    starts = draw_starts(torch.tensor([12]), 10, 500, torch.Generator().manual_seed(0))
    assert sorted(set(starts.flatten().tolist())) == [0, 1, 2]


def test_each_window_may_have_its_own_span():
    starts = draw_starts(torch.tensor([10, 10]), torch.tensor([[10, 1], [9, 30]]), 2, torch.Generator().manual_seed(0))
    assert int(starts[0, 0]) == 0
    assert int(starts[1, 1]) == 0
    assert 0 <= int(starts[1, 0]) <= 1


def test_a_short_seizure_is_seen_at_every_phase():
    starts = draw_starts(torch.tensor([10, 2, 40]), 30, 300, torch.Generator().manual_seed(0), phases=4)
    assert [set(row.tolist()) for row in starts] == [{0, 1, 2, 3}, {0, 1}, set(range(11))]
