"""How a body moves in the stand-in cohort: a kinematic chain in bed, and what a camera with a pose model sees of it.

Axes of the patient: x to the patient's left, y up, z from the pillow to the foot of the bed; metres. Every seizure
is hyperkinetic (pedalling, rocking, thrashing, thrusting: paper, Introduction). In dystonia one arm is held, on and
off, in a twisted posture: upper arm abducted and turned inwards, elbow bent. In most other seizures one arm is held
as long and as still, but in a natural way (a grip on the rail), and every arm passes through bent and turned
postures in moving, so that neither stillness nor amount of movement nor a single frame tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seizurelit.synthetic.chance import Booleans, Floats, bursts, episodes, oscillation, soften, wander

PELVIS, NECK, HEAD, LEFT_HIP, RIGHT_HIP = 0, 1, 2, 9, 10
LEFT_ARM, RIGHT_ARM = (3, 4, 5), (6, 7, 8)
JOINTS = 11

TWISTED = np.array([1.35, -0.1, 1.6, 1.9])
"""Dystonic posture: abduction, flexion, inward rotation of the upper arm and flexion of the elbow, in radians."""

GRIP = np.array([0.8, 0.6, 0.25, 0.9])
"""Natural hold (a hand on the rail or on the mattress), the same angles."""

LOOSE = np.array([0.55, 0.65, 0.55, 1.25])
"""The middle of an arm's free movement, the same angles."""

ANGLES = 4


@dataclass(frozen=True)
class BodyTraits:
    """What stays the same in a subject, whatever the signs.

    Attributes:
        torso, head, shoulder, upper_arm, forearm, hip: lengths in metres (shoulder and hip: half widths).
        habit: (2, 4) the subject's own shift of the arms' middle posture, left and right, radians.
        twist: (4,) the subject's own shift of the dystonic posture, radians.
        hold: (4,) the subject's own shift of the natural hold, radians.
        severity: how far the arm is taken to the twisted posture, 0 to 1.
        side: 0 left, 1 right: the arm that is held, in most seizures.
        kinds: (4,) shares of pedalling, rocking, thrashing, thrusting.
        vigour: size of the movements, about 1.
        recline: of the trunk from upright, radians.
        azimuth: of the camera about the vertical, radians.
        elevation: of the camera above the horizontal, radians.
        distance: of the camera, metres.
        bias: (11, 3) constant error of the pose model on this subject, metres, camera axes.
    """

    torso: float
    head: float
    shoulder: float
    upper_arm: float
    forearm: float
    hip: float
    habit: Floats
    twist: Floats
    hold: Floats
    severity: float
    side: int
    kinds: Floats
    vigour: float
    recline: float
    azimuth: float
    elevation: float
    distance: float
    bias: Floats


def draw_traits(rng: np.random.Generator, likeness: float) -> BodyTraits:
    """A subject's body, habits and camera; `likeness` scales what tells subjects apart."""
    size = 1 + 0.08 * np.clip(rng.standard_normal(), -2, 2)
    proportions = size * (1 + 0.03 * likeness * np.clip(rng.standard_normal(6), -2, 2))
    torso, head, shoulder, upper_arm, forearm, hip = np.array([0.50, 0.21, 0.18, 0.28, 0.24, 0.10]) * proportions
    return BodyTraits(
        torso=float(torso),
        head=float(head),
        shoulder=float(shoulder),
        upper_arm=float(upper_arm),
        forearm=float(forearm),
        hip=float(hip),
        habit=0.12 * likeness * rng.standard_normal((2, ANGLES)),
        twist=0.15 * rng.standard_normal(ANGLES),
        hold=0.2 * rng.standard_normal(ANGLES),
        severity=float(rng.uniform(0.8, 1.0)),
        side=int(rng.integers(2)),
        kinds=rng.dirichlet([0.8] * 4),
        vigour=float(np.exp(0.3 * rng.standard_normal())),
        recline=float(np.clip(0.8 + 0.12 * likeness * rng.standard_normal(), 0.2, 1.4)),
        azimuth=float(np.clip(0.2 * likeness * rng.standard_normal(), -1.2, 1.2)),
        elevation=float(rng.uniform(0.3, 0.7)),
        distance=float(rng.uniform(2.4, 4.0)),
        bias=0.008 * likeness * rng.standard_normal((JOINTS, 3)),
    )


