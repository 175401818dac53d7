"""The review cycle on real clips through the front doors: exported, corrected, imported, fine-tuned, and refused where it leaks."""

import importlib.util
import json

import pytest
import torch

from seizurelit.cache.store import Cache
from seizurelit.cli import run_door
from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.extract import main as extract
from seizurelit.extraction.models import Model
from seizurelit.extraction.weights import read_checkpoint
from seizurelit.review import main as review

pytestmark = [
    pytest.mark.openmm,
    pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="OpenMMLab is not installed; make openmm"),
    pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="MediaPipe is not installed"),
]
POSE = "rtmpose-t_8xb256-420e_coco-256x192"
SUBJECTS = {"lifter", "dancer"}
ROWS = (
    "lifter,clean,mmskeleton_clean_and_jerk.mp4,0,1,1",
    "dancer,chi,mmskeleton_ta_chi.mp4,1,2,0",
)


def test_a_point_moved_reaches_the_weights_of_the_other_folds_alone(shared, tmp_path, monkeypatch, capsys):
    from seizurelit.extraction.smoke import random_weights

    monkeypatch.chdir(tmp_path)

    def run(door, *arguments, code=0):
        """What it printed; here, as each process of its own would import OpenMMLab again."""
        with pytest.raises(SystemExit) as left:
            run_door(door, [str(word) for word in arguments])
        shown = capsys.readouterr()
        assert left.value.code == code, shown.err
        return shown.err if code else shown.out

    clips = shared / "data" / "clips"
    (tmp_path / "cohort.csv").write_text("\n".join(["subject,seizure,video,start,end,dystonia", *ROWS]) + "\n")
    videos = ("--cohort", "cohort.csv", "--cache", "cache", "--videos", clips, "--without=appearance", "--workers=1")
    run(extract, *videos, "--backend", "mediapipe")
    run(review, "export", "--cache", "cache", "--videos", clips, "--out", "review", "--share", 0.05)
    file = tmp_path / "review" / "annotations" / "person_keypoints_default.json"
    content = json.loads(file.read_text())
    moved = next(annotation for annotation in content["annotations"] if annotation["category_id"] == 1)
    moved["keypoints"][:3] = [moved["keypoints"][0] + 5, moved["keypoints"][1], 2]
    file.write_text(json.dumps(content))
    imported = run(review, "import", "--cache", "cache", "--corrected", file)
    assert "1 points moved, 0 added, 0 removed in 1 seizures" in imported

    torch.manual_seed(0)
    models = {part: random_weights(Model(name), tmp_path) for part, name in (("people", "ssdlite"), ("body", POSE))}
    given = [word for part, model in models.items() for word in (f"--{part}.config", model.config)]
    given += [word for part, model in models.items() for word in (f"--{part}.weights", model.weights)]
    finetune = ("finetune", "--cache", "cache", "--corrected", file, "--images", "review/images", "--out", "weights")
    told = run(review, *finetune, *given, "--epochs", 1)
    assert told.count("loss ") == 4
    for subject in SUBJECTS:
        for part in models:
            weights = read_checkpoint(tmp_path / "weights" / subject / f"{part}.safetensors").weights
            assert weights.subjects_seen == tuple(sorted(SUBJECTS - {subject}))

    def own(subject):
        options = [("people", "ssdlite"), ("body", POSE)]
        made = [f"--openmmlab.{part}.config={name}" for part, name in options]
        made += [f"--openmmlab.{part}.weights=weights/{subject}/{part}.safetensors" for part, _ in options]
        made += [f"--openmmlab.{part}.config=none" for part in ("faces", "face", "lift")]
        return (*made, "--openmmlab.least_score=0", "--backend", "openmmlab", "--stream", "pose")

    run(extract, *videos, *own("dancer"), "--fold", "dancer")
    cache = Cache.open(tmp_path / "cache")
    tensors = cache.read("chi", "pose", fold="dancer")
    assert tensors.metadata.extractor == "openmmlab"
    assert tensors.metadata.subjects_seen == ("lifter",)

    refused = run(extract, *videos, *own("dancer"), "--fold", "lifter", code=2)
    assert "--fold lifter: the weights have seen lifter, whom this fold holds out" in refused
    refused = run(extract, *videos, *own("dancer"), code=2)
    assert "the weights were fitted on lifter of this cohort" in refused
    started = ["--body.weights=weights/dancer/body.safetensors", f"--body.config={POSE}", "--people.config=none"]
    refused = run(review, *finetune[:-1], "more", *started, code=2)
    assert "has seen the held-out lifter" in refused
    assert not (tmp_path / "more").exists()
    # And where somebody puts the files by hand.
    (tmp_path / "cache" / "folds" / "lifter").mkdir()
    cache.path("chi", "pose", "dancer").rename(cache.path("chi", "pose", "lifter"))
    with pytest.raises(SubjectLeakError, match="fold lifter"):
        cache.read("chi", "pose", fold="lifter")
