import itertools
import os

import av
import numpy as np
import pytest

pytest.importorskip("mediapipe", reason="MediaPipe is not installed")

from seizurelit.cohort.points import BODY, FACE
from seizurelit.extraction import mediapipe_backend as backend
from seizurelit.extraction.mediapipe_backend import MediaPipe
from seizurelit.video.reading import open_video


def images(path, *, first=0, count=1, every=1):
    with av.open(str(path)) as container:
        frames = itertools.islice(container.decode(video=0), first, first + count * every, every)
        return [frame.to_ndarray(format="rgb24") for frame in frames]


@pytest.fixture(scope="module")
def mediapipe():
    with_models = MediaPipe()
    yield with_models
    with_models.close()


@pytest.fixture(scope="module")
def lifter(shared_clips):
    return images(shared_clips / "mmskeleton_clean_and_jerk.mp4")[0]


@pytest.fixture(scope="module")
def shared_clips():
    from pathlib import Path

    folder = Path(__file__).parents[3] / "shared" / "data" / "clips"
    if not folder.is_dir():
        pytest.skip(f"no clips at {folder}")
    return folder


def follow(mediapipe, frames, box):
    mediapipe.reset()
    return mediapipe.bodies(frames, [box] * len(frames))


def test_a_pruned_model_gives_the_same_bits(mediapipe, lifter):
    path = mediapipe._modules / backend._BODY
    whole = backend._Network(path, outputs=(0, 1, 2, 3, 4))
    crop = backend._whole(lifter).crop(lifter, 256)
    expected = whole(crop)
    for outputs in ((0, 1, 4), (4, 0)):
        network = backend._Network(path, outputs=outputs)
        for output, made in zip(outputs, network(crop), strict=True):
            np.testing.assert_array_equal(made, expected[output])
        network.close()
    whole.close()
    model = path.read_bytes()
    assert len(backend.pruned(model, (0,))) == len(model)
    assert backend.pruned(model, (0, 1, 2, 3, 4)) == model


def test_the_points_are_those_of_the_packages_own_solutions(mediapipe, lifter, shared_clips):
    import mediapipe as package

    box = mediapipe.find_people([lifter])[0][0, :4]
    (body,) = follow(mediapipe, [lifter], box)
    height, width = lifter.shape[:2]
    with package.solutions.pose.Pose(model_complexity=1, smooth_landmarks=False) as pose:
        theirs = pose.process(lifter)
    xy = np.array([(point.x * width, point.y * height) for point in theirs.pose_landmarks.landmark])
    xyz = np.array([(point.x, -point.y, -point.z) for point in theirs.pose_world_landmarks.landmark])
    torso = np.linalg.norm(xy[11] - xy[23])
    seen = body.confidence > 0.5
    assert seen.sum() > 25
    assert np.linalg.norm(body.xy - xy, axis=1)[seen].max() < 0.1 * torso
    assert np.median(np.linalg.norm(body.xy - xy, axis=1)[seen]) < 0.02 * torso
    assert np.linalg.norm(body.xyz - xyz, axis=1)[seen].max() < 0.05
    assert np.median(np.linalg.norm(body.xyz - xyz, axis=1)[seen]) < 0.015

    (face,) = images(shared_clips / "pyfeat_single_face.mp4")
    (found,) = mediapipe.find_faces([face])
    mediapipe.reset()
    (points,) = mediapipe.faces([face], [found[0, :4]])
    with package.solutions.face_mesh.FaceMesh(refine_landmarks=True) as mesh:
        theirs = mesh.process(face)
    xy = np.array([(point.x * 640, point.y * 360) for point in theirs.multi_face_landmarks[0].landmark])
    assert points.xy.shape == (FACE[mediapipe.face_points].joints, 2)
    apart = np.linalg.norm(points.xy - xy, axis=1)
    assert np.median(apart) < 1.0, np.percentile(apart, [50, 95, 100])
    assert apart.max() < 4.0, np.percentile(apart, [50, 95, 100])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_patient_who_lies_or_hangs_is_found_as_one_who_stands(mediapipe, lifter, turns):
    """A picture turned by right angles gives the same body, turned: in the image and in 3D."""
    (upright,) = follow(mediapipe, [lifter], mediapipe.find_people([lifter])[0][0, :4])
    picture = np.ascontiguousarray(np.rot90(lifter, turns))
    people = mediapipe.find_people([picture])[0]
    assert len(people) >= 1
    (body,) = follow(mediapipe, [picture], people[0, :4])
    xy, xyz = body.xy.astype(float), body.xyz.astype(float)
    for before in reversed(range(turns)):
        # rot90 takes (x, y) to (y, width - x), and what pointed right now points up; this is the way back.
        width = lifter.shape[1] if before % 2 == 0 else lifter.shape[0]
        xy = np.stack([width - xy[:, 1], xy[:, 0]], axis=1)
        xyz = np.stack([xyz[:, 1], -xyz[:, 0], xyz[:, 2]], axis=1)
    torso = np.linalg.norm(upright.xy[11] - upright.xy[23])
    joints = [*range(11, 17), 23, 24]
    assert np.median(np.linalg.norm(xy - upright.xy, axis=1)[joints]) < 0.12 * torso
    assert np.median(np.linalg.norm(xyz - upright.xyz, axis=1)[joints]) < 0.1


