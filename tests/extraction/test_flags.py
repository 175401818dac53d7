"""What fit says of seizures that the extraction flagged, from metadata alone."""

import dataclasses
import shutil
import subprocess
import sys

import pytest

from seizurelit.cache.store import Cache
from seizurelit.extraction.flags import flagged, look_first


@pytest.fixture
def cache(tiny_cache, tmp_path):
    return Cache.open(shutil.copytree(tiny_cache, tmp_path / "cache"))


def mark(cache, name, **facts):
    read = cache.read(name, "pose")
    cache.write(
        dataclasses.replace(read, metadata=dataclasses.replace(read.metadata, facts=read.metadata.facts | facts))
    )


def test_nothing_is_said_of_a_cache_without_flags(cache):
    assert flagged(cache) == {}
    assert look_first(cache) == ""


def test_one_line_counts_names_and_leads_to_the_page(cache):
    names = cache.seizures("pose")
    mark(cache, names[0], ambiguous=True, patient_reason="two people are as likely")
    for name in names[1:4]:
        mark(cache, name, ended_early=True)
    mark(cache, names[4], patient_confidence=0.2)  # a matter of degree
    line = look_first(cache)
    assert "flagged 4 seizures" in line
    assert f"{names[0]}: who is the patient is ambiguous: two people are as likely" in line
    assert "and 1 more" in line
    assert "\n" not in line
    (cache.root / "extraction").mkdir()
    (cache.root / "extraction" / "index.html").write_text("a page")
    assert look_first(cache).endswith(f"see {cache.root}/extraction/index.html")


def test_fit_says_it_before_it_trains(cache, door):
    mark(cache, cache.seizures("pose")[0], ambiguous=True)
    quick = ("--model", "tcn", "--optimiser.epochs", "1", "--windows.frames", "25", "--windows.stride", "25")
    options = ("--tcn.levels", "1", "--fold", "sub-01", "--preset", "fast", "--wandb", "off", "--workers", "1")
    done = door("fit", "--stream", "pose", "--cache", cache.root, "--out", "run", *quick, *options)
    said = [line for line in done.stderr.splitlines() if line.startswith("look first")]
    assert len(said) == 1, done.stderr
    assert "1 seizure (" in said[0]


def test_it_needs_nothing_that_reads_videos():
    code = "import sys, seizurelit.extraction.flags; print({'cv2', 'av', 'decord', 'mediapipe'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
