"""One seizure of the stand-in cohort: from its child seeds to the tensors of both streams and the recording's facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seizurelit.synthetic import appearance, body, face
from seizurelit.synthetic.cohort import StandInSeizure
from seizurelit.synthetic.options import FPS, StandIn
from seizurelit.synthetic.seeds import (
    BODY,
    BODY_FEATURES,
    BODY_SEEN,
    FACE,
    FACE_FEATURES,
    FACE_SEEN,
    RECORDING,
    TRAITS,
    generator,
)

SIZES = ((352, 576), (352, 288), (704, 576), (720, 576), (1280, 720))
"""Coded width and height of the paper's videos, pixels; the first four are shown at 4:3, the last at 16:9."""

CONTAINERS = ("mpg", "mp4", "avi", "asf")


@dataclass(frozen=True)
class Recording:
    """Everything that is made for one seizure.

    Attributes:
        tensors: of each stream, by the names and with the shapes of the cache.
        facts: duration_s, width, height, container, greyscale, people; none of them depends on a sign.
        truth: what was shown, as cells of the cohort: the arm and the seconds from onset to offset; blank where
            nothing was.
    """

    tensors: Mapping[str, Mapping[str, npt.NDArray[Any]]]
    facts: Mapping[str, str | int | float | bool]
    truth: Mapping[str, str]


def record(seizure: StandInSeizure, options: StandIn) -> Recording:
    """Make one seizure: a pure function of the options and of the seizure's and the subject's numbers.

    The signs enter through the *subject's* classes alone; label noise changes what is written down, not what is seen.
    """
    subject = seizure.subject
    key = (subject.index, seizure.index)
    traits = generator(options.seed, TRAITS, subject.index)
    likeness = options.likeness
    body_traits = body.draw_traits(traits, likeness)
    face_traits = face.draw_traits(traits, likeness)
    body_looks = appearance.draw_traits(traits, likeness)
    face_looks = appearance.draw_traits(traits, likeness)
    width, height = SIZES[int(traits.integers(len(SIZES)))]
    container = CONTAINERS[int(traits.integers(len(CONTAINERS)))]

    recording = generator(options.seed, RECORDING, *key)
    seconds = options.min_seconds + (options.max_seconds - options.min_seconds) * recording.beta(1.3, 1.8)
    frames = max(1, round(seconds * FPS))
    facts: dict[str, str | int | float | bool] = {
        "duration_s": frames / FPS,
        "width": width,
        "height": height,
        "container": container,
        "greyscale": bool(recording.random() < 0.3),
        "people": int(1 + recording.binomial(3, 0.35)),
    }
    display = (round(height * (16 / 9 if width == 1280 else 4 / 3)), height)

    moved = body.move(body_traits, generator(options.seed, BODY, *key), frames, FPS, options.shown * subject.dystonia)
    seen = body.observe(
        moved,
        body_traits,
        generator(options.seed, BODY_SEEN, *key),
        FPS,
        display,
        occlusion=options.occlusion,
        missing=options.missing,
    )
    looked = face.move(
        face_traits,
        generator(options.seed, FACE, *key),
        moved.agitation,
        FPS,
        options.shown * subject.emotion,
    )
    found = face.observe(
        looked,
        face_traits,
        generator(options.seed, FACE_SEEN, *key),
        FPS,
        occlusion=options.occlusion,
        missing=options.missing,
    )
    at = appearance.sampled(frames, FPS, options.appearance_fps)
    body_features = appearance.body_features(
        moved,
        seen,
        body_looks,
        generator(options.seed, BODY_FEATURES, *key),
        at,
        fps=options.appearance_fps,
        channels=options.appearance_dim,
    )
    face_features = appearance.face_features(
        looked,
        found,
        face_looks,
        generator(options.seed, FACE_FEATURES, *key),
        at,
        fps=options.appearance_fps,
        channels=options.appearance_dim,
    )
    tensors: dict[str, dict[str, npt.NDArray[Any]]] = {
        "pose": {
            "pose.keypoints": seen.keypoints.astype(np.float32),
            "pose.root": seen.root.astype(np.float32),
            "pose.confidence": seen.confidence.astype(np.float32),
            "pose.keypoints_2d": seen.keypoints_2d.astype(np.float32),
            "pose.box": seen.box.astype(np.float32),
            "pose.appearance": body_features,
        },
        "face": {
            "face.keypoints": found.keypoints.astype(np.float32),
            "face.confidence": found.confidence.astype(np.float32),
            "face.appearance": face_features,
        },
    }
    dystonia = moved.span if options.shown * subject.dystonia > 0 else None
    emotion = looked.span if options.shown * subject.emotion > 0 else None
    truth = {
        "dystonic_arm": ("left", "right")[moved.side] if dystonia else "",
        "dystonia_onset": f"{dystonia[0]:.2f}" if dystonia else "",
        "dystonia_offset": f"{dystonia[1]:.2f}" if dystonia else "",
        "emotion_kind": looked.kind if emotion else "",
        "emotion_onset": f"{emotion[0]:.2f}" if emotion else "",
        "emotion_offset": f"{emotion[1]:.2f}" if emotion else "",
    }
    return Recording(tensors=tensors, facts=facts, truth=truth)
