"""UI-PRMD: the kinematics on a body whose positions are known, and a part of the real zip file through the door's room."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.cache.store import Cache
from seizurelit.cohort.plan import loso_plan, plan_from_file
from seizurelit.errors import InputError
from seizurelit.ingestion.ingest import Ingest, ingest
from seizurelit.ingestion.ui_prmd import forward_kinematics, rotations, ui_prmd_skeleton

SKELETON = ui_prmd_skeleton()


def test_skeleton() -> None:
    assert len(SKELETON.joints) == 22
    assert len(SKELETON.bones) == 21
    assert all(child > parent for child, parent in SKELETON.bones)
    swap = np.array(SKELETON.flip_permutation)
    adjacency = SKELETON.adjacency()
    np.testing.assert_array_equal(adjacency[:, swap][:, :, swap], adjacency)
    assert all(
        SKELETON.joints[left].replace("left", "right") == SKELETON.joints[right] for left, right in SKELETON.flip
    )


@given(st.lists(st.floats(-180, 180), min_size=3, max_size=3))
def test_rotations(degrees: list[float]) -> None:
    """R = Rz · Rx · Ry, written as a product of the three."""
    x, y, z = np.deg2rad(degrees)
    turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    turn = rotations(np.array(degrees))
    np.testing.assert_allclose(turn, turn_z @ turn_x @ turn_y, atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)


def test_a_bend_of_the_spine_takes_all_above_with_it() -> None:
    offsets = np.zeros((1, 22, 3))
    offsets[0, 0] = [5, 90, 200]
    offsets[0, 1:6, 1] = 10  # spine to head tip, each 10 above the other
    degrees = np.zeros((1, 22, 3))
    degrees[0, 1, 0] = 90  # at the spine, forward about x: y becomes z
    positions = forward_kinematics(offsets, degrees, SKELETON)
    np.testing.assert_allclose(positions[0, :3], [[5, 90, 200], [5, 100, 200], [5, 100, 210]], atol=1e-9)
    np.testing.assert_allclose(positions[0, 5], [5, 100, 240], atol=1e-9)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """A zip file of 24 of the 2000 recordings."""
    path = tmp_path_factory.mktemp("ui_prmd") / "part.zip"
    wanted = [
        f"m{exercise}_s{subject}_e04" for exercise in ("01", "07") for subject in ("01", "02", "03", "05", "06", "09")
    ]
    with zipfile.ZipFile(shared / "data" / "ui_prmd_kinect.zip") as whole, zipfile.ZipFile(path, "w") as archive:
        for member in whole.infolist():
            if any(name in member.filename for name in wanted):
                archive.writestr(member.filename, whole.read(member))
        archive.writestr("../../Segmented Movements/Kinect/Positions/evil.txt", "1,2,3")
        archive.writestr("Segmented Movements/Vicon/Positions/m01_s01_e04_positions.txt", "1,2,3")
    return path


@pytest.fixture(scope="module")
def cache(part: Path) -> Cache:
    done = ingest(Ingest(cache=part.parent / "cache", keypoints=part, format="ui-prmd"))
    assert (done.seizures, done.subjects) == (24, 6)
    return Cache.open(done.cache)


@pytest.mark.shared
def test_cohort(cache: Cache) -> None:
    cohort = cache.cohort()
    sign = cohort.sign("correct")
    assert sign.binary
    assert sum(cohort.labels(sign).values()) == 12
    assert cohort.seizures[0].name == "m01_s01_e04"
    assert cohort.seizures[1].name == "m01_s01_e04_inc"
    assert cohort.column("exercise")["m07_s05_e04"] == "m07"
    assert len(loso_plan(cohort, sign).folds) == 6


@pytest.mark.shared
def test_bodies_stand_and_are_symmetric(cache: Cache) -> None:
    first = np.mean([cache.read(name, "pose")["pose.keypoints"][0] for name in cache.seizures("pose")], axis=0)
    mirrored = first[list(SKELETON.flip_permutation)] * [-1, 1, 1]
    assert np.abs(first - mirrored).max() < 0.15
    joint = {name: first[index] for index, name in enumerate(SKELETON.joints)}
    assert joint["neck"][1] == pytest.approx(1, abs=0.05)
    assert joint["left foot"][1] < joint["left lower leg"][1] < -0.5
    assert joint["head tip"][1] > joint["head"][1] > joint["neck"][1]
    assert joint["left hand"][0] > 0.3 > -0.3 > joint["right hand"][0]
    assert joint["left leg toes"][2] > joint["left foot"][2]


@pytest.mark.shared
def test_feet_stay_in_a_squat(cache: Cache) -> None:
    """The waist goes down by a good part of a torso while the feet stay: the order of the rotations is right."""
    feet = [SKELETON.joints.index(name) for name in ("left foot", "right foot")]
    for subject in ("s02", "s03", "s05"):
        tensors = cache.read(f"m01_{subject}_e04", "pose")
        there = tensors["pose.keypoints"] + tensors["pose.root"][:, None]
        assert np.ptp(there[:, SKELETON.root, 1]) > 0.5
        assert there[:, feet].std(axis=0).mean() < 0.1
        assert tensors.metadata.fps == 30


@pytest.mark.shared
def test_again_gives_the_same_bytes(cache: Cache, part: Path, tmp_path: Path) -> None:
    ingest(Ingest(cache=tmp_path / "again", keypoints=part, format="ui-prmd"))
    for path in cache.root.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.shared
def test_peer_folds(part: Path, tmp_path: Path) -> None:
    peers = tmp_path / "peers.csv"
    header = "exercise,fold,subject,repetition,label\n"
    rows = [
        f"1,{1 + subject % 2},{subject},4,{label}" for subject in (1, 2, 3, 6) for label in ("correct", "incorrect")
    ]
    peers.write_text(header + "\n".join(rows) + "\n")
    options = Ingest(cache=tmp_path / "cache", keypoints=part, format="ui-prmd", peer_folds=peers)
    assert "correct_egcn" in ingest(options).signs
    cache = Cache.open(options.cache)
    cohort = cache.cohort()
    sign = cohort.sign("correct_egcn")
    assert len(cohort.labels(sign)) == 8
    assert len(cohort.unrated(sign)) == 16
    plan = plan_from_file(cache.root / "egcn_folds.csv", cohort, sign)
    assert [(fold.name, fold.test) for fold in plan.folds] == [("1", ("s02", "s06")), ("2", ("s01", "s03"))]

    peers.write_text(header + "1,1,1,4,correct\n7,2,1,4,correct\n1,1,1,4,correct\n2,1,2,4,correct\n1,1,x,4,correct\n")
    with pytest.raises(InputError) as caught:
        ingest(options)
    words = [
        "row 3: subject 1 is in fold '1' in row 2",
        "row 4: m01_s01_e04 is in row 2 already",
        "row 5: the zip file has no such recording",
        "row 6: is no recording",
    ]
    assert len(caught.value.faults) == len(words)
    for fault, word in zip(caught.value.faults, words, strict=True):
        assert f"{peers}, {word}" in fault


POSITIONS = "Segmented Movements/Kinect/Positions/m01_s01_e01_positions.txt"
ANGLES = "Segmented Movements/Kinect/Angles/m01_s01_e01_angles.txt"
LINE = ",".join("1" for _ in range(66)) + "\n"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "has no 'Segmented Movements/Kinect/Positions/"),
        ({POSITIONS: LINE}, "alone, without its angles or positions"),
        ({POSITIONS: LINE, ANGLES: LINE * 2}, "m01_s01_e01 has 1 frames of positions, 2 of angles"),
        ({POSITIONS: "1,2\n", ANGLES: LINE}, "is no table of (T, 66) numbers, but (1, 2)"),
        ({POSITIONS: LINE + "1,2\n", ANGLES: LINE}, "cannot be read"),
        ({POSITIONS: LINE.replace("1", "nan", 1), ANGLES: LINE}, "is no table of (T, 66) numbers"),
        ({POSITIONS: "1" * 5_000_000, ANGLES: LINE}, "has 5,000,000 bytes, too many"),
    ],
)
def test_bad_zip_files(tmp_path: Path, members: dict[str, str], words: str) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError) as caught:
        ingest(Ingest(cache=tmp_path / "cache", keypoints=path, format="ui-prmd"))
    assert words in str(caught.value)
    assert not (tmp_path / "cache" / "cohort.csv").exists()


def test_no_zip_file(tmp_path: Path) -> None:
    path = tmp_path / "cohort.zip"
    with pytest.raises(InputError, match="there is no such file"):
        ingest(Ingest(cache=tmp_path / "cache", keypoints=path, format="ui-prmd"))
    path.write_text("none")
    with pytest.raises(InputError, match="is no whole zip file"):
        ingest(Ingest(cache=tmp_path / "cache", keypoints=path, format="ui-prmd"))
