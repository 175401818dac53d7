"""Hand-made cohorts and predictions; every number in them is fabricated for the test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from seizurelit.cohort.manifest import Cohort, read_cohort, write_cohort
from seizurelit.cohort.plan import Plan, loso_plan
from seizurelit.evaluation.predictions import prediction_rows
from seizurelit.evaluation.table import RowKey

# Seizures of each subject; the paper's composition: 38 of 19, 1 to 6 each, median 1.
COUNTS = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 6)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """19 subjects, 38 seizures, 9 subjects with each sign and 2 with both; no stand-in by its own word."""
    rows = []
    for index, count in enumerate(COUNTS):
        dystonia, emotion = int(index % 2 == 1), int(index % 2 == 0 and index < 14) or int(index in (3, 5))
        for seizure in range(count):
            rows.append((f"sub-{index + 1:02d}", f"sub-{index + 1:02d}_sz-{seizure + 1}", dystonia, emotion))
    path = tmp_path_factory.mktemp("fabricated") / "cohort.csv"
    write_cohort(path, ("subject", "seizure", "dystonia", "emotion"), rows)
    return read_cohort(path)


@pytest.fixture(scope="session")
def plans(cohort: Cohort) -> dict[str, Plan]:
    return {name: loso_plan(cohort, cohort.sign(name)) for name in ("dystonia", "emotion")}


@pytest.fixture(scope="session")
def fabricate() -> Callable[..., pd.DataFrame]:
    """Out-of-fold predictions of one row and seed whose scores follow the label with the given strength."""

    def make(
        cohort: Cohort,
        plan: Plan,
        stream: str,
        model: str,
        *,
        seed: int | None = 0,
        strength: float = 1.0,
        without: tuple[str, ...] = (),
    ) -> pd.DataFrame:
        sign = cohort.sign(plan.sign)
        labels = cohort.labels(sign)
        key = sum(map(ord, f"{plan.sign}{stream}{model}")) * 10 + (seed or 0)
        noise = dict(zip(labels, np.random.default_rng(key).normal(size=(len(labels), len(sign.classes))), strict=True))
        fold_of = {subject: fold.name for fold in plan.folds for subject in fold.test}
        subject_of = {name: cohort.subject_of(name) for name in labels}
        scores = {}
        for name, label in labels.items():
            if fold_of[subject_of[name]] not in without:
                logits = noise[name] + strength * (np.arange(len(sign.classes)) == label)
                scores[name] = np.exp(logits) / np.exp(logits).sum()
        frame = prediction_rows(
            scores,
            sign=plan.sign,
            classes=sign.classes,
            stream=stream,
            model=model,
            seed=seed,
            fold="?",
            subject_of=subject_of,
            label_of=labels,
        )
        return frame.assign(fold=[fold_of[subject] for subject in frame["subject"]])

    return make


@pytest.fixture(scope="session")
def table1() -> tuple[RowKey, ...]:
    """The trained rows that `reproduce` asks for."""
    return tuple(
        RowKey(sign, stream, model)
        for sign in ("dystonia", "emotion")
        for stream in ("pose", "face")
        for model in ("agcn", "tcn", "agcn_kd")
    )
