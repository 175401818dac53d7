import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from seizurelit.cache.store import Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.skeleton import built_in
from seizurelit.extraction.gaps import fill_gaps
from seizurelit.extraction.page import (
    FILLED,
    MISSING,
    PRESENT,
    Strip,
    find,
    findings_of,
    runs,
    states_of,
    write_page,
)
from seizurelit.scheduling.ledger import Ledger, Record, write_json

FRAMES = 60
FACTS = {
    "duration_s": 2.4,
    "width": 640,
    "height": 360,
    "people": 2,
    "patient_confidence": 0.97,
    "ambiguous": False,
    "frames_expected": FRAMES,
    "frames_repeated": 0,
    "ended_early": False,
}


class Page(HTMLParser):
    """What is in a page: its elements in order, and the faults of its nesting."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.faults, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def tensors(seizure, subject, stream, confidence, **facts):
    skeleton = built_in("body11" if stream == "pose" else "face23")
    there = confidence > 0
    corner = np.array([200, 60] if stream == "pose" else [280, 80])
    # The joints on a slanted line through the box.
    points = corner + np.linspace(5, 95, len(skeleton.joints))[None, :, None] * [1, 2] * np.ones((FRAMES, 1, 1))
    box = np.concatenate(
        [np.tile(corner, (FRAMES, 1)), np.tile(corner + np.array([110, 210]), (FRAMES, 1))], axis=1
    ).astype(float)
    box[~there.any(axis=1)] = np.nan
    pixels = np.where(there[..., None], points, np.nan)
    made = {f"{stream}.box": box, f"{stream}.confidence": confidence}
    if stream == "pose":
        made |= {"pose.keypoints_2d": pixels, "pose.keypoints": np.where(there[..., None], np.zeros(3), np.nan)}
    else:
        made["face.keypoints"] = pixels - corner
    metadata = Metadata(
        seizure, subject, stream, 25.0, None, skeleton, "0" * 64, "mediapipe", "1" * 16, facts={**FACTS, **facts}
    )
    return SeizureTensors(metadata, {name: tensor.astype(np.float32) for name, tensor in made.items()})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("page")
    rows = [
        "subject,seizure,video",
        "anna,good,pyfeat_single_face.mp4",
        "bert,<i>odd<i>&co,mmskeleton_ta_chi.mp4",
        "carl,two,gone.mp4",
        "dora,failed,lost.mp4",
        "emil,never,unseen.mp4",
    ]
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join(rows) + "\n")
    cache = Cache.create(tmp_path / "cache", table)
    full, faces = np.full((FRAMES, 11), 0.9), np.full((FRAMES, 23), 0.9)
    cache.write(tensors("good", "anna", "pose", full))
    cache.write(tensors("good", "anna", "face", faces))
    half = full.copy()
    half[30:] = 0
    half[10:40, 5] = 0
    cache.write(tensors("<i>odd<i>&co", "bert", "pose", half))
    cache.write(tensors("two", "carl", "pose", full, ambiguous=True, patient_confidence=0.51))
    ledger = Ledger(cache.root / "extraction")
    write_json(ledger.folder / "plan.json", [{"job": "failed", "requires": []}, {"job": "good", "requires": []}])
    ledger.write(Record("failed", state="failed", error="InputError: gone.mp4: no such <file>; correct the path"))
    ledger.write(Record("good", state="done"))
    return cache


def pictures(page):
    """(attributes, image) of each picture in the page."""
    found = []
    for attrs in page.all("img"):
        kind, data = attrs["src"].split(",", 1)
        assert kind == "data:image/jpeg;base64"
        found.append((attrs, cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)))
    return found


@pytest.fixture(scope="module")
def page(cache, shared):
    out = write_page(cache, findings_of(cache), shared / "data" / "clips", cache.root / "extraction" / "index.html")
    return Page(out.read_text())


def test_the_page_is_whole_and_needs_nothing_else(page):
    assert not page.faults
    assert not page.open
    names = {tag for tag, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object"}
    for tag, attrs in page.elements:
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/jpeg;base64,")), (tag, attrs)
    identities = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(identities) == len(set(identities))
    targets = {attrs["href"].removeprefix("#") for attrs in page.all("a")}
    assert targets <= set(identities)


def test_it_says_what_every_output_says(page):
    assert "Research use only" in "".join(page.text)
    assert "STAND-IN COHORT" not in "".join(page.text)


def test_those_that_need_a_look_come_first(page):
    names = ["failed", "never", "two", "<i>odd<i>&co", "good"]
    order = [name for name in dict.fromkeys(text.strip() for text in page.text) if name in names]
    assert order == names
    text = "".join(page.text)
    assert "gone.mp4: no such <file>; correct the path" in text
    assert "InputError" not in text
    assert "who is the patient is ambiguous" in text


def test_pictures_say_what_is_in_them(page):
    tiles = [(attrs, image) for attrs, image in pictures(page) if attrs["alt"]]
    good = [attrs["alt"] for attrs, _ in tiles if attrs["alt"].startswith("good")]
    odd = [attrs["alt"] for attrs, _ in tiles if attrs["alt"].startswith("<i>odd<i>&co")]
    assert len(good) == len(odd) == 12
    assert good[0] == "good at 0.1 s, patient found, 11 of 11 joints, face with 23 of 23 landmarks"
    assert odd[-1] == "<i>odd<i>&co at 2.3 s, no patient, 0 of 11 joints, no face"
    for attrs, image in tiles:
        assert image.shape[:2] == (int(attrs["height"]), int(attrs["width"]))
        assert image.shape[1] <= 320
    assert len(pictures(page)) == 24 + 12  # and a crop of each face


def test_a_video_that_is_gone_is_said_beside_the_timeline(page):
    text = "".join(page.text)
    assert re.search(r"No pictures: .*gone\.mp4", text)
    labels = [attrs["aria-label"] for attrs in page.all("svg")]
    assert labels.count("left wrist: present 100 %, filled 0 %, longest gap –") == 2
    assert "left wrist: present 17 %, filled 0 %, longest gap 2.0 s, at 0.4 s" in labels


def test_faces_are_shown_only_when_asked(cache, page, shared, tmp_path):
    """The detail of the face in a page that was asked for it is not in one that was not."""
    shown = Page(
        write_page(
            cache, findings_of(cache), shared / "data" / "clips", tmp_path / "index.html", show_faces=True
        ).read_text()
    )
    sharp = []
    for made in (page, shown):
        crops = [image for attrs, image in pictures(made) if not attrs["alt"]]
        assert len(crops) == 12
        # Where no landmark is drawn: their line goes down on the left.
        sharp.append(np.mean([cv2.Laplacian(crop[:, 60:], cv2.CV_64F).std() for crop in crops]))
    assert sharp[0] < 0.35 * sharp[1]


def test_thirty_eight_seizures_of_noise_stay_below_ten_megabytes(tmp_path):
    """Noise is the worst that a JPEG can be asked for: by what a tile and a strip weigh."""
    from seizurelit.extraction.page import _FACE_BYTES, _FACE_SIDE, _TILE_AREA, _TILE_BYTES, TILES, _data, _strip

    generator = np.random.default_rng(0)
    # A telemetry picture: a smooth room with the noise of a dark camera.
    smooth = cv2.resize(generator.integers(0, 255, (12, 20, 3), np.uint8), (320, 180), interpolation=cv2.INTER_CUBIC)
    tile = np.clip(smooth + generator.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    assert tile.shape[0] * tile.shape[1] <= _TILE_AREA
    face = tile[:_FACE_SIDE, :_FACE_SIDE]
    strip = Strip("left wrist", generator.integers(0, 3, 2000).astype(np.uint8), 25.0)
    weight = (
        TILES * (len(_data(tile, _TILE_BYTES)) + len(_data(face, _FACE_BYTES)) + 600) + 13 * len(_strip(strip)) + 5000
    )
    assert 38 * weight < 10e6


def test_a_stand_in_cohort_says_so(tiny_cache, tmp_path):
    text = write_page(
        Cache.open(tiny_cache), findings_of(Cache.open(tiny_cache)), tmp_path, tmp_path / "index.html"
    ).read_text()
    assert "STAND-IN COHORT" in text
    assert "this seizure is synthetic" in text
    assert not Page(text).faults


def test_what_was_filled_is_told_from_what_was_seen():
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.3, 1, (80, 3)).astype(np.float32)
    confidence[10:13, 0] = 0
    confidence[20:40, 1] = 0
    confidence[:4, 2] = 0
    confidence[50, 2] = 0
    filled = fill_gaps(generator.normal(size=(80, 3, 2)).astype(np.float32), confidence, 25.0)
    states = states_of(filled.confidence)
    assert ((states == FILLED) == filled.mask).all()
    assert ((states == MISSING) == (filled.confidence == 0)).all()
    assert (states == FILLED).sum() == 4


def test_runs_are_the_values_in_order():
    values = np.array([2, 2, 0, 1, 1, 1])
    assert [(start, stop, int(value)) for start, stop, value in runs(values)] == [(0, 2, 2), (2, 3, 0), (3, 6, 1)]
    assert runs(np.empty(0)) == []


def test_the_longest_gap():
    strip = Strip("head", np.array([0, 2, 0, 0, 2, 1, 0, 0], np.uint8), 2.0)
    assert strip.longest_gap == (1.0, 1.0)
    assert strip.share(PRESENT) == 0.25
    assert Strip("head", np.full(5, 2, np.uint8), 2.0).longest_gap[1] == 0


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"ambiguous": True, "patient_reason": "two of one size"}, "who is the patient is ambiguous: two of one size"),
        ({"patient_confidence": 0.3}, "patient chosen with confidence 0.30"),
        ({"ended_early": True}, "the video ended early"),
        ({"frames_repeated": 30}, "50 % of the frames repeated"),
        ({"decoding_faults": "bad slice"}, "faults in the video: bad slice"),
    ],
)
def test_why_to_look(tmp_path, facts, reason):
    (tmp_path / "cohort.csv").write_text("subject,seizure\nanna,good\n")
    cache = Cache.create(tmp_path / "cache", tmp_path / "cohort.csv")
    cache.write(tensors("good", "anna", "pose", np.full((FRAMES, 11), 0.9), **facts))
    seizure = cache.cohort().seizure("good")
    reasons = [text for _, text in find(cache, seizure, None).reasons]
    assert set(reasons) == {reason, "face in 0 %"}
