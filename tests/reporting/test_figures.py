"""Figures: what is written, that it is drawn, and that the same run gives the same bytes."""

import shutil

import numpy as np
import pytest
from PIL import Image

from seizurelit.report import main

NAMES = {"table", "right_and_wrong", "training", "roc", "precision_recall", "calibration"}


def test_every_figure_is_there_as_pdf_and_png(reported):
    folder = reported / "figures"
    assert {path.name for path in folder.iterdir()} == {f"{name}.{kind}" for name in NAMES for kind in ("pdf", "png")}
    for name in NAMES:
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(folder / f"{name}.png") as picture:
            red, _, blue = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int).T
        assert (blue - red > 40).mean() > 0.0005, name


def test_the_words_below_touch_nothing(reported):
    """The lowest tenth of an inch has the words on research use at its left, and nothing else."""
    for name in NAMES:
        with Image.open(reported / "figures" / f"{name}.png") as picture:
            lowest = np.asarray(picture.convert("L"))[-15:]
        assert (lowest < 250).any(), name
        assert (lowest[0] > 250).all(), name


def test_the_same_run_gives_the_same_bytes(reported, tmp_path):
    before = {path.name: path.read_bytes() for path in (reported / "figures").iterdir()}
    page = (reported / "report.html").read_bytes()
    shutil.rmtree(reported / "figures")
    assert main([str(reported)]) == 0
    assert {path.name: path.read_bytes() for path in (reported / "figures").iterdir()} == before
    assert (reported / "report.html").read_bytes() == page


def test_without_matplotlib_there_is_a_report_and_a_line(reported, monkeypatch, capsys):
    from seizurelit.reporting import report

    monkeypatch.setattr(report, "find_spec", lambda name: None)
    assert main([str(reported)]) == 0
    assert "no figures as PDF and PNG: matplotlib is not installed" in capsys.readouterr().out


@pytest.fixture(autouse=True)
def _restored(reported):
    yield
    if not (reported / "figures").is_dir():
        main([str(reported)])