@dataclass(frozen=True)
class BodyMotion:
    """What the body does, before any camera.

    Attributes:
        joints: (T, 11, 3) metres from the pelvis, patient axes.
        root: (T, 3) path of the pelvis, metres, patient axes.
        agitation: (T,) how violent the seizure is at the moment, about 0 to 1.
        twisted: (T,) share of the dystonic posture in the held arm, 0 to 1; 0 where no dystonia is shown.
        held: (T,) share of any hold in that arm, 0 to 1.
        side: 0 left, 1 right: the arm that is held, or would be.
        span: seconds from the first to the last hold; None without any.
    """

    joints: Floats
    root: Floats
    agitation: Floats
    twisted: Floats
    held: Floats
    side: int
    span: tuple[float, float] | None


def turn(axis: int, angle: Floats) -> Floats:
    """Rotation matrices (…, 3, 3) about x, y or z (0, 1, 2), right-handed."""
    c, s = np.cos(angle), np.sin(angle)
    matrices = np.zeros((*np.shape(angle), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrices[..., axis, axis] = 1
    matrices[..., i, i] = matrices[..., j, j] = c
    matrices[..., i, j], matrices[..., j, i] = -s, s
    return matrices


def arm_directions(angles: Floats) -> tuple[Floats, Floats]:
    """Unit vectors (…, 3) of a left upper arm and forearm in the trunk's axes; the right arm's have x turned over.

    `angles` (…, 4) are abduction, flexion, inward rotation and elbow flexion in radians; all 0 is an arm hanging
    straight down.
    """
    abduction, flexion, inward, elbow = np.moveaxis(angles, -1, 0)
    ca, sa, cf, sf = np.cos(abduction), np.sin(abduction), np.cos(flexion), np.sin(flexion)

    def placed(x: Floats, y: Floats, z: Floats) -> Floats:
        y, z = y * cf + z * sf, z * cf - y * sf
        return np.stack([x * ca - y * sa, x * sa + y * ca, z], axis=-1)

    zero = np.zeros_like(abduction)
    upper = placed(zero, zero - 1, zero)
    fore = placed(-np.sin(elbow) * np.sin(inward), -np.cos(elbow), np.sin(elbow) * np.cos(inward))
    return upper, fore


def _hold(rng: np.random.Generator, frames: int, fps: float) -> tuple[Floats, tuple[float, float]]:
    """An intermittent hold: mask (T,) in [0, 1] and the seconds of its first and last frames' middles."""
    duration = frames / fps
    start, end = duration * rng.uniform(0, 0.2), duration * rng.uniform(0.75, 1.0)
    time = np.arange(frames) / fps
    on = episodes(rng, frames, fps, rng.uniform(0.75, 0.95), min(9.0, 0.3 * duration)) > 0.5
    on &= (time >= start) & (time < end)
    if not on.any():
        on = (time >= start) & (time < end)
    shown = np.flatnonzero(on)
    return soften(on, fps, min(1.2, 0.1 * duration)), ((shown[0] + 0.5) / fps, (shown[-1] + 0.5) / fps)


def move(traits: BodyTraits, rng: np.random.Generator, frames: int, fps: float, dystonia: float) -> BodyMotion:
    """One seizure of a subject; `dystonia` in [0, 1] is how far the sign is shown, and the only thing that tells of it.

    The same numbers are drawn whatever `dystonia` is.
    """
    kinds = 0.6 * traits.kinds + 0.4 * rng.dirichlet([0.8] * 4)
    pedalling, rocking, thrashing, thrusting = kinds * 2
    vigour = traits.vigour * np.exp(0.25 * rng.standard_normal())
    slow = wander(rng, frames, fps, 0.08, 1 + 3 + 2 * ANGLES)
    surge = 1 / (1 + np.exp(-(slow[:, 0] * 1.2 + 0.6)))
    fade = np.clip(np.minimum(np.arange(frames) + 1, 0.3 * frames) / (0.3 * frames), 0.3, 1)
    agitation = surge * fade
    drive = vigour * agitation

    cycles = {
        "pedal": oscillation(rng, frames, fps, rng.uniform(0.9, 1.8)),
        "rock": oscillation(rng, frames, fps, rng.uniform(0.3, 0.8)),
        "thrust": oscillation(rng, frames, fps, rng.uniform(0.7, 1.6)),
    }
    trunk_noise = wander(rng, frames, fps, 1.0, 3)
    pitch = -(traits.recline + 0.15 * slow[:, 1] - drive * (0.3 * rocking * cycles["rock"] + 0.08 * trunk_noise[:, 0]))
    roll = 0.1 * slow[:, 2] + drive * (
        0.10 * pedalling * cycles["pedal"] + (0.05 + 0.1 * thrashing) * trunk_noise[:, 1]
    )
    yaw = 0.2 * slow[:, 3] + drive * (0.05 + 0.15 * thrashing) * trunk_noise[:, 2]
    trunk = turn(1, yaw) @ turn(0, pitch) @ turn(2, roll)
    nod = wander(rng, frames, fps, 0.9, 2) * (0.12 + 0.15 * drive[:, None])

    # The arms' free movement: a wandering middle, ballistic throws, and the pull of the body's rhythm.
    side = traits.side if rng.random() < 0.85 else 1 - traits.side
    fast = wander(rng, frames, fps, rng.uniform(1.0, 1.8), 2 * ANGLES)
    reach = np.array([0.45, 0.5, 0.55, 0.5])
    free = np.empty((2, frames, ANGLES))
    for arm in range(2):
        columns = slice(arm * ANGLES, (arm + 1) * ANGLES)
        throws = fast[:, columns] * (drive * (0.35 + 0.8 * thrashing))[:, None]
        rhythm = (pedalling * cycles["pedal"] * (1 - 2 * arm) + rocking * cycles["rock"]) * drive * 0.2
        free[arm] = LOOSE + traits.habit[arm] + reach * (0.5 * slow[:, 4 + arm * ANGLES :][:, :ANGLES] + throws)
        free[arm] += rhythm[:, None] * [0.3, 0.6, 0.2, 0.6]

    mask, span = _hold(rng, frames, fps)
    holds = rng.random() < 0.8 + 0.2 * dystonia
    depth = np.exp(-np.abs(0.15 * rng.standard_normal())) * dystonia * traits.severity
    posture = (1 - depth) * (GRIP + traits.hold) + depth * (TWISTED + traits.twist)
    held = mask * (0.95 if holds else 0.0)
    tremor = wander(rng, frames, fps, 4.0, ANGLES) * 0.05 + wander(rng, frames, fps, 0.15, ANGLES) * 0.15
    free[side] = (1 - held[:, None]) * free[side] + held[:, None] * (posture + tremor)
    # Now and then the other arm is held too, naturally; and any hand goes to the face or behind the head.
    other = episodes(rng, frames, fps, 0.35 if rng.random() < 0.4 else 0.0, min(6.0, 0.2 * frames / fps)) * 0.9
    free[1 - side] = (1 - other[:, None]) * free[1 - side] + other[:, None] * (GRIP + traits.hold + tremor[:, ::-1])
    for arm in range(2):
        passing = episodes(rng, frames, fps, 0.08, min(2.0, 0.2 * frames / fps))[:, None]
        passing = passing * (1 - (held if arm == side else other))[:, None]
        target = np.array([0.9, 0.6, 1.0, 2.1]) + 0.4 * rng.standard_normal(ANGLES)
        free[arm] = (1 - passing) * free[arm] + passing * target
    limits = np.array([[-0.1, -0.7, -0.9, 0.05], [2.4, 2.6, 2.0, 2.5]])
    free = np.clip(free, limits[0], limits[1])

    joints = np.zeros((frames, JOINTS, 3))

    def carried(vectors: Floats) -> Floats:
        placed: Floats = np.einsum("tij,tj->ti", trunk, np.broadcast_to(vectors, (frames, 3)))
        return placed

    joints[:, NECK] = carried(np.array([0, traits.torso, 0]))
    tilt = np.stack([nod[:, 0], np.ones(frames), 0.15 + nod[:, 1]], axis=-1)
    joints[:, HEAD] = joints[:, NECK] + carried(traits.head * tilt / np.linalg.norm(tilt, axis=-1, keepdims=True))
    lift = 0.025 * held * depth
    for arm, (shoulder, elbow, wrist) in enumerate((LEFT_ARM, RIGHT_ARM)):
        mirror = np.array([1.0 - 2 * arm, 1, 1])
        upper, fore = arm_directions(free[arm])
        at = np.stack([np.full(frames, traits.shoulder), lift * (arm == side) - 0.03, np.zeros(frames)], axis=-1)
        joints[:, shoulder] = joints[:, NECK] + carried(at * mirror)
        joints[:, elbow] = joints[:, shoulder] + carried(traits.upper_arm * upper * mirror)
        joints[:, wrist] = joints[:, elbow] + carried(traits.forearm * fore * mirror)
    swing = drive * (0.25 * pedalling * cycles["pedal"] + 0.1 * thrashing * trunk_noise[:, 1]) + 0.05 * slow[:, 2]
    hips = np.stack([np.cos(swing), np.sin(swing), 0.3 * np.sin(swing)], axis=-1) * traits.hip
    joints[:, LEFT_HIP], joints[:, RIGHT_HIP] = hips, -hips

    slide = wander(rng, frames, fps, 0.1, 3)
    root = np.stack(
        [
            0.05 * slide[:, 0] + 0.03 * drive * trunk_noise[:, 2],
            0.02 * slide[:, 1] + drive * 0.07 * thrusting * np.maximum(cycles["thrust"], -0.3),
            0.06 * slide[:, 2] + drive * 0.05 * rocking * cycles["rock"],
        ],
        axis=-1,
    )
    return BodyMotion(
        joints=joints,
        root=root,
        agitation=agitation,
        twisted=held * depth,
        held=held,
        side=side,
        span=span if holds else None,
    )


@dataclass(frozen=True)
class BodySeen:
    """What a pose model makes of it.

    Attributes:
        keypoints: (T, 11, 3) metres from the pelvis; x to the camera's right, y up, z to the camera (but level); NaN
            = missing.
        root: (T, 3) path of the pelvis on the same axes, metres; NaN where the patient is not found.
        confidence: (T, 11) in [0, 1]; 0 exactly where a joint is missing.
        keypoints_2d: (T, 11, 2) pixels at the display aspect, x to the right, y down; NaN = missing.
        box: (T, 4) x0, y0, x1, y1 of the patient in pixels; NaN where the patient is not found.
        covered: (T, 4) how far blanket, left arm's and right arm's cover and staff hide the patient, 0 to 1.
    """

    keypoints: Floats
    root: Floats
    confidence: Floats
    keypoints_2d: Floats
    box: Floats
    covered: Floats


def observe(
    motion: BodyMotion,
    traits: BodyTraits,
    rng: np.random.Generator,
    fps: float,
    size: tuple[int, int],
    *,
    occlusion: float,
    missing: float,
) -> BodySeen:
    """Turn the body to the camera, hide parts of it, and blur the rest as a 2D-to-3D pose model does.

    Args:
        motion: what the body does.
        traits: the subject's camera, and the model's bias on the subject.
        rng: of this seizure's recording.
        fps: frames a second.
        size: display width and height in pixels.
        occlusion: 1 for the usual share of episodes.
        missing: mean share of joints lost for no visible reason.
    """
    frames = motion.joints.shape[0]
    view = turn(1, np.asarray(traits.azimuth))
    joints, root = motion.joints @ view.T, motion.root @ view.T

    def hidden(chance: float, share: float, seconds: float) -> Floats:
        happens = rng.random() < chance
        return episodes(rng, frames, fps, min(0.95, share * occlusion) if happens else 0.0, seconds)

    covered = np.stack(
        [hidden(0.6, 0.45, 12.0), hidden(0.4, 0.15, 4.0), hidden(0.4, 0.15, 4.0), hidden(0.3, 0.05, 1.5)], axis=-1
    )
    cover = np.zeros((frames, JOINTS))
    cover[:, [LEFT_HIP, RIGHT_HIP]] = covered[:, :1]
    cover[:, PELVIS] = 0.5 * covered[:, 0]
    for column, (_, elbow, wrist) in ((1, LEFT_ARM), (2, RIGHT_ARM)):
        cover[:, wrist] = covered[:, column]
        cover[:, elbow] = 0.7 * covered[:, column]

    speed = np.linalg.norm(np.gradient(joints, axis=0), axis=-1) * fps if frames > 1 else np.zeros((frames, JOINTS))
    doubt = 0.06 + 0.08 * np.clip(speed, 0, 4) + 0.55 * cover
    confidence = np.clip(1 - doubt + 0.04 * wander(rng, frames, fps, 3.0, JOINTS), 0.05, 1.0)
    blur = 0.008 + 0.05 * (1 - confidence)
    depth = np.array([1.0, 1.0, 2.2])
    slow_error = wander(rng, frames, fps, 3.0, JOINTS * 3).reshape(frames, JOINTS, 3)
    error = blur[..., None] * depth * (slow_error + 0.3 * rng.standard_normal((frames, JOINTS, 3))) + traits.bias
    error -= error[:, :1]
    seen = joints + error

    often = np.array([0.0, 0.5, 0.5, 0.7, 1.2, 2.2, 0.7, 1.2, 2.2, 1.3, 1.3])
    share = np.clip(missing * np.exp(0.5 * rng.standard_normal() - 0.125) * often, 0, 0.9)
    lost: Booleans = bursts(rng, frames, fps, share)
    lost |= (wander(rng, frames, fps, 1.0, JOINTS) > 0) & (cover > 0.55)
    lost |= (covered[:, 3] > 0.5)[:, None]
    confidence[lost] = 0
    absent = lost[:, PELVIS]

    pixels = _project(seen + root[:, None], traits, size) + 1.5 * rng.standard_normal((frames, JOINTS, 2))
    seen[lost], pixels[lost] = np.nan, np.nan
    margin = 0.06 * size[1]
    with np.errstate(invalid="ignore"):
        filled = np.where(lost[..., None], np.inf, pixels)
        low = filled.min(axis=1) - margin
        high = np.where(lost[..., None], -np.inf, pixels).max(axis=1) + margin
        box = np.clip(np.concatenate([low, high], axis=-1), 0, np.tile(np.array(size, dtype=np.float64), 2))
    box[absent], root[absent] = np.nan, np.nan
    return BodySeen(keypoints=seen, root=root, confidence=confidence, keypoints_2d=pixels, box=box, covered=covered)


def _project(points: Floats, traits: BodyTraits, size: tuple[int, int]) -> Floats:
    """Pinhole camera that looks down at the bed: (…, 3) metres on level camera axes → (…, 2) pixels, y down."""
    up = np.array([0, np.cos(traits.elevation), -np.sin(traits.elevation)])
    back = np.array([0, np.sin(traits.elevation), np.cos(traits.elevation)])
    centred = points - [0, 0.25, 0]
    focal = size[1] * traits.distance / 1.9
    away = np.maximum(traits.distance - centred @ back, 0.5)
    x = size[0] / 2 + focal * centred[..., 0] / away
    y = size[1] / 2 - focal * (centred @ up) / away
    return np.stack([x, y], axis=-1)
