"""A model in one safetensors file: networks, skeletons, calibration, reference statistics, the training table, whom it saw.

The JSON in its header has a SHA-256 sum for every tensor and one over all of it: a file that was altered is refused. Such sums
tell damage and careless hands; whoever alters a file and its sums is told by the sum of the whole file, which stands in the model
card and beside the file (`FILE.sha256`). Nothing is unpickled, and no size is believed before it is checked against the bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from seizurelit.cohort.files import write_whole
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.cohort.table import name_fault
from seizurelit.config import RESEARCH_USE, STREAMS, Training, check, with_overrides
from seizurelit.errors import InputError
from seizurelit.evaluation.baselines import BASELINES, Fitted, Regression
from seizurelit.evaluation.statistics.calibration import Calibration
from seizurelit.handover.ensemble import Ensemble, Member, RowModel, Sizes, StreamFacts
from seizurelit.handover.likeness import Reference
from seizurelit.handover.of_run import PREFERRED, ready
from seizurelit.tracking.pseudonyms import pseudonym
from seizurelit.training.networks import WindowNetwork, build_network

SCHEMA = 1
_KEY = "seizurelit_model"
_LONGEST_HEADER = 64 * 2**20
MARK = "the key of this model file"
# More than any model of ours has; what a file says beyond is not believed.
_LARGEST = {
    "tcn.levels": 32,
    "tcn.channels": 8192,
    "tcn.kernel": 255,
    "windows.phases": 64,
    "windows.frames": 1_000_000,
    "windows.step": 10_000,
}
_MOST_CLASSES = 1000
_FEATURES = frozenset({"joint", "bone", "motion"})


def write_model(path: Path, ensemble: Ensemble, key: bytes, **more: Any) -> str:
    """Write a model file, whole or not at all.

    Args:
        path: ends with .safetensors.
        ensemble: of refitted networks; subjects and sources by their names and digests, which become keyed hashes.
        key: of the hashes; stays on this machine.
        more: JSON values for the header, such as the cohort's composition; they must name nobody.

    Returns:
        SHA-256 of the file, which is also written beside it.
    """
    tensors: dict[str, torch.Tensor] = {}
    rows = []
    for place, row in enumerate(ensemble.rows):
        for number, member in enumerate(row.members):
            state = member.network.state_dict()
            tensors |= {f"{place}/{number}/{name}": tensor.detach().contiguous() for name, tensor in state.items()}
        rows.append(_row_json(row))
    for stream, reference in ensemble.references.items():
        for part in ("mean", "sd", "precision", "distances"):
            tensors[f"reference/{stream}/{part}"] = torch.from_numpy(np.ascontiguousarray(getattr(reference, part)))
    value = {
        "schema": SCHEMA,
        "research_use": RESEARCH_USE,
        "stand_in": ensemble.stand_in,
        "origin": dict(ensemble.origin),
        "key_mark": pseudonym(MARK, key),
        "subjects": sorted(pseudonym(name, key) for name in ensemble.subjects),
        "sources": {
            pseudonym(source, key): pseudonym(subject, key) for source, subject in sorted(ensemble.sources.items())
        },
        "rows": rows,
        "streams": {stream: _facts_json(facts) for stream, facts in sorted(ensemble.streams.items())},
        "baselines": {sign: _fitted_json(fitted) for sign, fitted in sorted(ensemble.baselines.items())},
        "references": {stream: list(reference.names) for stream, reference in sorted(ensemble.references.items())},
        **more,
    }
    return _write(path, value, tensors)


def rewrite_model(
    path: Path, source: Path, calibrations: Mapping[str, tuple[Calibration, str]], *, never_seen: bool
) -> str:
    """Write a model file again with other calibrations.

    Args:
        path: of the new file.
        source: the file.
        calibrations: sign/stream/model → calibration, and on which cohort.
        never_seen: whether it was checked that nobody of that cohort was trained on.

    Returns:
        SHA-256 of the new file.
    """
    value, tensors = _read(source)
    for row in value["rows"]:
        name = f"{row['sign']}/{row['stream']}/{row['model']}"
        if name in calibrations:
            calibration, on = calibrations[name]
            row |= {"calibration": dataclasses.asdict(calibration), "calibrated_on": on, "never_seen": never_seen}
    return _write(path, value, tensors)


def _write(path: Path, value: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    sums = {name: _sum(tensor) for name, tensor in sorted(tensors.items())}
    head = {"value": value, "sha256": sums, "digest": _digest(value, sums)}
    text = json.dumps(head, sort_keys=True, ensure_ascii=False, allow_nan=False)
    content = save_tensors(dict(sorted(tensors.items())), metadata={_KEY: text})
    whole = hashlib.sha256(content).hexdigest()
    write_whole(path, content)
    write_whole(path.with_name(f"{path.name}.sha256"), f"{whole}  {path.name}\n".encode())
    return whole


def read_model(path: Path) -> Ensemble:
    """Read a model file.

    Raises:
        InputError: it is absent, damaged, altered, of another version, or no model file.
    """
    value, tensors = _read(path)
    try:
        return _ensemble(value, tensors, path)
    except InputError as error:
        raise _refused(path, error.faults[0]) from None
    except Exception as error:  # whatever a file made by strangers can provoke is the file's fault
        raise _refused(path, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}") from None


def read_header(path: Path) -> dict[str, Any]:
    """The JSON of a model file, once all of the file has been checked against its sums.

    Raises:
        InputError: as `read_model`.
    """
    return _read(path)[0]


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"{path}: is no model file that can be used ({why}); get it again from whoever exported it")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); give the .safetensors file that export wrote"
        raise InputError(msg) from None
    beside = path.with_name(f"{path.name}.sha256")
    if beside.is_file():
        said = beside.read_bytes()[:64].decode("ascii", errors="replace")
        if said != hashlib.sha256(content).hexdigest():
            raise _refused(path, f"it is not the file that {beside.name} has the sum of")
    try:
        length = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
        if not 0 < length <= min(_LONGEST_HEADER, len(content) - 8):
            raise _refused(path, "it has no safetensors header")
        raw = json.loads(content[8 : 8 + length])
        head = json.loads(raw["__metadata__"][_KEY])
        value, sums = head["value"], head["sha256"]
        if head["digest"] != _digest(value, sums):
            raise _refused(path, "its header is not what was written")
        tensors = load_tensors(content)
        if set(tensors) != set(sums) or any(_sum(tensor) != sums[name] for name, tensor in tensors.items()):
            raise _refused(path, "its tensors are not what was written")
        if value["schema"] != SCHEMA:
            raise _refused(path, f"it has the form {value['schema']!r}, and this version reads {SCHEMA}")
    except InputError:
        raise
    except Exception as error:  # likewise
        raise _refused(path, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}") from None
    return value, tensors


def _sum(tensor: torch.Tensor) -> str:
    flat = tensor.detach().contiguous().reshape(-1)
    described = f"{tensor.dtype} {tuple(tensor.shape)}\n".encode()
    return hashlib.sha256(described + flat.view(torch.uint8).numpy().tobytes()).hexdigest()


def _digest(value: Any, sums: Any) -> str:
    text = json.dumps([value, sums], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _row_json(row: RowModel) -> dict[str, Any]:
    return {
        "sign": row.sign,
        "stream": row.stream,
        "model": row.model,
        "classes": list(row.classes),
        "conditions": list(row.conditions),
        "calibration": None if row.calibration is None else dataclasses.asdict(row.calibration),
        "calibrated_on": row.calibrated_on,
        "never_seen": row.never_seen,
        "cross_validated": dict(row.cross_validated),
        "members": [
            {"name": member.name, "threshold": member.threshold, "training": _settings(member.training)}
            for member in row.members
        ],
    }


def _settings(training: Training) -> dict[str, Any]:
    """Dotted name → value of every setting that is no free text of Lightning's."""
    found: dict[str, Any] = {}
    for entry in dataclasses.fields(training):
        part = getattr(training, entry.name)
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            found |= {f"{entry.name}.{name}": item for name, item in dataclasses.asdict(part).items()}
        elif entry.name not in ("trainer", "grid"):
            found[entry.name] = part
    return found


