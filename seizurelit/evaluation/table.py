"""The table: scores pooled over the out-of-fold seizures of a seed, then mean and sd over seeds, row by row.

What each number is made of stands beside it: folds done of those planned, seizures scored of those rated. A rated
seizure without an extraction counts as wrong where its fold was done; a fold that was not done is left out, named, and
its reason given.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from seizurelit.cohort.manifest import Cohort
from seizurelit.cohort.plan import Plan
from seizurelit.config import MODELS, OWN_SIGN, STREAMS
from seizurelit.errors import InputError
from seizurelit.evaluation.baselines import ALWAYS_POSITIVE, BASELINES, MOTION_ENERGY, NUISANCE, TRAINING_PRIOR
from seizurelit.evaluation.fusion import FUSED_MODEL, FUSED_STREAM, STUDENT
from seizurelit.evaluation.predictions import PROBABILITY, check_predictions, decide
from seizurelit.evaluation.scores import NOT_SCORED, SCORES, Decisions, Score, confusion, score
from seizurelit.evaluation.statistics.agreement import Agreement, agreement, cohen_kappa
from seizurelit.evaluation.statistics.calibration import cross_fitted, expected_calibration_error
from seizurelit.evaluation.statistics.cases import Cases, cases_of
from seizurelit.evaluation.statistics.chance import Chance, OtherSign, against_other_sign, conditional, refitted
from seizurelit.evaluation.statistics.contrasts import ClusteredMcNemar, SignFlip, clustered_mcnemar, sign_flip
from seizurelit.evaluation.statistics.intervals import RESAMPLES, Interval, difference_interval, intervals
from seizurelit.evaluation.statistics.multiplicity import ALPHA, holm
from seizurelit.evaluation.statistics.weightings import WEIGHABLE, scores_by_seed

CROSSED = "crossed"
NOT_RUN = "not run"
ENSEMBLE_SCORES = ("f1", "accuracy", "balanced_accuracy", "auroc")
CALIBRATED = ("brier", "log_loss")
LEVEL_INTERVALS = ("f1", "accuracy", "balanced_accuracy", "auroc")

ABOVE, WITHIN, NOT_TESTED = "above chance", "within chance", "not tested"

# The planned contrasts: each model minus the other (METHOD.md, point 4).
_CONTRASTS = {"agcn": "tcn", "agcn_kd": "agcn"}

# Table 1 of the paper: F1 and accuracy. It contradicts itself in places; METHOD follows its abstract and this table.
PAPER: Mapping[tuple[str, str, str], tuple[float, float]] = {
    ("dystonia", "pose", "agcn"): (0.78, 0.76),
    ("dystonia", "pose", "tcn"): (0.76, 0.73),
    ("dystonia", "pose", "agcn_kd"): (0.83, 0.81),
    ("emotion", "face", "agcn"): (0.74, 0.71),
    ("emotion", "face", "tcn"): (0.84, 0.80),
    ("emotion", "face", "agcn_kd"): (0.80, 0.78),
}

_ORDER = (*MODELS, FUSED_MODEL, *BASELINES)


class RowKey(NamedTuple):
    """A row of the table; `stream` is blank for a baseline that looks at no stream."""

    sign: str
    stream: str
    model: str


@dataclass(frozen=True)
class RunInfo:
    """What the table must know of the run besides its predictions.

    Attributes:
        run_id: of all predictions.
        preset: fast or paper; blank if neither.
        seeds: asked for.
        rows: asked for; one without a prediction is shown with none of its folds.
        failed: (row, seed, fold) → one line why that fold is not done; what is neither done nor here was not run.
        lacking: row → rated seizures without the extraction that it needs (`not_extracted`); for fusion taken from its
            students.
        stand_in: whether the tensors are synthetic; the cohort's own word counts too.
        fixed_graph: whether the AGCN ran with its fixed graph, which makes it a GCN.
        notes: further footnotes, one line each.
        refit_null: row → the chance statistic of each refit of all its folds on permuted labels.
    """

    run_id: str = ""
    preset: str = ""
    seeds: tuple[int, ...] = ()
    rows: tuple[RowKey, ...] = ()
    failed: Mapping[tuple[RowKey, int | None, str], str] = field(default_factory=dict)
    lacking: Mapping[RowKey, frozenset[str]] = field(default_factory=dict)
    stand_in: bool = False
    fixed_graph: bool = False
    notes: tuple[str, ...] = ()
    refit_null: Mapping[RowKey, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """One score over the seeds.

    Attributes:
        mean: of the seeds' scores; NaN where any of them is undefined.
        sd: their standard deviation with n - 1; None for one seed.
        reason: why there is no mean, or blank.
        by_seed: the scores, in the order of the row's seeds.
    """

    mean: float
    sd: float | None
    reason: str
    by_seed: tuple[Score, ...]

    @property
    def defined(self) -> bool:
        """Whether there is a mean."""
        return not math.isnan(self.mean)


class MissingFold(NamedTuple):
    """A fold that is not done, of one seed (None for a baseline), and why."""

    seed: int | None
    fold: str
    reason: str


@dataclass(frozen=True)
class Contrast:
    """A row minus another one of its sign and stream, on their common seizures and seeds.

    Attributes:
        other: the row that is subtracted.
        name: of that row.
        accuracy: the sign-flip test of accuracy, the primary one.
        f1: that of F1, exploratory.
        mcnemar: of the same pairs.
        interval: of the difference of accuracy.
        planned: whether it is one of the family that is corrected; otherwise it is exploratory.
        adjusted: Holm's p over the planned contrasts of the table; NaN for others.
    """

    other: RowKey
    name: str
    accuracy: SignFlip
    f1: SignFlip
    mcnemar: ClusteredMcNemar
    interval: Interval
    planned: bool
    adjusted: float = math.nan


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        key: sign, stream, model.
        name: as the paper writes it: AGCNp, TCNf, AGCNp + KD.
        group: the sign, or `crossed: SIGN` where a stream is asked for the other stream's sign.
        classes: of the sign; of two, the second is the positive one.
        seeds: those with at least one fold done; (None,) for a baseline.
        folds_done: folds done in each of these seeds.
        folds: folds planned.
        missing: what is not done.
        rated: seizures rated for the sign.
        extracted: those with the extraction that the row needs.
        scored: those with a prediction in each of the seeds.
        counted_wrong: seizures without an extraction in folds that were done; wrong in `scores`, left out of
            `scored_only`.
        subjects_rated: subjects of `rated`.
        subjects_extracted: subjects of `extracted`.
        subjects_scored: subjects of `scored`.
        scores: by name (`SCORES`), seizures pooled: the primary figures.
        scored_only: the same without what was counted wrong.
        by_subject: by name, each seizure weighted by 1 / its subject's count.
        by_patient: by name, one case a patient.
        intervals: of `scores`, over subjects.
        by_subject_intervals: of those of `by_subject` in LEVEL_INTERVALS.
        by_patient_intervals: of those of `by_patient` in LEVEL_INTERVALS.
        chance: labels permuted against the fixed scores.
        refit: labels permuted and all folds fitted anew, or None if that was not done.
        contrast: with the row that its model is compared with, if there are both.
        others: its scores against each other sign.
        ensemble: scores of the seeds' mean probability; empty for one seed.
        paper: the paper's F1 and accuracy, or None.
        confusion: (seeds, K, K + 1) seizures by label and prediction; the last column is what was counted wrong without
            a score.
        kappa: Cohen's, of the decisions with the labels, of what was scored: to be read beside that of the raters.
        calibrated: by name (`CALIBRATED`), with each subject's scores calibrated on the other subjects'; empty for baselines.
        calibration_error: expected, of the scores as they are; undefined below 200 seizures.
        undecided: seizures that raters saw without agreeing, or could not tell, and that are left out.
        chance_adjusted: Holm's p of `refit`, or else of `chance`, over the trained rows of the table, or over its baselines.
    """

    key: RowKey
    name: str
    group: str
    classes: tuple[str, ...]
    seeds: tuple[int | None, ...]
    folds_done: int
    folds: int
    missing: tuple[MissingFold, ...]
    rated: int
    extracted: int
    scored: int
    counted_wrong: tuple[str, ...]
    subjects_rated: int
    subjects_extracted: int
    subjects_scored: int
    scores: Mapping[str, Summary]
    scored_only: Mapping[str, Summary]
    by_subject: Mapping[str, Summary]
    by_patient: Mapping[str, Summary]
    intervals: Mapping[str, Interval]
    by_subject_intervals: Mapping[str, Interval]
    by_patient_intervals: Mapping[str, Interval]
    chance: Chance
    refit: Chance | None
    contrast: Contrast | None
    others: tuple[OtherSign, ...]
    ensemble: Mapping[str, Score]
    paper: tuple[float, float] | None
    confusion: np.ndarray
    kappa: Summary
    calibrated: Mapping[str, Summary]
    calibration_error: Summary
    undecided: int
    chance_adjusted: float = math.nan

    @property
    def accuracy_either_way(self) -> tuple[float, float]:
        """Accuracy if each undecided seizure were called wrongly, and if each were called rightly."""
        counted = self.confusion.sum() / max(1, len(self.seeds))
        right, whole = self.scores["accuracy"].mean * counted, counted + self.undecided
        return (right / whole, (right + self.undecided) / whole) if whole else (math.nan, math.nan)

    @property
    def decisive(self) -> Chance:
        """The test that the mark is of: that with refits, where it was done."""
        return self.refit if self.refit is not None and self.refit.tested else self.chance

    @property
    def verdict(self) -> str:
        """ABOVE, WITHIN or NOT_TESTED."""
        if math.isnan(self.chance_adjusted):
            return NOT_TESTED
        return ABOVE if self.chance_adjusted < ALPHA else WITHIN

    @property
    def baseline(self) -> bool:
        """Whether nothing of ours was trained for it."""
        return self.key.model in BASELINES

    @property
    def macro(self) -> bool:
        """Whether its F1 is the macro F1, since there is no positive class."""
        return len(self.classes) != 2

    @property
    def complete(self) -> bool:
        """Whether every fold of every seed is done."""
        return not self.missing


