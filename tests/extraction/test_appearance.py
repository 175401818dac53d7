"""Crops and features: eyes level on real and turned faces, what is missing stays missing, and what is no weights is refused."""

import contextlib
import json
import math
import pickle
import urllib.error
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet50, resnet101

from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.points import FACE, translate
from seizurelit.errors import InputError
from seizurelit.extraction import appearance
from seizurelit.extraction.appearance import (
    BODY_SIZE,
    EYE_DISTANCE,
    EYE_HEIGHT,
    AppearanceModel,
    Missing,
    align_face,
    body_appearance,
    crop_body,
    face_appearance,
)
from seizurelit.extraction.weights import provenance
from seizurelit.models.vgg19 import SIZE, Vgg19, centre_crops

RIGHT_EYE, LEFT_EYE, NOSTRILS = [6, 8], [10, 12], [15, 16]
"""Places of ibug-36, 39, 42, 45, 31 and 35 in face23."""


def points(centre=(160, 120), distance=40.0, angle=0.0, drop=0.6):
    """(23, 2): eyes and nostrils of a face, its other landmarks at its middle."""
    flat = np.zeros((23, 2), np.float32)
    flat[RIGHT_EYE] = [[-0.5 * distance - 5, 0], [-0.5 * distance + 5, 0]]
    flat[LEFT_EYE] = [[0.5 * distance - 5, 0], [0.5 * distance + 5, 0]]
    flat[NOSTRILS] = [[-4, drop * distance], [4, drop * distance]]
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return (flat @ turn + centre).astype(np.float32)


