import cv2
import numpy as np
import pytest

from seizurelit.cohort.skeleton import built_in
from seizurelit.extraction import drawing
from seizurelit.extraction.drawing import draw, face_crop, hide_faces, jpeg, shrink
from seizurelit.extraction.marks import Marks

BODY, FACE = built_in("body11"), built_in("face23")
HEAD = BODY.joints.index("head")
NOWHERE = np.full(4, np.nan, np.float32)
HEIGHT, WIDTH = 240, 320


def marks(*, box=NOWHERE, face_box=NOWHERE, joints=None, head=None) -> Marks:
    points = np.full((11, 2), np.nan, np.float32) if joints is None else np.asarray(joints, np.float32)
    if head is not None:
        points[HEAD] = head
    landmarks = np.full((23, 2), np.nan, np.float32)
    if np.isfinite(face_box).all():
        landmarks[:] = np.linspace(face_box[:2], face_box[2:], 23)
    return Marks(
        np.asarray(box, np.float32),
        points,
        np.where(np.isfinite(points[:, 0]), 0.9, 0).astype(np.float32),
        np.asarray(face_box, np.float32),
        landmarks,
        np.where(np.isfinite(landmarks[:, 0]), 0.9, 0).astype(np.float32),
    )


@pytest.fixture
def picture():
    """Stripes of two pixels: detail everywhere, which a blur takes away."""
    rows = np.arange(HEIGHT)[:, None] // 2 % 2
    columns = np.arange(WIDTH)[None, :] // 2 % 2
    return np.repeat(((rows ^ columns) * 255).astype(np.uint8)[..., None], 3, axis=-1)


def detail(image, x1, y1, x2, y2):
    """How much neighbouring pixels differ: 0 without any detail."""
    part = image[y1:y2, x1:x2].astype(float)
    return np.abs(np.diff(part, axis=1)).mean()


BOX = (100, 60, 220, 230)
FACE_BOX = (140, 80, 180, 130)


def test_the_face_is_hidden_and_the_rest_of_the_patient_is_not(picture):
    hidden = hide_faces(picture, marks(box=BOX, face_box=FACE_BOX), BODY)
    assert detail(hidden, 125, 60, 195, 150) < 0.05 * detail(picture, 125, 60, 195, 150)
    assert (hidden[175:229, 101:219] == picture[175:229, 101:219]).all()


def test_all_around_the_patient_is_coarse(picture):
    hidden = hide_faces(picture, marks(box=BOX, face_box=FACE_BOX), BODY)
    for region in ((0, 0, 80, HEIGHT), (240, 0, WIDTH, HEIGHT), (0, 0, WIDTH, 40)):
        assert detail(hidden, *region) < 0.05 * detail(picture, *region)


def test_without_a_face_the_head_joint_is_hidden(picture):
    joints = np.full((11, 2), np.nan, np.float32)
    joints[BODY.scale[0]], joints[BODY.scale[1]] = (160, 200), (160, 140)
    hidden = hide_faces(picture, marks(box=BOX, joints=joints, head=(160, 105)), BODY)
    assert detail(hidden, 140, 80, 180, 130) < 0.05 * detail(picture, 140, 80, 180, 130)
    assert (hidden[175:229, 101:219] == picture[175:229, 101:219]).all()


def test_a_false_face_does_not_bare_the_head(picture):
    """A face that was found in the wrong place: the head joint is hidden as well."""
    joints = np.full((11, 2), np.nan, np.float32)
    joints[BODY.scale[0]], joints[BODY.scale[1]] = (160, 200), (160, 140)
    hidden = hide_faces(picture, marks(box=BOX, joints=joints, head=(160, 105), face_box=(190, 200, 210, 225)), BODY)
    assert detail(hidden, 140, 80, 180, 130) < 0.05 * detail(picture, 140, 80, 180, 130)


@pytest.mark.parametrize(
    "found",
    [marks(), marks(box=BOX), marks(face_box=FACE_BOX), marks(head=(160, 100))],
    ids=["none", "box", "face", "head"],
)
def test_where_too_little_is_known_all_is_hidden(picture, found):
    hidden = hide_faces(picture, found, BODY)
    assert detail(hidden, 0, 0, WIDTH, HEIGHT) < 0.05 * detail(picture, 0, 0, WIDTH, HEIGHT)