@dataclass(frozen=True)
class Table:
    """All rows, in the order in which they are printed.

    Attributes:
        rows: grouped by `Row.group`.
        run: as given.
        stand_in: whether every output must say STAND-IN COHORT.
        unrated: sign → seizures that are not rated for it.
        kinds: sign → loso or file, the kind of its folds.
        agreement: sign → how far its raters agree; only signs with several raters.
    """

    rows: tuple[Row, ...]
    run: RunInfo
    stand_in: bool
    unrated: Mapping[str, int]
    kinds: Mapping[str, str]
    agreement: Mapping[str, Agreement] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether no fold of any row is missing."""
        return all(row.complete for row in self.rows)


def row_name(key: RowKey, *, fixed_graph: bool = False) -> str:
    """The row's name as the paper writes it: p for the body's pose, f for the face."""
    graph = "GCN" if fixed_graph else "AGCN"
    initial = {"pose": "p", "face": "f", FUSED_STREAM: "p+f"}.get(key.stream, f" {key.stream}")
    names = {
        "agcn": graph + initial,
        "tcn": "TCN" + initial,
        "agcn_kd": f"{graph}{initial} + KD",
        FUSED_MODEL: f"{graph}{initial} + KD (fusion)",
        ALWAYS_POSITIVE: "always positive",
        TRAINING_PRIOR: "training prior",
        MOTION_ENERGY: f"motion energy ({key.stream})",
        NUISANCE: "nuisance",
    }
    return names.get(key.model, f"{key.model} {key.stream}".strip())


def make_table(
    predictions: pd.DataFrame, plans: Mapping[str, Plan], cohort: Cohort, run: RunInfo, *, resamples: int = RESAMPLES
) -> Table:
    """Make the table from a run's out-of-fold predictions, fusion and baselines among them.

    Args:
        predictions: as `read_predictions`, `pool` and `fuse` give them.
        plans: sign → the folds that were planned.
        cohort: whose ratings were predicted.
        run: rows and seeds that were asked for, and what is missing.
        resamples: of the subjects, for the intervals.

    Raises:
        InputError: duplicates; a prediction that does not fit the folds or the cohort; a fold that is predicted in
            part.
    """
    check_predictions(predictions, "predictions")
    facts = {sign: _SignFacts.of(cohort, plan) for sign, plan in plans.items()}
    _check_fit(predictions, plans, facts)
    groups = {RowKey(*map(str, key)): rows for key, rows in predictions.groupby(list(RowKey._fields), sort=False)}
    empty = predictions.iloc[:0]
    ordered = sorted({*groups, *run.rows}, key=_place)
    made = {
        key: _row(key, groups.get(key, empty), plans[key.sign], facts[key.sign], run, resamples=resamples)
        for key in ordered
    }
    labels = _paper_labels(cohort)
    rows = [
        dataclasses.replace(row, contrast=_contrast(key, made, resamples), others=_others(key, cases, labels))
        for key, (row, cases) in made.items()
    ]
    return Table(
        rows=tuple(_corrected(rows)),
        run=run,
        stand_in=run.stand_in or cohort.is_standin,
        unrated={sign: len(cohort.unrated(cohort.sign(sign))) for sign in plans},
        kinds={sign: plan.kind for sign, plan in plans.items()},
        agreement={sign: found for sign in plans if len((found := agreement(cohort.ratings, sign)).raters) > 1},
    )


@dataclass(frozen=True)
class _SignFacts:
    """A sign's ratings, by the folds that hold them out."""

    classes: tuple[str, ...]
    label: Mapping[str, str]
    subject: Mapping[str, str]
    fold: Mapping[str, str]
    seizures: Mapping[str, tuple[str, ...]]
    undecided: int

    @classmethod
    def of(cls, cohort: Cohort, plan: Plan) -> _SignFacts:
        sign = cohort.sign(plan.sign)
        fold_of = {subject: fold.name for fold in plan.folds for subject in fold.test}
        label = {name: sign.classes[index] for name, index in cohort.labels(sign).items()}
        subject = {name: cohort.subject_of(name) for name in label}
        strays = sorted({owner for owner in subject.values() if owner not in fold_of})
        if strays:
            msg = (
                f"{plan.sign}: no fold holds out {', '.join(strays)}; the folds are of another cohort: give a new --out"
            )
            raise InputError(msg)
        fold = {name: fold_of[subject[name]] for name in label}
        held: dict[str, list[str]] = {part.name: [] for part in plan.folds}
        for name in sorted(label):
            held[fold[name]].append(name)
        seizures = {name: tuple(group) for name, group in held.items()}
        return cls(sign.classes, label, subject, fold, seizures, len(cohort.undecided(sign)))


