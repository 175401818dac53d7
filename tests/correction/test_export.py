import json
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seizurelit.cache.store import Cache
from seizurelit.cohort.skeleton import built_in
from seizurelit.correction import coco, tools
from seizurelit.correction.export import ANNOTATIONS, Export, choose, export
from seizurelit.errors import InputError

confidences = arrays.arrays(np.float32, st.integers(1, 200), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))


@given(st.dictionaries(st.sampled_from("abcd"), confidences, min_size=1), st.floats(0.01, 1))
def test_the_share_is_reached_without_neighbours_and_with_the_least_certain_of_every_seizure(sure, share):
    chosen = choose(sure, share)
    frames = sum(map(len, sure.values()))
    assert len(chosen) == max(len(sure), int(np.ceil(share * frames)))
    assert len(set(chosen)) == len(chosen)
    values = [sure[name][frame] for name, frame in chosen]
    assert values == sorted(values)
    for name in sure:
        own = sorted(frame for other, frame in chosen if other == name)
        assert sure[name][own].min() == sure[name].min()
        assert np.diff(own).min(initial=10**6) >= max(1, int(0.5 / share))


@pytest.fixture
def exported(cache, videos, tmp_path):
    made = export(Export(cache.root, videos, tmp_path / "out", share=0.1))
    return made, json.loads(made.annotations.read_text())


def test_pictures_are_the_frames_that_their_names_say(exported, tmp_path):
    made, content = exported
    assert made.images == len(content["images"]) == 12
    assert made.skipped == ("not yet",)
    files = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert files == [image["file_name"] for image in content["images"]]
    for image in content["images"]:
        picture = cv2.imread(str(tmp_path / "out" / "images" / image["file_name"]))
        assert picture.shape == (image["height"], image["width"], 3)
        assert picture.mean() == pytest.approx(3 * image["frame"] + 30, abs=1.4)
        assert coco.seizure_and_frame(image["file_name"]) == (image["seizure"], image["frame"])
        assert image["subject"] == {"one": "anna", "night_2": "bert"}[image["seizure"]]
    assert (content["images"][0]["seizure"], content["images"][0]["frame"]) == ("one", 40)  # nothing is known of it


def test_annotations_are_coco_keypoints(exported, cache):
    _, content = exported
    person, face = content["categories"]
    assert (person["name"], tuple(person["keypoints"])) == ("person", built_in("body11").joints)
    assert (face["name"], len(face["keypoints"])) == ("face", 23)
    for category in content["categories"]:
        assert len(category["skeleton"]) == len(category["keypoints"]) - 1
        assert {end for bone in category["skeleton"] for end in bone} == set(range(1, len(category["keypoints"]) + 1))
    images = {image["id"]: image for image in content["images"]}
    pixels = cache.read("one", "pose")["pose.keypoints_2d"]
    sizes = {1: 11, 2: 23}
    for annotation in content["annotations"]:
        points = np.reshape(annotation["keypoints"], (-1, 3))
        assert len(points) == sizes[annotation["category_id"]]
        assert annotation["num_keypoints"] == (points[:, 2] > 0).sum() > 0
        assert (points[points[:, 2] == 0] == 0).all()
        x, y, width, height = annotation["bbox"]
        assert annotation["area"] == pytest.approx(width * height, abs=0.01)
        seen = points[points[:, 2] > 0]
        assert (seen[:, :2] >= [x - 0.01, y - 0.01]).all()
        assert (seen[:, :2] <= [x + width + 0.01, y + height + 0.01]).all()
        image = images[annotation["image_id"]]
        if annotation["category_id"] == 1 and image["seizure"] == "one":
            there = np.isfinite(pixels[image["frame"]]).all(axis=1)
            assert np.allclose(seen[:, :2], pixels[image["frame"]][there], atol=0.006)
            assert set(seen[:, 2]) == ({1} if image["frame"] in range(20, 24) else {2})
            assert ((points[:, 2] > 0) == there).all()
    first = images[1]["id"]
    assert not [annotation for annotation in content["annotations"] if annotation["image_id"] == first]


def test_what_lies_outside_of_the_picture_is_not_labelled():
    points = np.array([[10, 10], [-3, 5], [50, 101], [np.nan, np.nan], [7, 7]], np.float32)
    written = coco.keypoints(points, np.array([0.9, 0.9, 0.9, 0.9, 0]), (100, 100))
    assert written[:, 2].tolist() == [2, 0, 0, 0, 0]


def test_label_studio_and_cvat_get_the_same_joints(exported, tmp_path):
    _, content = exported
    joints = [joint for category in content["categories"] for joint in category["keypoints"]]
    config = ElementTree.fromstring((tmp_path / "out" / "label_studio.xml").read_text())
    labels = config.findall("./KeyPointLabels/Label")
    assert [label.get("value") for label in labels] == joints
    assert [int(label.get("model_index")) for label in labels] == list(range(34))
    tasks = json.loads((tmp_path / "out" / "label_studio.json").read_text())
    points = sum(len(task["predictions"][0]["result"]) for task in tasks)
    assert points == sum(annotation["num_keypoints"] for annotation in content["annotations"])
    cvat = json.loads((tmp_path / "out" / "cvat_labels.json").read_text())
    assert cvat == tools.cvat_labels()
    for label, category in zip(cvat, content["categories"], strict=True):
        assert label["name"] == category["name"]
        assert [sub["name"] for sub in label["sublabels"]] == category["keypoints"]
        drawing = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
        nodes = {circle.get("data-node-id"): circle.get("data-label-name") for circle in drawing.findall("circle")}
        assert list(nodes.values()) == category["keypoints"]
        bones = [[int(line.get("data-node-from")), int(line.get("data-node-to"))] for line in drawing.findall("line")]
        assert bones == category["skeleton"]


def test_the_folder_says_that_it_must_stay(exported, tmp_path):
    readme = (tmp_path / "out" / "README.txt").read_text()
    assert "PATIENT FOOTAGE" in readme
    assert "MUST STAY ON THIS MACHINE" in readme
    assert "Research use only" in readme


def test_an_export_is_not_written_over(exported, cache, videos, tmp_path):
    with pytest.raises(InputError, match="holds an export already"):
        export(Export(cache.root, videos, tmp_path / "out"))


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_out_of_range_is_refused(cache, videos, tmp_path, share):
    with pytest.raises(InputError, match="--share"):
        export(Export(cache.root, videos, tmp_path / "out", share))


def test_every_bad_video_is_named_and_nothing_is_whole(cache, videos, tmp_path):
    (videos / "one.mp4").unlink()
    (videos / "two.mp4").write_text("no video")
    with pytest.raises(InputError) as caught:
        export(Export(cache.root, videos, tmp_path / "out"))
    assert len(caught.value.faults) == 2
    assert "one.mp4" in caught.value.faults[0]
    assert "two.mp4" in caught.value.faults[1]
    assert not (tmp_path / "out" / ANNOTATIONS).exists()


def test_a_stand_in_cohort_has_no_pictures(tiny_cache, videos, tmp_path):
    with pytest.raises(InputError, match="stand-in cohort"):
        export(Export(tiny_cache, videos, tmp_path / "out"))


def test_a_cache_without_pixels_has_nothing_to_correct(videos, tmp_path):
    empty = Cache.create(tmp_path / "empty", videos / "cohort.csv")
    with pytest.raises(InputError, match="only what was extracted"):
        export(Export(empty.root, videos, tmp_path / "out"))
