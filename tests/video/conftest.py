"""Videos whose every picture carries its number as a bar code, written by FFmpeg's own encoders."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from seizurelit.video.reading import Clip, Frame, Loss, open_video

PAL = Fraction(25)
NTSC = Fraction(30000, 1001)
BITS, COLUMNS = 12, 6  # 12 blocks and, below them, their complements: a mixture of two pictures has no complement
FORMATS = {
    ".mpg": "vob",
    ".mp4": "mp4",
    ".mov": "mov",
    ".avi": "avi",
    ".asf": "asf",
    ".mkv": "matroska",
    ".ts": "mpegts",
}


@dataclass(frozen=True)
class Recording:
    """A video that was written: its file, and when each of its pictures is to be seen, from the first."""

    path: Path
    times: tuple[Fraction, ...]
    rate: Fraction

    @property
    def duration(self) -> Fraction:
        return self.times[-1] + 1 / self.rate

    def number_at(self, time: Fraction) -> int:
        """The rule, said once more: the last picture whose time is not after this one."""
        return max(index for index, other in enumerate(self.times) if other <= time)


class Bars:
    """Draws, reads and writes bar codes."""

    pal, ntsc = PAL, NTSC

    @staticmethod
    def luma(number: int, width: int, height: int) -> np.ndarray:
        """(H, W) of a picture."""
        rows = np.linspace(0, height, 5).astype(int)
        columns = np.linspace(0, width, COLUMNS + 1).astype(int)
        image = np.empty((height, width), np.uint8)
        for row, column in itertools.product(range(4), range(COLUMNS)):
            bit = number >> (row % 2 * COLUMNS + column) & 1
            value = 235 if bit != row // 2 else 16
            image[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = value
        return image

    @staticmethod
    def number(image: np.ndarray) -> int:
        """The number in an image; -1 if it is not legible, or two pictures are mixed."""
        height, width = image.shape[:2]
        number = 0
        for bit in range(BITS):
            row, column = divmod(bit, COLUMNS)
            x = slice(int((column + 0.35) * width / COLUMNS), int((column + 0.65) * width / COLUMNS))
            one, other = (
                image[int((r + 0.35) * height / 4) : int((r + 0.65) * height / 4), x].mean() for r in (row, row + 2)
            )
            if abs(one - other) < 150:
                return -1
            number |= int(one > other) << bit
        return number

    @classmethod
    def frame(cls, number: int, size: tuple[int, int], pixels: str) -> av.VideoFrame:
        width, height = size
        luma = cls.luma(number, width, height)
        if width % 2 or height % 2:
            return av.VideoFrame.from_ndarray(np.repeat(luma[..., None], 3, axis=2), "rgb24").reformat(format=pixels)
        chroma = np.full((height // 2, width), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), "yuv420p")
        return frame if pixels == "yuv420p" else frame.reformat(format=pixels)

    @classmethod
    def write(
        cls,
        path: Path,
        codec: str,
        *,
        size: tuple[int, int] = (352, 288),
        rate: Fraction = PAL,
        frames: int = 48,
        times: Sequence[float] | None = None,
        offset: float = 0,
        b_frames: int = 2,
        gop: int = 12,
        aspect: Fraction | None = None,
        pixels: str = "yuv420p",
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> Recording:
        """Write a video; `times` in seconds where its rate varies, `offset` of all times from the file's zero."""
        milliseconds = times is not None or bool(offset)
        intra = codec in ("mjpeg", "wmv2", "msmpeg4v3")
        given = {"preset": "superfast"} if codec == "libx264" else {}
        with av.open(path, "w", format=FORMATS[path.suffix], options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=rate, options={**given, **(options or {})})
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else pixels
            context = stream.codec_context
            context.max_b_frames = 0 if intra else b_frames
            context.gop_size = gop
            context.bit_rate = 4_000_000
            if aspect is not None:
                context.sample_aspect_ratio = aspect
            base = Fraction(1, 1000) if milliseconds else 1 / rate
            if milliseconds:
                context.time_base = base
            stamps = (
                [Fraction(round(1000 * time), 1000) for time in times] if times else [n / rate for n in range(frames)]
            )
            for number, time in enumerate(stamps):
                frame = cls.frame(number, size, stream.pix_fmt)
                frame.pts, frame.time_base = round((time + Fraction(offset)) / base), base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        if path.suffix in (".asf", ".mkv") or milliseconds:  # their clocks tick in milliseconds
            stamps = [Fraction(math.floor(1000 * time + Fraction(1, 2)), 1000) for time in stamps]
        return Recording(path, tuple(stamps), rate)

    @classmethod
    def check(cls, recording: Recording, start: float = 0, end: float | None = None, fps: float = 25) -> Loss:
        """Read a whole clip and compare each frame with what the rule wants."""
        clip = open_video(recording.path).clip(start, end, fps)
        begin, step = Fraction(str(start)), 1 / Fraction(str(fps))
        until = min(recording.duration, Fraction(str(end)) if end is not None else recording.duration)
        wanted = [recording.number_at(begin + index * step) for index in range(math.ceil((until - begin) / step))]
        found = []
        for index, frame in enumerate(clip):
            assert frame.index == index
            found.append(cls.number(frame.image))
            exact = recording.times[wanted[index]] - begin
            assert frame.time == pytest.approx(float(exact), abs=1e-6)
            assert frame.repeated == (index > 0 and wanted[index] == wanted[index - 1])
        assert found == wanted
        loss = clip.loss
        assert loss.yielded == len(wanted)
        assert loss.repeated == len(wanted) - len(set(wanted))
        return loss

    @classmethod
    def numbers(cls, frames: Iterable[Frame]) -> list[int]:
        return [cls.number(frame.image) for frame in frames]

    @classmethod
    def read(cls, path: Path, **clip: Any) -> tuple[list[Frame], Clip]:
        made = open_video(path).clip(**clip)
        return list(made), made

    @staticmethod
    def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
        """Set the display matrix (a, b, c, d) of an MP4's track, as phones do."""
        content = bytearray(path.read_bytes())
        at = content.index(b"tkhd") + 4 + 40  # version 0: flags, dates, identifiers, layer, volume
        a, b, c, d = (value << 16 for value in matrix)
        content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(content)


@pytest.fixture(scope="session")
def bars() -> type[Bars]:
    return Bars
