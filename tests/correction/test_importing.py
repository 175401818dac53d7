import copy
import json
import os

import numpy as np
import pytest

from seizurelit.cohort.skeleton import built_in
from seizurelit.correction.importing import Import, import_corrections
from seizurelit.errors import InputError

SCALE = 40.0
JOINTS = built_in("body11").joints
WRIST = JOINTS.index("left wrist")


@pytest.fixture
def give(cache, tmp_path):
    """Import a file of this content."""

    def give(value):
        path = tmp_path / "corrected.json"
        path.write_text(json.dumps(value))
        return import_corrections(Import(cache.root, path))

    return give


def of(content, seizure, frame, category="person"):
    """The annotation of a category in a frame, to be changed in place."""
    image = next(image for image in content["images"] if (image["seizure"], image["frame"]) == (seizure, frame))
    number = {"person": 1, "face": 2}[category]
    found = [a for a in content["annotations"] if a["image_id"] == image["id"] and a["category_id"] == number]
    if not found:
        size = {"person": 11, "face": 23}[category]
        found = [{"id": 10**6 + frame, "image_id": image["id"], "category_id": number, "keypoints": [0] * 3 * size}]
        content["annotations"] += found
    return found[0]["keypoints"]


def everything(cache):
    streams = [("one", "pose"), ("one", "face"), ("night_2", "pose")]
    return {key: cache.read(*key) for key in streams}


def bytes_of(cache):
    return {path.name: path.read_bytes() for path in cache.root.glob("*.safetensors")}


def test_what_was_not_changed_changes_nothing(cache, content, give):
    before = bytes_of(cache)
    done = give(content)
    assert (done.moved, done.added, done.removed, done.seizures) == (0, 0, 0, ())
    assert (done.pictures, done.unreviewed) == (120, 1)
    assert bytes_of(cache) == before


def test_one_point_moved_is_all_that_changes(cache, content, give):
    before, files = everything(cache), bytes_of(cache)
    x, y, _ = of(content, "one", 10)[3 * WRIST : 3 * WRIST + 3]
    of(content, "one", 10)[3 * WRIST : 3 * WRIST + 2] = [x + 8, y - 4]
    done = give(content)
    assert (done.moved, done.added, done.removed, done.seizures) == (1, 0, 0, ("one",))
    after = everything(cache)
    assert {name for name, raw in bytes_of(cache).items() if raw != files[name]} == {"one.pose.safetensors"}
    expected = {name: tensor.copy() for name, tensor in before["one", "pose"].tensors.items()}
    expected["pose.keypoints_2d"][10, WRIST] = [x + 8, y - 4]
    expected["pose.confidence"][10, WRIST] = 1
    # Across the line of sight by as much as in the picture, y up; the depth stays.
    expected["pose.keypoints"][10, WRIST] += [8 / SCALE, 4 / SCALE, 0]
    made = after["one", "pose"]
    for name, tensor in expected.items():
        others = np.ones(len(tensor), bool)
        if name != "pose.appearance":
            others[10] = False
            assert np.allclose(made[name][10], tensor[10], atol=1e-3, equal_nan=True), name
        assert made[name][others].tobytes() == tensor[others].tobytes(), name
    rest = [joint for joint in range(11) if joint != WRIST]
    assert made["pose.keypoints"][10, rest].tobytes() == before["one", "pose"]["pose.keypoints"][10, rest].tobytes()
    was, now = before["one", "pose"].metadata, made.metadata
    assert now.extractor == "mediapipe, corrected by review"
    assert dict(now.facts) == {**was.facts, "corrected_frames": "10", "needs_lift": True}
    for kept in ("source_digest", "extractor_digest", "weights_digest", "subjects_seen", "skeleton", "appearance_fps"):
        assert getattr(now, kept) == getattr(was, kept)


def test_a_second_import_changes_nothing_and_a_third_of_more_adds(cache, content, give):
    of(content, "one", 10)[3 * WRIST] += 8
    give(content)
    once = bytes_of(cache)
    assert give(content).moved == 0
    assert bytes_of(cache) == once
    of(content, "one", 12)[3 * WRIST] += 8
    assert give(content).moved == 1
    now = cache.metadata("one", "pose")
    assert now.facts["corrected_frames"] == "10 12"
    assert now.extractor == "mediapipe, corrected by review"


def test_a_point_added_takes_the_depth_of_the_nearest_frame(cache, content, give):
    of(content, "one", 30)[3 * WRIST : 3 * WRIST + 3] = [200, 100, 2]
    before = cache.read("one", "pose")
    assert np.isnan(before["pose.keypoints"][30, WRIST]).all()
    done = give(content)
    assert (done.moved, done.added) == (0, 1)
    made = cache.read("one", "pose")
    assert made["pose.confidence"][30, WRIST] == 1
    assert made["pose.keypoints"][30, WRIST, 2] == before["pose.keypoints"][29, WRIST, 2]
    pelvis = before["pose.keypoints_2d"][30, 0]
    across = (np.array([200, 100]) - pelvis) / SCALE * [1, -1]
    assert np.allclose(made["pose.keypoints"][30, WRIST, :2], across, atol=1e-3)


