"""Write a run's report beside its table: report.html, table.tex, and figures where matplotlib is there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from seizurelit.cohort.files import write_whole
from seizurelit.evaluation.table import RowKey, Table
from seizurelit.loso.experiment import Run
from seizurelit.reporting.curves import Curves, curves
from seizurelit.reporting.evidence import Evidence, gather
from seizurelit.reporting.latex import to_latex
from seizurelit.reporting.page import render_page

REPORT = "report.html"
FIGURES = "figures"


def write_report(run: Run, table: Table, *, videos: Path | None = None) -> Evidence:
    """Write report.html and table.tex into a run's folder, each whole or not at all.

    Args:
        run: the run.
        table: of all that its folder holds.
        videos: folder from which the cohort names its videos; by default that of its cohort.csv.

    Returns:
        What the report was made of.
    """
    evidence = gather(run, table, videos)
    write_whole(run.folder / "table.tex", to_latex(table).encode())
    write_whole(run.folder / REPORT, render_page(evidence, row_curves(evidence)).encode())
    return evidence


def row_curves(evidence: Evidence) -> dict[RowKey, Curves]:
    """The curves of the trained rows that have any, in the table's order."""
    found = {}
    for row in evidence.table.rows:
        if row.seeds and not row.baseline:
            made = curves(evidence.cases(row))
            if made is not None:
                found[row.key] = made
    return found


def report(run: Run, table: Table) -> None:
    """Write the report and say where it is: how `fit` and `reproduce` end."""
    write_report(run, table)
    print(f"{(run.folder / REPORT).resolve()}")


def report_with_figures(run: Run, table: Table, *, videos: Path | None = None) -> None:
    """Write the report and the figures, and say where they are: how `report` ends."""
    evidence = write_report(run, table, videos=videos)
    if find_spec("matplotlib") is None:
        print("no figures as PDF and PNG: matplotlib is not installed; uv pip install 'matplotlib>=3.10'")
    else:
        from seizurelit.reporting.figures import write_figures  # noqa: PLC0415 - matplotlib is no part of the core

        write_figures(evidence, row_curves(evidence), run.folder / FIGURES)
        print(f"{(run.folder / FIGURES).resolve()}: figures as PDF and PNG")
    print(f"{(run.folder / REPORT).resolve()}")