def _check_fit(predictions: pd.DataFrame, plans: Mapping[str, Plan], facts: Mapping[str, _SignFacts]) -> None:
    faults = []
    columns = ["sign", "fold", "subject", "seizure", "label"]
    for sign, fold, subject, seizure, label in (
        predictions[columns].drop_duplicates().itertuples(index=False, name=None)
    ):
        if sign not in plans:
            faults.append(f"predictions: {sign} has no folds; the run planned {', '.join(plans)}")
            continue
        known = facts[sign]
        if seizure not in known.label:
            faults.append(f"predictions: {seizure} is predicted for {sign}, but the cohort has no rating of it")
        elif (fold, subject, label) != (known.fold[seizure], known.subject[seizure], known.label[seizure]):
            faults.append(
                f"predictions: {seizure} is of fold {fold}, subject {subject}, '{label}' for {sign}; "
                f"the folds and the cohort say fold {known.fold[seizure]}, subject {known.subject[seizure]}, "
                f"'{known.label[seizure]}'"
            )
    if faults:
        shown = list(dict.fromkeys(faults))[:20]
        raise InputError(
            *shown, "predictions: they are of another cohort or other folds; give a new --out and run again"
        )


def _place(key: RowKey) -> tuple[object, ...]:
    """Where a row stands: signs in the paper's order, crossed ones last; streams, then models; baselines after them."""
    signs = tuple(OWN_SIGN.values())
    sign = (signs.index(key.sign), "") if key.sign in signs else (len(signs), key.sign)
    model = _ORDER.index(key.model) if key.model in _ORDER else len(_ORDER)
    fused = key.model == FUSED_MODEL
    streams = (*STREAMS, FUSED_STREAM, "")
    stream = streams.index(key.stream) if key.stream in streams else len(streams)
    kind = 2 if key.model in BASELINES else 1 if fused else 0
    inner = (model, stream) if kind == 2 else (stream, model)
    return (_crossed(key), *sign, kind, *inner, key.stream, key.model)


