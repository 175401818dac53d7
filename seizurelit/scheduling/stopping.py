"""Being told to stop, and saving first: a job that can go on later asks `requested()` at the end of each of its epochs.

SIGTERM (pre-emption) or Ctrl-C sets the request; the job saves where it is and raises `Stopped`. The second signal ends at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_request = threading.Event()
_resumable = threading.Event()


class Stopped(BaseException):
    """A job has saved where it is, as it was asked to; the next attempt goes on from there."""


def requested() -> bool:
    """Whether this process has been asked to stop."""
    return _request.is_set()


def request() -> None:
    """Ask this process to stop."""
    _request.set()


def forget() -> None:
    """Take the request back: what was asked has been done."""
    _request.clear()


@contextmanager
def resumable() -> Iterator[None]:
    """While this lasts, the process runs a job that answers a request."""
    _resumable.set()
    try:
        yield
    finally:
        _resumable.clear()


def on_signal(signum: int, frame: FrameType | None) -> None:
    """A signal handler: ask a job in this process that can save, otherwise raise KeyboardInterrupt."""
    del signum, frame
    if _resumable.is_set() and not _request.is_set():
        _request.set()
        with suppress(OSError):
            os.write(2, b"stopping at the end of the epoch; the same signal again ends at once\n")
        return
    raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[None]:
    """Let SIGTERM, and Ctrl-C where it is not ignored, be answered by `on_signal`; in the main thread only."""
    _request.clear()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        _request.clear()
