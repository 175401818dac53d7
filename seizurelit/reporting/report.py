"""Write a run's report beside its table: report.html, table.tex, and figures where matplotlib is there; or one to share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from seizurelit.cohort.files import write_whole
from seizurelit.evaluation.table import Table
from seizurelit.loso.experiment import Run
from seizurelit.reporting.evidence import gather
from seizurelit.reporting.findings import find
from seizurelit.reporting.latex import to_latex
from seizurelit.reporting.page import render_page
from seizurelit.reporting.sharing import names_of, pseudonymous, pseudonymous_findings
from seizurelit.tracking.pseudonyms import Veil, read_key

REPORT = "report.html"
SHARED = "report-shared.html"
FIGURES = "figures"


def render_report(run: Run, table: Table, *, videos: Path | None = None) -> str:
    """The local report of a run as one HTML page, which names subjects and links to their videos.

    Args:
        run: the run.
        table: of all that its folder holds.
        videos: folder from which the cohort names its videos; by default that of its cohort.csv.
    """
    evidence = gather(run, table, videos)
    return render_page(evidence, find(evidence))


def render_shared(run: Run, table: Table) -> str:
    """The report of a run as it may leave the machine: keyed pseudonyms, no path, link, patient's attribute or rater's name.

    Args:
        run: the run.
        table: of all that its folder holds.

    Returns:
        One HTML page; the same figures as the local report.

    Raises:
        InputError: the key of the pseudonyms cannot be used.
    """
    evidence = gather(run, table)
    veil = Veil(names_of(evidence.cohort), read_key())
    return render_page(pseudonymous(evidence, veil), pseudonymous_findings(find(evidence), veil))


def report(run: Run, table: Table) -> None:
    """Write report.html and table.tex and say where the report is: how `fit` and `reproduce` end."""
    _write(run, table, render_report(run, table))


def share(run: Run, table: Table) -> None:
    """Write the report that may leave the machine and say where it is: how `report --share` ends."""
    path = run.folder / SHARED
    write_whole(path, render_shared(run, table).encode())
    print(f"{path.resolve()}: under pseudonyms, for others; report.html and figures/ name the subjects and stay here")


def report_with_figures(run: Run, table: Table, *, videos: Path | None = None) -> None:
    """Write the report and the figures, and say where they are: how `report` ends."""
    evidence = gather(run, table, videos)
    findings = find(evidence)
    if find_spec("matplotlib") is None:
        print("no figures as PDF and PNG: matplotlib is not installed; uv pip install 'matplotlib>=3.10'")
    else:
        from seizurelit.reporting.figures import write_figures  # noqa: PLC0415 - matplotlib is no part of the core

        write_figures(evidence, findings.curves, run.folder / FIGURES)
        print(f"{(run.folder / FIGURES).resolve()}: figures as PDF and PNG")
    _write(run, table, render_page(evidence, findings))


def _write(run: Run, table: Table, page: str) -> None:
    write_whole(run.folder / "table.tex", to_latex(table).encode())
    write_whole(run.folder / REPORT, page.encode())
    print(f"{(run.folder / REPORT).resolve()}")
