"""The pipeline on videos that are drawn here, by a backend that finds what was drawn: a bright square is a person."""

from fractions import Fraction

import av
import numpy as np
import pytest

from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.errors import InputError
from seizurelit.extraction.backend import Points
from seizurelit.extraction.options import Extract, Settings, settings_of
from seizurelit.extraction.pipeline import ahead, extract_video, weak_perspective
from seizurelit.video.reading import open_video

SIDE = 48
SETTINGS = Settings(("pose", "face"), detect_every=5)


def write(path, pictures, rate=25):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "bgr0"
        stream.time_base = Fraction(1, rate)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return open_video(path)


def picture(*places, colour=(255, 200, 0)):
    image = np.zeros((144, 192, 3), np.uint8)
    for x, y in places:
        image[y : y + SIDE, x : x + SIDE] = colour
    return image


def moving(frames, step=2):
    return [picture((10 + step * frame, 40)) for frame in range(frames)]


class Squares:
    """Coco points in a square: face at its top, hips at its bottom; 3D is its shape in metres."""

    name, digest, weights = "squares", "0", ()
    body_points, face_points = "coco17", "ibug68"
    grid = np.stack(np.meshgrid(np.linspace(0.3, 0.7, 17), np.linspace(0.3, 0.7, 4)), -1).reshape(-1, 2)[:68]
    body = np.array(
        [
            *[(0.5, 0.2), (0.55, 0.1), (0.45, 0.1), (0.6, 0.2), (0.4, 0.2)],
            *[(0.8, 0.4), (0.2, 0.4), (0.9, 0.6), (0.1, 0.6), (0.9, 0.8), (0.1, 0.8)],
            *[(0.7, 0.9), (0.3, 0.9), (0.7, 1), (0.3, 1), (0.7, 1), (0.3, 1)],
        ]
    )

    def __init__(self, lifted=None, hidden=()):
        self.lifted_points, self.hidden, self.seen, self.looked = lifted, set(hidden), 0, 0

    def squares(self, image):
        found, left = [], image.max(axis=2) > 100
        while left.any():
            y, x = np.argwhere(left)[0]
            found.append((x, y, x + SIDE, y + SIDE, 0.9))
            left[y : y + SIDE, x : x + SIDE] = False
        return np.array(found, np.float32).reshape(-1, 5)

    def find_people(self, images):
        self.looked += len(images)
        return [self.squares(image) for image in images]

    def find_faces(self, images):
        return [np.zeros((0, 5), np.float32) for _ in images]

    def place(self, image, box):
        near = [place for place in self.squares(image) if np.abs(place[:4] - box).max() < SIDE]
        return near[0][:2] if near else None

    def bodies(self, images, boxes):
        bodies = []
        for image, box in zip(images, boxes, strict=True):
            place = None if box is None else self.place(image, box)
            hidden, self.seen = self.seen in self.hidden, self.seen + 1
            if place is None or hidden:
                bodies.append(None)
                continue
            xyz = None
            if self.lifted_points == "coco17":
                middle = self.body[[11, 12]].mean(axis=0)
                xyz = np.column_stack([(self.body - middle) * (1, -1), np.zeros(17)]).astype(np.float32)
            bodies.append(Points((place + SIDE * self.body).astype(np.float32), np.full(17, 0.8, np.float32), xyz))
        return bodies

    def faces(self, images, boxes):
        return [
            None
            if box is None
            else Points((box[:2] + (box[2] - box[0]) * self.grid).astype(np.float32), np.ones(68, np.float32))
            for box in boxes
        ]

    def lift(self, xy, confidence, size):
        return None

    def reset(self):
        pass

    def close(self):
        pass


def extract(video, backend=None, part=(None, None), settings=SETTINGS, **more):
    extracted = extract_video(video, part, backend or Squares("coco17"), {}, settings, **more)
    for stream, skeleton in extracted.skeletons.items():  # the cache's own checks
        tensors = {name: tensor for name, tensor in extracted.tensors.items() if name.startswith(stream)}
        facts = {**extracted.facts}
        SeizureTensors(Metadata("s", "p", stream, 25.0, None, skeleton, "x", "squares", "0", facts=facts), tensors)
    return extracted


