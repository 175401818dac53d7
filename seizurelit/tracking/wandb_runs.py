"""wandb beside the run, never in its way: one process of its own, told what to log, killed when it takes too long.

Every text passes through the `Veil` before it reaches that process. Nothing of a job waits for wandb: `job` and
`summary` put a message into a queue and return.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from seizurelit.tracking.pseudonyms import Veil, read_key

Mode = Literal["offline", "online", "off"]
STAND_IN = "STAND-IN COHORT"
REPORT = "report.html"
"""The report's name in the summary's artifact."""

_START = """
import json, sys
argument = json.loads(sys.argv[1])
sys.path[:] = argument["path"]
from seizurelit.tracking.wandb_process import main
main(argument)
"""
# Of the user's wandb variables these say where and as whom; the others could add text to a run.
_KEPT = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_IDENTITY_TOKEN_FILE")


class Tracker:
    """The wandb group of a run: one wandb run a job, and one with the table.

    No method raises because of wandb, and none waits for it but `close`, which keeps to its timeout.

    Args:
        run_dir: wandb's offline files go to `wandb/` in it.
        mode: offline keeps everything there; online sends it; off does nothing.
        group: name of the run; veiled like all else.
        names: subjects, seizures and source files of the cohort, which never leave.
        project: wandb's project.
        tags: of every wandb run.
        stand_in: say STAND-IN COHORT in name, tags, notes and config of every wandb run.
        warn: takes one line a fault; standard error by default.

    Raises:
        InputError: the key of the pseudonyms cannot be used.
    """

    def __init__(
        self,
        run_dir: Path,
        mode: Mode,
        group: str,
        *,
        names: Iterable[str] = (),
        project: str = "seizurelit",
        tags: Sequence[str] = (),
        stand_in: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.folder = run_dir.absolute() / "wandb"
        self.mode = mode
        self.warnings: list[str] = []
        self._warn = warn if warn is not None else lambda line: print(line, file=sys.stderr)
        self._stand_in = stand_in
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._threads: tuple[threading.Thread, ...] = ()
        self._sent = 0
        self._logged = 0
        self._closed = mode == "off"
        if mode == "off":
            return
        self._veil = Veil(names, read_key())
        self._tags = [*([STAND_IN] if stand_in else []), *tags]
        self._group = self._veil.text(group)
        self._project = self._veil.text(project)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(30.0 if kind is None else 2.0)

    def logged(self, name: str) -> bool:
        """Whether an earlier run has handed this wandb run over whole, so that a run that goes on need not again."""
        return self.mode == "off" or (self.folder / "logged" / self._id(name)).is_file()

    def job(
        self,
        name: str,
        *,
        config: Mapping[str, Any],
        history: Iterable[Mapping[str, Any]],
        summary: Mapping[str, Any],
        tags: Sequence[str] = (),
    ) -> None:
        """Log a job as a wandb run.

        Args:
            name: the job's id; the same name in the same group is the same wandb run.
            config: settings; nested mappings are kept.
            history: rows of curves; a row's `step` or `epoch`, if it has one, is its place.
            summary: final figures.
            tags: beside the tracker's own.
        """
        self._send(name, config=dict(config), history=list(history), summary=dict(summary), tags=tags)

    def summary(
        self,
        tables: Mapping[str, Sequence[Mapping[str, Any]]],
        *,
        figures: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        report: str | None = None,
    ) -> None:
        """Log tables as the group's last wandb run, named summary, and all of them with the report as its artifact.

        Args:
            tables: name → rows, each with the same columns.
            figures: final figures, for panels that show numbers.
            config: of the whole run.
            tags: beside the tracker's own.
            report: one HTML page that is pseudonymous already; a name that it holds all the same keeps it here.
        """
        if self._closed:
            return
        try:
            known: dict[str, str] = {}

            def veiled(cell: Any) -> Any:
                if not isinstance(cell, str):
                    return self._veil.value(cell)
                if cell not in known:
                    known[cell] = self._veil.text(cell)
                return known[cell]

            made = {}
            for name, rows in tables.items():
                columns = list(dict.fromkeys(key for row in rows for key in row))
                cells = [[veiled(row.get(column)) for column in columns] for row in rows]
                made[veiled(name)] = {"columns": [veiled(column) for column in columns], "data": cells}
        except Exception as error:
            self._fault(f"the summary could not be made: {type(error).__name__}: {error}")
            return
        if report is not None and self._veil.finds(report):
            self._fault("the report names a subject, a seizure or a file of the cohort, and stays here")
            report = None
        self._send(
            "summary",
            config=dict(config or {}),
            history=[],
            summary=dict(figures or {}),
            tags=tags,
            tables=made,
            files={} if report is None else {REPORT: report},
        )

    def close(self, timeout: float = 30.0) -> None:
        """Let wandb finish, for at most `timeout` seconds; then kill it. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        process = self._process
        if process is None:
            return
        self._queue.put(None)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._fault(f"still busy after {timeout:g} s, so ended; {self._missing()}")
            _kill(process)
        except BaseException:
            _kill(process)
            raise
        else:
            self._threads[1].join(1.0)
            if self._logged < self._sent:
                self._fault(self._missing())

    def _missing(self) -> str:
        return f"{self._sent - self._logged} of {self._sent} runs are not logged"

    def _id(self, name: str) -> str:
        """A name for wandb's files and server that says nothing, and is the same when a run goes on."""
        text = "\n".join((self._project, self._group, name))
        return hashlib.sha256(self._veil.key + text.encode()).hexdigest()[:16]

    def _send(
        self,
        name: str,
        *,
        config: dict[str, Any],
        history: list[Mapping[str, Any]],
        summary: dict[str, Any],
        tags: Sequence[str],
        tables: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        if self._closed:
            return
        veil = self._veil
        try:
            if self._stand_in:
                config["stand_in"] = STAND_IN
            shown = f"{STAND_IN} {name}" if self._stand_in else name
            message = {
                "id": self._id(name),
                "name": veil.text(shown)[:128],
                "group": self._group[:128],
                "project": self._project[:128],
                "tags": list(dict.fromkeys(veil.text(tag)[:64] for tag in (*self._tags, *tags))),
                "notes": STAND_IN if self._stand_in else None,
                "config": veil.value(config),
                "history": veil.value(history),
                "summary": veil.value(summary),
                "tables": dict(tables or {}),
                "files": dict(files or {}),
            }
            json.dumps(message)
            if self._process is None:
                self._start()
            self._sent += 1
            self._queue.put(message)
        except Exception as error:
            self._fault(f"{name} is not logged: {type(error).__name__}: {error}")

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        argument = {
            "path": [str(Path(entry).absolute()) for entry in sys.path],
            "folder": str(self.folder),
            "mode": self.mode,
            "parent": os.getpid(),
        }
        environment = {key: text for key, text in os.environ.items() if not key.startswith("WANDB_") or key in _KEPT}
        environment |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(argument)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=True,
        )
        self._threads = tuple(threading.Thread(target=work, daemon=True) for work in (self._feed, self._hear))
        for thread in self._threads:
            thread.start()

    def _feed(self) -> None:
        """Pass messages to the process; this thread may wait for it, the run does not."""
        pipe = self._process.stdin if self._process is not None else None
        if pipe is None:
            return
        with suppress(OSError, ValueError):
            while (message := self._queue.get()) is not None:
                pipe.write(json.dumps(message) + "\n")
                pipe.flush()
        with suppress(OSError, ValueError):
            pipe.close()

    def _hear(self) -> None:
        """Count what was logged, and pass faults on."""
        pipe = self._process.stdout if self._process is not None else None
        if pipe is None:
            return
        with suppress(OSError, ValueError):
            for line in pipe:
                said = json.loads(line)
                if "logged" in said:
                    self._logged += 1
                else:
                    self._fault(said["warning"])
        if not self._closed:
            time.sleep(0.1)
            code = self._process.poll() if self._process is not None else None
            self._fault(f"its process ended with exit code {code}; later jobs are in the run's own files only")

    def _fault(self, line: str) -> None:
        """One line of warning, the first time that it is said."""
        line = f"wandb: {line} (the run goes on without it)"
        if line not in self.warnings:
            self.warnings.append(line)
            self._warn(line)


def _kill(process: subprocess.Popen[str]) -> None:
    """End the process and wandb's service, which has a session of its own and may not listen."""
    services: list[int] = []
    for children in Path("/proc", str(process.pid), "task").glob("*/children"):
        with suppress(OSError):
            services += map(int, children.read_text().split())
    for pid in (process.pid, *services):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
