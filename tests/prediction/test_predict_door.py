import csv
import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

pytest.importorskip("captum")
pytest.importorskip("mediapipe")
jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads(files("seizurelit.prediction").joinpath("schema.json").read_text())


@pytest.fixture(scope="module")
def nobody(tmp_path_factory):
    """A video in which nobody is: 4 s of grey noise."""
    import av

    path = tmp_path_factory.mktemp("videos") / "Jane Doe nobody.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(100):
            picture = np.repeat(rng.integers(100, 140, (120, 160, 1), dtype=np.uint8), 3, axis=2)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def test_a_video_with_nobody_in_it_is_not_judged(handed, door, nobody, tmp_path):
    done = door("predict", nobody, "--run", handed["run"], "--out", "p")
    assert done.returncode == 0, done.stderr
    assert "not to be judged" in done.stdout
    assert "the patient is never found" in done.stdout
    assert "STAND-IN COHORT" in done.stdout
    value = json.loads((tmp_path / "p" / "prediction.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    assert value["predictions"][0]["score"] is None
    assert {"prediction.json", "timeline.png", "overlay.mp4"} == {path.name for path in (tmp_path / "p").iterdir()}


def test_a_folder_gives_a_table_and_a_broken_video_stops_no_other(handed, door, nobody, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(nobody.read_bytes())
    (tmp_path / "in" / "b.mp4").write_bytes(b"no video")
    done = door("predict", "in", "--model", handed["model"], "--out", "p", "--overlay", "false")
    assert done.returncode == 1, done.stderr
    rows = list(csv.DictReader((tmp_path / "p" / "predictions.csv").open()))
    assert [row["video"] for row in rows] == ["a.mp4", "b.mp4"]
    assert all(row["judged"] == "false" and row["score"] == "" and row["reasons"] for row in rows)


@pytest.mark.shared
def test_a_person_is_scored_with_grounds_and_a_known_subject_by_the_fold_that_never_saw_it(
    handed, door, shared, tmp_path
):
    clip = shared / "data" / "clips" / "mmskeleton_ta_chi.mp4"
    done = door(
        "predict", clip, "--run", handed["run"], "--subject", "sub-03", "--end", 4, "--show-footage", "--out", "p"
    )
    assert done.returncode == 0, done.stderr
    value = json.loads((tmp_path / "p" / "prediction.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    row = value["predictions"][0]
    assert row["spread"]["members"] == 1
    assert row["of_training_cohort"]["subject"] == "sub-03"
    assert "never saw" in done.stdout
    assert row["grounds"]["names"][0] == "pelvis"
    assert any("STAND-IN" in reason for reason in row["reasons"])


@pytest.fixture(scope="module")
def faces(handed, tmp_path_factory):
    """A run of the face's appearance on the stand-in cohort, whose features have the size of a VGG-19 of width 1."""
    from bench.small import QUICK

    folder = tmp_path_factory.mktemp("faces")
    command = [
        sys.executable,
        "-m",
        "seizurelit.fit",
        "--stream",
        "face",
        "--model",
        "tcn",
        "--cache",
        str(handed["cache"]),
    ]
    done = subprocess.run(
        [*command, "--out", "run", *QUICK], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


def of_width(width, folder):
    """Weights of a VGG-19, never trained, where extraction looks for them."""
    from safetensors.torch import save_file

    from seizurelit.extraction.appearance import FACE_FILE
    from seizurelit.models.vgg19 import Vgg19

    folder.mkdir()
    save_file(Vgg19(width=width).state_dict(), folder / FACE_FILE)
    return folder


@pytest.mark.shared
@pytest.mark.parametrize(
    ("width", "says"),
    [
        (1, "emotion (face tcn): not to be judged"),
        (2, "emotion/face/tcn: not scored: was trained on 8 appearance features, here are 16"),
        (None, "emotion/face/tcn: not scored: the extraction gave no face appearance"),
    ],
)
def test_a_network_of_appearance_is_scored_with_weights_and_else_says_why_not(
    faces, door, shared, tmp_path, width, says
):
    weights = of_width(width, tmp_path / "weights") if width else tmp_path / "nowhere"
    clip = shared / "data" / "clips" / "pyfeat_single_face.mp4"
    done = door("predict", clip, "--run", faces, "--weights", weights, "--out", "p", "--overlay", "false")
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert "Traceback" not in done.stderr
    assert ("no face appearance features" in done.stderr) is (width is None)
    value = json.loads((tmp_path / "p" / "prediction.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    assert len(value["predictions"]) == (width == 1)
    if width == 1:
        row = value["predictions"][0]
        assert row["grounds"]["names"] == ["appearance"]
        assert any("weights of the training cohort's" in note for note in row["notes"])


def test_networks_of_other_joints_or_features_are_refused_before_anything_is_extracted(
    handed, door, nobody, tmp_path, monkeypatch
):
    from seizurelit.handover.model_file import _read, _write

    header, tensors = _read(handed["model"])
    skeleton = header["streams"]["pose"]["skeleton"]
    skeleton["joints"] = ["hub", *skeleton["joints"][1:]]
    skeleton["name"] = "another"
    _write(tmp_path / "other.safetensors", json.loads(json.dumps(header).replace('"pelvis"', '"hub"')), tensors)
    for arguments, says in (
        (("--model", "other.safetensors"), "another of 11 joints, an extraction makes body11"),
        (("--run", handed["run"], "--network", "tcn"), "knows 8 appearance features, an extraction makes 2048"),
    ):
        done = door("predict", nobody, *arguments, "--out", "p")
        assert done.returncode == 2, done.stderr
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--run"),
        (("--run", "nowhere"), "nowhere"),
        (("--model", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--run", "RUN", "--subject", "sub-99"), "sub-99"),
        (("--run", "RUN", "--show-face"), "--show_face"),
        (("--run", "RUN", "--sign", "tremor"), "tremor"),
        (("--run", "RUN", "--patient-box", "1 2"), "patient_box"),
    ],
)
def test_bad_options_get_one_line_and_code_2(handed, nobody, tmp_path, monkeypatch, capsys, arguments, says):
    from seizurelit import predict as predict_door
    from seizurelit.cli import run_door

    monkeypatch.chdir(tmp_path)
    given = [str(handed["run"]) if word == "RUN" else word for word in arguments]
    with pytest.raises(SystemExit) as left:
        run_door(predict_door.main, [str(nobody), *given, "--out", "p"])
    shown = capsys.readouterr().err
    assert left.value.code == 2, shown
    assert says in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "p").exists()
