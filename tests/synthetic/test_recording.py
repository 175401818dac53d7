"""What is made for one seizure."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seizurelit.cohort.skeleton import built_in
from seizurelit.synthetic import body, chance, face
from seizurelit.synthetic.cohort import seizures
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.recording import record

SHORT = StandIn(min_seconds=4, max_seconds=8)


def first(options, sign=None, value=1):
    return next(s for s in seizures(options) if sign is None or getattr(s.subject, sign) == value)


def same(one, other):
    assert one.facts == other.facts
    for stream in one.tensors:
        for name, tensor in one.tensors[stream].items():
            np.testing.assert_array_equal(tensor, other.tensors[stream][name], err_msg=name)


def test_shapes_and_types_are_the_caches():
    made = record(first(SHORT), SHORT)
    frames = len(made.tensors["pose"]["pose.keypoints"])
    assert made.facts["duration_s"] == frames / 25
    assert {name: tensor.shape[1:] for stream in made.tensors.values() for name, tensor in stream.items()} == {
        "pose.keypoints": (11, 3),
        "pose.root": (3,),
        "pose.confidence": (11,),
        "pose.keypoints_2d": (11, 2),
        "pose.box": (4,),
        "pose.appearance": (128,),
        "face.keypoints": (23, 2),
        "face.confidence": (23,),
        "face.appearance": (128,),
    }
    for stream in made.tensors.values():
        for name, tensor in stream.items():
            expected = (np.float16, -(-frames // 5)) if name.endswith("appearance") else (np.float32, frames)
            assert (tensor.dtype, len(tensor)) == expected, name


def test_landmarks_stand_in_the_skeletons_order():
    assert tuple(f"ibug-{k}" for k in face.LANDMARKS) == built_in("face23").joints
    mirrored = built_in("face23").flip_permutation
    np.testing.assert_allclose(face.TEMPLATE[list(mirrored)] * [-1, 1, 1], face.TEMPLATE, atol=1e-12)


def test_missing_is_nan_and_confidence_zero():
    made = record(first(SHORT), dataclasses.replace(SHORT, missing=0.2))
    for stream in ("pose", "face"):
        confidence = made.tensors[stream][f"{stream}.confidence"]
        lost = confidence == 0
        assert 0.02 < lost.mean() < 0.8
        assert ((confidence >= 0) & (confidence <= 1)).all()
        assert len(np.unique(confidence[~lost])) > 100  # graded
        np.testing.assert_array_equal(np.isnan(made.tensors[stream][f"{stream}.keypoints"]).any(axis=-1), lost)
    root = made.tensors["pose"]["pose.root"]
    np.testing.assert_array_equal(np.isnan(root).any(axis=-1), made.tensors["pose"]["pose.confidence"][:, 0] == 0)


def test_nothing_is_missing_when_nothing_is_hidden():
    options = dataclasses.replace(SHORT, missing=0.0, occlusion=0.0)
    made = record(first(options), options)
    for stream in made.tensors.values():
        for name, tensor in stream.items():
            assert np.isfinite(tensor).all(), name
    assert not made.tensors["pose"]["pose.keypoints"][:, 0].any()


def test_the_box_holds_the_joints():
    options = dataclasses.replace(SHORT, missing=0.0, occlusion=0.0)
    made = record(first(options), options)
    joints, box = made.tensors["pose"]["pose.keypoints_2d"], made.tensors["pose"]["pose.box"]
    inside = (joints >= box[:, None, :2]) & (joints <= box[:, None, 2:])
    assert inside.mean() > 0.98
    assert (box[:, 2:] > box[:, :2]).all()


def test_a_seizure_hangs_on_no_other():
    """The same bits whatever the number of subjects and seizures, if the signs are the same or not shown."""
    few = dataclasses.replace(SHORT, signal=0.0, subjects=4)
    many = dataclasses.replace(SHORT, signal=0.0, subjects=9, seizures_per_subject=3)
    same(record(seizures(few)[0], few), record(seizures(many)[0], many))


def test_without_signal_the_labels_change_nothing():
    for options in (dataclasses.replace(SHORT, signal=0.0), dataclasses.replace(SHORT, labels="identity")):
        seizure = first(options)
        subject = seizure.subject
        turned = dataclasses.replace(subject, dystonia=1 - subject.dystonia, emotion=1 - subject.emotion)
        made = record(seizure, options)
        same(made, record(dataclasses.replace(seizure, subject=turned), options))
        assert not any(made.truth.values())


def test_a_sign_changes_its_own_stream_alone():
    seizure = first(SHORT, "dystonia")
    calm = dataclasses.replace(seizure, subject=dataclasses.replace(seizure.subject, dystonia=0))
    one, other = record(seizure, SHORT), record(calm, SHORT)
    assert one.facts == other.facts
    for name, tensor in one.tensors["face"].items():
        np.testing.assert_array_equal(tensor, other.tensors["face"][name])
    trunk = [body.PELVIS, body.NECK, body.LEFT_HIP]
    moved = np.nanmax(
        np.abs(one.tensors["pose"]["pose.keypoints"] - other.tensors["pose"]["pose.keypoints"]), axis=(0, 2)
    )
    wrist = {"left": 5, "right": 8}[one.truth["dystonic_arm"]]
    assert moved[wrist] > 0.2
    assert moved[trunk].max() < 0.02


def test_label_noise_is_in_the_label_alone():
    seizure = first(SHORT, "dystonia")
    same(record(seizure, SHORT), record(dataclasses.replace(seizure, dystonia=0, emotion=1), SHORT))


def test_dystonia_is_one_arm_held_twisted_on_and_off():
    rng = np.random.default_rng(0)
    for _ in range(10):
        traits = body.draw_traits(rng, 1.0)
        motion = body.move(traits, rng, 1500, 25, 1.0)
        assert motion.span is not None
        assert 0 <= motion.span[0] < motion.span[1] <= 60
        on = motion.twisted > 0.5
        assert 0.25 < on.mean() < 0.98
        arm = (body.LEFT_ARM, body.RIGHT_ARM)[motion.side]
        upper = motion.joints[:, arm[1]] - motion.joints[:, arm[0]]
        fore = motion.joints[:, arm[2]] - motion.joints[:, arm[1]]
        np.testing.assert_allclose(np.linalg.norm(upper, axis=-1), traits.upper_arm)
        np.testing.assert_allclose(np.linalg.norm(fore, axis=-1), traits.forearm)
        bent = (upper * fore).sum(axis=-1) / (traits.upper_arm * traits.forearm)
        assert np.median(bent[on]) < 0.3


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4))
@settings(deadline=None)
def test_arms_are_directions_and_hang_at_rest(angles):
    upper, fore = body.arm_directions(np.array(angles))
    assert np.linalg.norm(upper) == pytest.approx(1)
    assert np.linalg.norm(fore) == pytest.approx(1)
    assert upper @ fore == pytest.approx(np.cos(angles[3]), abs=1e-9)
    np.testing.assert_allclose(body.arm_directions(np.zeros(4)), [[0, -1, 0]] * 2, atol=1e-12)


def test_negatives_hold_an_arm_and_move_the_face_too():
    rng = np.random.default_rng(1)
    held, moving = [], []
    for _ in range(40):
        motion = body.move(body.draw_traits(rng, 1.0), rng, 500, 25, 0.0)
        assert not motion.twisted.any()
        held.append(motion.held.max() > 0.5)
        look = face.move(face.draw_traits(rng, 1.0), rng, motion.agitation, 25, 0.0)
        assert not look.emotional.any()
        moving.append(look.actions.std(axis=0).max() > 0.1)
    assert 0.5 < np.mean(held) < 1
    assert np.mean(moving) > 0.9


@given(st.floats(0.02, 0.98), st.integers(1, 400), st.floats(0.2, 15))
@settings(max_examples=50, deadline=None)
def test_episodes_stay_masks_at_any_length(share, frames, seconds):
    mask = chance.episodes(np.random.default_rng(0), frames, 25.0, share, seconds)
    assert mask.shape == (frames,)
    assert ((mask >= 0) & (mask <= 1)).all()


def test_noise_has_unit_variance_and_its_speed():
    noise = chance.wander(np.random.default_rng(0), 20_000, 25.0, 1.0, 3)
    assert noise.std() == pytest.approx(1, abs=0.1)
    power = np.abs(np.fft.rfft(noise, axis=0)) ** 2
    hertz = np.fft.rfftfreq(20_000, 1 / 25)
    assert power[hertz > 2].sum() < 0.01 * power.sum()
    share = chance.episodes(np.random.default_rng(1), 50_000, 25.0, 0.3, 4.0).mean()
    assert share == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("appearance_fps", [1.0, 5.0, 7.5, 25.0])
def test_appearance_has_its_own_clock(appearance_fps):
    options = dataclasses.replace(SHORT, appearance_fps=appearance_fps, appearance_dim=16)
    made = record(first(options), options)
    seconds = made.facts["duration_s"]
    for stream in ("pose", "face"):
        rows, channels = made.tensors[stream][f"{stream}.appearance"].shape
        assert rows == int(np.ceil(seconds * appearance_fps - 1e-9))
        assert channels == 16
        assert (made.tensors[stream][f"{stream}.appearance"] >= 0).all()


def test_one_second_is_enough():
    options = StandIn(min_seconds=1, max_seconds=1, subjects=3)
    for seizure in seizures(options):
        assert len(record(seizure, options).tensors["pose"]["pose.keypoints"]) == 25
