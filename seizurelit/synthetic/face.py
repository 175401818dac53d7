"""How a face moves in the stand-in cohort: 23 landmarks driven by facial actions, seen by a camera on a crop.

Actions are named after the Facial Action Coding System (Ekman & Friesen, 1978). In emotion the face shows, on and
off, fear, rage or a smile (paper, section 2.1). In most other seizures it moves as long and as much without any: it
grimaces with effort, chews, calls out; and everyone blinks, mouths and turns the head. Fear shares the open mouth
with calling out, rage the lowered brow with effort.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seizurelit.synthetic.body import turn
from seizurelit.synthetic.chance import Booleans, Floats, bursts, episodes, oscillation, soften, wander

LANDMARKS = (17, 19, 21, 22, 24, 26, 36, 37, 39, 41, 42, 44, 45, 46, 30, 31, 35, 48, 51, 54, 57, 62, 66)
"""Their iBUG-68 numbers, in the stream's order."""

CROP = 224
"""Side of the face crop in pixels."""

ACTIONS = (
    "inner brow up",
    "outer brow up",
    "brow down",
    "lid up",
    "lid tight",
    "nose wrinkle",
    "lip corner up",
    "lip corner down",
    "lip stretch",
    "lip pucker",
    "jaw open",
    "eyes shut",
)
EMOTIONS = ("fear", "rage", "smile")

_EMOTIONAL = np.array(
    [
        [1.0, 0.6, 0.5, 1.0, 0.0, 0.0, 0.0, 0.2, 0.8, 0.0, 0.45, 0.0],
        [0.0, 0.0, 1.0, 0.7, 0.5, 0.7, 0.0, 0.4, 0.4, 0.0, 0.35, 0.0],
        [0.1, 0.2, 0.0, 0.1, 0.5, 0.1, 1.1, 0.0, 0.3, 0.0, 0.30, 0.0],
    ]
)
_NEUTRAL = np.array(
    [
        [0.1, 0.0, 0.8, 0.0, 1.0, 0.6, 0.1, 0.2, 0.6, 0.0, 0.10, 0.7],  # effort
        [0.2, 0.3, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.1, 0.3, 0.90, 0.1],  # calling out
        [0.1, 0.1, 0.1, 0.0, 0.1, 0.0, 0.1, 0.0, 0.2, 0.6, 0.40, 0.0],  # chewing
    ]
)

# x to the image's right, y down, z to the viewer; the outer corners of the eyes are 1 apart.
_HALF = {
    17: (-0.62, -0.26, -0.12),
    19: (-0.40, -0.39, 0.05),
    21: (-0.13, -0.30, 0.12),
    36: (-0.50, 0.00, -0.08),
    37: (-0.36, -0.055, 0.0),
    39: (-0.19, 0.01, 0.0),
    41: (-0.35, 0.05, 0.0),
    31: (-0.16, 0.53, 0.14),
    48: (-0.28, 0.86, 0.06),
}
_MIDDLE = {30: (0, 0.46, 0.32), 51: (0, 0.78, 0.16), 57: (0, 0.97, 0.14), 62: (0, 0.855, 0.13), 66: (0, 0.865, 0.13)}
_MIRROR = {17: 26, 19: 24, 21: 22, 36: 45, 37: 44, 39: 42, 41: 46, 31: 35, 48: 54}

