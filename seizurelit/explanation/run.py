"""What the door `explain` does: the grounds of every out-of-fold score of a run, as files that a report can show.

runs/NAME/explanation/ holds index.json, for each row SIGN-STREAM-MODEL.json, and figures as SVG.

index.json: {schema, research_use, stand_in, rows}; a row is {sign, stream, model, seed, file, figures, seizures, correct,
faithfulness, sanity, localisation}:

- file: SIGN-STREAM-MODEL.json; figures: name → file: adjacency (of an AGCN), deletion.
- faithfulness: deletion, insertion → {gain, low, high, no_interval, subjects, seizures}: by how much the score of the named class
  is hurt (helped) more than at random, the mean over the shares 0 to 100% that are taken away (put in), over subjects; 95% BCa;
  of the seizures that were named rightly.
- sanity: null if it was not asked for; else {draws, limit, destroyed, alike}: how many untrained networks a fold; the likeness from
  which on a map is said to survive; whether it does not (null where that cannot be told); and alike: signed and strength (`Alike`)
  → the same keys with `rho` for gain, of the maps and those of networks whose classifier, upper half, or all weights are untrained,
  beside that of two untrained networks and that of other subjects' seizures.
- localisation: null unless the cohort says which arm: integrated_gradients, grad_cam → {right, of, share}, and chance: 0.5; of the
  positive seizures that were named rightly, those whose true arm has the larger net attribution.

SIGN-STREAM-MODEL.json: {schema, research_use, stand_in, seconds, names, fractions, curves, adjacency, bones, places, seizures}; a
seizure, by its name, is {fold, label, named, score, correct, for_class, margin, values, by_joint, grad_cam, grad_cam_values,
figure, deletion_gain, insertion_gain}:

- seconds, names: length of a bin of time; the joints (or `appearance`).
- values: [bin][joint] integrated gradients of `for_class`, the class that was named, with their sign.
- by_joint: [joint] share of all that speaks for it; grad_cam and grad_cam_values likewise, null where the network has none.
- curves: deletion, insertion, random_deletion, random_insertion → {mean, low, high}, each [fraction]: the score of the named class,
  the mean over subjects of the seizures that were named rightly, and a pointwise 95% band over subjects (null for too few).
- adjacency: [block][source][target] A + B + C, the mean over the seizures that were named rightly; null without an AGCN. bones:
  [child, parent] of its joints, and places: where each joint is drawn, x to the right and y down, from 0 to 1; empty likewise.
- figure: the SVG of the map, joints over time.

Everything is of networks that never saw the subject. The folder names seizures as the cohort does: it stays where the run is.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.leak import Guard
from seizurelit.cohort.manifest import Cohort
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import RESEARCH_USE
from seizurelit.data.fold import Batch, FoldDataModule
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.errors import InputError
from seizurelit.explanation.adjacency import learned_adjacency
from seizurelit.explanation.attribution import BIN, Attribution, attribute
from seizurelit.explanation.faithfulness import (
    DRAWS,
    FRACTIONS,
    OTHERS,
    RANDOM,
    STAGES,
    SURVIVES,
    Alike,
    Curves,
    Mean,
    MeanCurve,
    between,
    curves,
    destroyed,
    mean_curve,
    mean_over_subjects,
    survival,
)
from seizurelit.explanation.figures import body_places, deletion, graph, heat_map
from seizurelit.loso.experiment import Row, Run, load_run
from seizurelit.loso.finished import Finished, finished, rows_of
from seizurelit.reporting.grounds import FOLDER, INDEX, SCHEMA
from seizurelit.training.checkpoint import load_weights
from seizurelit.training.losses import seizure_logits
from seizurelit.training.networks import WindowNetwork, build_network, reads

ARM = "dystonic_arm"
"""Column in which a cohort says which arm shows the sign: left or right."""

ALIKE_TO = {
    "classifier": "networks with an untrained classifier",
    "upper half": "networks with an untrained upper half",
    "all": "untrained networks",
    RANDOM: f"(of {RANDOM} to one another)",
    OTHERS: f"(of {OTHERS} to one another)",
}
"""What a likeness is to, in words."""

Floats = npt.NDArray[np.float64]


@dataclass
class _Seizure:
    """The grounds of one seizure."""

    subject: str
    fold: str
    label: str
    named: str
    score: float
    map: Attribution
    cam: Attribution | None
    curves: Curves
    survival: Mapping[str, Alike]

    @property
    def correct(self) -> bool:
        return self.label == self.named


@dataclass
class _Row:
    """The grounds of one row."""

    row: Row
    seizures: dict[str, _Seizure] = field(default_factory=dict)
    adjacency: list[Floats] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    skeleton: Skeleton | None = None
    places: list[Floats] = field(default_factory=list)


def explain_run(
    folder: Path,
    *,
    sign: str | None = None,
    model: str | None = None,
    seed: int = 0,
    sanity: bool = True,
    say: Callable[[str], None],
) -> list[str]:
    """Explain a run's out-of-fold scores and write its folder `explanation`.

    Args:
        folder: the run.
        sign: of this sign alone.
        model: of this model alone.
        seed: whose networks are explained.
        sanity: also randomise the networks' weights.
        say: takes a line for the person who waits.

    Returns:
        Lines for the person who reads.

    Raises:
        InputError: no run, or no finished training of that kind.
    """
    run = load_run(folder)
    rows = [row for row in rows_of(run) if sign in (None, row.sign) and model in (None, row.model)]
    found = []
    for row in rows:
        trainings = [one for one in finished(run, row) if one.seed == seed]
        if trainings:
            say(f"{row.sign} {row.stream} {row.model}: {len(trainings)} folds")
            found.append(_explain(run, row, trainings, sanity))
    if not found:
        msg = f"{folder}: has no finished training of seed {seed}{f' of {sign}' if sign else ''}{f' by {model}' if model else ''}"
        raise InputError(msg)
    out = run.folder / FOLDER
    records = [_write(out, part, run, seed) for part in found]
    index = out / INDEX
    kept = [row for row in _before(index) if not any(_same(row, record) for record in records)]
    value = {"schema": SCHEMA, "research_use": RESEARCH_USE, "stand_in": run.stand_in, "rows": [*kept, *records]}
    write_whole(index, _json(value))
    return [*_lines(records, run.stand_in), f"{out}: {INDEX}, maps, graphs and curves"]


def _explain(run: Run, row: Row, trainings: Sequence[Finished], sanity: bool) -> _Row:
    cohort, cache = run.cohort, Cache.open(run.setup.cache)
    needs = reads("agcn" if row.model == "agcn_kd" else row.model, run.setup.training)
    sign = cohort.sign(row.sign)
    found = _Row(row)
    shared: dict[str | None, SeizureStore] = {}
    for training in trainings:
        fold = run.plan(row.sign).fold(training.fold)
        own = training.fold if cache.fitted_for(training.fold) else None
        if own not in shared:
            shared[own] = load_store(
                cache,
                cohort,
                sign,
                row.stream,
                keypoints="keypoints" in needs,
                appearance="appearance" in needs,
                condition=run.setup.training.inputs.condition,
                fold=own,
            )
        data = FoldDataModule(shared[own], fold, training.training, seed=0)
        network = build_network(row.model, training.training, data)
        load_weights(training.weights, network, Guard.of(fold))
        network.eval().requires_grad_(requires_grad=False)
        fresh = [_untrained(row, training, data, draw) for draw in range(DRAWS if sanity else 0)]
        if network.modality == "keypoints":
            found.skeleton = data.skeleton
        for batch in data.held_out_batches():
            _explain_batch(found, data, batch, network, fresh, fold=training.fold, classes=sign.classes)
    return found


def _untrained(row: Row, training: Finished, data: FoldDataModule, draw: int) -> WindowNetwork:
    """A network as a fold's before its training; other draws and other folds have other weights."""
    key = hashlib.sha256(f"{training.fold}/{training.seed}/{draw}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(key[:7], "big"))
        network = build_network(row.model, training.training, data)
    network.eval().requires_grad_(requires_grad=False)
    return network


def _explain_batch(
    found: _Row,
    data: FoldDataModule,
    batch: Batch,
    network: WindowNetwork,
    fresh: Sequence[WindowNetwork],
    *,
    fold: str,
    classes: tuple[str, ...],
) -> None:
    with torch.no_grad():
        scores = torch.softmax(seizure_logits(network(batch), batch.window_mask), -1)
    named = scores.argmax(-1)
    for target in sorted(set(named.tolist())):
        chosen = np.flatnonzero(named.numpy() == target).tolist()
        part = only(batch, chosen)
        maps = attribute([network], data, part, target)
        graphical = found.row.model != "tcn"
        cams = attribute([network], data, part, target, method="grad_cam") if graphical else [None] * len(maps)
        followed = curves(network, data, part, maps, target)
        left = survival(network, fresh, data, part, attributions=maps, target=target) if fresh else [{}] * len(maps)
        for place, whole in enumerate(chosen):
            index = int(part.seizure[place])
            found.seizures[data.seizure_name(index)] = _Seizure(
                subject=data.store.subjects[index],
                fold=fold,
                label=classes[int(part.label[place])],
                named=classes[target],
                score=float(scores[whole, target]),
                map=maps[place],
                cam=cams[place],
                curves=followed[place],
                survival=left[place],
            )
    right = np.flatnonzero(named.numpy() == batch.label.numpy()).tolist()
    if right and found.row.model != "tcn":
        found.adjacency.append(learned_adjacency(network, batch, right))
        found.weights.append(len(right))
        if "joint" in data.training.inputs.features:
            found.places.append(_median_places(data, batch))


def only(batch: Batch, chosen: Sequence[int]) -> Batch:
    """Some seizures of a batch."""
    places = list(chosen)
    return Batch(*(part[places] if isinstance(part, Tensor) else part for part in batch))  # type: ignore[arg-type]


def _median_places(data: FoldDataModule, batch: Batch) -> Floats:
    """(V, 2) lateral and upward median place of each joint in a batch; NaN for one that is never found."""
    at = data.training.inputs.features.index("joint") * data.skeleton.dimensions
    assert batch.keypoints is not None
    points = (
        batch.keypoints[:, :, at : at + data.skeleton.dimensions].permute(2, 4, 0, 1, 3).flatten(2).double().numpy()
    )
    lateral, up = points["xyz".index("x")], points["xyz".index(data.skeleton.up)]
    seen = (points != 0).any(axis=0)
    seen[data.skeleton.root] = True
    pairs = [
        (np.median(lateral[joint, here]), np.median(up[joint, here])) if here.any() else (math.nan, math.nan)
        for joint, here in enumerate(seen)
    ]
    return np.array(pairs, dtype=float)


def _write(out: Path, part: _Row, run: Run, seed: int) -> dict[str, Any]:
    row = part.row
    stem = f"{row.sign}-{row.stream}-{row.model}"
    words = f"{row.sign}, {row.stream} {row.model}"
    figures: dict[str, str] = {}
    correct = {name: one for name, one in part.seizures.items() if one.correct}
    adjacency, places = None, None
    if part.adjacency and part.skeleton is not None:
        adjacency = np.average(np.stack(part.adjacency), axis=0, weights=part.weights)
        median = np.nanmedian(np.stack(part.places), axis=0) if part.places else None
        places = body_places(part.skeleton, median)
        drawn = graph(
            adjacency,
            part.skeleton,
            places,
            f"Learned adjacency A + B + C, {words}: mean over {len(correct)} seizures named rightly",
            stand_in=run.stand_in,
        )
        figures["adjacency"] = f"{stem}.adjacency.svg"
        write_whole(out / figures["adjacency"], drawn.encode())
    mean_curves = _mean_curves(correct)
    if mean_curves:
        pairs = {
            name: (mean_curves[name].mean, mean_curves[f"random_{name}"].mean) for name in ("deletion", "insertion")
        }
        figures["deletion"] = f"{stem}.deletion.svg"
        drawn = deletion(
            pairs, FRACTIONS, f"Faithfulness, {words}: {len(correct)} seizures named rightly", stand_in=run.stand_in
        )
        write_whole(out / figures["deletion"], drawn.encode())
    seizures = {}
    for name, one in sorted(part.seizures.items()):
        figure = f"maps/{name}.{stem}.svg"
        said = f"{words}: what speaks for class {one.named} (score {one.score:.2f})"
        write_whole(out / figure, heat_map(one.map.shares, one.map.names, BIN, said, stand_in=run.stand_in).encode())
        seizures[name] = _seizure_json(one, figure)
    names = next((one.map.names for one in part.seizures.values()), ())
    value = {
        "schema": SCHEMA,
        "research_use": RESEARCH_USE,
        "stand_in": run.stand_in,
        "seconds": BIN,
        "names": list(names),
        "fractions": list(FRACTIONS),
        "curves": {name: _curve_json(curve) for name, curve in mean_curves.items()},
        "adjacency": None if adjacency is None else _rounded(adjacency),
        "bones": [] if adjacency is None or part.skeleton is None else [list(bone) for bone in part.skeleton.bones],
        "places": [] if places is None else _rounded(places),
        "seizures": seizures,
    }
    write_whole(out / f"{stem}.json", _json(value))
    owners = [one.subject for one in correct.values()]
    gains = {
        "deletion": mean_over_subjects([one.curves.deletion_gain for one in correct.values()], owners),
        "insertion": mean_over_subjects([one.curves.insertion_gain for one in correct.values()], owners),
    }
    return {
        "sign": row.sign,
        "stream": row.stream,
        "model": row.model,
        "seed": seed,
        "file": f"{stem}.json",
        "figures": figures,
        "seizures": len(part.seizures),
        "correct": len(correct),
        "faithfulness": {name: _mean_json(gain, "gain") for name, gain in gains.items()},
        "sanity": _sanity(list(correct.values())),
        "localisation": localisation(part.seizures, run.cohort, row.sign),
    }


def _sanity(correct: Sequence[_Seizure]) -> dict[str, Any] | None:
    """Whether the networks' weights decide their maps, by the seizures that were named rightly; None if it was not asked for."""
    if not any(one.survival for one in correct):
        return None
    owners = [one.subject for one in correct]
    found = {name: [one.survival[name] for one in correct] for name in (*STAGES, RANDOM)}
    found[OTHERS] = between([one.map.values for one in correct], owners, [one.named for one in correct])
    means = {
        name: {kind: mean_over_subjects([getattr(part, kind) for part in parts], owners) for kind in Alike._fields}
        for name, parts in found.items()
    }
    return {
        "draws": DRAWS,
        "limit": SURVIVES,
        "destroyed": destroyed(means["all"]["signed"], means["all"]["strength"]),
        "alike": {
            name: {kind: _mean_json(mean, "rho") for kind, mean in kinds.items()} for name, kinds in means.items()
        },
    }


def _seizure_json(one: _Seizure, figure: str) -> dict[str, Any]:
    return {
        "fold": one.fold,
        "label": one.label,
        "named": one.named,
        "score": round(one.score, 6),
        "correct": one.correct,
        "for_class": one.named,
        "margin": round(one.map.margin, 6),
        "values": _rounded(one.map.values),
        "by_joint": _rounded(one.map.by_joint),
        "grad_cam": None if one.cam is None else _rounded(one.cam.by_joint),
        "grad_cam_values": None if one.cam is None else _rounded(one.cam.values),
        "figure": figure,
        "deletion_gain": round(one.curves.deletion_gain, 6),
        "insertion_gain": round(one.curves.insertion_gain, 6),
    }


def _mean_curves(seizures: Mapping[str, _Seizure]) -> dict[str, MeanCurve]:
    owners = [one.subject for one in seizures.values()]
    names = ("deletion", "insertion", "random_deletion", "random_insertion") if seizures else ()
    return {name: mean_curve([getattr(one.curves, name) for one in seizures.values()], owners) for name in names}


def _curve_json(curve: MeanCurve) -> dict[str, Any]:
    banded = bool(np.isfinite(curve.low).all())
    return {
        "mean": _rounded(curve.mean),
        "low": _rounded(curve.low) if banded else None,
        "high": _rounded(curve.high) if banded else None,
    }


def localisation(seizures: Mapping[str, Any], cohort: Cohort, sign: str) -> dict[str, Any] | None:
    """Of the positive seizures that were named rightly, in how many the arm that shows the sign is the more attributed one.

    An arm's attribution is the net sum over its joints and all times. None unless the cohort has the column `dystonic_arm` and
    the joints have arms.

    Args:
        seizures: name → with `correct`, `label`, `map` and `cam`.
        cohort: says which arm.
        sign: its positive class is looked at.
    """
    positive = cohort.sign(sign).positive
    if ARM not in cohort.columns or positive is None or not ARM.startswith(sign[:5]):
        return None
    truth = cohort.column(ARM)
    found: dict[str, list[bool]] = {"integrated_gradients": [], "grad_cam": []}
    for name, one in seizures.items():
        arms = {side: arm_of(one.map.names, side) for side in ("left", "right")}
        if not one.correct or one.label != positive or truth[name] not in arms or not all(arms.values()):
            continue
        other = "right" if truth[name] == "left" else "left"
        for method, attribution in (("integrated_gradients", one.map), ("grad_cam", one.cam)):
            if attribution is not None:
                sums = {side: float(attribution.values[:, joints].sum()) for side, joints in arms.items()}
                found[method].append(sums[truth[name]] > sums[other])
    if not found["integrated_gradients"]:
        return None
    result: dict[str, Any] = {
        method: {"right": sum(hits), "of": len(hits), "share": round(sum(hits) / len(hits), 4)}
        for method, hits in found.items()
        if hits
    }
    return {**result, "chance": 0.5}


def arm_of(names: Sequence[str], side: str) -> list[int]:
    """The joints of an arm, by their names."""
    parts = ("shoulder", "elbow", "wrist", "hand")
    return [place for place, name in enumerate(names) if name.startswith(side) and name.endswith(parts)]


def _mean_json(mean: Mean, name: str) -> dict[str, Any]:
    return {
        name: _finite(mean.value),
        "low": _finite(mean.interval.low),
        "high": _finite(mean.interval.high),
        "no_interval": mean.interval.reason or None,
        "subjects": mean.subjects,
        "seizures": mean.seizures,
    }


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _rounded(values: Floats) -> list[Any]:
    listed: list[Any] = np.round(np.asarray(values, dtype=float), 6).tolist()
    return listed


def _json(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, allow_nan=False) + "\n").encode()


