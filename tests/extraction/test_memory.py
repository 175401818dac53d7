"""Memory stays flat in the length of a video."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

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


def mappings(folder):
    """(MiB resident, what) of every mapping of the processes that work in a folder, largest first."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() != folder:
                continue
            maps = (process / "smaps").read_text()
        except OSError:  # it ended, or belongs to somebody else
            continue
        pairs = re.findall(r"^([0-9a-f]+-[0-9a-f]+ .*)\n(?:[A-Z].*\n)*?Rss: +(\d+) kB", maps, re.MULTILINE)
        found += [(int(size) // 1024, f"{process.name} {what}") for what, size in pairs]
    return sorted(found, reverse=True)


@pytest.mark.slow
def test_two_minutes_take_no_more_memory_than_ten_seconds(shared, tmp_path):
    """Peaks of the worker, as the ledger has them, and of the process that writes the page."""
    with av.open(str(shared / "data/clips/mmskeleton_ta_chi.mp4")) as container:
        frames = [frame for _, frame in zip(range(50), container.decode(video=0), strict=False)]
    pictures = [frame.reformat(1280, 720, "yuv420p") for frame in frames]
    peaks, large = {}, []
    for seconds in (10, 120):
        write(tmp_path / f"{seconds}.mp4", pictures, seconds)
        (tmp_path / f"{seconds}.csv").write_text(f"subject,seizure,video\na,s,{seconds}.mp4\n")
        arguments = ["--cohort", f"{seconds}.csv", "--cache", f"cache{seconds}", "--without", "appearance"]
        with (tmp_path / "said").open("w") as said, (tmp_path / "failed").open("w") as failed:
            run = subprocess.Popen([sys.executable, "-c", CODE, *arguments], cwd=tmp_path, stdout=said, stderr=failed)
            while run.poll() is None:
                time.sleep(1)
                now = mappings(tmp_path)
                large = max(large, now, key=lambda all_of_them: sum(size for size, _ in all_of_them))
        assert run.returncode == 0, (tmp_path / "failed").read_text()
        record = next((tmp_path / f"cache{seconds}" / "extraction").rglob("s.json"))
        peaks[seconds] = json.loads(record.read_text())["peak_memory_mb"], float((tmp_path / "said").read_text())
    print(f"peaks in MiB of worker and page: {peaks}")
    for short, long in zip(peaks[10], peaks[120], strict=True):
        assert long - short < 300, (peaks, large[:20])
