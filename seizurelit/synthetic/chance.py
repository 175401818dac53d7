"""Chance in time, for the stand-in cohort: noise of a given speed, rhythms, episodes, short losses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


def wander(rng: np.random.Generator, frames: int, fps: float, hertz: float, columns: int) -> Floats:
    """Smooth noise of about unit variance with next to no power above `hertz`: (frames, columns).

    White noise at `2·hertz` knots a second, joined by cubic splines.
    """
    knots = int(np.ceil(frames / fps * 2 * hertz)) + 6
    at = (np.arange(knots) - 2 - rng.random()) / (2 * hertz)
    curve = CubicSpline(at, rng.standard_normal((knots, columns)), axis=0)
    return np.asarray(curve(np.arange(frames) / fps), dtype=np.float64) * 1.1


def oscillation(rng: np.random.Generator, frames: int, fps: float, hertz: float) -> Floats:
    """A rhythm of about that frequency whose speed and height waver: (frames,), mostly within ±1."""
    drift = wander(rng, frames, fps, 0.3, 2)
    phase = 2 * np.pi * (rng.random() + np.cumsum(hertz * np.exp(0.15 * drift[:, 0])) / fps)
    return np.asarray(np.sin(phase) * np.exp(0.25 * drift[:, 1] - 0.1), dtype=np.float64)


def episodes(rng: np.random.Generator, frames: int, fps: float, share: float, seconds: float) -> Floats:
    """A mask in [0, 1] that is on for about that share of the time, in episodes of that mean length: (frames,).

    Lengths are lognormal; the edges rise and fall within 0.4 s.
    """
    if share <= 0:
        return np.zeros(frames)
    if share >= 1:
        return np.ones(frames)
    pause = seconds * (1 - share) / share
    count = 2 * int(np.ceil(frames / fps / (seconds + pause))) + 8
    lengths = np.exp(0.45 * rng.standard_normal((count, 2))) * [seconds, pause]
    edges = np.cumsum(lengths.ravel()) - rng.random() * (seconds + pause) * 2
    on = np.searchsorted(edges, np.arange(frames) / fps, side="right") % 2 == 0
    return soften(on, fps, 0.4)


def soften(on: Booleans, fps: float, seconds: float) -> Floats:
    """The mask with edges that take so long (a Hann window of that length): (frames,) in [0, 1]."""
    width = max(3, 2 * int(seconds * fps / 2) + 1)
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(on.astype(np.float64), width // 2, mode="edge")
    return np.clip(np.convolve(padded, window / window.sum(), mode="valid"), 0.0, 1.0)


def bursts(rng: np.random.Generator, frames: int, fps: float, shares: Floats) -> Booleans:
    """Short losses: (frames, columns), each column true for about its share of the time, in runs of some frames."""
    noise = wander(rng, frames, fps, 2.5, shares.shape[0])
    ranks = np.argsort(np.argsort(noise, axis=0, kind="stable"), axis=0, kind="stable")
    return np.asarray(ranks >= np.rint((1 - np.clip(shares, 0, 1)) * frames))
