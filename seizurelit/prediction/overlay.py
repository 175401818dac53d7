"""The video with the skeleton and the landmarks coloured by their share in the decision: on black, or on the footage.

Without `--show_footage` no pixel of the video is in it. With it, faces are hidden as in the extraction's page unless `--show_face`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from seizurelit.cohort.skeleton import built_in
from seizurelit.extraction.backend import Image
from seizurelit.extraction.drawing import hide_faces, shrink
from seizurelit.extraction.marks import Found, Marks
from seizurelit.extraction.options import FPS
from seizurelit.handover.ensemble import Floats
from seizurelit.prediction.options import Predict
from seizurelit.prediction.scoring import Spoken
from seizurelit.tracking.wandb_runs import STAND_IN
from seizurelit.video.reading import Video, open_video

Colour = tuple[int, int, int]

_WIDTH = 640
_STRIP = 54
_WHITE: Colour = (235, 235, 235)
_DIM = np.array([70.0, 80.0, 100.0])
_BRIGHT = np.array([255.0, 205.0, 40.0])
_RED: Colour = (235, 80, 80)
_SMOOTH = 1.0
"""Seconds over which a joint's share is averaged, so that the colours can be followed."""


def write_overlay(
    path: Path, video: Path, found: Found, spoken: Sequence[Spoken], *, value: Mapping[str, Any], options: Predict
) -> None:
    """Write the overlay as MP4 (H.264), whole or not at all.

    Args:
        path: the file.
        video: the footage, which is opened for its size, and decoded if it is to be shown.
        found: its points.
        spoken: whose shares are drawn; of several of a stream the first.
        value: of prediction.json.
        options: footage, face, start and end.
    """
    opened = open_video(video)
    size = (opened.facts.width, opened.facts.height)
    frames = max(
        (len(tensors[name]) for tensors in (found.pose, found.face) for name in ("confidence",) if name in tensors),
        default=0,
    )
    shares = {one.row.stream: _per_frame(one, frames) for one in reversed(spoken) if one.attribution is not None}
    factor = min(1.0, _WIDTH / size[0])
    shown = (max(2, round(size[0] * factor) // 2 * 2), max(2, round(size[1] * factor) // 2 * 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=".overlay.", suffix=".mp4")
    os.close(descriptor)
    try:
        with av.open(beside, "w", format="mp4") as out:
            stream = out.add_stream("libx264", rate=Fraction(FPS).limit_denominator())
            stream.width, stream.height, stream.pix_fmt = shown[0], shown[1] + _STRIP, "yuv420p"
            stream.options = {"crf": "26", "preset": "veryfast"}
            stream.codec_context.thread_count = 2
            for number, image in enumerate(_grounds(opened, found, frames, shown, options)):
                picture = _draw(image, found.at(number).scaled(shown[0] / size[0]), found, shares, number)
                whole = np.concatenate([picture, _strip(shown[0], spoken, value, number, frames)])
                for packet in stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")):
                    out.mux(packet)
            for packet in stream.encode():
                out.mux(packet)
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _grounds(video: Video, found: Found, frames: int, shown: tuple[int, int], options: Predict) -> Iterator[Image]:
    """The pictures that are drawn on: black ones, or the footage with its faces hidden."""
    if not options.show_footage:
        for _ in range(frames):
            yield np.zeros((shown[1], shown[0], 3), np.uint8)
        return
    body = found.body or built_in("body11")
    for frame in video.clip(options.start, options.end, fps=FPS):
        if frame.index >= frames:
            return
        marks = found.at(frame.index)
        image = frame.image if options.show_face else hide_faces(frame.image, marks, body)
        image, _ = shrink(image, marks, width=shown[0], area=shown[0] * shown[1] * 4)
        yield np.asarray(cv2.resize(image, shown, interpolation=cv2.INTER_AREA) // 2, np.uint8)


def _per_frame(one: Spoken, frames: int) -> Floats:
    """(T, V) in [0, 1]: each joint's share at each time, smoothed, of the largest there is; for a crop, one column."""
    found = one.attribution
    assert found is not None
    shares = found.shares
    width = max(1, round(_SMOOTH / found.seconds))
    kernel = np.ones(width) / width
    smooth = np.stack([np.convolve(column, kernel, mode="same") for column in shares.T], axis=1)
    most = float(smooth.max()) or 1.0
    bins = np.minimum((np.arange(frames) / FPS / found.seconds).astype(int), len(smooth) - 1)
    return np.asarray(smooth[bins] / most, dtype=float)


def colour_of(share: float) -> Colour:
    """From a dim grey-blue to bright yellow."""
    red, green, blue = _DIM + (_BRIGHT - _DIM) * min(max(share, 0.0), 1.0) ** 0.6
    return round(float(red)), round(float(green)), round(float(blue))


def _draw(image: Image, marks: Marks, found: Found, shares: Mapping[str, Floats], number: int) -> Image:
    canvas = np.ascontiguousarray(image)
    thick = max(1, round(min(canvas.shape[:2]) / 140))
    here = {stream: table[number] for stream, table in shares.items()}
    if found.landmarks is not None:
        seen = marks.landmark_found
        face = _columns(here.get("face"), len(found.landmarks.joints))
        for landmark in np.flatnonzero(seen).tolist():
            share = float(face[landmark])
            cv2.circle(
                canvas,
                _pixel(marks.landmarks[landmark]),
                max(1, round(thick * (0.7 + share))),
                colour_of(share),
                -1,
                cv2.LINE_AA,
            )
    if found.body is not None:
        seen = marks.joint_found
        body = _columns(here.get("pose"), len(found.body.joints))
        for child, parent in found.body.bones:
            if seen[child] and seen[parent]:
                share = float((body[child] + body[parent]) / 2)
                ends = _pixel(marks.joints[child]), _pixel(marks.joints[parent])
                cv2.line(canvas, *ends, colour_of(share), thick + round(2 * share * thick), cv2.LINE_AA)
        for joint in np.flatnonzero(seen).tolist():
            share = float(body[joint])
            cv2.circle(
                canvas,
                _pixel(marks.joints[joint]),
                2 * thick + round(2 * share * thick),
                colour_of(share),
                -1,
                cv2.LINE_AA,
            )
    return canvas


def _columns(shares: npt.NDArray[np.float64] | None, count: int) -> Floats:
    """(V,) of a frame; a crop's one share for every point, 0 where nothing is explained."""
    if shares is None:
        return np.zeros(count)
    return np.asarray(shares if len(shares) == count else np.full(count, float(shares[0])), dtype=float)


def _pixel(point: npt.NDArray[np.floating[Any]]) -> tuple[int, int]:
    x, y = np.clip(point, -10000, 10000)
    return round(float(x)), round(float(y))


def _strip(width: int, spoken: Sequence[Spoken], value: Mapping[str, Any], number: int, frames: int) -> Image:
    """What stands under the picture: time, score, what it is not for."""
    strip = np.zeros((_STRIP, width, 3), np.uint8)
    seconds = number / FPS
    words = f"{seconds:5.1f} s"
    colour = _WHITE
    if spoken:
        row = value["predictions"][0]
        if row["judged"]:
            now = [w["score"] for w in row["windows"] if w["start"] <= seconds < w["end"]]
            words += f"  {row['sign']} {row['is']} {row['score']:.2f}" + (
                f", here {sum(now) / len(now):.2f}" if now else ""
            )
        else:
            words, colour = f"{words}  {row['sign']}: NOT TO BE JUDGED", _RED
    _text(strip, words, 14, colour, 0.42)
    note = (
        "STAND-IN COHORT: trained on synthetic people"
        if value["stand_in"]
        else "bright: what speaks for the named class"
    )
    _text(strip, note, 30, _RED if value["stand_in"] else _WHITE, 0.36)
    _text(strip, "Research use only. Not a medical device.", 45, _WHITE, 0.34)
    done = round((number + 1) / max(frames, 1) * width)
    strip[-3:, :done] = (120, 120, 120)
    assert STAND_IN in note or not value["stand_in"]
    return strip


def _text(image: Image, words: str, y: int, colour: Colour, size: float) -> None:
    cv2.putText(image, words, (6, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
