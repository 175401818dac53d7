"""Other tools' files: one body, written as each of them writes it, gives the same tensors; and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.cache.store import Cache
from seizurelit.cohort.skeleton import built_in
from seizurelit.cohort.table import folded
from seizurelit.errors import InputError
from seizurelit.ingest import main
from seizurelit.ingestion import openpose
from seizurelit.ingestion.coco import COCO17
from seizurelit.ingestion.formats import FORMATS
from seizurelit.ingestion.ingest import Ingest, ingest
from seizurelit.ingestion.joints import SCHEMES
from seizurelit.ingestion.people import linked

FRAMES = 30
MISSING = (7, 9)
"""The left wrist is not seen in frame 7."""


def body(seed: int = 0, x: float = 300.0) -> tuple[np.ndarray, np.ndarray]:
    """COCO-17 points (T, 17, 2) in pixels of somebody upright who sways, and their confidence (T, 17)."""
    rng = np.random.default_rng(seed)
    heights = [100, 95, 95, 97, 97, 140, 140, 180, 180, 220, 220, 240, 240, 300, 300, 360, 360]  # y is down
    sides = [
        0,
        5,
        -5,
        10,
        -10,
        30,
        -30,
        35,
        -35,
        40,
        -40,
        20,
        -20,
        20,
        -20,
        20,
        -20,
    ]  # the subject's left is at the right
    sway = 20 * np.sin(np.arange(FRAMES) / 5)[:, None]
    points = np.stack([x + sway + np.array(sides), 100.0 + np.broadcast_to(heights, (FRAMES, 17))], axis=-1)
    points += rng.normal(0, 1, points.shape)
    confidence = np.round(rng.uniform(0.5, 0.95, points.shape[:2]), 3)
    return np.round(points, 3), confidence


def with_nan(points: np.ndarray) -> np.ndarray:
    points = points.copy()
    points[MISSING] = np.nan
    return points


def dlc_table(people: dict[str, tuple[np.ndarray, np.ndarray]], names: tuple[str, ...] = COCO17) -> pd.DataFrame:
    """As DeepLabCut makes it, with `individuals` if there are several."""
    columns, values = [], []
    for person, (points, confidence) in people.items():
        for joint, name in enumerate(names):
            for coordinate, column in (("x", points[:, joint, 0]), ("y", points[:, joint, 1])):
                columns.append(("DLC_resnet50_ward1", person, name, coordinate))
                values.append(column)
            columns.append(("DLC_resnet50_ward1", person, name, "likelihood"))
            values.append(confidence[:, joint])
    index = pd.MultiIndex.from_tuples(columns, names=["scorer", "individuals", "bodyparts", "coords"])
    table = pd.DataFrame(np.stack(values, axis=1), columns=index, index=range(len(values[0])))
    return table.droplevel("individuals", axis=1) if len(people) == 1 else table


def write_deeplabcut_h5(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    table = dlc_table({"": (with_nan(points), confidence)})
    file = folder / f"{name}DLC_resnet50_wardSep1shuffle1_1000.h5"
    table.to_hdf(file, key="df_with_missing", format="table", mode="w")
    table.to_csv(file.with_suffix(".csv"))  # DeepLabCut's save_as_csv: the same again


def write_deeplabcut_csv(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    dlc_table({"": (with_nan(points), confidence)}).to_csv(folder / f"{name}.csv")


def movement_dataset(points: np.ndarray, confidence: np.ndarray, people: list[str]) -> Any:
    """(T, V, 2, I) and (T, V, I) as movement's own record."""
    from movement.io import load_poses

    return load_poses.from_numpy(points.transpose(0, 2, 1, 3), confidence, people, list(COCO17))


def write_sleap_h5(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    from movement.io import save_poses

    dataset = movement_dataset(with_nan(points)[..., None], confidence[..., None], ["patient"])
    save_poses.to_sleap_analysis_file(dataset, folder / f"{name}.analysis.h5")


def write_slp(
    folder: Path, name: str, people: dict[str | None, tuple[np.ndarray, np.ndarray]], labelled: bool = False
) -> None:
    import sleap_io

    skeleton = sleap_io.Skeleton([sleap_io.Node(joint) for joint in COCO17])
    video = sleap_io.Video(f"{name}.mp4", open_backend=False)
    tracks = {person: sleap_io.Track(person) if person else None for person in people}
    frames = []
    for frame in range(FRAMES):
        instances: list[Any] = []
        for person, (points, confidence) in people.items():
            if labelled:
                instances.append(sleap_io.Instance.from_numpy(points[frame], skeleton=skeleton, track=tracks[person]))
                continue
            instances.append(
                sleap_io.PredictedInstance.from_numpy(
                    points[frame], point_scores=confidence[frame], score=1.0, skeleton=skeleton, track=tracks[person]
                )
            )
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=frame, instances=instances))
    labels = sleap_io.Labels(frames, skeletons=[skeleton], videos=[video])
    sleap_io.save_slp(labels, str(folder / f"{name}.predictions.slp"))


