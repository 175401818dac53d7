"""The stand-in cohort on disk."""

import dataclasses
import hashlib
import time

import pytest

from seizurelit.cache.store import Cache
from seizurelit.errors import InputError
from seizurelit.synthetic.cohort import seizures
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize

TINY = StandIn(subjects=5, min_seconds=2, max_seconds=4, appearance_dim=8)


def digests(root):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir()}


def test_a_cohort_and_a_cache(tmp_path):
    seen = []
    cache = synthesize(TINY, tmp_path / "cache", progress=lambda done, total: seen.append((done, total)))
    planned = seizures(TINY)
    assert seen == [(i, len(planned)) for i in range(len(planned) + 1)]
    cohort = Cache.open(tmp_path / "cache").cohort()
    assert cohort.is_standin
    assert [s.name for s in cohort.seizures] == [s.name for s in planned]
    assert cohort.labels(cohort.sign("dystonia")) == {s.name: s.dystonia for s in planned}
    arms = cohort.column("dystonic_arm")
    assert {arms[s.name] for s in planned if s.dystonia} <= {"left", "right"}
    assert {arms[s.name] for s in planned if not s.dystonia} == {""}
    assert cache.streams() == {"pose", "face"}
    for stream, joints in (("pose", 11), ("face", 23)):
        assert set(cache.seizures(stream)) == {s.name for s in planned}
        read = cache.read(planned[0].name, stream)
        assert read.metadata.stand_in
        assert read.metadata.subjects_seen == ()
        assert len(read.metadata.skeleton.joints) == joints
        assert set(read.metadata.facts) == {"duration_s", "width", "height", "container", "greyscale", "people"}


def test_a_seed_is_a_cache_bit_for_bit(tmp_path):
    for name in ("one", "two"):
        synthesize(TINY, tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    synthesize(dataclasses.replace(TINY, seed=1), tmp_path / "other")
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


def test_a_second_run_leaves_it_and_a_stopped_one_is_completed(tmp_path):
    root = tmp_path / "cache"

    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        synthesize(TINY, root, progress=stop)
    with pytest.raises(InputError):
        Cache.open(root)
    synthesize(TINY, root)
    before = {path.name: path.stat().st_mtime_ns for path in root.iterdir()}
    synthesize(TINY, root)
    assert before == {path.name: path.stat().st_mtime_ns for path in root.iterdir()}
    synthesize(TINY, tmp_path / "fresh")
    assert digests(root) == digests(tmp_path / "fresh")


def test_another_cohort_is_not_overwritten(tmp_path):
    root = tmp_path / "cache"
    synthesize(TINY, root)
    before = digests(root)
    for change in ({"seed": 1}, {"occlusion": 0.5}, {"subjects": 4}):
        with pytest.raises(InputError, match="another folder"):
            synthesize(dataclasses.replace(TINY, **change), root)
    assert digests(root) == before
    real = tmp_path / "real"
    real.mkdir()
    (real / "cohort.csv").write_text("subject,seizure,video,dystonia\na,a1,a.mp4,1\nb,b1,b.mp4,0\n")
    with pytest.raises(InputError, match="no stand-in"):
        synthesize(TINY, real)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        synthesize(TINY, tmp_path / "file")


def test_the_papers_cohort_takes_seconds(tmp_path):
    started = time.process_time()
    synthesize(StandIn(), tmp_path / "cache")
    assert time.process_time() - started < 20  # about 3 on a quiet core
