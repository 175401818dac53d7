"""What the door `predict` does: videos in, prediction.json, pictures and a CSV out."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import seizurelit
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.skeleton import built_in
from seizurelit.config import RESEARCH_USE
from seizurelit.errors import InputError
from seizurelit.handover.ensemble import Ensemble, Floats, RowModel
from seizurelit.handover.model_file import read_model
from seizurelit.handover.of_run import ensemble_of_run
from seizurelit.prediction.options import Predict
from seizurelit.prediction.scoring import Known, Spoken, explained, known_subject, member_names, speak, spread
from seizurelit.prediction.videos import Extracted, NewVideo, extract_videos, find_videos
from seizurelit.tracking.wandb_runs import STAND_IN

PREDICTION = "prediction.json"
TIMELINE = "timeline.png"
OVERLAY = "overlay.mp4"
TABLE = "predictions.csv"
SCHEMA = 1

BODY_FEATURES = 2048
"""Of ResNet-50, which extraction uses."""

_COLUMNS = (
    "video",
    "sha256",
    "sign",
    "stream",
    "model",
    "judged",
    "score",
    "is",
    "named",
    "low",
    "high",
    "members",
    "reasons",
)


@dataclass(frozen=True)
class Predicted:
    """What came of a video.

    Attributes:
        video: the file.
        folder: of its results.
        value: of prediction.json.
        failed: why there is none; blank if there is.
    """

    video: NewVideo
    folder: Path
    value: Mapping[str, Any]
    failed: str = ""


def predict(options: Predict, say: Callable[[str], None]) -> list[Predicted]:
    """Score a video, or those of a folder, and write what is said of them.

    Args:
        options: what and how.
        say: takes a line for the person who waits.

    Raises:
        InputError: the video, the run or the model cannot be used; nothing has been written then.
    """
    torch.set_num_threads(max(1, torch.get_num_threads()))
    _check(options)
    videos = find_videos(options.video)
    ensemble = load(options)
    _refuse_other_points(ensemble, options.run or options.model or Path())
    out = options.out or Path("predictions") / (
        options.video.resolve().stem if options.video.is_file() else options.video.resolve().name
    )
    known = {video.name: known_subject(ensemble, options.subject, video.digest) for video in videos}
    streams = sorted({row.stream for row in ensemble.rows})
    appearance = any("appearance" in row.needs for row in ensemble.rows)
    with tempfile.TemporaryDirectory(prefix="seizurelit-") as temporary:
        small = options.keep if options.keep is not None else Path(temporary)
        extracted = extract_videos(videos, options, streams, small, say, appearance=appearance)
        many = options.video.is_dir()
        found = []
        for video in videos:
            folder = out / video.name if many else out
            if video.name in extracted.failed:
                if not many:
                    raise InputError(extracted.failed[video.name])
                found.append(Predicted(video, folder, {}, extracted.failed[video.name]))
                continue
            found.append(_one(video, folder, ensemble, extracted, known=known[video.name], options=options, say=say))
    if options.video.is_dir():
        write_whole(out / TABLE, table_of(found).encode())
    return found


def load(options: Predict) -> Ensemble:
    """The networks that are asked for.

    Raises:
        InputError: they are not there or cannot be used.
    """
    if options.run is not None:
        return ensemble_of_run(options.run, sign=options.sign, model=options.network)
    assert options.model is not None
    ensemble = read_model(options.model)
    rows = [row for row in ensemble.rows if options.sign in (None, row.sign) and options.network in (None, row.model)]
    if not rows:
        names = ", ".join(row.name for row in ensemble.rows)
        msg = f"{options.model}: has no network of that kind; it has {names}"
        raise InputError(msg)
    return Ensemble(**{**vars(ensemble), "rows": tuple(rows)})


def _check(options: Predict) -> None:
    faults = []
    if (options.run is None) == (options.model is None):
        faults.append("give one of --run runs/NAME and --model FILE")
    if options.show_face and not options.show_footage:
        faults.append("--show_face: without --show_footage no face is drawn; give both, or neither")
    if options.start is not None and options.end is not None and not options.start < options.end:
        faults.append(f"--start {options.start:g} is not before --end {options.end:g}; correct one of them")
    if options.video.is_dir() and (
        options.subject or options.start is not None or options.end is not None or options.patient_box
    ):
        faults.append(
            "--subject, --start, --end and --patient_box are of one video; give the video instead of its folder"
        )
    if options.explain and find_spec("captum") is None:
        faults.append(
            "captum is not installed; `make env-use` installs what explanations need, or give --explain false"
        )
    if find_spec("matplotlib") is None:
        faults.append("matplotlib is not installed; `make env-use` installs what pictures need")
    if faults:
        raise InputError(*faults)


def _refuse_other_points(ensemble: Ensemble, source: Path) -> None:
    """Refuse networks none of which can be given what an extraction makes, before minutes are spent on it.

    Raises:
        InputError: one line that says what their cohort had and what an extraction makes.
    """
    faults = [fault for row in ensemble.rows if (fault := _other_points(ensemble, row))]
    if len(faults) == len(ensemble.rows):
        msg = (
            f"{source}: predict cannot give its networks what they were trained on: {faults[0]}; train on a cohort that "
            "`python -m seizurelit.extract` made, or bring new seizures in as this one's were and use evaluate"
        )
        raise InputError(msg)


def _other_points(ensemble: Ensemble, row: RowModel) -> str:
    """Why a row cannot be given what an extraction makes, or blank; the features of a face have the size of their weights."""
    facts, made = ensemble.streams[row.stream], built_in("body11" if row.stream == "pose" else "face23")
    theirs = facts.skeleton
    if "keypoints" in row.needs and (theirs is None or theirs.joints != made.joints):
        had = "no keypoints" if theirs is None else f"{theirs.name} of {len(theirs.joints)} joints"
        return f"{row.name} knows {had}, an extraction makes {made.name} of {len(made.joints)}"
    if "appearance" in row.needs and row.stream == "pose" and facts.appearance_channels != BODY_FEATURES:
        return f"{row.name} knows {facts.appearance_channels} appearance features, an extraction makes {BODY_FEATURES}"
    return ""


def _one(
    video: NewVideo,
    folder: Path,
    ensemble: Ensemble,
    extracted: Extracted,
    *,
    known: Known | None,
    options: Predict,
    say: Callable[[str], None],
) -> Predicted:
    spoken: list[Spoken] = []
    unscored: dict[str, str] = {}
    for row in ensemble.rows:
        try:
            _require(row, video.name, extracted)
            spoken.append(
                speak(
                    ensemble, row, extracted.cache, extracted.cohort, video.name, known=known, explain=options.explain
                )
            )
        except InputError as error:
            unscored[row.name] = error.faults[0].removeprefix(f"{row.name}: ")
    value = _value(video, ensemble, spoken, unscored, extracted)
    from seizurelit.prediction.timeline import timeline  # noqa: PLC0415 - matplotlib

    write_whole(folder / TIMELINE, timeline(spoken, value))
    if options.overlay:
        from seizurelit.extraction.marks import marks_of  # noqa: PLC0415
        from seizurelit.prediction.overlay import write_overlay  # noqa: PLC0415 - decoders

        say(f"{folder / OVERLAY}: drawing")
        marks = marks_of(extracted.cache, video.name)
        write_overlay(folder / OVERLAY, video.path, marks, spoken, value=value, options=options)
    write_whole(folder / PREDICTION, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return Predicted(video, folder, value)


def _require(row: RowModel, seizure: str, extracted: Extracted) -> None:
    cache = extracted.cache
    there = cache.names(seizure, row.stream) if cache.has(seizure, row.stream) else ()
    absent = [name for name in row.needs if f"{row.stream}.{name}" not in there]
    if absent:
        lacking = " and no ".join(absent)
        msg = f"{row.name}: the extraction gave no {row.stream} {lacking}; see what it said of models or weights that are absent"
        raise InputError(msg)


def _value(
    video: NewVideo, ensemble: Ensemble, spoken: Sequence[Spoken], unscored: Mapping[str, str], extracted: Extracted
) -> dict[str, Any]:
    stream = next((one.row.stream for one in spoken), next(iter(sorted(extracted.cache.streams())), "pose"))
    facts: Mapping[str, Any] = {}
    made_by: dict[str, Any] = {}
    if extracted.cache.has(video.name, stream):
        metadata = extracted.cache.metadata(video.name, stream)
        facts = {name: fact for name, fact in metadata.facts.items() if fact is not None}
        made_by = {
            "extractor": metadata.extractor,
            "options": metadata.extractor_digest,
            "weights": metadata.weights_digest,
        }
    notes = [
        f"{STAND_IN}: these networks were trained on synthetic people; nothing here says anything about a patient"
    ] * ensemble.stand_in
    return {
        "schema": SCHEMA,
        "research_use": RESEARCH_USE,
        "software": f"seizurelit {seizurelit.__version__}",
        "stand_in": ensemble.stand_in,
        "video": {"name": video.path.name, "sha256": video.digest, "facts": facts},
        "model": {key: item for key, item in ensemble.origin.items() if key != "key_mark"},
        "extraction": made_by,
        "predictions": [_prediction(one) for one in spoken],
        "not_scored": [{"row": name, "reason": why} for name, why in unscored.items()],
        "notes": notes,
    }


def _prediction(one: Spoken) -> dict[str, Any]:
    row, judgement = one.row, one.judgement
    shown = 1 if len(row.classes) == 2 else one.target
    calibration = row.calibration
    far = judgement.unlikeness
    number = float(one.score[shown])
    value: dict[str, Any] = {
        "sign": row.sign,
        "stream": row.stream,
        "model": row.model,
        "classes": list(row.classes),
        "judged": judgement.judged,
        "reasons": list(judgement.reasons),
        "notes": [*judgement.notes, *_of_calibration(row)],
        "class": row.classes[shown],
        "score": number if judgement.judged else None,
        "unjudged_score": None if judgement.judged else number,
        "is": row.reading,
        "scores": {name: float(part) for name, part in zip(row.classes, one.score, strict=True)},
        "raw_scores": {name: float(part) for name, part in zip(row.classes, one.raw, strict=True)},
        "named": row.classes[one.target] if judgement.judged else None,
        "threshold": row.threshold,
        "spread": spread(one.members[:, shown]),
        "ensemble": member_names(row.members),
        "calibration": None
        if calibration is None
        else {
            "method": calibration.method,
            "on": row.calibrated_on or "the training cohort's own out-of-fold scores",
            "subjects": calibration.subjects,
            "seizures": calibration.seizures,
        },
        "cross_validated": _known_scores(row),
        "of_training_cohort": None
        if one.known is None
        else {
            "subject": one.known.subject,
            "known_by": one.known.by,
            "said": f"this subject was trained on; scored by the {len(row.members)} networks that never saw this subject"
            if all(one.known.subject in member.held_out for member in row.members)
            else "this subject was trained on by every network here",
        },
        "seen": {
            "seconds": judgement.seen.seconds,
            "found": judgement.seen.found,
            "joints": judgement.seen.joints,
            "longest_absence": judgement.seen.longest_absence,
        },
        "unlikeness": None
        if far is None
        else {
            "distance": far.distance,
            "typical": far.typical,
            "p": far.p,
            "unlike": far.unlike,
            "most": [{"statistic": name, "sd": deviation} for name, deviation in far.most],
        },
        "windows": _windows(one, shown),
        "grounds": _grounds(one),
    }
    return value


def _of_calibration(row: RowModel) -> list[str]:
    """What must be known of a calibration on others that makes no probability."""
    if row.calibration is None or not row.calibrated_on or row.never_seen:
        return []
    return [f"calibrated on {row.calibrated_on}: a score, not a probability"]


def _windows(one: Spoken, shown: int) -> list[dict[str, Any]]:
    windows = one.scored.windows
    scores = one.row.calibration.apply(windows.scores) if one.row.calibration is not None else windows.scores
    shares = carried(windows.margins[:, one.target])
    carrying = carriers(shares)
    return [
        {
            "start": float(start),
            "end": float(end),
            "score": float(scores[place, shown]),
            "share": float(shares[place]),
            "carries": bool(carrying[place]),
            "judged": one.windows_judged[place],
        }
        for place, (start, end) in enumerate(windows.spans)
    ]


def carried(margins: Floats) -> Floats:
    """(W,) share of each window in what speaks for the class: its margin above 0 of all that are; 0 where none is."""
    speaking: Floats = margins.clip(min=0)
    total = float(speaking.sum())
    return speaking / total if total > 0 else speaking


def carriers(shares: Floats) -> list[bool]:
    """The fewest windows that together have at least half of what speaks for the class."""
    chosen = [False] * len(shares)
    total = 0.0
    for place in sorted(range(len(shares)), key=lambda place: -float(shares[place])):
        if total >= 0.5 or shares[place] <= 0:
            break
        chosen[place] = True
        total += float(shares[place])
    return chosen


def _grounds(one: Spoken) -> dict[str, Any] | None:
    if one.attribution is None:
        return None
    found = one.attribution
    return {
        "method": "integrated gradients from nothing seen",
        "members": len(explained(one.row)),
        "for_class": one.row.classes[one.target],
        "seconds": found.seconds,
        "names": list(found.names),
        "by_joint": [round(float(share), 6) for share in found.by_joint],
        "values": [[round(float(number), 6) for number in row] for row in found.values],
    }


def _known_scores(row: RowModel) -> dict[str, Any]:
    names = ("f1", "f1_low", "f1_high", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "auroc")
    counts = ("folds_done", "folds", "seizures_scored", "seizures_rated")
    found = {name: row.cross_validated.get(name) for name in (*names, *counts)}
    return {
        name: cell if isinstance(cell, int | float) and math.isfinite(cell) else None for name, cell in found.items()
    }


def table_of(found: Sequence[Predicted]) -> str:
    """predictions.csv of a folder: a line a video and row; a score that is not to be judged is blank, with the reasons."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in found:
        head = [one.video.path.name, one.video.digest]
        if one.failed:
            writer.writerow([*head, "", "", "", "false", "", "", "", "", "", "", one.failed])
        for row in one.value.get("predictions", ()):
            reach = row["spread"] if row["judged"] else {"low": "", "high": "", "members": row["spread"]["members"]}
            cells = [
                row["score"],
                row["is"],
                row["named"],
                reach["low"],
                reach["high"],
                reach["members"],
                "; ".join(row["reasons"]),
            ]
            plain = ["" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells]
            writer.writerow([*head, row["sign"], row["stream"], row["model"], str(row["judged"]).lower(), *plain])
        for row in one.value.get("not_scored", ()):
            writer.writerow([*head, *row["row"].split("/"), "false", "", "", "", "", "", "", row["reason"]])
    return text.getvalue()