def _facts_json(facts: StreamFacts) -> dict[str, Any]:
    value = dataclasses.asdict(dataclasses.replace(facts, skeleton=None))
    return {**value, "skeleton": None if facts.skeleton is None else facts.skeleton.to_json()}


def _fitted_json(fitted: Fitted) -> dict[str, Any]:
    return {
        "prior": list(fitted.prior),
        "regressions": [
            {"model": model, "stream": stream, **dataclasses.asdict(regression)}
            for (model, stream), regression in sorted(fitted.regressions.items())
        ],
    }


def _ensemble(value: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], path: Path) -> Ensemble:
    streams = {_of(stream, STREAMS): _facts(facts, path) for stream, facts in value["streams"].items()}
    rows = tuple(_row(row, place, tensors, streams) for place, row in enumerate(value["rows"]))
    if not rows:
        msg = "it holds no network"
        raise ValueError(msg)
    references = {stream: _reference(names, stream, tensors) for stream, names in value["references"].items()}
    return Ensemble(
        rows=rows,
        streams=streams,
        references=references,
        stand_in=_kind(value["stand_in"], bool),
        origin={
            "kind": "file",
            "file": path.name,
            "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
            **{str(name): item for name, item in value["origin"].items() if name not in ("kind", "file", "digest")},
            "key_mark": _kind(value["key_mark"], str),
        },
        subjects=frozenset(_kind(name, str) for name in value["subjects"]),
        sources={_kind(name, str): _kind(owner, str) for name, owner in value["sources"].items()},
        # A file of before they were written has none.
        baselines={_kind(sign, str): _fitted(fitted) for sign, fitted in value.get("baselines", {}).items()},
    )


