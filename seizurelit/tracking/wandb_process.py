"""The process that talks to wandb: reads veiled messages, one JSON line each, and logs each as a wandb run.

Kept to itself because wandb's start takes seconds, its service can hang, and its settings gather whatever they find.
Once imported here, a run costs some hundredths of a second.
"""

from __future__ import annotations

import csv
import io
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

# After the parent is gone, what is in the queue is still logged, for at most so many seconds.
AFTERWARDS = 5.0


def main(argument: Mapping[str, Any]) -> None:
    """Log what comes on standard input until it ends; say on standard output what was logged and what went wrong.

    Args:
        argument: `folder` for wandb's files, `mode` (offline or online), process id of the `parent`.
    """
    with suppress(OSError):
        os.nice(10)  # the jobs go first
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever wandb prints is no message of ours

    def say(kind: str, text: str) -> None:
        with suppress(OSError, ValueError):
            said.write(json.dumps({kind: text}) + "\n")
            said.flush()

    messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(messages, argument["parent"]), daemon=True).start()
    folder = Path(argument["folder"])
    os.chdir(folder.parent)  # what wandb notes of files is relative to where it is, and says nothing then
    # wandb's own caches, logs and unfinished uploads go where they are deleted with this process.
    with tempfile.TemporaryDirectory(prefix="seizurelit-wandb-", ignore_cleanup_errors=True) as private:
        names = ("CACHE", "DATA", "ARTIFACT", *(("CONFIG",) if argument["mode"] == "offline" else ()))
        os.environ.update({f"WANDB_{name}_DIR": str(Path(private, name.lower())) for name in names})
        while (message := messages.get()) is not None:
            try:
                _log(message, folder, argument["mode"])
            except (Exception, SystemExit) as error:
                lines = str(error).splitlines() or [""]
                say("warning", f"{type(error).__name__}: {lines[0]}")
            else:
                say("logged", message["id"])
        with suppress(Exception):
            import wandb  # noqa: PLC0415

            wandb.teardown()


def _read(messages: queue.SimpleQueue[dict[str, Any] | None], parent: int) -> None:
    """Queue messages; when the parent is gone, leave some time for what is queued, then end everything."""
    with suppress(OSError, ValueError):
        for line in sys.stdin:
            messages.put(json.loads(line))
    messages.put(None)
    while os.getppid() == parent:  # it waits for us, and ends us when it has waited enough
        time.sleep(0.5)
    time.sleep(AFTERWARDS)
    os.killpg(0, signal.SIGKILL)


def _log(message: Mapping[str, Any], folder: Path, mode: str) -> None:
    """Make one wandb run, whole or not at all."""
    import wandb  # noqa: PLC0415 -- seconds, and only here

    logged = folder / "logged" / message["id"]
    logged.unlink(missing_ok=True)
    for stale in folder.glob(f"*-{message['id']}"):
        shutil.rmtree(stale, ignore_errors=True)
    run = wandb.init(
        project=message["project"],
        group=message["group"],
        name=message["name"],
        id=message["id"],
        tags=message["tags"],
        notes=message["notes"],
        config=message["config"],
        dir=".",
        settings=wandb.Settings(**{**_SETTINGS, "mode": mode}),
    )
    try:
        for row in message["history"]:
            place = row.get("step", row.get("epoch"))
            run.log(row, step=int(place) if place is not None else None)
        run.summary.update(message["summary"])
        for name, part in message["tables"].items():
            table = wandb.Table(columns=part["columns"], data=part["data"], allow_mixed_types=True)
            # Bound beforehand: `log` alone would put a copy under an absolute path, and write that path down.
            table.bind_to_run(run, name, run.step)  # type: ignore[no-untyped-call]
            run.log({name: table})
        texts = {f"{name}.csv": _csv(part) for name, part in message["tables"].items()} | message["files"]
        if texts:
            run.log_artifact(_artifact(Path(folder.name, "artifacts", message["id"]), texts))
    finally:
        run.finish()
    for local in folder.glob(f"*-{message['id']}"):
        for name in ("logs", "tmp"):  # paths, host and user stand in the debug logs
            shutil.rmtree(local / name, ignore_errors=True)
        (local / "files" / "requirements.txt").unlink(missing_ok=True)
    logged.parent.mkdir(parents=True, exist_ok=True)
    logged.touch()


def _artifact(place: Path, texts: Mapping[str, str]) -> Any:
    """The texts as files of a folder, a path from here: a `wandb sync` that is called from here finds them later."""
    import wandb  # noqa: PLC0415

    artifact = wandb.Artifact(f"summary-{place.name}", type="summary")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for file, text in texts.items():
        (place / file).write_text(text, encoding="utf-8")
        artifact.add_file(str(place / file), policy="immutable", skip_cache=True)  # a copy would have an absolute path
    return artifact


def _csv(part: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(part["columns"])
    writer.writerows(part["data"])
    return text.getvalue()


_SETTINGS: dict[str, Any] = {
    "silent": True,
    "quiet": True,
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "host": "withheld",
    "username": "withheld",
    "program": "seizurelit",
    "program_relpath": "seizurelit",
    "symlink": False,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_executable": "withheld",
    "x_save_requirements": False,
}