def _crossed(key: RowKey) -> bool:
    """Whether a stream is asked for the sign that the paper reads from the other one."""
    return key.sign in OWN_SIGN.values() and key.stream in OWN_SIGN and OWN_SIGN[key.stream] != key.sign


def _lacking(key: RowKey, run: RunInfo) -> frozenset[str]:
    if key.model == FUSED_MODEL and key not in run.lacking:
        students = (RowKey(key.sign, stream, STUDENT) for stream in FUSED_STREAM.split("+"))
        return frozenset[str]().union(*(run.lacking.get(student, frozenset()) for student in students))
    return run.lacking.get(key, frozenset())


def _reason(key: RowKey, seed: int | None, fold: str, run: RunInfo) -> str:
    if (key, seed, fold) in run.failed:
        return run.failed[key, seed, fold]
    if key.model == FUSED_MODEL:
        students = [RowKey(key.sign, stream, STUDENT) for stream in FUSED_STREAM.split("+")]
        reasons = [
            f"{row_name(student, fixed_graph=run.fixed_graph)}: {run.failed[student, seed, fold]}"
            for student in students
            if (student, seed, fold) in run.failed
        ]
        return "; ".join(reasons) or NOT_RUN
    return NOT_RUN


def _row(
    key: RowKey, rows: pd.DataFrame, plan: Plan, facts: _SignFacts, run: RunInfo, *, resamples: int
) -> tuple[Row, Cases]:
    lacking = _lacking(key, run)
    by_seed: dict[int | None, pd.DataFrame] = {
        None if pd.isna(seed) else int(str(seed)): group
        for seed, group in rows.groupby("seed", dropna=False, sort=True)
    }
    seeds = tuple(by_seed)
    asked: tuple[int | None, ...] = (None,) if key.model in BASELINES else run.seeds
    expected = (*seeds, *(seed for seed in asked if seed not in by_seed))
    done = {seed: _folds_done(key, seed, by_seed[seed], facts=facts, lacking=lacking, run=run) for seed in seeds}
    folds = tuple(fold.name for fold in plan.folds)
    missing = tuple(
        MissingFold(seed, fold, _reason(key, seed, fold, run))
        for seed in expected
        for fold in folds
        if fold not in done.get(seed, frozenset())
    )
    everywhere = [fold for fold in folds if seeds and all(fold in done[seed] for seed in seeds)]
    scored_in = {seed: set(by_seed[seed]["seizure"]) for seed in seeds}
    scored = set.intersection(*scored_in.values()) if scored_in else set()
    unscored_in = {
        seed: [
            name
            for name in sorted(lacking & set(facts.fold))
            if facts.fold[name] in done[seed] and name not in scored_in[seed]
        ]
        for seed in seeds
    }
    wrong = sorted({name for names in unscored_in.values() for name in names})

    cases = cases_of(
        list(by_seed.values()),
        facts.classes,
        list(unscored_in.values()),
        label_of=facts.label,
        subject_of=facts.subject,
    )
    weighted, patients = cases.weighted_by_subject(), cases.by_patient()
    chance = conditional(cases)
    null = run.refit_null.get(key)
    extracted = set(facts.label) - lacking
    width = len(facts.classes)
    row = Row(
        key=key,
        name=row_name(key, fixed_graph=run.fixed_graph),
        group=f"{CROSSED}: {key.sign}" if _crossed(key) else key.sign,
        classes=facts.classes,
        seeds=seeds,
        folds_done=len(everywhere),
        folds=len(folds),
        missing=missing,
        rated=len(facts.label),
        extracted=len(extracted),
        scored=len(scored),
        counted_wrong=tuple(wrong),
        subjects_rated=len(set(facts.subject.values())),
        subjects_extracted=len({facts.subject[name] for name in extracted}),
        subjects_scored=len({facts.subject[name] for name in scored}),
        scores=_summaries([score(cases.decisions(place)) for place in range(len(seeds))]),
        scored_only=_summaries(scores_by_seed(cases.scored_only())),
        by_subject=_summaries(scores_by_seed(weighted)),
        by_patient=_summaries(scores_by_seed(patients)),
        intervals=intervals(cases, WEIGHABLE, resamples=resamples),
        by_subject_intervals=intervals(weighted, LEVEL_INTERVALS, resamples=resamples),
        by_patient_intervals=intervals(patients, LEVEL_INTERVALS, resamples=resamples),
        chance=chance,
        refit=None if null is None else refitted(chance.observed, null, chance.statistic),
        contrast=None,
        others=(),
        ensemble=_ensemble(rows, seeds, scored, wrong, facts),
        paper=PAPER.get(key),
        confusion=np.array([confusion(cases.decisions(place)) for place in range(len(seeds))], dtype=int).reshape(
            len(seeds), width, width + 1
        ),
        kappa=_summary([_kappa(cases.decisions(place)) for place in range(len(seeds))]),
        calibrated={} if key.model in BASELINES else _calibrated(cases),
        calibration_error=_summary([expected_calibration_error(cases.decisions(place)) for place in range(len(seeds))]),
        undecided=facts.undecided,
    )
    return row, cases


