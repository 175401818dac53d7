"""What a frozen image network says of the crops in the stand-in cohort: rectified features of what they show.

The network is a fixed random one of two layers with rectified output, as pooled and penultimate features are; its
weights hang on the stream and the number of channels alone. It sees what is in the picture (posture or expression,
cover, light, likeness), never a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seizurelit.synthetic.body import BodyMotion, BodySeen
from seizurelit.synthetic.chance import Floats, wander
from seizurelit.synthetic.face import FaceMotion, FaceSeen
from seizurelit.synthetic.seeds import generator

LIKENESS = 8
"""Numbers that tell subjects' pictures apart: clothes and bed for the body, the face itself for the face."""

LIGHT = 3
"""Direction and strength of the light, as the features see it."""

_HIDDEN = 96
_NETWORKS = {"pose": 20250001, "face": 20250002}


@dataclass(frozen=True)
class LookTraits:
    """What a subject's pictures have in common.

    Attributes:
        likeness: (8,) clothes and bed, or the face.
        light: (3,) where the light comes from.
    """

    likeness: Floats
    light: Floats


def draw_traits(rng: np.random.Generator, likeness: float) -> LookTraits:
    """A subject's looks; `likeness` scales them."""
    return LookTraits(
        likeness=likeness * rng.standard_normal(LIKENESS), light=0.7 * likeness * rng.standard_normal(LIGHT)
    )


def sampled(frames: int, fps: float, appearance_fps: float) -> npt.NDArray[np.intp]:
    """Numbers (T',) of the frames that the image network sees: the last at or before each k / appearance_fps."""
    count = max(1, int(np.ceil(frames * appearance_fps / fps - 1e-9)))
    times = np.arange(count) * fps / appearance_fps
    chosen: npt.NDArray[np.intp] = np.minimum(np.floor(times + 1e-9).astype(np.intp), frames - 1)
    return chosen


def features(stream: str, state: Floats, channels: int, rng: np.random.Generator, fps: float) -> Floats:
    """Features (T', D) ≥ 0 of a state (T', L) by the stream's fixed network, with the network's own flicker."""
    weights = generator(_NETWORKS[stream], state.shape[1], channels)
    first = weights.standard_normal((state.shape[1], _HIDDEN)) / np.sqrt(state.shape[1])
    shift = 0.5 * weights.standard_normal(_HIDDEN)
    second = weights.standard_normal((_HIDDEN, channels)) / np.sqrt(_HIDDEN)
    offset = 0.2 * weights.standard_normal(channels)
    flicker = 0.10 * wander(rng, state.shape[0], fps, fps / 4, channels) + 0.10 * rng.standard_normal(
        (state.shape[0], channels)
    )
    hidden = np.tanh(1.4 * state @ first + shift)
    rectified: Floats = np.maximum(1.5 * hidden @ second + offset + flicker, 0.0)
    return rectified


def _looks(traits: LookTraits, rng: np.random.Generator, count: int, fps: float) -> tuple[Floats, Floats]:
    """Likeness (T', 8) and light (T', 3) of one recording: the subject's, another day, with slow changes of light."""
    likeness = traits.likeness + 0.35 * rng.standard_normal(LIKENESS)
    light = traits.light + 0.3 * rng.standard_normal(LIGHT) + 0.2 * wander(rng, count, fps, 0.05, LIGHT)
    return np.broadcast_to(likeness, (count, LIKENESS)), light


def body_features(
    motion: BodyMotion,
    seen: BodySeen,
    traits: LookTraits,
    rng: np.random.Generator,
    at: npt.NDArray[np.intp],
    *,
    fps: float,
    channels: int,
) -> npt.NDArray[np.float16]:
    """Features (T', D) of the patient's crop; 0 where the patient is not found.

    The picture shows the posture in the crop, the cover, and the hand, which twists with the arm and clenches in any
    hold.

    Args:
        motion: what the body does.
        seen: what was found of it.
        traits: the subject's looks.
        rng: of this seizure's features.
        at: (T',) frames that are looked at.
        fps: of the features.
        channels: D.
    """
    likeness, light = _looks(traits, rng, len(at), fps)
    joints = np.nan_to_num(seen.keypoints[at][..., :2], nan=0.0).reshape(len(at), -1)
    hands = np.stack([motion.held[at], motion.twisted[at] + 0.25 * wander(rng, len(at), fps, 0.5, 1)[:, 0]], axis=-1)
    state = np.concatenate([3 * joints, 1.5 * hands, seen.covered[at], 0.5 * likeness, 0.7 * light], axis=-1)
    rows = features("pose", state, channels, rng, fps)
    rows[(seen.confidence[at] == 0).all(axis=-1)] = 0
    return rows.astype(np.float16)


def face_features(
    motion: FaceMotion,
    seen: FaceSeen,
    traits: LookTraits,
    rng: np.random.Generator,
    at: npt.NDArray[np.intp],
    *,
    fps: float,
    channels: int,
) -> npt.NDArray[np.float16]:
    """Features (T', D) of the face's crop; 0 where no face is found.

    The picture shows every facial action, the head's pose, light and likeness; and the skin, which flushes or pales
    with feeling and at other times too, and which no landmark sees.

    Args:
        motion: what the face does.
        seen: what was found of it.
        traits: the subject's looks.
        rng: of this seizure's features.
        at: (T',) frames that are looked at.
        fps: of the features.
        channels: D.
    """
    likeness, light = _looks(traits, rng, len(at), fps)
    blurred = motion.actions[at] + 0.12 * wander(rng, len(at), fps, 1.0, motion.actions.shape[1])
    skin = motion.emotional[at].sum(axis=-1, keepdims=True) + 0.4 * wander(rng, len(at), fps, 0.1, 1)
    state = np.concatenate([2.5 * blurred, skin, 1.5 * motion.pose[at], 0.4 * likeness, 0.7 * light], axis=-1)
    rows = features("face", state, channels, rng, fps)
    rows[~seen.found[at]] = 0
    return rows.astype(np.float16)
