"""OpenMMLab through our backend gives what mmdet and mmpose give themselves, on frames of a real clip; run by `make openmm`."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from seizurelit.cohort.points import BODY, FACE
from seizurelit.errors import InputError
from seizurelit.extraction.models import Model, OpenMMLabModels
from seizurelit.extraction.weights import provenance

pytestmark = [
    pytest.mark.openmm,
    pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="OpenMMLab is not installed; make openmm"),
]
NONE = Model("none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def random(folder):
    """random("ssdlite") → the model with random weights in a file."""
    from seizurelit.extraction.smoke import random_weights

    torch.manual_seed(0)
    return lambda name: random_weights(Model(name), folder)


@pytest.fixture(scope="module")
def clip(shared):
    """12 frames of a person who moves."""
    from seizurelit.extraction.smoke import frames

    return frames(shared / "data" / "clips" / "mmskeleton_ta_chi.mp4", 12)


@pytest.fixture(scope="module")
def models(random):
    return OpenMMLabModels(
        random("ssdlite"), NONE, random("rtmpose-t_8xb256-420e_coco-256x192"), random("lapa"), random("videopose3d"),
        batch=5, least_score=0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def backend(models):
    from seizurelit.extraction.openmmlab_backend import OpenMMLabBackend

    return OpenMMLabBackend(models)


def boxes_of(clip):
    height, width = clip[0].shape[:2]
    shifts = np.linspace(0, 0.1, len(clip))
    return [np.array([s * width, s * height, (0.8 + s) * width, 0.9 * height], np.float32) for s in shifts]


def bgr(image):
    return np.ascontiguousarray(image[..., ::-1])


@pytest.mark.parametrize("name", ["ssdlite", "rtmdet-nano", "yolox-face"])
def test_boxes_are_those_of_mmdet(random, clip, name):
    from mmdet.apis import inference_detector, init_detector

    from seizurelit.extraction.openmmlab_backend import Detector
    from seizurelit.extraction.openmmlab_networks import config_path, load, scope

    model = random(name)
    detector = Detector(load(model, None, "cpu"), OpenMMLabModels(least_score=0.0, batch=5))
    images = clip[:6]
    original = init_detector(str(config_path(model.config)), str(model.weights), device="cpu")
    if not hasattr(original.bbox_head, "loss_cls"):
        original.bbox_head.loss_cls = None
    theirs: list[tuple[list[torch.Tensor], ...]] = []
    mine: list[torch.Tensor] = []

    def numbers(parts):
        return torch.cat([level.flatten(1) for part in parts for level in part], 1)

    def ours_then_theirs(_module, _given, parts):
        # Nearly equal scores of a random network change places by rounding, and which box covers the other with them:
        # what is chosen can be compared where both choose from the same numbers.
        images = theirs[sum(map(len, mine)) :][: len(parts[0][0])]
        mine.append(numbers(parts))
        return tuple([torch.cat(level) for level in zip(*part, strict=True)] for part in zip(*images, strict=True))

    original.bbox_head.register_forward_hook(lambda _module, _given, parts: theirs.append(parts))
    detector.network.module.bbox_head.register_forward_hook(ours_then_theirs)
    with scope("mmdet"):
        expected = [inference_detector(original, bgr(image)).pred_instances for image in images]
    found = detector._detect(images)
    reference = torch.cat([numbers(parts) for parts in theirs])
    assert reference.std() > 0.1
    torch.testing.assert_close(torch.cat(mine), reference, rtol=1e-3, atol=2e-3 * float(reference.std()))
    for one, other in zip(found, expected, strict=True):
        assert len(one) >= 10
        assert one.labels.tolist() == other.labels.tolist()
        torch.testing.assert_close(one.scores, other.scores)
        torch.testing.assert_close(one.bboxes, other.bboxes)
    label = int(found[0].labels[0])
    name = detector.classes[label]
    boxes = detector.find(images, name)
    assert [len(of_image) for of_image in boxes] == [int((one.labels == label).sum()) for one in found]
    assert boxes[0].shape[1] == 5


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", ["rtmpose-t_8xb256-420e_coco-256x192", "lapa", "wflw"])
def test_points_are_those_of_mmpose_frame_by_frame(random, clip, name, flip):
    from mmpose.apis import inference_topdown, init_model

    from seizurelit.extraction.openmmlab_backend import BODIES, FACES, PoseModel
    from seizurelit.extraction.openmmlab_networks import config_path, load

    model = random(name)
    changes = {"model.test_cfg.flip_test": flip}
    pose = PoseModel(load(model, None, "cpu", changes), model, {**BODIES, **FACES}, batch=5)
    images, boxes = clip[:6], boxes_of(clip)[:6]
    mine = pose.points(images, boxes)
    original = init_model(str(config_path(model.config)), str(model.weights), device="cpu", cfg_options=changes)
    same = []
    for points, image, box in zip(mine, images, boxes, strict=True):
        theirs = inference_topdown(original, bgr(image), box[None])[0].pred_instances
        np.testing.assert_allclose(points.confidence, np.clip(theirs.keypoint_scores[0], 0, 1), rtol=1e-2, atol=1e-4)
        # The maximum of a random heat map can jump by rounding.
        seen = points.confidence > 0
        same.append(np.isclose(points.xy[seen], theirs.keypoints[0][seen], atol=0.5).all(axis=1))
    assert np.concatenate(same).mean() > 0.9
    assert np.concatenate(same).size > 0


def test_every_frame_has_its_own_points(backend, clip):
    boxes = boxes_of(clip)
    alone = [backend.bodies([image], [box])[0] for image, box in zip(clip[:3], boxes[:3], strict=True)]
    together = backend.bodies(clip, [boxes[0], None, boxes[2], *[None] * (len(clip) - 3)])
    assert [body is None for body in together] == [False, True, False] + [True] * (len(clip) - 3)
    for index in (0, 2):
        np.testing.assert_allclose(together[index].confidence, alone[index].confidence, rtol=1e-3, atol=1e-5)


def test_a_whole_clip_goes_through(backend, clip):
    height, width = clip[0].shape[:2]
    people = backend.find_people(clip)
    assert len(people) == len(clip)
    assert all(boxes.shape[1] == 5 for boxes in people)
    bodies = backend.bodies(clip, boxes_of(clip))
    faces = backend.faces(clip, boxes_of(clip))
    assert bodies[0].xy.shape == (BODY[backend.body_points].joints, 2)
    assert faces[0].xy.shape == (FACE[backend.face_points].joints, 2)
    xy = np.nan_to_num(np.stack([body.xy for body in bodies]))
    lifted = backend.lift(xy, np.ones(xy.shape[:2], np.float32), (width, height))
    assert lifted.shape == (len(clip), BODY[backend.lifted_points].joints, 3)
    assert np.isfinite(lifted).all()
    assert (lifted[:, 0] == 0).all()
    assert [weights.name for weights in backend.weights] == [
        "ssdlite_mobilenetv2-scratch_8xb24-600e_coco.pth",
        "rtmpose-t_8xb256-420e_coco-256x192.pth",
        "rtmpose-m_8xb64-120e_lapa-256x256.pth",
        "video-pose-lift_tcn-243frm-supv-cpn-ft_8xb128-200e_h36m.pth",
    ]


def walking(frames):
    """(T, 17, 2) points of COCO that move smoothly."""
    time = np.arange(frames)[:, None, None] / 25
    rng = np.random.default_rng(1)
    middle, phase = rng.uniform(100, 300, (1, 17, 2)), rng.uniform(0, 6, (1, 17, 2))
    return (middle + 30 * np.sin(time + phase)).astype(np.float32)


@pytest.mark.parametrize("name", ["videopose3d", "video-pose-lift_tcn-27frm-supv_8xb128-160e_h36m"])
def test_videopose3d_in_one_pass_is_the_original_window_by_window(random, name):
    from mmpose.apis.inference_3d import convert_keypoint_definition

    from seizurelit.extraction.openmmlab_lift import Lifter
    from seizurelit.extraction.openmmlab_networks import build, load
    from seizurelit.extraction.weights import fill, read_checkpoint

    model = random(name)
    xy = walking(40)
    lifted = Lifter(load(model, None, "cpu"), model, "coco17").lift(xy, np.ones(xy.shape[:2], np.float32), (400, 300))
    original, _ = build(model)
    fill(original, read_checkpoint(model.weights), "original")
    original.eval()
    points = convert_keypoint_definition(xy, "coco", "h36m")
    dense = np.stack([np.interp(np.arange(79) / 2, np.arange(40), column) for column in points.reshape(40, -1).T], 1)
    normal = (dense.reshape(79, 17, 2) - [200, 150]) / 200
    reach = int(np.prod(original.backbone.kernel_sizes)) // 2
    for frame in (0, 7, 39):
        window = normal[np.clip(np.arange(2 * frame - reach, 2 * frame + reach + 1), 0, 78)].astype(np.float32)
        inputs = torch.from_numpy(window).permute(1, 2, 0).reshape(1, 34, -1)
        with torch.inference_mode():
            expected = original.head(original.backbone(inputs))[0].numpy()
        expected = (expected - expected[:1]) * [1, -1, -1]
        np.testing.assert_allclose(lifted[frame], expected, rtol=1e-3, atol=1e-5)


def test_motionbert_is_the_original_and_takes_clips_of_any_length(random):
    from mmpose.apis.inference_3d import convert_keypoint_definition

    from seizurelit.extraction.openmmlab_lift import Lifter
    from seizurelit.extraction.openmmlab_networks import load

    model = random("motionbert")
    network = load(model, None, "cpu", {"model.test_cfg.flip_test": False})
    lifter = Lifter(network, model, "coco17")
    xy = walking(250)
    for frames in (1, 5):
        lifted = lifter.lift(xy[:frames], np.ones((frames, 17), np.float32), (400, 300))
        points = convert_keypoint_definition(xy[:frames], "coco", "h36m")
        given = np.concatenate([points / 200 - [1, 0.75], np.ones((frames, 17, 1))], axis=-1).astype(np.float32)
        with torch.inference_mode():
            expected = network.module._forward(torch.from_numpy(given[None]))[0].numpy()
        expected = (expected - expected[:, :1]) * [1, -1, -1]
        # mmpose's metre for an unknown camera: 4 mm a pixel.
        np.testing.assert_allclose(
            lifted[:, 1:] - lifted[:, 1:2], (expected[:, 1:] - expected[:, 1:2]) * 200 * 4e-3, atol=1e-4
        )
    lifted = lifter.lift(xy, np.ones((250, 17), np.float32), (400, 300))
    assert lifted.shape == (250, 17, 3)
    assert np.isfinite(lifted).all()


def test_what_is_missing_in_2d_is_missing_in_3d_and_harms_nothing_else(backend):
    xy = walking(30)
    sure = np.ones((30, 17), np.float32)
    whole = backend.lift(xy, sure, (400, 300))
    lost = sure.copy()
    lost[10:12, 9] = 0  # the left wrist, shortly
    lost[:, 15] = 0  # the left ankle, all along
    lost[20] = 0  # everything
    lifted = backend.lift(np.where(lost[..., None] > 0, xy, np.nan), lost, (400, 300))
    wrist, ankle = 13, 6
    assert np.isnan(lifted[10:12, wrist]).all()
    assert np.isnan(lifted[:, ankle]).all()
    assert np.isnan(lifted[20]).all()
    others = [joint for joint in range(17) if joint not in (wrist, ankle)]
    assert np.isfinite(lifted[:20][:, others]).all()
    assert np.isfinite(whole).all()
    assert np.isnan(backend.lift(xy, np.zeros_like(sure), (400, 300))).all()


def test_one_detector_of_people_and_faces_runs_once_for_both(folder, clip):
    from seizurelit.extraction.openmmlab_backend import OpenMMLabBackend
    from seizurelit.extraction.openmmlab_networks import build
    from seizurelit.extraction.smoke import random_weights

    network, _ = build(Model("ssdlite"), {"model.bbox_head.num_classes": 2})
    path = folder / "fitted.safetensors"
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, path, metadata=provenance(("p7",), classes=["person", "face"]))
    small = random_weights(Model("rtmpose-t_8xb256-420e_coco-256x192"), folder)
    backend = OpenMMLabBackend(OpenMMLabModels(Model("ssdlite", path), NONE, small, NONE, NONE, least_score=0.0))
    runs = []
    original = backend._people._run
    backend._people._run = lambda images: runs.append(len(images)) or original(images)
    people, faces = backend.find_people(clip[:2]), backend.find_faces(clip[:2])
    assert runs == [2]
    assert not np.array_equal(people[0][:5], faces[0][:5])
    backend.find_people(clip[2:4])
    assert runs == [2, 2]
    assert backend.weights[0].subjects_seen == ("p7",)
    assert backend.face_points is None
    assert backend.lifted_points is None
    assert backend.faces(clip[:1], [None]) == [None]


def test_weights_that_are_absent_are_asked_for(tmp_path):
    from seizurelit.extraction.openmmlab_backend import OpenMMLabBackend

    with pytest.raises(InputError, match=r"rtmdet_m_8xb32-100e.*\.pth: no such file.*https://download\.openmmlab\.com"):
        OpenMMLabBackend(OpenMMLabModels(folder=tmp_path))


def test_weights_of_another_model_are_refused(random):
    from seizurelit.extraction.openmmlab_networks import load

    wrong = random("ssdlite").weights
    for model in (Model("rtmpose", wrong), Model("rtmdet-nano", wrong), Model("videopose3d", wrong)):
        with pytest.raises(InputError, match="these are not the weights of"):
            load(model, None, "cpu")


def test_a_checkpoint_with_code_never_reaches_mmengine(tmp_path):
    from seizurelit.extraction.openmmlab_networks import load

    class Malware:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"state_dict": nn.Linear(1, 1).state_dict(), "meta": Malware()}, tmp_path / "net.pth")
    with pytest.raises(InputError, match="it was not loaded"):
        load(Model("rtmpose", tmp_path / "net.pth"), None, "cpu")
    assert not (tmp_path / "ran").exists()


def test_configurations_are_found_by_name_and_by_path(tmp_path):
    from seizurelit.extraction.openmmlab_networks import config_path, published

    path = config_path("rtmpose")
    assert path.stem == "rtmpose-m_8xb512-700e_body8-halpe26-256x192"
    assert config_path(str(path)) == path
    assert published(path).endswith("rtmpose-m_simcc-body7_pt-body7-halpe26_700e-256x192-4d3e73dd_20230605.pth")
    with pytest.raises(InputError, match=r"no configuration of this name.*such as"):
        config_path("rtmpose-m_8xb")
    with pytest.raises(InputError, match="no such file"):
        config_path(str(tmp_path / "mine.py"))


def test_a_model_of_other_points_is_refused(random):
    from seizurelit.extraction.openmmlab_backend import OpenMMLabBackend

    with pytest.raises(InputError, match="points are those of lapa; give a configuration for one of coco, halpe26"):
        OpenMMLabBackend(OpenMMLabModels(random("ssdlite"), NONE, random("lapa"), NONE, NONE))
    with pytest.raises(InputError, match="is no lifter"):
        OpenMMLabBackend(
            OpenMMLabModels(random("ssdlite"), NONE, random("rtmpose-t_8xb256-420e_coco-256x192"), NONE, random("lapa"))
        )


def test_the_terminal_stays_clean():
    code = (
        "from seizurelit.extraction.models import Model\n"
        "from seizurelit.extraction import openmmlab_backend, openmmlab_networks\n"
        "openmmlab_networks.build(Model('ssdlite'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_bf16_is_what_bfloat16_rounds_of_the_trunk(random):
    from seizurelit.extraction.openmmlab_networks import load

    model = random("rtmpose-coco")
    plain, rounded = (load(model, None, "cpu", precision=name).module for name in ("fp32", "bf16"))
    x = torch.randn(2, 3, 256, 192, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted, found = plain.extract_feat(x)[-1], rounded.extract_feat(x)[-1]
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).norm() < 0.05 * wanted.norm()
