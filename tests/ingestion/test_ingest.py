"""Files of other tools into the cache: what stands there afterwards, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.cache.store import Cache
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.errors import InputError
from seizurelit.ingestion.ingest import ingest
from seizurelit.ingestion.keypoints import Keypoints, frames_between, relative_to_root
from seizurelit.ingestion.options import Ingest

THREE = Skeleton("three", ("hip", "neck", "hand"), ((1, 0), (2, 1)), 0, (0, 1), (), ("y", "x", "confidence"), fps=10.0)
FRAMES = 60


def coordinates(seed: int) -> np.ndarray:
    """(T, V, 2) in pixels: a torso 100 long that walks, and a hand that moves about."""
    rng = np.random.default_rng(seed)
    hip = np.stack([np.linspace(200, 300, FRAMES), np.linspace(400, 410, FRAMES)], axis=-1)
    return np.stack([hip, hip - [0, 100], hip + rng.normal(0, 50, (FRAMES, 2))], axis=1)


def as_file(xy: np.ndarray, confidence: np.ndarray | float = 0.9) -> np.ndarray:
    """In the skeleton's order of channels: y, x, confidence."""
    return np.stack([xy[..., 1], xy[..., 0], np.broadcast_to(confidence, xy.shape[:2])], axis=-1)