def write_sleap_slp(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    write_slp(folder, name, {"patient": (with_nan(points), confidence)})


def write_lightning_pose(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    from movement.io import save_poses

    dataset = movement_dataset(with_nan(points)[..., None], confidence[..., None], ["id"])
    save_poses.to_lp_file(dataset, folder / f"{name}.csv")
    (folder / f"{name}_id.csv").rename(folder / f"{name}.csv")


def openpose25(points: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """BODY_25 out of COCO-17, by the names; (0, 0, 0) where a point was not found."""
    named = {folded(name.replace("_", " ")): joint for joint, name in enumerate(COCO17)}
    made, sure = np.zeros((FRAMES, 25, 2)), np.zeros((FRAMES, 25))
    for joint, name in enumerate(openpose.JOINTS["openpose25"]):
        pair = {"neck": ("left shoulder", "right shoulder"), "mid hip": ("left hip", "right hip")}.get(name, (name,))
        if all(other in named for other in pair):
            sources = [named[other] for other in pair]
            made[:, joint], sure[:, joint] = points[:, sources].mean(axis=1), confidence[:, sources].min(axis=1)
    return made, sure


def openpose_frame(*people: np.ndarray, key: str = "pose_keypoints_2d") -> str:
    """As OpenPose 1.7 writes a frame: (V, 3) a person."""
    rest = [f"{part}_keypoints_{axes}d" for axes in (2, 3) for part in ("pose", "face", "hand_left", "hand_right")]
    return json.dumps(
        {
            "version": 1.3,
            "people": [
                {"person_id": [-1], **{name: [] for name in rest}, key: list(map(float, p.ravel()))} for p in people
            ],
        },
        separators=(",", ":"),
    )


def write_openpose(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    confidence = confidence.copy()
    confidence[MISSING] = 0
    values = np.concatenate([a.reshape(FRAMES, 25, -1) for a in openpose25(points, confidence)], axis=2)
    values[values[..., 2] == 0] = 0
    (folder / name).mkdir(parents=True)
    for frame in range(FRAMES):
        (folder / name / f"{name}_{frame:012}_keypoints.json").write_text(openpose_frame(values[frame]))


def instance(points: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """As mmpose's split_instances makes it; the box is in a list of its own there."""
    box = [[*np.nanmin(points, axis=0).tolist(), *np.nanmax(points, axis=0).tolist()]]
    return {"keypoints": points.tolist(), "keypoint_scores": scores.tolist(), "bbox": box, "bbox_score": 0.9}


def mmpose_demo(
    *frames: list[dict[str, Any]], dataset: str = "coco", names: tuple[str, ...] = COCO17
) -> dict[str, Any]:
    """As the demos write it by json_tricks: frames from 1, arrays of the meta data as __ndarray__."""
    return {
        "meta_info": {
            "dataset_name": dataset,
            "num_keypoints": len(names),
            "keypoint_id2name": {str(number): name for number, name in enumerate(names)},
            "keypoint_name2id": {name: number for number, name in enumerate(names)},
            "keypoint_colors": {
                "__ndarray__": [[255, 128, 0]] * len(names),
                "dtype": "uint8",
                "shape": [len(names), 3],
            },
        },
        "instance_info": [{"frame_id": number, "instances": rows} for number, rows in enumerate(frames, start=1)],
    }


def write_mmpose_demo(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    rows = [[instance(*pair)] for pair in zip(with_nan(points), confidence, strict=True)]
    (folder / f"results_{name}.json").write_text(json.dumps(mmpose_demo(*rows), indent="\t"))


def write_mmpose_inferencer(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    rows = [
        {"frame_id": number, "instances": [instance(*pair)]}
        for number, pair in enumerate(zip(with_nan(points), confidence, strict=True))
    ]
    (folder / f"{name}.json").write_text(json.dumps(rows, indent="  "))


def coco_file(*people: np.ndarray, names: tuple[str, ...] = COCO17, tracked: bool = True) -> dict[str, Any]:
    """As CVAT exports a video: (T, V, 3) a person, x, y, v; no annotation where a person is NaN throughout."""
    annotations = []
    for person, values in enumerate(people):
        for frame, points in enumerate(values):
            if np.isnan(points).all():
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": frame + 1,
                    "category_id": 1,
                    "segmentation": [],
                    "area": 1.0,
                    "bbox": [0.0, 0.0, 1.0, 1.0],
                    "iscrowd": 0,
                    "attributes": {"occluded": False, "keyframe": True} | ({"track_id": person} if tracked else {}),
                    "keypoints": np.nan_to_num(points).ravel().tolist(),
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                }
            )
    images = [
        {"id": frame + 1, "width": 640, "height": 480, "file_name": f"frame_{frame:06}.PNG", "license": 0}
        for frame in range(len(people[0]))
    ]
    category = {"id": 1, "name": "person", "supercategory": "", "keypoints": list(names), "skeleton": [[1, 2]]}
    return {"licenses": [], "info": {}, "categories": [category], "images": images, "annotations": annotations}


def write_coco(folder: Path, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
    confidence = confidence.copy()
    confidence[MISSING] = 0
    values = np.concatenate([points, confidence[..., None]], axis=2)
    (folder / f"{name}.json").write_text(json.dumps(coco_file(values)))


WRITERS: dict[str, tuple[str, Callable[[Path, str, np.ndarray, np.ndarray], None]]] = {
    "deeplabcut, h5 and csv": ("deeplabcut", write_deeplabcut_h5),
    "deeplabcut, csv": ("deeplabcut", write_deeplabcut_csv),
    "sleap, analysis": ("sleap", write_sleap_h5),
    "sleap, slp": ("sleap", write_sleap_slp),
    "lightning-pose": ("lightning-pose", write_lightning_pose),
    "openpose": ("openpose", write_openpose),
    "mmpose, demo": ("mmpose", write_mmpose_demo),
    "mmpose, inferencer": ("mmpose", write_mmpose_inferencer),
    "coco": ("coco", write_coco),
}
SILENT = ("openpose", "mmpose, demo", "coco")
"""Files that say themselves what their points are."""


@pytest.fixture
def options(tmp_path: Path) -> Ingest:
    (tmp_path / "cohort.csv").write_text("subject,seizure,dystonia\na,a1,1\na,a10,0\nb,b1,1\n")
    (tmp_path / "keypoints").mkdir()
    return Ingest(
        cache=tmp_path / "cache",
        keypoints=tmp_path / "keypoints",
        cohort=tmp_path / "cohort.csv",
        fps=20.0,
    )


def folder_of(options: Ingest) -> Path:
    assert options.keypoints is not None
    return options.keypoints


def faults_of(options: Ingest) -> tuple[str, ...]:
    """What is said; nothing may have been written."""
    with pytest.raises(InputError) as caught:
        ingest(options)
    assert not options.cache.exists()
    assert all("\n" not in fault for fault in caught.value.faults)
    return caught.value.faults


@pytest.mark.parametrize("tool", WRITERS)
def test_one_body_through_every_tool(options: Ingest, tool: str) -> None:
    """body11 by hand: neck and pelvis are middles, the nose is the head, y is up, the torso is the unit."""
    form, write = WRITERS[tool]
    for seed, name in enumerate(("a1", "a10", "b1")):
        write(folder_of(options), name, *body(seed))
    done = ingest(dataclasses.replace(options, format=form, scheme=None if tool in SILENT else "coco17"))
    assert (done.seizures, done.missing, done.notes) == (3, (), ())
    for seed, name in enumerate(("a1", "a10", "b1")):
        points, confidence = body(seed)
        joint = dict(zip(COCO17, points.transpose(1, 0, 2), strict=True))
        pelvis = (joint["left_hip"] + joint["right_hip"]) / 2
        neck = (joint["left_shoulder"] + joint["right_shoulder"]) / 2
        unit = np.median(np.linalg.norm(neck - pelvis, axis=-1))
        back = Cache.open(options.cache).read(name, "pose")
        at = {name: number for number, name in enumerate(built_in("body11").joints)}
        up = np.array([1, -1])
        keypoints = back["pose.keypoints"]
        np.testing.assert_allclose(keypoints[:, at["neck"]], (neck - pelvis) * up / unit, atol=1e-5)
        np.testing.assert_allclose(keypoints[:, at["head"]], (joint["nose"] - pelvis) * up / unit, atol=1e-5)
        np.testing.assert_allclose(
            keypoints[:, at["right wrist"]], (joint["right_wrist"] - pelvis) * up / unit, atol=1e-5
        )
        assert (keypoints[:, at["head"], 1] > keypoints[:, at["neck"], 1]).all()
        assert (keypoints[:, at["left wrist"], 0] > keypoints[:, at["right wrist"], 0])[8:].all()
        np.testing.assert_allclose(back["pose.root"], pelvis * up / unit, atol=1e-4)
        np.testing.assert_allclose(back["pose.keypoints_2d"][:, at["pelvis"]], pelvis, atol=1e-3)
        sure = back["pose.confidence"]
        assert np.argwhere(sure == 0).tolist() == [[MISSING[0], at["left wrist"]]]
        np.testing.assert_allclose(sure[:, at["pelvis"]], confidence[:, [11, 12]].min(axis=1), atol=1e-6)
        assert back.metadata.fps == 20
        assert back.metadata.skeleton == dataclasses.replace(
            built_in("body11"), channels=("x", "y", "confidence"), fps=20.0
        )
        facts = back.metadata.facts
        assert (facts["container"], facts["people"], facts["people_mean"], facts["patient_share"]) == (
            form,
            1,
            1.0,
            1.0,
        )


@pytest.mark.parametrize("tool", [tool for tool in WRITERS if tool != "openpose"])
def test_joints_by_name(options: Ingest, tmp_path: Path, tool: str) -> None:
    form, write = WRITERS[tool]
    write(folder_of(options), "a1", *body())
    (tmp_path / "arm.yaml").write_text(
        "name: arm\njoints: [Left-Shoulder, left elbow, LEFT_WRIST]\nbones: [[left elbow, Left-Shoulder], "
        "[LEFT_WRIST, left elbow]]\nroot: Left-Shoulder\nscale: [Left-Shoulder, left elbow]\nflip: []\n"
        "channels: [x, y, confidence]\nfps: 12.5\n"
    )
    by_name = dataclasses.replace(options, format=form, skeleton=str(tmp_path / "arm.yaml"), fps=None)
    if tool == "mmpose, inferencer":
        assert faults_of(by_name) == (
            f"{folder_of(options)}/a1.json: has 17 points without names, skeleton 'arm' has 3 joints; "
            "name them alike in a skeleton.yaml",
        )
        return
    ingest(by_name)
    back = Cache.open(options.cache).read("a1", "pose")
    points, _ = body()
    np.testing.assert_allclose(back["pose.keypoints_2d"][0], points[0, [5, 7, 9]], atol=1e-3)
    assert back.metadata.fps == 12.5


def test_names_that_do_not_fit_are_listed_on_both_sides(options: Ingest) -> None:
    write_deeplabcut_csv(folder_of(options), "a1", *body())
    (fault,) = faults_of(dataclasses.replace(options, format="deeplabcut"))
    assert "has no 'pelvis', 'neck', 'head' of skeleton 'body11', but 'nose', 'left_eye'" in fault
    assert "give --scheme (coco17, halpe26, " in fault


def anipose_table() -> tuple[pd.DataFrame, np.ndarray]:
    """As Anipose's triangulation writes it: millimetres, with score, error and cameras, the last columns its own."""
    rng = np.random.default_rng(0)
    joints = built_in("body11").joints
    places = rng.normal(size=(FRAMES, 11, 3)) * 100
    places[3, 2] = np.nan
    table: dict[str, Any] = {}
    for number, joint in enumerate(joints):
        for axis in range(3):
            table[f"{joint}_{'xyz'[axis]}"] = places[:, number, axis]
        lost = np.isnan(places[:, number, 0])
        table |= {f"{joint}_error": 1.5, f"{joint}_ncams": 3.0, f"{joint}_score": np.where(lost, np.nan, 0.8)}
    table |= {f"M_{row}{column}": float(row == column) for row in range(3) for column in range(3)}
    table |= {f"center_{axis}": 0.0 for axis in range(3)} | {"fnum": range(FRAMES)}
    return pd.DataFrame(table), places


def test_anipose_keeps_its_axes(options: Ingest) -> None:
    table, places = anipose_table()
    table.to_csv(folder_of(options) / "b1.csv", index=False)
    done = ingest(dataclasses.replace(options, format="anipose"))
    assert done.missing == ("a1", "a10")
    back = Cache.open(options.cache).read("b1", "pose")
    unit = np.median(np.linalg.norm(places[:, 0] - places[:, 1], axis=-1))
    np.testing.assert_allclose(back["pose.keypoints"], (places - places[:, :1]) / unit, atol=1e-5)
    assert np.argwhere(back["pose.confidence"] == 0).tolist() == [[3, 2]]
    assert "pose.keypoints_2d" not in back


def test_hand_labelled_points_are_sure(options: Ingest) -> None:
    points, confidence = body()
    write_slp(folder_of(options), "a1", {None: (points, confidence)}, labelled=True)
    ingest(dataclasses.replace(options, format="sleap", scheme="coco17"))
    assert (Cache.open(options.cache).read("a1", "pose")["pose.confidence"] == 1).all()


def test_visibility_flags(options: Ingest) -> None:
    points, _ = body()
    flags = np.full((FRAMES, 17, 1), 2.0)
    flags[:, 9], flags[:, 10] = 1, 0
    path = folder_of(options) / "a1.json"
    path.write_text(json.dumps(coco_file(np.concatenate([points, flags], axis=2))))
    ingest(dataclasses.replace(options, format="coco"))
    sure = Cache.open(options.cache).read("a1", "pose")["pose.confidence"]
    assert sure[0].tolist() == [1, 1, 1, 1, 1, 0.5, 1, 1, 0, 1, 1]


def test_mmpose_in_three_dimensions(options: Ingest) -> None:
    """The camera's X right, Y down, Z away, as MMPose turns them, come back as x right, y up, z towards the camera."""
    names = ("root", "right_hip", "right_knee", "right_foot", "left_hip", "left_knee", "left_foot", "spine", "thorax")
    names += ("neck_base", "head", "left_shoulder", "left_elbow", "left_wrist")
    names += ("right_shoulder", "right_elbow", "right_wrist")
    camera = np.zeros((17, 3))
    camera[8] = camera[9] = camera[10] = [0, -0.5, 0]  # upright; the image's y is down
    camera[11], camera[14] = [0.2, -0.5, 0], [-0.2, -0.5, 0]  # faces the camera: the left is at the right of the image
    camera[13] = [0.2, -0.5, -0.4]  # the left hand reaches for the camera
    written = np.stack([-camera[:, 0], camera[:, 2], -camera[:, 1]], axis=-1)
    rows = [[instance(written, np.ones(17))]] * FRAMES
    path = folder_of(options) / "a1.json"
    path.write_text(json.dumps(mmpose_demo(*rows, dataset="h36m", names=names)))
    ingest(dataclasses.replace(options, format="mmpose"))
    back = Cache.open(options.cache).read("a1", "pose")["pose.keypoints"][0]
    at = {name: number for number, name in enumerate(built_in("body11").joints)}
    np.testing.assert_allclose(back[at["neck"]], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(back[at["left shoulder"]], [0.4, 1, 0], atol=1e-6)
    np.testing.assert_allclose(back[at["left wrist"]], [0.4, 1, 0.8], atol=1e-6)


def test_faces_of_openpose(options: Ingest) -> None:
    face = np.concatenate([np.random.default_rng(0).uniform(100, 200, (70, 2)), np.full((70, 1), 0.7)], axis=1)
    folder = folder_of(options) / "a1"
    folder.mkdir()
    for frame in range(FRAMES):
        text = openpose_frame(face, key="face_keypoints_2d") if frame else openpose_frame()
        (folder / f"a1_{frame:012}_keypoints.json").write_text(text)
    ingest(dataclasses.replace(options, format="openpose", stream="face"))
    back = Cache.open(options.cache).read("a1", "face")
    numbers = [int(name.removeprefix("ibug-")) for name in built_in("face23").joints]
    np.testing.assert_allclose(back["face.keypoints"][1], face[numbers, :2], rtol=1e-6)
    assert not back["face.confidence"][0].any()
    assert "pose.keypoints_2d" not in back


def test_scheme_tables_of_openpose_are_mirror_symmetric() -> None:
    for name, skeleton, table in (
        ("openpose25", "body11", openpose.BODY["openpose25"]),
        ("openpose18", "body11", openpose.BODY["openpose18"]),
    ):
        names = openpose.JOINTS[name]
        joints = built_in("body11" if skeleton == "body11" else "face23")
        mirrored = {
            number: names.index(other) if (other := swapped(point)) in names else number
            for number, point in enumerate(names)
        }
        for joint, sources in enumerate(table.sources):
            twin = table.sources[joints.flip_permutation[joint]]
            assert sorted(mirrored[source] for source in sources) == sorted(twin)
        for joint, sources in zip(joints.joints, table.sources, strict=True):
            if joint not in ("pelvis", "head"):
                assert [names[source] for source in sources] == [joint]


def swapped(name: str) -> str:
    return name.replace("left", "L").replace("right", "left").replace("L", "right")


def test_help_names_every_scheme_and_format() -> None:
    text = " ".join((Ingest.__doc__ or "").split())
    for name in [*FORMATS, *SCHEMES["pose"], *SCHEMES["face"]]:
        assert name in text


def two_people(nurse: slice = slice(None)) -> list[np.ndarray]:
    """(T, 17, 3) of the patient and of a nurse who is there in some frames, 250 pixels beside."""
    people = []
    for seed, x, frames in ((0, 300.0, slice(None)), (1, 550.0, nurse)):
        points, confidence = body(seed, x)
        values = np.full((FRAMES, 17, 3), np.nan)
        values[frames] = np.concatenate([points, confidence[..., None]], axis=2)[frames]
        people.append(values)
    return people


def write_two(options: Ingest, tool: str, nurse: slice = slice(None)) -> Ingest:
    folder, (patient, other) = folder_of(options), two_people(nurse)
    people = {"patient": (patient[..., :2], patient[..., 2]), "nurse": (other[..., :2], other[..., 2])}
    match tool:
        case "deeplabcut":
            table = dlc_table(people)
            table.to_hdf(folder / "a1DLC_dlcrnet_el.h5", key="df_with_missing", format="table", mode="w")
        case "sleap":
            write_slp(folder, "a1", people)
        case "coco":
            (folder / "a1.json").write_text(json.dumps(coco_file(patient, other)))
        case "coco, no tracks":
            (folder / "a1.json").write_text(json.dumps(coco_file(patient, other, tracked=False)))
        case "mmpose":
            rows = []
            for frame in range(FRAMES):
                order = (patient, other) if frame % 2 else (other, patient)  # as the detector's scores have it
                seen = [values[frame] for values in order if not np.isnan(values[frame]).all()]
                rows.append([instance(values[:, :2], values[:, 2]) for values in seen])
            (folder / "a1.json").write_text(json.dumps(mmpose_demo(*rows)))
    form = tool.split(",", maxsplit=1)[0]
    return dataclasses.replace(options, format=form, scheme="coco17")


TOOLS_OF_TWO = ("deeplabcut", "sleap", "coco", "coco, no tracks", "mmpose")


@pytest.mark.parametrize("tool", TOOLS_OF_TWO)
def test_the_one_who_is_always_there_is_the_patient(options: Ingest, tool: str) -> None:
    done = ingest(write_two(options, tool, nurse=slice(5, 15)))
    assert len(done.notes) == 1
    assert "the patient is" in done.notes[0]
    back = Cache.open(options.cache).read("a1", "pose")
    points, _ = body()
    np.testing.assert_allclose(back["pose.keypoints_2d"][:, 3], points[:, 5], atol=1e-3)
    assert (back.metadata.facts["people"], back.metadata.facts["people_mean"]) == (2, 40 / 30)


@pytest.mark.parametrize("tool", TOOLS_OF_TWO)
def test_two_people_all_along_are_not_guessed(options: Ingest, tool: str) -> None:
    two = write_two(options, tool)
    (fault,) = faults_of(two)
    assert "has several people, " in fault
    assert "(30 frames, about x 300, y " in fault
    assert "(30 frames, about x 550, y " in fault
    assert "column 'person'" in fault
    nurse = {"coco": "track 1", "coco, no tracks": "person 2", "mmpose": "person 1"}.get(tool, "nurse")
    assert options.cohort is not None
    options.cohort.write_text(f"subject,seizure,person,dystonia\na,a1,{nurse},1\na,a10,,0\nb,b1,,1\n")
    ingest(two)
    points, _ = body(1, 550.0)
    back = Cache.open(options.cache).read("a1", "pose")["pose.keypoints_2d"]
    np.testing.assert_allclose(back[:, 3], points[:, 5], atol=1e-3)
    options.cohort.write_text("subject,seizure,person,dystonia\na,a1,doctor,1\na,a10,,0\nb,b1,,1\n")
    (fault,) = faults_of(dataclasses.replace(two, cache=options.cache.with_name("other")))
    assert "has no person 'doctor', only " in fault


@given(st.integers(0, 2**31), st.integers(2, 4))
def test_people_who_stay_apart_are_linked_whatever_the_order(seed: int, people: int) -> None:
    """Bodies of people who move less than half their size a frame, shuffled and with gaps, keep their person."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(0, 100, (people, 6, 2))
    shape[:, 0], shape[:, 1] = 0, 100  # all are as large
    shape += np.arange(people)[:, None, None] * [400, 0]
    frames, bodies, whose = [], [], []
    for frame in range(12):
        for person in rng.permutation(people):
            if frame == 0 or rng.uniform() < 0.7:
                frames.append(frame)
                bodies.append(shape[person] + rng.uniform(-2, 2, 2) * frame)
                whose.append(person)
    number = linked(np.array(frames), np.array(bodies))
    assert len({(int(a), int(b)) for a, b in zip(number, whose, strict=True)}) == people


def test_start_and_end_count_from_the_file_s_first_frame(options: Ingest) -> None:
    assert options.cohort is not None
    options.cohort.write_text(
        "subject,seizure,file,start,end\na,a1,ward/x.json,0.5,1.25\na,a10,ward/x.json,,0.5\nb,b1,ward/y.json,,\n"
    )
    (folder_of(options) / "ward").mkdir()
    for name in "xy":
        write_mmpose_inferencer(folder_of(options) / "ward", name, *body())
    ingest(dataclasses.replace(options, format="mmpose", scheme="coco17"))
    cache, (points, _) = Cache.open(options.cache), body()
    np.testing.assert_allclose(cache.read("a1", "pose")["pose.keypoints_2d"][:, 3], points[10:25, 5], atol=1e-3)
    assert len(cache.read("a10", "pose")["pose.root"]) == 10


def test_absent_frames_are_missing_and_said(options: Ingest) -> None:
    write_openpose(folder_of(options), "a1", *body())
    for frame in (4, 5, 6):
        (folder_of(options) / "a1" / f"a1_{frame:012}_keypoints.json").unlink()
    done = ingest(dataclasses.replace(options, format="openpose"))
    assert done.notes == (f"{folder_of(options) / 'a1'}: 3 of 30 frames are not in it; they are missing",)
    sure = Cache.open(options.cache).read("a1", "pose")["pose.confidence"]
    assert np.flatnonzero(~(sure > 0).any(axis=1)).tolist() == [4, 5, 6]


def test_unsure_joints_can_be_left_out(options: Ingest) -> None:
    points, confidence = body()
    confidence[10, :] = 0.2
    write_deeplabcut_csv(folder_of(options), "a1", points, confidence)
    sure = dataclasses.replace(options, format="deeplabcut", scheme="coco17", min_confidence=0.3)
    ingest(sure)
    back = Cache.open(options.cache).read("a1", "pose")
    assert np.flatnonzero(~(back["pose.confidence"] > 0).any(axis=1)).tolist() == [10]
    assert back.metadata.facts["patient_share"] == pytest.approx(29 / 30)


def test_scores_above_one(options: Ingest) -> None:
    points, confidence = body()
    write_mmpose_demo(folder_of(options), "a1", points, confidence * 8)
    done = ingest(dataclasses.replace(options, format="mmpose"))
    assert "has scores up to 7.59; those above 1 count as 1" in done.notes[0]
    assert Cache.open(options.cache).read("a1", "pose")["pose.confidence"].max() == 1


def test_a_file_changed_gives_another_digest_and_twice_the_same_bytes(options: Ingest) -> None:
    write_openpose(folder_of(options), "a1", *body())
    of = dataclasses.replace(options, format="openpose")
    ingest(of)
    first = {path.name: path.read_bytes() for path in options.cache.iterdir()}
    ingest(of)
    assert {path.name: path.read_bytes() for path in options.cache.iterdir()} == first
    frame = folder_of(options) / "a1" / "a1_000000000000_keypoints.json"
    frame.write_text(frame.read_text() + "\n")
    ingest(of)
    assert {path.name: path.read_bytes() for path in options.cache.iterdir()} != first


def json_edit(options: Ingest, edit: Callable[[Any], object], tool: str) -> Ingest:
    """A sound file with something changed in it."""
    form, write = WRITERS[tool]
    write(folder_of(options), "a1", *body())
    path = sorted(folder_of(options).rglob("*.json"))[3 if form == "openpose" else 0]
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))
    return dataclasses.replace(options, format=form, scheme=None if tool in SILENT else "coco17")


def first_person(value: Any) -> Any:
    return value["people"][0]


def demo(value: Any) -> Any:
    return value["instance_info"][3]["instances"][0]


@pytest.mark.parametrize(
    ("tool", "edit", "words"),
    [
        ("openpose", lambda v: v.pop("people"), "3_keypoints.json: has no list 'people'"),
        (
            "openpose",
            lambda v: first_person(v).pop("pose_keypoints_2d"),
            "3_keypoints.json, person 1: 'pose_keypoints_2d'",
        ),
        ("openpose", lambda v: first_person(v)["pose_keypoints_2d"].pop(), "is no list of x, y, confidence"),
        (
            "openpose",
            lambda v: first_person(v).update(pose_keypoints_2d=[1.0] * 54),
            "has 18 points of 2 coordinates, where",
        ),
        ("openpose", lambda v: first_person(v).update(pose_keypoints_2d=["x"] * 75), "is no list of x, y, confidence"),
        ("openpose", lambda v: first_person(v).update(pose_keypoints_2d=[1e999, 1, 1] * 25), "infinite coordinates"),
        ("mmpose, demo", lambda v: v.pop("instance_info"), "is no list of frames with 'frame_id'"),
        ("mmpose, demo", lambda v: v["instance_info"][3].update(frame_id=3), "frame 3 is there twice"),
        ("mmpose, demo", lambda v: v["instance_info"][3].update(frame_id=900_000), "frame 900000 follows frame 30"),
        ("mmpose, demo", lambda v: v["instance_info"][3].update(frame_id="x"), "entry 4: frame_id 'x'"),
        ("mmpose, demo", lambda v: demo(v)["keypoint_scores"].pop(), "frame 4, instance 1: has no sound 'keypoints'"),
        (
            "mmpose, demo",
            lambda v: demo(v).update(keypoints=[[1.0, 2.0]] * 9, keypoint_scores=[1.0] * 9),
            "has 9 points of 2",
        ),
        (
            "mmpose, demo",
            lambda v: v["meta_info"].update(dataset_name="halpe26"),
            "has 17 points, scheme halpe26 has 26; 17 have coco17",
        ),
        (
            "mmpose, demo",
            lambda v: [row.update(instances=[]) for row in v["instance_info"]],
            "nobody in any of its 30 frames",
        ),
        ("mmpose, inferencer", lambda v: v.clear(), "nobody in any of its 0 frames"),
        ("coco", lambda v: v.pop("images"), "has no lists 'images', 'annotations' and 'categories'"),
        ("coco", lambda v: v["images"][3].update(file_name="frame_000002.PNG"), "is frame 2, as is 'frame_000002.PNG'"),
        ("coco", lambda v: v["images"][3].update(file_name="late.PNG"), "image 4: 'late.PNG' has no frame number"),
        ("coco", lambda v: [image.update(video_id=n % 2) for n, image in enumerate(v["images"])], "images of 2 videos"),
        (
            "coco",
            lambda v: v["annotations"][3].update(image_id=99),
            "annotation 4: image_id '99' is none of the images",
        ),
        (
            "coco",
            lambda v: v["annotations"][3].update(image_id=3),
            "annotation 4: person 'track 0' is in frame 2 twice",
        ),
        ("coco", lambda v: v["annotations"][3]["keypoints"].pop(), "annotation 4: 'keypoints' is no list of x, y, v"),
        ("coco", lambda v: v["categories"][0].pop("keypoints"), "has no category, or several, with keypoints"),
        ("coco", lambda v: v["annotations"].clear(), "nobody in any of its 30 frames"),
    ],
)
def test_bad_json(options: Ingest, tool: str, edit: Callable[[Any], object], words: str) -> None:
    faults = faults_of(json_edit(options, edit, tool))
    assert any(words in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b'{\n"images": [\n', "row 3: is no JSON"),
        (b"\xff\xfe{}", "is no UTF-8 text"),
        (b"null", "holds nothing but null"),
        (b"[" * 200_000, "is no JSON that can be read"),
        (b"[1, 2]", "is no list of frames"),
    ],
)
def test_no_json(options: Ingest, content: bytes, words: str) -> None:
    (folder_of(options) / "a1.json").write_bytes(content)
    (fault,) = faults_of(dataclasses.replace(options, format="mmpose"))
    assert words in fault
    assert str(folder_of(options) / "a1.json") in fault


def test_every_fault_of_every_file_in_one_go(options: Ingest) -> None:
    folder = folder_of(options)
    (folder / "a1.json").write_text("{")
    write_mmpose_inferencer(folder, "a10", *body())
    (folder / "b1.json").write_text(json.dumps([{"frame_id": n, "instances": [{}]} for n in range(9)]))
    faults = faults_of(dataclasses.replace(options, format="mmpose", scheme="coco17"))
    assert len(faults) == 1 + 6
    assert "4 more places have such faults" in faults[-1]


def test_normalised_coordinates(options: Ingest) -> None:
    points, confidence = body()
    write_openpose(folder_of(options), "a1", points / 640, confidence)
    (fault,) = faults_of(dataclasses.replace(options, format="openpose"))
    assert "shares of the image's sides; write them in pixels (OpenPose: --keypoint_scale 0)" in fault


def test_several_videos_in_an_openpose_folder(options: Ingest) -> None:
    write_openpose(folder_of(options), "a1", *body())
    (folder_of(options) / "a1" / "b1_000000000000_keypoints.json").write_text(openpose_frame())
    (folder_of(options) / "a10").mkdir()
    faults = faults_of(dataclasses.replace(options, format="openpose"))
    assert "has frames of 2 videos (a1, b1, …)" in faults[0]
    assert "has no <video>_<frame>_keypoints.json" in faults[1]


def edit_csv(options: Ingest, edit: Callable[[list[str]], object], form: str = "deeplabcut") -> Ingest:
    path = folder_of(options) / "a1.csv"
    if form == "anipose":
        anipose_table()[0].to_csv(path, index=False)
    else:
        write_deeplabcut_csv(folder_of(options), "a1", *body())
    lines = path.read_text().splitlines()
    edit(lines)
    path.write_text("\n".join(lines) + "\n")
    return dataclasses.replace(options, format=form, scheme=None if form == "anipose" else "coco17")


def replace(line: int, old: str, new: str) -> Callable[[list[str]], object]:
    def edit(lines: list[str]) -> None:
        assert old in lines[line]
        lines[line] = lines[line].replace(old, new, 1)

    return edit


@pytest.mark.parametrize(
    ("form", "edit", "words"),
    [
        ("deeplabcut", replace(4, "1,", "1,lost"), "row 5: 'lost"),
        ("deeplabcut", lambda lines: lines.pop(9), "row 10: frame 7 follows frame 5"),
        (
            "deeplabcut",
            replace(3, "0,", "labeled-data/a1/img0000.png,"),
            "row 4: 'labeled-data/a1/img0000.png' is no number",
        ),
        ("deeplabcut", replace(3, "0,", "0,1,"), "row 4: has 53 cells under a header of 52"),
        ("deeplabcut", replace(1, "bodyparts", "joints"), "cannot be read as a file of DeepLabCut"),
        ("deeplabcut", lambda lines: lines.__delitem__(slice(3, None)), "DeepLabCut"),
        ("anipose", replace(0, "head_score", "head_likelihood"), "cannot be read as a file of Anipose"),
        ("anipose", lambda lines: lines.pop(5), "row 6: frame 5 follows frame 3"),
        ("anipose", lambda lines: lines.clear(), "CSV file is missing some expected columns"),
        ("deeplabcut", replace(5, "2,", "2,\0"), "a1.csv"),
    ],
)
def test_bad_tables(options: Ingest, form: str, edit: Callable[[list[str]], object], words: str) -> None:
    faults = faults_of(edit_csv(options, edit, form))
    assert any(words in fault for fault in faults), faults
    assert all(fault.startswith(str(folder_of(options))) for fault in faults)


def test_frames_out_of_order_in_an_h5_table(options: Ingest) -> None:
    table = dlc_table({"": body()}).drop(index=4)
    table.to_hdf(folder_of(options) / "a1.h5", key="df_with_missing", format="table", mode="w")
    (fault,) = faults_of(dataclasses.replace(options, format="deeplabcut", scheme="coco17"))
    assert "frame 5 follows frame 3" in fault


@pytest.mark.parametrize(("form", "suffix"), [("deeplabcut", "h5"), ("sleap", "slp"), ("sleap", "h5")])
@pytest.mark.parametrize("content", [b"", b"text\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 600])
def test_no_hdf5(options: Ingest, form: str, suffix: str, content: bytes) -> None:
    (folder_of(options) / f"a1.{suffix}").write_bytes(content)
    (fault,) = faults_of(dataclasses.replace(options, format=form, scheme="coco17"))
    assert fault.startswith(f"{folder_of(options)}/a1.{suffix}: ")


def test_hdf5_of_another_tool(options: Ingest) -> None:
    pd.DataFrame({"x": [1.0]}).to_hdf(folder_of(options) / "a1.h5", key="table", mode="w")
    for form in ("deeplabcut", "sleap"):
        (fault,) = faults_of(dataclasses.replace(options, format=form, scheme="coco17"))
        assert "cannot be read as a file of " in fault


class _Malware:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("protocol", [-1, 0, 2, 4])
def test_pickled_malware_in_an_h5_file_is_not_run(options: Ingest, tmp_path: Path, protocol: int) -> None:
    import h5py

    write_deeplabcut_h5(folder_of(options), "a1", *body())
    (path,) = folder_of(options).glob("*.h5")
    mark = tmp_path / "ran"
    with h5py.File(path, "a") as file:
        content = pickle.dumps(_Malware(mark), protocol=protocol)
        if protocol < 0:
            content = b"\x80\xff" + pickle.dumps(_Malware(mark), protocol=0)  # no protocol that there is
        file["df_with_missing"].attrs["non_index_axes"] = np.bytes_(content)
    (fault,) = faults_of(dataclasses.replace(options, format="deeplabcut", scheme="coco17"))
    assert "df_with_missing.non_index_axes holds a pickled " in fault
    assert "which may run code; take the table as .csv" in fault
    assert not mark.exists()
    with contextlib.suppress(Exception):
        pd.read_hdf(path, key="df_with_missing")
    assert mark.exists() == (protocol >= 0)  # what would have happened


def test_a_table_in_another_file_is_refused(options: Ingest) -> None:
    import h5py

    with h5py.File(folder_of(options) / "a1.h5", "w") as file:
        file["df_with_missing"] = h5py.ExternalLink("elsewhere.h5", "df_with_missing")
    (fault,) = faults_of(dataclasses.replace(options, format="deeplabcut", scheme="coco17"))
    assert "df_with_missing lies in another file (elsewhere.h5)" in fault


def test_pickled_rows_in_an_h5_file_are_refused(options: Ingest) -> None:
    import tables

    with tables.open_file(folder_of(options) / "a1.h5", "w") as file:
        rows = file.create_vlarray("/", "df_with_missing", tables.ObjectAtom())
        rows.append({"x": 1})
    (fault,) = faults_of(dataclasses.replace(options, format="deeplabcut", scheme="coco17"))
    assert "holds pickled objects" in fault


def test_bodies_without_tracks_in_a_slp_file(options: Ingest) -> None:
    import sleap_io

    write_slp(folder_of(options), "a1", {None: body()})
    path = folder_of(options) / "a1.predictions.slp"
    labels = sleap_io.load_slp(str(path), open_videos=False)
    labels[3].instances.append(labels[4].instances[0])
    sleap_io.save_slp(labels, str(path))
    (fault,) = faults_of(dataclasses.replace(options, format="sleap", scheme="coco17"))
    assert "frame 3 has several bodies and nothing says whose they are; run SLEAP's tracking" in fault


def test_two_and_three_dimensions_do_not_go_together(options: Ingest) -> None:
    points, confidence = body()
    names = built_in("body11").joints
    write_mmpose_demo(folder_of(options), "a1", points, confidence)
    rows = [[instance(np.random.default_rng(0).normal(size=(11, 3)), np.ones(11))]] * FRAMES
    (folder_of(options) / "a10.json").write_text(json.dumps(mmpose_demo(*rows, dataset="own", names=names)))
    (fault,) = faults_of(dataclasses.replace(options, format="mmpose"))
    assert "is in two dimensions" in fault
    assert "three; ingest one kind alone" in fault


def test_a_skeleton_of_other_dimensions(options: Ingest, tmp_path: Path) -> None:
    write_deeplabcut_csv(folder_of(options), "a1", *body())
    (tmp_path / "two.yaml").write_text(
        "name: two\njoints: [nose, left_eye]\nbones: [[left_eye, nose]]\nroot: nose\nscale: [nose, left_eye]\n"
        "flip: []\nchannels: [x, y, z]\nfps: 25\n"
    )
    (fault,) = faults_of(dataclasses.replace(options, format="deeplabcut", skeleton=str(tmp_path / "two.yaml")))
    assert "has 2 coordinates a joint, skeleton 'two' has 3; write its channels as [x, y, confidence]" in fault


def test_file_names(options: Ingest) -> None:
    folder = folder_of(options)
    write_deeplabcut_h5(folder, "a1", *body())
    (found,) = folder.glob("*.h5")
    table = dlc_table({"": body()})
    table.to_csv(found.with_name(f"{found.stem}_filtered.csv"))
    of = dataclasses.replace(options, format="deeplabcut", scheme="coco17")
    (fault,) = faults_of(of)
    assert "cohort.csv, row 2: there are " in fault
    assert "name one in a column 'file'" in fault
    assert options.cohort is not None
    options.cohort.write_text(f"subject,seizure,file\na,a1,{found.stem}_filtered.csv\nb,b1,b1.mat\n")
    (fault,) = faults_of(of)
    assert "row 3: " in fault
    assert "b1.mat is no .h5 or .csv file that is there; correct the column 'file'" in fault
    options.cohort.write_text("subject,seizure\nc,c1\n")
    (fault,) = faults_of(of)
    assert "no .h5 or .csv file of any seizure of" in fault
    assert "named as c1.h5, or in the column 'file'" in fault


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fps": None}, "--fps is missing; files of coco do not have it"),
        ({"fps": None, "skeleton": "body11"}, "--fps is missing"),
        ({"fps": 0.0}, "--fps 0.0: is no frame rate"),
        ({"scheme": "coco18"}, "--scheme coco18 is unknown in the pose stream; there are coco17, halpe26"),
        ({"scheme": "ibug68"}, "--scheme ibug68 is unknown in the pose stream"),
        ({"scheme": "coco17", "skeleton": "face23"}, "--scheme is made into body11; leave --skeleton or --scheme out"),
        ({"scheme": "coco17", "format": "files", "skeleton": "body11"}, "--scheme is for other tools' files"),
        ({"min_confidence": 2.0}, "--min_confidence 2.0: is no confidence"),
    ],
)
def test_options(options: Ingest, change: dict[str, object], words: str) -> None:
    faults = faults_of(dataclasses.replace(options, **{"format": "coco", **change}))
    assert any(words in fault for fault in faults), faults


def test_without_movement(options: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "movement.io", None)
    write_deeplabcut_csv(folder_of(options), "a1", *body())
    (fault,) = faults_of(dataclasses.replace(options, format="deeplabcut", scheme="coco17"))
    assert "is not installed (movement.io); uv pip install 'movement>=0.15'" in fault


def test_the_door(options: Ingest, capfd: pytest.CaptureFixture[str]) -> None:
    """From the command line to the last line; movement's own log stays silent."""
    write_deeplabcut_h5(folder_of(options), "a1", *body())
    arguments = [
        *("--cache", str(options.cache), "--keypoints", str(options.keypoints), "--cohort", str(options.cohort)),
        *("--format", "deeplabcut", "--scheme", "coco17", "--fps", "25"),
    ]
    assert main(arguments) == 0
    out, err = capfd.readouterr()
    assert "pose of 1 seizures, 1 subjects" in out
    assert "no file for 2 seizures: a10, b1" in out
    assert "movement" not in err
    write_deeplabcut_csv(folder_of(options), "b1", *body())
    (folder_of(options) / "b1.csv").write_text("scorer,a\nx\n")
    with pytest.raises(InputError):
        main(arguments)
    assert "ERROR" not in capfd.readouterr().err
    assert Cache.open(options.cache).seizures("pose") == ("a1",)
