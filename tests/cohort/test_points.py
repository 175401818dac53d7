"""The tables of correspondence, against the schemes' own names, mirror pairs and conversions, and on a real face."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.cohort.points import BODY, FACE, FACE23, Correspondence, translate
from seizurelit.cohort.skeleton import built_in

COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
SCHEMES = {
    "coco17": COCO,
    "halpe26": f"{COCO} head neck hip left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel",
    "wholebody133": f"{COCO} left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel "
    + " ".join(f"other-{number}" for number in range(110)),
    "h36m17": (
        "root right_hip right_knee right_foot left_hip left_knee left_foot spine thorax neck_base head "
        "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist"
    ),
    "mediapipe33": (
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
        "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
        "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle left_heel right_heel left_foot_index right_foot_index"
    ),
}
NAMES = {scheme: names.split() for scheme, names in SCHEMES.items()}
"""Points of the body schemes in their order: mmpose's data sets, and MediaPipe's PoseLandmark."""

MIDDLE = {
    "pelvis": {"halpe26": ["hip"], "h36m17": ["root"], None: ["left_hip", "right_hip"]},
    "neck": {"halpe26": ["neck"], "h36m17": ["thorax"], None: ["left_shoulder", "right_shoulder"]},
    "head": {"h36m17": ["neck_base", "head"], None: ["nose"]},
}

# Runs (first, last, sum): point i from first to last is the mirror image of sum - i, as mmpose's data sets pair them.
IBUG_MIRROR = [(0, 16, 16), (17, 26, 43), (31, 35, 66), (36, 39, 81), (40, 41, 87), (48, 54, 102), (55, 59, 114)]
IBUG_MIRROR += [(60, 64, 124), (65, 67, 132)]
FACE_MIRROR = {
    "ibug68": IBUG_MIRROR,
    "wholebody133": [(first + 23, last + 23, total + 46) for first, last, total in IBUG_MIRROR],
    "wflw98": [
        *[(0, 32, 32), (33, 37, 79), (38, 41, 88), (55, 59, 114), (60, 64, 132), (65, 67, 140), (76, 82, 158)],
        *[(83, 87, 170), (88, 92, 180), (93, 95, 188), (96, 97, 193)],
    ],
    "lapa106": [
        *[(0, 32, 32), (33, 37, 79), (38, 41, 88), (55, 65, 120), (66, 70, 145), (71, 73, 153), (74, 74, 157)],
        *[(84, 90, 174), (91, 95, 186), (96, 100, 196), (101, 103, 204), (104, 105, 209)],
    ],
}

# Runs (first, last, added): the same point in LaPa-106, as mmpose's `face6` models are trained on all of them together.
TO_LAPA = {
    "wflw98": [(33, 54, 0), (55, 59, 3), (60, 67, 6), (68, 75, 7), (76, 95, 8)],
    "ibug68": [
        *[(17, 21, 16), (22, 26, 20), (27, 30, 24), (31, 35, 27), (36, 36, 30), (39, 39, 31), (42, 42, 33)],
        *[(45, 45, 34), (48, 67, 36)],
    ],
}

# Vertices of MediaPipe's canonical face model: x to the subject's left, y up, z forwards, in cm.
CANONICAL = {
    **{70: (-5.720968, 4.254584, 2.830852), 300: (5.720968, 4.254584, 2.830852), 105: (-3.986562, 5.109487, 4.466315)},
    **{334: (3.986562, 5.109487, 4.466315), 107: (-1.395634, 5.011963, 5.316032), 336: (1.395634, 5.011963, 5.316032)},
    **{33: (-4.445859, 2.663991, 3.173422), 263: (4.445859, 2.663991, 3.173422), 160: (-3.670075, 2.927714, 3.724325)},
    **{387: (3.670075, 2.927714, 3.724325), 133: (-1.856432, 2.585245, 3.757904), 362: (1.856432, 2.585245, 3.757904)},
    **{144: (-3.670075, 2.360153, 3.63523), 373: (3.670075, 2.360153, 3.63523), 4: (0.0, -0.46317, 7.58658)},
    **{
        98: (-1.405627, -1.714196, 5.241087),
        327: (1.405627, -1.714196, 5.241087),
        61: (-2.456206, -4.342621, 4.283884),
    },
    **{291: (2.456206, -4.342621, 4.283884), 0: (0.0, -3.406404, 5.979507), 17: (0.0, -5.365123, 5.535441)},
    **{13: (0.0, -3.994436, 5.219482), 14: (0.0, -4.5424, 5.404754)},
}


def mirror(correspondence: Correspondence) -> list[int]:
    """For each point of a scheme the point that takes its place in a mirror."""
    if correspondence.name in FACE_MIRROR and correspondence in FACE.values():
        swap = list(range(correspondence.joints))
        for first, last, total in FACE_MIRROR[correspondence.name]:
            for point in range(first, last + 1):
                swap[point], swap[total - point] = total - point, point
        return swap
    if correspondence.name == "mediapipe478":
        swap = list(range(correspondence.joints))
        for point, (x, *rest) in CANONICAL.items():
            swap[point] = next(other for other, place in CANONICAL.items() if place == (-x, *rest))
        return swap
    names = NAMES[correspondence.name]
    other = {"left": "right", "right": "left"}
    return [names.index("_".join(other.get(word, word) for word in name.split("_"))) for name in names]


TABLES = [("body11", table) for table in BODY.values()] + [("face23", table) for table in FACE.values()]
every_table = pytest.mark.parametrize(("skeleton", "table"), TABLES, ids=lambda value: getattr(value, "name", value))


def points_of(scheme: str) -> dict[int, int]:
    """iBUG number to the number in a face scheme."""
    return {number: source for number, (source,) in zip(FACE23, FACE[scheme].sources, strict=True)}


@every_table
def test_a_table_is_its_own_mirror_image(skeleton: Literal["body11", "face23"], table: Correspondence) -> None:
    swap, flip = mirror(table), built_in(skeleton).flip_permutation
    assert [swap[swap[point]] for point in range(table.joints)] == list(range(table.joints))
    assert len(table.sources) == len(flip)
    for joint, sources in enumerate(table.sources):
        assert {swap[source] for source in sources} == set(table.sources[flip[joint]]), built_in(skeleton).joints[joint]


@pytest.mark.parametrize("table", BODY.values(), ids=BODY)
def test_body_points_are_those_of_the_same_name(table: Correspondence) -> None:
    names = NAMES[table.name]
    assert len(names) == table.joints
    for joint, sources in zip(built_in("body11").joints, table.sources, strict=True):
        middle = MIDDLE.get(joint)
        expected = middle.get(table.name, middle[None]) if middle else [joint.replace(" ", "_")]
        assert [names[source] for source in sources] == expected


def test_face_points_are_the_joints_of_face23() -> None:
    assert tuple(f"ibug-{number}" for number in FACE23) == built_in("face23").joints
    for scheme, table in FACE.items():
        assert len(set(points_of(scheme).values())) == 23
        assert max(points_of(scheme).values()) < table.joints
    assert points_of("wholebody133") == {number: 23 + number for number in FACE23}


@pytest.mark.parametrize(("scheme", "least"), [("wflw98", 23), ("ibug68", 19)])
def test_face_tables_agree_with_mmpose_s_common_scheme(scheme: str, least: int) -> None:
    to_lapa = {point: point + added for first, last, added in TO_LAPA[scheme] for point in range(first, last + 1)}
    both = [number for number in FACE23 if points_of(scheme)[number] in to_lapa]
    assert len(both) >= least  # iBUG's four lid points have no LaPa point of their own
    assert {n: to_lapa[points_of(scheme)[n]] for n in both} == {n: points_of("lapa106")[n] for n in both}


def check_face(x: dict[int, float], y: dict[int, float]) -> None:
    """Everything on its side and in its row; x grows to the subject's left, y upwards."""
    assert x[17] < x[19] < x[21] < x[22] < x[24] < x[26]
    assert x[36] < x[37] < x[39] < x[30] < x[42] < x[44] < x[45]
    assert x[36] < x[41] < x[39]
    assert x[42] < x[46] < x[45]
    assert x[48] < x[31] < x[30] < x[35] < x[54]
    for brow, lid, lower in ((19, 37, 41), (24, 44, 46)):
        assert y[brow] > y[lid] > y[lower] > y[30] > y[31] > y[51] > y[62] >= y[66] > y[57]
    assert y[51] > y[48] > y[57]
    assert y[51] > y[54] > y[57]


