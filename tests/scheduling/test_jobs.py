"""Which lists of jobs are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.scheduling.jobs import Job, check


@pytest.mark.parametrize(
    ("jobs", "says"),
    [
        ([Job("a", "m:f"), Job("a", "m:f")], "given twice: a"),
        ([Job("a/../b", "m:f")], "not a job's id"),
        ([Job("/a", "m:f")], "not a job's id"),
        ([Job("a//b", "m:f")], "not a job's id"),
        ([Job("a/.b", "m:f")], "not a job's id"),
        ([Job("", "m:f")], "not a job's id"),
        ([Job("a\nb", "m:f")], "not a job's id"),
        ([Job("a", "m:f"), Job("a/b", "m:f")], "inside the folder of job a"),
        ([Job("a", "os.system")], "module:function"),
        ([Job("a", "m:f", requires=("b",))], "requires b"),
        ([Job("a", "m:f", requires=("b",)), Job("b", "m:f", requires=("a",)), Job("c", "m:f")], "circle: a, b"),
        ([Job("a", "m:f", requires=("a",))], "circle: a"),
    ],
)
def test_refused(jobs, says):
    with pytest.raises(ValueError, match=says):
        check(jobs)


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), max_size=30))
def test_any_order_without_a_circle_is_taken(needs):
    check([Job(f"j{k}", "m:f", requires=tuple(f"j{n}" for n in row if n < k)) for k, row in enumerate(needs)][::-1])


def test_a_long_chain_is_taken():
    check([Job(f"j{k}", "m:f", requires=(f"j{k - 1}",) if k else ()) for k in range(5000)])
