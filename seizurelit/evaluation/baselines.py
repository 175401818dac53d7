"""What a network has to beat in the same folds: always positive, the training prior, motion energy, nuisance alone.

The last two are logistic regressions, fitted in each fold on its training subjects alone, with both classes of equal
weight and the subjects of a class of equal weight (METHOD.md, points 2 and 9). Nothing is drawn at random: they have no
seed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from seizurelit.cache.store import FOLDS, Cache
from seizurelit.cohort.leak import Guard
from seizurelit.cohort.manifest import Cohort, Sign
from seizurelit.cohort.plan import Fold, Plan
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import STREAMS
from seizurelit.evaluation.predictions import as_frame, pool, prediction_rows

ALWAYS_POSITIVE = "always_positive"
TRAINING_PRIOR = "training_prior"
MOTION_ENERGY = "motion_energy"
NUISANCE = "nuisance"
BASELINES = (ALWAYS_POSITIVE, TRAINING_PRIOR, MOTION_ENERGY, NUISANCE)

NUMERIC_FACTS = ("duration_s", "width", "height", "greyscale", "people")
CATEGORICAL_FACTS = ("container",)

# (unit lengths a second)²: far below the jitter of any keypoint detector; it keeps the logarithm of no movement finite.
_STILL = 1e-8

# Features by name, and the subjects that the extractor's weights have seen.
_Found: TypeAlias = tuple[dict[str, object], tuple[str, ...]]
# (seizure, fold) → features, None where there is nothing to take them from.
_FeaturesOf: TypeAlias = Callable[[str, str], _Found | None]


def baselines(cohort: Cohort, plan: Plan, cache: Cache, streams: Sequence[str] = STREAMS) -> pd.DataFrame:
    """The out-of-fold predictions of all baselines of one sign.

    Args:
        cohort: the ratings.
        plan: the folds, those of the trained models.
        cache: keypoints and the facts of the recordings. Nuisance reads the facts of every stream that the cache has.
        streams: the streams of the table, each with a row of motion energy if the cache has its keypoints.

    Returns:
        Rows as `as_frame` types them; always positive is left out for more than two classes, which have no positive
        one.

    Raises:
        SubjectLeakError: an extraction by weights that have seen a fold's held-out subject.
    """
    sign = cohort.sign(plan.sign)
    frames = [always_positive(cohort, sign, plan), training_prior(cohort, sign, plan)]
    frames += [motion_energy(cohort, sign, plan, cache, stream) for stream in streams]
    frames.append(nuisance(cohort, sign, plan, cache))
    return pool(frames)


def always_positive(cohort: Cohort, sign: Sign, plan: Plan) -> pd.DataFrame:
    """The positive class for every seizure, with score 1; no rows for more than two classes."""
    if len(sign.classes) != 2:
        return as_frame(())
    rows = [
        _rows(
            ALWAYS_POSITIVE,
            "",
            dict.fromkeys(_seizures(cohort, sign, fold.test), np.array([0.0, 1.0])),
            cohort=cohort,
            sign=sign,
            fold=fold,
        )
        for fold in plan.folds
    ]
    return pool(rows)


def training_prior(cohort: Cohort, sign: Sign, plan: Plan) -> pd.DataFrame:
    """Each class scored with its share of the fold's training seizures.

    Leaving one subject out, its pooled AUROC is exactly 0 where every subject is of one class (METHOD.md, point 2).
    """
    labels = cohort.labels(sign)
    rows = []
    for fold in plan.folds:
        train = _seizures(cohort, sign, fold.train)
        counts = np.bincount([labels[name] for name in train], minlength=len(sign.classes)).astype(float)
        prior = counts / max(counts.sum(), 1.0)
        rows.append(
            _rows(
                TRAINING_PRIOR,
                "",
                dict.fromkeys(_seizures(cohort, sign, fold.test), prior),
                cohort=cohort,
                sign=sign,
                fold=fold,
            )
        )
    return pool(rows)


def motion_energy(cohort: Cohort, sign: Sign, plan: Plan, cache: Cache, stream: str) -> pd.DataFrame:
    """Logistic regression on `motion_features` of a stream's keypoints; seizures without them are left out."""
    source = _Features(cache)

    def rows_of(seizure: str, fold: str) -> _Found | None:
        return source.motion(seizure, stream, fold)

    return _regression(MOTION_ENERGY, stream, rows_of, cohort=cohort, sign=sign, plan=plan)


