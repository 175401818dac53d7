"""What a shared report must not have: names, paths, links, attributes of one patient, raters."""

import os
import re
import socket
import urllib.parse
from html import unescape

import pandas as pd
import pytest

from seizurelit.loso.run import report_run
from seizurelit.report import main
from seizurelit.reporting import report

from .conftest import PERSON, RATER


@pytest.fixture
def pages(finished):
    """The local page and the shared one."""
    found = {}

    def both(run, table):
        found["local"], found["shared"] = report.render_report(run, table), report.render_shared(run, table)

    report_run(finished, report=both)
    return found["local"], found["shared"]


def _text(page: str) -> str:
    """All that can be read in a page, in whatever writing."""
    return urllib.parse.unquote(unescape(page)).casefold()


def test_the_local_report_names_and_the_shared_one_does_not(pages, finished):
    local, shared = map(_text, pages)
    cohort = pd.read_csv(finished.parent / "cohort.csv", dtype=str)
    planted = {*cohort["subject"], *cohort["seizure"], "mustermann", "ward7", "ward-films", RATER, "second rater"}
    places = {str(finished.parent), finished.parent.name, socket.gethostname(), os.environ.get("HOME", "/root")}
    for name in (name.casefold() for name in planted):
        assert name in local, name
        assert name not in shared, name
    for name in (name.casefold() for name in places):
        assert name not in shared, name
    assert "file://" in local
    assert "file://" not in shared
    assert ".avi" not in shared


def test_the_figures_are_the_same_to_the_last_digit(pages):
    local, shared = (sorted(re.findall(r"\d\.\d\d \(\d\.\d\d–\d\.\d\d\)|\d\.\d\d–\d\.\d\d", page)) for page in pages)
    assert local == shared
    assert len(local) > 20


def test_a_shared_patient_has_no_attributes(pages):
    local, shared = pages
    assert "<dt>age at onset</dt>" in local
    for column in ("sex", "age at onset", "ez lobe", "note"):
        assert f"<dt>{column}</dt>" not in shared


def test_the_door_says_where_it_is(finished, capsys):
    assert main([str(finished), "--share=true"]) == 0
    assert "report-shared.html: under pseudonyms" in capsys.readouterr().out
    assert PERSON not in (finished / "report-shared.html").read_text()


def test_another_key_gives_other_pseudonyms(pages, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("SEIZURELIT_KEY_FILE", str(tmp_path / "other.key"))
    again = {}
    report_run(finished, report=lambda run, table: again.update(page=report.render_shared(run, table)))
    first, second = (set(re.findall(r"S-[0-9a-f]{12}", page)) for page in (pages[1], again["page"]))
    assert len(first) == len(second) > 8
    assert not first & second
