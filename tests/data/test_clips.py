"""Laws of normalisation, augmentation and channels."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seizurelit.cohort.skeleton import Skeleton, built_in
from seizurelit.config import Augmentation, Inputs
from seizurelit.data.augment import augment_appearance, augment_keypoints, draw, flip_keypoints, flip_where, refuse_flip
from seizurelit.data.inputs import bones, channels_in, displacement, keypoint_channels, motion
from seizurelit.data.normalise import (
    face_camera,
    left_moves_more,
    normalise,
    rotate,
    standard_proportions,
    track,
    turned_plane,
)
from seizurelit.errors import InputError

SKELETONS = {name: built_in(name) for name in ("body11", "face23")}
names = st.sampled_from(sorted(SKELETONS))
seeds = st.integers(0, 2**31)


def clip(skeleton: Skeleton, seed: int, *, missing: float = 0.2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keypoints (2, 3, 9, V, C), confidence and root of random clips; what is missing is 0."""
    generator = torch.Generator().manual_seed(seed)
    V, C = len(skeleton.joints), skeleton.dimensions
    confidence = torch.rand(2, 3, 9, V, generator=generator).clamp(min=0.1)
    confidence = confidence * (torch.rand(2, 3, 9, V, generator=generator) >= missing)
    keypoints = torch.randn(2, 3, 9, V, C, generator=generator) * (confidence > 0).unsqueeze(-1)
    return keypoints, confidence, torch.randn(2, 3, 9, C, generator=generator)


@given(names, seeds)
def test_a_flip_twice_is_the_identity(name: str, seed: int):
    skeleton = SKELETONS[name]
    keypoints, confidence, _ = clip(skeleton, seed)
    once = flip_keypoints(keypoints, confidence, skeleton)
    twice = flip_keypoints(*once, skeleton)
    assert torch.equal(twice[0], keypoints)
    assert torch.equal(twice[1], confidence)
    assert not torch.equal(once[0], keypoints)
    # Features of a flipped clip are the flipped features: bones are vectors between joints that swap together.
    straight = flip_keypoints(bones(keypoints, confidence > 0, skeleton), confidence, skeleton)[0]
    if name == "body11":  # its tree is its own mirror image
        torch.testing.assert_close(bones(once[0], once[1] > 0, skeleton), straight)
    torch.testing.assert_close(
        motion(once[0], once[1] > 0), flip_keypoints(motion(keypoints, confidence > 0), confidence, skeleton)[0]
    )


@given(names, seeds, st.floats(-10, 10))
def test_a_rotation_keeps_lengths_and_the_vertical(name: str, seed: int, angle: float):
    skeleton = SKELETONS[name]
    keypoints, _, _ = clip(skeleton, seed)
    turned = rotate(keypoints, torch.full((2, 3), angle), skeleton)
    torch.testing.assert_close(turned.norm(dim=-1), keypoints.norm(dim=-1), rtol=1e-4, atol=1e-5)
    if skeleton.dimensions == 3:
        assert torch.equal(turned[..., 1], keypoints[..., 1])
    torch.testing.assert_close(rotate(turned, torch.full((2, 3), -angle), skeleton), keypoints, rtol=1e-4, atol=1e-5)


@given(names, seeds, st.floats(0.01, 100), st.floats(-50, 50))
@settings(deadline=None)
def test_normalisation_does_not_see_where_and_how_large_a_clip_is(name: str, seed: int, size: float, shift: float):
    skeleton = SKELETONS[name]
    keypoints, confidence, root = clip(skeleton, seed)
    seen = confidence > 0
    expected, path = normalise(keypoints, seen, root, skeleton)
    moved, moved_path = normalise(size * (keypoints + shift), seen, size * (root + shift), skeleton)
    # A tolerance that grows with the shift, since the sum has rounded the coordinates.
    tolerance = 1e-4 * (1 + abs(shift))
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=tolerance)
    torch.testing.assert_close(moved_path, path, rtol=1e-3, atol=2 * tolerance)
    assert (expected[~seen] == 0).all()


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_the_normalised_unit_is_one_and_the_root_is_the_origin(name: str):
    skeleton = SKELETONS[name]
    keypoints, confidence, _ = clip(skeleton, 0, missing=0)
    normalised, path = normalise(keypoints, confidence > 0, None, skeleton)
    a, b = skeleton.scale
    distance = (normalised[..., a, :] - normalised[..., b, :]).norm(dim=-1).median(-1).values
    torch.testing.assert_close(distance, torch.ones(2, 3))
    assert (normalised[..., skeleton.root, :] == 0).all()
    assert (path[..., 0, :] == 0).all()
    assert path.abs().sum() > 0