def nuisance(
    cohort: Cohort,
    sign: Sign,
    plan: Plan,
    cache: Cache,
) -> pd.DataFrame:
    """Logistic regression on what a recording is like, whatever the patient does.

    These are duration, width, height, container, greyscale and people in view as far as the extraction noted them, and
    for each stream the share of missing joints and the share of frames without any joint. Seizures without any
    extraction are left out.
    """
    source = _Features(cache)
    streams = tuple(stream for stream in STREAMS if stream in cache.streams())

    def rows_of(seizure: str, fold: str) -> _Found | None:
        return source.nuisance(seizure, streams, fold)

    return _regression(NUISANCE, "", rows_of, cohort=cohort, sign=sign, plan=plan)


@functools.lru_cache
def joint_groups(skeleton: Skeleton) -> Mapping[str, tuple[int, ...]]:
    """The joints by parts: each unbranched chain of bones with its mirror image; the branching joints are the core.

    Sides are taken together since labels are not lateralised, and since few features are all that few videos bear.

    Returns:
        Name (of the group's first joint; `core`) → joints. Of body11: core (pelvis, neck), head, both arms, both hips.
    """
    joints = len(skeleton.joints)
    neighbours: list[set[int]] = [set() for _ in range(joints)]
    for child, parent in skeleton.bones:
        neighbours[child].add(parent)
        neighbours[parent].add(child)
    core = {joint for joint in range(joints) if len(neighbours[joint]) > 2 or joint == skeleton.root}
    groups: dict[str, tuple[int, ...]] = {"core": tuple(sorted(core))}
    taken = set(core)
    for start in range(joints):
        if start in taken:
            continue
        chain, waiting = set[int](), [start]
        while waiting:
            joint = waiting.pop()
            if joint not in chain and joint not in taken:
                chain.add(joint)
                waiting += [*neighbours[joint], skeleton.flip_permutation[joint]]
        taken |= chain
        groups[skeleton.joints[min(chain)]] = tuple(sorted(chain))
    return groups


def motion_features(
    keypoints: npt.NDArray[np.float32],
    confidence: npt.NDArray[np.float32],
    root: npt.NDArray[np.float32] | None,
    skeleton: Skeleton,
    fps: float,
) -> dict[str, float]:
    """Log mean squared velocity of each joint group relative to the root, and of the root, in (unit lengths / s)².

    The unit is the clip's own: the median distance of the skeleton's two `scale` joints, 1 where they are never both
    there.

    Args:
        keypoints: (T, V, C).
        confidence: (T, V); a joint is present where it is above 0 and its coordinates are finite.
        root: (T, C) path of the root; None takes that of the root joint itself.
        skeleton: of the V axis.
        fps: frames a second.

    Returns:
        Group → feature; NaN for one that is never present in two successive frames.
    """
    points = keypoints.astype(float)
    present = (confidence > 0) & np.isfinite(points).all(axis=-1)
    one, other = skeleton.scale
    both = present[:, one] & present[:, other]
    unit = (
        float(np.median(np.linalg.norm(points[both, one] - points[both, other], axis=-1))) if both.any() else math.nan
    )
    unit = unit if math.isfinite(unit) and unit > 0 else 1.0

    path = points[:, skeleton.root] if root is None else root.astype(float)
    path_present = present[:, skeleton.root] if root is None else np.isfinite(path).all(axis=-1)
    if root is None:
        points = points - path[:, None]
        present = present & path_present[:, None]
    features = {"root": _energy(path[:, None], path_present[:, None], unit, fps)}
    for name, joints in joint_groups(skeleton).items():
        members = [joint for joint in joints if joint != skeleton.root]
        if members:
            features[name] = _energy(points[:, members], present[:, members], unit, fps)
    return features