def dotted(keypoints, size=(320, 240), radius=5):
    """An image with a white disc on each eye's middle."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for eye in (RIGHT_EYE, LEFT_EYE):
        x, y = keypoints[eye].mean(axis=0)
        cv2.circle(
            image, (round(float(x) * 16), round(float(y) * 16)), radius * 16, (255, 255, 255), -1, cv2.LINE_AA, 4
        )
    return image


def eyes_of(crop):
    """Centres of the bright spots of the left and right half of a crop."""
    centres = []
    for left in (0, SIZE // 2):
        half = crop[:, left : left + SIZE // 2].astype(float)
        y, x = np.mgrid[: half.shape[0], : half.shape[1]]
        centres.append((left + (x * half).sum() / half.sum() + 0.5, (y * half).sum() / half.sum() + 0.5))
    return np.array(centres)


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.2, math.pi / 2, 3.0])
@pytest.mark.parametrize("distance", [25.0, 60.0])
def test_eyes_lie_level_and_in_their_place_however_the_face_is_turned(angle, distance):
    keypoints = points(distance=distance, angle=angle)
    crop = align_face(dotted(keypoints), keypoints)
    assert (crop.shape, crop.dtype) == ((48, 48), np.uint8)
    wanted = [
        [SIZE / 2 - EYE_DISTANCE * SIZE / 2, EYE_HEIGHT * SIZE],
        [SIZE / 2 + EYE_DISTANCE * SIZE / 2, EYE_HEIGHT * SIZE],
    ]
    np.testing.assert_allclose(eyes_of(crop), wanted, atol=1.0)


def test_a_face_turned_aside_is_not_magnified_by_its_eyes_coming_together():
    front, aside = points(distance=40, drop=0.72), points(distance=20, drop=1.44)
    crop = align_face(dotted(aside), aside)
    between = np.hypot(*np.diff(eyes_of(crop), axis=0)[0])
    assert between == pytest.approx(EYE_DISTANCE * SIZE / 2, abs=1)
    assert np.hypot(*np.diff(eyes_of(align_face(dotted(front), front)), axis=0)[0]) == pytest.approx(
        EYE_DISTANCE * SIZE, abs=1
    )


def test_a_large_face_is_averaged_and_not_sampled():
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.integers(0, 256, (720, 1280, 1), np.uint8), 3, axis=2)
    large = align_face(noise, points((640, 300), distance=240))
    assert large.std() < 20  # a pixel is the mean of twelve by twelve; the noise alone has 74
    assert large.mean() == pytest.approx(127.5, abs=3)


def test_a_face_at_the_edge_of_the_image_has_a_crop():
    crop = align_face(np.full((100, 100, 3), 200, np.uint8), points((5, 5), distance=40))
    assert (crop == 200).all()


@pytest.mark.parametrize("joint", [*RIGHT_EYE, *LEFT_EYE])
def test_without_the_corner_of_an_eye_there_is_no_crop(joint):
    keypoints = points()
    keypoints[joint] = np.nan
    assert align_face(np.zeros((240, 320, 3), np.uint8), keypoints) is None


def test_a_face_without_a_nose_has_its_crop_and_one_of_three_pixels_has_none():
    keypoints = points()
    keypoints[NOSTRILS] = np.nan
    assert align_face(dotted(keypoints), keypoints) is not None
    assert align_face(dotted(keypoints), points(distance=3)) is None


def test_a_real_face_is_aligned(shared):
    av = pytest.importorskip("av")
    solutions = pytest.importorskip("mediapipe").solutions
    with av.open(str(shared / "data/clips/pyfeat_single_face.mp4")) as video:
        frame = next(video.decode(video=0)).to_ndarray(format="rgb24")
    height, width = frame.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 35, 1.0)
    with solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        landmarks = mesh.process(frame).multi_face_landmarks[0].landmark
    found = np.array([[point.x * width, point.y * height] for point in landmarks], np.float32)
    keypoints, _ = translate(FACE["mediapipe478"], found, np.ones(478, np.float32))
    upright = align_face(frame, keypoints)
    turned = cv2.warpAffine(frame, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    again = align_face(turned, (keypoints @ turn[:, :2].T + turn[:, 2]).astype(np.float32))
    assert np.abs(upright.astype(int) - again).mean() < 4
    # Pupils and brows are darker than the cheeks, and a face is about the same on both sides.
    eyes, cheeks = upright[16:21, 10:38].mean(), upright[24:30, 10:38].mean()
    assert eyes < cheeks - 10
    halves = upright[8:44, 4:24].astype(float), upright[8:44, 24:44][:, ::-1].astype(float)
    assert np.corrcoef(halves[0].ravel(), halves[1].ravel())[0, 1] > 0.5


def test_a_body_keeps_its_proportions_and_its_surroundings():
    image = np.zeros((240, 320, 3), np.uint8)
    image[100:140, 60:260] = (255, 0, 0)  # 200×40
    crop = crop_body(image, np.array([60, 100, 260, 140], np.float32))
    assert crop.shape == (BODY_SIZE, BODY_SIZE, 3)
    red = crop[..., 0] > 127
    assert red.any(axis=0).sum() == pytest.approx(BODY_SIZE / 1.1, abs=2)
    assert red.any(axis=1).sum() == pytest.approx(BODY_SIZE / 1.1 / 5, abs=2)


def test_beyond_the_image_a_body_crop_has_imagenets_mean():
    crop = crop_body(np.full((100, 100, 3), 255, np.uint8), np.array([0, 0, 50, 100], np.float32))
    assert (crop[:, 0] == [124, 116, 104]).all()
    assert (crop[112, 112] == 255).all()


@pytest.mark.parametrize("box", [[np.nan] * 4, [-50, 0, -1, 50], [10, 10, 10, 60], [0, 200, 50, 300]])
def test_no_body_in_the_image_is_no_crop(box):
    assert crop_body(np.zeros((100, 100, 3), np.uint8), np.array(box, np.float32)) is None


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    network = Vgg19(width=4)
    with torch.no_grad():
        network(torch.rand(64, 1, 44, 44))  # running statistics that are not the start's
    return network.eval()


@pytest.fixture
def vgg_file(vgg, tmp_path):
    path = tmp_path / "vgg.safetensors"
    save_file(vgg.state_dict(), path, metadata=provenance((), data="FER2013"))
    return path


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return resnet50(weights=None).eval()


@pytest.fixture(scope="module")
def resnet_file(resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("resnet") / "resnet50-0676ba61.pth"
    torch.save(resnet.state_dict(), path)
    return path


def faces(count):
    return [*np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE), np.uint8)]


def test_the_face_features_are_the_networks_own(vgg, vgg_file):
    model = face_appearance(vgg_file)
    assert isinstance(model, AppearanceModel)
    crops = faces(11)
    found = model.features(crops)
    assert (found.shape, found.dtype, model.size) == ((11, 32), np.float16, 32)
    with torch.no_grad():
        expected = vgg.features(centre_crops(torch.from_numpy(np.stack(crops)).unsqueeze(1)).float() / 255)
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=2e-3)


def test_the_body_features_are_resnets_pooled_2048(resnet, resnet_file):
    model = body_appearance(resnet_file)
    assert isinstance(model, AppearanceModel)
    crops = [*np.random.default_rng(0).integers(0, 256, (2, BODY_SIZE, BODY_SIZE, 3), np.uint8)]
    found = model.features(crops)
    assert (found.shape, model.size, model.subjects_seen) == ((2, 2048), 2048, ())
    pooled = []
    hook = resnet.avgpool.register_forward_hook(lambda _module, _input, output: pooled.append(output.flatten(1)))
    image = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        resnet((image - mean) / std)
    hook.remove()
    np.testing.assert_allclose(found, pooled[0], atol=1e-3, rtol=2e-3)


def test_a_frame_without_a_crop_is_a_row_of_nan_that_the_cache_takes(vgg_file):
    model = face_appearance(vgg_file)
    crops = faces(3)
    found = model.features([None, crops[0], None, crops[1], crops[2]])
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(found[[1, 3, 4]], model.features(crops))
    assert np.isnan(model.features([None, None])).all()
    assert model.features([]).shape == (0, 32)
    about = Metadata("s", "p", "face", 25.0, 5.0, None, "0", "x", "0", model.weights_digest, model.subjects_seen)
    SeizureTensors(about, {"face.appearance": found})


def test_the_number_of_crops_at_a_time_changes_nothing_that_matters(vgg_file):
    model = face_appearance(vgg_file)
    crops = faces(19)
    one = np.concatenate([model.features([crop]) for crop in crops])
    np.testing.assert_allclose(model.features(crops), one, atol=1e-3, rtol=2e-3)


def test_digests_tell_the_models_and_their_weights(vgg, vgg_file, tmp_path, resnet_file):
    other = tmp_path / "other.safetensors"
    state = {name: tensor.clone() for name, tensor in vgg.state_dict().items()}
    state["classifier.bias"] += 1
    save_file(state, other)
    first, second, body = face_appearance(vgg_file), face_appearance(other), body_appearance(resnet_file)
    assert first.digest == second.digest != body.digest
    assert first.weights_digest != second.weights_digest
    assert (first.name, body.name) == ("vgg19-fer2013", "resnet50")


def test_subjects_that_the_weights_saw_are_told(vgg, tmp_path, resnet, resnet_file):
    path = tmp_path / "seen.safetensors"
    save_file(vgg.state_dict(), path, metadata=provenance(("p2", "p1")))
    assert face_appearance(path).subjects_seen == ("p1", "p2")
    copy = tmp_path / "finetuned.pth"
    copy.write_bytes(resnet_file.read_bytes())
    copy.with_name("finetuned.pth.json").write_text(json.dumps({"subjects_seen": ["p3"]}))
    assert body_appearance(copy).subjects_seen == ("p3",)


def test_published_weights_under_their_own_names_are_taken(vgg, vgg_file, tmp_path):
    state = {}
    for name, tensor in vgg.state_dict().items():
        renamed = name.replace("convolutions.", "module.features.")
        three = renamed == "module.features.0.weight"
        state[renamed] = tensor.expand(-1, 3, -1, -1) / 3 if three else tensor
    path = tmp_path / "published.pth"
    torch.save({"state_dict": state, "acc": 73.1}, path)
    crops = faces(2)
    np.testing.assert_allclose(
        face_appearance(path).features(crops), face_appearance(vgg_file).features(crops), atol=1e-3, rtol=2e-3
    )


def test_without_weights_the_reason_says_which_file_from_where_and_where_it_goes(tmp_path):
    face, body = face_appearance(folder=tmp_path), body_appearance(folder=tmp_path)
    assert isinstance(face, Missing)
    assert isinstance(body, Missing)
    assert str(tmp_path / "vgg19_fer2013.safetensors") in face.reason
    assert "python -m seizurelit.pretrain --fer2013 fer2013.csv" in face.reason
    assert str(tmp_path / "resnet50-0676ba61.pth") in body.reason
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in body.reason
    assert "\n" not in face.reason + body.reason


def test_the_folder_of_weights_is_looked_into(vgg, resnet_file, tmp_path):
    save_file(vgg.state_dict(), tmp_path / "vgg19_fer2013.safetensors")
    assert isinstance(face_appearance(folder=tmp_path), AppearanceModel)
    assert isinstance(body_appearance(folder=resnet_file.parent), AppearanceModel)
    assert isinstance(body_appearance("IMAGENET1K_V1", resnet_file.parent), AppearanceModel)


def test_by_name_where_there_is_no_internet_is_missing_with_the_reason(tmp_path, monkeypatch):
    def offline(url, timeout):
        msg = "Name or service not known"
        raise urllib.error.URLError(msg)

    monkeypatch.setattr("urllib.request.urlopen", offline)
    missing = body_appearance("IMAGENET1K_V2", tmp_path)
    assert isinstance(missing, Missing)
    assert "cannot be downloaded" in missing.reason
    assert "resnet50-11ad3fa6.pth" in missing.reason
    assert list(tmp_path.iterdir()) == []


def test_by_name_where_there_is_internet_is_fetched_and_checked(tmp_path, monkeypatch, resnet_file):
    import hashlib

    class Served(contextlib.nullcontext):
        pass

    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Served())
    real = torch.hub.download_url_to_file
    digest = hashlib.sha256(resnet_file.read_bytes()).hexdigest()[:8]

    def from_disk(url, target, hash_prefix, progress):
        assert hash_prefix == "0676ba61"  # what torchvision names the file by
        monkeypatch.undo()
        real(resnet_file.as_uri(), target, hash_prefix=digest, progress=progress)

    monkeypatch.setattr(torch.hub, "download_url_to_file", from_disk)
    assert isinstance(body_appearance("IMAGENET1K_V1", tmp_path / "new"), AppearanceModel)
    assert (tmp_path / "new" / "resnet50-0676ba61.pth").read_bytes() == resnet_file.read_bytes()


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def one_line(call, *words):
    with pytest.raises(InputError) as raised:
        call()
    assert len(raised.value.faults) == 1
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value)


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    for name, write in (
        ("zip.pth", torch.save),
        ("old.pth", lambda value, path: path.write_bytes(pickle.dumps(value))),
    ):
        write({"conv1.weight": _Evil(marker)}, tmp_path / name)
        one_line(lambda name=name: body_appearance(tmp_path / name), name, "not loaded")
        one_line(lambda name=name: face_appearance(tmp_path / name), name, "not loaded")
    assert not marker.exists()


def test_a_truncated_or_empty_file_is_refused(vgg_file, resnet_file, tmp_path):
    for source, load in ((vgg_file, face_appearance), (resnet_file, body_appearance)):
        for share in (0, 0.01, 0.6):
            path = tmp_path / f"cut{source.suffix}"
            content = source.read_bytes()
            path.write_bytes(content[: int(share * len(content))])
            one_line(lambda load=load, path=path: load(path), str(path), "damaged")


def test_a_named_file_that_is_not_there_is_a_fault_of_its_own(tmp_path):
    one_line(lambda: face_appearance(tmp_path / "no.pth"), "no such file")
    one_line(lambda: body_appearance(tmp_path / "no.pth"), "no such file")


def test_another_models_weights_are_refused(vgg_file, resnet_file, tmp_path):
    one_line(lambda: face_appearance(resnet_file), "VGG-19 of FER2013")
    one_line(lambda: body_appearance(vgg_file), "torchvision's ResNet-50")
    deeper = tmp_path / "resnet101.pth"
    torch.save(resnet101(weights=None).state_dict(), deeper)  # has all that ResNet-50 has
    one_line(lambda: body_appearance(deeper), "torchvision's ResNet-50", "layer3.6")
    scalars = tmp_path / "scalars.pth"
    torch.save({"convolutions.0.weight": torch.tensor(1.0), "classifier.weight": torch.tensor(1.0)}, scalars)
    one_line(lambda: face_appearance(scalars), "VGG-19 of FER2013")


def test_weights_that_are_no_numbers_are_refused(vgg, tmp_path):
    state = {name: tensor.clone() for name, tensor in vgg.state_dict().items()}
    state["convolutions.3.weight"][0] = torch.nan
    save_file(state, tmp_path / "nan.safetensors")
    one_line(lambda: face_appearance(tmp_path / "nan.safetensors"), "convolutions.3.weight", "no numbers")


def test_the_framing_constants_are_in_the_digest(vgg_file, monkeypatch):
    before = face_appearance(vgg_file).digest
    monkeypatch.setattr(appearance, "EYE_DISTANCE", 0.5)
    assert face_appearance(vgg_file).digest != before
