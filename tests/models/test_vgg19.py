"""VGG-19 of FER2013: its size, its features, its crops, and the published form of its weights."""

import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from seizurelit.models.vgg19 import CROP, SIZE, Vgg19, centre_crops, from_published, ten_crop_logits


def test_it_is_vgg19_with_batch_norm():
    network = Vgg19()
    published = make_layers(cfgs["E"], batch_norm=True)  # for three colours
    assert list(map(type, network.convolutions)) == list(map(type, published))
    ours = [tuple(parameter.shape) for parameter in network.convolutions.parameters()]
    assert ours[0] == (64, 1, 3, 3)
    assert ours[1:] == [tuple(parameter.shape) for parameter in published.parameters()][1:]
    assert (network.classifier.in_features, network.classifier.out_features) == (512, 7)


def test_the_features_are_what_the_classifier_is_given():
    torch.manual_seed(0)
    network = Vgg19(width=4).eval()
    faces = torch.rand(3, 1, CROP, CROP)
    features = network.features(faces)
    assert features.shape == (3, 32)
    assert (features >= 0).all()
    torch.testing.assert_close(network.classifier(features), network(faces))


def test_dropout_is_for_training_alone_and_stands_before_the_classifier():
    torch.manual_seed(0)
    network = Vgg19(width=4, dropout=0.5).eval()
    faces = torch.rand(8, 1, CROP, CROP)
    assert torch.equal(network(faces), network(faces))
    network.dropout.train()
    assert not torch.equal(network(faces), network(faces))
    assert torch.equal(network.features(faces), network.features(faces))


def test_ten_crops_are_the_corners_the_middle_and_their_mirrors():
    seen = []

    def watch(crops):
        seen.append(crops)
        return crops.mean((2, 3)).expand(-1, 7)

    images = torch.arange(2 * SIZE * SIZE, dtype=torch.float32).view(2, 1, SIZE, SIZE)
    logits = ten_crop_logits(watch, images)
    assert logits.shape == (2, 7)
    crops = seen[0].view(10, 2, 1, CROP, CROP)
    assert torch.equal(crops[0, :, 0, 0, 0], images[:, 0, 0, 0])
    assert torch.equal(crops[3, :, 0, -1, -1], images[:, 0, -1, -1])
    assert torch.equal(crops[4], centre_crops(images))
    assert torch.equal(crops[5:], crops[:5].flip(-1))
    torch.testing.assert_close(logits[:, 0], images.mean((1, 2, 3)))  # they lie evenly about the middle


def test_a_mirror_image_has_the_same_ten_crop_score():
    torch.manual_seed(0)
    network = Vgg19(width=4).eval()
    images = torch.rand(4, 1, SIZE, SIZE)
    torch.testing.assert_close(ten_crop_logits(network, images), ten_crop_logits(network, images.flip(3)))


def test_published_weights_of_three_equal_channels_compute_the_same():
    torch.manual_seed(0)
    network = Vgg19(width=4).eval()
    published = nn.Sequential(*network.convolutions)
    published[0] = nn.Conv2d(3, 4, 3, padding=1)
    state = {f"features.{name}": tensor for name, tensor in published.state_dict().items()}
    state |= {f"classifier.{name}": tensor for name, tensor in network.classifier.state_dict().items()}
    faces = torch.rand(2, 1, CROP, CROP)
    with torch.no_grad():
        expected = published(faces.expand(-1, 3, -1, -1)).flatten(1)
    network.load_state_dict(from_published(state))
    torch.testing.assert_close(network.features(faces), expected)


def test_our_own_state_stays_as_it_is():
    state = Vgg19(width=2).state_dict()
    ours = from_published(state)
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[name], state[name]) for name in state)