@pytest.fixture
def options(tmp_path: Path) -> Ingest:
    (tmp_path / "cohort.csv").write_text("subject,seizure,dystonia\na,a1,1\na,a2,0\nb,b1,1\nb,b2,0\n")
    (tmp_path / "skeleton.yaml").write_text(yaml.safe_dump(THREE.to_json()))
    for folder in ("keypoints", "features"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(("a1", "a2", "b1", "b2")):
        np.save(tmp_path / "keypoints" / f"{name}.npy", as_file(coordinates(number)))
        features = np.random.default_rng(number).normal(size=(FRAMES // 2, 8))
        np.save(tmp_path / "features" / f"{name}.npy", features)
    return Ingest(
        cache=tmp_path / "cache",
        keypoints=tmp_path / "keypoints",
        cohort=tmp_path / "cohort.csv",
        skeleton=str(tmp_path / "skeleton.yaml"),
        appearance=tmp_path / "features",
        appearance_fps=5.0,
    )


def test_all_of_it(options: Ingest) -> None:
    seen: list[tuple[int, int]] = []
    done = ingest(options, lambda made, total: seen.append((made, total)))
    assert (done.seizures, done.subjects, done.missing, done.signs) == (4, 2, (), ("dystonia",))
    assert seen == [(made, 8) for made in range(9)]
    cache = Cache.open(options.cache)
    back = cache.read("b1", "pose")
    assert back.metadata.subject == "b"
    assert back.metadata.fps == 10
    assert back.metadata.appearance_fps == 5
    assert back.metadata.skeleton is not None
    assert back.metadata.skeleton.channels == ("x", "y", "confidence")
    assert back.metadata.facts == {"duration_s": 6.0, "container": "npy", "unit_length": 100.0}
    xy = coordinates(2)
    np.testing.assert_allclose(back["pose.keypoints"], (xy - xy[:, :1]) / 100, atol=1e-5)
    np.testing.assert_allclose(back["pose.root"], xy[:, 0] / 100, atol=1e-5)
    np.testing.assert_allclose(back["pose.confidence"], 0.9)
    np.testing.assert_array_equal(
        back["pose.appearance"], np.random.default_rng(2).normal(size=(FRAMES // 2, 8)).astype(np.float16)
    )


def test_twice_gives_the_same_bytes(options: Ingest) -> None:
    ingest(options)
    first = {path.name: path.read_bytes() for path in options.cache.iterdir()}
    ingest(options)
    assert {path.name: path.read_bytes() for path in options.cache.iterdir()} == first


def test_one_modality_after_the_other(options: Ingest, tmp_path: Path) -> None:
    ingest(options)
    at_once = Cache.open(options.cache).digest(["pose"])
    for first, second in (("keypoints", "appearance"), ("appearance", "keypoints")):
        other = dataclasses.replace(options, cache=tmp_path / f"{first} first")
        ingest(dataclasses.replace(other, **{second: None}))
        assert Cache.open(other.cache).modalities("pose") == {first}
        ingest(dataclasses.replace(other, **{first: None}))
        assert Cache.open(other.cache).digest(["pose"]) == at_once


def test_missing_stays_missing(options: Ingest) -> None:
    xy, confidence = coordinates(0), np.full((FRAMES, 3), 0.5)
    xy[4, 2, 0] = np.nan
    confidence[5, 2] = 0
    confidence[6, 1] = np.nan
    xy[7, 0] = np.nan  # the root: the others of the frame are kept
    assert options.keypoints is not None
    np.save(options.keypoints / "a1.npy", as_file(xy, confidence))
    ingest(options)
    back = Cache.open(options.cache).read("a1", "pose")
    gone = np.zeros((FRAMES, 3), dtype=bool)
    gone[[4, 5, 6, 7], [2, 2, 1, 0]] = True
    np.testing.assert_array_equal(np.isnan(back["pose.keypoints"]).all(-1), gone)
    np.testing.assert_array_equal(np.isnan(back["pose.keypoints"]).any(-1), gone)
    np.testing.assert_array_equal(back["pose.confidence"], np.where(gone, 0, np.float32(0.5)))
    np.testing.assert_allclose(back["pose.root"], coordinates(0)[:, 0] / 100, atol=1e-5)


def test_long_csv(options: Ingest) -> None:
    assert options.keypoints is not None
    ingest(options)
    from_npy = Cache.open(options.cache).read("a2", "pose")
    lines = ["joint,frame,confidence,x,y"]
    for frame, joints in enumerate(coordinates(1)):
        for name, (x, y) in zip(THREE.joints, joints, strict=True):
            lines.append(f"{name},{frame},0.9,{x!r},{y!r}".replace("np.float64(", "").replace(")", ""))
    (options.keypoints / "a2.npy").unlink()
    (options.keypoints / "a2.csv").write_text("\n".join(reversed(lines[1:])).join([lines[0] + "\n", ""]))
    ingest(options)
    from_csv = Cache.open(options.cache).read("a2", "pose")
    np.testing.assert_array_equal(from_csv["pose.keypoints"], from_npy["pose.keypoints"])
    assert from_csv.metadata.facts["container"] == "csv"


def test_gaps_of_a_csv(options: Ingest) -> None:
    assert options.keypoints is not None
    (options.keypoints / "a1.npy").unlink()
    (options.keypoints / "a1.csv").write_text(
        "frame,joint,x,y\n0,hip,0,0\n0,neck,0,10\n0,hand,5,5\n2,hip,0,0\n2,neck,0,10\n2,hand,,5\n3,hip,1,1\n"
    )
    ingest(dataclasses.replace(options, appearance=None))
    back = Cache.open(options.cache).read("a1", "pose")
    np.testing.assert_array_equal(back["pose.confidence"], [[1, 1, 1], [0, 0, 0], [1, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(back["pose.keypoints"][0], [[0, 0], [0, 1], [0.5, 0.5]])


def test_the_face_stays_in_pixels(options: Ingest) -> None:
    ingest(dataclasses.replace(options, stream="face"))
    back = Cache.open(options.cache).read("a1", "face")
    assert set(back.tensors) == {"face.keypoints", "face.confidence", "face.appearance"}
    np.testing.assert_allclose(back["face.keypoints"], coordinates(0).astype(np.float32))


def test_start_and_end_cut(options: Ingest) -> None:
    assert options.cohort is not None
    assert options.keypoints is not None
    options.cohort.write_text(
        "subject,seizure,file,start,end,dystonia\na,a1,a1.npy,1,3.05,1\na,a2,a1.npy,4,,0\nb,b1,b1.npy,,,1\nb,b2,,,,0\n"
    )
    ingest(options)
    cache = Cache.open(options.cache)
    whole = coordinates(0)[:, 0] / 100
    np.testing.assert_allclose(cache.read("a1", "pose")["pose.root"], whole[10:31], atol=1e-5)
    np.testing.assert_allclose(cache.read("a2", "pose")["pose.root"], whole[40:], atol=1e-5)
    assert len(cache.read("a1", "pose")["pose.appearance"]) == 11


def test_what_has_no_file_is_named(options: Ingest) -> None:
    for folder in (options.keypoints, options.appearance):
        assert folder is not None
        (folder / "b2.npy").unlink()
    done = ingest(options)
    assert done.missing == ("b2",)
    assert done.seizures == 3


def break_file(options: Ingest, how: str) -> None:
    assert options.keypoints is not None
    assert options.appearance is not None
    assert options.cohort is not None
    path, features = options.keypoints / "a1.npy", options.appearance / "a1.npy"
    good = as_file(coordinates(0))
    match how:
        case "objects":
            np.save(path, np.array([{"frame": 1}], dtype=object), allow_pickle=True)
        case "several":
            with path.open("wb") as file:
                np.savez(file, a=good)
        case "text":
            path.write_text("x,y\n1,2\n")
        case "words":
            np.save(path, np.array(["a"]))
        case "axes":
            np.save(path, good.transpose(1, 0, 2))
        case "no frames":
            np.save(path, good[:0])
        case "percent":
            np.save(path, as_file(coordinates(0), 90.0))
        case "infinite":
            good[3, 1, 0] = np.inf
            np.save(path, good)
        case "all missing":
            np.save(path, as_file(coordinates(0), 0.0))
        case "no root":
            good[:, 0] = np.nan
            np.save(path, good)
        case "no scale":
            good[:30, 1] = np.nan
            good[30:, 0] = np.nan
            np.save(path, good)
        case "no length":
            good[:, 1] = good[:, 0]
            np.save(path, good)
        case "feature axes":
            np.save(features, np.zeros((FRAMES // 2, 8, 1)))
        case "large features":
            np.save(features, np.full((FRAMES // 2, 8), 1e6))
        case "half a feature":
            np.save(features, np.where(np.arange(8) < 4, np.nan, np.ones((FRAMES // 2, 8))))
        case "other width":
            np.save(features, np.zeros((FRAMES // 2, 9)))
        case "other rate":
            np.save(features, np.zeros((FRAMES, 8)))
        case "behind the end":
            options.cohort.write_text("subject,seizure,start,dystonia\na,a1,6,1\n")
        case "too long":
            options.cohort.write_text("subject,seizure,end,dystonia\na,a1,60,1\n")
        case "no such file":
            options.cohort.write_text("subject,seizure,file,dystonia\na,a1,a1.mat,1\n")
        case "two files":
            path.with_suffix(".csv").write_text("frame,joint,x,y\n")
        case "other names":
            options.cohort.write_text("subject,seizure,dystonia\na,x1,1\n")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("objects", "a1.npy: is no .npy file of numbers"),
        ("several", "a1.npy: holds several arrays"),
        ("text", "a1.npy: is no .npy file of numbers"),
        ("words", "a1.npy: holds <U1; save floating-point numbers"),
        ("axes", "has the shape (3, 60, 3); skeleton 'three' needs (T, 3, 3): frames, joints, and y, x, confidence"),
        ("no frames", "has the shape (0, 3, 3)"),
        ("percent", "the confidence of joint 'hip' in frame 0 (and 179 more) is 90; it must be from 0 to 1"),
        ("infinite", "joint 'neck' in frame 3 is infinite"),
        ("all missing", "no joint is present in any frame"),
        ("no root", "the root 'hip' is in no frame"),
        ("no scale", "'hip' and 'neck', the scale, are in no frame together"),
        ("no length", "'hip' and 'neck', the scale, lie on each other"),
        ("feature axes", "has the shape (30, 8, 1); it must be (T', D)"),
        ("large features", "has values up to 1e+06; they are kept as float16, up to 65504"),
        ("half a feature", "frame 0 has NaN in some of its features (and 29 more frames)"),
        ("other width", "different numbers of features: 9 in"),
        ("other rate", "last 6.00 s, its appearance features 12.00 s; correct --appearance_fps"),
        ("behind the end", "lasts 6.00 s, but seizure 'a1' is from 6 s to its end"),
        ("too long", "lasts 6.00 s, but seizure 'a1' is from 0 s to 60 s"),
        ("no such file", "row 2: "),
        ("two files", "a1.csv; delete one of the two"),
        ("other names", "file of any seizure"),
    ],
)
def test_bad_files(options: Ingest, how: str, words: str) -> None:
    break_file(options, how)
    with pytest.raises(InputError) as caught:
        ingest(options)
    assert any(words in fault for fault in caught.value.faults), caught.value.faults
    assert all("\n" not in fault for fault in caught.value.faults)
    assert not options.cache.exists()


def test_faults_of_all_files_at_once(options: Ingest) -> None:
    assert options.keypoints is not None
    for name in ("a1", "b2"):
        np.save(options.keypoints / f"{name}.npy", np.zeros((9, 9)))
    with pytest.raises(InputError) as caught:
        ingest(options)
    assert [fault.split(":")[0] for fault in caught.value.faults] == [
        str(options.keypoints / f"{name}.npy") for name in ("a1", "b2")
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frame,joint,x\n0,hip,1\n", ["row 1: there is no column 'y'"]),
        ("frame,joint,x,y,likelihood\n0,hip,1,1,1\n", ["row 1: column 'likelihood' is none of frame, joint, x, y"]),
        ("frame,joint,x,y\n0,hip,1,1\n0,tail,1,1\n", ["row 3: joint 'tail' is not in skeleton 'three'"]),
        ("frame,joint,x,y\n-1,hip,1,1\n1.5,hip,1,1\n9999999,hip,1,1\n", ["row 2: frame '-1'", "row 3: ", "row 4: "]),
        ("frame,joint,x,y\n0,hip,1,1\n0,hip,2,2\n", ["row 3: joint 'hip' in frame 0 is in row 2"]),
        ("frame,joint,x,y\n0,hip,one,1\n", ["row 2: x 'one' is no number"]),
        ("frame,joint,x,y\n" + "0,hip,one,1\n" * 9, ["row 3", "row 4", "row 5", "row 6", "row 7", "4 more rows"]),
    ],
)
def test_bad_csv(options: Ingest, text: str, words: list[str]) -> None:
    assert options.keypoints is not None
    (options.keypoints / "a1.npy").unlink()
    (options.keypoints / "a1.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        ingest(options)
    assert len(caught.value.faults) == len(words)
    for fault, word in zip(caught.value.faults, words, strict=True):
        assert word in fault


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cohort": None}, "--cohort is missing"),
        ({"skeleton": None}, "--skeleton is missing; give body11, face23"),
        ({"keypoints": None, "appearance": None}, "neither --keypoints nor --appearance"),
        ({"keypoints": Path("nothing")}, "--keypoints nothing: there is no such folder"),
        ({"appearance_fps": 0.0}, "--appearance_fps 0.0"),
        ({"peer_folds": Path("folds.csv")}, "--peer_folds goes with --format ui-prmd"),
        ({"format": "ui-prmd"}, "--cohort does not go with --format ui-prmd"),
        ({"format": "ui-prmd", "keypoints": None}, "give the zip file of UI-PRMD"),
        ({"format": "ui-prmd", "stream": "face"}, "--stream face does not go"),
    ],
)
def test_options(options: Ingest, change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        ingest(dataclasses.replace(options, **change))
    assert any(words in fault for fault in caught.value.faults)


def test_another_tool_s_cache_is_left_alone(options: Ingest) -> None:
    ingest(options)
    cache = Cache.open(options.cache)
    made = cache.read("a1", "pose")
    cache.write(dataclasses.replace(made, metadata=dataclasses.replace(made.metadata, extractor="mediapipe")))
    before = cache.digest(["pose"])
    with pytest.raises(InputError, match="was made by 'mediapipe'; ingest into another folder"):
        ingest(options)
    assert cache.digest(["pose"]) == before


@given(st.integers(1, 40), st.integers(0, 2**31), st.floats(0.01, 1000), st.floats(-1000, 1000))
def test_relative_keypoints_do_not_know_unit_nor_place(frames: int, seed: int, unit: float, place: float) -> None:
    """The camera's unit and origin drop out of the keypoints, and keypoints + root is where the joint was."""
    rng = np.random.default_rng(seed)
    there = rng.normal(size=(frames, 3, 2))
    there[rng.uniform(size=(frames, 3)) < 0.2] = np.nan
    there[0] = rng.normal(size=(3, 2))

    def keypoints(values: np.ndarray) -> Keypoints:
        return Keypoints(values, np.where(np.isnan(values).any(-1), 0.0, 1.0))

    one = relative_to_root(keypoints(there), THREE)
    two = relative_to_root(keypoints(there * unit + place), THREE)
    assert not isinstance(one, str)
    assert not isinstance(two, str)
    np.testing.assert_allclose(one.keypoints, two.keypoints, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose((one.keypoints + one.root[:, None]) * one.unit, there, atol=1e-9)
    np.testing.assert_allclose(two.unit, unit * one.unit, rtol=1e-6)


@pytest.mark.parametrize(
    ("start", "end", "fps", "expected"),
    [
        (None, None, 25, slice(0, None)),
        (1.0, 2.0, 25, slice(25, 50)),
        (1.01, 2.01, 25, slice(25, 51)),
        (90.2, None, 25, slice(2255, None)),
        (0.1, 0.3, 30, slice(3, 9)),
    ],
)
def test_frames_between(start: float | None, end: float | None, fps: float, expected: slice) -> None:
    assert frames_between(start, end, fps) == expected