def _fitted(value: Mapping[str, Any]) -> Fitted:
    prior = _finite(value["prior"])
    if not 2 <= len(prior) <= _MOST_CLASSES or min(prior) < 0 or not math.isclose(sum(prior), 1, abs_tol=1e-6):
        msg = "a prior that is none"
        raise ValueError(msg)
    regressions = {
        (_of(one["model"], BASELINES), _of(one["stream"], ("", *STREAMS))): _regression(one, len(prior))
        for one in value["regressions"]
    }
    return Fitted(prior, regressions)


def _regression(value: Mapping[str, Any], classes: int) -> Regression:
    medians = {_kind(name, str): _finite([median])[0] for name, median in value["medians"].items()}
    categories = {
        _kind(name, str): tuple(_kind(one, str) for one in known) for name, known in value["categories"].items()
    }
    columns = len(medians) + sum(map(len, categories.values()))
    kept, present = (tuple(_kind(place, int) for place in value[name]) for name in ("kept", "present"))
    weights = tuple(_finite(row) for row in value["weights"])
    found = Regression(
        medians=medians,
        categories=categories,
        kept=kept,
        mean=_finite(value["mean"]),
        scale=tuple(_positive(number) for number in value["scale"]),
        present=present,
        weights=weights,
        bias=_finite(value["bias"]),
        classes=classes,
    )
    sizes = {len(kept), len(found.mean), len(found.scale), *map(len, weights)}
    whole = len(sizes) == 1 and len(weights) == len(present) == len(found.bias) > 0
    inside = all(0 <= place < columns for place in kept) and all(0 <= place < classes for place in present)
    if not whole or not inside or value["classes"] != classes:
        msg = "a baseline of other features or classes"
        raise ValueError(msg)
    return found


def _finite(values: Sequence[Any]) -> tuple[float, ...]:
    numbers = tuple(float(number) for number in values)
    if not all(map(math.isfinite, numbers)):
        msg = "numbers that are not finite"
        raise ValueError(msg)
    return numbers


