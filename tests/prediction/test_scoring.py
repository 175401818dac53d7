"""What is said where nothing stands against it: networks of a cohort that is taken for a real one, on its own seizures."""

import dataclasses
import json
from importlib.resources import files

import pytest

from seizurelit.cache.store import Cache
from seizurelit.evaluation.statistics.calibration import Calibration
from seizurelit.handover.of_run import ensemble_of_run
from seizurelit.prediction.predict import _prediction
from seizurelit.prediction.scoring import Known, known_subject, speak

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("captum")


@pytest.fixture(scope="module")
def trained(handed):
    ensemble = dataclasses.replace(ensemble_of_run(handed["run"]), stand_in=False)
    cache = Cache.open(handed["cache"])
    return ensemble, cache, cache.cohort()


def valid(value):
    schema = json.loads(files("seizurelit.prediction").joinpath("schema.json").read_text())
    part = {"$defs": schema["$defs"], "$ref": "#/$defs/prediction"}
    jsonschema.Draft202012Validator(part).validate(json.loads(json.dumps(value)))
    return value


def first_judged(trained, row, known=None):
    ensemble, cache, cohort = trained
    for seizure in cohort.seizures:
        subject = Known(seizure.subject, "content") if known else None
        one = speak(ensemble, row, cache, cohort, seizure.name, known=subject, explain=True)
        if one.judgement.judged:
            return one, seizure
    pytest.fail("no seizure of the training cohort is judged")


def test_a_seizure_like_the_cohort_gets_a_score_with_spread_windows_and_grounds(trained):
    one, _ = first_judged(trained, trained[0].rows[0])
    value = valid(_prediction(one))
    assert value["score"] == pytest.approx(float(one.score[1]))
    assert value["is"] == "score"
    assert value["spread"]["members"] == 8
    assert value["spread"]["low"] <= value["score"] <= value["spread"]["high"]
    assert value["named"] in ("0", "1")
    assert sum(window["share"] for window in value["windows"]) == pytest.approx(1) or not any(
        window["carries"] for window in value["windows"]
    )


@pytest.mark.parametrize(("never_seen", "reading"), [(True, "probability"), (False, "score")])
def test_it_is_a_probability_only_where_it_was_calibrated_on_a_cohort_known_never_to_have_been_seen(
    trained, never_seen, reading
):
    row = dataclasses.replace(
        trained[0].rows[0],
        calibration=Calibration("platt", 1.5, (0.0, 0.2), 12, 20),
        calibrated_on="a cohort",
        never_seen=never_seen,
    )
    one, _ = first_judged(trained, row)
    value = valid(_prediction(one))
    assert value["is"] == reading
    assert any("not a probability" in note for note in value["notes"]) is not never_seen


def test_a_known_subject_is_scored_by_the_network_that_never_saw_it(trained):
    ensemble, cache, _ = trained
    one, seizure = first_judged(trained, ensemble.rows[0], known=True)
    assert [member.held_out for member in one.row.members] == [frozenset({seizure.subject})]
    assert "never saw" in valid(_prediction(one))["of_training_cohort"]["said"]
    digest = cache.metadata(seizure.name, "pose").source_digest
    assert known_subject(ensemble, None, digest) == Known(seizure.subject, "content")
    assert known_subject(ensemble, None, "0" * 64) is None


def test_networks_that_all_saw_the_subject_do_not_judge_it(trained):
    ensemble, cache, cohort = trained
    row = ensemble.rows[0]
    refits = row.of_members([dataclasses.replace(member, held_out=frozenset()) for member in row.members])
    seizure = cohort.seizures[0]
    one = speak(ensemble, refits, cache, cohort, seizure.name, known=Known(seizure.subject, "--subject"), explain=False)
    assert not one.judgement.judged
    assert any("predict with --run" in reason for reason in one.judgement.reasons)
