"""What a run is: its folder, its configuration and the hash of all that decides its bits."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seizurelit
from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.manifest import Cohort
from seizurelit.cohort.plan import Plan, load_plans, loso_plan, plan_from_file, save_plans
from seizurelit.config import Training, check, digest, training_from_json
from seizurelit.errors import InputError
from seizurelit.scheduling.places import here

WEIGHTS = "weights.safetensors"
"""The network of a finished job, in its folder."""
STACKED = "stacked"
"""Part of the names of jobs that train several folds; in its place the others have the seed."""


@dataclass(frozen=True)
class Row:
    """One trained row of the table: a model of a stream for a sign."""

    sign: str
    stream: str
    model: str


@dataclass(frozen=True)
class Setup:
    """All that decides a run's bits, apart from which of its rows, folds and seeds are asked for.

    Attributes:
        cache: folder of the tensors.
        cohort: a cohort.csv to read the labels from instead of the cache's copy.
        folds: a CSV of fold and subject instead of leaving one subject out.
        split_seed: of the inner split.
        training: settings.
        preset: its name, for the table's footnote.
        device: cpu or gpu.
    """

    cache: Path
    cohort: Path | None
    folds: Path | None
    split_seed: int
    training: Training
    preset: str
    device: str


@dataclass(frozen=True)
class Run:
    """A run's folder, opened.

    Attributes:
        folder: runs/NAME.
        setup: what was chosen.
        run_id: hash of everything that changes bits.
        stand_in: whether the cohort is the stand-in.
    """

    folder: Path
    setup: Setup
    run_id: str
    stand_in: bool

    @property
    def cohort(self) -> Cohort:
        """The cohort whose labels the run uses."""
        return _cohort(self.setup.cache, self.setup.cohort)

    def plan(self, sign: str) -> Plan:
        """The folds of a sign, as saved."""
        path = self.folder / "folds.json"
        return _plans(path, path.stat().st_mtime_ns)[sign]

    def job_folder(self, row: Row, seed: int, fold: str) -> Path:
        """Where a finished job's files lie."""
        return self.folder / "jobs" / job_id(row, seed, fold)


def job_id(row: Row, seed: int, fold: str) -> str:
    """The path-like name of a job."""
    return f"{row.sign}/{row.stream}/{row.model}/seed-{seed}/{fold}"


def stack_id(row: Row, seed: int, place: int) -> str:
    """The path-like name of a job that trains several folds of a row and seed together, one part longer than that of a fold."""
    return f"{row.sign}/{row.stream}/{row.model}/{STACKED}/seed-{seed}/{place}"


def fold_of(job: str) -> tuple[Row, int, str] | None:
    """Row, seed and fold of a job's name; None for one that trains several folds."""
    parts = job.split("/")
    if len(parts) != 5:
        return None
    sign, stream, model, seed, fold = parts
    return Row(sign, stream, model), int(seed.removeprefix("seed-")), fold


@functools.lru_cache(maxsize=4)
def _plans(path: Path, written: int) -> dict[str, Plan]:
    """A run's folds; `written` tells one writing of the file from the next."""
    del written
    return load_plans(path)


@functools.lru_cache(maxsize=4)
def _cohort(cache: Path, override: Path | None) -> Cohort:
    return Cache.open(cache).cohort(override)


def make_plan(setup: Setup, cohort: Cohort, sign: str) -> Plan:
    """The folds of a sign: from the file that was given, otherwise one a subject."""
    chosen = cohort.sign(sign)
    if setup.folds is not None:
        return plan_from_file(setup.folds, cohort, chosen, split_seed=setup.split_seed)
    return loso_plan(cohort, chosen, split_seed=setup.split_seed)


def _identity(setup: Setup, cohort: Cohort, cache_digest: str) -> dict[str, Any]:
    try:
        folds = digest(setup.folds.read_text(encoding="utf-8")) if setup.folds else "loso"
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{setup.folds}: cannot be read ({error}); give a UTF-8 CSV with the columns fold and subject"
        raise InputError(msg) from None
    return {
        "version": seizurelit.__version__,
        "training": dataclasses.asdict(setup.training),
        "split_seed": setup.split_seed,
        "folds": folds,
        "cohort": cohort.digest,
        "cache": cache_digest,
        "device": setup.device,
    }