# Displacement of a landmark of the image's left half by one unit of an action; x is turned over on the other half.
_MOVES: dict[str, dict[int, tuple[float, float]]] = {
    "inner brow up": {21: (0.0, -0.10), 19: (0.0, -0.04)},
    "outer brow up": {17: (0.0, -0.09), 19: (0.0, -0.07)},
    "brow down": {21: (0.04, 0.09), 19: (0.02, 0.07), 17: (0.0, 0.02)},
    "lid up": {37: (0.0, -0.035)},
    "lid tight": {37: (0.0, 0.015), 41: (0.0, -0.025)},
    "nose wrinkle": {31: (-0.02, -0.03), 51: (0.0, -0.03), 21: (0.01, 0.02)},
    "lip corner up": {48: (-0.07, -0.09), 41: (0.0, -0.01)},
    "lip corner down": {48: (-0.01, 0.08)},
    "lip stretch": {48: (-0.10, 0.01)},
    "lip pucker": {48: (0.09, 0.0), 51: (0.0, -0.015), 57: (0.0, 0.015)},
    "jaw open": {48: (0.02, 0.07), 57: (0.0, 0.22), 66: (0.0, 0.20), 62: (0.0, 0.02)},
    "eyes shut": {37: (0.0, 0.075), 41: (0.0, -0.015)},
}


def _template() -> Floats:
    points = {**_HALF, **_MIDDLE, **{_MIRROR[k]: (-x, y, z) for k, (x, y, z) in _HALF.items()}}
    return np.array([points[k] for k in LANDMARKS], dtype=np.float64)


def _basis() -> Floats:
    basis = np.zeros((len(ACTIONS), len(LANDMARKS), 3))
    place = {k: i for i, k in enumerate(LANDMARKS)}
    for row, action in enumerate(ACTIONS):
        for landmark, (x, y) in _MOVES[action].items():
            basis[row, place[landmark], :2] = x, y
            if landmark in _MIRROR:
                basis[row, place[_MIRROR[landmark]], :2] = -x, y
    return basis


TEMPLATE = _template()
"""(23, 3) a neutral face."""

BASIS = _basis()
"""(12, 23, 3) what one unit of each action does to it."""


@dataclass(frozen=True)
class FaceTraits:
    """What stays the same in a subject's face, whatever the signs.

    Attributes:
        shape: (23, 3) the subject's own neutral face, in units of the distance between the eyes' outer corners.
        rest: (12,) actions at rest (raised brows, half-shut eyes).
        style: (12,) the subject's strength in each action, about 1.
        emotion: (3,) shares of fear, rage and smile, if the subject has any.
        severity: how strong they are, 0 to 1.
        neutral: (3,) shares of effort, calling out and chewing.
        pose: (3,) usual pitch, yaw and roll of the head to the camera, radians.
        size: pixels between the eyes' outer corners in the crop.
    """

    shape: Floats
    rest: Floats
    style: Floats
    emotion: Floats
    severity: float
    neutral: Floats
    pose: Floats
    size: float


def draw_traits(rng: np.random.Generator, likeness: float) -> FaceTraits:
    """A subject's face; `likeness` scales what tells subjects apart."""
    own = 0.012 * likeness * rng.standard_normal(TEMPLATE.shape)
    mirrored = own[[LANDMARKS.index(_twin(k)) for k in LANDMARKS]] * [-1, 1, 1]
    kind = rng.choice(3, p=[0.7, 0.15, 0.15])
    shares = 0.55 * np.eye(3)[kind] + 0.45 * rng.dirichlet([1.5, 0.5, 0.5])
    return FaceTraits(
        shape=TEMPLATE + 0.8 * (own + mirrored) / 2 + 0.2 * own,
        rest=0.08 * likeness * np.abs(rng.standard_normal(len(ACTIONS))),
        style=np.exp(0.2 * rng.standard_normal(len(ACTIONS))),
        emotion=shares,
        severity=float(rng.uniform(0.75, 1.0)),
        neutral=rng.dirichlet([1.0] * 3),
        pose=np.array([0.07, 0.12, 0.05]) * likeness * rng.standard_normal(3),
        size=float(rng.uniform(70, 100)),
    )


def _twin(landmark: int) -> int:
    pairs = {**_MIRROR, **{v: k for k, v in _MIRROR.items()}}
    return pairs.get(landmark, landmark)