def test_the_root_moved_moves_its_path_and_leaves_the_others_where_they_are(cache, content, give):
    of(content, "one", 10)[0] += 20
    before = cache.read("one", "pose")
    give(content)
    made = cache.read("one", "pose")
    assert np.allclose(made["pose.root"][10] - before["pose.root"][10], [20 / SCALE, 0, 0], atol=1e-3)
    assert (made["pose.keypoints"][10, 0] == 0).all()
    whole = [tensors["pose.keypoints"][10, 1:] + tensors["pose.root"][10] for tensors in (before, made)]
    assert np.allclose(*whole, atol=1e-5)


def test_a_whole_patient_added_has_a_box_and_a_body(cache, content, give):
    keypoints = of(content, "one", 40)
    keypoints[:] = [number for x, y, _ in np.reshape(of(content, "one", 39), (-1, 3)) for number in (x + 4, y, 2)]
    before = cache.read("one", "pose")
    assert give(content).added == 11
    made = cache.read("one", "pose")
    box = made["pose.box"][40]
    assert np.isfinite(box).all()
    assert (made["pose.keypoints_2d"][40] >= box[:2]).all()
    assert (made["pose.keypoints_2d"][40] <= box[2:]).all()
    assert np.allclose(made["pose.keypoints"][40], before["pose.keypoints"][39], atol=2e-3)
    assert np.allclose(made["pose.root"][40] - before["pose.root"][39], [4 / SCALE, 0, 0], atol=2e-3)


def test_a_joint_without_its_root_is_refused(cache, content, give):
    of(content, "one", 40)[3 * WRIST : 3 * WRIST + 3] = [200, 100, 2]
    with pytest.raises(InputError, match=r"one_000040.*place 'pelvis' too"):
        give(content)


def test_a_point_marked_outside_is_missing(cache, content, give):
    of(content, "one", 10)[3 * WRIST : 3 * WRIST + 3] = [0, 0, 0]
    assert give(content).removed == 1
    made = cache.read("one", "pose")
    assert made["pose.confidence"][10, WRIST] == 0
    assert np.isnan(made["pose.keypoints"][10, WRIST]).all()
    assert np.isnan(made["pose.keypoints_2d"][10, WRIST]).all()
    assert give(content).removed == 0


def test_a_landmark_is_written_in_pixels_of_the_crop(cache, content, give):
    landmarks = of(content, "one", 10, "face")
    landmarks[:2] = [130, 40]
    new = of(content, "one", 42, "face")
    new[:] = [number for place in range(23) for number in (50 + 2 * place, 60 + place, 2)]
    of(content, "one", 11, "face")[3:6] = [0, 0, 0]
    done = give(content)
    assert (done.moved, done.added, done.removed) == (1, 23, 1)
    made = cache.read("one", "face")
    assert made["face.keypoints"][10, 0].tolist() == [30, 20]
    assert made["face.confidence"][10, 0] == 1
    assert np.allclose(
        made["face.keypoints"][42] + made["face.box"][42, :2], np.reshape(new, (-1, 3))[:, :2], atol=1e-4
    )
    assert made["face.confidence"][11, 1] == 0
    assert made.metadata.facts["corrected_frames"] == "10 11 42"
    assert "needs_lift" not in made.metadata.facts
    assert give(content).added == 0


def test_what_cvat_changes_does_not_matter(cache, content, give):
    """Ids anew, folders before names, floats, other categories, extra fields lost, another order of joints."""
    moved = copy.deepcopy(content)
    of(moved, "night_2", 5)[3 * WRIST] += 8
    order = list(reversed(range(11)))
    ids = {image["id"]: 7 * index for index, image in enumerate(moved["images"])}
    given = {
        "categories": [
            {"id": 4, "name": "bed", "supercategory": ""},
            {"id": 9, "name": "person", "keypoints": [JOINTS[joint] for joint in order], "skeleton": []},
            {**moved["categories"][1], "id": 2},
        ],
        "images": [
            {"id": ids[i["id"]], "width": 320, "height": 240, "file_name": f"default/{i['file_name']}", "license": 0}
            for i in reversed(moved["images"])
        ],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 4, "bbox": [0, 0, 5, 5], "segmentation": []}],
    }
    for number, annotation in enumerate(moved["annotations"], start=2):
        points = np.reshape(annotation["keypoints"], (-1, 3)).astype(float)
        if annotation["category_id"] == 1:
            points = points[order]
        given["annotations"].append(
            {
                "id": number,
                "image_id": ids[annotation["image_id"]],
                "category_id": {1: 9, 2: 2}[annotation["category_id"]],
                "keypoints": np.add(points, [1e-5, 1e-5, 0]).ravel().tolist(),
                "attributes": {"occluded": False},
            }
        )
    done = give(given)
    assert (done.moved, done.added, done.removed, done.seizures) == (1, 0, 0, ("night_2",))
    assert cache.read("night_2", "pose")["pose.confidence"][5, WRIST] == 1