def _kappa(decisions: Decisions) -> Score:
    scored = decisions.only(decisions.scored)
    return cohen_kappa(np.stack([scored.labels, scored.predictions], axis=1))


def _calibrated(cases: Cases) -> dict[str, Summary]:
    """Scores of probabilities that are calibrated on the other subjects; who cannot be calibrated is left out."""
    made = cross_fitted(cases, "platt" if len(cases.classes) == 2 else "temperature")
    without = np.isnan(made.probabilities).any(axis=-1)
    by_seed = scores_by_seed(dataclasses.replace(made, predictions=np.where(without, NOT_SCORED, made.predictions)))
    return {name: _summary([scores[name] for scores in by_seed]) for name in CALIBRATED}


def _paper_labels(cohort: Cohort) -> dict[str, dict[str, int]]:
    """The labels of the paper's signs that the cohort has, with two classes."""
    found = {}
    for name in OWN_SIGN.values():
        with suppress(InputError):
            sign = cohort.sign(name)
            if len(sign.classes) == 2:
                found[name] = cohort.labels(sign)
    return found


def _others(key: RowKey, cases: Cases, labels: Mapping[str, Mapping[str, int]]) -> tuple[OtherSign, ...]:
    """The row against the paper's other sign."""
    if key.sign not in labels or not cases.seeds:
        return ()
    return tuple(against_other_sign(cases, sign, own) for sign, own in labels.items() if sign != key.sign)


