"""The whole cycle through the front door."""

import importlib.util
import json

import pytest


def test_export_correct_import(cache, videos, door, tmp_path):
    done = door("review", "export", "--cache", cache.root, "--videos", videos, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "12 pictures of 2 seizures" in done.stdout
    assert "must stay on this machine" in done.stdout
    file = tmp_path / "out" / "annotations" / "person_keypoints_default.json"
    content = json.loads(file.read_text())
    moved = next(a for a in content["annotations"] if a["category_id"] == 1)
    image = next(image for image in content["images"] if image["id"] == moved["image_id"])
    moved["keypoints"][0] += 5
    file.write_text(json.dumps(content))
    done = door("review", "import", "--cache", cache.root, "--corrected", file)
    assert done.returncode == 0, done.stderr
    assert "1 points moved, 0 added, 0 removed in 1 seizures" in done.stdout
    read = cache.read(image["seizure"], "pose")
    assert read["pose.keypoints_2d"][image["frame"], 0, 0] == pytest.approx(moved["keypoints"][0], abs=1e-3)
    again = door("review", "import", "--cache", cache.root, "--corrected", file)
    assert "0 points moved" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "give one of export, import"),
        (("exprot",), 2, "'exprot' is none of export, import"),
        (("import", "--cache", "nowhere", "--corrected", "x.json"), 2, "nowhere: no such folder"),
        (("export", "--cache", "nowhere"), 2, "videos"),
    ],
)
def test_a_wrong_command_line_is_one_line(door, arguments, code, said):
    done = door("review", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(importlib.util.find_spec("mmpose") is not None, reason="OpenMMLab is installed")
def test_fine_tuning_without_openmmlab_says_how_to_get_it(door):
    done = door("review", "finetune", "--cache", "c", "--corrected", "x.json", "--images", "images", "--out", "weights")
    assert done.returncode == 2
    assert "not installed; run make openmm" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    told = door("review", "finetune", "--help")
    assert (told.returncode, "--learning_rate" in told.stdout) == (0, True)


def test_help_names_the_commands(door):
    done = door("review", "--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("export", "import", "finetune"))
    assert "Research use only" in done.stdout
