from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.cohort.manifest import Cohort, write_cohort
from seizurelit.cohort.plan import Plan, loso_plan
from seizurelit.cohort.skeleton import built_in
from seizurelit.evaluation import baselines as module
from seizurelit.evaluation.baselines import (
    balanced_weights,
    baselines,
    joint_groups,
    motion_features,
    not_extracted,
    nuisance,
    training_prior,
)
from seizurelit.evaluation.predictions import pool, write_predictions
from seizurelit.evaluation.scores import decisions_of, score

BODY = built_in("body11")
FACE = built_in("face23")
FACTS = {"duration_s": 3.0, "width": 352, "height": 288, "container": "mpg", "greyscale": False, "people": 1}


def tensors(
    seizure: str, subject: str, stream: str, energy: float, facts: Mapping[str, Any], **metadata: Any
) -> SeizureTensors:
    """75 frames of a random walk whose steps have the given size; the right wrist is missing in half of them."""
    skeleton = BODY if stream == "pose" else FACE
    rng = np.random.default_rng(sum(map(ord, seizure + stream)))
    joints, axes = len(skeleton.joints), skeleton.dimensions
    start = rng.normal(scale=0.1, size=(1, joints, axes))
    start[0, skeleton.scale[1], 0] += 2.0  # the clip's unit of length
    points = start + np.cumsum(rng.normal(scale=energy, size=(75, joints, axes)), axis=0)
    confidence = np.ones((75, joints), dtype=np.float32)
    confidence[::2, 8] = 0
    points[confidence == 0] = np.nan
    made = {f"{stream}.keypoints": points.astype(np.float32), f"{stream}.confidence": confidence}
    if stream == "pose":
        made["pose.root"] = np.cumsum(rng.normal(scale=energy, size=(75, axes)), axis=0).astype(np.float32)
    about = Metadata(seizure, subject, stream, 25.0, None, skeleton, "0", "fabricated", "0", facts=facts, **metadata)
    return SeizureTensors(about, made)


def fill(root: Path, energy: Mapping[str, float], facts: Mapping[str, Mapping[str, Any]] | None = None) -> Cache:
    """A cache of 8 subjects with 2 seizures each, every second subject positive, one seizure without a face."""
    names = [(f"s{subject}", f"s{subject}-{number}") for subject in range(8) for number in range(2)]
    path = root / "given" / "cohort.csv"
    write_cohort(path, ("subject", "seizure", "sign"), [(s, z, int(s[1:]) % 2) for s, z in names])
    cache = Cache.create(root / "cache", path)
    for subject, seizure in names:
        own = {**FACTS, **(facts or {}).get(seizure, {})}
        for stream in ("pose", "face"):
            if (seizure, stream) != ("s2-1", "face"):
                cache.write(tensors(seizure, subject, stream, energy.get(seizure, 0.01), own))
    return cache


@pytest.fixture
def told(tmp_path: Path) -> Cache:
    """Positive seizures have three times the movement; the recordings are all alike."""
    return fill(tmp_path, {f"s{subject}-{number}": 0.03 for subject in (1, 3, 5, 7) for number in range(2)})


def plan_of(cache: Cache) -> tuple[Cohort, Plan]:
    cohort = cache.cohort()
    return cohort, loso_plan(cohort, cohort.sign("sign"))


def scores_of(frame: pd.DataFrame, model: str, stream: str = "") -> dict[str, float]:
    rows = frame.loc[(frame["model"] == model) & (frame["stream"] == stream)]
    return {name: value.value for name, value in score(decisions_of(rows, ("0", "1"))).items()}


