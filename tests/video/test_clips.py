"""Real clips, and that memory does not grow with the length of a video."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import pytest

from seizurelit.video.reading import open_video

CLIPS = {
    "mmskeleton_clean_and_jerk.mp4": ("h264", 455, 256, 251),
    "mmskeleton_ta_chi.mp4": ("h264", 340, 256, 251),
    "pose2sim_multi_cam01.mp4": ("h264", 1088, 1920, 42),
    "pyfeat_WolfgangLanger_Pexels.mp4": ("h264", 640, 360, 493),
    "pyfeat_noface_face.mov": ("hevc", 960, 540, 160),
    "pyfeat_single_face.mp4": ("h264", 640, 360, 60),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", CLIPS)
def test_real_clips(shared, name):
    path = shared / "data" / "clips" / name
    codec, width, height, count = CLIPS[name]
    with av.open(path) as container:
        stream = container.streams.video[0]
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        times = [(stamp - stamps[0]) * stream.time_base for stamp in stamps]
    video = open_video(path)
    assert (video.facts.codec, video.facts.width, video.facts.height) == (codec, width, height)
    clip = video.clip()
    previous = None
    for frame in clip:
        shown = max(time for time in times if time <= Fraction(frame.index, 25))
        assert frame.time == pytest.approx(float(shown))
        assert frame.repeated == (shown == previous)
        assert frame.image.shape == (height, width, 3)
        previous = shown
    loss = clip.loss
    assert (loss.expected, loss.yielded, loss.gaps, loss.ended_early, loss.faults) == (count, count, (), False, ())


@pytest.mark.shared
def test_nominal_120_frames_a_second_with_169_in_6_4_seconds(shared):
    video = open_video(shared / "data" / "clips" / "pyfeat_noface_face.mov")
    assert video.facts.rate == pytest.approx(120)
    assert video.facts.duration_s == pytest.approx(6.3786, abs=1e-3)
    clip = video.clip()
    assert [frame.index for frame in clip] == list(range(160))
    assert clip.loss.repeated == 4


def test_memory_does_not_grow_with_length(bars, tmp_path):
    # The peak of this process image alone; ru_maxrss would be that of the parent, if that is larger.
    code = (
        "import re, sys; from pathlib import Path; from seizurelit.video.reading import open_video\n"
        "count = sum(frame.image.shape == (720, 1280, 3) for frame in open_video(Path(sys.argv[1])).clip())\n"
        "print(count, re.search('VmHWM: *([0-9]+)', Path('/proc/self/status').read_text().replace(chr(9), ' '))[1])"
    )
    peaks = {}
    for frames in (25, 400):
        path = tmp_path / f"{frames}.avi"
        with av.open(path, "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
            picture = bytes(stream.encode(bars.frame(1, (1280, 720), "yuv420p"))[0])
            for index in range(frames):
                packet = av.Packet(picture)
                packet.stream, packet.is_keyframe = stream, True
                packet.pts, packet.dts, packet.time_base = index, index, Fraction(1, 25)
                container.mux(packet)
        run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        count, peaks[frames] = (float(word) for word in run.stdout.split())
        assert count == frames
    assert peaks[400] - peaks[25] < 20_000  # KiB; a picture has 2700
