"""Grounds as SVG, without names: joint × time maps, the learned graph on the body, deletion and insertion curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import RESEARCH_USE

Floats = npt.NDArray[np.float64]

# Okabe and Ito's colours (2008), and a sequential scale of one hue that prints in grey.
_MAP, _RANDOM, _BONE, _INK = "#0072B2", "#999999", "#c8c8c8", "#222222"
_STRONGEST = 15
_MOST_COLUMNS = 100


def _svg(width: float, height: float, label: str, body: Sequence[str], *, stand_in: bool) -> str:
    said = f"{'STAND-IN COHORT. ' if stand_in else ''}{RESEARCH_USE}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + 14:g}" role="img" aria-label="{escape(label)}" '
        f'font-family="system-ui,sans-serif" font-size="10" fill="{_INK}">'
        f"<title>{escape(label)}</title>{''.join(body)}"
        f'<text x="2" y="{height + 10:g}" font-size="6.5">{escape(said)}</text></svg>\n'
    )


def shade(share: float) -> str:
    """White to dark blue for 0 to 1."""
    share = min(max(share, 0.0), 1.0)
    low, high = np.array([247, 251, 255]), np.array([8, 48, 107])
    red, green, blue = (round(float(value)) for value in low + (high - low) * share**0.7)
    return f"#{red:02x}{green:02x}{blue:02x}"


def heat_map(shares: Floats, names: Sequence[str], seconds: float, label: str, *, stand_in: bool) -> str:
    """Joints (rows) over time (columns), dark where much speaks for the class.

    Args:
        shares: (S, V), 0 or above.
        names: of the V joints.
        seconds: of a bin.
        label: what it is.
        stand_in: whether the cohort is synthetic.
    """
    left, right, top, row = 90.0, 500.0, 18.0, 13.0
    seconds, shares = _coarser(shares, seconds)
    bins, joints = shares.shape
    most = float(shares.max()) or 1.0
    wide = (right - left) / max(bins, 1)
    body = [f'<text x="{left:g}" y="12">{escape(label)}</text>']
    for joint in range(joints):
        y = top + joint * row
        body.append(f'<text x="{left - 4:g}" y="{y + 10:g}" text-anchor="end">{escape(names[joint])}</text>')
        body.append(f'<rect x="{left:g}" y="{y:g}" width="{right - left:g}" height="{row - 1:g}" fill="{shade(0)}"/>')
        body += [
            f'<rect x="{left + place * wide:.1f}" y="{y:g}" width="{wide + 0.1:.1f}" height="{row - 1:g}" '
            f'fill="{shade(float(value) / most)}"/>'
            for place, value in enumerate(shares[:, joint])
            if value > 0.02 * most
        ]
    bottom = top + joints * row
    body += _time_axis(left, right, bottom, bins * seconds)
    share = shares.sum(axis=0)
    total = float(share.sum()) or 1.0
    body += [
        f'<text x="{right + 4:g}" y="{top + joint * row + 10:g}">{share[joint] / total:.0%}</text>'
        for joint in range(joints)
    ]
    return _svg(540, bottom + 26, label, body, stand_in=stand_in)


def _coarser(shares: Floats, seconds: float) -> tuple[float, Floats]:
    """At most `_MOST_COLUMNS` bins, each the sum of as many."""
    together = -(-len(shares) // _MOST_COLUMNS)
    padded = np.pad(shares, ((0, -len(shares) % together), (0, 0)))
    return seconds * together, np.asarray(padded.reshape(-1, together, shares.shape[1]).sum(axis=1), dtype=float)


def _time_axis(left: float, right: float, y: float, seconds: float) -> list[str]:
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 600, 3600) if seconds / step <= 12 or step == 3600)
    ticks = np.arange(0, seconds + 1e-9, step)
    places = left + ticks / max(seconds, 1e-9) * (right - left)
    marks = [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:g}" y2="{y + 3:g}" stroke="{_INK}"/>'
        f'<text x="{x:.1f}" y="{y + 13:g}" text-anchor="middle">{tick:g}</text>'
        for x, tick in zip(places, ticks, strict=True)
    ]
    return [*marks, f'<text x="{(left + right) / 2:g}" y="{y + 23:g}" text-anchor="middle">seconds</text>']


def body_places(skeleton: Skeleton, median: Floats | None) -> Floats:
    """(V, 2) where the joints are drawn, in [0, 1], y down: their median place seen from the front, else a circle.

    Args:
        skeleton: of the joints.
        median: (V, 2) lateral and upward; None or NaN where unknown.
    """
    count = len(skeleton.joints)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = np.stack([0.5 + 0.45 * np.sin(angle), 0.5 - 0.45 * np.cos(angle)], axis=1)
    if median is None or not np.isfinite(median).all() or float(np.ptp(median, axis=0).max()) <= 0:
        return circle
    # The patient's left is on the picture's right, as on a screen that faces the patient.
    low, high = median.min(axis=0), median.max(axis=0)
    scale = 0.9 / float((high - low).max())
    centred = (median - (low + high) / 2) * scale
    return np.stack([0.5 + centred[:, 0], 0.5 - centred[:, 1]], axis=1)


def graph(adjacency: Floats, skeleton: Skeleton, places: Floats, label: str, *, stand_in: bool) -> str:
    """The strongest links of a learned adjacency on the body, a panel a block.

    Args:
        adjacency: (blocks, V, V), source joint, target joint.
        skeleton: its bones are drawn in grey.
        places: (V, 2) in [0, 1].
        label: what it is.
        stand_in: whether the cohort is synthetic.
    """
    side, gap = 150.0, 12.0
    blocks = len(adjacency)
    columns = min(blocks, 5)
    rows = -(-blocks // columns)
    body = [f'<text x="4" y="12">{escape(label)}</text>']
    for number, matrix in enumerate(adjacency):
        x0, y0 = gap + (number % columns) * (side + gap), 32 + (number // columns) * (side + 30)
        at = places * side + (x0, y0)
        body.append(f'<text x="{x0:g}" y="{y0 - 6:g}">block {number + 1}</text>')
        body += [_line(at[child], at[parent], _BONE, 4, 1) for child, parent in skeleton.bones]
        strength = np.abs(matrix)
        np.fill_diagonal(strength, 0)
        most = float(strength.max()) or 1.0
        pairs = np.triu(np.maximum(strength, strength.T))
        order = np.argsort(-pairs, axis=None)[:_STRONGEST]
        for source, target in (np.unravel_index(place, strength.shape) for place in reversed(order)):
            weight = float(pairs[source, target]) / most
            stronger = (source, target) if strength[source, target] >= strength[target, source] else (target, source)
            colour = _MAP if matrix[stronger] > 0 else "#D55E00"
            body.append(_line(at[source], at[target], colour, 0.5 + 2.5 * weight, 0.25 + 0.75 * weight))
        into = strength.sum(axis=1)
        size = into / (float(into.max()) or 1.0)
        body += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + 4 * part:.1f}" fill="{_INK}"><title>{escape(name)}</title></circle>'
            for (x, y), part, name in zip(at, size, skeleton.joints, strict=True)
        ]
    below = 32 + rows * (side + 30)
    body.append(
        f'<text x="4" y="{below - 12:g}" font-size="8">blue: above 0, orange: below; the {_STRONGEST} strongest links of each '
        "block; a larger dot gives more to others</text>"
    )
    return _svg(max(columns * (side + gap) + gap, 420), below, label, body, stand_in=stand_in)


def _line(one: Floats, other: Floats, colour: str, width: float, opacity: float) -> str:
    return (
        f'<line x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" y2="{other[1]:.1f}" stroke="{colour}" '
        f'stroke-width="{width:.2f}" stroke-opacity="{opacity:.2f}" stroke-linecap="round"/>'
    )


def deletion(
    curves: Mapping[str, tuple[Floats, Floats]], fractions: Sequence[float], label: str, *, stand_in: bool
) -> str:
    """Score against the share that is taken away or put in: the map's own order and random ones.

    Args:
        curves: deletion and insertion → (F,) by the map and (F,) at random.
        fractions: (F,).
        label: what it is.
        stand_in: whether the cohort is synthetic.
    """
    side, gap, top = 170.0, 60.0, 40.0
    body = [f'<text x="4" y="12">{escape(label)}</text>']
    for number, (name, (own, random)) in enumerate(curves.items()):
        x0 = 40 + number * (side + gap)
        body.append(f'<text x="{x0:g}" y="{top - 8:g}">{escape(name)}</text>')
        body.append(f'<rect x="{x0:g}" y="{top:g}" width="{side:g}" height="{side:g}" fill="none" stroke="{_BONE}"/>')
        for tick in (0.0, 0.5, 1.0):
            y = top + side * (1 - tick)
            body.append(f'<text x="{x0 - 4:g}" y="{y + 3:.1f}" text-anchor="end">{tick:g}</text>')
            body.append(
                f'<text x="{x0 + side * tick:.1f}" y="{top + side + 12:g}" text-anchor="middle">{tick:.0%}</text>'
            )
        for values, colour, dash in ((random, _RANDOM, "4 3"), (own, _MAP, "")):
            points = " ".join(
                f"{x0 + side * fraction:.1f},{top + side * (1 - float(value)):.1f}"
                for fraction, value in zip(fractions, values, strict=True)
            )
            body.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            )
    foot = top + side + 28
    body.append(
        f'<text x="40" y="{foot:g}" font-size="8">score of the class that was named, against the share of joints and times; blue: '
        "in the map’s order, grey: in random order</text>"
    )
    return _svg(560, foot + 6, label, body, stand_in=stand_in)