def test_what_label_studio_changes_does_not_matter(cache, content, give):
    """Both categories in one, pixels rounded, rectangles beside, names in a URL."""
    moved = copy.deepcopy(content)
    of(moved, "night_2", 5)[3 * WRIST] += 8
    joints = [joint for category in moved["categories"] for joint in category["keypoints"]]
    annotations = []
    for image in moved["images"]:
        points = np.zeros((34, 3))
        for annotation in moved["annotations"]:
            if annotation["image_id"] == image["id"]:
                part = slice(0, 11) if annotation["category_id"] == 1 else slice(11, 34)
                points[part] = np.reshape(annotation["keypoints"], (-1, 3))
        points = np.where(points[:, 2:] > 0, [2], [0]) * [0, 0, 1] + points * [1, 1, 0]
        if points.any():
            flat = [round(number) for number in points.ravel()]
            annotations.append({"id": 0, "image_id": image["id"], "category_id": 2, "keypoints": flat, "iscrowd": 0})
    given = {
        "categories": [{"id": 0, "name": "face"}, {"id": 2, "name": "default", "keypoints": joints, "skeleton": []}],
        "images": [
            {**image, "file_name": f"/data/local-files/?d=images/{image['file_name']}", "width": None, "height": None}
            for image in moved["images"]
        ],
        "annotations": [*annotations, {"id": 1, "image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4]}],
    }
    done = give(given)
    assert (done.moved, done.added, done.removed, done.seizures) == (1, 0, 0, ("night_2",))


def test_every_fault_is_told_at_once_and_nothing_is_written(cache, content, give):
    before = bytes_of(cache)
    of(content, "one", 10)[3 * WRIST] += 8
    images = content["images"]
    images += [
        {"id": 901, "file_name": "holiday.jpg", "width": 320, "height": 240},
        {"id": 902, "file_name": "00001_nobody_000001.jpg", "width": 320, "height": 240},
        {"id": 903, "file_name": "00001_one_000999.jpg", "width": 320, "height": 240},
        {"id": 904, "file_name": f"again/{images[0]['file_name']}", "width": 320, "height": 240},
    ]
    images[3]["width"] = 160
    annotations = content["annotations"]
    annotations.append({**annotations[0], "id": 1})
    annotations[1]["keypoints"] = annotations[1]["keypoints"][:-1]
    annotations[2]["keypoints"][2] = 3
    annotations[3]["keypoints"][0] = float("nan")
    annotations[4]["image_id"] = 12345
    annotations[5]["category_id"] = 77
    with pytest.raises(InputError) as caught:
        give(content)
    parts = (
        *("is no picture of an export", "no points in pixels of seizure 'nobody'", "has 60 frames in the cache"),
        *("is the same frame as", "is 160×240 where the video is 320×240", "is a second"),
        *("numbers for 11 keypoints", "give x, y and 0, 1 or 2", "there is no image 12345", "there is no category 77"),
    )
    for part in parts:
        assert any(part in fault for fault in caught.value.faults), part
    assert len(caught.value.faults) == len(parts) + 1  # the visibility and the NaN are of one kind
    assert bytes_of(cache) == before


def test_an_unknown_joint_and_a_point_outside_are_refused(cache, content, give):
    other = copy.deepcopy(content)
    other["categories"][0]["keypoints"][0] = "nose"
    with pytest.raises(InputError, match="'nose' is no joint of body11 or face23"):
        give(other)
    of(content, "one", 10)[0] = 400
    with pytest.raises(InputError, match="'pelvis' lies outside of the picture"):
        give(content)


def test_a_face_where_none_was_extracted_is_refused(cache, content, give):
    of(content, "night_2", 5, "face")[:3] = [10, 10, 2]
    with pytest.raises(InputError, match="no face of 'night_2'"):
        give(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read"), ("{", "is no JSON"), ("[]", "has no lists"), ('{"images": []}', "has no lists")],
)
def test_a_file_that_is_none_is_refused(cache, tmp_path, text, said):
    path = tmp_path / "bad.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=said):
        import_corrections(Import(cache.root, path))


def test_a_killed_write_leaves_the_file_that_was_there(cache, content, give, monkeypatch):
    of(content, "one", 10)[3 * WRIST] += 8
    before = bytes_of(cache)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        give(content)
    monkeypatch.undo()
    assert bytes_of(cache) == before
    assert give(content).moved == 1