@dataclass(frozen=True)
class FaceMotion:
    """What the face does, before any camera.

    Attributes:
        actions: (T, 12) strength of each facial action, from 0.
        pose: (T, 3) pitch, yaw and roll of the head to the camera, radians.
        emotional: (T, 3) how much of fear, rage and smile is shown, 0 to 1; 0 where no emotion is shown.
        kind: the emotion that prevails in this seizure, if any is.
        span: seconds from the first to the last expression; None without any.
    """

    actions: Floats
    pose: Floats
    emotional: Floats
    kind: str
    span: tuple[float, float] | None


def move(traits: FaceTraits, rng: np.random.Generator, agitation: Floats, fps: float, emotion: float) -> FaceMotion:
    """One seizure's face; `emotion` in [0, 1] is how far the sign is shown, and the only thing that tells of it.

    The same numbers are drawn whatever `emotion` is. `agitation` (T,) is the body's.
    """
    frames = len(agitation)
    duration = frames / fps
    time = np.arange(frames) / fps
    start, end = duration * rng.uniform(0, 0.2), duration * rng.uniform(0.75, 1.0)
    on = episodes(rng, frames, fps, rng.uniform(0.65, 0.9), min(7.0, 0.25 * duration)) > 0.5
    on &= (time >= start) & (time < end)
    if not on.any():
        on = (time >= start) & (time < end)
    shown = np.flatnonzero(on)
    span = ((shown[0] + 0.5) / fps, (shown[-1] + 0.5) / fps)
    expresses = rng.random() < 0.85 + 0.15 * emotion
    mask = soften(on, fps, min(0.8, 0.1 * duration)) * (1.0 if expresses else 0.0)

    depth = emotion * traits.severity * np.exp(-np.abs(0.15 * rng.standard_normal()))
    feeling = 0.8 * traits.emotion + 0.2 * rng.dirichlet([0.5] * 3)
    feelings = feeling * np.exp(0.5 * wander(rng, frames, fps, 0.2, 3))
    feelings /= feelings.sum(axis=-1, keepdims=True)
    strain = 0.6 * traits.neutral + 0.4 * rng.dirichlet([0.7] * 3)
    strains = strain * np.exp(0.8 * wander(rng, frames, fps, 0.2, 3))
    strains /= strains.sum(axis=-1, keepdims=True)
    swell = np.clip(0.8 + 0.25 * wander(rng, frames, fps, 0.5, 1), 0.2, 1.4)
    shape = 1.15 * depth * (feelings @ _EMOTIONAL) + (1 - depth) * (strains @ _NEUTRAL)
    actions = mask[:, None] * swell * shape

    # What every face does, emotion or not.
    mouthing = episodes(rng, frames, fps, rng.uniform(0.0, 0.3), 4.0) * (1 - 0.7 * mask)
    chew = np.maximum(oscillation(rng, frames, fps, rng.uniform(0.9, 1.8)), 0)
    actions[:, ACTIONS.index("jaw open")] += 0.45 * mouthing * chew
    actions[:, ACTIONS.index("lip pucker")] += 0.3 * mouthing * (1 - chew)
    effort = episodes(rng, frames, fps, rng.uniform(0.05, 0.25), 2.5) * (0.4 + 0.6 * agitation)
    actions += 0.6 * effort[:, None] * _NEUTRAL[0]
    # A passing look that may be taken for a feeling.
    glance = episodes(rng, frames, fps, rng.uniform(0.0, 0.1), 1.2)
    actions += 0.4 * glance[:, None] * _EMOTIONAL[rng.integers(3)]
    blinks = episodes(rng, frames, fps, 0.06, 0.25)
    actions[:, ACTIONS.index("eyes shut")] += blinks
    actions = actions * traits.style + traits.rest + 0.06 * wander(rng, frames, fps, 1.0, len(ACTIONS))

    turning = wander(rng, frames, fps, 0.25, 3) * [0.10, 0.22, 0.07]
    shaking = wander(rng, frames, fps, 1.2, 3) * [0.07, 0.10, 0.06] * (0.3 + agitation)[:, None]
    return FaceMotion(
        actions=np.clip(actions, 0, 1.6),
        pose=traits.pose + turning + shaking,
        emotional=mask[:, None] * depth * feelings,
        kind=EMOTIONS[int(np.argmax(feeling))],
        span=span if expresses else None,
    )