def test_a_missing_root_stays_where_it_was_last_seen():
    keypoints = torch.arange(5.0).view(1, 5, 1, 1)
    seen = torch.tensor([[False, True, False, False, True]]).unsqueeze(-1)
    assert track(keypoints, seen, 0).flatten().tolist() == [1, 1, 1, 1, 4]
    assert track(keypoints, torch.zeros_like(seen), 0).flatten().tolist() == [0] * 5


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_a_clip_in_which_nothing_is_seen_is_zero(name: str):
    skeleton = SKELETONS[name]
    keypoints, confidence, root = clip(skeleton, 0)
    confidence[0, 0] = 0
    keypoints[0, 0] = 0
    normalised, path = normalise(keypoints, confidence > 0, root, skeleton)
    turned, _ = face_camera(normalised, path, confidence > 0, skeleton)
    assert turned.isfinite().all()
    assert (turned[0, 0] == 0).all()


def test_how_a_clip_is_turned_does_not_depend_on_how_many_others_there_are():
    skeleton = SKELETONS["body11"]
    torch.manual_seed(0)
    keypoints, path = torch.randn(67, 1, 9, len(skeleton.joints), 3), torch.randn(67, 1, 9, 3)
    seen = torch.rand(keypoints.shape[:-1]) > 0.2
    together = face_camera(keypoints, path, seen, skeleton)
    for size in (1, 8, 33):
        parts = [
            face_camera(*one, skeleton) for one in zip(*(x.split(size) for x in (keypoints, path, seen)), strict=True)
        ]
        for whole, split in zip(together, zip(*parts, strict=True), strict=True):
            assert torch.equal(whole, torch.cat(split))


@given(seeds, st.floats(-3, 3))
def test_facing_takes_the_direction_of_the_camera_away(seed: int, angle: float):
    skeleton = SKELETONS["body11"]
    assert turned_plane(skeleton) == (0, 2)
    keypoints, confidence, path = clip(skeleton, seed)
    # Shoulders whose line turns little, so that its median has a direction.
    left, right = skeleton.facing
    keypoints[..., left, :] = torch.tensor([-1.0, 0.3, 0.2])
    keypoints[..., right, :] = torch.tensor([1.0, 0.3, 0.1])
    seen = torch.ones_like(confidence, dtype=torch.bool)
    expected, _ = face_camera(keypoints, path, seen, skeleton)
    line = expected[..., right, :] - expected[..., left, :]
    torch.testing.assert_close(line[..., 2], torch.zeros(2, 3, 9), atol=1e-5, rtol=0)
    assert (line[..., 0] > 0).all()
    filmed = rotate(keypoints, torch.full((2, 3), angle), skeleton)
    torch.testing.assert_close(face_camera(filmed, path, seen, skeleton)[0], expected, rtol=1e-4, atol=1e-4)


EVERY = Augmentation(flip=0.5, rotation=0.5, scale=0.2, speed=0.3, noise=0.1, joint_dropout=0.3, feature_dropout=0.4)