def test_mediapipe_s_face_points_in_its_canonical_face() -> None:
    numbers = points_of("mediapipe478")
    assert set(numbers.values()) == set(CANONICAL)
    check_face({n: CANONICAL[p][0] for n, p in numbers.items()}, {n: CANONICAL[p][1] for n, p in numbers.items()})
    assert numbers[30] == max(CANONICAL, key=lambda point: CANONICAL[point][2])


def test_mediapipe_s_body_points_have_its_own_names() -> None:
    landmarks = pytest.importorskip("mediapipe").solutions.pose.PoseLandmark
    assert [landmark.name.lower() for landmark in landmarks] == NAMES["mediapipe33"]


@pytest.mark.shared
def test_mediapipe_s_face_points_on_a_face_and_in_its_mirror(shared: Path) -> None:
    mediapipe, av = pytest.importorskip("mediapipe"), pytest.importorskip("av")
    with av.open(shared / "data/clips/pyfeat_single_face.mp4") as video:
        image = next(video.decode(video=0)).to_ndarray(format="rgb24")
    height, width = image.shape[:2]
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:

        def face23(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            landmarks = mesh.process(np.ascontiguousarray(picture)).multi_face_landmarks[0].landmark
            points = np.array([(landmark.x * width, landmark.y * height) for landmark in landmarks])
            return translate(FACE["mediapipe478"], points, np.ones(len(points)))[0]

        here, there = face23(image), face23(image[:, ::-1])
    check_face(dict(zip(FACE23, here[:, 0], strict=True)), dict(zip(FACE23, -here[:, 1], strict=True)))
    back = there[list(built_in("face23").flip_permutation)]
    back[:, 0] = width - back[:, 0]
    eyes = np.linalg.norm(here[FACE23.index(36)] - here[FACE23.index(45)])
    assert np.linalg.norm(here - back, axis=-1).max() < 0.05 * eyes


def some_points(table: Correspondence, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Points of three frames in 2D or 3D, of which some are missing."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(3, table.joints, rng.integers(2, 4)))
    confidence = rng.uniform(0.1, 1.0, points.shape[:-1])
    missing = rng.random(confidence.shape) < 0.2
    points[missing] = np.nan
    confidence[missing] = 0
    return points, confidence


@given(st.sampled_from(TABLES), st.integers(0, 2**32 - 1))
def test_translation_commutes_with_the_mirror(
    chosen: tuple[Literal["body11", "face23"], Correspondence], seed: int
) -> None:
    skeleton, table = chosen
    points, confidence = some_points(table, seed)
    there, sure = translate(table, points[:, mirror(table)], confidence[:, mirror(table)])
    here, surely = translate(table, points, confidence)
    flip = list(built_in(skeleton).flip_permutation)
    np.testing.assert_allclose(there, here[:, flip])
    np.testing.assert_array_equal(sure, surely[:, flip])


@given(st.sampled_from(TABLES), st.integers(0, 2**32 - 1))
def test_translation_commutes_with_moving_and_turning(
    chosen: tuple[Literal["body11", "face23"], Correspondence], seed: int
) -> None:
    _, table = chosen
    points, confidence = some_points(table, seed)
    rng = np.random.default_rng(seed)
    turn, shift = rng.normal(size=(points.shape[-1],) * 2), rng.normal(size=points.shape[-1])
    there, _ = translate(table, points @ turn + shift, confidence)
    here, _ = translate(table, points, confidence)
    np.testing.assert_allclose(there, here @ turn + shift, atol=1e-12)


@given(st.sampled_from(TABLES), st.integers(0, 2**32 - 1))
def test_missing_is_nan_with_confidence_0_and_nothing_else_is(
    chosen: tuple[Literal["body11", "face23"], Correspondence], seed: int
) -> None:
    _, table = chosen
    points, confidence = some_points(table, seed)
    half = np.random.default_rng(seed).random(confidence.shape) < 0.1
    one_sided = np.where(half[..., None], 0.0, points)  # no confidence, yet a coordinate, as detectors give
    lost = np.where(half, 0.0, confidence)
    given = one_sided.copy(), lost.copy()
    made, sure = translate(table, one_sided.astype(np.float32), lost.astype(np.float32))
    assert made.dtype == sure.dtype == np.float32
    for joint, sources in enumerate(table.sources):
        present = (lost[:, sources] > 0).all(axis=-1)
        np.testing.assert_array_equal(np.isfinite(made[:, joint]).all(axis=-1), present)
        np.testing.assert_array_equal(sure[:, joint] > 0, present)
        np.testing.assert_allclose(sure[present, joint], lost[present][:, sources].min(axis=-1), rtol=1e-6)
    np.testing.assert_array_equal(one_sided, given[0])
    np.testing.assert_array_equal(lost, given[1])


def test_another_scheme_s_points_are_refused() -> None:
    with pytest.raises(ValueError, match=r"coco17 has 17 points, but the points are \(4, 26, 2\)"):
        translate(BODY["coco17"], np.zeros((4, 26, 2)), np.ones((4, 26)))
    with pytest.raises(ValueError, match=r"their confidence is \(17,\)"):
        translate(BODY["coco17"], np.zeros((4, 17, 2)), np.ones(17))