def test_all_baselines_are_out_of_fold_rows_and_the_same_bytes_each_time(told: Cache, tmp_path: Path) -> None:
    cohort, plan = plan_of(told)
    frame = baselines(cohort, plan, told, ("pose", "face"))
    counts = frame.groupby(["model", "stream"]).size().to_dict()
    assert counts == {
        ("always_positive", ""): 16,
        ("training_prior", ""): 16,
        ("motion_energy", "pose"): 16,
        ("motion_energy", "face"): 15,
        ("nuisance", ""): 16,
    }
    assert frame["seed"].isna().all()
    assert (frame["fold"] == frame["subject"]).all()
    first = write_predictions(tmp_path / "a.csv", frame).read_bytes()
    assert write_predictions(tmp_path / "b.csv", baselines(cohort, plan, told, ("face", "pose"))).read_bytes() == first


def test_what_each_baseline_can_and_cannot_tell(told: Cache) -> None:
    cohort, plan = plan_of(told)
    frame = baselines(cohort, plan, told)
    assert scores_of(frame, "motion_energy", "pose")["auroc"] == 1.0
    assert scores_of(frame, "motion_energy", "pose")["accuracy"] == 1.0
    assert scores_of(frame, "always_positive")["f1"] == pytest.approx(2 / 3)
    assert scores_of(frame, "training_prior")["auroc"] == 0.0, (
        "leaving one subject out turns the prior around (METHOD, 2)"
    )
    assert scores_of(frame, "training_prior")["accuracy"] == 0.0


def test_nuisance_finds_a_camera_that_goes_with_the_sign_and_nothing_else(tmp_path: Path) -> None:
    told = fill(
        tmp_path, {}, {f"s{s}-{n}": {"container": "avi", "truth": "given away"} for s in (1, 3, 5, 7) for n in range(2)}
    )
    cohort, plan = plan_of(told)
    frame = baselines(cohort, plan, told)
    assert scores_of(frame, "nuisance")["accuracy"] == 1.0
    assert scores_of(frame, "motion_energy", "pose")["auroc"] < 0.8


def test_a_fact_that_is_no_nuisance_is_not_read(tmp_path: Path) -> None:
    told = fill(tmp_path, {}, {f"s{s}-{n}": {"dystonic_arm": "left"} for s in (1, 3, 5, 7) for n in range(2)})
    cohort, plan = plan_of(told)
    frame = nuisance(cohort, cohort.sign("sign"), plan, told)
    own = frame.loc[frame["subject"] != "s2"]
    assert own["prob_1"].nunique() <= 8, "within a fold all recordings are alike"
    assert scores_of(frame, "nuisance")["accuracy"] < 0.8


def test_a_fold_never_sees_what_it_holds_out(told: Cache) -> None:
    """Another recording of a subject changes no score of that subject's fold but its own, and that only by its own features."""
    cohort, plan = plan_of(told)
    before = baselines(cohort, plan, told)
    told.write(tensors("s0-0", "s0", "pose", 5.0, FACTS | {"duration_s": 500.0, "width": 9999}))
    after = baselines(cohort, plan, told)
    changed = before.compare(after)
    other = before.loc[(before["fold"] == "s0") & (before["seizure"] == "s0-1")].index
    assert not set(changed.index) & set(other), "the other seizure of its fold"
    assert {"s0-0"} <= set(before.loc[changed.index, "seizure"])


def test_an_extractor_that_has_seen_the_held_out_subject_is_refused_unless_the_fold_has_its_own(told: Cache) -> None:
    cohort, plan = plan_of(told)
    told.write(tensors("s1-0", "s1", "pose", 0.03, FACTS, subjects_seen=("s0",)))
    with pytest.raises(SubjectLeakError, match="fold s0: the extraction of s1-0 has seen the held-out s0"):
        baselines(cohort, plan, told)
    told.write(tensors("s1-0", "s1", "pose", 0.03, FACTS, subjects_seen=("s5",)), fold="s0")
    assert len(baselines(cohort, plan, told)) == 79


