"""Whether nothing fitted for a fold saw its held-out subjects: read again from what the run and the cache have on disk."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from seizurelit.cache.store import Cache
from seizurelit.cohort.plan import Fold
from seizurelit.config import candidates, teaches, with_overrides
from seizurelit.errors import InputError
from seizurelit.evaluation.predictions import read_predictions
from seizurelit.loso.experiment import WEIGHTS, Row, Run, fold_of, job_id, load_run, make_plan
from seizurelit.loso.job import CHOICE, INNER_WEIGHTS
from seizurelit.loso.pooling import PREDICTIONS
from seizurelit.scheduling.ledger import Ledger, job_folder
from seizurelit.training.checkpoint import Provenance, read_provenance
from seizurelit.training.fit import HISTORY


@dataclass(frozen=True)
class Chain:
    """All that a fold's out-of-fold predictions rest on, and whom it saw.

    Attributes:
        job: the training.
        held_out: subjects of the fold.
        links: what took part, a phrase each, such as "teacher saw 18 subjects".
        faults: what is wrong, a line each; none if the predictions are out of fold.
    """

    job: str
    held_out: tuple[str, ...]
    links: tuple[str, ...]
    faults: tuple[str, ...]


def audit_run(folder: Path) -> int:
    """Print the chain of every finished job of a run.

    Args:
        folder: the run.

    Returns:
        0, or 1 where a chain has a fault or no job is there.
    """
    run = load_run(folder)
    plan_faults = list(_plan_faults(run))
    chains = audit(run)
    for chain in chains:
        print(f"{'LEAK OR FAULT' if chain.faults else 'clean'}  {chain.job}: {'; '.join(chain.links)}")
    bad = [*plan_faults, *(fault for chain in chains for fault in chain.faults)]
    for fault in bad:
        print(f"FAULT  {fault}")
    faulty = sum(bool(chain.faults) for chain in chains)
    print(
        f"{len(chains)} trainings audited, {faulty} with faults. Nothing is fitted but what is listed: clips are normalised by "
        "themselves, and the number of epochs is fixed beforehand."
    )
    if not chains:
        print(f"{folder}: no finished training is there to audit")
    return 1 if bad or not chains else 0


def audit(run: Run) -> tuple[Chain, ...]:
    """The chain of every training of a run whose folder is there.

    Subjects come from the weights' own records, digests from the files as they are now, held-out subjects from folds.json,
    those that an extraction's weights were fitted on from the cache.
    """
    jobs = sorted(
        path.parent.relative_to(run.folder / "jobs").as_posix()
        for path in (run.folder / "jobs").glob("*/*/*/*/*/result.json")
    )
    extraction = _Extraction(Cache.open(run.setup.cache))
    return tuple(_chain(run, job, extraction) for job in jobs)


class _Extraction:
    """Which subjects the weights saw that made a stream's tensors; each file's record is read once."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.seen = lru_cache(maxsize=None)(self._seen)

    def _seen(self, stream: str, fold: str | None) -> frozenset[str]:
        records = (
            self.cache.metadata(
                seizure, stream, fold if fold is not None and self.cache.has(seizure, stream, fold) else None
            )
            for seizure in self.cache.seizures(stream)
        )
        return frozenset(subject for record in records for subject in record.subjects_seen)

    def of_fold(self, stream: str, fold: str) -> frozenset[str]:
        return self.seen(stream, fold if self.cache.fitted_for(fold) else None)


def _plan_faults(run: Run) -> Iterator[str]:
    """Folds that are not those that the cohort and the options give."""
    signs = {path.name for path in (run.folder / "jobs").glob("*")}
    for sign in sorted(signs):
        if run.plan(sign) != make_plan(run.setup, run.cohort, sign):
            yield f"{run.folder / 'folds.json'}: the folds of {sign} are not those that cohort and options give"


