"""A video file as RGB frames on a regular timeline, by exact presentation time, with what is missing counted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from seizurelit.errors import InputError
from seizurelit.video.asf import promised_duration
from seizurelit.video.choice import ELEMENTARY, ESTIMATED_DURATION, NO_PRESENTATION_TIME, container_name
from seizurelit.video.decoding import SLACK, Facts, Image, Picture, Source, exact, open_container, ticks, video_stream

__all__ = ["Clip", "Facts", "Frame", "Image", "Loss", "Video", "open_video", "source_digest"]

_FEW = 2  # frames of the timeline: so many may be missing without being called a gap or an early end


@dataclass(frozen=True)
class Frame:
    """One point of the timeline.

    Attributes:
        index: k, from 0.
        time: presentation time of the picture, in seconds from the start of the clip; below 0 for the first ones if the
            clip starts between two pictures.
        image: (H, W, 3), uint8, RGB; where repeated, the very array of the frame before: copy it before drawing into it.
        repeated: whether it is the picture of the frame before.
    """

    index: int
    time: float
    image: Image
    repeated: bool


@dataclass(frozen=True)
class Loss:
    """What of a clip's timeline is there.

    Attributes:
        expected: frames from the start to the end of the trim, or of the video by its header.
        yielded: frames so far.
        repeated: of these, those that show the picture of the frame before.
        gaps: (first, last) frames of each stretch without a new picture, where two pictures are further apart than two
            frames of the timeline, or of the video if it has fewer a second.
        ended_early: more than two frames are missing at the end.
        faults: what went wrong in decoding, a line each.
    """

    expected: int
    yielded: int
    repeated: int
    gaps: tuple[tuple[int, int], ...]
    ended_early: bool
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Video:
    """A file that was found to be a video. It is not held open.

    Attributes:
        path: the file.
        facts: what it says of itself.
        first: presentation time of the first frame on the file's own clock, in seconds.
    """

    path: Path
    facts: Facts
    first: Fraction

    def clip(self, start: float | None = None, end: float | None = None, fps: float = 25.0) -> Clip:
        """A part of the video.

        Args:
            start: seconds after the first frame; None for 0.
            end: likewise, exclusive; None for the end of the video.
            fps: of the timeline.

        Raises:
            InputError: if nothing of the video lies between start and end; where only the pictures know how long the
                video is, iteration raises it.
        """
        if not all(math.isfinite(number) for number in (start or 0, end or 0, fps)) or fps <= 0:
            msg = f"{self.path}: start {start}, end {end} at {fps} frames a second; give numbers, and a rate above 0"
            raise InputError(msg)
        begin, stop = exact(start or 0), None if end is None else exact(end)
        if begin < 0:
            msg = f"{self.path}: start {start:g} s is below 0; times count from the first frame"
            raise InputError(msg)
        if stop is not None and stop <= begin:
            msg = f"{self.path}: nothing lies between start {start or 0:g} s and end {end:g} s; correct one of them"
            raise InputError(msg)
        duration = self.facts.duration_s
        if duration is not None and self.facts.container not in ESTIMATED_DURATION and begin >= duration + SLACK:
            raise _past_the_end(self.path, begin, duration)
        return Clip(self, begin, stop, Fraction(fps).limit_denominator(1001))


class Clip:
    """Frames of a part of a video, on a regular timeline.

    Frame k is the last picture whose presentation time is not after start + k/fps, exactly: times are fractions. Iterating
    decodes in sequence and holds a few pictures, whatever the length; iterating again starts anew.

    Args:
        video: the file; use `Video.clip`.
        start: seconds after the first frame.
        end: likewise; None for the end of the video.
        fps: of the timeline.
    """

    def __init__(self, video: Video, start: Fraction, end: Fraction | None, fps: Fraction) -> None:
        self._video = video
        self._start, self._end, self._fps = start, end, fps
        self._period = max(1 / fps, 1 / exact(video.facts.rate))
        self._source: Source | None = None
        self._begin()

    def _begin(self) -> None:
        self.close()
        self._yielded = self._repeated = 0
        self._gaps: list[tuple[int, int]] = []
        self._ended_at: Fraction | None = None
        self._faults: tuple[str, ...] = ()

    def time(self, index: int) -> Fraction:
        """Where a frame stands, in seconds after the first picture of the video."""
        return self._start + index / self._fps

    def holds(self, time: Fraction) -> bool:
        """Whether a time lies before the end of the trim, if there is one."""
        return self._end is None or time < self._end

    def __iter__(self) -> Iterator[Frame]:
        """Decode.

        Raises:
            InputError: if the video ends before the start of the clip.
        """
        self._begin()
        source = self._source = Source(self._video.path, self._video.facts, self._video.first, self._start)
        try:
            yield from self._timeline(source)
        finally:
            if self._source is source:
                self.close()
        if not self._yielded:
            raise _past_the_end(self._video.path, self._start, float(self._ended_at or 0))

    def _timeline(self, source: Source) -> Iterator[Frame]:
        shown: Picture | None = None
        for coming in source:
            if shown is not None:
                yield from self._frames(source, shown, coming.time)
                if not self.holds(self.time(self._yielded)):
                    return
            shown = coming
        self._ended_at = Fraction(0) if shown is None else shown.time + shown.duration
        if shown is not None:
            yield from self._frames(source, shown, self._ended_at)

    def _frames(self, source: Source, picture: Picture, until: Fraction) -> Iterator[Frame]:
        """The frames that show a picture, up to the time of the next."""
        image: Image | None = None
        stale: int | None = None
        while (time := self.time(self._yielded)) < until and self.holds(time):
            repeated = image is not None
            if image is None:
                image = source.rgb(picture.frame)
            if stale is None and time - picture.time >= self._period:
                stale = self._yielded
            frame = Frame(self._yielded, float(picture.time - self._start), image, repeated)
            self._yielded += 1
            self._repeated += repeated
            yield frame
        if stale is not None and until - picture.time > _FEW * self._period:
            self._gaps.append((stale, self._yielded - 1))

    @property
    def loss(self) -> Loss:
        """What is there of the timeline; during iteration, so far."""
        duration = self._video.facts.duration_s
        end = self._end if self._end is not None else None if duration is None else exact(duration)
        expected = self._yielded if end is None else max(math.ceil((end - self._start) * self._fps), self._yielded)
        early = self._ended_at is not None and expected - self._yielded > _FEW
        faults = self._faults if self._source is None else self._source.faults()
        if early:
            who = "its header" if self._end is None else "the trim"
            ended, said = float(self._ended_at or 0), float(end or 0)
            faults += (f"the video ends at {ended:.2f} s, where {who} goes on to {said:.2f} s",)
        return Loss(expected, self._yielded, self._repeated, tuple(self._gaps), early, faults)

    def close(self) -> None:
        """Close the file, if iteration was left half-way."""
        if self._source is not None:
            self._faults = self._source.faults()
            self._source.close()
            self._source = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_video(path: Path) -> Video:
    """Look at a file as far as its first frame.

    Raises:
        InputError: no such file, unreadable, empty, no video, sound alone, or not one frame that can be decoded.
    """
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        msg = f"{path}: no such file; correct the path"
        raise InputError(msg) from None
    except IsADirectoryError:
        msg = f"{path}: is a folder; give a video file"
        raise InputError(msg) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if empty:
        msg = f"{path}: is empty; copy the file again"
        raise InputError(msg)
    with open_container(path) as container:
        return _look(path, container)


def _look(path: Path, container: InputContainer) -> Video:
    stream = video_stream(path, container)
    frame = _first_frame(container, stream)
    if frame is None:
        msg = f"{path}: not one of its pictures can be decoded ({stream.codec_context.name}); copy the file again"
        raise InputError(msg)
    name = container_name(container.format.name, container.metadata.get("major_brand", ""))
    rate = stream.guessed_rate or stream.average_rate or Fraction(25)
    first = Fraction(0) if frame.pts is None else frame.pts * ticks(stream)
    rotation = round(frame.rotation / 90) * 90 % 360
    width, height = _square(frame, stream.sample_aspect_ratio)
    if rotation in (90, 270):
        width, height = height, width
    duration = _duration(path, container, stream, name, first)
    facts = Facts(
        container=name,
        codec=stream.codec_context.name,
        width=width,
        height=height,
        rate=float(rate),
        duration_s=float(duration) if duration is not None and duration > 0 else None,
        interlaced=frame.interlaced_frame,
        rotation=rotation,
    )
    return Video(path, facts, first)


def _duration(
    path: Path, container: InputContainer, stream: VideoStream, name: str, first: Fraction
) -> Fraction | None:
    """Seconds from the first picture, whose time on the file's clock is given, to the end of the last."""
    if name in ELEMENTARY:
        return None
    if name == "asf":
        return promised_duration(path)
    if stream.duration is None:
        if not container.duration:
            return None
        begin = first if container.start_time is None else Fraction(container.start_time, av.time_base)
        return Fraction(container.duration, av.time_base) - (first - begin)
    duration = stream.duration * ticks(stream)
    if (
        name in NO_PRESENTATION_TIME
    ):  # the number of pictures is what the header promises, even if the file is cut short
        return max(duration, stream.frames / (stream.average_rate or Fraction(25)))
    begin = first if stream.start_time is None else stream.start_time * ticks(stream)
    return duration - (first - begin)


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    try:
        for packet in container.demux(stream):
            try:
                frames = stream.codec_context.decode(packet)
            except av.FFmpegError:
                continue
            for frame in frames:
                if not frame.is_corrupt:
                    return frame
    except av.FFmpegError:
        return None
    return None


def _square(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """(width, height) in square pixels; the height stays."""
    if not aspect or not Fraction(1, 4) <= aspect <= 4:  # beyond, it is a slip of the header
        return frame.width, frame.height
    return round(frame.width * aspect), frame.height


def _past_the_end(path: Path, start: Fraction, duration: float) -> InputError:
    return InputError(
        f"{path}: start {float(start):g} s is past the end of the video at {duration:.2f} s; correct start"
    )


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read ({error.strerror}); check the path and who may read it")


def source_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None
