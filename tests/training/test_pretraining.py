"""Pretraining on files of FER2013's format: reading, faults by row, learning, choosing, resuming, what is saved."""

import dataclasses
import itertools
import json

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from seizurelit.errors import InputError
from seizurelit.extraction.weights import read_checkpoint
from seizurelit.models.vgg19 import EMOTIONS, Vgg19, ten_crop_logits
from seizurelit.training.options import Pretraining, Recipe
from seizurelit.training.pretraining import Fer2013DataModule, pretrain, random_crops, read_fer2013

SPLITS = ("Training", "PublicTest", "PrivateTest")


def draw_face(emotion: int, rng: np.random.Generator) -> np.ndarray:
    """(48, 48) uint8: a drawn face whose brows, eyes and mouth are of one of the seven emotions; its place and light vary."""
    #        mouth: curve, opening   brow: slope   eyes: opening
    shapes = [
        *[(-2, 0, 4, 2), (-4, 0, 0, 1), (-1, 4, -4, 4), (5, 1, 0, 2)],
        *[(-5, 0, -4, 1), (0, 7, 0, 5), (0, 0, 0, 2)],
    ]
    curve, opening, slope, eye = shapes[emotion]
    image = np.full((48, 48), rng.integers(20, 90), np.uint8)
    skin, dark = int(rng.integers(150, 230)), int(rng.integers(0, 60))
    x, y = rng.integers(-2, 3, 2) + 24
    cv2.ellipse(image, (int(x), int(y)), (18, 22), 0, 0, 360, skin, -1)
    for side in (-1, 1):
        cv2.ellipse(image, (int(x + 8 * side), int(y - 6)), (4, eye), 0, 0, 360, dark, -1)
        inner, outer = (int(x + 4 * side), int(y - 13 + slope)), (int(x + 12 * side), int(y - 13 - slope // 2))
        cv2.line(image, inner, outer, dark, 2)
    xs = np.arange(-8, 9)
    for gap in range(opening + 1):
        ys = y + 11 + curve * (1 - (xs / 8) ** 2) - curve / 2 + gap
        cv2.polylines(image, [np.stack([x + xs, ys], axis=1).round().astype(np.int32)], False, dark, 1)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def write_fer(path, counts=(28, 14, 14), seed=0, draw=draw_face, usages=SPLITS):
    rng = np.random.default_rng(seed)
    lines = ["emotion,pixels,Usage"]
    for usage, count in zip(usages, counts, strict=True):
        for index in range(count):
            emotion = index % 7
            lines.append(f"{emotion},{' '.join(map(str, draw(emotion, rng).ravel()))},{usage}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file of 56 faces."""
    return write_fer(tmp_path_factory.mktemp("fer") / "fer2013.csv")


QUICK = {"epochs": 3, "batch": 14, "width": 2, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """Weights of three epochs, trained without a stop."""
    return pretrain(Pretraining(fer2013=small, out=tmp_path_factory.mktemp("w") / "w.safetensors", **QUICK))


def edited(small, tmp_path, edit):
    lines = small.read_text().splitlines()
    edit(lines)
    path = tmp_path / "edited.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_images_labels_and_splits_are_those_of_the_file(small):
    data = read_fer2013(small)
    assert [len(data.splits[split].labels) for split in SPLITS] == [28, 14, 14]
    emotion, pixels, usage = small.read_text().splitlines()[30].split(",")
    assert usage == "PublicTest"
    faces = data.splits["PublicTest"]
    assert faces.labels[1] == int(emotion)
    assert faces.images.dtype == torch.uint8
    assert faces.images[1].flatten().tolist() == [int(value) for value in pixels.split()]
    assert data.repeated == 0


def test_the_columns_of_the_other_published_file_are_read_too(small, tmp_path):
    lines = [line.split(",") for line in small.read_text().splitlines()]
    other = tmp_path / "icml_face_data.csv"
    other.write_text("emotion, Usage, pixels\n" + "\n".join(f"{e},{u},{p}" for e, p, u in lines[1:]) + "\n")
    ours, theirs = read_fer2013(small), read_fer2013(other)
    assert all(torch.equal(ours.splits[s].images, theirs.splits[s].images) for s in SPLITS)


def test_private_images_that_training_has_are_counted(small, tmp_path):
    path = edited(small, tmp_path, lambda lines: lines.append(lines[1].replace("Training", "PrivateTest")))
    assert read_fer2013(path).repeated == 1


def _cell(row, column, value):
    def edit(lines):
        cells = lines[row - 1].split(",")
        cells[column] = value
        lines[row - 1] = ",".join(cells)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_cell(3, 0, "7"), "row 3: emotion '7' is none of 0 to 6"),
        (_cell(3, 0, ""), "row 3: emotion '' is none"),
        (_cell(4, 2, "Test"), "row 4: Usage 'Test' is none of Training, PublicTest, PrivateTest"),
        (_cell(5, 1, "1 2 3"), "row 5: pixels has 3 numbers, not 48·48 = 2304"),
        (_cell(5, 1, ""), "row 5: pixels has 0 numbers"),
        (_cell(6, 1, "256 " * 2304), "row 6: pixels has something else than whole numbers from 0 to 255"),
        (_cell(6, 1, "-1 " * 2304), "row 6: pixels has something else"),
        (_cell(6, 1, "1.5 " * 2304), "row 6: pixels has something else"),
        (_cell(7, 1, "1 2,3"), "row 7: has 4 cells, the header has 3"),
        (_cell(1, 2, "usage"), "row 1: there is no column 'Usage'; give fer2013.csv"),
        (lambda lines: lines.__delitem__(slice(29, 43)), "has no row whose Usage is PublicTest"),
        (lambda lines: lines.__delitem__(slice(0, None)), "row 1: there is no column"),
    ],
)
def test_a_fault_is_told_with_its_row(small, tmp_path, edit, message):
    path = edited(small, tmp_path, edit)
    with pytest.raises(InputError) as raised:
        read_fer2013(path)
    assert len(raised.value.faults) == 1
    assert f"{path}" in raised.value.faults[0]
    assert message in raised.value.faults[0]


def test_all_faults_are_told_at_once_up_to_twenty(small, tmp_path):
    def edit(lines):
        _cell(3, 0, "9")(lines)
        _cell(5, 2, "x")(lines)

    with pytest.raises(InputError) as raised:
        read_fer2013(edited(small, tmp_path, edit))
    assert ["row 3" in raised.value.faults[0], "row 5" in raised.value.faults[1]] == [True, True]

    def spoil(lines):
        lines[1:] = ["8" + line[1:] for line in lines[1:]]

    with pytest.raises(InputError) as raised:
        read_fer2013(edited(small, tmp_path, spoil))
    assert len(raised.value.faults) == 21
    assert raised.value.faults[-1].endswith("and 36 more rows")


def test_bytes_that_are_no_text_are_a_fault_of_their_row(small, tmp_path):
    path = tmp_path / "bytes.csv"
    path.write_bytes(small.read_bytes().replace(b"\n0,", b"\n\xff,", 1))
    with pytest.raises(InputError, match="row 2: emotion"):
        read_fer2013(path)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"No such file or directory; give the path of fer2013\.csv"):
        read_fer2013(tmp_path / "fer2013.csv")


