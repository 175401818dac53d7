"""A file's pictures in the order of presentation, each with its exact time: decoded, repaired and deinterlaced by FFmpeg."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from seizurelit.errors import InputError
from seizurelit.video.choice import CONTAINERS, ELEMENTARY, FIXED_RATE, NO_PRESENTATION_TIME, SEEKABLE

Image = npt.NDArray[np.uint8]
"""(H, W, 3), RGB."""

SLACK = 1
"""Seconds by which a header may be wrong about the duration."""

_JUMP = 10  # seconds: a longer way ahead, to behind the end of the video, is a broken time stamp
_LONGEST_PAUSE = 3600  # seconds; the same where no header gives the duration
_PAL = Fraction(1, 25)
_MISSED = Fraction(5, 2)  # distances between pictures: one and a half can be a repeated field, more is a loss
_MOST_LATE = 4  # pictures in a row that may come late; more are a clock that was set back
_MOST_HELD = 8  # pictures
_MOST_UNREADABLE = 100
_AVI_CHUNK_HEADER = 8  # bytes; the index points before it, a packet behind it


@dataclass(frozen=True)
class Facts:
    """What a file says of itself, or its first frame.

    Attributes:
        container: such as mp4, mov, avi, asf, mpg.
        codec: FFmpeg's name, such as h264, mpeg2video, mpeg4, wmv2.
        width: of the frames that are yielded, in square pixels, after rotation.
        height: likewise.
        rate: nominal frames a second.
        duration_s: from the first frame to the end of the last; None where the file does not say.
        interlaced: whether the first frame is; such frames are deinterlaced.
        rotation: degrees by which the pictures are turned counter-clockwise for viewing: 0, 90, 180 or 270.
    """

    container: str
    codec: str
    width: int
    height: int
    rate: float
    duration_s: float | None
    interlaced: bool
    rotation: int


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        time: of presentation, in seconds from the first picture of the video.
        duration: seconds.
        frame: the pixels, as they were coded.
    """

    time: Fraction
    duration: Fraction
    frame: VideoFrame


@dataclass
class _Faults:
    """Counts, and the time of the first of each kind in seconds."""

    counts: dict[str, tuple[int, float]] = field(default_factory=dict)

    def add(self, kind: str, time: Fraction) -> None:
        count, first = self.counts.get(kind, (0, float(time)))
        self.counts[kind] = (count + 1, first)


