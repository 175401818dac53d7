"""Keypoint R-CNN through the backend gives what torchvision's own forward pass gives."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from seizurelit.errors import InputError
from seizurelit.extraction.models import TorchvisionModels

pytest.importorskip("torchvision", reason="torchvision is not installed; make env-dev")

from torchvision.models.detection import keypointrcnn_resnet50_fpn

from seizurelit.extraction.torchvision_backend import TorchvisionBackend

SIDE = 120


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(3)
    network = keypointrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, min_size=SIDE, max_size=SIDE * 5 // 3, box_score_thresh=0.3
    )
    return network.eval()


@pytest.fixture(scope="module")
def backend(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "keypointrcnn.pth"
    torch.save(original.state_dict(), path)
    return TorchvisionBackend(TorchvisionModels(str(path), short_side=SIDE, least_score=0.3, batch=2))


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (2, 6, 10, 3), np.uint8)
    return [np.ascontiguousarray(image.repeat(20, axis=0).repeat(16, axis=1)) for image in coarse]


@pytest.fixture(scope="module")
def expected(original, images):
    with torch.inference_mode():
        return original([torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images])


def test_people_are_those_of_torchvision(backend, images, expected):
    found = backend.find_people(images)
    assert len(found) == len(images)
    for mine, theirs in zip(found, expected, strict=True):
        assert len(mine) == len(theirs["boxes"]) > 0
        np.testing.assert_allclose(mine[:, :4], theirs["boxes"].numpy(), rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(mine[:, 4], theirs["scores"].numpy(), rtol=1e-5)


def test_points_in_a_given_box_are_those_of_torchvision(backend, images, expected):
    boxes = [theirs["boxes"][0].numpy() for theirs in expected]
    bodies = backend.bodies(images, boxes)
    for body, theirs in zip(bodies, expected, strict=True):
        np.testing.assert_allclose(body.xy, theirs["keypoints"][0, :, :2].numpy(), rtol=1e-3, atol=0.5)
        order = np.argsort(theirs["keypoints_scores"][0].numpy())
        assert (np.diff(body.confidence[order]) >= 0).all()
        assert body.xyz is None


def test_frames_without_a_box_have_no_body_and_do_not_shift_the_others(backend, images):
    box = np.array([10, 10, 100, 110], np.float32)
    alone = backend.bodies(images[1:], [box])[0]
    none, body = backend.bodies(images, [None, box])
    assert none is None
    np.testing.assert_allclose(body.xy, alone.xy, atol=1e-3)
    assert backend.bodies(images, [None, None]) == [None, None]


def test_it_knows_no_faces_and_no_third_dimension(backend, images):
    assert [boxes.shape for boxes in backend.find_faces(images)] == [(0, 5)] * 2
    assert backend.faces(images, [None, None]) == [None, None]
    assert backend.lift(np.zeros((2, 17, 2)), np.ones((2, 17)), (160, 120)) is None


def test_the_digest_is_of_the_options_not_of_the_place(backend, tmp_path):
    moved = TorchvisionBackend.__new__(TorchvisionBackend)
    moved._models = TorchvisionModels(str(tmp_path / "x.pth"), tmp_path, short_side=SIDE, least_score=0.3, batch=2)
    assert moved.digest == backend.digest
    moved._models = TorchvisionModels(short_side=SIDE + 1, least_score=0.3, batch=2)
    assert moved.digest != backend.digest


def test_weights_that_are_absent_are_asked_for(tmp_path):
    with pytest.raises(
        InputError, match=r"keypointrcnn_resnet50_fpn_coco-fc266e95\.pth.*download\.pytorch\.org.*COCO_V1"
    ):
        TorchvisionBackend(TorchvisionModels(folder=tmp_path))


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match="not the weights of keypointrcnn_resnet50_fpn"):
        TorchvisionBackend(TorchvisionModels(str(tmp_path / "other.pth")))


def test_a_name_is_downloaded_and_says_so_where_there_is_no_internet(tmp_path, monkeypatch):
    asked = []

    def offline(url, *_, **__):
        asked.append(url)
        msg = "no route to host"
        raise URLError(msg)

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(InputError, match=r"cannot be downloaded.*no route to host") as refused:
        TorchvisionBackend(TorchvisionModels("COCO_V1", tmp_path))
    assert asked == ["https://download.pytorch.org/models/keypointrcnn_resnet50_fpn_coco-fc266e95.pth"]
    assert str(tmp_path / "keypointrcnn_resnet50_fpn_coco-fc266e95.pth") in str(refused.value)
