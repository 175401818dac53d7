"""Joint sets: the two that are built in, the golden graph, and files with faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from seizurelit.cohort.skeleton import BUILT_IN, Skeleton, built_in, read_skeleton
from seizurelit.errors import InputError


@pytest.mark.shared
def test_adjacency_is_the_original_s(shared: Path) -> None:
    golden = load_file(shared / "golden" / "agcn_11_joints.safetensors")["adjacency"]
    np.testing.assert_array_equal(built_in("body11").adjacency(), golden)


@pytest.mark.parametrize(("name", "joints", "dimensions"), [("body11", 11, 3), ("face23", 23, 2)])
def test_built_in(name: str, joints: int, dimensions: int) -> None:
    skeleton = read_skeleton(name)
    assert len(skeleton.joints) == joints
    assert len(skeleton.bones) == joints - 1
    assert skeleton.dimensions == dimensions
    assert skeleton.fps == 25
    assert skeleton.parents[skeleton.root] == skeleton.root


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_mirror_keeps_the_graph(name: str) -> None:
    skeleton = read_skeleton(name)
    swap = np.array(skeleton.flip_permutation)
    adjacency = skeleton.adjacency()
    np.testing.assert_array_equal(adjacency[:, swap][:, :, swap], adjacency)
    assert {swap[joint] for joint in skeleton.scale} == set(skeleton.scale)


def test_face23_has_the_landmarks_of_the_method() -> None:
    numbers = "17 19 21 22 24 26 36 37 39 41 42 44 45 46 30 31 35 48 51 54 57 62 66"
    assert built_in("face23").joints == tuple(f"ibug-{number}" for number in numbers.split())


@given(st.data())
def test_flip_twice_is_identity_and_json_round_trip(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 12))
    order = data.draw(st.permutations(range(count)))
    bones = [(order[i], order[data.draw(st.integers(0, i - 1))]) for i in range(1, count)]
    mirrored = data.draw(st.permutations(range(count)))[: 2 * data.draw(st.integers(0, count // 2))]
    skeleton = Skeleton(
        "any",
        tuple(f"joint {i}" for i in range(count)),
        tuple(bones),
        order[0],
        (order[0], order[1]),
        tuple(zip(mirrored[::2], mirrored[1::2], strict=True)),
        data.draw(st.sampled_from([("x", "y"), ("confidence", "y", "x"), ("x", "y", "z", "confidence")])),
        data.draw(st.floats(1, 120)),
    )
    tensor = np.arange(count)
    swap = np.array(skeleton.flip_permutation)
    np.testing.assert_array_equal(tensor[swap][swap], tensor)
    assert Skeleton.from_json(skeleton.to_json()) == skeleton
    sums = skeleton.adjacency().sum(axis=1)
    assert np.all(np.isclose(sums, 1) | (sums == 0))


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "skeleton.yaml"
    skeleton = built_in("body11")
    path.write_text(yaml.safe_dump(skeleton.to_json()))
    assert read_skeleton(path) == skeleton


BASE = {
    "name": "five",
    "joints": ["hip", "neck", "head", "left hand", "right hand"],
    "bones": [["neck", "hip"], ["head", "neck"], ["left hand", "neck"], ["right hand", "neck"]],
    "root": "hip",
    "scale": ["hip", "neck"],
    "flip": [["left hand", "right hand"]],
    "channels": ["x", "y", "confidence"],
    "fps": 25,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bones": [*BASE["bones"], ["tail", "hip"]]}, "bones names 'tail', which is no joint"),
        ({"bones": [*BASE["bones"], ["head", "hip"]]}, "joint 'head' has two parents, 'neck' and 'hip'"),
        ({"bones": BASE["bones"][:3]}, "joint 'right hand' has no bone towards the root 'hip'"),
        ({"bones": [*BASE["bones"][1:], ["neck", "head"]]}, "bones go in a circle: neck, head"),
        ({"bones": [*BASE["bones"], ["hip", "head"]]}, "the root 'hip' has the parent 'head'"),
        ({"bones": [*BASE["bones"], ["hip"]]}, "bones ['hip'] is no pair; write [child, parent]"),
        ({"root": "pelvis"}, "root names 'pelvis', which is no joint"),
        ({"scale": ["hip", "hip"]}, "scale pairs 'hip' with itself"),
        ({"scale": ["hip"]}, "scale ['hip'] is no pair"),
        ({"flip": [["left hand", "right hand"], ["head", "left hand"]]}, "flip has 'left hand' twice"),
        ({"joints": [*BASE["joints"], "head"]}, "joint 'head' is there twice"),
        ({"joints": [*BASE["joints"], 17]}, "joint 17 is no text; put it in quotes"),
        ({"joints": "hip"}, "joints is no list"),
        ({"channels": ["x", "confidence"]}, "lack x or y"),
        ({"channels": ["x", "y", "likelihood"]}, "are not of x, y, z, confidence"),
        ({"channels": ["x", "y", "y"]}, "name one twice"),
        ({"fps": "25 fps"}, "is no frame rate"),
        ({"fps": 0}, "is no frame rate"),
        ({"up": "z"}, "up 'z' is no axis of these channels"),
        ({"facing": ["left", "right"]}, "facing names 'left', which is no joint"),
        ({"lengths": [1, 2]}, "lengths are not"),
        ({"lengths": [0, -1]}, "lengths are not"),
        ({"name": "a/b"}, "has a slash"),
        ({"color": "red"}, "'color' is unknown"),
    ],
)
def test_faults(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "skeleton.yaml"
    path.write_text(yaml.safe_dump({**BASE, **change}))
    with pytest.raises(InputError) as caught:
        read_skeleton(path)
    assert any(fault.startswith(str(path)) and words in fault for fault in caught.value.faults)


@pytest.mark.parametrize("key", ["name", "joints", "bones", "root", "scale", "channels", "fps"])
def test_what_is_missing(tmp_path: Path, key: str) -> None:
    path = tmp_path / "skeleton.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in BASE.items() if name != key}))
    with pytest.raises(InputError, match=f"'{key}' is missing"):
        read_skeleton(path)


def test_all_faults_at_once(tmp_path: Path) -> None:
    path = tmp_path / "skeleton.yaml"
    path.write_text(yaml.safe_dump({**BASE, "root": "pelvis", "fps": -1, "scale": ["hip", "tail"]}))
    with pytest.raises(InputError) as caught:
        read_skeleton(path)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nname: b\n", "row 2: is no YAML ('name' is there twice)"),
        ("name: [a\n", "is no YAML"),
        ("- a\n", "is no mapping"),
        ("", "is no mapping"),
        ("a: !!python/object/apply:os.system [true]\n", "is no YAML"),
    ],
)
def test_no_yaml(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "skeleton.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_skeleton(path)
    assert words in str(caught.value)
    assert len(caught.value.faults) == 1


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of body11, face23"):
        read_skeleton(tmp_path / "body12")