def test_the_person_of_the_box_is_followed_not_the_most_prominent(mediapipe, shared_clips):
    frames = images(shared_clips / "pose2sim_multi_cam01.mp4", first=10, count=3)
    people = mediapipe.find_people(frames[:1])[0]
    assert len(people) == 2
    for box in people[:, :4]:
        for body in follow(mediapipe, frames, box):
            hips = body.xy[[23, 24]].mean(axis=0)
            assert (box[:2] < hips).all()
            assert (hips < box[2:]).all()
    assert follow(mediapipe, frames[:1], None) == [None]
    corner = np.array([0, 0, 60, 60], np.float32)
    assert follow(mediapipe, frames[:1], corner) == [None]


def test_who_stands_beside_the_patient_is_seen_in_every_other_look(mediapipe, shared_clips):
    """The clip's looks as extraction takes them; in the whole picture alone the man behind is found in one of the five."""
    looks = [frame.image for frame in open_video(shared_clips / "pose2sim_multi_cam01.mp4").clip(fps=2.5)]
    mediapipe.reset()
    found = mediapipe.find_people(looks)
    assert len(found) == 5
    for boxes in found:
        np.testing.assert_allclose(boxes[0, :4], (480, 820, 950, 1730), atol=110)  # looked at: the woman in front
    behind = [boxes[1:, 1].min(initial=9999) < 700 for boxes in found]
    assert all(behind[::2])
    assert len(mediapipe.find_people(looks[:1])[0]) == 1, (
        "the other end of the picture has its turn, the man is at the top"
    )


def test_a_part_of_a_picture_adds_nobody_who_is_not_there(mediapipe, shared_clips):
    for name in ("mmskeleton_ta_chi.mp4", "pyfeat_WolfgangLanger_Pexels.mp4", "pyfeat_noface_face.mov"):
        looks = [frame.image for frame in open_video(shared_clips / name).clip(end=7.0, fps=2.5)]
        mediapipe.reset()
        assert max(len(boxes) for boxes in mediapipe.find_people(looks)) == 1, name


def test_nothing_is_found_where_nobody_is(mediapipe, shared_clips):
    (title,) = images(shared_clips / "pyfeat_noface_face.mov")
    grey = np.full((100, 40, 3), 127, np.uint8)
    assert [boxes.shape for boxes in mediapipe.find_people([title, grey])] == [(0, 5), (0, 5)]
    assert mediapipe.find_faces([grey])[0].shape == (0, 5)
    mediapipe.reset()
    assert mediapipe.faces([grey], [np.array([0, 0, 40, 40], np.float32)]) == [None]


def test_a_video_does_not_depend_on_the_one_before(mediapipe, lifter, shared_clips):
    other = images(shared_clips / "mmskeleton_ta_chi.mp4", count=2)
    box = mediapipe.find_people([lifter])[0][0, :4]
    (first,) = follow(mediapipe, [lifter], box)
    follow(mediapipe, other, mediapipe.find_people(other)[0][0, :4])
    (again,) = follow(mediapipe, [lifter], box)
    np.testing.assert_array_equal(first.xy, again.xy)
    np.testing.assert_array_equal(first.xyz, again.xyz)


def test_grey_pictures_of_the_night_are_no_error(mediapipe, lifter):
    night = np.repeat((lifter.mean(axis=2, keepdims=True) * 0.6).astype(np.uint8), 3, axis=2)
    people = mediapipe.find_people([night])[0]
    assert len(people) == 1
    (body,) = follow(mediapipe, [night], people[0, :4])
    assert (body.confidence > 0.5).sum() > 25


def test_it_says_what_it_is(mediapipe):
    assert mediapipe.body_points in BODY
    assert mediapipe.lifted_points in BODY
    assert mediapipe.face_points in FACE
    assert {weights.name for weights in mediapipe.weights} >= {"pose_landmark_full.tflite"}
    assert all(len(weights.digest) == 64 for weights in mediapipe.weights)
    assert mediapipe.digest == MediaPipe().digest


def test_the_terminal_stays_clean(capfd, lifter):
    quiet = MediaPipe()
    quiet.find_people([lifter])
    quiet.close()
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"


def test_no_face_is_seen_in_the_back_of_a_head(mediapipe, shared_clips):
    """The dancer looks away or aside, then turns round: a face is where the body's own face points are, or there is none."""
    frames = images(shared_clips / "mmskeleton_ta_chi.mp4", count=30, every=9)
    faces = []
    for frame in frames:
        (body,) = mediapipe.bodies([frame], [mediapipe.find_people([frame])[0][0, :4]])
        centre, side = body.xy[:11].mean(axis=0), 2 * np.ptp(body.xy[:11], axis=0).max()
        (face,) = mediapipe.faces([frame], [np.array([*(centre - side / 2), *(centre + side / 2)], np.float32)])
        if face is not None:
            faces.append(np.linalg.norm(face.xy[4] - body.xy[0]) / np.ptp(face.xy[:468], axis=0).max())
    assert 8 < len(faces) < 25
    assert max(faces) < 0.35