def test_every_frame_has_the_patient_where_it_was_drawn(tmp_path):
    extracted = extract(write(tmp_path / "a.mkv", moving(40)))
    made, facts = extracted.tensors, extracted.facts
    assert {len(tensor) for tensor in made.values()} == {40}
    pelvis = made["pose.keypoints_2d"][:, 0]
    np.testing.assert_allclose(pelvis[:, 0], 10 + 2 * np.arange(40) + SIDE / 2, atol=1e-4)
    # Every fifth frame is looked at, the last time in frame 35.
    np.testing.assert_allclose(made["pose.box"][:36, 0], 10 + 2 * np.arange(36), atol=1e-4)
    np.testing.assert_allclose(made["pose.box"][36:, 0], 80)
    # A unit of 3D is a side of the square, so that the root goes two pixels a frame, from the middle of the picture.
    np.testing.assert_allclose(made["pose.root"][:, 0], (10 + 2 * np.arange(40) + SIDE / 2 - 96) / SIDE, atol=1e-5)
    np.testing.assert_allclose(made["pose.root"][:, 1], (72 - 40 - 0.9 * SIDE) / SIDE, atol=1e-5)
    assert not made["pose.keypoints"][:, 0].any()
    assert made["pose.keypoints"][0, 2, 1] > 0, "the head is above the pelvis"
    inside = made["face.keypoints"] + made["face.box"][:, None, :2]
    assert ((inside >= made["face.box"][:, None, :2]) & (inside <= made["face.box"][:, None, 2:])).all()
    assert facts["people"] == 1
    assert (facts["patient_share"], facts["face_share"], facts["missing_joint_share"]) == (1, 1, 0)
    assert (facts["width"], facts["height"], facts["duration_s"], facts["greyscale"]) == (192, 144, 1.6, False)
    assert not facts["ambiguous"]
    assert extracted.tracks[0]["patient_frames"] >= 40


def test_short_gaps_are_filled_and_say_so_long_ones_stay(tmp_path):
    video = write(tmp_path / "a.mkv", moving(60, step=1))
    made = extract(video, Squares("coco17", hidden=(*range(10, 13), *range(30, 45))))
    confidence = made.tensors["pose.confidence"]
    np.testing.assert_allclose(confidence[10:13], 0.4)
    assert not confidence[30:45].any()
    assert np.isnan(made.tensors["pose.keypoints"][30:45]).all()
    assert np.isfinite(made.tensors["pose.root"]).all()
    np.testing.assert_allclose(
        made.tensors["pose.keypoints_2d"][10:13, 0, 0], 10 + np.arange(10, 13) + SIDE / 2, atol=1e-4
    )
    assert made.facts["filled_share"] == pytest.approx(3 / 60)
    assert made.facts["missing_joint_share"] == pytest.approx(15 / 60)
    assert made.facts["patient_share"] == pytest.approx(42 / 60)


def test_repeated_frames_are_not_computed_again(tmp_path):
    backend = Squares("coco17")
    made = extract(write(tmp_path / "a.mkv", moving(12, step=4), rate=10), backend)
    assert made.facts["frames_repeated"] == 18
    assert len(made.tensors["pose.box"]) == 30
    assert backend.seen == 12
    np.testing.assert_array_equal(made.tensors["pose.keypoints_2d"][0], made.tensors["pose.keypoints_2d"][2])


def test_people_are_looked_for_in_every_nth_frame(tmp_path):
    for every, looks in ((1, 40), (7, 6), (100, 1)):
        backend = Squares("coco17")
        made = extract(
            write(tmp_path / f"{every}.mkv", moving(40, step=1)), backend, settings=Settings(("pose",), every)
        )
        assert backend.looked == looks
        assert made.facts["patient_share"] == 1
        assert set(made.skeletons) == {"pose"}


def test_part_of_a_video(tmp_path):
    video = write(tmp_path / "a.mkv", moving(40))
    whole, part = extract(video), extract(video, part=(0.4, 1.2))
    np.testing.assert_array_equal(part.tensors["pose.keypoints_2d"], whole.tensors["pose.keypoints_2d"][10:30])
    with pytest.raises(InputError, match=r"a\.mkv"):
        extract(video, part=(5, 6))


