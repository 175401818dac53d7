"""The process that workers are forked from, as its parent sees it; `fork_server` is what runs in it."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from seizurelit.scheduling.worker import THREADS

_START = """
import json, sys
argument = json.loads(sys.argv[1])
sys.path[:] = argument["path"]
from seizurelit.scheduling.fork_server import main
main(argument["control"], argument["preload"], argument["threads"])
"""


class ForkServer:
    """A process that imports at once what all jobs need.

    Args:
        preload: modules.
        threads: CPU threads of each worker.

    Attributes:
        control: the socket of requests.
    """

    def __init__(self, preload: Sequence[str], threads: int) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argument = {
            "path": [str(Path(entry).absolute()) for entry in sys.path],
            "control": theirs.fileno(),
            "preload": tuple(preload),
            "threads": threads,
        }
        with theirs, tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(argument)],
                env={**os.environ, **dict.fromkeys(THREADS, str(threads))},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def log_to(self, path: Path) -> None:
        """What it has printed and will print, and its workers outside of a job, goes to the end of a file.

        Raises:
            OSError: it is gone.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.control.send(json.dumps({"log": str(path.absolute())}).encode())

    def stop(self) -> None:
        """Kill it; its workers end by themselves."""
        self.control.close()
        self._process.kill()
        self._process.wait()


_ahead: dict[tuple[tuple[str, ...], int], ForkServer] = {}


def start_ahead(preload: Sequence[str], threads: int) -> None:
    """Start a server that `fork_server_for` will be asked for, while this process has imports of its own before it."""
    leave_ahead()
    _ahead[tuple(preload), threads] = ForkServer(preload, threads)


def fork_server_for(preload: Sequence[str], threads: int) -> ForkServer:
    """The server that was started ahead, or a new one."""
    server = _ahead.pop((tuple(preload), threads), None)
    return ForkServer(preload, threads) if server is None else server


@atexit.register
def leave_ahead() -> None:
    """Stop what was started ahead and never asked for."""
    while _ahead:
        _ahead.popitem()[1].stop()
