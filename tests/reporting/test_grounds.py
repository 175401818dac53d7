"""What a report shows of the grounds that explain wrote: what is there, in whose name, and one line for what is not."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from seizurelit.cohort.files import write_whole
from seizurelit.loso.run import report_run
from seizurelit.reporting import report
from seizurelit.reporting.evidence import Window, gather
from seizurelit.reporting.grounds import FOLDER, INDEX, RowGrounds, SeizureGrounds, read_grounds
from seizurelit.reporting.maps import _runs, strongest, timed_map

from .conftest import HOSTILE, PERSON
from .test_page import Tree, section


def page_of(run, make=report.render_report):
    found = {}
    report_run(run, report=lambda opened, table: found.update(page=make(opened, table)))
    return found["page"]


@pytest.fixture(scope="module")
def page(explained):
    return page_of(explained)


@pytest.fixture(scope="module")
def tree(page):
    return Tree(page).open[0]


@pytest.fixture
def copy(explained, tmp_path):
    """The run again, whose grounds may be spoilt."""
    return shutil.copytree(explained, tmp_path / "run")


def test_every_seizure_shows_where_and_when_of_each_row_that_was_explained(tree, explained):
    index = json.loads((explained / FOLDER / INDEX).read_text())
    assert {(row["stream"], row["model"]) for row in index["rows"]} == {
        (stream, model) for stream in ("pose", "face") for model in ("agcn", "tcn")
    }
    for row in index["rows"]:
        value = json.loads((explained / FOLDER / row["file"]).read_text())
        shown = {"agcn": "AGCN", "tcn": "TCN"}[row["model"]] + row["stream"][0]
        for name, one in value["seizures"].items():
            article = next(node for node in tree.all("article") if node.all("h3")[0].children[0].strip() == name)
            maps = [node for node in article.all("svg") if node.attributes["class"] == "map"]
            found = next(node for node in maps if f", {shown}: " in node.attributes["aria-label"])
            texts = [node.text for node in found.all("text")]
            assert f"score {one['score']:.2f}" in found.attributes["aria-label"]
            assert "integrated gradients" in texts
            assert ("Grad-CAM" in texts) is (row["model"] == "agcn")
            assert {"hip", "neck", "hand"} <= set(texts) if row["model"] == "agcn" else "appearance" in texts
            lines = next(node for node in found.all("path") if node.attributes["class"] == "line")
            assert lines.attributes["d"].count("M") == 3  # windows


def test_the_section_has_curves_randomisation_and_the_graph_of_each_block(tree):
    grounds = section(tree, "grounds")
    charts = [node for node in grounds.all("svg") if node.attributes["class"] == "faith"]
    assert len(charts) == 8
    assert all(re.search(r"than at random by −?\d\.\d\d", node.attributes["aria-label"]) for node in charts)
    assert sum(node.attributes["class"] == "graph" for node in grounds.all("svg")) == 2 * 4
    heads = [line.all("th")[0].text for line in grounds.all("tr") if line.all("td")]
    assert heads[:3] == [
        "the same network, its classifier untrained",
        "its upper half untrained",
        "all of it untrained",
    ]
    assert "Not explained: dystonia: AGCNp + KD" in grounds.text


def test_without_grounds_one_line_says_which_command_makes_them(copy):
    shutil.rmtree(copy / FOLDER)
    text = section(Tree(page_of(copy)).open[0], "grounds").text
    assert f"python -m seizurelit.explain {copy}" in text
    assert len(text.splitlines()) == 2  # of which one is the heading
    assert str(copy) not in page_of(copy, report.render_shared)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / INDEX).write_text("{"), "cannot be read"),
        (lambda folder: (folder / INDEX).write_text('{"schema": 1, "rows": []}'), "by another version"),
        (lambda folder: (folder / "dystonia-pose-agcn.json").unlink(), "dystonia pose agcn cannot be read"),
        (lambda folder: changed(folder, lambda value: value.update(adjacency=[[[1.0]]])), "dystonia pose agcn cannot"),
        (lambda folder: changed(folder, lambda value: value.update(names="<script>")), "dystonia pose agcn cannot"),
        (lambda folder: changed(folder, lambda value: first(value).update(values=[["x"]])), "pose agcn cannot be read"),
        (lambda folder: changed(folder, lambda value: first(value).update(score=0.123)), "of other networks"),
    ],
)
def test_spoilt_or_old_grounds_are_said_and_not_shown(copy, spoil, says):
    spoil(copy / FOLDER)
    text = section(Tree(page_of(copy)).open[0], "grounds").text
    assert says in text
    assert "run explain again" in text


def first(value):
    return value["seizures"][min(value["seizures"])]


def changed(folder, change):
    path = folder / "dystonia-pose-agcn.json"
    value = json.loads(path.read_text())
    change(value)
    write_whole(path, json.dumps(value).encode())


def test_a_shared_report_has_the_maps_under_pseudonyms(explained, page):
    shared = page_of(explained, report.render_shared)
    assert shared.count('class="map"') == page.count('class="map"') == 38
    for name in (PERSON, HOSTILE, "Mustermann", "sub-1"):
        assert name not in shared


def test_names_of_the_grounds_are_no_names_of_others(explained):
    found = {}
    report_run(explained, report=lambda run, table: found.update(evidence=gather(run, table)))
    evidence = found["evidence"]
    seizures = {seizure.name for seizure in evidence.cohort.seizures}
    for row in evidence.grounds.rows.values():
        assert set(row.by_seizure) <= seizures


def test_a_cohort_of_the_papers_size_keeps_below_ten_megabytes():
    """All 12 rows, 38 seizures of 90 s, and maps without any order, in which nothing can be written shorter."""
    rng = np.random.default_rng(0)
    windows = [Window(start, start + 12.0, 0.5) for start in range(0, 78, 6)]
    sizes = []
    for joints in (11, 23):
        values = rng.normal(size=(180, joints))
        row = RowGrounds(
            seed=0,
            correct=0,
            seizures=0,
            names=tuple(f"a joint of {joint}" for joint in range(joints)),
            seconds=0.5,
            gains={},
            fractions=np.zeros(1),
            curves={},
            sanity=None,
            localisation={},
            adjacency=None,
            bones=(),
            places=np.zeros((0, 2)),
            by_seizure={},
        )
        sizes.append(len(timed_map(SeizureGrounds("1", 0.5, values, np.abs(values)), row, windows, 0.5, "a label")))
    assert 38 * 4 * sum(sizes) < 10_000_000


def test_marked_cells_become_lines():
    marked = np.array([[1, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
    assert _runs(marked) == "M0 0h2M3 0h1M2 1h2"


def test_the_strongest_links_are_pairs_in_their_stronger_direction():
    matrix = np.array([[9.0, 1, 0], [-3, 9, 0], [2, 0, 9]])
    assert strongest(matrix, 2) == [(1, 0), (2, 0)]
    assert strongest(matrix, 2, without=[(0, 1)]) == [(2, 0)]


def test_nothing_is_read_where_there_is_nothing(tmp_path):
    assert read_grounds(tmp_path).rows == {}
    assert read_grounds(tmp_path).fault == ""
