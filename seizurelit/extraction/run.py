"""What the door `extract` does: a job a seizure over the workers, what failed, and the page to look at."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seizurelit.cache.store import COHORT, Cache
from seizurelit.cohort.manifest import Cohort, Seizure, read_cohort
from seizurelit.config import digest
from seizurelit.errors import InputError, RunError
from seizurelit.extraction.folder import cohort_of_folder
from seizurelit.extraction.job import CALL, Plan, Recipe, disk_full, make_backend, models_of_appearance, recipe_of
from seizurelit.extraction.models import OpenMMLabModels, TorchvisionModels
from seizurelit.extraction.options import Extract, Settings, settings_of
from seizurelit.scheduling.executors import cuda_devices, executor_of
from seizurelit.scheduling.jobs import Job
from seizurelit.scheduling.ledger import Ledger
from seizurelit.scheduling.options import Needs, schedule_of
from seizurelit.scheduling.progress import Progress
from seizurelit.scheduling.run import Outcome, run_jobs

PRELOAD = ("seizurelit.extraction.pipeline", "seizurelit.extraction.job")
FOLDER = "extraction"
"""Of the ledger and the page, in the cache."""

CORRECTED = "corrected"
"""In the name of the extractor of tensors that a person has corrected."""


@dataclass(frozen=True)
class Extraction:
    """What came of it.

    Attributes:
        cache: the folder.
        seizures: of the cohort.
        done: how many of them are extracted now.
        skipped: how many of these were before.
        failed: seizure → why, in one line.
        look: seizure → why a person should look at it before it is trained on, of those that were extracted.
        page: to look at; None for a fold's extraction.
    """

    cache: Path
    seizures: int
    done: int
    skipped: int
    failed: Mapping[str, str]
    look: Mapping[str, str]
    page: Path | None


def extract(options: Extract, say: Callable[[str], None], *, page: bool = True) -> Extraction:
    """Extract every seizure of a cohort that is not extracted in this way yet.

    Args:
        options: what and how.
        say: takes a line for the person who waits.
        page: write the page to look at.

    Raises:
        InputError: the cohort, the options or the weights are unusable; nothing has been done then.
        RunError: the disk is full.
    """
    schedule = schedule_of(options)
    backend = _backend_of(options)
    devices = _devices(options, backend)
    settings = settings_of(options, gpu=bool(devices))
    if options.cohort.is_dir():
        table = cohort_of_folder(options.cohort, options.cache / COHORT, say)
        options = replace(options, cohort=table, videos=options.videos or options.cohort)
    cohort = read_cohort(options.cohort, source="video")
    boxes = _patient_boxes(cohort)
    videos = options.videos if options.videos is not None else options.cohort.parent
    if not videos.is_dir():
        msg = f"--videos {videos}: there is no such folder; give the folder from which cohort.csv names the videos"
        raise InputError(msg)
    if options.fold is not None and options.fold not in cohort.subjects:
        msg = f"--fold {options.fold}: is no subject of {options.cohort}; there are {', '.join(cohort.subjects)}"
        raise InputError(msg)
    plan, recipe, notes = _prepare(options, _plan(options, backend, settings), cohort)
    for note in notes:
        say(note)
    cache = Cache.create(options.cache, options.cohort)
    device = "cuda:0" if devices else "cpu"  # a worker sees one
    jobs = [
        _job(
            seizure,
            videos,
            cache,
            plan=plan,
            recipe=recipe,
            device=device,
            patient_box=boxes.get(seizure.name),
        )
        for seizure in cohort.seizures
    ]
    # The longest first, so that no worker is left with one at the end.
    lengths = {seizure.name: _seconds(seizure, videos) for seizure in cohort.seizures}
    jobs.sort(key=lambda job: -lengths[job.id])
    run_dir = cache.root / FOLDER if plan.fold is None else cache.root / FOLDER / "folds" / plan.fold
    refused = _forget_others(jobs, Ledger(run_dir.absolute()), cache, plan)
    jobs = [job for job in jobs if job.id not in refused]
    if schedule.scheduler == "local" and not devices:
        workers = schedule.workers or len(os.sched_getaffinity(0))
        schedule = replace(schedule, workers=min(workers, max(1, len(jobs))))
    executor = executor_of(schedule, Needs(PRELOAD, devices=devices, gpu=bool(devices), apart=True))
    at_a_time = f"{executor.slots} at a time" if schedule.scheduler != "ray" else "over a Ray cluster"
    say(f"{cache.root}: {len(jobs)} seizures by {plan.backend}, {at_a_time}")
    try:
        with Progress(jobs, executor.slots, lengths={job.id: lengths[job.id] for job in jobs}) as progress:
            outcome = run_jobs(jobs, run_dir, executor=executor, on_event=progress)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(disk_full(cache.root)) from None
    errors = _failed(outcome, refused)
    failed = {seizure.name: errors[seizure.name] for seizure in cohort.seizures if seizure.name in errors}
    done = len(outcome.done) + len(outcome.skipped)
    shown, look = None, {}
    if page and plan.fold is None:
        from seizurelit.extraction.page import findings_of, grave, write_page  # noqa: PLC0415

        findings = findings_of(cache)
        shown = write_page(cache, findings, videos, cache.root / FOLDER / "index.html", options.show_faces)
        look = grave(findings)
    return Extraction(cache.root, done + len(failed), done, len(outcome.skipped), failed, look, shown)


def _backend_of(options: Extract) -> str:
    if options.backend != "auto":
        return options.backend
    return "openmmlab" if all(importlib.util.find_spec(part) for part in ("mmdet", "mmpose")) else "mediapipe"


def _plan(options: Extract, name: str, settings: Settings) -> Plan:
    own: dict[str, OpenMMLabModels | TorchvisionModels] = {
        "openmmlab": options.openmmlab,
        "torchvision": options.torchvision,
    }
    appearance = () if options.without == "appearance" else settings.streams
    named = {"face": options.face_features, "pose": options.body_features}
    features = tuple((stream, str(value)) for stream, value in named.items() if value is not None)
    return Plan(name, settings, appearance, own.get(name), options.weights, features, options.fold)


def _prepare(options: Extract, plan: Plan, cohort: Cohort) -> tuple[Plan, Recipe, tuple[str, ...]]:
    """Load every model once, here: what is missing is said before any video is opened, not once a seizure."""
    try:
        backend = make_backend(plan, "cpu")
    except InputError as error:
        if options.backend != "auto" or plan.backend == "mediapipe":
            raise
        faults = (
            *error.faults,
            "--backend auto: openmmlab is installed, so it was chosen; --backend mediapipe needs no weights",
        )
        raise InputError(*faults) from None
    appearance, missing = models_of_appearance(plan, "cpu")
    notes = [f"warning: no {stream} appearance features, keypoints alone: {why}" for stream, why in missing.items()]
    plan = replace(plan, appearance=tuple(appearance))
    recipe = recipe_of(plan, backend, appearance)
    backend.close()
    if backend.face_points is None and "face" in plan.settings.streams:
        plan = replace(
            plan, settings=replace(plan.settings, streams=tuple(s for s in plan.settings.streams if s != "face"))
        )
        if not plan.settings.streams:
            msg = f"--backend {plan.backend}: has no model of faces; give --stream pose, or another backend"
            raise InputError(msg)
        notes.append(f"warning: no face stream: the backend {plan.backend} has no model of faces")
    of_cohort = sorted(set(recipe.subjects_seen) & set(cohort.subjects))
    if of_cohort and plan.fold is None:
        names = ", ".join(of_cohort)
        msg = f"the weights were fitted on {names} of this cohort; give --fold with a subject whom they have not seen"
        raise InputError(msg)
    if plan.fold in of_cohort:
        msg = f"--fold {plan.fold}: the weights have seen {plan.fold}, whom this fold holds out; give the fold's own weights"
        raise InputError(msg)
    return plan, recipe, tuple(notes)


def _job(
    seizure: Seizure,
    videos: Path,
    cache: Cache,
    *,
    plan: Plan,
    recipe: Recipe,
    device: str,
    patient_box: tuple[float, float, float, float] | None,
) -> Job:
    from seizurelit.video.reading import source_digest  # noqa: PLC0415 - decoders

    path = seizure.resolve(videos)
    assert path is not None
    part = (seizure.start, seizure.end)
    try:
        source = source_digest(path)
    except InputError:
        source = "unreadable"  # the job says why, and fails alone
    arguments = {
        "seizure": seizure.name,
        "subject": seizure.subject,
        "video": str(path.absolute()),
        "part": part,
        "patient_box": patient_box,
        "cache": str(cache.root.absolute()),
        "plan": plan,
        "device": device,
        "key": digest(
            source, recipe.digest, str(recipe.weights_digest), seizure.subject, json.dumps([part, patient_box])
        ),
    }
    return Job(seizure.name, CALL, arguments)


def _seconds(seizure: Seizure, videos: Path) -> float:
    """About how long a seizure is; 0 where that is not known, as of a file that cannot be read."""
    from seizurelit.video.reading import open_video  # noqa: PLC0415 - decoders

    path = seizure.resolve(videos)
    assert path is not None
    try:
        duration = open_video(path).facts.duration_s
    except InputError:
        return 0.0
    last = min((end for end in (seizure.end, duration) if end is not None), default=0.0)
    return max(0.0, last - (seizure.start or 0.0))


def _patient_boxes(cohort: Cohort) -> dict[str, tuple[float, float, float, float]]:
    """The boxes of the column `patient_box`, of those seizures that have one."""
    from seizurelit.extraction.people import read_box  # noqa: PLC0415

    boxes: dict[str, tuple[float, float, float, float]] = {}
    faults: list[str] = []
    for seizure in cohort.seizures:
        try:
            box = read_box(seizure.columns.get("patient_box", ""), f"{cohort.path}, row {seizure.row}")
        except InputError as error:
            faults += error.faults
            continue
        if box is not None:
            boxes[seizure.name] = box
    if faults:
        raise InputError(*faults)
    return boxes


def _forget_others(jobs: Sequence[Job], ledger: Ledger, cache: Cache, plan: Plan) -> dict[str, str]:
    """Let what was extracted from another video, or in another way, or has left the cache, be extracted anew.

    Returns:
        Seizures that are left alone, with the reason: a person has corrected what would be replaced.
    """
    refused = {}
    for job in jobs:
        there = all(_extracted(cache, job.id, stream, plan.fold) for stream in plan.settings.streams)
        if there and ledger.done(job.id) and ledger.result(job.id)["key"] == job.arguments["key"]:
            continue
        corrected = [
            stream
            for stream in plan.settings.streams
            if _extracted(cache, job.id, stream, plan.fold)
            and CORRECTED in cache.metadata(job.id, stream, plan.fold).extractor
        ]
        if corrected:
            path = cache.path(job.id, corrected[0], plan.fold)
            refused[job.id] = (
                f"{path}: was corrected by a person and is kept; delete it, or use another cache, to extract it anew"
            )
        else:
            ledger.discard(job.id)
    return refused


def _extracted(cache: Cache, seizure: str, stream: str, fold: str | None) -> bool:
    return cache.path(seizure, stream, fold).is_file()


def _devices(options: Extract, backend: str) -> tuple[str, ...]:
    """CUDA devices to work on; none for MediaPipe, whose models run on the CPU alone."""
    if backend == "mediapipe" or options.devices == "cpu":
        return ()
    if options.devices not in (None, "gpu"):
        return tuple(str(options.devices).split(","))
    if options.scheduler != "local":  # theirs, if any
        return () if options.devices is None else (options.devices,)
    return cuda_devices()


def _failed(outcome: Outcome, refused: Mapping[str, str]) -> dict[str, str]:
    """Seizure → why it is not extracted, without the names of our own errors."""
    ours = ("InputError: ", "RunError: ")
    said = {
        job: next((error.removeprefix(name) for name in ours if error.startswith(name)), error)
        for job, error in outcome.failed.items()
    }
    return {**refused, **said}
