"""What the door `export` does: refits, one model file, ONNX, the card; a folder as a model hub takes it."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import seizurelit
from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.config import RESEARCH_USE, Model
from seizurelit.errors import InputError
from seizurelit.evaluation.baselines import Fitted, fit_baselines
from seizurelit.handover.card import model_card
from seizurelit.handover.ensemble import Ensemble, Sizes
from seizurelit.handover.model_file import read_header, write_model
from seizurelit.handover.refit import refitted
from seizurelit.loso.experiment import Run, load_run
from seizurelit.tracking.pseudonyms import Veil, read_key

MODEL = "model.safetensors"
CARD = "README.md"
CONFIG = "config.json"
ONNX = "onnx"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: all of it.
        digest: SHA-256 of the model file.
        rows: names of what is in it.
        onnx: file → largest difference from torch.
        without: why there is no ONNX, or blank.
    """

    folder: Path
    digest: str
    rows: tuple[str, ...]
    onnx: Mapping[str, float]
    without: str


def export(
    folder: Path,
    out: Path,
    *,
    consent_recorded: bool,
    sign: str | None = None,
    model: Model | None = None,
    workers: int | None = None,
    onnx: bool = True,
    licence: str = "other",
    say: Callable[[str], None],
) -> Exported:
    """Refit a run's rows on all subjects and write what another centre needs.

    Args:
        folder: the run.
        out: folder to be made.
        consent_recorded: whoever exports has on record that the patients agreed to their data leaving in this form.
        sign: of this sign alone.
        model: this one instead of the preferred.
        workers: processes at a time.
        onnx: write ONNX too.
        licence: for the card, as the hub abbreviates it.
        say: takes a line for the person who waits.

    Raises:
        InputError: no consent, nothing to export, or a folder that holds something else.
        RunError: a refit failed, or ONNX does not agree with torch.
    """
    if not consent_recorded:
        msg = (
            f"{folder}: weights are personal data, pseudonymous at best, and can give away whom they were trained on; give "
            "--consent-recorded if the patients' consent to share them is on record"
        )
        raise InputError(msg)
    if out.exists() and (not out.is_dir() or any(path.name not in _OURS for path in out.iterdir())):
        msg = f"--out {out}: holds something else; give a folder that is new, or an older export"
        raise InputError(msg)
    run = load_run(folder)
    key = read_key()
    ensemble = refitted(folder, sign=sign, model=model, workers=workers, say=say)
    ensemble = dataclasses.replace(ensemble, baselines=_baselines(run, ensemble))
    veil = Veil(_names(run), key)
    about = veil.value({"cohort": _composition(run, ensemble), "version": seizurelit.__version__})
    about |= {"consent_recorded": True}
    digest = write_model(out / MODEL, ensemble, key, **about)
    found, without = _onnx(ensemble, out / ONNX, say) if onnx else ({}, "it was not asked for")
    header = read_header(out / MODEL)
    config = {
        "model_type": "seizurelit",
        "research_use": RESEARCH_USE,
        "stand_in": ensemble.stand_in,
        "file": MODEL,
        "sha256": digest,
        "rows": [{key: row[key] for key in ("sign", "stream", "model", "classes")} for row in header["rows"]],
        "onnx": {name: {"largest_difference": value} for name, value in found.items()},
    }
    write_whole(out / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    card = model_card(ensemble, header, digest, onnx=found, without_onnx=without, licence=licence)
    write_whole(out / CARD, veil.text(card).encode() if _leaks(card, run) else card.encode())
    return Exported(out, digest, tuple(row.name for row in ensemble.rows), found, without)


_OURS = frozenset({MODEL, f"{MODEL}.sha256", CARD, CONFIG, ONNX, ".gitattributes"})


def _names(run: Run) -> set[str]:
    """Subjects, seizures and sources: nothing that leaves may hold them."""
    seizures = run.cohort.seizures
    return {text for seizure in seizures for text in (seizure.name, seizure.subject, seizure.source or "")}


def _leaks(card: str, run: Run) -> bool:
    """Whether a name of the cohort stands in the card: a class or a sign may be called like a patient."""
    return any(name and name in card for name in _names(run))


def _baselines(run: Run, ensemble: Ensemble) -> dict[str, Fitted]:
    """What the baselines of each sign learn of the whole cohort, as the refits do."""
    cache = Cache.open(run.setup.cache)
    streams: dict[str, list[str]] = {}
    for row in ensemble.rows:
        streams.setdefault(row.sign, []).append(row.stream)
    return {
        sign: fit_baselines(run.cohort, run.cohort.sign(sign), cache, tuple(dict.fromkeys(own)))
        for sign, own in streams.items()
    }


def _composition(run: Run, ensemble: Ensemble) -> dict[str, Any]:
    """How many, how long, how rated: counts alone."""
    cohort, cache = run.cohort, Cache.open(run.setup.cache)
    stream = next(iter(ensemble.streams))
    seconds = [
        float(fact)
        for seizure in cohort.seizures
        if cache.has(seizure.name, stream)
        and isinstance(fact := cache.metadata(seizure.name, stream).facts.get("duration_s"), int | float)
    ]
    signs = {}
    for row in ensemble.rows:
        labels = cohort.labels(cohort.sign(row.sign))
        counts = Counter(row.classes[label] for label in labels.values())
        subjects = {cohort.subject_of(name) for name in labels}
        signs[row.sign] = {"seizures": dict(counts), "subjects": len(subjects)}
    return {
        "subjects": len(cohort.subjects),
        "seizures": len(cohort.seizures),
        "signs": signs,
        "seconds": [min(seconds), statistics.median(seconds), max(seconds)] if seconds else None,
    }


def _onnx(ensemble: Ensemble, folder: Path, say: Callable[[str], None]) -> tuple[dict[str, float], str]:
    """File → largest difference; and why there is none."""
    absent = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if absent:
        return {}, f"{', '.join(absent)} not installed; `make env-use` installs what export needs"
    from seizurelit.handover.onnx import export_onnx  # noqa: PLC0415 - an extra

    found = {}
    for row in ensemble.rows:
        for member in row.members:
            sizes = Sizes(ensemble.streams[row.stream], member.training, len(row.conditions), len(row.classes))
            graph = row.model != "tcn"
            if graph or member.training.tcn.input == "appearance":
                channels = sizes.keypoint_channels if graph else sizes.appearance_channels
            else:
                channels = sizes.keypoint_channels * sizes.joints
            name = f"{row.name}/{member.name}".replace("/", "-") + ".onnx"
            say(f"{folder / name}: exporting and checking against torch")
            frames = max(16, member.training.windows.frames)
            checked = export_onnx(
                member.network.network,
                channels + len(row.conditions),
                sizes.joints if graph else 0,
                folder / name,
                lengths=(frames, 2 * frames + 1, 41),
            )
            found[f"{ONNX}/{name}"] = checked.largest
    return found, ""