@given(seeds)
def test_standard_proportions_do_not_tell_one_body_from_another(seed: int):
    """Two bodies of other bones in the same posture come out alike, with the bones that the skeleton states."""
    skeleton = SKELETONS["body11"]
    keypoints, confidence, _ = clip(skeleton, seed, missing=0.0)
    seen = confidence > 0
    keypoints = keypoints - keypoints[..., [skeleton.root], :]
    generator = torch.Generator().manual_seed(seed)
    other = keypoints.clone()
    parents = skeleton.parents
    for child in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10):  # parents first
        longer = 0.5 + torch.rand((), generator=generator)
        other[..., child, :] = (
            other[..., parents[child], :] + (keypoints[..., child, :] - keypoints[..., parents[child], :]) * longer
        )
    one = standard_proportions(keypoints, seen, skeleton)
    torch.testing.assert_close(standard_proportions(other, seen, skeleton), one, rtol=1e-4, atol=1e-4)
    lengths = bones(one, seen, skeleton).norm(dim=-1)
    stated = torch.tensor(skeleton.lengths).expand(2, 3, 9, -1)
    torch.testing.assert_close(lengths[..., [child for child, _ in skeleton.bones]], stated, rtol=1e-3, atol=1e-3)
    # A missing elbow moves the wrist nearer, and leaves every joint that does not hang on it.
    seen[..., 4] = False
    without = standard_proportions(keypoints * seen.unsqueeze(-1), seen, skeleton)
    kept = [joint for joint in range(11) if joint not in (4, 5)]
    torch.testing.assert_close(without[..., kept, :], one[..., kept, :])
    assert not without[..., 4, :].any()
    reach = (without[..., 5, :] - without[..., 3, :]).norm(dim=-1)
    torch.testing.assert_close(reach, torch.full_like(reach, skeleton.lengths[4]), rtol=1e-3, atol=1e-3)


@given(names, seeds)
def test_what_is_missing_stays_missing_and_zero(name: str, seed: int):
    skeleton = SKELETONS[name]
    keypoints, confidence, path = clip(skeleton, seed)
    drawn = draw(EVERY, 2, 3, torch.Generator().manual_seed(seed))
    changed, sure, _ = augment_keypoints(keypoints, confidence, path, drawn, settings=EVERY, skeleton=skeleton)
    assert (changed[sure == 0] == 0).all()
    unflipped = torch.where(drawn.flip[..., None, None], flip_keypoints(keypoints, sure, skeleton)[1], sure)
    assert (unflipped[confidence == 0] == 0).all()


def test_nothing_asked_is_nothing_done():
    skeleton = SKELETONS["body11"]
    none = Augmentation(flip=0, rotation=0, scale=0, joint_dropout=0)
    keypoints, confidence, path = clip(skeleton, 0)
    drawn = draw(none, 2, 3, torch.Generator().manual_seed(0))
    changed = augment_keypoints(keypoints, confidence, path, drawn, settings=none, skeleton=skeleton)
    assert all(torch.equal(a, b) for a, b in zip(changed, (keypoints, confidence, path), strict=True))
    features = torch.randn(2, 3, 5, 7)
    assert torch.equal(augment_appearance(features, drawn, none), features)


def test_a_draw_uses_the_generator_alike_whatever_is_asked():
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    for generator, wanted in zip(generators, (EVERY, Augmentation()), strict=True):
        draw(wanted, 4, 2, generator)
    assert torch.equal(*(torch.rand(5, generator=generator) for generator in generators))


def test_a_dropped_feature_is_zero_throughout_its_window():
    features = torch.ones(8, 4, 5, 50)
    dropped = augment_appearance(features, draw(EVERY, 8, 4, torch.Generator().manual_seed(0)), EVERY)
    assert ((dropped == 0).all(2) | (dropped != 0).all(2)).all()
    assert dropped.mean().item() == pytest.approx(1, abs=0.1)


def test_flips_of_sided_classes_are_refused():
    with pytest.raises(InputError, match="Left arm"):
        refuse_flip(Augmentation(), Inputs(), ("Left arm", "both"))
    refuse_flip(Augmentation(flip=0), Inputs(), ("Left arm", "both"))
    with pytest.raises(InputError, match=r"inputs\.side"):
        refuse_flip(Augmentation(flip=0), Inputs(side=True), ("Left arm", "both"))
    refuse_flip(Augmentation(), Inputs(side=True), ("0", "1"))


@pytest.mark.parametrize("name", sorted(SKELETONS))
@pytest.mark.parametrize("features", [("joint",), ("bone", "motion"), ("joint", "bone", "motion"), ("displacement",)])
@pytest.mark.parametrize("velocity", [False, True])
def test_channels_are_as_many_as_said_and_padding_is_zero(name: str, features: tuple[str, ...], velocity: bool):
    skeleton = SKELETONS[name]
    keypoints, confidence, path = clip(skeleton, 0)
    real = torch.arange(9).expand(2, 3, 9) < 6
    confidence, keypoints = confidence * real[..., None], keypoints * real[..., None, None]
    inputs = Inputs(features=features, root="velocity" if velocity else "none")
    x = keypoint_channels(keypoints, confidence, path, real, inputs=inputs, skeleton=skeleton, fps=25)
    assert x.shape == (2, 3, channels_in(inputs, skeleton), 9, len(skeleton.joints))
    assert (x[:, :, :, 6:] == 0).all()