def open_run(setup: Setup, folder: Path | None, signs: tuple[str, ...]) -> Run:
    """Open or begin the run of a setup.

    Args:
        setup: what was chosen.
        folder: runs/NAME; None takes a name made of the preset and the run's id, so that the same command goes on.
        signs: whose folds are to be planned.

    Raises:
        InputError: the folder holds a run with another configuration; the line names what differs.
    """
    cache = Cache.open(setup.cache)
    cohort = cache.cohort(setup.cohort)
    plans = {sign: make_plan(setup, cohort, sign) for sign in signs}
    identity = _identity(setup, cohort, cache.digest(tuple(sorted(cache.streams()))))
    run_id = digest(json.dumps(identity, sort_keys=True))
    folder = (
        folder
        or Path("runs")
        / f"{'stand-in' if cohort.is_standin else setup.cache.resolve().name}-{setup.preset}-{run_id[:8]}"
    )
    saved = folder / "config.json"
    if saved.exists():
        old = _read(saved)
        if old["run_id"] != run_id:
            changed = ", ".join(_differences(old["identity"], json.loads(json.dumps(identity))))
            msg = f"{folder}: holds a run with another configuration ({changed}); give another --out, or remove the folder"
            raise InputError(msg)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "schema": 1,
            "run_id": run_id,
            "preset": setup.preset,
            "stand_in": cohort.is_standin,
            "identity": identity,
            "where": {
                "cache": str(setup.cache.resolve()),
                "cohort": str(setup.cohort.resolve()) if setup.cohort else None,
                "folds": str(setup.folds.resolve()) if setup.folds else None,
            },
        }
        write_whole(saved, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())
    known = load_plans(folder / "folds.json") if (folder / "folds.json").exists() else {}
    if any(known.get(sign) != plan for sign, plan in plans.items()):
        save_plans(folder / "folds.json", {**known, **plans})
    return Run(folder, setup, run_id, cohort.is_standin)


def load_run(folder: Path) -> Run:
    """The run that a folder holds, as a job or a report finds it.

    Raises:
        InputError: no run is there.
    """
    config = _read(folder / "config.json")
    try:
        where, identity = config["where"], config["identity"]
        setup = Setup(
            cache=here(Path(where["cache"])),
            cohort=here(Path(where["cohort"])) if where["cohort"] else None,
            folds=here(Path(where["folds"])) if where["folds"] else None,
            split_seed=int(identity["split_seed"]),
            training=training_from_json(identity["training"]),
            preset=str(config["preset"]),
            device=str(identity["device"]),
        )
        run_id, stand_in = str(config["run_id"]), bool(config["stand_in"])
        check(setup.training)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        why = error.faults[0] if isinstance(error, InputError) else " ".join(f"{type(error).__name__} {error}".split())
        msg = (
            f"{folder / 'config.json'}: is not what a run wrote ({why[:200]}); restore it, or run again in a new folder"
        )
        raise InputError(msg) from None
    return Run(folder, setup, run_id, stand_in)


def require_same_cache(run: Run) -> None:
    """Refuse tensors that were changed after a run began: some of its folds would be of others than the rest.

    Raises:
        InputError: the cache is not the one that the run was begun with.
    """
    cache = Cache.open(run.setup.cache)
    if cache.digest(tuple(sorted(cache.streams()))) != identity_of(run.folder)["cache"]:
        msg = f"{run.setup.cache}: was changed after the run {run.folder} began; put it back, or begin another run with --out"
        raise InputError(msg)


def identity_of(folder: Path) -> dict[str, Any]:
    """What changed bits when the folder's run was begun: version, training, splits, and digests of cohort and cache.

    Raises:
        InputError: no run is there.
    """
    identity: dict[str, Any] = _read(folder / "config.json")["identity"]
    return identity


def _read(path: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{path}: no such file, so {path.parent} holds no run; give the folder that fit or reproduce printed"
        raise InputError(msg) from None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path}: cannot be read ({error}); remove {path.parent} and run again"
        raise InputError(msg) from None
    if not isinstance(content, dict):
        msg = f"{path}: holds no configuration of a run; remove {path.parent} and run again"
        raise InputError(msg)
    found: dict[str, Any] = content
    return found


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(f"{prefix}{name}: {before} there, {after} now")
    return found
