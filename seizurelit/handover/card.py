"""The model card of an exported model, in the form that model hubs read: what it is, on whom, how good, and what not to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from seizurelit.config import RESEARCH_USE
from seizurelit.evaluation.rendering import STAND_IN
from seizurelit.handover.ensemble import Ensemble, RowModel

_SCORES = (
    ("f1", "F1 (positive class)"),
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("auroc", "AUROC (pooled over folds)"),
)
_NETWORKS = {
    "agcn": "adaptive graph convolutional network on keypoints (2s-AGCN's joint stream)",
    "agcn_kd": "adaptive graph convolutional network on keypoints, distilled in training from a temporal convolutional network on "
    "appearance features, which is not needed here",
    "tcn": "temporal convolutional network",
}


def model_card(
    ensemble: Ensemble,
    header: Mapping[str, Any],
    digest: str,
    *,
    onnx: Mapping[str, float],
    without_onnx: str,
    licence: str,
) -> str:
    """README.md of an exported folder: YAML front matter and Markdown.

    Args:
        ensemble: what was exported.
        header: of its file.
        digest: SHA-256 of its file.
        onnx: file → largest difference from torch.
        without_onnx: why there is none, or blank.
        licence: as the hub abbreviates it; other is named research-use-only.
    """
    front: dict[str, Any] = {
        "library_name": "seizurelit",
        "license": licence,
        **({"license_name": "research-use-only"} if licence == "other" else {}),
        "pipeline_tag": "video-classification",
        "tags": ["epilepsy", "seizure-semiology", "skeleton", "leave-one-subject-out", "research-use-only"]
        + (["stand-in-data"] if ensemble.stand_in else []),
        "model-index": [
            {
                "name": "seizurelit",
                "results": [_result(row, ensemble.stand_in) for row in ensemble.rows if row.cross_validated],
            }
        ],
    }
    parts = [
        "---\n" + yaml.safe_dump(front, sort_keys=False, allow_unicode=True) + "---",
        f"# Semiologic signs in seizure videos: {', '.join(sorted({row.sign for row in ensemble.rows}))}",
        f"**{RESEARCH_USE}**",
    ]
    if ensemble.stand_in:
        parts.append(
            f"**{STAND_IN}.** Trained on synthetic people, to show the form. It says nothing about real seizures."
        )
    parts += [
        "## What it is\n\n" + "\n".join(_network(row, header) for row in ensemble.rows),
        _started(),
        _uses(),
        _data(ensemble, header),
        _training(ensemble, header),
        _evaluation(ensemble),
        _reading(ensemble),
        _limits(ensemble),
        _privacy(header),
        _files(digest, onnx, without_onnx),
        _citation(),
    ]
    return "\n\n".join(parts) + "\n"


def _result(row: RowModel, stand_in: bool) -> dict[str, Any]:
    metrics = [
        {"type": name, "name": f"{said}, leave one subject out", "value": round(float(row.cross_validated[name]), 4)}
        for name, said in _SCORES
        if isinstance(row.cross_validated.get(name), int | float)
    ]
    data = "stand-in cohort (synthetic)" if stand_in else "private cohort of seizure videos"
    return {
        "task": {"type": "video-classification", "name": f"{row.sign} by {row.stream} {row.model}"},
        "dataset": {"type": "private", "name": data},
        "metrics": metrics,
    }


def _network(row: RowModel, header: Mapping[str, Any]) -> str:
    del header
    seeds = len(row.members)
    weights = sum(parameter.numel() for parameter in row.members[0].network.parameters())
    return (
        f"- **{row.sign}** from the {row.stream} stream: {_NETWORKS[row.model]}; {weights:,} parameters, "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, classes {', '.join(row.classes)}."
    )


def _started() -> str:
    return """## How to use it

```
python -m seizurelit.predict VIDEO --model model.safetensors
python -m seizurelit.evaluate --model model.safetensors --cache YOUR_COHORT
```

`predict` finds the patient, the joints and the landmarks in the video, scores it, says when it is not to be judged, and shows the
grounds. The ONNX files take what `seizurelit.data` makes of the keypoints (centred, in body units, in windows) and give logits; the
score of a seizure is the softmax of the mean logit of its windows."""


def _uses() -> str:
    return """## What it is for, and what not

