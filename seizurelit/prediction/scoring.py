"""One video's tensors to what is said of it: score, spread, windows, grounds; or that it is not to be judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seizurelit.cache.store import Cache
from seizurelit.cohort.manifest import Cohort
from seizurelit.data.store import SeizureStore
from seizurelit.errors import InputError
from seizurelit.explanation.attribution import BIN, Attribution, attribute
from seizurelit.handover.ensemble import Ensemble, Floats, Member, RowModel, SeizureScore, by_settings, new_data, score
from seizurelit.handover.fitting import store_of
from seizurelit.handover.of_run import without_subject
from seizurelit.prediction.judging import Judgement, judge, judged_windows
from seizurelit.tracking.pseudonyms import pseudonym, read_key

MOST_EXPLAINED = 5
"""Members whose attributions are averaged; of a larger ensemble every n-th, as the time goes with their number."""


@dataclass(frozen=True)
class Known:
    """That a video's subject is of the training cohort.

    Attributes:
        subject: as the cohort names it, or its keyed hash.
        by: how that is known: content or --subject.
    """

    subject: str
    by: str


@dataclass(frozen=True, eq=False)
class Spoken:
    """What is said of a video for a row.

    Attributes:
        row: the networks that were used.
        known: that the subject is of the training cohort; None if not.
        judgement: whether the score may be read.
        score: (K,) calibrated where there is a calibration.
        raw: (K,) the mean of the members' softmax.
        members: (M, K) calibrated likewise.
        scored: raw scores of members and windows.
        target: index of the class that is named.
        windows_judged: of each window, whether enough is seen in it.
        attribution: for the class that is named; None if it was not asked for.
    """

    row: RowModel
    known: Known | None
    judgement: Judgement
    score: Floats
    raw: Floats
    members: Floats
    scored: SeizureScore
    target: int
    windows_judged: tuple[bool, ...]
    attribution: Attribution | None


def known_subject(ensemble: Ensemble, subject: str | None, digest: str) -> Known | None:
    """Whether a video, or who is in it, was trained on: by the digest of the file, or by the name that is given.

    Raises:
        InputError: a subject is given that the run's cohort does not have; or the key of keyed hashes cannot be used.
    """
    if ensemble.origin.get("kind") == "run":
        if subject is not None and subject not in ensemble.subjects:
            msg = f"--subject {subject}: is nobody of the run's cohort ({', '.join(sorted(ensemble.subjects))}); leave it out"
            raise InputError(msg)
        if digest in ensemble.sources:
            return Known(ensemble.sources[digest], "content")
        return None if subject is None else Known(subject, "--subject")
    key = read_key()
    if pseudonym(digest, key) in ensemble.sources:
        return Known(ensemble.sources[pseudonym(digest, key)], "content")
    if subject is not None and pseudonym(subject, key) in ensemble.subjects:
        return Known(pseudonym(subject, key), "--subject")
    return None


def speak(
    ensemble: Ensemble, row: RowModel, cache: Cache, cohort: Cohort, seizure: str, *, known: Known | None, explain: bool
) -> Spoken:
    """Score a seizure of the small cache.

    Args:
        ensemble: for what is known of the training cohort.
        row: whose networks.
        cache: with the seizure's tensors.
        cohort: of the cache.
        seizure: its name.
        known: that the subject was trained on.
        explain: attribute too.

    Raises:
        InputError: the tensors are not what the networks were made for.
    """
    tensors = cache.read(seizure, row.stream)
    judgement = judge(ensemble, row, tensors, tensors.metadata.facts)
    used = row
    if known is not None:
        apart = without_subject(row, known.subject)
        if apart is None:
            reason = (
                f"{known.subject} was trained on (known by {known.by}), and no network here was not; predict with --run"
            )
            judgement = dataclasses.replace(judgement, reasons=(*judgement.reasons, reason))
        else:
            used = apart
    store = store_of(ensemble, used, cache, cohort, {seizure: 0})
    scored = score(used, store)[seizure]
    calibrate = used.calibration.apply if used.calibration is not None else np.asarray
    target = int(scored.score.argmax())
    if used.threshold is not None:
        target = int(scored.score[1] >= used.threshold)
    members = np.asarray(calibrate(scored.members), dtype=float)
    return Spoken(
        row=used,
        known=known,
        judgement=judgement,
        score=np.asarray(calibrate(scored.score), dtype=float),
        raw=scored.score,
        members=members,
        scored=scored,
        target=target,
        windows_judged=tuple(judged_windows(judgement.seen, scored.windows.spans)),
        attribution=grounds(used, store, target) if explain and judgement.seen.present.any() else None,
    )


def grounds(row: RowModel, store: SeizureStore, target: int) -> Attribution:
    """The mean attribution over the ensemble's members, or over every n-th of many."""
    members = explained(row)
    parts: list[tuple[int, Attribution]] = []
    for training, group in by_settings(members):
        data = new_data(store, training)
        for batch in data.held_out_batches():
            found = attribute([member.network for member in group], data, batch, target)
            parts += [(len(group), one) for one in found]
    longest = max(len(one.values) for _, one in parts)
    total = sum(count for count, _ in parts)
    values = sum(np.pad(one.values, ((0, longest - len(one.values)), (0, 0))) * (count / total) for count, one in parts)
    margin = sum(one.margin * count for count, one in parts) / total
    return Attribution(parts[0][1].names, BIN, np.asarray(values, dtype=float), margin)


def explained(row: RowModel) -> list[Member]:
    """The members whose attributions are averaged."""
    return list(row.members)[:: -(-len(row.members) // MOST_EXPLAINED)]


def spread(members: Floats) -> dict[str, Any]:
    """Of the members' scores of one class (M,): how far they are apart."""
    count = len(members)
    return {
        "members": count,
        "sd": float(members.std(ddof=1)) if count > 1 else None,
        "low": float(members.min()),
        "high": float(members.max()),
        "quartiles": [float(value) for value in np.quantile(members, [0.25, 0.5, 0.75])],
    }


def member_names(members: Sequence[Member]) -> str:
    """How many of what, for people."""
    folds = {member.name.split("/", 1)[1] for member in members}
    seeds = {member.name.split("/", 1)[0] for member in members}
    counts = ((len(members), "network"), (len(folds), "fold"), (len(seeds), "seed"))
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)
