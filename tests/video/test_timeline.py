"""The bar code of every frame, over every container, codec and size of the paper."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from seizurelit.errors import InputError
from seizurelit.video.reading import open_video

CODECS = [
    (".mpg", "mpeg1video"),
    (".mpg", "mpeg2video"),
    (".mp4", "libx264"),
    (".mov", "libx264"),
    (".mp4", "mpeg4"),
    (".avi", "mpeg4"),
    (".avi", "mjpeg"),
    (".asf", "wmv2"),
    (".asf", "msmpeg4v3"),
]
SIZES = [(352, 576), (352, 288), (704, 576), (720, 576), (1280, 720)]
# Every codec and every size meets both rates.
CASES = [
    (suffix, codec, size, "pal" if (one + other) % 2 else "ntsc")
    for (one, (suffix, codec)), (other, size) in itertools.product(enumerate(CODECS), enumerate(SIZES))
]
SPACING = [0.04, 0.02, 0.016, 0.1, 0.04, 0.033, 0.04, 0.07, 0.04, 0.2, 0.04]
VARIABLE = [float(time) for time in np.cumsum([0, *(SPACING * 4)])]


@pytest.mark.parametrize(("suffix", "codec", "size", "rate"), CASES)
def test_every_frame_is_the_last_whose_time_has_come(bars, tmp_path, suffix, codec, size, rate):
    rate = getattr(bars, rate)
    recording = bars.write(tmp_path / f"a{suffix}", codec, size=size, rate=rate, frames=26)
    loss = bars.check(recording)
    assert (loss.expected, loss.gaps, loss.ended_early, loss.faults) == (loss.yielded, (), False, ())
    facts = open_video(recording.path).facts
    assert (facts.width, facts.height) == size
    assert facts.rate == pytest.approx(float(rate), rel=1e-4)
    assert facts.container == suffix[1:]
    assert not facts.interlaced
    # MPG has no header that says how long it is: its last time stamp may be of a picture before the last.
    assert facts.duration_s == pytest.approx(float(recording.duration), abs=0.2 if suffix == ".mpg" else 0.002)


@pytest.mark.parametrize("size", [(352, 576), (704, 576), (720, 576), (720, 480)])
@pytest.mark.parametrize("order", ["tt", "bb"])
def test_interlaced_pictures_keep_their_times(bars, tmp_path, size, order):
    options = {"flags": "+ildct+ilme", "field_order": order}
    rate = bars.ntsc if size[1] == 480 else bars.pal
    recording = bars.write(tmp_path / "a.mpg", "mpeg2video", size=size, rate=rate, frames=24, options=options)
    video = open_video(recording.path)
    assert video.facts.interlaced
    assert bars.check(recording).faults == ()
    bars.check(recording, start=0.3, end=0.7)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".avi", "mpeg4")])
def test_interlacing_of_other_codecs(bars, tmp_path, suffix, codec):
    recording = bars.write(tmp_path / f"a{suffix}", codec, size=(704, 576), frames=20, options={"flags": "+ildct+ilme"})
    assert open_video(recording.path).facts.interlaced
    bars.check(recording)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "libx264"), (".mp4", "mpeg4"), (".mov", "libx264"), (".asf", "wmv2"), (".mkv", "libx264")],
)
def test_variable_rate(bars, tmp_path, suffix, codec):
    recording = bars.write(tmp_path / f"a{suffix}", codec, times=VARIABLE)
    clip = open_video(recording.path).clip()
    found = bars.numbers(clip)
    assert found == [recording.number_at(Fraction(index, 25)) for index in range(len(found))]
    assert len(found) >= VARIABLE[-1] * 25
    assert clip.loss.faults == ()
    bars.check(recording, start=0.25, end=1.5)


@pytest.mark.parametrize("rate", [10, 12.5, 15, 24, 50, 60, 120])
def test_other_rates(bars, tmp_path, rate):
    recording = bars.write(tmp_path / "a.mp4", "libx264", rate=Fraction(rate), frames=36)
    assert bars.check(recording).gaps == ()


@pytest.mark.parametrize("fps", [5, 12.5, 30, 50])
def test_other_timelines(bars, tmp_path, fps):
    assert bars.check(bars.write(tmp_path / "a.avi", "mpeg4"), fps=fps).faults == ()


@pytest.mark.parametrize(
    ("suffix", "codec", "offset"),
    [(".mp4", "libx264", 3.2), (".mkv", "libx264", 3.2), (".asf", "wmv2", 3.2), (".ts", "mpeg2video", 0)],
)
def test_times_count_from_the_first_picture(bars, tmp_path, suffix, codec, offset):
    recording = bars.write(tmp_path / f"a{suffix}", codec, offset=offset, frames=40)
    assert open_video(recording.path).first > 0
    for start, end in ((0, None), (0.5, 1.1)):
        bars.check(recording, start, end)


@pytest.mark.parametrize(("suffix", "codec"), [(*CODECS[1],), *CODECS[2:6], CODECS[7]])
@pytest.mark.parametrize("rate", ["pal", "ntsc"])
def test_trims(bars, tmp_path, suffix, codec, rate):
    recording = bars.write(tmp_path / f"a{suffix}", codec, rate=getattr(bars, rate), frames=40)
    for start, end in ((0.04, 0.08), (0.48, 1.2), (0.777, 1.3), (0.5, None), (1.3, None)):
        loss = bars.check(recording, start, end)
        assert loss.expected == loss.yielded


OPEN = {
    "open": "open-gop=1:keyint=12:min-keyint=4:scenecut=0",
    "refresh": "intra-refresh=1:keyint=12",
    "pyramid": "b-pyramid=normal",
    "endless": "keyint=infinite",
    "many": "bframes=16:b-adapt=0",
}


@pytest.mark.parametrize("params", OPEN.values(), ids=OPEN.keys())
def test_trims_of_h264_that_looks_behind_its_key_frames(bars, tmp_path, params):
    b_frames = 0 if "refresh" in params else 3
    recording = bars.write(tmp_path / "a.mp4", "libx264", b_frames=b_frames, options={"x264-params": params}, frames=40)
    for start in (0, 0.44, 0.48, 0.52, 0.9, 1.3):
        assert bars.check(recording, start).faults == ()


VOP = b"\0\0\1\xb6"


def pack(path, packed):
    """An AVI as Xvid's encoder for Windows writes it: a B-picture in the chunk of the reference before it, then an empty one."""
    with av.open(path) as source, av.open(packed, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        pictures = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        kinds = [picture[picture.index(VOP) + 4] >> 6 for picture in pictures]  # 0 is I, 1 is P, 2 is B
        chunks = []
        for picture, kind, coming in zip(pictures, kinds, [*kinds[1:], None], strict=True):
            if kind == 2:
                chunks[-1] += picture
            chunks.append(VOP + b"\x50\x07\xf0" if kind == 2 else picture)
            assert not kind == coming == 2
        chunks[0] = chunks[0].replace(VOP, b"\0\0\1\xb2DivX503b1393p" + VOP, 1)
        for index, chunk in enumerate(chunks):
            packet = av.Packet(chunk)
            packet.stream, packet.time_base = stream, stream.time_base
            packet.pts = packet.dts = index
            packet.is_keyframe = kinds[index] == 0
            target.mux(packet)


@pytest.mark.parametrize("rate", ["pal", "ntsc"])
def test_xvid_that_packs_its_b_pictures(bars, tmp_path, rate):
    plain = bars.write(tmp_path / "plain.avi", "mpeg4", rate=getattr(bars, rate), frames=40, b_frames=1)
    pack(plain.path, tmp_path / "packed.avi")
    recording = dataclasses.replace(plain, path=tmp_path / "packed.avi")
    for start, end in ((0, None), (0.48, 1.2), (0.777, None)):
        loss = bars.check(recording, start, end)
        assert (loss.expected, loss.gaps, loss.faults) == (loss.yielded, (), ())
    content = recording.path.read_bytes()
    recording.path.write_bytes(content[: len(content) * 6 // 10])
    frames, clip = bars.read(recording.path)
    shown = [
        (bars.number(frame.image), round(frame.time * float(recording.rate))) for frame in frames if not frame.repeated
    ]
    assert len(shown) > 15
    assert all(number == time for number, time in shown)
    assert clip.loss.ended_early


def test_fragmented_mp4(bars, tmp_path):
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    recording = bars.write(tmp_path / "a.mp4", "libx264", container_options=fragments)
    for start in (0, 1):
        bars.check(recording, start)


def test_a_pause_is_a_gap(bars, tmp_path):
    times = [*(0.04 * index for index in range(10)), *(1.0 + 0.04 * index for index in range(10))]
    recording = bars.write(tmp_path / "a.mp4", "libx264", times=times)
    loss = bars.check(recording)
    assert loss.gaps == ((10, 24),)
    assert not loss.ended_early
    assert bars.check(recording, start=0.6, end=1.2).gaps == ((0, 9),)
    assert bars.check(recording, end=0.6).gaps == ((10, 14),)


def test_a_trim_past_the_end_is_told(bars, tmp_path):
    recording = bars.write(tmp_path / "a.mp4", "libx264", frames=50)
    loss = bars.check(recording, start=1, end=3)
    assert (loss.expected, loss.yielded, loss.ended_early) == (50, 25, True)
    assert loss.faults == ("the video ends at 2.00 s, where the trim goes on to 3.00 s",)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (1, 1, "nothing lies between start 1 s and end 1 s"),
        (0, 0, "nothing lies between start 0 s and end 0 s"),
        (2, 1, "nothing lies between start 2 s and end 1 s"),
        (-1, 1, "start -1 s is below 0"),
        (9, None, "start 9 s is past the end of the video at 2.00 s"),
        (float("nan"), None, "give numbers"),
    ],
)
def test_a_trim_of_nothing_is_refused(bars, tmp_path, start, end, message):
    video = open_video(bars.write(tmp_path / "a.mp4", "mpeg4", frames=50).path)
    with pytest.raises(InputError, match=message) as error:
        video.clip(start, end)
    assert str(error.value).startswith(f"{tmp_path / 'a.mp4'}: ")


@pytest.mark.parametrize(("suffix", "codec", "start"), [(".mp4", "mpeg4", 2.5), (".mpg", "mpeg2video", 30)])
def test_only_the_pictures_know_the_end(bars, tmp_path, suffix, codec, start):
    video = open_video(bars.write(tmp_path / f"a{suffix}", codec, frames=50).path)
    with pytest.raises(InputError, match=r"past the end of the video at 2\.00 s"):
        list(video.clip(start))


def test_a_clip_can_be_left_and_iterated_again(bars, tmp_path):
    recording = bars.write(tmp_path / "a.avi", "mpeg4")
    with open_video(recording.path).clip(0.2) as clip:
        for frame in clip:
            if frame.index == 7:
                break
        assert clip.loss.yielded == 8
    assert bars.numbers(clip) == list(range(5, 48))
    assert clip.loss.yielded == clip.loss.expected == 43
