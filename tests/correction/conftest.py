"""A cohort of two seizures with real videos and an extraction whose 3D is its pixels, seen from afar."""

import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.skeleton import built_in
from seizurelit.correction.export import Export, export

FRAMES, WIDTH, HEIGHT, SCALE = 60, 320, 240, 40.0
"""SCALE: pixels a unit of the skeleton."""

BODY = np.array(
    [
        *((0, 0, 0), (0, 1, 0), (0, 1.4, 0.2)),
        *((0.4, 1, 0.1), (0.7, 0.6, 0.2), (0.9, 0.3, 0.4), (-0.4, 1, -0.1), (-0.7, 0.6, 0.1), (-0.8, 0.2, 0.3)),
        *((0.2, 0, 0), (-0.2, 0, 0)),
    ]
)


def write_video(path: Path, frames: int = FRAMES) -> None:
    """A video whose grey tells the frame: frame k is of 3k + 30."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 2_000_000
        for index in range(frames):
            image = np.full((HEIGHT, WIDTH, 3), 3 * index + 30, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def pose(seizure: str, subject: str, confidence: np.ndarray) -> SeizureTensors:
    times = np.arange(FRAMES)[:, None, None] / 25
    keypoints = BODY + 0.1 * np.sin(times * np.arange(1, 12)[None, :, None]) * (np.arange(11) > 0)[None, :, None]
    path = np.concatenate([0.2 * np.sin(times[:, 0]), 0.1 * np.cos(times[:, 0]), 0 * times[:, 0]], axis=1)
    pixels = np.array([WIDTH, HEIGHT]) / 2 + (keypoints + path[:, None])[..., :2] * [SCALE, -SCALE]
    there = confidence > 0
    box = np.concatenate([pixels.min(axis=1) - 5, pixels.max(axis=1) + 5], axis=1)
    box[~there.any(axis=1)] = np.nan
    tensors = {
        "pose.keypoints": np.where(there[..., None], keypoints, np.nan),
        "pose.root": path,
        "pose.keypoints_2d": np.where(there[..., None], pixels, np.nan),
        "pose.box": box,
        "pose.confidence": confidence,
    }
    ready = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    ready["pose.appearance"] = np.ones((12, 4), np.float16)
    return SeizureTensors(metadata(seizure, subject, "pose", appearance_fps=5.0), ready)


def face(seizure: str, subject: str, confidence: np.ndarray) -> SeizureTensors:
    there = confidence > 0
    box = np.tile(np.array([100, 20, 160, 90], np.float32), (FRAMES, 1))
    box[~there.any(axis=1)] = np.nan
    points = np.linspace(5, 55, 23)[None, :, None] * np.ones((FRAMES, 1, 2))
    tensors = {
        "face.keypoints": np.where(there[..., None], points, np.nan).astype(np.float32),
        "face.box": box,
        "face.confidence": confidence.astype(np.float32),
    }
    return SeizureTensors(metadata(seizure, subject, "face"), tensors)


def metadata(seizure: str, subject: str, stream: str, appearance_fps: float | None = None) -> Metadata:
    skeleton = built_in("body11" if stream == "pose" else "face23")
    facts = {"width": WIDTH, "height": HEIGHT, "container": "mp4", "people": 2}
    return Metadata(
        seizure, subject, stream, 25.0, appearance_fps, skeleton, "0" * 64, "mediapipe", "1" * 16, "2" * 16, facts=facts
    )


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cache/, videos/ and out/ of three subjects: in each two frames are unsure and were exported, body and face."""
    root = tmp_path_factory.mktemp("three")
    (root / "videos").mkdir()
    rows = [f"p{number},s{number},v{number}.mp4,{number % 2}" for number in (1, 2, 3)]
    (root / "videos" / "cohort.csv").write_text("\n".join(["subject,seizure,video,dystonia", *rows]) + "\n")
    made = Cache.create(root / "cache", root / "videos" / "cohort.csv")
    sure = np.full((FRAMES, 34), 0.9, np.float32)
    sure[[10, 40]] = 0.3
    for number in (1, 2, 3):
        write_video(root / "videos" / f"v{number}.mp4")
        made.write(pose(f"s{number}", f"p{number}", sure[:, :11]))
        made.write(face(f"s{number}", f"p{number}", sure[:, 11:]))
    export(Export(root / "cache", root / "videos", root / "out", share=6 / (3 * FRAMES)))
    return root


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos and cache, to be copied by each test."""
    root = tmp_path_factory.mktemp("review")
    videos = root / "videos"
    videos.mkdir()
    for name in ("one", "two"):
        write_video(videos / f"{name}.mp4")
    rows = [
        "subject,seizure,video,dystonia",
        "anna,one,one.mp4,1",
        "bert,night_2,two.mp4,0",
        "carl,not yet,three.mp4,0",
    ]
    (videos / "cohort.csv").write_text("\n".join(rows) + "\n")
    made = Cache.create(root / "cache", videos / "cohort.csv")
    body = np.full((FRAMES, 11), 0.9, np.float32)
    body[20:24] = 0.2  # unsure
    body[40] = 0  # no patient
    body[30, 5] = 0  # a wrist is missing
    landmarks = np.full((FRAMES, 23), 0.8, np.float32)
    landmarks[40:44] = 0
    made.write(pose("one", "anna", body))
    made.write(face("one", "anna", landmarks))
    made.write(pose("night_2", "bert", np.full((FRAMES, 11), 0.95, np.float32)))
    return root


@pytest.fixture
def videos(_made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_made / "videos", tmp_path / "videos")


@pytest.fixture
def cache(_made: Path, tmp_path: Path) -> Cache:
    return Cache.open(shutil.copytree(_made / "cache", tmp_path / "cache"))


@pytest.fixture(scope="session")
def _content(_made: Path) -> str:
    return export(Export(_made / "cache", _made / "videos", _made / "out", share=1.0)).annotations.read_text()


@pytest.fixture
def content(_content: str) -> dict[str, Any]:
    """The COCO file of an export of all frames."""
    made: dict[str, Any] = json.loads(_content)
    return made
