"""How busy a CUDA device is while a job runs on it, by the tool that comes with its driver."""

from __future__ import annotations

import shutil
import subprocess
import threading
from statistics import fmean
from types import TracebackType

EVERY = 5.0
"""Seconds between two looks; the first comes this long after the job began, when it is no longer getting ready."""


class DeviceUse:
    """Looks at a device from time to time, from a thread; to be used with `with`.

    Args:
        device: as CUDA_VISIBLE_DEVICES names one; None for no device, or for several, looks at nothing.
        every: seconds between two looks.

    Attributes:
        percent: of the time in which the device was busy, on average over all looks; with whatever else runs on it. None where
            nothing could be seen: no device, no nvidia-smi, a job that ended before the first look.
    """

    def __init__(self, device: str | None, every: float = EVERY) -> None:
        self._device = device
        self._every = every
        self._seen: list[float] = []
        self._over = threading.Event()

    @property
    def percent(self) -> float | None:
        """The average so far."""
        return round(fmean(self._seen), 1) if self._seen else None

    def __enter__(self) -> DeviceUse:
        tool = shutil.which("nvidia-smi")
        if tool is not None and self._device is not None and "," not in self._device:
            command = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--id={self._device}"]
            threading.Thread(target=self._look, args=(command,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _look(self, command: list[str]) -> None:
        while not self._over.wait(self._every):
            try:
                done = subprocess.run(command, capture_output=True, check=True, timeout=10, stdin=subprocess.DEVNULL)
                self._seen.append(float(done.stdout))
            except (OSError, subprocess.SubprocessError, ValueError):  # a slice of a device has no such figure
                return
