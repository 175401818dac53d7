"""Fine-tuning per fold on corrected frames: who was seen, what is learned, what is refused; `make openmm` runs it."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from seizurelit.cache.store import Cache
from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.correction import coco
from seizurelit.errors import InputError
from seizurelit.extraction.models import Model, OpenMMLabModels

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="OpenMMLab is not installed; make openmm"),
]
POSE = "rtmpose-t_8xb256-420e_coco-256x192"
WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cache's cohort of three subjects, two corrected pictures of each, and random weights to start from."""
    import cv2

    from seizurelit.extraction.smoke import random_weights

    root = tmp_path_factory.mktemp("finetune")
    rows = [f"p{number},s{number},v{number}.mp4,{number % 2}" for number in (1, 2, 3)]
    (root / "cohort.csv").write_text("\n".join(["subject,seizure,video,dystonia", *rows]) + "\n")
    Cache.create(root / "cache", root / "cohort.csv")
    (root / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    layout = rng.random((2, 23))
    for rank in range(1, 7):
        seizure = f"s{(rank + 1) // 2}"
        name = coco.picture_name(rank, seizure, rank)
        shift = rng.integers(0, 40)
        picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        picture[20:110, 30 + shift : 90 + shift] = (60, 160, 220)
        cv2.imwrite(str(root / "images" / name), picture)
        images.append({"id": rank, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for category, size in (("person", 11), ("face", 23)):
            points = np.stack([30 + shift + 60 * layout[0, :size], 20 + 90 * layout[1, :size]], axis=1)
            labelled = coco.keypoints(points, np.ones(size), (WIDTH, HEIGHT))
            box = np.array([30 + shift, 20, 90 + shift, 110 if category == "person" else 50], float)
            made = coco.annotation(labelled, box, category)
            annotations.append({"id": len(annotations) + 1, "image_id": rank, **made})
    content = {"images": images, "annotations": annotations, "categories": coco.categories()}
    (root / "corrected.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    for name in ("ssdlite", POSE):
        random_weights(Model(name), root)
    return root


@pytest.fixture
def options(folder, tmp_path):
    from seizurelit.correction.finetune import Finetune

    def make(**changes):
        given = {
            "cache": folder / "cache", "corrected": folder / "corrected.json", "images": folder / "images",
            "out": tmp_path / "weights", "fold": "p2", "people": Model("none"), "body": Model("none"),
            "epochs": 1, "batch": 2, **changes,
        }  # fmt: skip
        return Finetune(**given)

    return make


def body(folder):
    return Model(POSE, folder / f"{POSE}.pth")


def people(folder):
    name = "ssdlite_mobilenetv2-scratch_8xb24-600e_coco"
    return Model("ssdlite", folder / f"{name}.pth")


def test_each_fold_has_weights_that_have_not_seen_its_subject(folder, options):
    from seizurelit.correction.finetune import finetune

    done = finetune(options(fold="all", body=body(folder)))
    assert [(part.fold, part.subjects_seen, part.pictures) for part in done] == [
        ("p1", ("p2", "p3"), 4),
        ("p2", ("p1", "p3"), 4),
        ("p3", ("p1", "p2"), 4),
    ]
    from seizurelit.extraction.weights import read_checkpoint

    start = read_checkpoint(body(folder).weights).state
    for part in done:
        made = read_checkpoint(part.path)
        assert made.weights.subjects_seen == part.subjects_seen
        assert any(not torch.equal(start[name], tensor) for name, tensor in made.state.items())
        means = [name for name in start if "running_mean" in name]
        assert all(torch.equal(start[name], made.state[name]) for name in means)


def test_a_detector_becomes_one_of_people_and_faces_that_the_backend_takes(folder, options):
    from seizurelit.correction.finetune import finetune
    from seizurelit.extraction.openmmlab_backend import OpenMMLabBackend

    (done,) = finetune(options(people=people(folder)))
    backend = OpenMMLabBackend(
        OpenMMLabModels(
            people=Model("ssdlite", done.path), faces=Model("none"), body=body(folder), face=Model("none"),
            lift=Model("none"), least_score=0.0,
        )
    )  # fmt: skip
    assert backend.weights[0].subjects_seen == ("p1", "p3")
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert backend.find_people([image])[0].shape[1] == 5
    assert backend.find_faces([image])[0].shape[1] == 5


def test_it_learns_the_corrected_points(folder, options, tmp_path):
    from seizurelit.correction.finetune import finetune

    (first,) = finetune(options(body=body(folder), learning_rate=2e-3))
    (later,) = finetune(options(body=body(folder), learning_rate=2e-3, epochs=25, out=tmp_path / "longer"))
    assert later.loss < 0.8 * first.loss


def test_a_second_run_leaves_what_is_there_and_refuses_what_was_made_otherwise(folder, options):
    from seizurelit.correction.finetune import finetune

    (done,) = finetune(options(body=body(folder)))
    before = done.path.read_bytes()
    (again,) = finetune(options(body=body(folder)))
    assert again.loss is None
    assert done.path.read_bytes() == before
    with pytest.raises(InputError, match="was made in another way"):
        finetune(options(body=body(folder), epochs=2))


def test_weights_that_have_seen_the_subject_start_nothing(folder, options):
    from seizurelit.correction.finetune import finetune

    (done,) = finetune(options(body=body(folder)))
    with pytest.raises(SubjectLeakError, match="p3"):
        finetune(options(fold="p3", body=Model(POSE, done.path)))
    (on,) = finetune(options(body=Model(POSE, done.path), out=done.path.parents[2] / "on"))
    assert on.subjects_seen == ("p1", "p3")
    with safe_open(on.path, framework="pt") as file:
        assert json.loads(file.metadata()["seizurelit"])["fold"] == "p2"


def test_only_joints_that_a_model_has_itself_are_taught():
    from seizurelit.cohort.points import BODY
    from seizurelit.correction.finetune import _points

    joints = list(coco.CATEGORIES["person"][1].joints)
    flat = [value for place in range(11) for value in (place + 1.0, 50.0, 0 if joints[place] == "head" else 2)]
    annotation = {
        "id": 1,
        "image_id": 1,
        "bbox": [0, 0, 9, 9],
        "category": "person",
        "joints": joints,
        "keypoints": flat,
    }
    (made,) = _points([annotation], "person", BODY["coco17"])
    points = np.reshape(made["keypoints"], (17, 3))
    taught = {place for place in range(17) if points[place, 2] > 0}
    assert taught == {5, 6, 7, 8, 9, 10, 11, 12}
    for joint, (place, *_) in zip(joints, BODY["coco17"].sources, strict=True):
        if place in taught and len(BODY["coco17"].sources[joints.index(joint)]) == 1:
            assert points[place, 0] == joints.index(joint) + 1
    assert made["num_keypoints"] == 8


def test_what_cannot_be_used_is_refused_before_anything_is_fitted(folder, options, tmp_path):
    from seizurelit.correction.finetune import finetune

    with pytest.raises(InputError, match="no such subject"):
        finetune(options(fold="p9", body=body(folder)))
    with pytest.raises(InputError, match="no such picture"):
        finetune(options(images=tmp_path, body=body(folder)))
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(InputError, match="is no COCO keypoints file"):
        finetune(options(corrected=broken, body=body(folder)))
    content = json.loads((folder / "corrected.json").read_text())
    content["images"] = content["images"][:2]
    content["annotations"] = content["annotations"][:4]
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(content))
    with pytest.raises(InputError, match="no picture of another subject than p1"):
        finetune(options(corrected=alone, fold="p1", body=body(folder)))
    assert not (tmp_path / "weights").exists()
