"""Fine-tuning per fold on corrected frames: who was seen, what is learned, what is refused; `make openmm` runs it."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open

from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.correction import coco
from seizurelit.correction.export import ANNOTATIONS, IMAGES
from seizurelit.correction.options import Finetune
from seizurelit.errors import InputError
from seizurelit.extraction.models import Model, OpenMMLabModels

pytestmark = [
    pytest.mark.openmm,
    pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="OpenMMLab is not installed; make openmm"),
]
POSE = "rtmpose-t_8xb256-420e_coco-256x192"


@pytest.fixture(scope="module")
def folder(three):
    """A corrected export of three subjects, with a body drawn where its points are, and random weights to start from."""
    from seizurelit.extraction.smoke import random_weights

    content = json.loads((three / "out" / ANNOTATIONS).read_text())
    names = {image["id"]: three / "out" / IMAGES / image["file_name"] for image in content["images"]}
    for annotation in content["annotations"]:
        points = np.reshape(annotation["keypoints"], (-1, 3))[:, :2]
        with Image.open(names[annotation["image_id"]]) as picture:
            draw = ImageDraw.Draw(picture)
            for place, (x, y) in enumerate(points):
                colour = (20 * place % 256, 255 - 20 * place % 256, 90 * place % 256)
                draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
            picture.save(names[annotation["image_id"]])
    torch.manual_seed(0)
    for name in ("ssdlite", POSE):
        random_weights(Model(name), three)
    return three


@pytest.fixture
def content(folder):
    return json.loads((folder / "out" / ANNOTATIONS).read_text())


@pytest.fixture
def again(folder, tmp_path):
    """The path of a file with something else in it."""

    def write(value):
        path = tmp_path / "again.json"
        path.write_text(json.dumps(value))
        return path

    return write


@pytest.fixture
def options(folder, tmp_path):
    def make(**changes):
        given = {
            "cache": folder / "cache", "corrected": folder / "out" / ANNOTATIONS, "images": folder / "out" / IMAGES,
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
    image = np.zeros((120, 160, 3), np.uint8)
    assert backend.find_people([image])[0].shape[1] == 5
    assert backend.find_faces([image])[0].shape[1] == 5


def test_it_learns_the_corrected_points(folder, options, tmp_path):
    from seizurelit.correction.finetune import finetune

    (first,) = finetune(options(body=body(folder), learning_rate=2e-3))
    (later,) = finetune(options(body=body(folder), learning_rate=2e-3, epochs=60, out=tmp_path / "longer"))
    assert later.loss < 0.9 * first.loss


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


def test_only_joints_that_a_model_has_itself_are_taught(tmp_path):
    from seizurelit.cohort.points import BODY
    from seizurelit.correction.finetune import _Picture, _points

    joints = list(coco.CATEGORIES["person"][1].joints)
    given = {place: (place + 1.0, 50.0) for place, joint in enumerate(joints) if joint != "head"}
    picture = _Picture(tmp_path, "p1", (99, 99), {"person": (0, 0, 9, 9)}, {"person": given})
    (made,) = _points(picture, "person", BODY["coco17"])
    points = np.reshape(made["keypoints"], (17, 3))
    taught = {place for place in range(17) if points[place, 2] > 0}
    assert taught == {5, 6, 7, 8, 9, 10, 11, 12}
    for joint, sources in enumerate(BODY["coco17"].sources):
        if len(sources) == 1 and sources[0] in taught:
            assert points[sources[0], 0] == joint + 1
    assert made["num_keypoints"] == 8
    assert _points(picture, "face", BODY["coco17"]) == []


def test_a_box_is_the_extractions_widened_by_what_was_put_outside_of_it(folder, options, content, again):
    from seizurelit.correction.finetune import _read

    box = np.array(content["annotations"][0]["bbox"])
    (before,) = [p for p in _read(options()) if p.path.name == content["images"][0]["file_name"]]
    np.testing.assert_allclose(before.boxes["person"], [*box[:2], *(box[:2] + box[2:])], atol=0.02)
    content["annotations"][0]["keypoints"][:3] = [3, 200, 2]
    del content["annotations"][0]["bbox"]
    (after,) = [p for p in _read(options(corrected=again(content))) if p.path == before.path]
    assert after.points["person"][0] == (3, 200)
    assert after.boxes["person"][0] == 3
    assert after.boxes["person"][2:] == (before.boxes["person"][2], max(200, before.boxes["person"][3]))


def test_what_a_tool_makes_of_ids_names_and_order_teaches_the_same(folder, options, content, again):
    from seizurelit.correction.finetune import finetune

    (done,) = finetune(options(body=body(folder)))
    for category, number in zip(content["categories"], (9, 4), strict=True):
        category["id"] = number
    for annotation in content["annotations"]:
        annotation["image_id"] += 70
        annotation["category_id"] = {1: 9, 2: 4}[annotation["category_id"]]
        del annotation["bbox"]
    for image in content["images"]:
        image["id"] += 70
        image["file_name"] = f"default/{image['file_name']}"
    content["images"].reverse()
    (other,) = finetune(options(body=body(folder), corrected=again(content)))
    assert (other.path, other.loss) == (done.path, None)


def test_what_cannot_be_used_is_refused_before_anything_is_fitted(folder, options, content, again, tmp_path):
    from seizurelit.correction.finetune import finetune

    with pytest.raises(InputError, match="no such subject"):
        finetune(options(fold="p9", body=body(folder)))
    with pytest.raises(InputError, match="--epochs 0"):
        finetune(options(epochs=0, body=body(folder)))
    with pytest.raises(InputError, match="has no such picture") as caught:
        finetune(options(images=tmp_path, body=body(folder)))
    assert len(caught.value.faults) == 6
    with pytest.raises(InputError, match="has no lists"):
        finetune(options(corrected=again({}), body=body(folder)))
    of_p1 = [image for image in content["images"] if image["subject"] == "p1"]
    kept = {image["id"] for image in of_p1}
    alone = [annotation for annotation in content["annotations"] if annotation["image_id"] in kept]
    with pytest.raises(InputError, match="no picture of another subject than p1"):
        finetune(
            options(corrected=again({**content, "images": of_p1, "annotations": alone}), fold="p1", body=body(folder))
        )
    assert not (tmp_path / "weights").exists()
