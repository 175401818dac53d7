"""How long an ASF file says that it is, also where it is cut short and FFmpeg therefore says nothing."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_HEADER = 65536  # bytes in which the object lies


def promised_duration(path: Path) -> Fraction | None:
    """Play duration less preroll, in seconds (ASF specification 1.20, 3.2, File Properties Object).

    Args:
        path: an ASF file.

    Returns:
        None if the header does not say, as in a broadcast or a recording that was not closed.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
    at = header.find(_FILE_PROPERTIES)
    # Identifier, size, identifier of the file, its size, date, packets: 64 bytes; then the times and the flags.
    if at < 0 or len(header) < at + 92:
        return None
    play, _send, preroll, flags = struct.unpack_from("<QQQI", header, at + 64)
    duration = Fraction(play, 10_000_000) - Fraction(preroll, 1000)
    return None if flags & 1 or duration <= 0 else duration
