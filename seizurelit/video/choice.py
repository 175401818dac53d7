"""Which decoder reads which file: by container and codec, in this one place.

Sequential reading is PyAV's for every file: with a bar code in each picture it was exact in every container and codec of
the paper. Access by index is decord's where it is exact. By the same bar codes, asked for in random order, decord 0.6.0
silently gave the wrong picture for, of 48: MP4 and MOV with H.264 in closed groups of pictures 0, AVI with MJPEG 0; but MPG with
MPEG-1 or -2 38, AVI with MPEG-4 and B-pictures 37, ASF with WMV2 or MS-MPEG-4 13, MP4 with MPEG-4 and B-pictures 19, MP4 with
HEVC 17; and, of 70, MP4 with H.264 in open groups 19, with intra refresh 58. tests/video/test_previews.py holds it to this.
"""

from __future__ import annotations

from typing import Literal

Decoder = Literal["pyav", "decord"]

CONTAINERS = {
    "3gp": "mp4",
    "asf": "asf",
    "avi": "avi",
    "dv": "dv",
    "flv": "flv",
    "gxf": "gxf",
    "h264": "h264",
    "hevc": "hevc",
    "m4v": "m4v",
    "matroska": "mkv",
    "mov": "mp4",
    "mpeg": "mpg",
    "mpegts": "ts",
    "mpegvideo": "m1v",
    "mxf": "mxf",
    "nut": "nut",
    "ogg": "ogg",
    "wtv": "wtv",
}
"""First name of FFmpeg's demuxer → ours. Others are not let in: still pictures, playlists that fetch files, text as video."""

ELEMENTARY = frozenset({"dv", "h264", "hevc", "m1v", "m4v"})
"""Streams without a container: they carry no times, and FFmpeg guesses a duration from the bit rate; their pictures are counted."""

NO_PRESENTATION_TIME = frozenset({"avi"})
"""Containers that carry the order of decoding alone, so that the first picture of a stream with B-frames comes late."""

ESTIMATED_DURATION = frozenset({"mpg", "ts"})
"""Containers without a duration: FFmpeg takes the last time stamps of the file, which joined recordings set back."""

FIXED_RATE = frozenset({"mpeg1video", "mpeg2video"})
"""Codecs whose pictures are always equally far apart (ISO/IEC 13818-2, 6.3.3: frame_rate)."""

SEEKABLE = frozenset({"mp4", "mov", "mkv"})
"""Containers whose index gives the presentation time of each key frame, so that reading may begin at the one before a trim."""

_BY_INDEX = frozenset({("mp4", "h264"), ("mov", "h264"), ("avi", "mjpeg")})


def container_name(demuxer: str, brand: str) -> str:
    """Our name of a container.

    Args:
        demuxer: FFmpeg's names of it, separated by commas.
        brand: the major brand of the ISO family, or nothing.
    """
    name = CONTAINERS[demuxer.split(",", maxsplit=1)[0]]
    return "mov" if name == "mp4" and brand.startswith("qt") else name


def by_index(container: str, codec: str) -> Decoder:
    """Who reads single frames; decord's H.264 has also to be in closed groups of pictures (`previews.py` looks).

    Args:
        container: of `Facts`.
        codec: of `Facts`.
    """
    return "decord" if (container, codec) in _BY_INDEX else "pyav"
