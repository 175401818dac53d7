"""What an extraction costs, stage by stage, and how near the pipeline comes to what its stages allow: `python -m bench.extraction`.

Stages and pipeline are timed by turns on one 640×360 video, in CPU seconds of one process with one thread, which a busy machine
disturbs less than the clock; two workers at once are timed by the clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from seizurelit.extraction.mediapipe_backend import MediaPipe
from seizurelit.extraction.options import FPS, Settings
from seizurelit.extraction.pipeline import extract_video
from seizurelit.video.reading import Video, open_video

CLIP = Path("../shared/data/clips/mmskeleton_clean_and_jerk.mp4")
SETTINGS = Settings(("pose", "face"))
FRAMES = 250
ROUNDS = 3
TARGET = 85.0


def make_video(clip: Path, path: Path, frames: int = FRAMES) -> Video:
    """A 640×360 H.264 video at 25 frames a second of a clip's pictures, forwards and backwards until it is long enough."""
    with av.open(str(clip)) as container:
        pictures = [frame.reformat(640, 360, "yuv420p") for frame in container.decode(video=0)]
    there_and_back = pictures + pictures[-2:0:-1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index in range(frames):
            picture = there_and_back[index % len(there_and_back)]
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return open_video(path)


def measure(video: Video, rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds of CPU a frame of each stage and of the whole pipeline: the median over the turns."""
    backend = MediaPipe()
    images = [frame.image for frame in video.clip(end=4.0)]
    people = backend.find_people(images[:1])[0]
    boxes = [people[0, :4]] * len(images)

    def look() -> int:
        count = 0
        for frame in video.clip(fps=FPS / SETTINGS.detect_every):
            backend.find_people([frame.image])
            count += SETTINGS.detect_every
        return count

    def body() -> int:
        backend.reset()
        backend.bodies(images, boxes)
        return len(images)

    def face() -> int:
        heads = [None if head is None else _box(head.region) for head in backend._heads]
        backend.faces(images, heads)
        return len(images)

    stages: dict[str, Callable[[], int]] = {
        "decoding": lambda: sum(1 for _ in video.clip()),
        "looking for people": look,
        "body and 3D": body,
        "face": face,
        "whole pipeline": lambda: len(extract_video(video, (None, None), backend, {}, SETTINGS).tensors["pose.box"]),
    }
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(rounds + 1):
        for name, stage in stages.items():
            start = time.process_time()
            count = stage()
            times[name].append((time.process_time() - start) / count * 1e3)
    backend.close()
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}  # the first turn warms up


def _box(head: object) -> np.ndarray:
    x, y, half = head.x, head.y, head.side / 2  # type: ignore[attr-defined]
    return np.array([x - half, y - half, x + half, y + half], np.float32)


def together(path: Path, workers: int = 2) -> float:
    """Frames a second, by the clock, of several processes that extract the same video at once; models are loaded before."""
    code = (
        "import sys, time, pathlib, bench.extraction as b\n"
        "from seizurelit.extraction.mediapipe_backend import MediaPipe\n"
        "video, backend = b.open_video(pathlib.Path(sys.argv[1])), MediaPipe()\n"
        "run = lambda part: b.extract_video(video, part, backend, {}, b.SETTINGS)\n"
        "run((0.0, 1.0)); print('ready', flush=True); sys.stdin.readline()\n"
        "start = time.monotonic(); made = run((None, None)); print(len(made.tensors['pose.box']) / (time.monotonic() - start))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(workers)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    rates = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate()
        rates.append(float(out))
    return sum(rates)


def main() -> None:
    """Measure, print, write bench-extraction.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, default=CLIP, help="any video of a person")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "360p.mp4"
        stages = measure(make_video(options.clip, path, options.frames), options.rounds)
        total = together(path)
    whole = stages.pop("whole pipeline")
    allowed = sum(stages.values())
    table = Table(title="MediaPipe, 640×360, body and face, one thread")
    for heading in ("stage", "CPU ms a frame", "frames a second and core"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for name, taken in {**stages, "what the stages allow": allowed, "whole pipeline": whole}.items():
        table.add_row(name, f"{taken:.2f}", f"{1e3 / taken:.1f}")
    console = Console()
    console.print(table)
    console.print(f"the pipeline stays at {allowed / whole:.2f} of what its stages allow (0.85 is wanted)")
    console.print(
        f"two workers at once: {total:.1f} frames a second by the clock ({TARGET:.0f} are wanted on two free cores)"
    )
    result = {"cpu_ms": {**stages, "whole pipeline": whole}, "of_stages": allowed / whole, "two_workers_fps": total}
    Path("bench-extraction.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
