"""TensorBoard and MLflow by Lightning's own loggers, told of a job's curves once it is done, in the run's folder.

The jobs write CSV alone, so that their files depend on nothing but their arguments. What comes here is veiled already; what the
loggers would add of the machine (host, user, script) is withheld.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger

from seizurelit.errors import InputError

PACKAGES = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
WITHHELD = "withheld"
# Nothing is put there; a folder would be named by its path.
_ARTIFACTS = "mlflow-artifacts:/"


def check_loggers(kinds: Sequence[str]) -> None:
    """Refuse a logger whose packages are not installed.

    Args:
        kinds: of `PACKAGES`.

    Raises:
        InputError: a line for each, with what to install.
    """
    faults = []
    for kind in dict.fromkeys(kinds):
        absent = [name for name in PACKAGES[kind] if find_spec(name) is None]
        if absent:
            faults.append(f"--loggers: {kind} needs {', '.join(absent)}; uv pip install {' '.join(absent)}")
    if faults:
        raise InputError(*faults)


class Loggers:
    """What a run has beside CSV and wandb: `tensorboard/` and `mlflow/` in its folder.

    Args:
        kinds: of `PACKAGES`.
        folder: of the run.
        group: name of the run.
    """

    def __init__(self, kinds: Sequence[str], folder: Path, group: str) -> None:
        self.kinds = tuple(dict.fromkeys(kinds))
        self.folder = folder.absolute()
        self.group = group

    def lacking(self, name: str) -> tuple[str, ...]:
        """The kinds that do not have a job yet."""
        return tuple(kind for kind in self.kinds if not self._place(kind, name).exists())

    def job(
        self,
        name: str,
        *,
        config: Mapping[str, Any],
        history: Iterable[Mapping[str, float]] = (),
        summary: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """Log a job with every kind, in place of what there is of it.

        Args:
            name: path-like; of the job.
            config: settings; nested mappings get dotted names.
            history: rows of curves; `step` or else `epoch` is a row's place.
            summary: final figures; what is no number is left away.
            tags: words.
        """
        rows = list(history)
        figures = {key: float(value) for key, value in (summary or {}).items() if _is_number(value)}
        flat = dict(_flat(config))
        for kind in self.kinds:
            write = self._tensorboard if kind == "tensorboard" else self._mlflow
            write(name, flat, rows, figures, tags)

    def _place(self, kind: str, name: str) -> Path:
        """What is there once a job is logged whole: TensorBoard's folder of it, or a file with MLflow's id of its run."""
        return self.folder / kind / name if kind == "tensorboard" else self.folder / kind / "logged" / name

    def _tensorboard(
        self,
        name: str,
        config: Mapping[str, Any],
        rows: Sequence[Mapping[str, float]],
        figures: Mapping[str, float],
        tags: Sequence[str],
    ) -> None:
        place = self._place("tensorboard", name)
        beside = self.folder / "tensorboard" / f".{os.getpid()}"
        shutil.rmtree(beside, ignore_errors=True)
        logger = TensorBoardLogger(str(beside), name="", version="", default_hp_metric=False)
        logger.log_hyperparams({**config, "group": self.group, "tags": " ".join(tags)})
        _tell(logger, rows, figures)
        logger.finalize("success")
        logger.experiment.close()
        for path in beside.glob("events.*"):
            path.rename(path.with_name(path.name.replace(socket.gethostname(), WITHHELD)))
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.rename(place)

    def _mlflow(
        self,
        name: str,
        config: Mapping[str, Any],
        rows: Sequence[Mapping[str, float]],
        figures: Mapping[str, float],
        tags: Sequence[str],
    ) -> None:
        marker, store = self._place("mlflow", name), self.folder / "mlflow" / "mlflow.db"
        marker.parent.mkdir(parents=True, exist_ok=True)
        _quiet()
        if not store.exists():
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415 - no part of the core

            SqlAlchemyStore(
                f"sqlite:///{store}", _ARTIFACTS
            )  # what MLflow makes by itself names the folder it was started in
        logger = MLFlowLogger(
            experiment_name="seizurelit",
            run_name=name,
            tracking_uri=f"sqlite:///{store}",
            tags={
                **dict.fromkeys(("mlflow.user", "mlflow.source.name", "mlflow.source.type"), WITHHELD),
                "group": self.group,
                **{f"tag.{tag}"[:250]: "true" for tag in tags},
            },
            artifact_location=_ARTIFACTS,
        )
        if marker.exists():
            logger.experiment.delete_run(marker.read_text(encoding="utf-8"))
        logger.log_hyperparams({key: value for key, value in config.items() if value is not None})
        _tell(logger, rows, figures)
        logger.finalize("success")
        marker.write_text(str(logger.run_id), encoding="utf-8")


def _quiet() -> None:
    """MLflow without its telemetry, and without what it says of every table that it makes."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    import mlflow  # noqa: F401, PLC0415 - it sets the levels anew when it is imported

    for name in ("mlflow", "alembic", "pytorch_lightning.loggers.mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _tell(
    logger: TensorBoardLogger | MLFlowLogger, rows: Sequence[Mapping[str, float]], figures: Mapping[str, float]
) -> None:
    last = 0
    for row in rows:
        last = int(row.get("step", row.get("epoch", last)))
        logger.log_metrics({key: value for key, value in row.items() if key != "step"}, step=last)
    if figures:
        logger.log_metrics(dict(figures), step=last)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield (
                f"{prefix}{key}",
                value if isinstance(value, (int, float, str)) else None if value is None else str(value),
            )