def _before(index: Path) -> list[dict[str, Any]]:
    """The rows that an older explanation of this run has."""
    try:
        value = json.loads(index.read_text(encoding="utf-8"))
        rows = value["rows"] if value["schema"] == SCHEMA else []
        return [row for row in rows if (index.parent / row["file"]).is_file()]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(key) == other[key] for key in ("sign", "stream", "model"))


def _lines(records: Sequence[Mapping[str, Any]], stand_in: bool) -> list[str]:
    lines = ["STAND-IN COHORT (not clinical data)"] if stand_in else []
    for record in records:
        lines.append(
            f"{record['sign']} {record['stream']} {record['model']}, seed {record['seed']}: {record['correct']} of "
            f"{record['seizures']} seizures named rightly"
        )
        for name, gain in record["faithfulness"].items():
            verb = "hurts" if name == "deletion" else "helps"
            lines.append(f"  {name} in the map's order {verb} the score more than at random by {_said(gain, 'gain')}")
        lines += _sanity_lines(record["sanity"])
        for method, hits in (record["localisation"] or {}).items():
            if method != "chance":
                found = f"{hits['right']} of {hits['of']} ({hits['share']:.0%}; chance 50%)"
                lines.append(f"  {method}: the true arm is the more attributed one in {found}")
    return [*lines, RESEARCH_USE]


def _sanity_lines(sanity: Mapping[str, Any] | None) -> list[str]:
    if sanity is None:
        return []
    lines = ["  likeness of the maps (Spearman, signs turned over or not; of their sizes alone) to those of"]
    for name, kinds in sanity["alike"].items():
        lines.append(f"    {ALIKE_TO[name]}: {_said(kinds['signed'], 'rho')}; {_said(kinds['strength'], 'rho')}")
    verdict = {
        True: "the weights decide the maps: without them they are gone",
        False: "the maps survive without the weights: do not believe them",
        None: "whether the maps survive without the weights cannot be told: too few subjects, or an interval across the limit",
    }[sanity["destroyed"]]
    return [*lines, f"    {verdict} (limit {sanity['limit']:g})"]


def _said(mean: Mapping[str, Any], name: str) -> str:
    if mean[name] is None:
        return "– (no seizure named rightly)"
    ends = (
        f"{mean['low']:.3f} to {mean['high']:.3f}" if mean["low"] is not None else f"no interval: {mean['no_interval']}"
    )
    return f"{mean[name]:.3f} ({ends}; {mean['subjects']} subjects)"