def test_without_3d_the_unit_is_the_torso(tmp_path):
    made = extract(write(tmp_path / "a.mkv", moving(20)), Squares(None)).tensors
    assert made["pose.keypoints"].shape == (20, 11, 2)
    np.testing.assert_allclose(np.linalg.norm(made["pose.keypoints"][:, 1], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.diff(made["pose.root"][:, 0]), 2 / (0.5 * SIDE), atol=1e-5)


def test_hips_under_a_blanket_leave_the_arms(tmp_path):
    class Blanket(Squares):
        def bodies(self, images, boxes):
            for points in super().bodies(images, boxes):
                points.confidence[11:] = 0
                yield points

    extracted = extract(write(tmp_path / "a.mkv", moving(20)), Blanket(None))
    made = extracted.tensors
    assert extracted.facts["centred_on"] == "neck"
    assert not made["pose.confidence"][:, [0, 9, 10]].any()
    assert made["pose.confidence"][:, 3:9].all()
    np.testing.assert_allclose(made["pose.keypoints"][:, 1], 0, atol=1e-6)
    # A standard body's shoulders are 0.9 torsos apart; the square's are 0.6 of its side.
    np.testing.assert_allclose(made["pose.keypoints"][:, 3, 0] - made["pose.keypoints"][:, 6, 0], 0.9, atol=1e-5)
    np.testing.assert_allclose(np.diff(made["pose.root"][:, 0]), 2 / SIDE / 0.6 * 0.9, atol=1e-5)


def test_nobody_is_a_result_and_is_said(tmp_path):
    made = extract(write(tmp_path / "a.mkv", [picture() for _ in range(12)]))
    assert made.facts["people"] == 0
    assert made.facts["patient_share"] == made.facts["face_share"] == 0
    assert "nobody" in made.facts["patient_reason"]
    assert np.isnan(made.tensors["pose.keypoints"]).all()
    assert np.isnan(made.tensors["pose.box"]).all()
    assert not made.tensors["face.confidence"].any()


def test_two_people_all_along_are_ambiguous_and_a_box_decides(tmp_path):
    frames = [picture((20, 48), (124, 48)) for _ in range(20)]
    video = write(tmp_path / "a.mkv", frames)
    assert extract(video).facts["ambiguous"]
    for x in (20, 124):
        made = extract(video, patient_box=(x - 5, 40, x + 60, 110))
        assert not made.facts["ambiguous"]
        np.testing.assert_allclose(made.tensors["pose.keypoints_2d"][:, 0, 0], x + SIDE / 2)
        assert made.facts["people"] == 2


def test_grey_pictures_are_told(tmp_path):
    video = write(tmp_path / "a.mkv", [picture((20, 48), colour=(200, 200, 200)) for _ in range(6)])
    assert extract(video).facts["greyscale"]


def test_frames_are_decoded_ahead_and_faults_come_through(tmp_path):
    video = write(tmp_path / "a.mkv", moving(20))
    chunks = list(ahead(video.clip(), 8))
    assert [len(chunk) for chunk in chunks] == [8, 8, 4]
    assert [frame.index for chunk in chunks for frame in chunk] == list(range(20))

    def broken():
        yield from [1, 2]
        msg = "torn"
        raise InputError(msg)

    with pytest.raises(InputError, match="torn"):
        list(ahead(broken(), 8))
    left = ahead(iter(range(10_000)), 8)
    assert next(left) == list(range(8))
    left.close()  # the thread ends although nobody takes the rest


def test_the_scale_of_a_far_camera():
    rng = np.random.default_rng(0)
    solid = rng.normal(size=(30, 11, 3)).astype(np.float32)
    solid -= solid[:, :1]
    path = rng.normal(size=(30, 2)).cumsum(0)
    pixels = (solid[..., :2] + path[:, None]) * (1, -1) * 80 + (320, 180)
    pixels[4:6, 0] = np.nan
    root, scale = weak_perspective(solid, pixels.astype(np.float32), 0, (640, 360))
    assert scale == pytest.approx(80, rel=1e-4)
    kept = np.setdiff1d(np.arange(30), [4, 5])
    np.testing.assert_allclose(root[kept, :2], path[kept], atol=1e-3)
    assert np.isfinite(root).all()
    assert not root[:, 2].any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"detect_every": 0}, "--detect_every 0"),
        ({"longest_gap": -1.0}, "--longest_gap"),
        ({"least_confidence": 1.0}, "--least_confidence"),
        ({"appearance_fps": 7.0}, "divisor of 25"),
        ({"appearance_fps": 0.0}, "divisor of 25"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        settings_of(Extract(cohort=tmp_path, cache=tmp_path, **options), gpu=False)
    assert settings_of(Extract(cohort=tmp_path, cache=tmp_path), gpu=True).appearance_every == 1
    assert settings_of(Extract(cohort=tmp_path, cache=tmp_path), gpu=False).appearance_every == 5
