"""What is settled before any video is opened: weights that have seen subjects, backends without faces, keys of the work."""

import dataclasses

import pytest

from seizurelit.cohort.manifest import read_cohort
from seizurelit.errors import InputError
from seizurelit.extraction import run
from seizurelit.extraction.backend import Weights
from seizurelit.extraction.job import Plan, recipe_of
from seizurelit.extraction.options import Extract, Settings

BOTH = Settings(("pose", "face"))


@dataclasses.dataclass
class Found:
    weights: tuple[Weights, ...]
    face_points: str | None = "lapa106"
    name: str = "openmmlab"
    digest: str = "0"

    def close(self):
        pass


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Prepares a run of subjects p1, p2, p3 by weights that were fitted on some of them."""
    (tmp_path / "cohort.csv").write_text("subject,seizure,video\np1,a,a.mp4\np2,b,b.mp4\np3,c,c.mp4\n")

    def call(*seen, fold=None, face_points="lapa106", settings=BOTH):
        weights = (Weights("rtmpose.pth", "1" * 64), Weights("ssdlite.pth", "2" * 64, seen))
        monkeypatch.setattr(run, "make_backend", lambda plan, device: Found(weights, face_points))
        options = Extract(cohort=tmp_path / "cohort.csv", cache=tmp_path / "cache", backend="openmmlab", fold=fold)
        plan = Plan("openmmlab", settings, (), fold=fold)
        return run._prepare(options, plan, read_cohort(options.cohort))

    return call


def test_weights_that_were_fitted_on_the_cohort_need_a_fold_whom_they_have_not_seen(prepare):
    with pytest.raises(InputError, match="fitted on p1, p3 of this cohort; give --fold"):
        prepare("p1", "p3")
    with pytest.raises(InputError, match="the weights have seen p3, whom this fold holds out"):
        prepare("p1", "p3", fold="p3")
    plan, recipe, notes = prepare("p1", "p3", fold="p2")
    assert plan.fold == "p2"
    assert recipe.subjects_seen == ("p1", "p3")
    assert not notes
    assert prepare("of-another-cohort")[1].subjects_seen == ("of-another-cohort",)


def test_a_backend_without_faces_extracts_the_pose_alone_and_says_so(prepare):
    plan, _, notes = prepare(face_points=None)
    assert plan.settings.streams == ("pose",)
    assert "no model of faces" in notes[0]
    with pytest.raises(InputError, match="give --stream pose"):
        prepare(face_points=None, settings=Settings(("face",)))


def test_the_recipe_changes_with_whatever_changes_the_tensors():
    weights = (Weights("a.pth", "1" * 64),)
    plan = Plan("openmmlab", BOTH, ())
    first = recipe_of(plan, Found(weights), {})
    assert recipe_of(dataclasses.replace(plan, weights="elsewhere"), Found(weights), {}) == first
    for other, found in (
        (dataclasses.replace(plan, settings=Settings(("pose", "face"), detect_every=5)), Found(weights)),
        (plan, Found(weights, digest="1")),
        (plan, Found(weights, name="mediapipe")),
    ):
        assert recipe_of(other, found, {}).digest != first.digest
    assert recipe_of(plan, Found((Weights("a.pth", "2" * 64),)), {}).weights_digest != first.weights_digest