def _contrast(key: RowKey, made: Mapping[RowKey, tuple[Row, Cases]], resamples: int) -> Contrast | None:
    if key.model not in _CONTRASTS:
        return None
    other = RowKey(key.sign, key.stream, _CONTRASTS[key.model])
    if other not in made:
        return None
    (row, cases), (other_row, other_cases) = made[key], made[other]
    common = [seed for seed in row.seeds if seed in other_row.seeds]
    if not common:
        return None
    first = cases.of_seeds([row.seeds.index(seed) for seed in common])
    second = other_cases.of_seeds([other_row.seeds.index(seed) for seed in common])
    return Contrast(
        other=other,
        name=other_row.name,
        accuracy=sign_flip(first, second, "accuracy"),
        f1=sign_flip(first, second, "f1"),
        mcnemar=clustered_mcnemar(first, second),
        interval=difference_interval(first, second, "accuracy", resamples=resamples),
        planned=not _crossed(key),
    )


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """The rows with Holm's p: of trained rows against chance, of planned contrasts; baselines are among themselves."""
    adjusted: dict[RowKey, float] = {}
    for baseline in (False, True):
        family = [row for row in rows if row.baseline is baseline]
        p_values = holm([row.decisive.p for row in family])
        adjusted |= {row.key: p for row, p in zip(family, p_values, strict=True)}
    planned = [row for row in rows if row.contrast is not None and row.contrast.planned]
    tests = holm([row.contrast.accuracy.p for row in planned if row.contrast is not None])
    contrasts = {row.key: p for row, p in zip(planned, tests, strict=True)}
    return [
        dataclasses.replace(
            row,
            chance_adjusted=adjusted[row.key],
            contrast=None
            if row.contrast is None
            else dataclasses.replace(row.contrast, adjusted=contrasts.get(row.key, math.nan)),
        )
        for row in rows
    ]