def test_a_velocity_is_in_units_a_second():
    skeleton = SKELETONS["body11"]
    keypoints, confidence, _ = clip(skeleton, 0)
    path = torch.arange(9.0).view(1, 1, 9, 1).expand(2, 3, 9, 3) * 0.1
    inputs = dataclasses.replace(Inputs(), features=("joint",), root="velocity")
    real = torch.ones(2, 3, 9, dtype=torch.bool)
    x = keypoint_channels(keypoints, confidence, path, real, inputs=inputs, skeleton=skeleton, fps=25)
    assert x[0, 0, 3, 0, 0].item() == pytest.approx(2.5)
    assert x[0, 0, 3, -1, 0].item() == 0
    assert math.isclose(x[0, 0, 5, 4, 7].item(), 2.5, rel_tol=1e-4)


def test_the_root_joint_can_carry_its_path():
    skeleton = SKELETONS["body11"]
    keypoints, confidence, path = clip(skeleton, 0)
    real = torch.ones(2, 3, 9, dtype=torch.bool)
    confidence[..., skeleton.root] = 1
    given = {"inputs": Inputs(features=("joint", "bone", "motion"), root="path"), "skeleton": skeleton, "fps": 25}
    x = keypoint_channels(keypoints, confidence, path, real, **given)
    torch.testing.assert_close(x[:, :, :3, :, skeleton.root].transpose(-1, -2), path)
    torch.testing.assert_close(x[:, :, 6:9, :-1, skeleton.root].transpose(-1, -2), path[:, :, 1:] - path[:, :, :-1])
    given["inputs"] = Inputs(features=("joint", "bone", "motion"))
    plain = keypoint_channels(keypoints, confidence, path, real, **given)
    others = [joint for joint in range(11) if joint != skeleton.root]
    assert torch.equal(x[..., others], plain[..., others])
    assert torch.equal(x[:, :, 3:6], plain[:, :, 3:6])


def test_a_displacement_does_not_know_the_posture():
    """A joint that is held elsewhere throughout, missing frames and padding among them, has the same displacement, of mean 0."""
    keypoints, confidence, _ = clip(built_in("body11"), 3)
    seen = confidence > 0
    seen[..., -5:, :] = False
    keypoints = keypoints * seen.unsqueeze(-1)
    got = displacement(keypoints, seen)
    held = torch.randn(*keypoints.shape[:-3], 1, *keypoints.shape[-2:]) * seen.unsqueeze(-1)
    torch.testing.assert_close(displacement(keypoints + held, seen), got, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got.sum(-3), torch.zeros_like(got.sum(-3)), rtol=0, atol=1e-4)
    assert not got[~seen].any()
    assert got[seen].abs().max() > 0.1


def test_the_side_that_moves_more_is_found_and_mirrored_to_the_right():
    skeleton = SKELETONS["body11"]
    keypoints = torch.zeros(1, 2, 9, 11, 3)
    seen = torch.ones(1, 2, 9, 11, dtype=torch.bool)
    left, right = skeleton.flip[-1]
    keypoints[0, 0, :, left, 1] = torch.linspace(0, 1, 9)
    keypoints[0, 1, :, right, 1] = torch.linspace(0, 1, 9)
    assert left_moves_more(keypoints, seen, skeleton).tolist() == [[True, False]]
    path = torch.zeros(1, 2, 9, 3)
    chosen = left_moves_more(keypoints, seen, skeleton)
    flipped, confidence, _ = flip_where(chosen, keypoints, seen.float(), path, skeleton)
    assert not left_moves_more(flipped, confidence > 0, skeleton).any()
    seen[0, 0, :, left] = False
    assert left_moves_more(keypoints * seen[..., None], seen, skeleton).tolist() == [[False, False]]
