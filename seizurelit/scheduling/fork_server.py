"""A process that imports once what all jobs need, then forks a worker whenever it is asked to.

`forking` starts it in a session of its own, so that Ctrl-C reaches the parent only. It stays single-threaded and runs no
numerical code, which is what makes forking from it safe. It ends when the parent's end of its socket closes; so do the
workers, each by itself.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from seizurelit.scheduling import stopping
from seizurelit.scheduling.jobs import Report, Task
from seizurelit.scheduling.worker import execute, limit_threads, printing_to


def main(control_fd: int, preload: Sequence[str], threads: int) -> None:
    """Serve requests until the parent is gone.

    A request is one JSON packet: {"fork": number, "device": text or null} with the worker's socket attached, or
    {"bury": number}, which ends that worker's process group and is answered with its wait status as
    {"status": integer or null}, or {"log": path}, to which output goes from then on, after what there was before.

    Args:
        control_fd: a SOCK_SEQPACKET socket whose other end only the parent holds.
        preload: modules to import before the first fork; one that fails is left to the jobs that need it.
        threads: CPU threads of each worker.
    """
    os.set_inheritable(control_fd, False)
    control = socket.socket(fileno=control_fd)
    for module in preload:
        try:
            importlib.import_module(module)
        except Exception:
            traceback.print_exc()
    pids: dict[int, int] = {}
    while True:
        message, fds, _, _ = socket.recv_fds(control, 65536, 1)
        if not message:
            return
        request = json.loads(message)
        if "fork" in request:
            pid = os.fork()
            if pid == 0:
                control.close()
                _worker(fds[0], request["device"], threads)
            os.close(fds[0])
            pids[request["fork"]] = pid
        elif "log" in request:
            with suppress(OSError):  # a disk that is full costs the log alone
                _log_to(request["log"])
        else:
            dead = pids.pop(request["bury"], None)
            status = None
            if dead is not None:
                for kill in (os.killpg, os.kill):  # the group first; it may not exist yet, or no longer
                    with suppress(ProcessLookupError):
                        kill(dead, signal.SIGKILL)
                status = os.waitpid(dead, 0)[1]
            control.send(json.dumps({"status": status}).encode())


def _log_to(path: str) -> None:
    """Move what standard output and error, one file, hold to the end of another, and both to there."""
    with Path(path).open("ab") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.lseek(1, 0, os.SEEK_SET)
        with open(1, "rb", closefd=False) as before:
            shutil.copyfileobj(before, log)
        log.flush()
        for fd in (1, 2):
            os.dup2(log.fileno(), fd)


def _worker(fd: int, device: str | None, threads: int) -> None:
    """Run tasks that come through the socket `fd`, until it closes; never returns."""
    try:
        os.setpgid(0, 0)
        os.set_inheritable(fd, False)
        os.register_at_fork(after_in_child=_closer(fd))  # else a job's own child would keep a dead worker's socket open
        os.environ["CUDA_VISIBLE_DEVICES"] = device or ""  # else torch looks for a driver at every step
        limit_threads(threads)
        signal.signal(signal.SIGTERM, lambda *_: stopping.request())
        faulthandler.enable()
        connection = Connection(fd)
        tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
        while True:
            task = tasks.get()
            connection.send(Report(task.job.id, "started", pid=os.getpid(), device=device))
            with printing_to(task.log):
                report = execute(task, device)
            connection.send(report)
            if stopping.requested():
                return
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0 if stopping.requested() else 1)


def _closer(fd: int) -> Callable[[], None]:
    def close() -> None:
        with suppress(OSError):
            os.close(fd)

    return close


def _listen(connection: Connection[Report, Task | None], tasks: queue.SimpleQueue[Task]) -> None:
    """Pass tasks on, and None as the request to stop; when the parent is gone, end this worker and whatever it started, at once."""
    try:
        while True:
            task = connection.recv()
            if task is None:
                stopping.request()
            else:
                tasks.put(task)
    except BaseException as error:
        if not isinstance(error, (EOFError, OSError)):  # a task that cannot be unpickled here
            traceback.print_exc()
        os.killpg(0, signal.SIGKILL)
