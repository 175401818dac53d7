"""What reading a video costs: frames a second of a 360p clip, decoded, converted to RGB and placed on the timeline."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from seizurelit.video.reading import open_video

FRAMES = 250


def write_clip(path: Path) -> Path:
    """10 s of 640×360 H.264 at 25 fps with B-frames: a texture that drifts under noise, for a decoder to work on."""
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(40, 215, (60, 100)), np.ones((8, 8))).astype(np.uint8)
    noise = rng.integers(0, 16, (360, 640), dtype=np.uint8)
    chroma = np.full((180, 640), 128, np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index in range(FRAMES):
            down, right = index % 100, int(70 + 60 * np.sin(index / 9))
            luma = texture[down : down + 360, right : right + 640] + np.roll(noise, 977 * index)
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode(path: Path) -> int:
    """PyAV's bare loop on one thread: the least that reading can cost."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def read(path: Path) -> int:
    """What extraction does: RGB frames of the timeline."""
    return sum(frame.image.shape[2] == 3 for frame in open_video(path).clip())


def decoding_rate(path: Path, *, cpu: bool = False) -> float:
    """Frames a second of `read` on one thread.

    Args:
        path: the video.
        cpu: by the processor's time and not the clock's, which others on the machine stretch.
    """
    clock = time.process_time if cpu else time.perf_counter
    start = clock()
    count = read(path)
    return count / (clock() - start)
