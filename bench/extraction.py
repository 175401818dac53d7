"""What an extraction costs, stage by stage, and how near the pipeline comes to what its stages allow: `python -m bench.extraction`.

Stages and pipeline are timed by turns on one 640×360 video, in CPU seconds of one process with one thread, which a busy machine
disturbs less than the clock; two workers at once are timed by both. Appearance features stand apart: they run at their own rate,
here with random weights.
"""

from __future__ import annotations

import argparse
import json
import os
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
        backend.reset()
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


def appearance(video: Video, rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds of CPU a feature of each stream, of the networks at their full size."""
    import torch
    from torch import nn
    from torchvision.models import resnet50

    from seizurelit.extraction import appearance as rooms
    from seizurelit.models.vgg19 import Vgg19

    torch.set_num_threads(1)
    image = next(iter(video.clip())).image
    box = np.array([100, 20, 300, 340], np.float32)
    landmarks = np.random.default_rng(0).uniform(100, 200, (23, 2)).astype(np.float32)
    body, face = resnet50(weights=None), Vgg19()
    body.fc = nn.Identity()
    networks: dict[
        str, tuple[nn.Module, Callable[..., torch.Tensor], Callable[..., torch.Tensor], Callable[[], np.ndarray | None]]
    ] = {
        "body: ResNet-50": (body, body, rooms._prepare_bodies, lambda: rooms.crop_body(image, box)),
        "face: VGG-19": (face, face.features, rooms._prepare_faces, lambda: rooms.align_face(image, landmarks)),
    }
    taken: dict[str, float] = {}
    for name, (network, features, prepare, crop) in networks.items():
        rooms._fold_norms(network.eval())
        network.to(memory_format=torch.channels_last)
        times = []
        with torch.inference_mode():
            for _ in range(rounds + 1):
                start = time.process_time()
                features(prepare(np.stack([crop() for _ in range(8)])))
                times.append((time.process_time() - start) / 8 * 1e3)
        taken[name] = statistics.median(times[1:])
    return taken


def _box(head: object) -> np.ndarray:
    x, y, half = head.x, head.y, head.side / 2  # type: ignore[attr-defined]
    return np.array([x - half, y - half, x + half, y + half], np.float32)


def together(path: Path, workers: int = 2) -> tuple[float, float]:
    """Frames a second of several processes that extract the same video at once: by the clock, and by their CPU time.

    The first is what came out now, beside whatever else runs; the second what as many free cores would give.
    """
    code = (
        "import sys, time, pathlib, bench.extraction as b\n"
        "from seizurelit.extraction.mediapipe_backend import MediaPipe\n"
        "video, backend = b.open_video(pathlib.Path(sys.argv[1])), MediaPipe()\n"
        "run = lambda part: b.extract_video(video, part, backend, {}, b.SETTINGS)\n"
        "run((0.0, 1.0)); print('ready', flush=True); sys.stdin.readline()\n"
        "start, used = time.monotonic(), time.process_time(); made = run((None, None)); n = len(made.tensors['pose.box'])\n"
        "print(n / (time.monotonic() - start), n / (time.process_time() - used))\n"
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
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    rates = [tuple(map(float, process.communicate()[0].split())) for process in processes]
    return sum(clock for clock, _ in rates), sum(cpu for _, cpu in rates)


def main() -> None:
    """Measure, print, write bench-extraction.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, default=CLIP, help="any video of a person")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if not options.clip.is_file():
        sys.exit(f"{options.clip}: no such file; give --clip with a video of a person")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "360p.mp4"
        video = make_video(options.clip, path, options.frames)
        stages = measure(video, options.rounds)
        features = appearance(video, options.rounds)
        clock, cpu = together(path)
    whole = stages.pop("whole pipeline")
    allowed = sum(stages.values())
    table = Table(title="MediaPipe, 640×360, body and face, one thread")
    for heading in ("stage", "CPU ms a frame", "frames a second and core"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for name, taken in {**stages, "what the stages allow": allowed, "whole pipeline": whole}.items():
        table.add_row(name, f"{taken:.2f}", f"{1e3 / taken:.1f}")
    table.add_section()
    for name, taken in features.items():
        table.add_row(f"apart, {name} (random weights)", f"{taken:.2f}", f"{1e3 / taken:.1f}")
    console = Console()
    console.print(table)
    console.print(f"the pipeline stays at {allowed / whole:.2f} of what its stages allow (0.85 is wanted)")
    console.print(
        f"two workers at once: {cpu:.1f} frames a second by their CPU time ({TARGET:.0f} are wanted on two free cores), "
        f"{clock:.1f} by the clock beside a load of {os.getloadavg()[0]:.1f}"
    )
    result = {
        "cpu_ms": {**stages, "whole pipeline": whole},
        "appearance_cpu_ms": features,
        "of_stages": allowed / whole,
        "two_workers_fps": {"cpu": cpu, "clock": clock, "load": os.getloadavg()[0]},
    }
    Path("bench-extraction.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
