"""What the framework must not do: find a sign where there is none, or recognise a subject and call it a sign."""

import csv
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seizurelit.cache.store import Cache
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize

pytestmark = pytest.mark.slow

SMALL = (
    "--windows.frames",
    75,
    "--windows.stride",
    75,
    "--optimiser.epochs",
    15,
    "--tcn.levels",
    3,
    "--tcn.channels",
    32,
)


def p_value(predictions: pd.DataFrame) -> float:
    """One-sided p of patient-level balanced accuracy when the subjects' labels are dealt anew (2,000 draws or all)."""
    subjects = predictions.groupby("subject").agg(label=("label", "first"), score=("prob_1", "mean"))
    truth = subjects["label"].astype(int).to_numpy()
    decided = (subjects["score"] >= 0.5).to_numpy()

    def balanced(labels: np.ndarray) -> float:
        return (decided[labels == 1].mean() + (~decided[labels == 0]).mean()) / 2

    positives = int(truth.sum())
    rng = np.random.default_rng(0)
    draws = [rng.permutation(truth) for _ in range(2000)]
    if len(truth) <= 12:
        draws = [
            np.isin(np.arange(len(truth)), chosen).astype(int)
            for chosen in itertools.combinations(range(len(truth)), positives)
        ]
    observed = balanced(truth)
    return (1 + sum(balanced(draw) >= observed - 1e-12 for draw in draws)) / (1 + len(draws))


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path / "predictions.csv", dtype={"label": str, "prediction": str})


def test_without_a_signal_no_row_is_above_chance(door, tmp_path):
    synthesize(StandIn(subjects=12, signal=0, max_seconds=40), tmp_path / "cache")
    done = door("reproduce", "--cache", "cache", "--out", "run", "--wandb", "off", *SMALL, "--optimiser.epochs", 6)
    assert done.returncode == 0, done.stderr
    predictions = read(tmp_path / "run")
    rows = {key: p_value(rows) for key, rows in predictions.fillna("").groupby(["sign", "stream", "model"])}
    assert len(rows) >= 20
    table = pd.read_csv(tmp_path / "run" / "table.csv")
    marks = table.groupby("chance_family")["chance"].agg(set)
    assert marks.to_dict() == {"trained rows": {"within chance"}, "baselines, exploratory": {"within chance"}}
    assert "≈" in done.stdout
    # Holm's smallest: no row may be significant at 5% in its family.
    assert min(rows.values()) >= 0.05 / len(rows), rows


def test_a_label_that_follows_identity_is_found_by_seizure_and_not_by_subject(door, tmp_path):
    """The canary: three seizures a subject; the split by seizure is one that only this test can make."""
    count = 3
    options = StandIn(subjects=12, seizures_per_subject=count, labels="identity", max_seconds=40)
    honest = synthesize(options, tmp_path / "cache")
    arguments = ("--stream", "pose", "--model", "tcn", "--wandb", "off", *SMALL)
    done = door("fit", *arguments, "--cache", "cache", "--out", "loso")
    assert done.returncode == 0, done.stderr

    leaky = tmp_path / "leaky"
    leaky.mkdir()
    rows = list(csv.DictReader((honest.root / "cohort.csv").open(encoding="utf-8")))
    subject_of = {row["seizure"]: row["subject"] for row in rows}
    position = {
        name: sum(other < name and subject_of[other] == subject for other in subject_of)
        for name, subject in subject_of.items()
    }
    with (tmp_path / "cohort.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["subject", "seizure", "dystonia", "stand_in"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "subject": f"only-{row['seizure']}"} for row in rows)
    cache = Cache.create(leaky, tmp_path / "cohort.csv")
    for name in subject_of:
        tensors = honest.read(name, "pose")
        metadata = dataclasses.replace(tensors.metadata, subject=f"only-{name}")
        cache.write(dataclasses.replace(tensors, metadata=metadata))
    folds = [{"fold": f"part-{position[name]}", "subject": f"only-{name}"} for name in subject_of]
    with (tmp_path / "folds.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["fold", "subject"])
        writer.writeheader()
        writer.writerows(folds)
    done = door("fit", *arguments, "--cache", "leaky", "--folds", "folds.csv", "--out", "by-seizure")
    assert done.returncode == 0, done.stderr

    def trained(run: str) -> pd.DataFrame:
        predictions = read(tmp_path / run)
        predictions = predictions[predictions["model"] == "tcn"]
        return predictions.assign(subject=predictions["seizure"].map(subject_of))

    loso, by_seizure = trained("loso"), trained("by-seizure")
    accuracy = {
        name: (rows["label"] == rows["prediction"]).mean() for name, rows in (("loso", loso), ("seizure", by_seizure))
    }
    assert accuracy["seizure"] >= 0.8, accuracy
    assert p_value(by_seizure) < 0.01
    assert p_value(loso) >= 0.05, accuracy
