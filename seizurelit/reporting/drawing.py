"""Small charts as inline SVG: colours by class, so that light, dark and print each have their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from seizurelit.evaluation.statistics.cases import Floats
from seizurelit.reporting.curves import GRID, Curve, Curves
from seizurelit.reporting.evidence import History, Window

_SIDE, _LEFT, _TOP = 150, 30, 8
_MOST_POINTS = 40


def path(xs: Sequence[float] | Floats, ys: Sequence[float] | Floats) -> str:
    """The `d` of a line through the points that are finite, broken where one is not."""
    parts = []
    pen = "M"
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            parts.append(f"{pen}{_short(x)} {_short(y)}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _band(curve: Curve) -> str:
    """The `d` of the area between the edges, without the places that have none."""
    held = np.isfinite(curve.low)
    if not held.any():
        return ""
    xs, low, high = _x(GRID[held]), _y(curve.low[held]), _y(curve.high[held])
    return path(np.concatenate([xs, xs[::-1]]), np.concatenate([high, low[::-1]])) + "z"


def _x(values: Floats) -> Floats:
    return np.asarray(_LEFT + _SIDE * values)


def _y(values: Floats) -> Floats:
    return np.asarray(_TOP + _SIDE * (1 - values))


def unit_chart(curve: Curve, *, label: str, across: str, up: str, chance: str, marks: str = "") -> str:
    """A curve and its band in the unit square.

    Args:
        curve: over `GRID`.
        label: what a screen reader says.
        across: of the x axis.
        up: of the y axis.
        chance: the `d` of the line of chance, in the chart's own pixels.
        marks: further SVG.
    """
    low, high = _LEFT, _LEFT + _SIDE
    bottom = _TOP + _SIDE
    ticks = "".join(
        f'<text x="{_LEFT + _SIDE * at:g}" y="{bottom + 12}" text-anchor="middle">{at:g}</text>'
        f'<text x="{_LEFT - 4}" y="{_TOP + _SIDE * (1 - at) + 3:g}" text-anchor="end">{at:g}</text>'
        for at in (0, 0.5, 1)
    )
    return (
        f'<svg class="unit" viewBox="0 0 {high + 8} {bottom + 28}" role="img" aria-label="{escape(label)}">'
        f'<rect class="frame" x="{low}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>{ticks}'
        f'<text x="{_LEFT + _SIDE / 2:g}" y="{bottom + 24}" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(9 {_TOP + _SIDE / 2:g}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
        f'<path class="band" d="{_band(curve)}"/><path class="chance" d="{chance}"/>{marks}'
        f'<path class="line" d="{path(_x(GRID), _y(curve.y))}"/></svg>'
    )


def three_charts(name: str, found: Curves, auroc: str, auprc: str, slope: str) -> str:
    """ROC, precision-recall and calibration of a row."""
    bottom, right = _TOP + _SIDE, _LEFT + _SIDE
    diagonal = f"M{_LEFT} {bottom}L{right} {_TOP}"
    level = _short(_TOP + _SIDE * (1 - found.prevalence))
    rug = "".join(
        f'<path class="{kind}" d="M{_short(_LEFT + _SIDE * score)} {start}v{length}"/>'
        for kind, start, length, score in (
            ("yes", _TOP, 5, score) if label else ("no", bottom, -5, score) for label, score in found.scores
        )
    )
    return (
        unit_chart(
            found.roc,
            label=f"{name}: ROC curve, AUROC {auroc}",
            across="1 − specificity",
            up="sensitivity",
            chance=diagonal,
        )
        + unit_chart(
            found.pr,
            label=f"{name}: precision-recall curve, AUPRC {auprc}; share of positive seizures {found.prevalence:.2f}",
            across="recall",
            up="precision",
            chance=f"M{_LEFT} {level}H{right}",
        )
        + unit_chart(
            found.calibration,
            label=f"{name}: share of positive seizures over the score, calibration slope {slope}",
            across="score",
            up="share positive",
            chance=diagonal,
            marks=rug,
        )
    )


def over_time(windows: Sequence[Window], seconds: float, threshold: float, label: str) -> str:
    """A row's scores over a seizure: a step a window, drawn at its middle half."""
    end = max([seconds if math.isfinite(seconds) else 0.0, *(window.end for window in windows)])
    wide, high = 160, 26

    def y(score: float) -> float:
        return 2 + (high - 4) * (1 - score)

    middles = [wide * (window.start + window.end) / 2 / end for window in windows]
    heights = [y(window.score) for window in windows]
    dots = "".join(f"M{_short(x)} {_short(height)}h0" for x, height in zip(middles, heights, strict=True))
    cut = f'<path class="chance" d="M0 {_short(y(threshold))}H{wide}"/>' if math.isfinite(threshold) else ""
    return (
        f'<svg class="time" viewBox="0 0 {wide} {high}" role="img" aria-label="{escape(label)}">'
        f'<rect class="frame" width="{wide}" height="{high}"/>{cut}<path class="line" d="{path(middles, heights)}"/>'
        f'<path class="dots" d="{dots}"/></svg>'
    )


def training(histories: Sequence[History], label: str) -> str:
    """The loss of each fold over the epochs, a line a training; its name is its title."""
    wide, high = 240, 96
    most = max((value for history in histories for value in history.loss if math.isfinite(value)), default=0.0) or 1.0
    epochs = max((len(history.loss) for history in histories), default=0)
    lines = []
    for history in histories:
        step = max(1, math.ceil(len(history.loss) / _MOST_POINTS))
        at = sorted({*range(0, len(history.loss), step), len(history.loss) - 1} - {-1})
        xs = [28 + wide * index / max(epochs - 1, 1) for index in at]
        ys = [6 + high * (1 - history.loss[index] / most) for index in at]
        lines.append(
            f'<path class="fold" d="{path(xs, ys)}"><title>{escape(history.fold)}, seed {history.seed}</title></path>'
        )
    return (
        f'<svg class="training" viewBox="0 0 {wide + 36} {high + 30}" role="img" aria-label="{escape(label)}">'
        f'<rect class="frame" x="28" y="6" width="{wide}" height="{high}"/>'
        f'<text x="24" y="12" text-anchor="end">{most:.2g}</text><text x="24" y="{high + 6}" text-anchor="end">0</text>'
        f'<text x="28" y="{high + 18}">1</text><text x="{wide + 28}" y="{high + 18}" text-anchor="end">{epochs}</text>'
        f'<text x="{28 + wide / 2:g}" y="{high + 26}" text-anchor="middle">epoch</text>{"".join(lines)}</svg>'
    )