class Source:
    """An open file whose pictures can be gone through once.

    Args:
        path: the file.
        facts: of it.
        first: time of its first picture on its own clock, in seconds.
        start: pictures before the one that is shown at this time, in seconds after the first, are not needed.
    """

    def __init__(self, path: Path, facts: Facts, first: Fraction, start: Fraction) -> None:
        self._path, self._facts, self._first, self._start = path, facts, first, start
        self._nominal = 1 / exact(facts.rate)
        self._duration = None if facts.duration_s is None else exact(facts.duration_s)
        self._reformatter = VideoReformatter()
        self._open()

    def _open(self) -> None:
        self._faults = _Faults()
        self._last = Fraction(0)
        self._container = open_container(self._path)
        self._stream = video_stream(self._path, self._container)
        self._base = ticks(self._stream)
        # AVI has no times, only the order of its pictures; its index still knows it where a part of the file is lost.
        entries = self._stream.index_entries if self._facts.container in NO_PRESENTATION_TIME else ()
        full = (entry for entry in entries if entry.size)
        self._index = {entry.pos + _AVI_CHUNK_HEADER: (rank, entry.timestamp) for rank, entry in enumerate(full)}
        # Xvid may put a B-picture into the chunk of the reference before it, and an empty one into its place.
        xvid = self._facts.container == "avi" and self._facts.codec == "mpeg4"
        self._unpack = BitStreamFilterContext("mpeg4_unpack_bframes", self._stream) if xvid else None
        self._packed = False

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def faults(self) -> tuple[str, ...]:
        """What went wrong so far."""
        counts = self._faults.counts.items()
        return tuple(f"{count} × {kind}, first near {time:.2f} s" for kind, (count, time) in counts)

    def __iter__(self) -> Iterator[Picture]:
        """From the picture that is shown at the start, or an earlier one."""
        if self._start > 0 and self._facts.container in SEEKABLE:
            self._container.seek(math.floor((self._first + self._start) / self._base), stream=self._stream)
            pictures = self._deinterlaced(self._timed(self._decoded(sought=True)))
            first = next(pictures, None)
            if first is not None and first.time <= self._start:
                yield first
                yield from pictures
                return
            self.close()  # a wrong index, or no key frame to begin at: from the beginning of the file, then
            self._open()
        yield from self._deinterlaced(self._timed(self._decoded()))

    def rgb(self, frame: VideoFrame) -> Image:
        """(H, W, 3): in square pixels, turned for viewing."""
        facts = self._facts
        turned = facts.rotation in (90, 270)
        width, height = (facts.height, facts.width) if turned else (facts.width, facts.height)
        image = np.asarray(
            self._reformatter.reformat(frame, width, height, "rgb24", threads=1).to_ndarray(), dtype=np.uint8
        )
        return np.ascontiguousarray(np.rot90(image, facts.rotation // 90)) if facts.rotation else image

    def _packets(self) -> Iterator[tuple[Packet[VideoStream], bool]]:
        """Each packet, and whether there should have been another between it and the one before."""
        packets = self._container.demux(self._stream)
        due = 0
        for _ in range(_MOST_UNREADABLE):
            try:
                for packet in packets:
                    skipped = False
                    if packet.dts is not None and packet.pos in self._index:
                        rank, stamp = self._index[packet.pos]
                        skipped, due = rank > due, rank + 1
                        packet.pts = None if packet.pts is None else packet.pts + stamp - packet.dts
                        packet.dts = stamp
                    size = packet.size
                    single = [packet] if self._unpack is None or not size else self._unpack.filter(packet)
                    self._packed |= any(one.size != size for one in single)
                    for one in single:
                        yield one, skipped
            except av.FFmpegError:
                self._faults.add("parts of the file that cannot be read", self._last)
                packets = self._container.demux(self._stream)
            else:
                return

    def _decoded(self, *, sought: bool = False) -> Iterator[VideoFrame]:
        """Whole pictures: what was decoded from a fault on, up to the next key frame, is predicted from it and left out.

        Each picture carries the number of its packet as `opaque`, since it may be seen before or after its neighbours.
        """
        lost: float | None = 0 if sought else None  # packet from which on pictures are left out
        quiet = sought  # what precedes the first key frame after a seek is no fault
        before: int | None = None  # time of the picture before, in ticks
        # MPEG-1 and -2 have one distance between pictures: where it is passed, some are lost without any other sign.
        farthest = _MISSED * max(self._nominal, _PAL) / self._base if self._facts.codec in FIXED_RATE else math.inf
        # Without times, also a reference that waits for its place over a fault has lost it.
        by_order = self._facts.container in NO_PRESENTATION_TIME
        held: list[VideoFrame] = []  # B-pictures, until it is known that the reference which follows them is whole
        for number, (packet, skipped) in enumerate(self._packets(), start=1):
            packet.opaque = number
            if skipped:
                self._faults.add("stretches of lost pictures", self._last)
                lost, quiet = number - 0.5 if lost is None else lost, False
            fault = "damaged packets" if packet.is_corrupt else None
            try:
                frames = [] if fault else self._stream.codec_context.decode(packet)
            except av.FFmpegError:
                fault = "packets that cannot be decoded"
            if fault:
                self._faults.add(fault, self._last)
                lost, quiet = number if lost is None else lost, False
                continue
            for frame in frames:
                origin = _packet_of(frame, number)
                if self._packed:  # FFmpeg takes the empty pictures for references, and dates the real ones by them
                    ahead = None if before is None else before + round(self._nominal / self._base)
                    frame.pts = ahead if frame.dts is None else frame.dts
                jumped = frame.pts is not None and before is not None and frame.pts - before > farthest
                before = before if frame.pts is None else frame.pts
                if frame.is_corrupt or jumped:
                    lost = origin if lost is None else min(lost, origin)
                    held = [old for old in held if _packet_of(old, number) < lost]
                    if not quiet:
                        what = "damaged pictures" if frame.is_corrupt else "stretches of lost pictures"
                        self._faults.add(what, self._last)
                elif frame.key_frame and lost is not None and origin > lost:
                    lost, quiet = None, False
                if lost is not None and (origin >= lost or by_order):
                    if not (quiet or frame.is_corrupt or jumped):
                        self._faults.add("pictures left out until the next key frame", self._last)
                    continue
                if frame.pict_type == PictureType.B:
                    held.append(frame)
                    if len(held) > _MOST_HELD:  # as in HEVC without any P-picture
                        yield held.pop(0)
                    continue
                yield from held
                held.clear()
                yield frame
        yield from held

    def _timed(self, frames: Iterator[VideoFrame]) -> Iterator[Picture]:
        """Give each picture a time, so that times do not go back."""
        last: Fraction | None = None
        shift = Fraction(0)
        late: list[tuple[Fraction, VideoFrame]] = []  # pictures that lie behind the last one
        for frame in frames:
            ahead = Fraction(0) if last is None else last + self._nominal
            if frame.pts is None or self._facts.container in ELEMENTARY:
                time = ahead
                if self._facts.container not in ELEMENTARY:
                    self._faults.add("pictures without a time", time)
            else:
                time = own = frame.pts * self._base - self._first
                if last is not None and own < last:
                    time = own + shift
                    if time <= last:
                        late.append((own, frame))
                        if len(late) > _MOST_LATE:
                            # A clock that was set back, as where recordings were joined: go on from here.
                            shift = ahead - late[0][0]
                            self._faults.add("clock set back", last)
                            for own, old in late:
                                self._last = last = max(last, own + shift)
                                yield self._picture(last, old)
                            late.clear()
                        continue
                elif last is not None and own > max(last + _JUMP, self._latest(last)):
                    time = ahead
                    self._faults.add("times far behind the end of the video", last)
                elif own == last:
                    self._faults.add("pictures with the time of the one before, which they replace", own)
            for _ in late:
                self._faults.add("pictures that come too late and are left out", time)
            late.clear()
            self._last = last = time
            yield self._picture(time, frame)

    def _latest(self, last: Fraction) -> Fraction:
        return last + _LONGEST_PAUSE if self._duration is None else self._duration + SLACK

    def _picture(self, time: Fraction, frame: VideoFrame) -> Picture:
        length = (frame.duration or 0) * self._base
        if length <= 0 or (self._duration is not None and time + length > self._duration + self._nominal):
            length = self._nominal
        return Picture(time, length, frame)

    def _deinterlaced(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """One picture for each; from the first interlaced one on, all pass the filter, which leaves the others alone."""
        graph: Graph | None = None
        form = None
        waiting: deque[Picture] = deque()  # the filter gives each picture when it has seen the next
        for picture in pictures:
            frame = picture.frame
            if graph is not None and form != (frame.width, frame.height, frame.format.name):
                graph.vpush(None)
                yield from _pulled(graph, waiting)
                graph = None
            if graph is None:
                if not frame.interlaced_frame:
                    yield picture
                    continue
                form = (frame.width, frame.height, frame.format.name)
                graph = _deinterlacer(frame, self._base)
            waiting.append(picture)
            graph.vpush(frame)
            yield from _pulled(graph, waiting)
        if graph is not None:
            graph.vpush(None)
            yield from _pulled(graph, waiting)


def _packet_of(frame: VideoFrame, latest: int) -> int:
    return frame.opaque if isinstance(frame.opaque, int) else latest


def _deinterlacer(frame: VideoFrame, base: Fraction) -> Graph:
    """Bwdif, one picture for each interlaced one; it took a half to an eighth of yadif's time here, and looks sharper."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Graph, waiting: deque[Picture]) -> Iterator[Picture]:
    """What the filter has ready. Its own times are halved ticks; pictures come out as they went in, so that theirs are known."""
    while waiting:
        try:
            frame = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        picture = waiting.popleft()
        yield Picture(picture.time, picture.duration, frame)


def open_container(path: Path) -> InputContainer:
    """Open a file with FFmpeg's demuxers of video.

    Raises:
        InputError: if none knows it.
    """
    # Playlists could fetch other files, and text can pass as video: only what holds moving pictures is tried.
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
    try:
        return av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        msg = (
            f"{path}: is no video that can be read ({error.strerror}); it may be cut short, or something else than its "
            "name says: copy it again from the telemetry system"
        )
        raise InputError(msg) from None


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """The pictures of a file.

    Raises:
        InputError: if it has none.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        what = "sound alone" if container.streams.audio else "neither pictures nor sound"
        msg = f"{path}: has no moving pictures, but {what}; give the video file"
        raise InputError(msg)
    stream.codec_context.copy_opaque = True
    # One thread decodes most for a core; seizures are decoded side by side.
    stream.codec_context.thread_count = 1
    return stream


def ticks(stream: VideoStream) -> Fraction:
    """Seconds a tick of a stream's clock."""
    return stream.time_base or Fraction(1, 1000)


def exact(seconds: float) -> Fraction:
    """The fraction that was meant by a decimal: 1.2, not the nearest double; and 1/3, if written with all its digits."""
    return Fraction(seconds).limit_denominator(1_000_000)
