"""Files that are no videos, are cut short or damaged: one clear line, or every whole picture and a count of the rest."""

from __future__ import annotations

import os
import subprocess
import sys

import av
import numpy as np
import pytest

from seizurelit.errors import InputError
from seizurelit.video.reading import open_video, source_digest

CASES = [
    (".mpg", "mpeg1video"),
    (".mpg", "mpeg2video"),
    (".avi", "mpeg4"),
    (".avi", "mjpeg"),
    (".asf", "wmv2"),
    (".mp4", "libx264"),
    (".mp4", "mpeg4"),
]


def index_first(suffix: str) -> dict[str, str]:
    return {"movflags": "faststart"} if suffix == ".mp4" else {}


def damage(path, size: int) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + size] = np.random.default_rng(1).bytes(size)
    path.write_bytes(content)


def whole_or_left_out(bars, path, rate=25):
    """Every picture that is shown as new is the right one; gives the loss."""
    frames, clip = bars.read(path)
    for frame in frames:
        if not frame.repeated:
            assert bars.number(frame.image) == round(frame.time * rate), frame.index
    assert clip.loss.yielded == len(frames)
    return clip.loss


@pytest.mark.parametrize(("suffix", "codec"), CASES)
def test_cut_short(bars, tmp_path, suffix, codec):
    recording = bars.write(tmp_path / f"a{suffix}", codec, container_options=index_first(suffix))
    content = recording.path.read_bytes()
    recording.path.write_bytes(content[: len(content) * 6 // 10])
    loss = whole_or_left_out(bars, recording.path)
    assert 15 <= loss.yielded <= 35
    assert loss.faults
    if suffix != ".mpg":  # whose header does not know how long it is: what is left ends in a damaged picture
        assert loss.expected == 48
        assert loss.ended_early
        assert "the video ends at" in loss.faults[-1]
        assert "where its header goes on to 1.92 s" in loss.faults[-1]


@pytest.mark.parametrize(("suffix", "codec"), [case for case in CASES if case[1] not in ("mjpeg", "wmv2")])
@pytest.mark.parametrize("size", [60, 2500])
def test_damaged_in_the_middle(bars, tmp_path, suffix, codec, size):
    recording = bars.write(tmp_path / f"a{suffix}", codec, frames=72, container_options=index_first(suffix))
    damage(recording.path, size)
    loss = whole_or_left_out(bars, recording.path)
    assert loss.gaps
    assert loss.faults
    assert loss.expected == 72
    assert loss.yielded - loss.repeated >= 40
    first, last = loss.gaps[0]
    assert last - first < 40


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "mjpeg"), (".asf", "wmv2")])
@pytest.mark.parametrize("size", [60, 2500])
def test_damage_that_the_format_does_not_show(bars, tmp_path, suffix, codec, size):
    """Wrong bytes in a JPEG are wrong pixels; a lost part of an ASF spoils, at most, up to the next key frame."""
    recording = bars.write(tmp_path / f"a{suffix}", codec, frames=72)
    damage(recording.path, size)
    frames, clip = bars.read(recording.path)
    wrong = [frame.index for frame in frames if not frame.repeated and bars.number(frame.image) != frame.index]
    assert len(wrong) <= (1 if codec == "mjpeg" else 12)
    assert not wrong or wrong[-1] - wrong[0] < 12
    assert clip.loss.yielded == 72


def test_the_index_of_an_avi_keeps_the_clock_over_a_lost_part(bars, tmp_path):
    recording = bars.write(tmp_path / "a.avi", "mjpeg")
    content = bytearray(recording.path.read_bytes())
    starts = [at for at in range(len(content)) if content[at : at + 4] == b"00dc"]
    content[starts[20] : starts[23] + 4] = bytes(starts[23] + 4 - starts[20])
    recording.path.write_bytes(content)
    frames, clip = bars.read(recording.path)
    assert bars.number(frames[-1].image) == 47 == frames[-1].index
    assert clip.loss.gaps == ((19, 22),)  # the header has the first 00dc