def _chain(run: Run, job: str, extraction: _Extraction) -> Chain:
    sign, stream, model, seed, name = job.split("/")
    folder = job_folder(run.folder, job)
    try:
        fold = run.plan(sign).fold(name)
    except InputError as error:
        return Chain(job, (), (), tuple(f"{job}: {fault}" for fault in error.faults))
    place = (run.run_id, sign, stream, model, int(seed.removeprefix("seed-")), name)
    links: list[str] = []
    faults: list[str] = []
    manifest = Ledger(run.folder).verify(job)
    if manifest is None:
        faults.append(f"{job}: files are not those that the training sealed (their digests differ)")
    own = _weights(folder / WEIGHTS, place, fold, faults)
    if own is not None:
        links.append(f"{model} saw {len(own.subjects_seen)} subjects")
    for path in sorted(folder.glob("*.safetensors")):
        if path.name == WEIGHTS:
            continue
        part = _weights(path, place, fold, faults, inner=path.name == INNER_WEIGHTS)
        if part is not None:
            links.append(f"{path.stem} saw {len(part.subjects_seen)}")
    for stack in [name for name in (manifest or {}).get("inputs", {}) if fold_of(name) is None]:
        now = Ledger(run.folder).verify(stack)
        links.append(f"trained together with others by {stack}")
        trained = {} if now is None else now["files"]
        if now is None or (manifest or {})["inputs"][stack] != now["digest"]:
            faults.append(f"{job}: was trained by another {stack} than lies there now")
        elif trained.get(f"{name}/{WEIGHTS}") != (manifest or {})["files"].get(WEIGHTS):
            faults.append(f"{job}: its weights are not those that {stack} has of it")
    if model == "agcn_kd" and teaches(run.setup.training):
        teacher = job_id(Row(sign, stream, "tcn"), place[4], name)
        above = _chain(run, teacher, extraction)
        links += [f"taught by {teacher}", *(f"teacher: {link}" for link in above.links)]
        faults += [f"{job}: its teacher: {fault}" for fault in above.faults]
        now = Ledger(run.folder).verify(teacher)
        recorded = (manifest or {}).get("inputs", {}).get(teacher)
        if now is None or recorded != now["digest"]:
            faults.append(f"{job}: was taught by another {teacher} than lies there now")
    touched = extraction.of_fold(stream, name)
    links.append(f"extraction saw {len(touched) or 'none of the cohort'}")
    if leaked := sorted(touched & set(fold.test)):
        faults.append(f"{job}: the {stream} tensors are by weights that saw the held-out {', '.join(leaked)}")
    links.append(_choice(run, model, fold))
    faults += _prediction_faults(run, job, folder / PREDICTIONS, fold)
    faults += _choice_faults(run, job, folder, own)
    return Chain(job, fold.test, (f"held out {', '.join(fold.test)}", *links), tuple(faults))


def _weights(
    path: Path,
    place: tuple[str, str, str, str, int, str],
    fold: Fold,
    faults: list[str],
    *,
    inner: bool = False,
) -> Provenance | None:
    """The record of a weights file, checked against its place and its fold."""
    try:
        record = read_provenance(path)
    except InputError as error:
        faults += error.faults
        return None
    says = (record.run_id, record.sign, record.stream, record.model, record.seed, record.fold)
    if says != place:
        faults.append(f"{path}: is {'/'.join(map(str, says))}, and lies in the place of {'/'.join(map(str, place))}")
    held_out = {*fold.test, *(fold.validation if inner else ())}
    if leaked := sorted(held_out & set(record.subjects_seen)):
        faults.append(f"{path}: saw the held-out {', '.join(leaked)}")
    return record


def _choice(run: Run, model: str, fold: Fold) -> str:
    training = run.setup.training
    kinds = (("setting", len(candidates(training, model)) > 1), ("threshold", training.threshold == "inner"))
    chosen = [what for what, is_so in kinds if is_so]
    if not chosen:
        return f"threshold and {training.optimiser.epochs} epochs fixed"
    return f"{' and '.join(chosen)} chosen on {', '.join(fold.validation) or 'nobody'}"


def _choice_faults(run: Run, job: str, folder: Path, own: Provenance | None) -> Iterator[str]:
    """Weights of another setting than was chosen, predictions at another threshold, a training of other than all its epochs."""
    try:
        choice = json.loads((folder / CHOICE).read_text(encoding="utf-8"))
        with (folder / HISTORY).open(encoding="utf-8", newline="") as file:
            epochs = 1 + max(int(row["epoch"]) for row in csv.DictReader(file))
        thresholds = set(read_predictions(folder / PREDICTIONS)["threshold"].dropna())
    except (OSError, ValueError, KeyError, InputError) as error:
        yield f"{job}: what was chosen cannot be read: {' '.join(str(error).split())}"
        return
    if own is not None and dict(own.choice) != choice["overrides"]:
        yield f"{job}: its weights are of the setting {dict(own.choice)}, and {choice['overrides']} was chosen"
    chosen = choice["threshold"]
    if thresholds - ({None} if chosen is None else {float(f"{chosen:.9g}")}):  # as predictions.csv has it
        yield f"{job}: predicts at the thresholds {sorted(thresholds)}, and {chosen} was chosen"
    training = run.setup.training
    wanted = with_overrides(training, choice["overrides"]).optimiser.epochs
    if not training.trainer and epochs != wanted:  # an argument of the Trainer may end it otherwise, beforehand too
        yield f"{job}: was trained for {epochs} epochs of {wanted}"


def _prediction_faults(run: Run, job: str, path: Path, fold: Fold) -> Iterator[str]:
    """Predictions of subjects that the fold does not hold out, or whose labels are not the cohort's."""
    try:
        predictions = read_predictions(path)
    except InputError as error:
        yield from error.faults
        return
    if strays := sorted(set(predictions["subject"]) - set(fold.test)):
        yield f"{job}: predicts {', '.join(strays)}, whom the fold does not hold out"
    sign = run.cohort.sign(job.split("/", maxsplit=1)[0])
    labels = {seizure: sign.classes[label] for seizure, label in run.cohort.labels(sign).items()}
    pairs = zip(predictions["seizure"], predictions["label"], strict=True)
    wrong = [str(seizure) for seizure, label in pairs if labels.get(seizure) != str(label)]
    if wrong:
        yield f"{job}: labels of {', '.join(wrong[:5])} are not the cohort's"
