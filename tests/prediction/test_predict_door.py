import csv
import json
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
