"""Gaps: what is filled, how surely, and that nothing else is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.extraction.gaps import fill_gaps

Array = np.ndarray[Any, Any]


def line(frames: int) -> tuple[Array, Array]:
    """One joint on a straight line, as sure as it can be."""
    points = np.arange(frames, dtype=np.float32)[:, None, None] * np.array([2, -1], np.float32)
    return points, np.ones((frames, 1), np.float32)


@pytest.mark.parametrize(("missing", "filled"), [(1, True), (5, True), (6, False), (20, False)])
def test_two_tenths_of_a_second_are_bridged_and_no_more(missing: int, filled: bool) -> None:
    points, confidence = line(40)
    holes = points.copy()
    holes[10 : 10 + missing] = np.nan
    confidence[10 : 10 + missing] = 0
    confidence[9] = 0.6
    made = fill_gaps(holes, confidence, fps=25)
    gap = slice(10, 10 + missing)
    if filled:
        np.testing.assert_allclose(made.points, points, rtol=1e-6)
        np.testing.assert_allclose(made.confidence[gap], 0.3)
    else:
        assert np.isnan(made.points[gap]).all()
        assert (made.confidence[gap] == 0).all()
    assert made.mask[gap].all() == made.mask.any() == filled
    assert made.share == (missing / 40 if filled else 0)


def test_nothing_is_put_before_the_first_or_after_the_last_frame() -> None:
    points, confidence = line(10)
    confidence[[0, 1, 9]] = 0  # coordinates of what was not found are not believed
    made = fill_gaps(points, confidence, fps=25)
    assert np.isnan(made.points[[0, 1, 9]]).all()
    assert made.share == 0


def test_the_gap_is_counted_in_seconds() -> None:
    points, confidence = line(10)
    confidence[3:6] = 0
    assert fill_gaps(points, confidence, fps=5).share == 0
    assert fill_gaps(points, confidence, fps=5, longest=0.6).share == pytest.approx(0.3)
    assert fill_gaps(points, confidence, fps=25, longest=0).share == 0


@pytest.mark.parametrize("frames", [0, 1])
def test_a_clip_of_no_or_one_frame(frames: int) -> None:
    made = fill_gaps(np.full((frames, 3, 2), np.nan, np.float32), np.zeros((frames, 3), np.float32), fps=25)
    assert made.points.shape == (frames, 3, 2)
    assert made.share == 0


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 0.5))
def test_the_laws_of_filling(seed: int, lost: float, longest: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(30, 4, 3)).astype(np.float32)
    confidence = rng.uniform(0.1, 1, (30, 4)).astype(np.float32)
    missing = rng.random((30, 4)) < lost
    points[missing], confidence[missing] = np.nan, 0
    made = fill_gaps(points, confidence, 25, longest)
    # What was seen is as it was; what is missing is so in both; filled is what is new.
    np.testing.assert_array_equal(made.points[~missing], points[~missing])
    np.testing.assert_array_equal(made.confidence[~missing], confidence[~missing])
    np.testing.assert_array_equal(np.isnan(made.points).any(axis=-1), made.confidence == 0)
    np.testing.assert_array_equal(made.mask, missing & (made.confidence > 0))
    # Between its neighbours, and less sure than either.
    for frame, joint in np.argwhere(made.mask):
        seen = np.flatnonzero(~missing[:, joint])
        first, last = seen[seen < frame].max(), seen[seen > frame].min()
        assert last - first - 1 <= longest * 25 + 1e-3
        ends = points[[first, last], joint]
        assert (made.points[frame, joint] >= ends.min(axis=0) - 1e-6).all()
        assert (made.points[frame, joint] <= ends.max(axis=0) + 1e-6).all()
        assert 0 < made.confidence[frame, joint] == confidence[[first, last], joint].min() / 2
    # The same backwards in time, and filling twice is filling once, short of the frames that it lengthened.
    back = fill_gaps(points[::-1], confidence[::-1], 25, longest)
    np.testing.assert_allclose(back.points[::-1], made.points, atol=1e-6)
    again = fill_gaps(made.points, made.confidence, 25, longest)
    np.testing.assert_array_equal(again.points, made.points)
    assert again.share == 0