def test_random_crops_are_windows_of_the_image_or_of_its_mirror():
    images = torch.arange(48 * 48).view(1, 1, 48, 48).repeat(200, 1, 1, 1)
    crops = random_crops(images, torch.Generator().manual_seed(0))
    assert crops.shape == (200, 1, 44, 44)
    windows = [images[0, 0, y : y + 44, x : x + 44] for y, x in itertools.product(range(5), repeat=2)]
    windows = torch.stack([*windows, *(window.flip(1) for window in windows)])
    found = [(windows == crop[0]).flatten(1).all(1).nonzero().item() for crop in crops]
    assert len(set(found)) > 40  # of 50, in 200 draws
    assert 60 < sum(index >= 25 for index in found) < 140


def test_an_epoch_is_drawn_from_the_seed_and_its_number_alone(small):
    data = read_fer2013(small)
    batches = Fer2013DataModule(data, Recipe(batch=8))
    first, again, other = (list(batches.training_batches(epoch)) for epoch in (0, 0, 1))
    assert len(first) == batches.steps_per_epoch == 3
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].images, other[0].images)


def test_it_learns_faces_that_it_has_not_seen(tmp_path):
    path = write_fer(tmp_path / "fer2013.csv", (280, 28, 140), seed=1)
    narrow = {"epochs": 5, "batch": 14, "width": 4, "hold": 4, "decay": 0.3, "dropout": 0.0, "accelerator": "cpu"}
    done = pretrain(Pretraining(fer2013=path, out=tmp_path / "w.safetensors", **narrow))
    assert done.facts["private_accuracy"] > 0.6  # chance is 0.14
    assert done.facts["private_macro_f1"] > 0.5