def _folds_done(
    key: RowKey, seed: int | None, rows: pd.DataFrame, *, facts: _SignFacts, lacking: frozenset[str], run: RunInfo
) -> frozenset[str]:
    """Folds all of whose seizures with an extraction are predicted.

    One that has none of them is done, with nothing to score, once no other fold is still to be run. One that is
    predicted in part is refused: no whole job leaves that.
    """
    predicted = set(rows["seizure"])
    done: set[str] = set()
    nothing: set[str] = set()
    faults = []
    for fold, seizures in facts.seizures.items():
        wanted = [name for name in seizures if name not in lacking]
        open_ = [name for name in wanted if name not in predicted]
        if not open_:
            (done if predicted.intersection(seizures) else nothing).add(fold)
        elif any(name in predicted for name in seizures):
            what = "/".join(part for part in (*key, "" if seed is None else f"seed-{seed}", fold) if part)
            faults.append(
                f"predictions: {what} lacks {', '.join(open_)}, which is extracted; "
                "remove this job's folder and run again"
            )
    if faults:
        raise InputError(*faults)
    # A fold with nothing to score has no job: it is as done as the run that it belongs to is over.
    unfinished = [fold for fold in facts.seizures if fold not in done and fold not in nothing]
    if all(_reason(key, seed, fold, run) != NOT_RUN for fold in unfinished):
        done |= {fold for fold in nothing if _reason(key, seed, fold, run) == NOT_RUN}
    return frozenset(done)


def _summaries(by_seed: Sequence[Mapping[str, Score]]) -> dict[str, Summary]:
    return {name: _summary([scores[name] for scores in by_seed]) for name in SCORES}


def _summary(scores: Sequence[Score]) -> Summary:
    if not scores:
        return Summary(math.nan, None, "no fold done", ())
    undefined = next((entry for entry in scores if not entry.defined), None)
    if undefined is not None:
        return Summary(math.nan, None, undefined.reason, tuple(scores))
    values = [entry.value for entry in scores]
    sd = (
        statistics.stdev(values) if len(values) > 1 else None
    )  # exact: equal scores have no spread, not one of rounding
    return Summary(statistics.mean(values), sd, "", tuple(scores))


def _ensemble(
    rows: pd.DataFrame, seeds: Sequence[int | None], scored: set[str], wrong: Sequence[str], facts: _SignFacts
) -> dict[str, Score]:
    """Scores of the seeds' mean probability, decided at their mean threshold, of seizures that all seeds scored."""
    if len(seeds) < 2:
        return {}
    names = [PROBABILITY + name for name in facts.classes]
    common = rows.loc[rows["seizure"].isin(scored)]
    means = common.groupby("seizure", sort=True)[[*names, "threshold"]].mean()
    seizures = [str(name) for name in means.index]
    probabilities = means[names].to_numpy(dtype=float).reshape(len(seizures), len(names))
    decided = [
        decide(row[None], facts.classes, None if math.isnan(cut) else cut)[0]
        for row, cut in zip(probabilities, means["threshold"].to_numpy(dtype=float), strict=True)
    ]
    unscored = [name for name in wrong if name not in scored]
    blank = np.full((len(unscored), len(names)), math.nan)
    decisions = Decisions(
        facts.classes,
        np.array([facts.classes.index(facts.label[name]) for name in [*seizures, *unscored]], dtype=int),
        np.array([*map(facts.classes.index, decided), *[NOT_SCORED] * len(unscored)], dtype=int),
        np.vstack([probabilities, blank]),
    )
    return score(decisions, ENSEMBLE_SCORES)