def test_joined_recordings_go_on(bars, tmp_path):
    one, two = (
        bars.write(tmp_path / f"{name}.mpg", "mpeg2video", frames=count).path for name, count in (("a", 50), ("b", 30))
    )
    one.write_bytes(one.read_bytes() + two.read_bytes())
    frames, clip = bars.read(one)
    numbers = bars.numbers(frames)
    assert numbers == [*range(50), *range(30)]
    assert clip.loss.yielded == clip.loss.expected == 80
    assert any("clock set back" in fault for fault in clip.loss.faults)


@pytest.mark.parametrize(("suffix", "codec", "raw"), [(".mpg", "mpeg1video", "mpeg1video"), (".m4v", "mpeg4", "m4v")])
def test_pictures_without_times_follow_the_nominal_rate(bars, tmp_path, suffix, codec, raw):
    path = tmp_path / f"raw{suffix}"
    recording = bars.write(tmp_path / "a.avi", codec, b_frames=0)
    with av.open(recording.path) as source, av.open(path, "w", format=raw) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    frames, clip = bars.read(path)
    assert bars.numbers(frames) == list(range(48))
    assert open_video(path).facts.duration_s is None
    assert clip.loss.expected == 48


def test_the_same_time_twice(bars, tmp_path):
    path = tmp_path / "b.mkv"
    recording = bars.write(tmp_path / "a.mkv", "mpeg4", b_frames=0, frames=20, offset=0.1)
    with av.open(recording.path) as source, av.open(path, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.stream = stream
                packet.pts = packet.dts = 40 * (number - (number == 10))
                target.mux(packet)
    frames, clip = bars.read(path)
    assert bars.numbers(frames) == [*range(9), 10, 10, *range(11, 20)]
    assert clip.loss.faults == ("1 × pictures with the time of the one before, which they replace, first near 0.36 s",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"seizure notes, 3 May\n" * 500, "is no video that can be read"),
        (b"\x1b[31mterminal\x1b[0m\n" * 500, "is no video that can be read"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.mp4\n", "is no video that can be read"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "is no video that can be read"),
        (np.random.default_rng(0).bytes(50_000), "is no video that can be read"),
    ],
    ids=["empty", "text", "ansi", "playlist", "list", "noise"],
)
def test_no_video(bars, tmp_path, content, message):
    bars.write(tmp_path / "other.mp4", "mpeg4", frames=3)
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        open_video(path)
    assert str(error.value).startswith(f"{path}: ")
    assert len(error.value.faults) == 1
    assert "\n" not in str(error.value)


def test_an_mp4_without_its_index(bars, tmp_path):
    path = bars.write(tmp_path / "a.mp4", "libx264").path
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="cut short"):
        open_video(path)


def test_no_picture_that_can_be_decoded(bars, tmp_path):
    path = bars.write(tmp_path / "a.mp4", "libx264", container_options={"movflags": "faststart"}).path
    content = path.read_bytes()
    data = content.index(b"mdat") + 4
    path.write_bytes(content[:data] + bytes(len(content) - data))
    with pytest.raises(InputError, match=r"not one of its pictures can be decoded \(h264\)"):
        open_video(path)


def test_sound_alone(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=48000)
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, index * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="has no moving pictures, but sound alone"):
        open_video(path)


def test_no_such_file_and_a_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_video(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="is a folder"):
        open_video(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        source_digest(tmp_path / "a.mp4")


def test_a_file_that_one_may_not_read(bars, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    inside, locked = (bars.write(folder / "a.mp4", "mpeg4", frames=3).path for folder in (closed, tmp_path))
    code = (
        "import os, sys; from pathlib import Path\n"
        "from seizurelit.errors import InputError; from seizurelit.video.reading import open_video\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for name in sys.argv[1:]:\n"
        "    try: open_video(Path(name))\n"
        "    except InputError as error: print(error)\n"
    )
    locked.chmod(0)
    closed.chmod(0)
    try:
        run = subprocess.run([sys.executable, "-c", code, inside, locked], capture_output=True, text=True, check=True)
    finally:
        closed.chmod(0o700)
    assert run.stdout.splitlines() == [
        f"{path}: cannot be read (Permission denied); check the path and who may read it" for path in (inside, locked)
    ]


def test_the_digest_is_of_the_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert source_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert os.fspath(path)
