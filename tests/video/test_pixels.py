"""What the pixels are: square, upright, not interlaced, of the right colour, whatever the size."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from seizurelit.video.reading import open_video


@pytest.mark.parametrize(
    ("suffix", "codec", "size", "aspect", "width"),
    [
        (".mpg", "mpeg2video", (352, 576), Fraction(24, 11), 768),
        (".mpg", "mpeg2video", (720, 576), Fraction(16, 15), 768),
        (".avi", "mpeg4", (704, 576), Fraction(12, 11), 768),
        (".mp4", "libx264", (352, 576), Fraction(24, 11), 768),
        (".mp4", "libx264", (340, 256), Fraction(1024, 765), 455),
        (".mp4", "libx264", (352, 288), Fraction(1, 1000), 352),
    ],
)
def test_anamorphic_pictures_get_square_pixels(bars, tmp_path, suffix, codec, size, aspect, width):
    recording = bars.write(tmp_path / f"a{suffix}", codec, size=size, aspect=aspect, frames=12)
    bars.check(recording)
    video = open_video(recording.path)
    image = next(iter(video.clip())).image
    assert image.shape == (size[1], width, 3) == (video.facts.height, video.facts.width, 3)


@pytest.mark.parametrize("size", [(351, 287), (101, 77), (33, 17)])
@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "mpeg4"), (".avi", "mjpeg"), (".mp4", "libx264")])
def test_odd_sizes(bars, tmp_path, size, suffix, codec):
    pixels = "yuv444p" if codec == "libx264" else "yuv420p"
    recording = bars.write(tmp_path / f"a{suffix}", codec, size=size, pixels=pixels, frames=12)
    frames, _ = bars.read(recording.path)
    assert frames[0].image.shape == (size[1], size[0], 3)
    if min(size) > 50:
        assert bars.numbers(frames) == list(range(12))


@pytest.mark.parametrize(
    ("matrix", "rotation", "turns"),
    [((1, 0, 0, 1), 0, 0), ((0, 1, -1, 0), 270, 3), ((-1, 0, 0, -1), 180, 2), ((0, -1, 1, 0), 90, 1)],
)
def test_phones_are_turned_upright(bars, tmp_path, matrix, rotation, turns):
    recording = bars.write(tmp_path / "a.mp4", "libx264", size=(640, 360), frames=12)
    plain = next(iter(open_video(recording.path).clip())).image
    bars.turn(recording.path, matrix)
    video = open_video(recording.path)
    assert video.facts.rotation == rotation
    assert (video.facts.width, video.facts.height) == ((360, 640) if turns % 2 else (640, 360))
    frames, _ = bars.read(recording.path)
    np.testing.assert_array_equal(frames[0].image, np.rot90(plain, turns))
    assert frames[0].image.flags.c_contiguous
    assert [bars.number(np.rot90(frame.image, -turns)) for frame in frames] == list(range(12))


def test_portrait_with_pixels_that_are_not_square(bars, tmp_path):
    recording = bars.write(tmp_path / "a.mp4", "libx264", size=(352, 288), aspect=Fraction(2), frames=4)
    bars.turn(recording.path, (0, 1, -1, 0))
    video = open_video(recording.path)
    assert (video.facts.width, video.facts.height) == (288, 704)
    assert next(iter(video.clip())).image.shape == (704, 288, 3)


def test_interlacing_is_removed(tmp_path):
    """A block that moves 16 pixels between the two fields of a picture leaves no comb."""
    path, size = tmp_path / "a.mpg", (720, 576)
    with av.open(path, "w", format="vob") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "field_order": "tt"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.bit_rate = 8_000_000
        for index in range(12):
            luma = np.full((576, 720), 60, np.uint8)
            for parity in (0, 1):
                left = 100 + 32 * index + 16 * parity
                luma[150 + parity : 400 : 2, left : left + 120] = 200
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, np.full((288, 720), 128, np.uint8)]), "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

    def comb(image):
        rows = image[160:390].astype(float)
        return np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean()

    with av.open(path) as container:
        raw = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    clean = [frame.image[..., 1] for frame in open_video(path).clip()]
    assert len(clean) == len(raw) == 12
    for one, other in zip(raw[1:-1], clean[1:-1], strict=True):
        assert comb(other) < comb(one) / 5


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mpg", "mpeg2video"), (".mp4", "libx264"), (".avi", "mjpeg"), (".asf", "wmv2")]
)
def test_colours_are_rgb(tmp_path, suffix, codec):
    colours = np.array([[200, 40, 40], [40, 180, 60], [50, 60, 200], [128, 128, 128]], np.uint8)
    image = np.repeat(np.repeat(colours[None], 96, axis=0), 40, axis=1)
    with av.open(tmp_path / f"a{suffix}", "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 160, 96
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.bit_rate = 2_000_000
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found = next(iter(open_video(tmp_path / f"a{suffix}").clip())).image
    assert found.dtype == np.uint8
    middles = found[48, 20::40].astype(int)
    np.testing.assert_allclose(middles, colours.astype(int), atol=14)
