from __future__ import annotations

import csv
import dataclasses
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn import metrics

from seizurelit.cohort.manifest import Cohort, read_cohort, write_cohort
from seizurelit.cohort.plan import Plan, loso_plan
from seizurelit.config import RESEARCH_USE
from seizurelit.errors import InputError
from seizurelit.evaluation.baselines import always_positive, training_prior
from seizurelit.evaluation.fusion import fuse
from seizurelit.evaluation.predictions import pool
from seizurelit.evaluation.rendering import (
    confusion_records,
    flat_rows,
    footnotes,
    print_table,
    render,
    to_csv,
    to_markdown,
    write_table,
)
from seizurelit.evaluation.table import PAPER, RowKey, RunInfo, Table, make_table, row_name

Fabricate = Callable[..., pd.DataFrame]
Plans = dict[str, Plan]
AGCN = RowKey("dystonia", "pose", "agcn")


def printed(table: Table, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    print_table(table, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def whole(cohort: Cohort, plans: Plans, fabricate: Fabricate, table1: tuple[RowKey, ...]) -> Table:
    """Every row of Table 1 with three seeds, fusion and baselines; all numbers are fabricated."""
    frames = [
        fabricate(cohort, plans[key.sign], key.stream, key.model, seed=seed) for key in table1 for seed in range(3)
    ]
    trained = pool(frames)
    parts = [trained, fuse(trained)]
    for name, plan in plans.items():
        sign = cohort.sign(name)
        parts += [always_positive(cohort, sign, plan), training_prior(cohort, sign, plan)]
        parts += [fabricate(cohort, plan, stream, "motion_energy", seed=None) for stream in ("pose", "face")]
        parts.append(fabricate(cohort, plan, "", "nuisance", seed=None))
    run = RunInfo(run_id="0123", preset="paper", seeds=(0, 1, 2), rows=table1)
    return make_table(pool(parts), plans, cohort, run)


def test_rows_groups_and_names(whole: Table) -> None:
    groups: dict[str, list[str]] = {}
    for row in whole.rows:
        groups.setdefault(row.group, []).append(row.name)
    baselines = ["always positive", "training prior"]
    assert groups == {
        "dystonia": [
            "AGCNp",
            "TCNp",
            "AGCNp + KD",
            "AGCNp+f + KD (fusion)",
            *baselines,
            "motion energy (pose)",
            "nuisance",
        ],
        "emotion": [
            "AGCNf",
            "TCNf",
            "AGCNf + KD",
            "AGCNp+f + KD (fusion)",
            *baselines,
            "motion energy (face)",
            "nuisance",
        ],
        "crossed: dystonia": ["AGCNf", "TCNf", "AGCNf + KD", "motion energy (face)"],
        "crossed: emotion": ["AGCNp", "TCNp", "AGCNp + KD", "motion energy (pose)"],
    }
    assert list(groups) == ["dystonia", "emotion", "crossed: dystonia", "crossed: emotion"]
    assert whole.complete
    assert {row.key: row.paper for row in whole.rows if row.paper} == dict(PAPER)
    assert row_name(AGCN, fixed_graph=True) == "GCNp"


def test_scores_are_pooled_a_seed_then_averaged(cohort: Cohort, plans: Plans, fabricate: Fabricate) -> None:
    frames = [fabricate(cohort, plans["dystonia"], "pose", "agcn", seed=seed) for seed in range(3)]
    row = make_table(pool(frames), plans, cohort, RunInfo(seeds=(0, 1, 2), rows=(AGCN,))).rows[0]
    f1 = [
        metrics.f1_score(frame["label"].astype(str), frame["prediction"].astype(str), pos_label="1") for frame in frames
    ]
    accuracy = [float((frame["label"] == frame["prediction"]).mean()) for frame in frames]
    assert row.scores["f1"].mean == pytest.approx(statistics.mean(f1), abs=1e-12)
    assert row.scores["f1"].sd == pytest.approx(statistics.stdev(f1), abs=1e-12), "n - 1"
    assert row.scores["accuracy"].mean == pytest.approx(statistics.mean(accuracy), abs=1e-12)
    assert (row.folds_done, row.folds, row.scored, row.rated, row.subjects_scored) == (19, 19, 38, 38, 19)
    mean = sum(frame.set_index("seizure")["prob_1"].astype(float) for frame in frames) / 3
    label = frames[0].set_index("seizure")["label"]
    assert row.ensemble["accuracy"].value == pytest.approx(float(((mean >= 0.5) == (label == "1")).mean()))
    by_subject = [(frame["label"] == frame["prediction"]).groupby(frame["subject"]).mean().mean() for frame in frames]
    assert row.by_subject["accuracy"].mean == pytest.approx(statistics.mean(by_subject))
    assert row.confusion.shape == (3, 2, 3)
    assert row.confusion.sum() == 3 * 38


def test_one_seed_has_no_spread_and_equal_seeds_have_none(cohort: Cohort, plans: Plans, fabricate: Fabricate) -> None:
    frame = fabricate(cohort, plans["dystonia"], "pose", "agcn")
    one = make_table(frame, plans, cohort, RunInfo(seeds=(0,), rows=(AGCN,)))
    assert one.rows[0].scores["f1"].sd is None
    assert one.rows[0].ensemble == {}
    assert "0±" not in printed(one, 80)
    assert "0 ±" not in printed(one, 80)
    assert any("One seed; what another seed would give is not known" in note for note in footnotes(one))
    again = [frame.assign(seed=pd.array([seed] * len(frame), dtype="Int64")) for seed in range(3)]
    same = make_table(pool(again), plans, cohort, RunInfo(seeds=(0, 1, 2), rows=(AGCN,)))
    assert same.rows[0].scores["f1"].sd == 0.0


def test_a_missing_fold_is_counted_named_and_left_out(cohort: Cohort, plans: Plans, fabricate: Fabricate) -> None:
    frames = [
        fabricate(cohort, plans["dystonia"], "pose", "agcn", seed=0),
        fabricate(cohort, plans["dystonia"], "pose", "agcn", seed=1, without=("sub-03", "sub-19")),
    ]
    failed = {(AGCN, 1, "sub-19"): "the loss is not finite after epoch 3."}
    table = make_table(pool(frames), plans, cohort, RunInfo(seeds=(0, 1), rows=(AGCN,), failed=failed))
    row = table.rows[0]
    assert not table.complete
    assert (row.folds_done, row.folds, row.scored, row.rated) == (17, 19, 31, 38)
    assert row.counted_wrong == ()
    assert row.confusion.sum(axis=(1, 2)).tolist() == [38, 31]
    assert (
        "dystonia AGCNp, 17/19 folds: sub-19 (seed 1): the loss is not finite after epoch 3; sub-03 (seed 1): not run."
        in footnotes(table)
    )
    text = printed(table, 80)
    assert "17/19" in text
    assert "31/38" in text
    assert "17/19 folds" in to_markdown(table)
    record = next(csv.DictReader(io.StringIO(to_csv(table))))
    assert (record["folds_done"], record["missing_folds"]) == ("17", "2")
    assert record["missing"] == "sub-19 (seed 1): the loss is not finite after epoch 3; sub-03 (seed 1): not run"


def test_a_row_without_any_fold_is_shown(cohort: Cohort, plans: Plans, fabricate: Fabricate) -> None:
    frame = fabricate(
        cohort, plans["dystonia"], "pose", "agcn", without=tuple(fold.name for fold in plans["dystonia"].folds[1:])
    )
    asked = (AGCN, RowKey("dystonia", "pose", "tcn"))
    table = make_table(frame, plans, cohort, RunInfo(seeds=(0,), rows=asked))
    agcn, tcn = table.rows
    assert (agcn.folds_done, tcn.folds_done, tcn.scored) == (1, 0, 0)
    assert str(agcn.scores["f1"].by_seed[0]) == "undefined (one class)"
    assert tcn.scores["f1"].reason == "no fold done"
    notes = footnotes(table)
    assert "dystonia TCNp, 0/19 folds: every fold: not run." in notes
    assert "dystonia AGCNp, 1/19 folds: sub-02, sub-03, sub-04, sub-05, sub-06, sub-07 and 12 more: not run." in notes
    assert "– Undefined (one class): dystonia AGCNp." in notes
    assert agcn.confusion.tolist() in ([[[1, 0, 0], [0, 0, 0]]], [[[0, 1, 0], [0, 0, 0]]])


def test_what_is_not_extracted_counts_as_wrong_where_its_fold_was_done(
    cohort: Cohort, plans: Plans, fabricate: Fabricate
) -> None:
    """sub-19 has 6 seizures, two of them and all of sub-01 (1) without keypoints; sub-18's fold failed."""
    lacking = frozenset({"sub-19_sz-1", "sub-19_sz-2", "sub-01_sz-1", "sub-18_sz-1"})
    frame = fabricate(cohort, plans["dystonia"], "pose", "agcn", without=("sub-01", "sub-18"))
    frame = frame.loc[~frame["seizure"].isin(lacking)].reset_index(drop=True)
    run = RunInfo(seeds=(0,), rows=(AGCN,), failed={(AGCN, 0, "sub-18"): "failed"}, lacking={AGCN: lacking})
    table = make_table(frame, plans, cohort, run)
    row = table.rows[0]
    assert (row.folds_done, row.folds, row.scored, row.rated) == (18, 19, 31, 38)
    assert row.counted_wrong == ("sub-01_sz-1", "sub-19_sz-1", "sub-19_sz-2")
    assert (row.subjects_scored, row.subjects_rated) == (17, 19)
    right = int((frame["label"] == frame["prediction"]).sum())
    assert row.scores["accuracy"].mean == pytest.approx(right / 34)
    assert row.scored_only["accuracy"].mean == pytest.approx(right / 31)
    assert row.scores["auroc"].mean == pytest.approx(row.scored_only["auroc"].mean, abs=1e-12)
    assert row.confusion[0, :, 2].sum() == 3
    assert any(
        "3 rated seizures without an extraction count as wrong (sub-01_sz-1, sub-19_sz-1," in note
        for note in footnotes(table)
    )
    assert "not scored" in to_markdown(table)
    assert sum(entry["seizures"] for entry in confusion_records(table) if entry["prediction"] == "not scored") == 3


def test_nothing_counts_as_wrong_while_folds_are_still_to_be_run(
    cohort: Cohort, plans: Plans, fabricate: Fabricate
) -> None:
    names = tuple(fold.name for fold in plans["dystonia"].folds)
    frame = fabricate(cohort, plans["dystonia"], "pose", "agcn", without=names[2:])
    lacking = {AGCN: frozenset({"sub-19_sz-1", "sub-03_sz-1"})}
    row = make_table(frame, plans, cohort, RunInfo(seeds=(0,), rows=(AGCN,), lacking=lacking)).rows[0]
    assert (row.folds_done, row.counted_wrong) == (2, ())


def test_fusion_takes_over_what_its_students_lack(cohort: Cohort, plans: Plans, fabricate: Fabricate) -> None:
    plan = plans["dystonia"]
    students = tuple(RowKey("dystonia", stream, "agcn_kd") for stream in ("pose", "face"))
    pose, face = (
        fabricate(cohort, plan, key.stream, key.model, without=("sub-02",) if key.stream == "face" else ())
        for key in students
    )
    face = face.loc[face["seizure"] != "sub-19_sz-1"]
    trained = pool([pose, face])
    run = RunInfo(
        seeds=(0,),
        rows=students,
        failed={(students[1], 0, "sub-02"): "out of memory"},
        lacking={students[1]: frozenset({"sub-19_sz-1"})},
    )
    table = make_table(pool([trained, fuse(trained)]), plans, cohort, run)
    fused = next(row for row in table.rows if row.key.model == "fusion")
    assert fused.counted_wrong == ("sub-19_sz-1",)
    assert fused.missing == ((0, "sub-02", "AGCNf + KD: out of memory"),)


def test_a_fold_that_is_predicted_in_part_is_refused(cohort: Cohort, plans: Plans, fabricate: Fabricate) -> None:
    frame = fabricate(cohort, plans["dystonia"], "pose", "agcn").query("seizure != 'sub-19_sz-1'")
    with pytest.raises(InputError, match="dystonia/pose/agcn/seed-0/sub-19 lacks sub-19_sz-1, which is extracted"):
        make_table(frame, plans, cohort, RunInfo(seeds=(0,)))


def test_predictions_of_another_cohort_or_other_folds_are_refused(
    cohort: Cohort, plans: Plans, fabricate: Fabricate
) -> None:
    frame = fabricate(cohort, plans["dystonia"], "pose", "agcn")
    run = RunInfo(seeds=(0,))
    with pytest.raises(InputError, match="a second time"):
        make_table(pd.concat([frame, frame.iloc[:1]], ignore_index=True), plans, cohort, run)
    moved = frame.assign(fold=frame["fold"].replace("sub-02", "sub-01"))
    with pytest.raises(InputError, match="sub-02_sz-1 is of fold sub-01, subject sub-02"):
        make_table(moved, plans, cohort, run)
    with pytest.raises(InputError, match="the cohort has no rating of it"):
        make_table(frame.assign(seizure=frame["seizure"] + "x"), plans, cohort, run)
    with pytest.raises(InputError, match="dystonia has no folds; the run planned emotion"):
        make_table(frame, {"emotion": plans["emotion"]}, cohort, run)


@pytest.mark.parametrize("width", [80, 90, 100, 120])
def test_the_printed_table_fits_and_cuts_nothing(whole: Table, width: int) -> None:
    text = printed(whole, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    flat = " ".join(text.split())
    for said in (
        "AGCNp+f + KD (fusion)",
        "19/19",
        "38/38",
        "0.83",
        "crossed: emotion",
        "Chance lies below one half",
        RESEARCH_USE,
    ):
        assert said in flat, said
    assert "The paper contradicts itself" in flat
    assert "STAND-IN" not in text


def test_every_rendering_says_stand_in_cohort_and_preset(whole: Table) -> None:
    table = dataclasses.replace(whole, stand_in=True, run=dataclasses.replace(whole.run, preset="fast"))
    said = "STAND-IN COHORT (not clinical data)"
    assert said in printed(table, 80)
    assert f"**{said}**" in to_markdown(table)
    assert {row["cohort"] for row in csv.DictReader(io.StringIO(to_csv(table)))} == {said}
    assert all(row["cohort"] == said and row["use"] == RESEARCH_USE for row in flat_rows(table))
    assert footnotes(table)[1].startswith("Preset fast, 3 seeds: small networks")


def test_the_cohort_itself_may_say_that_it_is_a_stand_in(tmp_path: Path, fabricate: Fabricate) -> None:
    path = tmp_path / "stand-in" / "cohort.csv"
    write_cohort(path, ("subject", "seizure", "tremor", "stand_in"), [(f"s{i}", f"z{i}", i % 2, 1) for i in range(6)])
    cohort = read_cohort(path)
    plan = loso_plan(cohort, cohort.sign("tremor"))
    table = make_table(fabricate(cohort, plan, "pose", "agcn"), {"tremor": plan}, cohort, RunInfo(seeds=(0,)))
    assert table.stand_in
    assert table.rows[0].group == "tremor", "a sign that the paper does not have is crossed from nowhere"
    assert "paper\n" not in printed(table, 80)
    assert "The paper contradicts" not in to_markdown(table)


def test_several_classes_get_the_macro_f1_and_say_so(tmp_path: Path, fabricate: Fabricate) -> None:
    path = tmp_path / "limbs" / "cohort.csv"
    names = ("arm", "leg", "trunk | neck")
    write_cohort(
        path,
        ("subject", "seizure", "limb"),
        [(f"s{i}", f"z{i}", names[i % 3]) for i in range(12)] + [("s12", "z12", None)],
    )
    cohort = read_cohort(path)
    plan = loso_plan(cohort, cohort.sign("limb"))
    frame = fabricate(cohort, plan, "pose", "agcn", strength=2.0)
    prior = training_prior(cohort, cohort.sign("limb"), plan)
    assert always_positive(cohort, cohort.sign("limb"), plan).empty
    table = make_table(pool([frame, prior]), {"limb": plan}, cohort, RunInfo(seeds=(0,)))
    row = table.rows[0]
    assert row.macro
    expected = metrics.f1_score(frame["label"].astype(str), frame["prediction"].astype(str), average="macro")
    assert row.scores["f1"].mean == pytest.approx(expected)
    text = printed(table, 80)
    assert "limb (3 classes, macro F1ᵐ)" in text
    assert f"{expected:.2f}ᵐ" in text
    assert flat_rows(table)[0]["f1_kind"] == "macro"
    assert "limb: 1 seizure is not rated and left out." in footnotes(table)
    markdown = to_markdown(table)
    assert "trunk \\| neck → arm" in markdown


def test_the_written_table_can_be_read_and_names_no_one_in_what_leaves(whole: Table, tmp_path: Path) -> None:
    paths = write_table(tmp_path, whole)
    assert [path.name for path in paths] == ["table.csv", "table.md"]
    rows = list(csv.DictReader(io.StringIO(paths[0].read_text(encoding="utf-8"))))
    assert len(rows) == len(whole.rows) == 24
    best = whole.rows[0].scores["f1"]
    assert float(rows[0]["f1"]) == pytest.approx(best.mean, rel=1e-8)
    prior = next(row for row in rows if row["model"] == "training_prior")
    assert (prior["seeds"], prior["f1_sd"], prior["auroc"]) == ("", "", "0")
    assert not any("sub-" in str(cell) or "sz-" in str(cell) for row in flat_rows(whole) for cell in row.values())
    assert to_markdown(whole) == paths[1].read_text(encoding="utf-8")


def test_markdown_tables_are_rectangular(whole: Table) -> None:
    widths: list[int] = []
    for line in to_markdown(whole).splitlines():
        if line.startswith("|"):
            widths.append(line.count("|"))
        else:
            assert len(set(widths)) <= 1
            widths = []


def test_a_large_cohort_takes_a_second_or_two(tmp_path: Path, fabricate: Fabricate) -> None:
    path = tmp_path / "large" / "cohort.csv"
    write_cohort(
        path, ("subject", "seizure", "correct"), [(f"s{i % 10}", f"z{i:04d}", i // 10 % 2) for i in range(2000)]
    )
    cohort = read_cohort(path)
    plan = loso_plan(cohort, cohort.sign("correct"))
    frames = pool(
        fabricate(cohort, plan, "pose", model, seed=seed, strength=2.0) for model in ("agcn", "tcn") for seed in (0, 1)
    )
    started = time.process_time()
    table = make_table(frames, {"correct": plan}, cohort, RunInfo(seeds=(0, 1)))
    text = printed(table, 80)
    assert time.process_time() - started < 10
    assert "2000/2000" in text
    assert (
        f"{table.rows[0].scores['accuracy'].mean:.3f}±" in text
        or f"{table.rows[0].scores['accuracy'].mean:.3f} ±" in text
    )
    assert f"{table.rows[0].ensemble['accuracy'].value:.3f}" in text


def test_nothing_at_all_is_an_empty_table(cohort: Cohort, plans: Plans) -> None:
    table = make_table(pool([]), plans, cohort, RunInfo())
    assert table.rows == ()
    assert RESEARCH_USE in to_markdown(table)
    Console(width=80, file=io.StringIO()).print(render(table, width=80))
    assert to_csv(table) == "group\n"


def test_without_a_signal_every_row_is_within_chance_and_says_so(
    cohort: Cohort, plans: Plans, fabricate: Fabricate, table1: tuple[RowKey, ...]
) -> None:
    trained = pool([fabricate(cohort, plans[key.sign], key.stream, key.model, strength=0.0) for key in table1])
    table = make_table(pool([trained, fuse(trained)]), plans, cohort, RunInfo(seeds=(0,), rows=table1), resamples=200)
    assert {row.verdict for row in table.rows} == {"within chance"}
    assert {row["chance"] for row in flat_rows(table)} == {"within chance"}
    text = printed(table, 100)
    lines = [line for line in text.splitlines() if "19/19" in line]
    assert len(lines) == len(table.rows)
    assert all("≈" in line for line in lines)
    assert "Within chance: one-sided p ≥ 0.05 (conditional, approximate" in " ".join(text.split())
    assert "Holm over 14 trained rows" in " ".join(text.split())


def test_a_strong_row_is_above_chance_and_its_weak_rival_is_not(
    cohort: Cohort, plans: Plans, fabricate: Fabricate
) -> None:
    rows = {"agcn": 8.0, "tcn": 0.0, "agcn_kd": 8.0, "nuisance": 0.0}
    plan = plans["dystonia"]
    frames = [
        fabricate(cohort, plan, "" if model == "nuisance" else "pose", model, strength=strength,
                  seed=None if model == "nuisance" else 0)
        for model, strength in rows.items()
    ]  # fmt: skip
    keys = tuple(RowKey("dystonia", "pose", model) for model in ("agcn", "tcn", "agcn_kd"))
    table = make_table(pool(frames), plans, cohort, RunInfo(seeds=(0,), rows=keys), resamples=200)
    found = {row.key.model: row for row in table.rows}
    assert found["agcn"].verdict == "above chance"
    assert found["tcn"].verdict == "within chance"
    assert found["agcn"].chance_adjusted == pytest.approx(min(1.0, 3 * found["agcn"].chance.p), rel=0.5)
    assert found["nuisance"].chance_adjusted == found["nuisance"].chance.p, "baselines are a family of their own"
    contrast = found["agcn"].contrast
    assert contrast is not None
    assert (contrast.name, contrast.planned) == ("TCNp", True)
    assert contrast.accuracy.difference == pytest.approx(
        found["agcn"].scores["accuracy"].mean - found["tcn"].scores["accuracy"].mean
    )
    assert contrast.accuracy.p < contrast.adjusted < 0.05
    assert contrast.interval.low > 0
    assert found["tcn"].contrast is None
    text = printed(table, 100)
    assert "dystonia: AGCNp − TCNp" in text
    assert "dystonia: AGCNp + KD − AGCNp" in text
    record = flat_rows(table)[0]
    assert record["contrast_minus"] == "TCNp"
    assert record["chance_family"] == "trained rows"
    assert "## Planned contrasts" in to_markdown(table)


def test_refits_on_permuted_labels_decide_where_there_are_some(
    cohort: Cohort, plans: Plans, fabricate: Fabricate
) -> None:
    frame = fabricate(cohort, plans["dystonia"], "pose", "agcn", strength=8.0)
    run = RunInfo(seeds=(0,), rows=(AGCN,), refit_null={AGCN: (0.5,) * 9})
    table = make_table(frame, plans, cohort, run, resamples=50)
    row = table.rows[0]
    assert row.refit is not None
    assert (row.decisive.p, row.verdict, row.decisive.kind) == (0.1, "within chance", "refitted")
    assert row.chance.p < 0.01
    record = flat_rows(table)[0]
    assert (record["chance_p_refit"], record["chance_test"]) == (0.1, "refitted")
    assert any("every fold fitted anew on permuted labels" in note for note in footnotes(table))


def test_intervals_stand_in_every_rendering(whole: Table) -> None:
    row = whole.rows[0]
    interval = row.intervals["f1"]
    assert interval.low < row.scores["f1"].mean < interval.high
    assert interval.resamples == 2000
    assert f"{interval.low:.2f}–{interval.high:.2f}" in to_markdown(whole)
    assert f"{interval.low:.2f}–{interval.high:.2f}".replace("0.", ".") in printed(whole, 100)
    record = next(csv.DictReader(io.StringIO(to_csv(whole))))
    assert float(record["f1_low"]) == pytest.approx(interval.low)
    assert float(record["f1_by_patient_high"]) == pytest.approx(row.by_patient_intervals["f1"].high)
    assert float(record["auroc_by_subject"]) == pytest.approx(row.by_subject["auroc"].mean)
    prior = next(row for row in whole.rows if row.key.model == "training_prior")
    assert prior.intervals["auroc"].reason == "the same score in every resample"
    assert prior.scores["mcc"].reason or prior.intervals["mcc"].reason


def test_the_other_sign_and_the_denominators_stand_beside_a_row(
    cohort: Cohort, plans: Plans, fabricate: Fabricate
) -> None:
    """A dystonia row whose scores follow emotion."""
    frame = fabricate(cohort, plans["emotion"], "pose", "agcn", strength=8.0)
    label = cohort.labels(cohort.sign("dystonia"))
    frame = frame.assign(sign="dystonia", label=[str(label[name]) for name in frame["seizure"]])
    lacking = frozenset({"sub-19_sz-1"})
    frame = frame.loc[~frame["seizure"].isin(lacking)]
    run = RunInfo(seeds=(0,), rows=(AGCN,), lacking={AGCN: lacking})
    row = make_table(frame, plans, cohort, run, resamples=50).rows[0]
    (other,) = row.others
    assert other.sign == "emotion"
    assert other.auroc > 0.95
    assert other.chance.p < 0.01
    assert other.tells_it_as_well
    assert (row.rated, row.extracted, row.scored) == (38, 37, 37)
    assert (row.subjects_rated, row.subjects_extracted, row.subjects_scored) == (19, 19, 19)


def test_the_raters_stand_beside_the_model_and_what_they_cannot_tell_is_taken_both_ways(
    tmp_path: Path, fabricate: Fabricate
) -> None:
    """Two raters of 12 subjects: they differ on one seizure and cannot tell another."""
    names = [f"p{index:02d}" for index in range(12)]
    write_cohort(tmp_path / "cohort.csv", ("subject", "seizure"), [(name, f"{name}-1") for name in names])
    first = ["1", "0"] * 6
    second = [*first[:10], "1" if first[10] == "0" else "0", "?"]
    lines = ["seizure,sign,rater,value"]
    for rater, values in (("annabella", first), ("benedikt", second)):
        lines += [f"{name}-1,tremor,{rater},{value}" for name, value in zip(names, values, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    cohort = read_cohort(tmp_path / "cohort.csv")
    plan = loso_plan(cohort, cohort.sign("tremor"))
    frame = fabricate(cohort, plan, "pose", "agcn", strength=2.0)
    key = RowKey("tremor", "pose", "agcn")
    table = make_table(frame, {"tremor": plan}, cohort, RunInfo(seeds=(0,), rows=(key,)))
    row = table.rows[0]
    right = int((frame["label"] == frame["prediction"]).sum())
    assert (row.scored, row.undecided) == (10, 2)
    assert row.accuracy_either_way == pytest.approx((right / 12, (right + 2) / 12))
    assert row.kappa.mean == pytest.approx(metrics.cohen_kappa_score(frame["label"], frame["prediction"]))
    notes = " ".join(footnotes(table))
    found = table.agreement["tremor"]
    assert (
        f"tremor: 2 raters agree on 11 seizures with Krippendorff's α {found.alpha.value:.2f} (each of 1 '?'" in notes
    )
    assert f"κ of the models with the label: AGCNp {row.kappa.mean:.2f}" in notes
    assert f"accuracy were AGCNp {right / 12:.2f}–{(right + 2) / 12:.2f}" in notes
    assert not any(name in notes for name in ("annabella", "benedikt"))
    record = next(csv.DictReader(io.StringIO(to_csv(table))))
    assert float(record["accuracy_if_undecided_right"]) == pytest.approx((right + 2) / 12)


def test_calibrated_scores_stand_beside_those_as_they_are(cohort: Cohort, plans: Plans, fabricate: Fabricate) -> None:
    """Scores that say the same as sure as can be: calibrating them on the others takes that back."""
    frame = fabricate(cohort, plans["dystonia"], "pose", "agcn", strength=1.0)
    logits = 8 * np.log(frame["prob_1"] / frame["prob_0"])
    positive = 1 / (1 + np.exp(-logits))
    frame = frame.assign(prob_0=1 - positive, prob_1=positive)
    row = make_table(frame, plans, cohort, RunInfo(seeds=(0,), rows=(AGCN,))).rows[0]
    assert row.calibrated["brier"].mean < row.scores["brier"].mean
    assert row.calibrated["log_loss"].mean < row.scores["log_loss"].mean
    assert row.calibration_error.reason == "fewer than 200 seizures"
    table = make_table(frame, plans, cohort, RunInfo(seeds=(0,), rows=(AGCN,)))
    assert f"dystonia AGCNp {row.scores['brier'].mean:.2f} → {row.calibrated['brier'].mean:.2f}" in " ".join(
        footnotes(table)
    )