def _kind(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        msg = f"{value!r} is not of the kind {kind.__name__}"
        raise TypeError(msg)
    return value


def _of(value: Any, names: tuple[str, ...]) -> str:
    if value not in names:
        msg = f"{value!r} is none of {', '.join(names)}"
        raise ValueError(msg)
    return str(value)


def _positive(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        msg = f"{value!r} is not above 0"
        raise ValueError(msg)
    return number


def _facts(value: Mapping[str, Any], path: Path) -> StreamFacts:
    skeleton = None if value["skeleton"] is None else Skeleton.from_json(value["skeleton"], str(path))
    return StreamFacts(
        fps=_positive(value["fps"]),
        skeleton=skeleton,
        appearance_fps=None if value["appearance_fps"] is None else _positive(value["appearance_fps"]),
        appearance_channels=_kind(value["appearance_channels"], int),
        extractors=tuple(_kind(name, str) for name in value["extractors"]),
        weights_digests=tuple(_kind(name, str) for name in value["weights_digests"]),
    )


def _row(
    value: Mapping[str, Any], place: int, tensors: Mapping[str, torch.Tensor], streams: Mapping[str, StreamFacts]
) -> RowModel:
    stream, model = _of(value["stream"], STREAMS), _of(value["model"], PREFERRED)
    classes = tuple(_kind(name, str) for name in value["classes"])
    conditions = tuple(_kind(name, str) for name in value["conditions"])
    sign = _kind(value["sign"], str)
    wrong = name_fault(sign)
    if wrong or not 2 <= len(classes) <= _MOST_CLASSES or len(set(classes)) < len(classes):
        msg = f"the sign {sign!r} {wrong or 'has no two classes'}"
        raise ValueError(msg)
    members = []
    for number, member in enumerate(value["members"]):
        training = _training(member["training"])
        sizes = Sizes(streams[stream], training, len(conditions), len(classes))
        prefix = f"{place}/{number}/"
        state = {name.removeprefix(prefix): part for name, part in tensors.items() if name.startswith(prefix)}
        threshold = member["threshold"]
        if threshold is not None and not 0 <= float(threshold) <= 1:
            msg = f"the threshold {threshold!r} is not in [0, 1]"
            raise ValueError(msg)
        cut = None if threshold is None else float(threshold)
        members.append(Member(_kind(member["name"], str), _network(model, training, sizes, state), training, cut))
    if not members:
        msg = f"{sign} {stream} {model} has no network"
        raise ValueError(msg)
    return RowModel(
        sign=sign,
        stream=stream,
        model=model,
        classes=classes,
        members=tuple(members),
        calibration=_calibration(value["calibration"], len(classes)),
        calibrated_on=_kind(value["calibrated_on"], str),
        # A file of before this was written may have been calibrated without the check.
        never_seen=_kind(value.get("never_seen", False), bool),
        conditions=conditions,
        cross_validated=dict(value["cross_validated"]),
    )


def _training(settings: Mapping[str, Any]) -> Training:
    training = with_overrides(Training(), {str(name): item for name, item in settings.items()})
    check(training)
    for name, largest in _LARGEST.items():
        group, _, leaf = name.partition(".")
        if getattr(getattr(training, group), leaf) > largest:
            msg = f"{name} is above {largest}"
            raise ValueError(msg)
    if not set(training.inputs.features) <= _FEATURES or not isinstance(training.inputs.condition, str | None):
        msg = "inputs that there are not"
        raise ValueError(msg)
    return training


def _network(model: str, training: Training, sizes: Sizes, state: Mapping[str, torch.Tensor]) -> WindowNetwork:
    """The network, once its tensors are known to be those that its settings ask for."""
    if sizes.facts.skeleton is None and model != "tcn":
        msg = f"{model} without a skeleton"
        raise ValueError(msg)
    with torch.device(
        "meta"
    ):  # shapes alone: no settings of a file may make us reserve more memory than its tensors have
        wanted = build_network(model, training, sizes).state_dict()
    if set(wanted) != set(state):
        msg = "the tensors are not those of its network"
        raise ValueError(msg)
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            msg = f"{name} is {tuple(tensor.shape)} {tensor.dtype}, its network has {tuple(wanted[name].shape)}"
            raise ValueError(msg)
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            msg = f"{name} holds numbers that are not finite"
            raise ValueError(msg)
    network = build_network(model, training, sizes)
    network.load_state_dict(dict(state))
    return ready(network)


def _calibration(value: Mapping[str, Any] | None, classes: int) -> Calibration | None:
    if value is None:
        return None
    bias = tuple(float(number) for number in value["bias"])
    if len(bias) != classes or not all(map(math.isfinite, bias)):
        msg = "a calibration of other classes"
        raise ValueError(msg)
    method = _of(value["method"], ("platt", "temperature"))
    counts = (_kind(value["subjects"], int), _kind(value["seizures"], int))
    return Calibration(method, _positive(value["slope"]), bias, *counts)  # type: ignore[arg-type]


def _reference(names: Any, stream: str, tensors: Mapping[str, torch.Tensor]) -> Reference:
    parts: dict[str, npt.NDArray[np.float64]] = {}
    for part in ("mean", "sd", "precision", "distances"):
        tensor = tensors[f"reference/{stream}/{part}"]
        if tensor.dtype != torch.float64 or not bool(tensor.isfinite().all()):
            msg = f"the reference of {stream} is not of finite numbers"
            raise ValueError(msg)
        parts[part] = tensor.numpy()
    features = tuple(_kind(name, str) for name in names)
    count = len(features)
    shapes = (parts["mean"].shape, parts["sd"].shape, parts["precision"].shape)
    if shapes != ((count,), (count,), (count, count)) or parts["distances"].ndim != 1 or not len(parts["distances"]):
        msg = f"the reference of {stream} has other shapes"
        raise ValueError(msg)
    if not (parts["sd"] > 0).all():
        msg = f"the reference of {stream} has no spread"
        raise ValueError(msg)
    return Reference(features, parts["mean"], parts["sd"], parts["precision"], parts["distances"])
