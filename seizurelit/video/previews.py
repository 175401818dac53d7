"""Single frames of the timeline, for pages and overlays: by decord's index where that is exact, else in sequence."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from seizurelit.errors import InputError
from seizurelit.video.choice import by_index
from seizurelit.video.decoding import Image, open_container, ticks
from seizurelit.video.reading import Clip, Video, open_video

_IDR = 5  # Rec. ITU-T H.264, table 7-1: a picture that no later one looks behind
_CLOSE = 1e-3  # seconds


def preview_frames(
    path: Path,
    indices: Sequence[int],
    start: float | None = None,
    end: float | None = None,
    *,
    damaged: bool = False,
) -> list[Image]:
    """The images that `Video.clip(start, end)` gives at these indices of the timeline at 25 fps.

    Args:
        path: the video.
        indices: of `Frame.index`, in any order, also twice.
        start: of the clip, in seconds after the first frame.
        end: likewise.
        damaged: whether faults are known of the file: decord shows pictures that the sequence leaves out.

    Returns:
        (H, W, 3), uint8, RGB, one for each index.

    Raises:
        InputError: if the file is no video, or an index lies outside the clip.
    """
    video = open_video(path)
    clip = video.clip(start, end)
    images = None if damaged else _by_index(video, clip, set(indices))
    if images is None:
        images = _in_sequence(clip, set(indices))
    missing = sorted(set(indices) - set(images))
    if missing:
        msg = (
            f"{path}: has no frame {missing[0]} between start and end; the first is 0, the last {clip.loss.yielded - 1}"
        )
        raise InputError(msg)
    return [images[index] for index in indices]


def _in_sequence(clip: Clip, wanted: set[int]) -> dict[int, Image]:
    images = {}
    for frame in clip:
        if frame.index in wanted:
            images[frame.index] = frame.image
            if len(images) == len(wanted):
                break
    clip.close()
    return images


def _by_index(video: Video, clip: Clip, wanted: set[int]) -> dict[int, Image] | None:
    """As `_in_sequence`; None where that is the way to be exact."""
    facts = video.facts
    if by_index(facts.container, facts.codec) == "pyav" or facts.interlaced or facts.rotation or not wanted:
        return None
    times = _times(video)
    asked = {index: clip.time(index) for index in wanted}
    if times is None or min(wanted) < 0 or not all(clip.holds(time) and time <= times[-1] for time in asked.values()):
        return None
    import decord  # noqa: PLC0415 - only where it is exact

    decord.logging.set_level(decord.logging.QUIET)  # what FFmpeg says of a damaged picture is no line for the user
    try:
        reader = decord.VideoReader(str(video.path), num_threads=1)
        if len(reader) != len(times):
            return None
        own = reader.get_frame_timestamp(range(len(times)))[:, 0]
        if np.abs(own - own[0] - np.array([float(time) for time in times])).max() > _CLOSE:
            return None
        images = {
            index: np.asarray(reader[bisect.bisect_right(times, time) - 1].asnumpy()) for index, time in asked.items()
        }
    except decord.DECORDError:
        return None
    # Pixels that are not square are scaled by the sequential reader alone.
    return images if all(image.shape[:2] == (facts.height, facts.width) for image in images.values()) else None


def _times(video: Video) -> list[Fraction] | None:
    """Time of each picture from the first, without decoding; None if one has none, or H.264 looks behind a key frame."""
    stamps = []
    with open_container(video.path) as container:
        stream = container.streams.video[0]
        base = ticks(stream)
        prefix = (
            (stream.codec_context.extradata or bytes(5))[4] & 3
        ) + 1  # bytes of a length, ISO/IEC 14496-15, 5.3.3.1
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    return None
                if packet.is_keyframe and video.facts.codec == "h264" and not _looks_ahead_only(bytes(packet), prefix):
                    return None
                stamps.append(packet.pts)
        except av.FFmpegError:
            return None
    return [stamp * base - video.first for stamp in sorted(stamps)]


def _looks_ahead_only(packet: bytes, prefix: int) -> bool:
    """Whether a key frame in an MP4 packet is an IDR picture, and no recovery point in an open group of pictures."""
    at = 0
    while at + prefix < len(packet):
        if packet[at + prefix] & 31 == _IDR:
            return True
        at += prefix + int.from_bytes(packet[at : at + prefix])
    return False
