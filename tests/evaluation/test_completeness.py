from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd
import pytest

from seizurelit.cohort.manifest import Cohort
from seizurelit.cohort.plan import Plan
from seizurelit.errors import InputError
from seizurelit.evaluation.statistics.completeness import Part, check_parts


@pytest.fixture
def parts(cohort: Cohort, plans: dict[str, Plan], fabricate: Callable[..., pd.DataFrame]) -> list[Part]:
    frame = fabricate(cohort, plans["dystonia"], "pose", "agcn")
    return [
        Part(f"jobs/{fold}", "0123", "dystonia", "pose", "agcn", 0, str(fold), rows)
        for fold, rows in frame.groupby("fold")
    ]


def test_the_parts_of_one_run_pass(parts: list[Part], plans: dict[str, Plan]) -> None:
    check_parts(parts, "0123", plans)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run_id": "4567"}, r"jobs/sub-01: is of run 4567, not of this run \(0123\)"),
        ({"run_id": ""}, "is of run unknown"),
        ({"fold": "sub-99"}, "fold sub-99 of dystonia is not in folds.json"),
        ({"sign": "tremor"}, "fold sub-01 of tremor is not in folds.json"),
        ({"fold": "sub-02"}, "predicts sub-01, whom fold sub-02 does not hold out"),
        ({"seed": 1}, "holds predictions of seed 0"),
        ({"model": "tcn"}, "holds predictions of model agcn"),
    ],
)
def test_what_is_of_another_run_or_fold_is_refused(
    changes: dict[str, object], said: str, parts: list[Part], plans: dict[str, Plan]
) -> None:
    spoiled = [dataclasses.replace(parts[0], **changes), *parts[1:]]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):
        check_parts(spoiled, "0123", plans)