def test_partial_folds_give_the_same_rows_as_all_of_them(told: Cache) -> None:
    """The table of an unfinished run has the baselines of its own folds."""
    cohort, plan = plan_of(told)
    some = dataclasses.replace(plan, folds=plan.folds[2:4])
    whole = baselines(cohort, plan, told)
    expected = whole.loc[whole["fold"].isin(["s2", "s3"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(baselines(cohort, some, told), expected)


def test_motion_features_by_hand() -> None:
    """The head moves by 0.1 torsos a frame at 25 fps, the wrist jumps but is missing then, the root by 0.2."""
    points = np.zeros((4, 11, 3), dtype=np.float32)
    points[:, 1:, 1] = 2.0  # neck and all above the pelvis: the torso is 2 long
    points[:, 2, 0] = 0.2 * np.arange(4)
    points[2, 5] = np.nan
    points[3, 5] = 100.0
    confidence = np.ones((4, 11), dtype=np.float32)
    confidence[2, 5] = 0
    root = np.zeros((4, 3), dtype=np.float32)
    root[:, 2] = 0.4 * np.arange(4)
    found = motion_features(points, confidence, root, BODY, 25.0)
    assert set(found) == {"root", "core", "head", "left shoulder", "left hip"}
    assert found["head"] == pytest.approx(math.log(2.5**2), abs=1e-5)
    assert found["root"] == pytest.approx(math.log(5.0**2), abs=1e-5)
    assert found["left shoulder"] == found["core"] == pytest.approx(math.log(1e-8)), "no movement is finite"
    nothing = motion_features(np.full_like(points, np.nan), np.zeros_like(confidence), None, BODY, 25.0)
    assert all(math.isnan(value) for value in nothing.values())


def test_motion_is_of_the_clips_own_size_and_relative_to_the_root() -> None:
    face = tensors("z", "s", "face", 0.05, FACTS)
    points, confidence = face["face.keypoints"], face["face.confidence"]
    plain = motion_features(points, confidence, None, FACE, 25.0)
    larger = motion_features(points * 7, confidence, None, FACE, 25.0)
    assert larger == pytest.approx(plain, abs=1e-4)
    shaken = points + 3 * np.random.default_rng(0).normal(size=(75, 1, 2)).astype(np.float32)
    moved = motion_features(shaken, confidence, None, FACE, 25.0)
    assert moved["root"] > plain["root"] + 1
    assert {**moved, "root": 0.0} == pytest.approx({**plain, "root": 0.0}, abs=1e-4)


@pytest.mark.parametrize("skeleton", [BODY, FACE], ids=lambda skeleton: skeleton.name)
def test_groups_part_the_joints_and_are_their_own_mirror(skeleton: Any) -> None:
    groups = joint_groups(skeleton)
    assert sorted(joint for joints in groups.values() for joint in joints) == list(range(len(skeleton.joints)))
    for joints in groups.values():
        assert {skeleton.flip_permutation[joint] for joint in joints} == set(joints)


def test_weights_are_those_of_the_method() -> None:
    weights = balanced_weights([1, 1, 1, 0, 0, 0], ["a", "a", "b", "c", "c", "c"])
    assert weights.sum() == pytest.approx(6)
    assert weights.tolist() == pytest.approx([0.75, 0.75, 1.5, 1, 1, 1])


def test_training_of_one_class_and_without_any_difference() -> None:
    train = pd.DataFrame({"a": [1.0, 1.0]}, dtype=object)
    test = pd.DataFrame({"a": [5.0]}, dtype=object)
    assert module._fit_and_score(train, [1, 1], ["a", "b"], test, 3).tolist() == [[0, 1, 0]]
    assert module._fit_and_score(train, [0, 2], ["a", "b"], test, 3).tolist() == [[0.5, 0, 0.5]]
    strange = pd.DataFrame({"a": [None], "container": ["never seen"]}, dtype=object)
    train = pd.DataFrame({"a": [1.0, 2.0], "container": ["mpg", None], "new": [None, None]}, dtype=object)
    found = module._fit_and_score(train, [0, 1], ["a", "b"], strange, 2)
    assert found.sum() == pytest.approx(1.0)


def test_several_classes(tmp_path: Path) -> None:
    names = [(f"s{subject}", f"s{subject}-0", "abc"[subject % 3]) for subject in range(9)]
    write_cohort(tmp_path / "given" / "cohort.csv", ("subject", "seizure", "limb"), names)
    cache = Cache.create(tmp_path / "cache", tmp_path / "given" / "cohort.csv")
    for subject, seizure, label in names:
        cache.write(tensors(seizure, subject, "pose", 0.01 * 4 ** "abc".index(label), FACTS))
    cohort = cache.cohort()
    frame = baselines(cohort, loso_plan(cohort, cohort.sign("limb")), cache, ("pose",))
    assert set(frame["model"]) == {"training_prior", "motion_energy", "nuisance"}
    assert frame["threshold"].isna().all()
    motion = frame.loc[frame["model"] == "motion_energy"]
    assert (motion["label"] == motion["prediction"]).mean() > 0.7


def test_what_is_not_extracted(told: Cache) -> None:
    cohort, plan = plan_of(told)
    needs = {("pose", "agcn"): {"keypoints"}, ("face", "agcn"): {"keypoints"}, ("pose", "tcn"): {"appearance"}}
    found = not_extracted(told, cohort, plan, needs)
    assert found["sign", "pose", "agcn"] == frozenset()
    assert found["sign", "face", "agcn"] == found["sign", "face", "motion_energy"] == {"s2-1"}
    assert len(found["sign", "pose", "tcn"]) == 16
    assert found["sign", "", "nuisance"] == frozenset()


def test_the_prior_follows_the_training_subjects(told: Cache) -> None:
    cohort, plan = plan_of(told)
    frame = training_prior(cohort, cohort.sign("sign"), plan)
    assert frame.set_index("seizure")["prob_1"].loc[["s0-0", "s1-0"]].tolist() == pytest.approx([8 / 14, 6 / 14])
    assert len(pool([frame])) == 16


def test_a_large_cohort_takes_seconds(tmp_path: Path) -> None:
    names = [(f"s{i % 10}", f"z{i:04d}", i // 10 % 2) for i in range(400)]
    write_cohort(tmp_path / "given" / "cohort.csv", ("subject", "seizure", "correct"), names)
    cache = Cache.create(tmp_path / "cache", tmp_path / "given" / "cohort.csv")
    for subject, seizure, _ in names:
        cache.write(tensors(seizure, subject, "pose", 0.01, FACTS))
    cohort = cache.cohort()
    started = time.process_time()
    frame = baselines(cohort, loso_plan(cohort, cohort.sign("correct")), cache, ("pose",))
    assert len(frame) == 4 * 400
    assert time.process_time() - started < 10


def test_a_regression_in_numbers_scores_as_the_library_that_fitted_it():
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(60, 2))
    numbers[rng.random((60, 2)) < 0.1] = np.nan
    table = pd.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "container": rng.choice(["mp4", "avi", "asf"], 60)})
    owners = [f"s{number % 20}" for number in range(60)]
    for classes in (2, 3):
        labels = rng.integers(0, classes, 60).tolist()
        columns = ColumnTransformer(
            [
                ("numbers", SimpleImputer(strategy="median"), ["a", "b"]),
                ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["container"]),
            ]
        )
        theirs = make_pipeline(columns, StandardScaler(), LogisticRegression(max_iter=1000))
        weights = module.balanced_weights(labels[:40], owners[:40])
        theirs.fit(table[:40], labels[:40], logisticregression__sample_weight=weights)
        ours = module.fit_regression(table[:40], labels[:40], owners[:40], classes)
        assert np.allclose(ours.score(table[40:]), theirs.predict_proba(table[40:]), atol=1e-9)
