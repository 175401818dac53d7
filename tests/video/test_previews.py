"""Who reads by index, and that previews are the frames of the sequence."""

from __future__ import annotations

import random

import decord
import numpy as np
import pytest

from seizurelit.errors import InputError
from seizurelit.video import previews
from seizurelit.video.choice import by_index
from seizurelit.video.previews import preview_frames
from seizurelit.video.reading import open_video

CASES = [
    (".mpg", "mpeg1video", ""),
    (".mpg", "mpeg2video", ""),
    (".mp4", "libx264", ""),
    (".mp4", "libx264", "open-gop=1:keyint=12:min-keyint=4:scenecut=0"),
    (".mov", "libx264", "b-pyramid=normal"),
    (".mp4", "mpeg4", ""),
    (".avi", "mpeg4", ""),
    (".avi", "mjpeg", ""),
    (".asf", "wmv2", ""),
    (".asf", "msmpeg4v3", ""),
]


def record(bars, folder, suffix, codec, params):
    options = {"x264-params": params, "preset": "veryfast"} if params else {}
    return bars.write(folder / f"a{suffix}", codec, b_frames=3, options=options)


def wrong_by_decord(bars, path) -> int:
    reader = decord.VideoReader(str(path), num_threads=1)
    order = list(range(len(reader)))
    random.Random(0).shuffle(order)
    return sum(bars.number(reader[index].asnumpy()) != index for index in order) + abs(len(reader) - 48)


@pytest.mark.parametrize(("suffix", "codec", "params"), CASES)
def test_decord_is_chosen_where_it_is_exact_and_only_there(bars, tmp_path, suffix, codec, params):
    recording = record(bars, tmp_path, suffix, codec, params)
    video = open_video(recording.path)
    chosen = previews._by_index(video, video.clip(), {3}) is not None
    wrong = wrong_by_decord(bars, recording.path)
    assert chosen == (wrong == 0), f"decord gets {wrong} of 48 wrong"
    if not params:  # which no container and codec show
        assert by_index(video.facts.container, video.facts.codec) == ("decord" if chosen else "pyav")


@pytest.mark.parametrize(("suffix", "codec", "params"), CASES)
def test_previews_are_the_frames_of_the_sequence(bars, tmp_path, suffix, codec, params):
    path = record(bars, tmp_path, suffix, codec, params).path
    wanted = [30, 2, 17, 2, 0, 36]
    assert [bars.number(image) for image in preview_frames(path, wanted, start=0.4)] == [index + 10 for index in wanted]
    frames, _ = bars.read(path, start=0.4)
    for index, image in zip(wanted, preview_frames(path, wanted, 0.4), strict=True):
        assert np.abs(image.astype(int) - frames[index].image).mean() < 2


def test_previews_of_what_is_not_as_it_was_coded(bars, tmp_path):
    recording = bars.write(tmp_path / "a.mp4", "libx264", size=(320, 240), aspect=bars.pal / 20)
    assert preview_frames(recording.path, [5])[0].shape == (240, 400, 3)
    bars.turn(recording.path, (0, 1, -1, 0))
    assert preview_frames(recording.path, [5])[0].shape == (400, 240, 3)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mpg", "mpeg2video")])
@pytest.mark.parametrize("index", [-1, 38, 25])
def test_an_index_outside_the_clip_is_refused(bars, tmp_path, suffix, codec, index):
    path = bars.write(tmp_path / f"a{suffix}", codec).path
    with pytest.raises(InputError, match=f"has no frame {index} between start and end"):
        preview_frames(path, [0, index], start=0.4, end=1.4 if index == 25 else None)


def test_previews_of_a_file_that_was_cut_short(bars, tmp_path):
    path = bars.write(tmp_path / "a.mp4", "libx264", container_options={"movflags": "faststart"}).path
    path.write_bytes(path.read_bytes()[:-4000])
    assert [bars.number(image) for image in preview_frames(path, [0, 12])] == [0, 12]
    assert preview_frames(path, []) == []


def test_previews_of_a_damaged_file_are_those_of_the_sequence(bars, tmp_path, capfd):
    path = bars.write(tmp_path / "a.mp4", "libx264", frames=72, container_options={"movflags": "faststart"}).path
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2500] = np.random.default_rng(1).bytes(2500)
    path.write_bytes(content)
    frames, clip = bars.read(path)
    assert clip.loss.faults
    for frame, image in zip(frames, preview_frames(path, range(72), damaged=True), strict=True):
        np.testing.assert_array_equal(frame.image, image)
    preview_frames(path, range(72))
    assert capfd.readouterr().err == ""
