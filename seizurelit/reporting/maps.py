"""Grounds as inline SVG: joints over time under the scores of the windows, the learned graph on the body, faithfulness curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from seizurelit.evaluation.statistics.cases import Floats
from seizurelit.reporting.drawing import path
from seizurelit.reporting.evidence import Window
from seizurelit.reporting.grounds import Band, RowGrounds, SeizureGrounds

_LEFT, _WIDE, _RIGHT = 66, 220, 24
_STRIP = 24
_MOST_COLUMNS = 60
_LEVELS = 5
_FAINTEST = 0.06
"""Of the strongest value of a map; what is below is not drawn."""
_STRONGEST = 24
"""Links of a block that are drawn."""


def timed_map(found: SeizureGrounds, row: RowGrounds, windows: Sequence[Window], threshold: float, label: str) -> str:
    """A seizure's scores over time, and below, on the same clock, integrated gradients and Grad-CAM of each joint.

    Args:
        found: of the seizure.
        row: whose joints and bins.
        windows: with their scores; none if the run kept none.
        threshold: of the scores; NaN without one.
        label: what a screen reader says.
    """
    together = -(-len(found.values) // _MOST_COLUMNS)
    seconds = len(found.values) * row.seconds
    high = 9 if len(row.names) <= 12 else 6
    parts = []
    top = 0
    if windows:
        parts.append(_strip(windows, seconds, threshold))
        top = _STRIP + 4
    maps = [("integrated gradients", found.values)]
    if found.grad_cam is not None:
        maps.append(("Grad-CAM", found.grad_cam))
    for title, values in maps:
        parts.append(f'<text x="{_LEFT}" y="{top + 7}">{title}</text>')
        parts.append(_map(_coarser(values, together), row.names, top + 10, high, coarse=high < 9))
        top += 10 + high * len(row.names) + 3
    parts.append(_clock(seconds, top))
    return (
        f'<svg class="map" viewBox="0 0 {_LEFT + _WIDE + _RIGHT} {top + 12}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _strip(windows: Sequence[Window], seconds: float, threshold: float) -> str:
    """Scores of the windows, each over its own seconds."""

    def y(score: float) -> str:
        return f"{2 + (_STRIP - 4) * (1 - score):.1f}"

    def x(time: float) -> str:
        return f"{_LEFT + _WIDE * min(time / seconds, 1.0):.1f}"

    lines = "".join(f"M{x(window.start)} {y(window.score)}H{x(window.end)}" for window in windows)
    cut = f'<path class="chance" d="M{_LEFT} {y(threshold)}h{_WIDE}"/>' if math.isfinite(threshold) else ""
    return (
        f'<rect class="frame" x="{_LEFT}" y="0" width="{_WIDE}" height="{_STRIP}"/>{cut}<path class="line" d="{lines}"/>'
        f'<text x="{_LEFT - 4}" y="8" text-anchor="end">score 1</text><text x="{_LEFT - 4}" y="{_STRIP}" text-anchor="end">0</text>'
    )


def _coarser(values: Floats, together: int) -> Floats:
    padded = np.pad(values, ((0, -len(values) % together), (0, 0)))
    return np.asarray(padded.reshape(-1, together, values.shape[1]).sum(axis=1), dtype=float)


def _map(values: Floats, names: Sequence[str], top: int, high: int, *, coarse: bool) -> str:
    """(S, V) as runs of equal strength, one path a strength; what speaks against the class in the other colour."""
    most = float(np.abs(values).max()) or 1.0
    wide = _WIDE / len(values)
    layers = []
    for kind, part in (("for", values), ("against", -values)):
        levels = np.where(part > _FAINTEST * most, np.ceil(_LEVELS * (part.clip(min=0) / most) ** 0.7), 0).astype(int)
        for level in range(1, _LEVELS + 1):
            if d := _runs(levels == level):
                layers.append(f'<path class="{kind} g{level}" d="{d}"/>')
    shares = values.clip(min=0).sum(axis=0)
    total = float(shares.sum()) or 1.0
    small = ' class="small"' if coarse else ""
    texts = "".join(
        f'<text{small} x="{_LEFT - 4}" y="{top + high * joint + high - 1.5:g}" text-anchor="end">{escape(name)}</text>'
        + (
            f'<text{small} x="{_LEFT + _WIDE + 3}" y="{top + high * joint + high - 1.5:g}">{share / total:.0%}</text>'
            if len(names) > 1
            else ""
        )
        for joint, (name, share) in enumerate(zip(names, shares, strict=True))
    )
    return (
        f'<rect class="frame" x="{_LEFT}" y="{top}" width="{_WIDE}" height="{high * len(names)}"/>'
        f'<g transform="translate({_LEFT} {top + high / 2:g}) scale({wide:.4g} {high})">{"".join(layers)}</g>{texts}'
    )


def _runs(marked: np.ndarray) -> str:
    """The `d` of horizontal lines over the marked cells (S, V), a unit a bin and a joint."""
    parts = []
    for joint in range(marked.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], marked[:, joint].astype(int), [0]])))
        parts += [f"M{start} {joint}h{stop - start}" for start, stop in edges.reshape(-1, 2)]
    return "".join(parts)


def _clock(seconds: float, y: int) -> str:
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 600, 3600) if seconds / step <= 8 or step == 3600)
    ticks = [tick * step for tick in range(int(seconds / step + 1e-9) + 1)]
    return "".join(
        f'<text x="{_LEFT + _WIDE * tick / seconds:.1f}" y="{y + 7}" text-anchor="middle">{tick}{" s" * (tick == ticks[-1])}</text>'
        for tick in ticks
    )


def graph(row: RowGrounds, block: int, label: str) -> str:
    """The strongest links that a block has learned, on the body: blue above 0, orange below; a larger dot gives more to others."""
    assert row.adjacency is not None
    matrix, side, edge = row.adjacency[block], 110, 10
    at = row.places * side + edge
    strength = np.abs(matrix)
    np.fill_diagonal(strength, 0)
    most = float(strength.max()) or 1.0
    bones = "".join(f"M{_at(at[child])}L{_at(at[parent])}" for child, parent in row.bones)
    links = []
    for source, target in reversed(strongest(matrix, _STRONGEST)):
        weight = strength[source, target] / most
        kind = "for" if matrix[source, target] > 0 else "against"
        links.append(
            f'<path class="{kind}" stroke-width="{0.6 + 2.4 * weight:.1f}" stroke-opacity="{0.25 + 0.75 * weight:.2f}" '
            f'd="M{_at(at[source])}L{_at(at[target])}"/>'
        )
    given = strength.sum(axis=1)
    size = given / (float(given.max()) or 1.0)
    dots = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{1.5 + 3 * part:.1f}"><title>{escape(name)}</title></circle>'
        for (x, y), part, name in zip(at, size, row.names, strict=True)
    )
    return (
        f'<svg class="graph" viewBox="0 0 {side + 2 * edge} {side + 2 * edge}" role="img" aria-label="{escape(label)}">'
        f'<path class="bone" d="{bones}"/>{"".join(links)}{dots}</svg>'
    )


def strongest(matrix: Floats, count: int, without: Sequence[tuple[int, int]] = ()) -> list[tuple[int, int]]:
    """(source, target) of the strongest links between two joints, each pair in its stronger direction.

    Args:
        matrix: (V, V) source, target.
        count: of links.
        without: pairs that are left out.
    """
    strength = np.abs(matrix)
    np.fill_diagonal(strength, 0)
    for one, other in without:
        strength[one, other] = strength[other, one] = 0
    pairs = np.triu(np.maximum(strength, strength.T))
    order = [np.unravel_index(place, pairs.shape) for place in np.argsort(-pairs, axis=None, kind="stable")[:count]]
    kept = [(int(a), int(b)) for a, b in order if pairs[a, b] > 0]
    return [(a, b) if strength[a, b] >= strength[b, a] else (b, a) for a, b in kept]


def _at(point: Floats) -> str:
    return f"{point[0]:.0f} {point[1]:.0f}"


def faithfulness(row: RowGrounds, kind: str, label: str) -> str:
    """Score of the named class as the first joints and times go (deletion) or come (insertion), beside random orders."""
    side, left, top = 120, 26, 6
    bottom = top + side

    def d(values: Floats) -> str:
        return path(left + side * row.fractions, top + side * (1 - values))

    def band(curve: Band, name: str) -> str:
        if curve.low is None or curve.high is None:
            return ""
        xs = left + side * row.fractions
        around = path(np.concatenate([xs, xs[::-1]]), top + side * (1 - np.concatenate([curve.high, curve.low[::-1]])))
        return f'<path class="band {name}" d="{around}z"/>'

    own, random = row.curves[kind], row.curves[f"random_{kind}"]
    ticks = "".join(
        f'<text x="{left + side * at:g}" y="{bottom + 10}" text-anchor="middle">{at:.0%}</text>'
        f'<text x="{left - 3}" y="{top + side * (1 - at) + 3:g}" text-anchor="end">{at:g}</text>'
        for at in (0, 0.5, 1)
    )
    verb = "taken away" if kind == "deletion" else "put in"
    return (
        f'<svg class="faith" viewBox="0 0 {left + side + 12} {bottom + 24}" role="img" aria-label="{escape(label)}">'
        f'<rect class="frame" x="{left}" y="{top}" width="{side}" height="{side}"/>{ticks}'
        f'<text x="{left + side / 2:g}" y="{bottom + 21}" text-anchor="middle">share {verb}</text>'
        f'{band(random, "at-random")}{band(own, "")}<path class="chance" d="{d(random.mean)}"/>'
        f'<path class="line" d="{d(own.mean)}"/></svg>'
    )