def test_a_real_face_is_found_no_more(shared):
    """The face mesh that finds the face in the picture finds none in the hidden one."""
    mesh = pytest.importorskip("mediapipe").solutions.face_mesh.FaceMesh(static_image_mode=True)
    frame = cv2.VideoCapture(str(shared / "data" / "clips" / "pyfeat_single_face.mp4")).read()[1][..., ::-1].copy()
    (found,) = mesh.process(frame).multi_face_landmarks
    points = np.array([[point.x, point.y] for point in found.landmark]) * [frame.shape[1], frame.shape[0]]
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    around = np.array([0, 0, frame.shape[1], frame.shape[0]])
    by_box = hide_faces(frame, marks(box=around, face_box=box), BODY)
    by_head = hide_faces(frame, marks(box=around, head=points[4]), BODY)
    for hidden in (by_box, by_head):
        assert mesh.process(hidden).multi_face_landmarks is None
    mesh.close()


def test_marks_are_drawn_in_the_colours_of_their_sides():
    joints = np.stack([20 + 20 * np.arange(11), np.full(11, 100)], axis=1)
    left, right = BODY.flip[1]
    canvas = draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), marks(joints=joints, box=(5, 5, 300, 200)), BODY, FACE)
    for joint, colour in ((left, drawing.LEFT), (right, drawing.RIGHT), (HEAD, drawing.MIDDLE)):
        x, y = joints[joint]
        assert tuple(canvas[y, x]) == colour
    assert tuple(canvas[5, 150]) == drawing.PATIENT


def test_an_unsure_joint_is_a_ring_and_a_missing_one_is_not_drawn():
    found = marks(head=(100, 100))
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert draw(image, found, BODY, FACE)[100, 100].any()
    unsure = Marks(
        found.box, found.joints, found.joint_confidence / 3, found.face_box, found.landmarks, found.landmark_confidence
    )
    ring = draw(image, unsure, BODY, FACE)
    assert not ring[100, 100].any()
    assert ring.any()
    assert not draw(image, marks(), BODY, FACE).any()


def test_drawing_leaves_the_picture_alone_and_bears_points_far_outside(picture):
    before = picture.copy()
    draw(picture, marks(box=(-1e6, -1e6, 1e9, 1e9), head=(1e8, -1e8), face_box=FACE_BOX), BODY, FACE)
    hide_faces(picture, marks(box=BOX, face_box=(-500, -500, -400, -400), head=(-1e4, 10)), BODY)
    assert (picture == before).all()


def test_a_picture_is_shrunk_with_its_marks_and_never_enlarged(picture):
    small, placed = shrink(picture, marks(box=BOX), width=160, area=10**6)
    assert small.shape == (120, 160, 3)
    assert placed.box.tolist() == [value / 2 for value in BOX]
    same, _ = shrink(picture, marks(box=BOX), width=9999, area=10**9)
    assert same.shape == picture.shape
    tiny, _ = shrink(picture, marks(box=BOX), width=320, area=4800)
    assert tiny.shape[0] * tiny.shape[1] == pytest.approx(4800, rel=0.03)


def test_the_crop_of_a_face_has_its_landmarks_where_they_were(picture):
    assert face_crop(picture, marks(box=BOX), 88) is None
    crop, inside = face_crop(picture, marks(face_box=FACE_BOX), 88)
    assert crop.shape == (88, 88, 3)
    centre = (inside.face_box[:2] + inside.face_box[2:]) / 2
    assert np.allclose(centre, 44, atol=1e-3)
    assert np.allclose(inside.landmarks[0], inside.face_box[:2], atol=1e-3)


def test_a_jpeg_is_the_picture_in_its_colours():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:] = (200, 30, 60)
    back = cv2.imdecode(np.frombuffer(jpeg(image, 95), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(back[..., ::-1].astype(int) - image).max() <= 4