def test_what_is_saved_says_what_it_is(small, trained):
    checkpoint = read_checkpoint(trained.path)
    assert checkpoint.weights.subjects_seen == ()
    facts = checkpoint.meta
    assert facts["subjects_seen"] == []
    assert facts["data_digest"] == read_fer2013(small).digest
    assert facts["classes"] == list(EMOTIONS)
    assert facts["recipe"] == {**dataclasses.asdict(Recipe()), "epochs": 3, "batch": 14, "width": 2}
    assert {name: facts[name] for name in trained.facts} == trained.facts


def test_the_accuracies_are_those_of_the_weights_that_are_saved(small, trained):
    network = Vgg19(width=2).eval()
    with safe_open(trained.path, framework="pt") as file:
        network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    for split, name in (("PublicTest", "public_accuracy"), ("PrivateTest", "private_accuracy")):
        images, labels = read_fer2013(small).splits[split]
        with torch.no_grad():
            right = ten_crop_logits(network, images.float() / 255).argmax(1) == labels
        assert trained.facts[name] == pytest.approx(right.float().mean().item())


def test_the_epoch_is_the_best_on_publictest_whatever_privatetest_says(trained):
    history = np.genfromtxt(trained.path.with_name("w.safetensors.training") / "history.csv", delimiter=",", names=True)
    assert history["epoch"].tolist() == [0, 1, 2]
    assert trained.facts["epoch"] == int(history["public_accuracy"].argmax())
    assert not any("private" in name for name in history.dtype.names)


@pytest.mark.parametrize("precise_stop", [1, 2])
def test_a_stopped_training_goes_on_to_the_same_bytes(small, trained, tmp_path, precise_stop):
    options = Pretraining(fer2013=small, out=tmp_path / "w.safetensors", **QUICK)

    def stop(step, steps, stands):
        if step == 2 * precise_stop + 1:  # in the middle of an epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(options, stop)
    assert not options.out.exists()
    steps = []
    done = pretrain(options, lambda step, *_: steps.append(step))
    assert steps[0] == 2 * precise_stop + 1
    assert done.path.read_bytes() == trained.path.read_bytes()


def test_a_finished_training_is_not_done_again_and_not_written_over(small, trained):
    before = trained.path.read_bytes()
    again = pretrain(Pretraining(fer2013=small, out=trained.path, **QUICK), lambda *_: pytest.fail("trained"))
    assert again.before
    assert again.facts["private_accuracy"] == trained.facts["private_accuracy"]
    with pytest.raises(InputError, match=r"is there already, with --epochs 3; say the same, delete it"):
        pretrain(Pretraining(fer2013=small, out=trained.path, **{**QUICK, "epochs": 4}))
    assert trained.path.read_bytes() == before


def test_a_training_is_not_continued_with_other_options(small, tmp_path):
    out = tmp_path / "w.safetensors"
    folder = tmp_path / "w.safetensors.training"
    folder.mkdir()
    started = {"data_digest": read_fer2013(small).digest, "recipe": dataclasses.asdict(Recipe(lr=0.1))}
    (folder / "started.json").write_text(json.dumps(started))
    with pytest.raises(InputError, match=r"was begun with --lr 0\.1"):
        pretrain(Pretraining(fer2013=small, out=out, accelerator="cpu"))


@pytest.mark.parametrize(
    ("option", "message"),
    [({"precision": "7-true"}, "--precision 7-true"), ({"devices": 0}, "--devices 0")],
)
def test_what_the_trainer_refuses_is_one_line(small, tmp_path, option, message):
    with pytest.raises(InputError) as raised:
        pretrain(Pretraining(fer2013=small, out=tmp_path / "w.safetensors", accelerator="cpu", **option))
    assert len(raised.value.faults) == 1
    assert "\n" not in str(raised.value)
    assert message in str(raised.value)


def test_options_out_of_range_are_all_told():
    with pytest.raises(InputError) as raised:
        Recipe(epochs=0, lr=-1, dropout=1)
    assert [fault.split()[0] for fault in raised.value.faults] == ["--epochs", "--lr", "--dropout"]