def balanced_weights(labels: Sequence[int], subjects: Sequence[str]) -> npt.NDArray[np.float64]:
    """(S,) weights that sum to S: classes count alike, and so do the subjects within a class (METHOD.md, point 2)."""
    frame = pd.DataFrame({"label": list(labels), "subject": list(subjects)})
    seizures = frame.groupby(["label", "subject"])["subject"].transform("size").to_numpy(dtype=float)
    owners = frame.groupby("label")["subject"].transform("nunique").to_numpy(dtype=float)
    return np.asarray(len(frame) / (frame["label"].nunique() * owners * seizures))


class _Features:
    """Features of the cache's files, each file read once however many folds share it."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._by_fold = (cache.root / FOLDS).is_dir()
        self._motion: dict[tuple[str, str, str | None], _Found | None] = {}
        self._facts: dict[tuple[str, str, str | None], _Found] = {}

    def _own(self, seizure: str, stream: str, fold: str) -> str | None:
        """The fold, where it has an extraction of its own."""
        return fold if fold and self._by_fold and self.cache.has(seizure, stream, fold) else None

    def _there(self, seizure: str, stream: str, own: str | None) -> bool:
        return own is not None or self.cache.has(seizure, stream)

    def motion(self, seizure: str, stream: str, fold: str) -> _Found | None:
        """Features and the subjects that the extractor saw; None without keypoints."""
        key = (seizure, stream, self._own(seizure, stream, fold))
        if key not in self._motion:
            self._motion[key] = self._read_motion(*key) if self._there(*key) else None
        return self._motion[key]

    def _read_motion(self, seizure: str, stream: str, own: str | None) -> _Found | None:
        names = self.cache.names(seizure, stream, own)
        wanted = [name for name in (f"{stream}.keypoints", f"{stream}.confidence", f"{stream}.root") if name in names]
        if f"{stream}.keypoints" not in wanted:
            return None
        read = self.cache.read(seizure, stream, wanted, fold=own)
        skeleton = read.metadata.skeleton
        assert skeleton is not None  # the cache refuses keypoints without one
        root = read.tensors.get(f"{stream}.root")
        features = motion_features(
            read[f"{stream}.keypoints"], read[f"{stream}.confidence"], root, skeleton, read.metadata.fps
        )
        return dict(features), read.metadata.subjects_seen

    def nuisance(self, seizure: str, streams: Sequence[str], fold: str) -> _Found | None:
        """Features and the subjects that the extractors saw; None without any extraction."""
        features: dict[str, object] = {}
        seen: set[str] = set()
        found = False
        for stream in streams:
            key = (seizure, stream, self._own(seizure, stream, fold))
            if key not in self._facts:
                if not self._there(*key):
                    features |= {f"missing joints ({stream})": 1.0, f"frames without ({stream})": 1.0}
                    continue
                self._facts[key] = self._read_facts(*key)
            found = True
            facts, subjects = self._facts[key]
            features = {**facts, **features}  # the body's video is the face's; the first stream's word stands
            seen.update(subjects)
        return (features, tuple(sorted(seen))) if found else None

    def _read_facts(self, seizure: str, stream: str, own: str | None) -> _Found:
        metadata = self.cache.metadata(seizure, stream, own)
        features: dict[str, object] = {
            name: metadata.facts[name]
            for name in (*NUMERIC_FACTS, *CATEGORICAL_FACTS)
            if metadata.facts.get(name) is not None
        }
        name = f"{stream}.confidence"
        if name in self.cache.names(seizure, stream, own):
            present = self.cache.read(seizure, stream, [name], fold=own)[name] > 0
            features[f"missing joints ({stream})"] = float(1.0 - present.mean())
            features[f"frames without ({stream})"] = float(1.0 - present.any(axis=1).mean())
            features.setdefault("duration_s", len(present) / metadata.fps)
        return features, metadata.subjects_seen


def _energy(points: npt.NDArray[np.float64], present: npt.NDArray[np.bool_], unit: float, fps: float) -> float:
    """Log mean squared velocity of (T, V, C) points over the pairs of successive frames in which a point is present."""
    pairs = present[1:] & present[:-1]
    if not pairs.any():
        return math.nan
    steps = (points[1:] - points[:-1])[pairs] * (fps / unit)
    return math.log(max(float((steps**2).sum(axis=-1).mean()), _STILL))


def _regression(
    model: str,
    stream: str,
    features_of: _FeaturesOf,
    *,
    cohort: Cohort,
    sign: Sign,
    plan: Plan,
) -> pd.DataFrame:
    labels = cohort.labels(sign)
    frames = []
    for fold in plan.folds:
        guard = Guard.of(fold)
        tables, names = {}, {}
        for part, subjects in (("train", fold.train), ("test", fold.test)):
            found = {name: features_of(name, fold.name) for name in _seizures(cohort, sign, subjects)}
            for name, pair in found.items():
                if pair is not None:
                    guard.admit(pair[1], f"the extraction of {name}")
            present = {name: pair[0] for name, pair in found.items() if pair is not None}
            names[part] = list(present)
            tables[part] = pd.DataFrame(list(present.values()), index=list(present), dtype=object)
        if not names["train"] or not names["test"]:
            continue
        owners = [cohort.subject_of(name) for name in names["train"]]
        guard.admit(owners, f"the training data of {model}")
        truth = [labels[name] for name in names["train"]]
        scores = _fit_and_score(tables["train"], truth, owners, tables["test"], len(sign.classes))
        frames.append(
            _rows(model, stream, dict(zip(names["test"], scores, strict=True)), cohort=cohort, sign=sign, fold=fold)
        )
    return pool(frames)


def _fit_and_score(
    train: pd.DataFrame, labels: Sequence[int], subjects: Sequence[str], test: pd.DataFrame, classes: int
) -> npt.NDArray[np.float64]:
    """(n, K) probabilities of the test rows; everything that is fitted is fitted on the training rows alone."""
    return fit_regression(train, labels, subjects, classes).score(test)


@dataclass(frozen=True)
class Regression:
    """A fitted logistic regression in numbers that can be handed over. F columns, of which G are numeric.

    Attributes:
        medians: numeric feature → that of training, which stands for a missing one.
        categories: categorical feature → those of training; one column each.
        mean: (F,) of the columns, the numeric ones first, each kind by name; those that are constant in training are left out.
        scale: (F,) standard deviation.
        kept: (F,) places of the columns among all.
        present: classes of training; of one alone every score is 1.
        weights: (len(present), F) of the standardised columns, whose softmax is the score.
        bias: (len(present),).
        classes: K.
    """

    medians: Mapping[str, float]
    categories: Mapping[str, tuple[str, ...]]
    kept: tuple[int, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    present: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    classes: int

    def columns(self, table: pd.DataFrame) -> npt.NDArray[np.float64]:
        """(n, all columns) of a table of features; the median where one is missing, 0 for a category that training had not."""
        table = table.reindex(columns=[*self.medians, *self.categories])
        parts = [
            table[name].astype(float).fillna(median).to_numpy(dtype=float)[:, None]
            for name, median in self.medians.items()
        ]
        for name, known in self.categories.items():
            cells = ["" if pd.isna(cell) else str(cell) for cell in table[name]]
            parts.append(np.array([[cell == one for one in known] for cell in cells], dtype=float))
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(table), 0))

    def score(self, table: pd.DataFrame) -> npt.NDArray[np.float64]:
        """(n, K) scores of the rows of a table of features."""
        columns = self.columns(table)[:, list(self.kept)]
        standard = (columns - np.asarray(self.mean)) / np.asarray(self.scale)
        scores = np.zeros((len(table), self.classes))
        logits = standard @ np.asarray(self.weights).reshape(len(self.present), -1).T + np.asarray(self.bias)
        scores[:, list(self.present)] = special.softmax(logits, axis=1)
        return scores


def fit_regression(train: pd.DataFrame, labels: Sequence[int], subjects: Sequence[str], classes: int) -> Regression:
    """Fit a logistic regression, classes and the subjects within a class of equal weight.

    Args:
        train: features of the training seizures, typed as they come.
        labels: of each.
        subjects: whose each is.
        classes: K.
    """
    names = sorted(train.columns)
    numeric = {name: train[name].astype(float) for name in names if name not in CATEGORICAL_FACTS}
    medians = {name: float(cells.median()) if cells.notna().any() else 0.0 for name, cells in numeric.items()}
    categories = {
        name: tuple(sorted({"" if pd.isna(cell) else str(cell) for cell in train[name]}))
        for name in names
        if name in CATEGORICAL_FACTS
    }
    present = tuple(sorted(set(labels)))
    plain = Regression(medians, categories, (), (), (), present, ((),) * len(present), (0.0,) * len(present), classes)
    columns = plain.columns(train)
    kept = np.flatnonzero(np.ptp(columns, axis=0) > 0) if columns.size else np.zeros(0, dtype=int)
    # Of one class there is nothing to tell apart; without columns nothing to tell by: with balanced weights all classes are equal.
    if len(present) == 1 or not len(kept):
        return plain
    scaler = StandardScaler().fit(columns[:, kept])
    regression = LogisticRegression(C=1.0, max_iter=1000)
    regression.fit(scaler.transform(columns[:, kept]), list(labels), sample_weight=balanced_weights(labels, subjects))
    weights, bias = regression.coef_, regression.intercept_
    if len(present) == 2:  # of two classes there is one line, for the second
        weights, bias = np.concatenate([0 * weights, weights]), np.concatenate([0 * bias, bias])
    return dataclasses.replace(
        plain,
        kept=tuple(kept.tolist()),
        mean=tuple(scaler.mean_.tolist()),
        scale=tuple(scaler.scale_.tolist()),
        weights=tuple(map(tuple, weights.tolist())),
        bias=tuple(bias.tolist()),
    )


@dataclass(frozen=True)
class Fitted:
    """What a sign's baselines learned from a whole cohort, for another that none of them has seen.

    Attributes:
        prior: (K,) share of each class in its seizures.
        regressions: (model, stream) → motion energy of each stream, and nuisance.
    """

    prior: tuple[float, ...]
    regressions: Mapping[tuple[str, str], Regression]


def fit_baselines(cohort: Cohort, sign: Sign, cache: Cache, streams: Sequence[str]) -> Fitted:
    """Fit a sign's baselines on all rated subjects of a cohort.

    Args:
        cohort: the ratings.
        sign: of which.
        cache: keypoints and the facts of the recordings.
        streams: each with a regression of motion energy, if the cache has its keypoints.
    """
    labels = cohort.labels(sign)
    counts = np.bincount(list(labels.values()), minlength=len(sign.classes)).astype(float)
    regressions = {}
    for key, tables in _features_of(cache, sorted(labels), streams).items():
        names = list(tables.index)
        if names:
            owners = [cohort.subject_of(name) for name in names]
            truth = [labels[name] for name in names]
            regressions[key] = fit_regression(tables, truth, owners, len(sign.classes))
    return Fitted(tuple((counts / max(counts.sum(), 1.0)).tolist()), regressions)


def score_baselines(fitted: Fitted, cohort: Cohort, plan: Plan, cache: Cache, streams: Sequence[str]) -> pd.DataFrame:
    """The predictions of a cohort by baselines that were fitted on another; seizures without an extraction are left out.

    Args:
        fitted: on the other cohort.
        cohort: this one's ratings.
        plan: of the sign, all of its folds without training subjects.
        cache: this cohort's.
        streams: of the table.
    """
    sign = cohort.sign(plan.sign)
    frames = [always_positive(cohort, sign, plan)]
    prior = np.asarray(fitted.prior)
    for fold in plan.folds:
        names = _seizures(cohort, sign, fold.test)
        scores = {(TRAINING_PRIOR, ""): dict.fromkeys(names, prior)}
        for key, table in _features_of(cache, names, streams).items():
            if key in fitted.regressions:
                scores[key] = dict(zip(table.index, fitted.regressions[key].score(table), strict=True))
        for (model, stream), found in scores.items():
            frames.append(_rows(model, stream, found, cohort=cohort, sign=sign, fold=fold))
    return pool(frames)


def _features_of(cache: Cache, seizures: Sequence[str], streams: Sequence[str]) -> dict[tuple[str, str], pd.DataFrame]:
    """(model, stream) → features of the seizures that have them, of what every fold shares."""
    source = _Features(cache)
    everybody = ""  # no fold has an extraction of its own here
    there = tuple(stream for stream in STREAMS if stream in cache.streams())
    found: dict[tuple[str, str], dict[str, _Found | None]] = {
        (MOTION_ENERGY, stream): {name: source.motion(name, stream, everybody) for name in seizures}
        for stream in streams
    }
    found[NUISANCE, ""] = {name: source.nuisance(name, there, everybody) for name in seizures}
    tables = {}
    for key, by_name in found.items():
        present = {name: pair[0] for name, pair in by_name.items() if pair is not None}
        tables[key] = pd.DataFrame(list(present.values()), index=list(present), dtype=object)
    return tables


def not_extracted(
    cache: Cache, cohort: Cohort, plan: Plan, needs: Mapping[tuple[str, str], Iterable[str]]
) -> dict[tuple[str, str, str], frozenset[str]]:
    """The rated seizures that a row cannot score for want of an extraction.

    Args:
        cache: of all streams.
        cohort: the ratings.
        plan: the folds of the sign.
        needs: (stream, model) → the modalities that a model reads: keypoints, appearance. Baselines are added by
            themselves.

    Returns:
        (sign, stream, model) → seizures, for `RunInfo.lacking`; the fusion row follows from its students.
    """
    sign = cohort.sign(plan.sign)
    fold_of = {subject: fold.name for fold in plan.folds for subject in fold.test}
    rated = {name: fold_of[cohort.subject_of(name)] for name in cohort.labels(sign)}
    wanted = {key: frozenset(modalities) for key, modalities in needs.items()}
    streams = cache.streams()
    names = {
        stream: {
            name: cache.names(name, stream, fold) if cache.has(name, stream, fold) or cache.has(name, stream) else ()
            for name, fold in rated.items()
        }
        for stream in sorted({*(stream for stream, _ in wanted), *streams})
    }
    wanted |= {(stream, MOTION_ENERGY): frozenset({"keypoints"}) for stream in names}
    lacking = {
        (sign.name, stream, model): frozenset(
            name for name in rated if not all(f"{stream}.{part}" in names[stream][name] for part in modalities)
        )
        for (stream, model), modalities in wanted.items()
    }
    lacking[sign.name, "", NUISANCE] = frozenset(
        name for name in rated if not any(names[stream][name] for stream in streams)
    )
    return lacking


def _seizures(cohort: Cohort, sign: Sign, subjects: Iterable[str]) -> list[str]:
    """The rated seizures of some subjects, sorted."""
    wanted = set(subjects)
    return sorted(name for name in cohort.labels(sign) if cohort.subject_of(name) in wanted)


def _rows(
    model: str, stream: str, scores: Mapping[str, npt.NDArray[np.float64]], *, cohort: Cohort, sign: Sign, fold: Fold
) -> pd.DataFrame:
    return prediction_rows(
        scores,
        sign=sign.name,
        classes=sign.classes,
        stream=stream,
        model=model,
        seed=None,
        fold=fold.name,
        subject_of={name: cohort.subject_of(name) for name in scores},
        label_of=cohort.labels(sign),
    )