@dataclass(frozen=True)
class FaceSeen:
    """What a landmark model makes of it.

    Attributes:
        keypoints: (T, 23, 2) pixels of the face crop, x to the right, y down; NaN = missing.
        confidence: (T, 23) in [0, 1]; 0 exactly where a landmark is missing.
        found: (T,) whether a face was found at all.
    """

    keypoints: Floats
    confidence: Floats
    found: Booleans


def observe(
    motion: FaceMotion, traits: FaceTraits, rng: np.random.Generator, fps: float, *, occlusion: float, missing: float
) -> FaceSeen:
    """Turn the head to the camera, cut the crop, hide the face at times, and blur the rest as a landmark model does."""
    frames = motion.actions.shape[0]
    points = traits.shape + np.tensordot(motion.actions, BASIS, axes=1)
    pitch, yaw, roll = np.moveaxis(motion.pose, -1, 0)
    head = turn(2, roll) @ turn(0, pitch) @ turn(1, yaw)
    centre = np.array([0.0, 0.3, -0.5])
    turned = np.einsum("tij,tvj->tvi", head, points - centre)
    flat = turned[..., :2] * (1 + 0.08 * turned[..., 2:])
    zoom = traits.size * (1 + 0.05 * wander(rng, frames, fps, 0.2, 1))
    jitter = 2.5 * wander(rng, frames, fps, 2.0, 2) + 0.5 * rng.standard_normal((frames, 2))
    pixels = CROP / 2 + flat * zoom[..., None] + jitter[:, None]

    aside = np.clip((np.abs(yaw) - 0.4) / 0.6, 0, 1)
    away = np.sign(yaw)[:, None] * np.sign(TEMPLATE[:, 0])[None, :]
    hand = episodes(rng, frames, fps, min(0.9, 0.12 * occlusion) if rng.random() < 0.5 else 0.0, 3.0)
    lower = (TEMPLATE[:, 1] > 0.3).astype(np.float64)
    cover = hand[:, None] * lower
    speed = np.linalg.norm(np.gradient(motion.pose, axis=0), axis=-1) * fps if frames > 1 else np.zeros(frames)
    doubt = 0.05 + 0.05 * np.clip(speed, 0, 4)[:, None] + 0.5 * cover + aside[:, None] * (0.15 + 0.25 * (away < 0))
    confidence = np.clip(1 - doubt + 0.03 * wander(rng, frames, fps, 3.0, len(LANDMARKS)), 0.05, 1.0)
    blur = traits.size * (0.006 + 0.05 * (1 - confidence))
    slow_error = wander(rng, frames, fps, 3.0, len(LANDMARKS) * 2).reshape(frames, len(LANDMARKS), 2)
    pixels += blur[..., None] * (slow_error + 0.5 * rng.standard_normal(pixels.shape))

    gone = episodes(rng, frames, fps, min(0.9, 0.08 * occlusion) if rng.random() < 0.6 else 0.0, 2.5) > 0.5
    gone |= (np.abs(yaw) > 1.1) & (occlusion > 0)
    share = np.full(len(LANDMARKS), missing * 0.5 * np.exp(0.5 * rng.standard_normal() - 0.125))
    lost: Booleans = bursts(rng, frames, fps, share) | ((cover > 0.6) & (wander(rng, frames, fps, 1.0, 1) > 0.3))
    lost |= gone[:, None]
    confidence[lost] = 0
    pixels[lost] = np.nan
    return FaceSeen(keypoints=pixels, confidence=confidence, found=~gone)
