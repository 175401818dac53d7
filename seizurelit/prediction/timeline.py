"""The score over time as a picture: windows, the spread, which of them carry it, what was not seen, joints over time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seizurelit.config import RESEARCH_USE
from seizurelit.handover.ensemble import Floats
from seizurelit.prediction.scoring import Spoken
from seizurelit.tracking.wandb_runs import STAND_IN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCORE, _CARRIES, _UNSEEN = "#0072B2", "#E69F00", "#999999"


def timeline(spoken: Sequence[Spoken], value: Mapping[str, Any]) -> bytes:
    """The bytes of a PNG; it names no file, as pictures are passed on.

    Args:
        spoken: what is said for each row.
        value: of prediction.json.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    panels = sum(2 if one.attribution is not None else 1 for one in spoken)
    heights = [
        height for one in spoken for height in ((2.0, _map_height(one)) if one.attribution is not None else (2.0,))
    ]
    figure = Figure(
        figsize=(10, 1.4 + 1.15 * sum(heights or [1.0])), layout=ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.97))
    )
    FigureCanvasAgg(figure)
    title = f"video {value['video']['sha256'][:12]}"
    if value["stand_in"]:
        title += f"   {STAND_IN}: networks trained on synthetic people"
    figure.suptitle(title, fontsize=10, color="#b00020" if value["stand_in"] else "black")
    axes = list(np.ravel(figure.subplots(max(panels, 1), 1, sharex=True, squeeze=False, height_ratios=heights or None)))
    place = 0
    for one, said in zip(spoken, value["predictions"], strict=True):
        _scores(axes[place], one, said)
        place += 1
        if one.attribution is not None:
            _map(axes[place], one)
            place += 1
    if not spoken:
        reasons = "; ".join(row["reason"] for row in value["not_scored"])
        axes[0].text(0.5, 0.5, f"not scored\n{reasons}", ha="center", va="center", wrap=True, fontsize=8)
    axes[-1].set_xlabel("seconds")
    figure.text(0.5, 0.0, RESEARCH_USE, ha="center", va="bottom", fontsize=7)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _map_height(one: Spoken) -> float:
    return 1.0 if one.attribution is None else 0.6 + 0.13 * len(one.attribution.names)


def _scores(axes: Axes, one: Spoken, said: Mapping[str, Any]) -> None:
    windows = said["windows"]
    judged = said["judged"]
    number = said["score"] if judged else said["unjudged_score"]
    for window in windows:
        if window["carries"]:
            axes.axvspan(window["start"], window["end"], color=_CARRIES, alpha=0.18, lw=0)
    middles = [(window["start"] + window["end"]) / 2 for window in windows]
    scores = [window["score"] for window in windows]
    for window in windows:
        dim = not window["judged"]
        axes.hlines(
            window["score"], window["start"], window["end"], color=_UNSEEN if dim else _SCORE, lw=1.2, alpha=0.5
        )
    axes.plot(middles, scores, "o-", color=_SCORE if judged else _UNSEEN, ms=3.5, lw=1, label="windows")
    reach = said["spread"]
    axes.axhspan(reach["low"], reach["high"], color=_SCORE, alpha=0.12, lw=0)
    axes.axhline(number, color=_SCORE if judged else _UNSEEN, lw=1.5)
    if said["threshold"] is not None and said["calibration"] is None:
        axes.axhline(said["threshold"], color="black", lw=0.8, ls=":")
    for start, end in _unseen(one):
        axes.axvspan(start, end, color=_UNSEEN, alpha=0.35, lw=0, hatch="//")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(0, max(one.judgement.seen.seconds, 0.1))
    axes.set_ylabel(f"{said['is']} of {said['class']}", fontsize=8)
    head = f"{said['sign']}, {said['stream']} {said['model']}: "
    head += (
        f"{said['is']} {number:.2f} ({reach['low']:.2f}–{reach['high']:.2f}, {reach['members']} networks)"
        if judged
        else "NOT TO BE JUDGED"
    )
    axes.set_title(head, fontsize=9, loc="left", color="black" if judged else "#b00020")
    if not judged:
        words = "\n".join(reason if len(reason) < 130 else reason[:127] + "…" for reason in said["reasons"])
        axes.text(0.01, 0.03, words, transform=axes.transAxes, fontsize=6.5, va="bottom", color="#b00020")


def _map(axes: Axes, one: Spoken) -> None:
    found = one.attribution
    assert found is not None
    shares: Floats = found.shares
    most = float(shares.max()) or 1.0
    ends = len(shares) * found.seconds
    axes.imshow(
        shares.T / most,
        aspect="auto",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(0, ends, len(found.names) - 0.5, -0.5),
        interpolation="nearest",
    )
    if not shares.any():
        words = f"nothing that was seen speaks for class {one.row.classes[one.target]}"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, fontsize=8, ha="center", va="center")
    axes.set_yticks(
        range(len(found.names)),
        [f"{name}  {share:.0%}" for name, share in zip(found.names, found.by_joint, strict=True)],
        fontsize=6,
    )
    axes.set_title(
        f"what speaks for class {one.row.classes[one.target]}: share of each joint and time", fontsize=8, loc="left"
    )


def _unseen(one: Spoken) -> list[tuple[float, float]]:
    """Stretches without patient or face, in seconds."""
    seen = one.judgement.seen
    edges = np.flatnonzero(np.diff(np.concatenate([[True], seen.present, [True]])))
    return [(start / seen.fps, end / seen.fps) for start, end in zip(edges[::2], edges[1::2], strict=True)]
