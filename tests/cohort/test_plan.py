"""Folds: subjects are disjoint and complete, the inner ones stratified, the guard refuses the held-out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.cohort.leak import Guard, SubjectLeakError
from seizurelit.cohort.manifest import Cohort, Seizure
from seizurelit.cohort.plan import Fold, load_plans, loso_plan, plan_from_file, save_plans, subject_classes
from seizurelit.errors import InputError


def cohort_of(labels: dict[str, list[str]]) -> Cohort:
    """A cohort with the given cells of one column `sign`, subject by subject."""
    rows = [(subject, cell) for subject, cells in labels.items() for cell in cells]
    seizures = [
        Seizure(f"{subject}-{number}", subject, None, None, None, None, {"sign": cell}, number + 2)
        for number, (subject, cell) in enumerate(rows)
    ]
    return Cohort(Path("cohort.csv"), tuple(seizures), ("sign",))


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    classes = draw(st.sampled_from([["0", "1"], ["arm", "leg", "none"]]))
    subjects = draw(st.integers(2 * len(classes), 14))
    cells = st.lists(st.sampled_from([*classes, ""]), min_size=1, max_size=5)
    labels = {f"sub-{number:02}": draw(cells) for number in range(subjects)}
    for number, label in enumerate(classes * 2):  # every class has the two subjects that a sign needs
        labels[f"sub-{number:02}"].append(label)
    return cohort_of(labels)


@given(cohorts(), st.integers(0, 3), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]))
def test_laws_of_the_plan(cohort: Cohort, split_seed: int, share: float) -> None:
    sign = cohort.sign("sign")
    plan = loso_plan(cohort, sign, split_seed=split_seed, validation_share=share)
    rated = {cohort.subject_of(seizure) for seizure in cohort.labels(sign)}
    held_out = [subject for fold in plan.folds for subject in fold.test]
    assert sorted(held_out) == sorted(rated)
    classes = subject_classes(cohort, sign)
    for fold in plan.folds:
        assert fold.test == (fold.name,)
        assert set(fold.test) | set(fold.train) == rated
        assert not set(fold.test) & set(fold.train)
        assert set(fold.validation) <= set(fold.train)
        assert set(fold.inner_train) == set(fold.train) - set(fold.validation)
        for label in set(classes.values()):
            there = [subject for subject in fold.train if classes[subject] == label]
            if share > 0 and len(there) > 1:
                assert 0 < len([subject for subject in there if subject in fold.validation]) < len(there)
    assert loso_plan(cohort, sign, split_seed=split_seed, validation_share=share) == plan
    assert type(plan).from_json(plan.to_json()) == plan


def test_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    labels = {f"sub-{number:02}": [str(number % 2)] for number in range(12)}
    cohort = cohort_of(labels)
    turned = cohort_of(dict(reversed(labels.items())))
    sign = cohort.sign("sign")
    assert loso_plan(cohort, sign).folds == loso_plan(turned, sign).folds
    assert loso_plan(cohort, sign).folds != loso_plan(cohort, sign, split_seed=1).folds


def test_the_inner_subjects_stay_what_they_were() -> None:
    """A golden value: a run that goes on must find its own split."""
    cohort = cohort_of({f"sub-{number:02}": [str(number % 2)] for number in range(12)})
    assert loso_plan(cohort, cohort.sign("sign")).fold("sub-00").validation == ("sub-01", "sub-04", "sub-09")


def test_unknown_fold() -> None:
    plan = loso_plan(cohort := cohort_of({"a": ["0"], "b": ["1"], "c": ["0"], "d": ["1"]}), cohort.sign("sign"))
    with pytest.raises(InputError, match="--fold e: there is no such fold of sign; there are a, b, c, d, and all"):
        plan.fold("e")


def test_round_trip_on_disk(tmp_path: Path) -> None:
    cohort = cohort_of({"ä": ["0"], "b": ["1"], "c": ["0"], "d": ["1"]})
    plans = {"sign": loso_plan(cohort, cohort.sign("sign"))}
    save_plans(tmp_path / "folds.json", plans)
    assert load_plans(tmp_path / "folds.json") == plans
    assert [path.name for path in tmp_path.iterdir()] == ["folds.json"]
    (tmp_path / "folds.json").write_text('{"sign": {"folds": 3}}')
    with pytest.raises(InputError, match="is no plan of folds"):
        load_plans(tmp_path / "folds.json")
    with pytest.raises(InputError, match="does not exist"):
        load_plans(tmp_path / "other.json")


def test_from_a_file(tmp_path: Path) -> None:
    cohort = cohort_of({"a": ["0"], "b": ["1"], "c": ["0"], "d": ["1"], "e": [""]})
    sign = cohort.sign("sign")
    path = tmp_path / "folds.csv"
    path.write_text("fold,subject\n2,a\n1,b\n1,c\n2,d\n1,e\n")
    plan = plan_from_file(path, cohort, sign)
    assert plan.kind == "file"
    assert [(fold.name, fold.test, fold.train) for fold in plan.folds] == [
        ("1", ("b", "c"), ("a", "d")),
        ("2", ("a", "d"), ("b", "c")),
    ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("1,a\n1,b\n2,c\n", ["no fold for d, rated for sign"]),
        ("1,a\n1,b\n2,c\n2,d\n2,a\n", ["row 6: subject 'a' is in fold '1' already (row 2)"]),
        ("1,a\n1,b\n2,c\n2,d\n2,f\n", ["row 6: subject 'f' is not in cohort.csv"]),
        ("1,a\n1,b\n1,c\n1,d\n", ["fewer than two folds"]),
        ("all,a\n1,b\n../x,c\n2,d\n", ["row 2: fold 'all' stands for every fold", "row 4: fold '../x' has a slash"]),
        ("A,a\na,b\na,c\nA,d\n", ["row 3: fold 'a' differs from 'A' by case", "row 4: fold 'a'"]),
    ],
)
def test_faults_of_a_file(tmp_path: Path, rows: str, words: list[str]) -> None:
    cohort = cohort_of({"a": ["0"], "b": ["1"], "c": ["0"], "d": ["1"]})
    path = tmp_path / "folds.csv"
    path.write_text("fold,subject\n" + rows)
    with pytest.raises(InputError) as caught:
        plan_from_file(path, cohort, cohort.sign("sign"))
    assert len(caught.value.faults) == len(words)
    for fault, word in zip(caught.value.faults, words, strict=True):
        assert fault.startswith(str(path))
        assert word in fault


def test_guard() -> None:
    fold = Fold("sub-01", ("sub-01",), ("sub-02", "sub-03", "sub-04"), ("sub-03",))
    Guard.of(fold).admit(fold.train, "the training data")
    with pytest.raises(SubjectLeakError, match="fold sub-01: the teacher has seen the held-out sub-01"):
        Guard.of(fold).admit(["sub-02", "sub-01"], "the teacher")
    with pytest.raises(SubjectLeakError, match="sub-03"):
        Guard.of(fold, inner=True).admit(fold.train, "the training data")
    Guard.of(fold, inner=True).admit(fold.inner_train, "the training data")


def test_a_fold_cannot_overlap() -> None:
    with pytest.raises(SubjectLeakError, match="sub-01 would be trained on and tested on"):
        Fold("sub-01", ("sub-01",), ("sub-01", "sub-02"), ())
    with pytest.raises(ValueError, match="no training subjects"):
        Fold("sub-01", ("sub-01",), ("sub-02",), ("sub-01",))
