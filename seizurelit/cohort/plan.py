"""Which subjects are held out when: leave-one-subject-out, or folds from a file; pure functions of the cohort."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seizurelit.cohort.files import write_whole
from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.cohort.manifest import Cohort, Sign
from seizurelit.cohort.table import folded, name_fault, read_table
from seizurelit.errors import InputError

EVERY_FOLD = "all"
"""What stands for every fold where a fold can be named; no subject may be called so."""


@dataclass(frozen=True)
class Fold:
    """One way to part the subjects that have a rated seizure.

    Attributes:
        name: of the held-out subject, or as the file of folds says.
        test: held-out subjects; nothing fitted in this fold sees them.
        train: all others, the inner validation subjects among them.
        validation: those of `train` that are held out where a setting or a threshold is chosen; none if there are too
            few.
    """

    name: str
    test: tuple[str, ...]
    train: tuple[str, ...]
    validation: tuple[str, ...]

    def __post_init__(self) -> None:
        both = sorted(set(self.test) & set(self.train))
        if both:
            msg = f"fold {self.name}: {', '.join(both)} would be trained on and tested on"
            raise SubjectLeakError(msg)
        if not set(self.validation) <= set(self.train):
            msg = f"fold {self.name}: validation subjects that are no training subjects"
            raise ValueError(msg)

    @property
    def inner_train(self) -> tuple[str, ...]:
        """The training subjects that stay when the validation subjects are held out too."""
        return tuple(subject for subject in self.train if subject not in self.validation)


@dataclass(frozen=True)
class Plan:
    """All folds of one sign.

    Attributes:
        sign: whose rated subjects are parted.
        kind: loso holds each subject out once; file took the folds from a CSV file; external holds all of a cohort out at once,
            for networks that were trained on another.
        split_seed: decides the inner validation subjects, and nothing else.
        folds: in the order of their names.
    """

    sign: str
    kind: Literal["loso", "file", "external"]
    split_seed: int
    folds: tuple[Fold, ...]

    def fold(self, name: str) -> Fold:
        """The fold of this name.

        Raises:
            InputError: if there is none; it lists the names.
        """
        for fold in self.folds:
            if fold.name == name:
                return fold
        names = ", ".join(fold.name for fold in self.folds)
        msg = f"--fold {name}: there is no such fold of {self.sign}; there are {names}, and {EVERY_FOLD}"
        raise InputError(msg)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "sign": self.sign,
            "kind": self.kind,
            "split_seed": self.split_seed,
            "folds": [{key: _listed(value) for key, value in dataclasses.asdict(fold).items()} for fold in self.folds],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        """From what `to_json` gave."""
        folds = tuple(
            Fold(fold["name"], tuple(fold["test"]), tuple(fold["train"]), tuple(fold["validation"]))
            for fold in value["folds"]
        )
        return cls(value["sign"], value["kind"], int(value["split_seed"]), folds)


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def loso_plan(cohort: Cohort, sign: Sign, *, split_seed: int = 0, validation_share: float = 0.25) -> Plan:
    """Hold out each subject once that has a rated seizure.

    Args:
        cohort: who.
        sign: what; subjects without a rated seizure are in no fold.
        split_seed: decides the inner validation subjects.
        validation_share: share of a fold's training subjects that are its inner validation subjects.

    Returns:
        The plan: its test subjects are disjoint and are all rated subjects.
    """
    classes = subject_classes(cohort, sign)
    groups = {subject: (subject,) for subject in classes}
    return Plan(sign.name, "loso", split_seed, _folds(groups, classes, sign, split_seed, validation_share))


def plan_from_file(
    path: Path, cohort: Cohort, sign: Sign, *, split_seed: int = 0, validation_share: float = 0.25
) -> Plan:
    """Take the held-out subjects from a CSV file with the columns `fold` and `subject`.

    Args:
        path: the file; subjects of the cohort that are not rated for this sign are passed over.
        cohort: who.
        sign: what.
        split_seed: decides the inner validation subjects.
        validation_share: share of a fold's training subjects that are its inner validation subjects.

    Raises:
        InputError: row by row, if a subject is unknown or in two folds, or a rated one in none.
    """
    faults: list[str] = []
    table = read_table(path, ("fold", "subject"), faults)
    classes = subject_classes(cohort, sign)
    groups: dict[str, list[str]] = {}
    seen: dict[str, tuple[int, str]] = {}
    spelled: dict[str, str] = {}
    for row in table.rows if table else ():
        fold, subject = row.cells["fold"], row.cells["subject"]
        wrong = name_fault(fold)
        if wrong is None and folded(fold) == EVERY_FOLD:
            wrong = "stands for every fold; rename it"
        if wrong is None and spelled.setdefault(folded(fold), fold) != fold:
            wrong = f"differs from {spelled[folded(fold)]!r} by case or blanks alone; write it one way"
        if wrong:
            faults.append(f"{path}, row {row.line}: fold {fold!r} {wrong}")
        if subject not in cohort.subjects:
            faults.append(
                f"{path}, row {row.line}: subject {subject!r} is not in {cohort.path}; "
                "delete the row or correct the name"
            )
        elif subject in seen:
            line, other = seen[subject]
            faults.append(
                f"{path}, row {row.line}: subject {subject!r} is in fold {other!r} already (row {line}); "
                "delete one of the two"
            )
        else:
            seen[subject] = (row.line, fold)
            if subject in classes:
                groups.setdefault(fold, []).append(subject)
    if table:
        left = [subject for subject in classes if subject not in seen]
        if left:
            faults.append(f"{path}: no fold for {', '.join(left)}, rated for {sign.name}; add a row for each")
        if len(groups) < 2 and not faults:
            faults.append(
                f"{path}: fewer than two folds have a subject rated for {sign.name}; part the subjects into two or more"
            )
    if faults:
        raise InputError(*faults)
    ordered = {name: tuple(sorted(groups[name])) for name in sorted(groups)}
    return Plan(sign.name, "file", split_seed, _folds(ordered, classes, sign, split_seed, validation_share))


def refit_plan(cohort: Cohort, sign: Sign, name: str, *, split_seed: int = 0, validation_share: float = 0.25) -> Plan:
    """One fold of this name that holds nobody out: to fit on all rated subjects what is given to others.

    Its inner validation subjects are chosen as in any fold, for a setting or a threshold that is.
    """
    classes = subject_classes(cohort, sign)
    return Plan(sign.name, "file", split_seed, _folds({name: ()}, classes, sign, split_seed, validation_share))


def subject_classes(cohort: Cohort, sign: Sign) -> dict[str, int]:
    """The class each rated subject counts as when subjects are stratified, in the order of their names.

    Positive if any seizure is (METHOD, point 8); for named classes the most frequent one, the first of equals.
    """
    labels: dict[str, list[int]] = {}
    for seizure, label in cohort.labels(sign).items():
        labels.setdefault(cohort.subject_of(seizure), []).append(label)
    if sign.binary:
        return {subject: max(labels[subject]) for subject in sorted(labels)}
    return {
        subject: min(Counter(labels[subject]).items(), key=lambda item: (-item[1], item[0]))[0]
        for subject in sorted(labels)
    }


def _folds(
    groups: Mapping[str, Sequence[str]], classes: Mapping[str, int], sign: Sign, split_seed: int, share: float
) -> tuple[Fold, ...]:
    if not 0 <= share < 1:
        msg = f"the share of validation subjects is {share}; give a number from 0 to below 1"
        raise InputError(msg)
    folds = []
    for name, test in groups.items():
        train = tuple(subject for subject in classes if subject not in test)
        draw = f"{split_seed}\n{sign.name}\n{name}"
        folds.append(Fold(name, tuple(test), train, _validation(train, classes, draw, share)))
    return tuple(folds)


def _validation(train: Sequence[str], classes: Mapping[str, int], draw: str, share: float) -> tuple[str, ...]:
    """Subjects by stratified draw: of each class its share, at least one, and never all.

    The order within a class is that of a hash, not of a generator: it is the same on every machine and version.
    """
    chosen: list[str] = []
    for label in sorted({classes[subject] for subject in train}):
        group = [subject for subject in train if classes[subject] == label]
        group.sort(key=lambda subject: hashlib.sha256(f"{draw}\n{subject}".encode()).digest())
        wanted = max(1, math.floor(share * len(group) + 0.5)) if share > 0 else 0
        chosen += group[: min(wanted, len(group) - 1)]
    return tuple(sorted(chosen))


def save_plans(path: Path, plans: Mapping[str, Plan]) -> None:
    """Write the plans of a run, one a sign, to its `folds.json`."""
    value = {sign: plans[sign].to_json() for sign in sorted(plans)}
    write_whole(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def load_plans(path: Path) -> dict[str, Plan]:
    """Read a run's `folds.json`.

    Raises:
        InputError: if it is absent or not what `save_plans` writes.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {sign: Plan.from_json(plan) for sign, plan in value.items()}
    except FileNotFoundError:
        msg = f"{path}: does not exist; give the folder of a run"
        raise InputError(msg) from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        msg = f"{path}: is no plan of folds ({error}); take it from a backup, or start the run in a new folder"
        raise InputError(msg) from None