Research on trimmed videos of one hyperkinetic seizure each, beside an expert's eye. Not for: diagnosis,
lateralisation, decisions on surgery or treatment, monitoring or alarms, videos that are not of a seizure, other kinds of seizures,
people who were not asked."""


def _data(ensemble: Ensemble, header: Mapping[str, Any]) -> str:
    cohort = header.get("cohort", {})
    lines = [f"- {cohort.get('subjects')} subjects, {cohort.get('seizures')} seizures"]
    if cohort.get("seconds"):
        low, middle, high = cohort["seconds"]
        lines.append(f"- length {low:.0f} to {high:.0f} s, median {middle:.0f} s")
    for sign, counts in cohort.get("signs", {}).items():
        shares = ", ".join(f"{name}: {count}" for name, count in sorted(counts["seizures"].items()))
        lines.append(f"- {sign}, rated seizures by class: {shares}; {counts['subjects']} subjects")
    for stream, facts in sorted(ensemble.streams.items()):
        what = f"{facts.skeleton.name}, {len(facts.skeleton.joints)} points" if facts.skeleton else "no keypoints"
        lines.append(f"- {stream}: {what}, {facts.fps:g} frames a second, extracted by {', '.join(facts.extractors)}")
    return (
        "## Training data\n\n"
        + "\n".join(lines)
        + "\n\nThe videos are not part of this. Labels are opinions of raters "
        "who saw the videos."
    )


def _training(ensemble: Ensemble, header: Mapping[str, Any]) -> str:
    blocks = []
    for row, said in zip(ensemble.rows, header["rows"], strict=True):
        settings = json.dumps(said["members"][0]["training"], indent=1, sort_keys=True)
        blocks.append(f"<details><summary>settings of {row.name}</summary>\n\n```json\n{settings}\n```\n\n</details>")
    return (
        "## Training\n\nThe settings were fixed, or chosen on inner subjects, and each seed was then fitted once on all subjects "
        "(a refit). Classes, and the subjects within a class, count alike in the loss.\n\n" + "\n\n".join(blocks)
    )


def _evaluation(ensemble: Ensemble) -> str:
    heads = ["", *(name for _, name in _SCORES), "folds", "seizures"]
    lines = ["| " + " | ".join(heads) + " |", "| :-- |" + " --: |" * (len(heads) - 1)]
    for row in ensemble.rows:
        known = row.cross_validated
        cells = [_figure(known, name) for name, _ in _SCORES]
        folds = f"{known.get('folds_done', '–')}/{known.get('folds', '–')}"
        seizures = f"{known.get('seizures_scored', '–')}/{known.get('seizures_rated', '–')}"
        lines.append("| " + " | ".join([row.name, *cells, folds, seizures]) + " |")
    return (
        "## Evaluation\n\nBy leaving one subject out: each figure is of networks that never saw the subject, trained in the "
        "same way as these. **These very networks have no score of their own**: they saw every subject. In brackets the 95% BCa "
        "interval over subjects, where there is one.\n\n"
        + "\n".join(lines)
        + "\n\nOn another centre's videos it may do worse; `evaluate` tells by how much."
    )


def _figure(known: Mapping[str, Any], name: str) -> str:
    value, low, high = (known.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if not isinstance(value, int | float):
        return "–"
    ends = f" ({low:.2f}–{high:.2f})" if isinstance(low, int | float) and isinstance(high, int | float) else ""
    return f"{value:.2f}{ends}"


def _reading(ensemble: Ensemble) -> str:
    lines = []
    for row in ensemble.rows:
        if row.calibration is None:
            lines.append(
                f"- {row.name}: not calibrated: its out-of-fold scores do not rise with the label. The score is the softmax."
            )
        elif row.calibrated_on:
            never_seen = ", none of whom it was trained on: a probability there."
            unknown = ": a score, **not a probability**."
            said = never_seen if row.never_seen else unknown
            lines.append(f"- {row.name}: {row.calibration.method} on {row.calibrated_on}{said}")
        else:
            fitted = f"{row.calibration.seizures} out-of-fold scores of {row.calibration.subjects} subjects"
            lines.append(
                f"- {row.name}: {row.calibration.method} on the {fitted} of the training cohort: a score, **not a probability**."
            )
    return (
        "## Reading the score\n\n"
        + "\n".join(lines)
        + "\n\nA video is not judged where patient, face or joints are missing too long, "
        "where several people could be the patient, or where the video is unlike the training cohort (a Mahalanobis distance of "
        "simple statistics of the clip, held against that of the training seizures from other subjects)."
    )


def _limits(ensemble: Ensemble) -> str:
    seizures = next((row.cross_validated.get("seizures_rated") for row in ensemble.rows if row.cross_validated), None)
    return (
        "## Bias, risks, limits\n\n"
        f"- Few patients{f' ({seizures} rated seizures)' if seizures else ''}: the intervals are wide, and groups by age, sex or "
        "lobe were not compared with any power.\n"
        "- Trained on trimmed hyperkinetic seizures from one source; children, other rooms, cameras, blankets and staff may be "
        "unlike anything that it saw.\n"
        "- One sign can pose as the other where they go together in the cohort.\n"
        "- An attribution shows what moved the score, not what causes a seizure; an arm that is found is no lateralisation.\n"
        "- A low score does not say that a sign was absent."
    )


def _privacy(header: Mapping[str, Any]) -> str:
    consent = "on record" if header.get("consent_recorded") else "NOT on record"
    return (
        f"## Privacy\n\nConsent to share is {consent} with the exporting centre. Subjects and source files appear as keyed hashes "
        "whose key stays there. Weights are still personal data, pseudonymous at best: membership in the training cohort may be "
        "guessed from them."
    )


def _files(digest: str, onnx: Mapping[str, float], without: str) -> str:
    lines = [f"- `model.safetensors`: SHA-256 `{digest}`; refused by the software if altered"]
    lines += [f"- `{name}`: logits within {value:.1e} of torch's" for name, value in sorted(onnx.items())]
    if without:
        lines.append(f"- no ONNX: {without}")
    return (
        "## Files\n\n"
        + "\n".join(lines)
        + "\n\nThe folder is laid out as a model hub takes it; `hf upload OWNER/NAME FOLDER .` uploads it."
    )


def _citation() -> str:
    return (
        "## Citation\n\nThe method is that of Hou, Thonnat, Bartolomei and McGonigal's paper on dystonia and emotion in videos of "
        "hyperkinetic seizures, and of *A Multi-Stream Approach for Seizure Classification with Knowledge Distillation* (2021)."
    )
