"""Memory stays flat in the length of a video."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction

import av
import pytest

pytest.importorskip("mediapipe", reason="MediaPipe is not installed")

CODE = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "seizurelit.extract", *sys.argv[1:]], capture_output=True, text=True)
assert done.returncode == 0, done.stderr
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""
"""Prints the peak of the door's own process, which writes the page, in MiB."""


def write(path, pictures, seconds):
    """A 1280×720 video of pictures, forwards and backwards until it is long enough."""
    there_and_back = pictures + pictures[-2:0:-1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for index in range(25 * seconds):
            picture = there_and_back[index % len(there_and_back)]
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@pytest.mark.slow
def test_two_minutes_take_no_more_memory_than_ten_seconds(shared, tmp_path):
    """Peaks of the worker, as the ledger has them, and of the process that writes the page."""
    with av.open(str(shared / "data/clips/mmskeleton_ta_chi.mp4")) as container:
        frames = [frame for _, frame in zip(range(50), container.decode(video=0), strict=False)]
    pictures = [frame.reformat(1280, 720, "yuv420p") for frame in frames]
    peaks = {}
    for seconds in (10, 120):
        write(tmp_path / f"{seconds}.mp4", pictures, seconds)
        (tmp_path / f"{seconds}.csv").write_text(f"subject,seizure,video\na,s,{seconds}.mp4\n")
        arguments = ["--cohort", f"{seconds}.csv", "--cache", f"cache{seconds}", "--without", "appearance"]
        run = subprocess.run(
            [sys.executable, "-c", CODE, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        record = next((tmp_path / f"cache{seconds}" / "extraction").rglob("s.json"))
        peaks[seconds] = json.loads(record.read_text())["peak_memory_mb"], float(run.stdout)
    print(f"peaks in MiB of worker and page: {peaks}")
    for short, long in zip(peaks[10], peaks[120], strict=True):
        assert long - short < 300, peaks
