"""Write the stand-in cohort: every seizure's tensors, and last the `cohort.csv` that makes the folder a cache."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from seizurelit.cache.store import COHORT, Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.manifest import STAND_IN, write_cohort
from seizurelit.cohort.skeleton import built_in
from seizurelit.config import STREAMS, as_json, digest
from seizurelit.errors import InputError
from seizurelit.synthetic.cohort import StandInSeizure, seizures
from seizurelit.synthetic.options import FPS, StandIn
from seizurelit.synthetic.recording import Recording, record

EXTRACTOR = "stand-in"
VERSION = 1
"""To be raised when the same options give other bits."""

COLUMNS = ("subject", "seizure", "video", "sex", "age_at_onset", "ez_lobe", "dystonia", "emotion", STAND_IN)
"""Columns of the cohort before those of the truth: what was shown, which no model is given."""


def synthesize(options: StandIn, root: Path, progress: Callable[[int, int], None] | None = None) -> Cache:
    """Make the stand-in cohort in a folder; one that is already there, of the same options, is left as it is.

    The `cohort.csv` comes last: a folder in which this was stopped half-way is no cache, and a second run completes it.

    Args:
        options: what the cohort is like.
        root: the folder of the cache; made if it is not there.
        progress: called with (seizures made, seizures in all) at the start and after every seizure.

    Returns:
        The cache, with both streams of every seizure.

    Raises:
        InputError: if the folder holds anything but a stand-in cohort of these options, or a part of one.
    """
    planned = seizures(options)
    cache = Cache(root)
    if _complete(cache, options, planned):
        if progress:
            progress(len(planned), len(planned))
        return cache
    if progress:
        progress(0, len(planned))
    rows = []
    columns: tuple[str, ...] = ()
    for done, seizure in enumerate(planned, start=1):
        made = record(seizure, options)
        for stream in STREAMS:
            cache.write(_tensors(seizure, made, stream, options))
        columns = (*COLUMNS, *made.truth)
        rows.append([*_cells(seizure, made), *made.truth.values()])
        if progress:
            progress(done, len(planned))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / COHORT
        write_cohort(table, columns, rows)
        return Cache.create(root, table)


def _complete(cache: Cache, options: StandIn, planned: tuple[StandInSeizure, ...]) -> bool:
    """Whether the folder holds this very cohort; what is neither that nor a part of it is refused."""
    root = cache.root
    remedy = "give another folder, or delete this one"
    if root.exists() and not root.is_dir():
        msg = f"{root}: is a file; give a folder for the stand-in cohort"
        raise InputError(msg)
    subjects = {seizure.name: seizure.subject.name for seizure in planned}
    ours = _options_digest(options)
    finished = (root / COHORT).exists()
    if finished and not cache.cohort().is_standin:
        msg = f"{root / COHORT}: is of a cohort that is no stand-in; {remedy}"
        raise InputError(msg)
    present = {stream: cache.seizures(stream) for stream in sorted(cache.streams())}
    for stream, names in present.items():
        for name in names:
            metadata = cache.metadata(name, stream)
            same = metadata.stand_in and metadata.extractor_digest == ours and subjects.get(name) == metadata.subject
            if not same:
                what = "a stand-in cohort of other options" if metadata.stand_in else "tensors that are no stand-in"
                msg = f"{cache.path(name, stream)}: the folder holds {what}; {remedy}"
                raise InputError(msg)
    if not finished:
        return False
    if {seizure.name: seizure.subject for seizure in cache.cohort().seizures} != subjects:
        msg = f"{root / COHORT}: is of a stand-in cohort of other options; {remedy}"
        raise InputError(msg)
    return all(set(present.get(stream, ())) == set(subjects) for stream in STREAMS)


def _cells(seizure: StandInSeizure, made: Recording) -> list[object]:
    subject = seizure.subject
    return [
        subject.name,
        seizure.name,
        f"{seizure.name}.{made.facts['container']}",
        subject.sex,
        subject.age_at_onset,
        subject.ez_lobe,
        seizure.dystonia,
        seizure.emotion,
        1,
    ]


def _tensors(seizure: StandInSeizure, made: Recording, stream: str, options: StandIn) -> SeizureTensors:
    return SeizureTensors(
        Metadata(
            seizure=seizure.name,
            subject=seizure.subject.name,
            stream=stream,
            fps=float(FPS),
            appearance_fps=float(options.appearance_fps),
            skeleton=built_in("body11" if stream == "pose" else "face23"),
            source_digest=_source_digest(seizure, options),
            extractor=EXTRACTOR,
            extractor_digest=_options_digest(options),
            stand_in=True,
            facts=made.facts,
        ),
        made.tensors[stream],
    )


def _options_digest(options: StandIn) -> str:
    return digest(f"{EXTRACTOR} {VERSION}", as_json(options))


def _source_digest(seizure: StandInSeizure, options: StandIn) -> str:
    """Of all that the seizure hangs on, which the number of other subjects and seizures is no part of."""
    others = ("subjects", "seizures_per_subject", "label_noise")
    value = {name: value for name, value in dataclasses.asdict(options).items() if name not in others}
    subject = seizure.subject
    shown = [subject.dystonia, subject.emotion] if options.shown else [0, 0]
    value["seizure"] = [subject.index, seizure.index, *shown]
    return digest(f"{EXTRACTOR} {VERSION}", json.dumps(value, sort_keys=True))
