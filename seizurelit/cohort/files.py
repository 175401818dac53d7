"""Small files that are whole or absent: written beside, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a killed process, never sees a part of it.

    The bytes go to a hidden file in the same folder, reach the disk, and take the place of `path` in one step.

    Args:
        path: the file; its folder is made if it is not there.
        content: all of its bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The prefix is cut: a name of 100 characters of three bytes each would not leave room for the random part.
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:30]}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            # mkstemp makes 0600; the umask of the process decides, as for any other file.
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
