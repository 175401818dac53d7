"""The cache gives back what was written, or says why not."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seizurelit.cache import store
from seizurelit.cache.store import Cache, CacheError
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.leak import SubjectLeakError
from seizurelit.cohort.skeleton import built_in
from seizurelit.errors import InputError

BODY = built_in("body11")


def metadata(**changes) -> Metadata:
    base = Metadata("s1", "sub-01", "pose", 25.0, 5.0, BODY, "0" * 64, "test", "1" * 16, facts={"duration_s": 4.0})
    return dataclasses.replace(base, **changes)


def tensors(frames: int = 100) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(frames)
    keypoints = rng.normal(size=(frames, 11, 3)).astype(np.float32)
    confidence = rng.uniform(size=(frames, 11)).astype(np.float32)
    keypoints[3, 4], confidence[3, 4] = np.nan, 0
    return {
        "pose.keypoints": keypoints,
        "pose.root": rng.normal(size=(frames, 3)).astype(np.float32),
        "pose.keypoints_2d": rng.normal(size=(frames, 11, 2)).astype(np.float32),
        "pose.box": rng.normal(size=(frames, 4)).astype(np.float32),
        "pose.confidence": confidence,
        "pose.appearance": rng.normal(size=(frames // 5, 16)).astype(np.float16),
    }


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    path = tmp_path / "cohort.csv"
    path.write_text("subject,seizure,dystonia\nsub-01,s1,1\nsub-01,s2,0\nsub-02,s3,1\nsub-02,s4,0\n")
    return Cache.create(tmp_path / "cache", path)


@pytest.fixture
def written(cache: Cache) -> Path:
    return cache.write(SeizureTensors(metadata(), tensors()))


def fresh() -> None:
    """Forget what this process has checked, as a new one would."""
    store._headers.clear()
    store._verified.clear()


def test_round_trip(cache: Cache, written: Path) -> None:
    back = cache.read("s1", "pose")
    assert back.metadata == metadata()
    for name, tensor in tensors().items():
        np.testing.assert_array_equal(back[name], tensor)
        assert back[name].dtype == tensor.dtype
    assert cache.metadata("s1", "pose") == metadata()
    assert cache.names("s1", "pose") == tuple(sorted(tensors()))
    assert cache.has("s1", "pose")
    assert not cache.has("s1", "face")
    assert cache.streams() == {"pose"}
    assert cache.seizures("pose") == ("s1",)
    assert cache.modalities("pose") == {"keypoints", "appearance"}
    assert cache.modalities("face") == frozenset()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_round_trip_of_anything(data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, 6))
    finite = st.floats(-1e4, 1e4, width=32)
    keypoints = data.draw(hnp.arrays(np.float32, (frames, 23, 2), elements=finite | st.just(np.nan)))
    confidence = data.draw(hnp.arrays(np.float32, (frames, 23), elements=st.floats(0, 1, width=32)))
    confidence[np.isnan(keypoints).any(-1)] = 0
    appearance = data.draw(
        hnp.arrays(np.float16, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(-9, 9, width=16))
    )
    facts = data.draw(
        st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5))
    )
    name = data.draw(st.text("aé .,-_1", min_size=1, max_size=9).map(lambda text: "s" + text.replace("..", "--")))
    made = metadata(seizure=name, stream="face", skeleton=built_in("face23"), facts=facts)
    whole = {"face.keypoints": keypoints, "face.confidence": confidence, "face.appearance": appearance}
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        path = cache.write(SeizureTensors(made, whole))
        first = path.read_bytes()
        back = cache.read(name, "face")
        assert cache.seizures("face") == (name,)
        cache.write(back)
        assert path.read_bytes() == first
    assert back.metadata == made
    for key, tensor in whole.items():
        np.testing.assert_array_equal(back[key], tensor)


def test_the_same_tensors_give_the_same_bytes(cache: Cache, written: Path) -> None:
    first = written.read_bytes()
    reversed_order = dict(reversed(tensors().items()))
    assert cache.write(SeizureTensors(metadata(), reversed_order)).read_bytes() == first


def test_slices(cache: Cache, written: Path) -> None:
    whole = tensors()
    part = cache.read("s1", "pose", ["pose.keypoints", "pose.appearance"], slice(13, 26))
    assert set(part.tensors) == {"pose.keypoints", "pose.appearance"}
    np.testing.assert_array_equal(part["pose.keypoints"], whole["pose.keypoints"][13:26])
    # 13 to 26 of 25 a second are 0.52 to 1.04 s: the features from 0.4 s to 1.2 s cover them
    np.testing.assert_array_equal(part["pose.appearance"], whole["pose.appearance"][2:6])
    assert cache.read("s1", "pose", ["pose.root"], slice(90, None))["pose.root"].shape == (10, 3)
    with pytest.raises(ValueError, match="no stretch of frames"):
        cache.read("s1", "pose", None, slice(5, 5))


def test_a_slice_does_not_read_the_rest(cache: Cache, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.read("s1", "pose")
    monkeypatch.setattr(store.hashlib, "sha256", lambda *_: pytest.fail("read and checked again"))
    cache.read("s1", "pose", ["pose.root"], slice(0, 5))


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    match how:
        case "cut short":
            path.write_bytes(content[: len(content) // 2])
        case "one bit":
            at = len(content) - 100
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        case "metadata":
            path.write_bytes(content.replace(b"sub-01", b"sub-02", 1))
        case "no safetensors":
            path.write_bytes(b"\x80\x04pickle" * 9)
        case "somebody else's":
            from safetensors.numpy import save

            path.write_bytes(save({"weights": np.zeros(3)}))
        case "empty":
            path.write_bytes(b"")


@pytest.mark.parametrize("how", ["cut short", "one bit", "metadata", "no safetensors", "somebody else's", "empty"])
def test_damage_is_found(cache: Cache, written: Path, how: str) -> None:
    cache.read("s1", "pose")
    damage(written, how)
    with pytest.raises(CacheError) as caught:
        cache.read("s1", "pose")
    assert str(caught.value).startswith(f"{written}: is damaged (")
    assert "delete it and extract or ingest the seizure again" in str(caught.value)
    assert len(caught.value.faults) == 1
    fresh()
    with pytest.raises(CacheError):
        cache.read("s1", "pose", ["pose.root"], slice(0, 1))


def test_what_is_not_there(cache: Cache, written: Path) -> None:
    with pytest.raises(CacheError, match=r"s2\.pose\.safetensors: does not exist; extract or ingest seizure 's2'"):
        cache.read("s2", "pose")
    with pytest.raises(CacheError, match=r"has no pose\.depth, only pose\.appearance"):
        cache.read("s1", "pose", ["pose.depth"])
    with pytest.raises(InputError, match="has a slash"):
        cache.read("../s1", "pose")


def test_a_renamed_file_is_found(cache: Cache, written: Path) -> None:
    written.rename(written.with_name("s2.pose.safetensors"))
    with pytest.raises(CacheError, match="was renamed, it is of s1, pose"):
        cache.read("s2", "pose")


def test_open_wants_a_cache(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--cache .*nothing: no such folder"):
        Cache.open(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no cohort\.csv, so it is no cache"):
        Cache.open(tmp_path / "empty")


def test_create_copies_the_tables_and_takes_new_labels(cache: Cache, written: Path, tmp_path: Path) -> None:
    assert Cache.open(cache.root).cohort().digest == cache.cohort(tmp_path / "cohort.csv").digest
    (tmp_path / "participants.tsv").write_text("participant_id\tsex\nsub-01\tF\n")
    (tmp_path / "labels.csv").write_text("seizure,sign,rater,value\ns1,tonic,A,1\n")
    Cache.create(cache.root, tmp_path / "cohort.csv")
    assert cache.cohort().columns == ("dystonia", "sex", "tonic")
    (tmp_path / "labels.csv").unlink()
    Cache.create(cache.root, tmp_path / "cohort.csv")
    assert cache.cohort().columns == ("dystonia", "sex")
    Cache.create(cache.root, cache.root / "cohort.csv")
    assert cache.cohort().columns == ("dystonia", "sex")


@pytest.mark.parametrize("rows", ["sub-01,s2,1\n", "sub-02,s1,1\n"])
def test_create_refuses_another_cohort(cache: Cache, written: Path, tmp_path: Path, rows: str) -> None:
    other = tmp_path / "other.csv"
    other.write_text("subject,seizure,dystonia\n" + rows)
    before = (cache.root / "cohort.csv").read_bytes()
    with pytest.raises(InputError, match="is of seizure 's1' of subject 'sub-01'"):
        Cache.create(cache.root, other)
    assert (cache.root / "cohort.csv").read_bytes() == before


def test_digest_follows_the_content(cache: Cache, written: Path) -> None:
    first = cache.digest(["pose"])
    assert cache.digest(["face"]) != first
    os.utime(written)
    assert cache.digest(["pose"]) == first
    changed = tensors()
    changed["pose.root"] = changed["pose.root"] + 1
    cache.write(SeizureTensors(metadata(), changed))
    second = cache.digest(["pose"])
    assert second != first
    cache.write(SeizureTensors(metadata(), tensors()))
    assert cache.digest(["pose"]) == first
    cache.write(SeizureTensors(metadata(subjects_seen=("sub-02",)), tensors()), fold="sub-01")
    assert cache.digest(["pose"]) not in (first, second)


def test_extractions_of_a_fold(cache: Cache, written: Path) -> None:
    made = metadata(subjects_seen=("sub-02",), weights_digest="2" * 16)
    path = cache.write(SeizureTensors(made, tensors(50)), fold="sub-01")
    assert path == cache.root / "folds" / "sub-01" / "s1.pose.safetensors"
    assert cache.read("s1", "pose", fold="sub-01").metadata == made
    assert cache.read("s1", "pose", fold="sub-02").metadata == metadata()
    assert cache.seizures("pose") == ("s1",)
    with pytest.raises(SubjectLeakError, match="fold sub-02"):
        cache.write(SeizureTensors(made, tensors()), fold="sub-02")
    cache.write(SeizureTensors(metadata(subjects_seen=("sub-03",)), tensors()))
    with pytest.raises(SubjectLeakError, match="have seen the held-out sub-03"):
        cache.read("s1", "pose", fold="sub-03")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update({"pose.keypoints": t["pose.keypoints"].astype(float)}), "is float64; it must be float32"),
        (lambda t: t.update({"pose.root": t["pose.root"][:50]}), "100 are expected"),
        (lambda t: t.update({"pose.keypoints": t["pose.keypoints"][:, :9]}), "has 9 along V, where 11 are expected"),
        (lambda t: t.update({"pose.keypoints": t["pose.keypoints"][..., :2]}), "has 2 along C, where 3 are expected"),
        (lambda t: t.update({"pose.confidence": t["pose.confidence"] * 2}), "the confidence leaves [0, 1]"),
        (lambda t: t.update({"pose.confidence": np.full_like(t["pose.confidence"], np.nan)}), "leaves [0, 1]"),
        (lambda t: t["pose.keypoints"].__setitem__((7, 2), np.nan), "the first in frame 7, joint 2"),
        (lambda t: t["pose.root"].__setitem__((7, 2), np.inf), "pose.root has infinite values"),
        (lambda t: t.update({"pose.box": t["pose.box"][..., :3]}), "has 3 along 4"),
        (lambda t: t.update({"pose.appearance": t["pose.appearance"][:0]}), "pose.appearance has no frame"),
        (lambda t: t.update({"face.appearance": t["pose.appearance"]}), "face.appearance is no tensor of this stream"),
        (lambda t: t.update({"pose.box": t["pose.box"].ravel()}), "it must be (T, 4)"),
    ],
)
def test_tensors_are_checked(change, words: str) -> None:
    wrong = tensors()
    change(wrong)
    with pytest.raises(InputError) as caught:
        SeizureTensors(metadata(), wrong)
    assert any(words in fault for fault in caught.value.faults)
    assert all(fault.startswith("s1, pose: ") for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"skeleton": None}, "keypoints but no skeleton"),
        ({"appearance_fps": None}, "no appearance_fps"),
        ({"stream": "hands"}, "stream 'hands' is none of pose, face"),
        ({"seizure": "a/b"}, "has a slash"),
        ({"facts": {"sizes": [1, 2]}}, "the fact 'sizes' is [1, 2]"),
        ({"facts": {"duration_s": float("nan")}}, "the fact 'duration_s' is nan"),
        ({"fps": 0.0}, "a frame rate is not above 0"),
    ],
)
def test_metadata_is_checked(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        SeizureTensors(metadata(**change), tensors())
    assert any(words in fault for fault in caught.value.faults)


def test_keypoints_need_a_confidence(cache: Cache) -> None:
    only = {"pose.keypoints": tensors()["pose.keypoints"]}
    with pytest.raises(InputError, match="keypoints need a confidence"):
        cache.write(SeizureTensors(metadata(), only))


def write_for_ever(root: Path) -> None:
    cache = Cache(root)
    for number in range(10**6):
        cache.write(SeizureTensors(metadata(extractor_digest=str(number)), tensors(2000)))


def test_a_killed_writer_leaves_a_whole_file(cache: Cache) -> None:
    """SIGKILL in the middle of writing: what is there is whole."""
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        process = context.Process(target=write_for_ever, args=(cache.root,))
        process.start()
        while not cache.has("s1", "pose"):
            pass
        process.join(0.05)
        process.kill()
        process.join()
        fresh()
        assert cache.read("s1", "pose")["pose.keypoints"].shape == (2000, 11, 3)
        assert cache.seizures("pose") == ("s1",)
