"""A small real cache: four subjects with seizures of unlike length, joints missing, a face without a root."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.skeleton import built_in

# seizure, subject, dystonia, side, frames at 25 a second
SEIZURES = (
    ("a1", "anna", "1", "left", 90),
    ("a2", "anna", "1", "right", 41),
    ("b1", "ben", "0", "left", 200),
    ("c1", "cleo", "0", "right", 63),
    ("c2", "cleo", "", "", 70),
    ("d1", "dan", "1", "left", 12),
    ("e1", "eva", "0", "right", 77),
)


@pytest.fixture
def make_cache(tmp_path: Path) -> Callable[..., Cache]:
    def make(*, skip: tuple[str, ...] = (), saw: tuple[str, ...] = (), fps: dict[str, float] | None = None) -> Cache:
        rows = ["subject,seizure,dystonia,side,camera"]
        rows += [
            f"{subject},{name},{sign},{side},{'xy'[len(name + subject) % 2]}"
            for name, subject, sign, side, _ in SEIZURES
        ]
        table = tmp_path / "cohort.csv"
        table.write_text("\n".join(rows) + "\n", encoding="utf-8")
        cache = Cache.create(tmp_path / "cache", table)
        random = np.random.default_rng(0)
        for number, (name, subject, _, _, frames) in enumerate(SEIZURES):
            if name in skip:
                continue
            for stream, skeleton in (("pose", built_in("body11")), ("face", built_in("face23"))):
                joints, dimensions = len(skeleton.joints), skeleton.dimensions
                keypoints = random.normal(size=(frames, joints, dimensions)).astype(np.float32)
                confidence = random.uniform(0.5, 1, (frames, joints)).astype(np.float32)
                lost = random.uniform(size=(frames, joints)) < 0.1
                keypoints[lost], confidence[lost] = np.nan, 0
                tensors = {
                    f"{stream}.keypoints": keypoints,
                    f"{stream}.confidence": confidence,
                    # The number of the seizure, and the frame that each feature is of.
                    f"{stream}.appearance": np.stack(
                        [np.full(-(-frames // 5), number), np.arange(-(-frames // 5)) * 5], axis=1
                    ).astype(np.float16),
                }
                if stream == "pose":
                    tensors["pose.root"] = random.normal(size=(frames, 3)).astype(np.float32)
                metadata = Metadata(
                    name,
                    subject,
                    stream,
                    fps=(fps or {}).get(name, 25.0),
                    appearance_fps=5.0,
                    skeleton=skeleton,
                    source_digest="0" * 64,
                    extractor="test",
                    extractor_digest="0" * 64,
                    subjects_seen=saw,
                )
                cache.write(SeizureTensors(metadata, tensors))
        return cache

    return make