def said(one: Predicted) -> list[str]:
    """What the terminal is told of a video."""
    if one.failed:
        return [f"{one.video.path}: failed: {one.failed}"]
    lines = [f"{one.video.path.name}, {one.value['video']['facts'].get('duration_s', 0):.1f} s"]
    lines += [f"  {note}" for note in one.value["notes"]]
    for row in one.value["predictions"]:
        head = f"  {row['sign']} ({row['stream']} {row['model']})"
        if row["of_training_cohort"]:
            lines.append(f"{head}: {row['of_training_cohort']['said']}")
        if not row["judged"]:
            lines.append(f"{head}: not to be judged")
            lines += [f"    because {reason}" for reason in row["reasons"]]
        else:
            reach = row["spread"]
            apart = (
                f", {reach['low']:.2f} to {reach['high']:.2f} over {row['ensemble']}" if reach["members"] > 1 else ""
            )
            lines.append(f"{head}: {row['is']} {row['score']:.2f} of class {row['class']}{apart}; named {row['named']}")
            carrying = [f"{w['start']:.0f}–{w['end']:.0f} s" for w in row["windows"] if w["carries"]]
            lines.append(f"    carried by {', '.join(carrying) or 'no window'}")
        lines += [f"    note: {note}" for note in row["notes"]]
        known = row["cross_validated"]
        if known["accuracy"] is not None:
            figures = (
                f"F1 {_two(known['f1'])}, accuracy {_two(known['accuracy'])} on {known['seizures_scored']} seizures"
            )
            lines.append(f"    cross-validated: {figures}, of subjects that the networks had not seen")
    lines += [f"  {row['row']}: not scored: {row['reason']}" for row in one.value["not_scored"]]
    return [*lines, f"  {one.folder}: {PREDICTION}, pictures"]


def _two(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"
