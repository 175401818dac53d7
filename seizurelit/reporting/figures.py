"""The figures of a report for print, each as PDF and PNG: the table as points, the curves, right and wrong, the training."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seizurelit.cohort.files import write_whole
from seizurelit.config import RESEARCH_USE
from seizurelit.evaluation.rendering import STAND_IN
from seizurelit.evaluation.table import Row, RowKey
from seizurelit.reporting.curves import GRID, Curve, Curves
from seizurelit.reporting.evidence import Evidence

# Okabe and Ito (2008).
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#777777"
_DPI = 150


def write_figures(evidence: Evidence, found: Mapping[RowKey, Curves], folder: Path) -> tuple[Path, ...]:
    """Draw every figure that the run has something for.

    Args:
        evidence: of the run.
        found: the curves of each row that has any.
        folder: where the files go; the same run gives the same bytes.
    """
    figures = {
        "table": _table(evidence),
        "right_and_wrong": _right_and_wrong(evidence),
        "training": _training(evidence),
    }
    rows = [row for row in evidence.table.rows if row.key in found]
    if rows:
        figures |= {
            "roc": _curves(rows, found, "roc", "1 − specificity", "sensitivity"),
            "precision_recall": _curves(rows, found, "pr", "recall", "precision"),
            "calibration": _curves(rows, found, "calibration", "score", "share positive"),
        }
    paths = []
    for name, figure in figures.items():
        if figure is None:
            continue
        # The lowest 0.14 inches are kept for the words below.
        foot = 0.14 / figure.get_figheight()
        figure.set_layout_engine("constrained", rect=(0.0, foot, 1.0, 1.0 - foot))
        figure.text(0.005, foot / 4, RESEARCH_USE, fontsize=5, color=GREY)
        if evidence.table.stand_in:
            figure.text(
                0.5, 0.5, STAND_IN, fontsize=26, rotation=24, ha="center", va="center", color="#E69F00", alpha=0.22
            )
        for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
            content = io.BytesIO()
            # Text in a PDF stays text.
            with mpl.rc_context({"pdf.fonttype": 42}):
                figure.savefig(content, format=kind, dpi=_DPI, metadata=metadata)
            path = folder / f"{name}.{kind}"
            write_whole(path, content.getvalue())
            paths.append(path)
    return tuple(paths)


def _grid(count: int, *, width: float = 2.3, height: float = 2.5, across: int = 4) -> tuple[Figure, list[Axes]]:
    columns = min(count, across)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns + 0.4, height * lines + 0.3), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def _table(evidence: Evidence) -> Figure | None:
    """Accuracy of each row with its interval, the paper's beside it."""
    rows = [row for row in evidence.table.rows if row.seeds and row.scores["accuracy"].defined]
    if not rows:
        return None
    figure = Figure(figsize=(6.5, 0.24 * len(rows) + 1.1), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        mean, ends = row.scores["accuracy"].mean, row.intervals["accuracy"]
        if ends.defined:
            axes.plot([ends.low, ends.high], [place, place], color=GREY if row.baseline else BLUE, linewidth=1.5)
        axes.plot(mean, place, "o", markersize=4, color=GREY if row.baseline else BLUE)
        if row.paper:
            axes.plot(row.paper[1], place, "D", markersize=4, color=VERMILION, fillstyle="none")
    axes.set_yticks(range(len(rows)), [f"{row.group}: {row.name}" for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("accuracy, 95 % interval over subjects (◇ the paper's)", fontsize=8)
    axes.grid(axis="x", linewidth=0.3)
    return figure


def _curves(rows: Sequence[Row], found: Mapping[RowKey, Curves], name: str, across: str, up: str) -> Figure:
    figure, places = _grid(len(rows))
    for axes, row in zip(places, rows, strict=True):
        made = found[row.key]
        curve: Curve = getattr(made, name)
        held = np.isfinite(curve.low)
        axes.fill_between(GRID[held], curve.low[held], curve.high[held], color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(GRID, curve.y, color=BLUE, linewidth=1.2)
        chance = [made.prevalence, made.prevalence] if name == "pr" else [0, 1]
        axes.plot([0, 1], chance, color=GREY, linewidth=0.8, linestyle="--")
        axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
        axes.set_title(f"{row.group}\n{row.name}", fontsize=7)
        axes.set_xlabel(across, fontsize=7)
        axes.set_ylabel(up, fontsize=7)
        axes.tick_params(labelsize=6)
    return figure


def _right_and_wrong(evidence: Evidence) -> Figure | None:
    """Share of a subject's seizures and seeds that are right, subject by model."""
    signs = [sign for sign in evidence.signs if evidence.rows(sign)]
    if not signs:
        return None
    subjects = evidence.cohort.subjects
    figure = Figure(figsize=(1.2 + 4.2 * len(signs), 1.6 + 0.17 * len(subjects)), layout="constrained")
    places = figure.subplots(1, len(signs), squeeze=False).ravel()
    colours = mpl.colors.LinearSegmentedColormap.from_list("right", [VERMILION, "#FFFFFF", BLUE])
    for axes, sign in zip(places, signs, strict=True):
        rows = evidence.rows(sign)
        shares = np.full((len(subjects), len(rows)), np.nan)
        for column, row in enumerate(rows):
            by: dict[str, list[bool]] = {}
            for seizure, calls in evidence.calls.get(row.key, {}).items():
                by.setdefault(evidence.cohort.subject_of(seizure), []).extend(call.right for call in calls)
            for line, subject in enumerate(subjects):
                if by.get(subject):
                    shares[line, column] = float(np.mean(by[subject]))
        image = axes.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=60, ha="right", fontsize=6)
        axes.set_yticks(range(len(subjects)), subjects, fontsize=6)
        axes.set_title(sign, fontsize=8)
    figure.colorbar(image, ax=places.tolist(), label="share right", shrink=0.6)
    return figure


def _training(evidence: Evidence) -> Figure | None:
    rows = [row for row in evidence.table.rows if evidence.histories[row.key]]
    if not rows:
        return None
    figure, places = _grid(len(rows), height=1.9)
    for axes, row in zip(places, rows, strict=True):
        for history in evidence.histories[row.key]:
            axes.plot(range(1, len(history.loss) + 1), history.loss, color=BLUE, linewidth=0.5, alpha=0.5)
        axes.set_title(f"{row.key.sign} {row.name}", fontsize=7)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch", fontsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_ylabel("training loss", fontsize=7)
        axes.tick_params(labelsize=6)
    return figure
