"""Who is who from frame to frame, which of them is the patient, and which face is the patient's."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from seizurelit.errors import InputError
from seizurelit.extraction.backend import Floats

PATIENCE = 1.0
"""Seconds that a track outlives its last sighting, and at least two looks in vain. Who is back later has another track."""

LEAST_IOU = 0.1
"""A box that overlaps less with where a person is expected is somebody else; limbs that fly out cost most of the overlap."""

CONTESTED_IOU = 0.3
"""Where two people or two boxes overlap that much and only one is left, nobody knows who it is: the tracks end there."""

NEAR = 0.75
"""Of the mean side of two boxes: how far apart their centres may be if they are of one person in one place."""

REMEMBERED = 5.0
"""Seconds for which the place where somebody was last seen says that who appears there is the same."""

TOGETHER = 0.5
"""Seconds for which two tracks of one person may be in view together (its box was there twice); longer, they are two people."""

LEAST_MARGIN = 0.5
"""Of the patient's score: with less between the patient and the next person the choice is ambiguous."""

ALL_ALONG = 0.8
"""Somebody in view for that share of the patient's time makes the choice ambiguous, unless a patient_box was given."""

_MOST = 8
"""People that are told apart in one clip; whoever comes after the eight likeliest is not the patient."""

_SPREAD = 0.3
"""Standard deviation of the patient's place about the middle, in image widths and heights: at the edge it weighs 0.25."""


@dataclass(frozen=True)
class Track:
    """One person, without a doubt, over some time.

    Attributes:
        frames: (N,) of the timeline in which the person was detected, growing.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        scores: (N,) of the detector, in [0, 1].
    """

    frames: npt.NDArray[np.int64]
    boxes: Floats
    scores: Floats


@dataclass(frozen=True)
class People:
    """All tracks of a clip.

    Attributes:
        frames: (N,) of the timeline in which was looked for people.
        fps: frames a second of the timeline.
        tracks: in the order in which they began.
    """

    frames: npt.NDArray[np.int64]
    fps: float
    tracks: tuple[Track, ...]

    @property
    def step(self) -> int:
        """From one frame that was looked at to the next, at most."""
        return _step(self.frames)

    @property
    def length(self) -> int:
        """T: frames of the timeline that the looks stand for."""
        return int(self.frames[-1]) + self.step if len(self.frames) else 0

    @property
    def bridge(self) -> int:
        """Frames from one sighting to the next over which a box may be interpolated."""
        return _patience(self.step, self.fps)

    def in_view(self) -> npt.NDArray[np.int64]:
        """(N,): how many people there are in each frame that was looked at; who was detected once alone is not counted."""
        count = np.zeros(len(self.frames), np.int64)
        for track in self.tracks:
            if len(track.frames) > 1 or len(self.frames) == 1:
                _, seen = _between(track.frames, track.boxes, self.frames, self.bridge, self.step)
                count += seen
        return count


@dataclass(frozen=True)
class Choice:
    """Whom the tensors of a clip are of.

    Attributes:
        tracks: (T,) index into the tracks; -1 where the patient is not in view.
        boxes: (T, 4) pixels, interpolated between detections; NaN where the patient is not in view.
        confidence: in [0, 1]: how much of the patient's score lies between it and the next person's; 0 if there is nobody.
        ambiguous: whether a person should look and give a patient_box.
        reason: why the choice is ambiguous, or why there is none; empty if all is well.
    """

    tracks: npt.NDArray[np.int64]
    boxes: Floats
    confidence: float
    ambiguous: bool
    reason: str

    @property
    def share(self) -> float:
        """Of all frames, in how many the patient is in view."""
        return float((self.tracks >= 0).mean()) if len(self.tracks) else 0.0


def read_box(text: str, where: str) -> tuple[float, float, float, float] | None:
    """A box from a cell of the cohort's column `patient_box`.

    Args:
        text: "x1 y1 x2 y2": left, top, right, bottom in pixels of the video as it is shown; commas are allowed.
        where: names file and row in the message.

    Returns:
        x1, y1, x2, y2; None if the cell is empty.

    Raises:
        InputError: it is no box.
    """
    if not text.strip():
        return None
    try:
        left, top, right, bottom = (float(part) for part in re.split(r"[\s,;]+", text.strip()))
        if 0 <= left < right < math.inf and 0 <= top < bottom < math.inf:
            return left, top, right, bottom
    except ValueError:
        pass
    msg = f"{where}: patient_box {text.strip()[:40]!r} is no box; write left, top, right and bottom in pixels as x1 y1 x2 y2"
    raise InputError(msg)


def track_people(frames: Sequence[int], detections: Sequence[Floats], fps: float) -> People:
    """Join detections to tracks: the assignment of most overlap (IoU) with where everybody is expected.

    Expected is the last box, and the last box moved on at the mean speed of the last second. A track whose box could as well
    be another's (two people behind each other, of whom one is found) ends there, and what follows is a new one: `choose_patient`
    joins them when it knows what became of all of them.

    Args:
        frames: of the timeline, growing; every n-th is enough as long as people overlap with themselves.
        detections: for each an array (N, 5) of x1, y1, x2, y2, score.
        fps: frames a second of the timeline.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - half a second, which --help need not take

    looked = np.asarray(frames, np.int64)
    patience = _patience(_step(looked), fps)
    ended: list[_Open] = []
    open_: list[_Open] = []
    for frame, found in zip(looked.tolist(), detections, strict=True):
        ended += [track for track in open_ if frame - track.frames[-1] > patience]
        open_ = [track for track in open_ if frame - track.frames[-1] <= patience]
        boxes, scores = found[:, :4], found[:, 4]
        overlaps = np.zeros((len(open_), len(boxes)))
        for index, track in enumerate(open_):
            overlaps[index] = np.maximum(iou(track.expected(frame, fps), boxes), iou(track.boxes[-1], boxes))
        pairs = [
            (track, box)
            for track, box in zip(*linear_sum_assignment(-overlaps), strict=True)
            if overlaps[track, box] >= LEAST_IOU
        ]
        lone_tracks = np.setdiff1d(np.arange(len(open_)), [track for track, _ in pairs])
        lone_boxes = np.setdiff1d(np.arange(len(boxes)), [box for _, box in pairs])
        lost: set[int] = set()
        taken: set[int] = set()
        for track, box in pairs:
            rivals = lone_tracks[overlaps[lone_tracks, box] >= CONTESTED_IOU]
            if len(rivals) or (overlaps[track, lone_boxes] >= CONTESTED_IOU).any():
                lost |= {int(track), *rivals.tolist()}
            else:
                open_[track].add(frame, boxes[box], float(scores[box]))
                taken.add(int(box))
        ended += [track for index, track in enumerate(open_) if index in lost]
        open_ = [track for index, track in enumerate(open_) if index not in lost]
        for box in range(len(boxes)):
            if box not in taken:
                open_.append(_Open())
                open_[-1].add(frame, boxes[box], float(scores[box]))
    every = sorted(ended + open_, key=lambda track: (track.frames[0], *track.boxes[0].tolist()))
    return People(looked, fps, tuple(track.closed() for track in every))


def choose_patient(
    people: People, size: tuple[int, int], patient_box: tuple[float, float, float, float] | None = None
) -> Choice:
    """Who is the patient: the person who is there longest, large, and in the middle.

    Telemetry cameras are centred on the bed; nurses and relatives come and go and lean over it. Tracks are joined to people by
    place: not in view together, and one appears where the other was last seen or usually is. A person's score is the share of
    looks in which the person is in view, times the mean of the square root of the box's share of the image, times a normal
    density of its centre about the image's. Looks at which the detector missed somebody in between count, as it misses who
    lies under a blanket more often than who stands beside it. With a patient_box, the density gives way to the share of the
    person's box that lies in it. Nobody is recognised: who is alone in view, in the patient's place, is taken for the patient.

    Args:
        people: all tracks.
        size: width and height of the image in pixels.
        patient_box: x1, y1, x2, y2 in pixels, where the patient is; None if nobody said so.
    """
    box = None if patient_box is None else np.array(patient_box, np.float32)
    persons = _persons(people, [_weights(track, size, box) for track in people.tracks])
    if not persons:
        looked = "any frame" if patient_box is None else "patient_box " + " ".join(f"{edge:g}" for edge in patient_box)
        return _nobody(people.length, f"nobody was found in {looked}")
    patient, *others = persons
    second = max((person.score for person in others), default=0.0)
    share = max((person.looks / patient.looks for person in others), default=0.0)
    margin, reason = 1 - second / patient.score, ""
    if margin < LEAST_MARGIN:
        reason = f"another person is almost as likely ({second / patient.score:.0%} of the score)"
    elif share >= ALL_ALONG and patient_box is None:
        reason = f"another person is in view nearly all along ({share:.0%} of the patient's time)"
    if reason:
        here, there = (" ".join(f"{edge:.0f}" for edge in person.usual) for person in (patient, others[0]))
        reason += f"; give patient_box: the one at {here} was taken, another is at {there}"
    tracks, boxes = _placed(people, patient, people.length)
    return Choice(tracks, boxes, margin, bool(reason), reason)


def choose_face(
    faces: People,
    size: tuple[int, int],
    patient: Choice,
    heads: Floats | None = None,
    patient_box: tuple[float, float, float, float] | None = None,
) -> Choice:
    """Which face is the patient's: the one at the patient's head, or in the patient's box.

    Faces are tracked as people are. Each is judged over its whole track: near the head where that is known, else by how much of
    it lies in the patient's box; a nurse's face that crosses the bed is not the patient's for that. Where no body was found in
    the whole clip (a close-up), the face is chosen as the patient would be.

    Args:
        faces: tracks of faces.
        size: width and height of the image in pixels.
        patient: the choice of the patient, of T frames.
        heads: (T, 2) pixels, where the patient's head is in each frame (body11's head); NaN where it is not known.
        patient_box: as of `choose_patient`; for a clip without a body.
    """
    if not patient.share:
        return choose_patient(faces, size, patient_box)
    length = len(patient.tracks)
    weights = []
    for track in faces.tracks:
        near = _share_within(track.boxes, patient.boxes[np.minimum(track.frames, length - 1)])
        if heads is not None:
            head = heads[np.minimum(track.frames, length - 1)]
            apart = np.linalg.norm(_centres(track.boxes) - head, axis=1) / np.maximum(_sides(track.boxes), 1e-9)
            near = np.where(np.isnan(apart), near, np.clip(1.5 - apart, 0, 1))
        known = near[~np.isnan(near)]
        # The whole track is of one face: where the body is lost, what is known of the rest holds.
        mine = float(known.mean()) if len(known) else 0.0
        weights.append(np.full(len(track.frames), mine if mine > 0.5 else 0.0))
    persons = _persons(faces, weights)
    chosen = _nobody(length, "no face was found at the patient's head")
    if not persons:
        return chosen
    tracks, boxes = chosen.tracks, chosen.boxes
    for person in persons:  # all that are left are at the patient's head: at each moment the likeliest of them
        theirs, placed = _placed(faces, person, length)
        free = (tracks < 0) & (theirs >= 0)
        tracks, boxes = np.where(free, theirs, tracks), np.where(free[:, None], placed, boxes)
    margin = 1 - max((person.score for person in persons[1:]), default=0.0) / persons[0].score
    ambiguous = margin < LEAST_MARGIN
    return Choice(tracks, boxes, margin, ambiguous, "two faces are at the patient's head" if ambiguous else "")


def iou(box: Floats, boxes: Floats) -> npt.NDArray[np.float64]:
    """(N,): how much one box (4,) and each of (N, 4) have in common, of what both cover."""
    together = _common(np.broadcast_to(box, boxes.shape), boxes)
    return np.asarray(together / np.maximum(_areas(box[None]) + _areas(boxes) - together, 1e-9))


def summary(people: People, patient: Choice) -> list[dict[str, Any]]:
    """A record a track, to be kept beside the tensors: from, to, seen, mean score, median box, share as the patient."""
    counts = [int((patient.tracks == index).sum()) for index in range(len(people.tracks))]
    return [
        {
            "first": int(track.frames[0]),
            "last": int(track.frames[-1]),
            "detections": len(track.frames),
            "score": round(float(track.scores.mean()), 3),
            "box": [round(float(edge), 1) for edge in np.median(track.boxes, axis=0)],
            "patient_frames": count,
        }
        for track, count in zip(people.tracks, counts, strict=True)
    ]


@dataclass
class _Open:
    """A track that may go on."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Floats] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, frame: int, box: Floats, score: float) -> None:
        self.frames.append(frame)
        self.boxes.append(np.asarray(box, np.float32))
        self.scores.append(score)

    def expected(self, frame: int, fps: float) -> Floats:
        """The last box moved on at the mean speed of the last second: who shakes stays, who walks goes on."""
        first = bisect_left(self.frames, self.frames[-1] - fps)
        passed = self.frames[-1] - self.frames[first]
        if passed == 0:
            return self.boxes[-1]
        ends = np.stack([self.boxes[first], self.boxes[-1]])
        moved = np.diff(_centres(ends), axis=0)[0] / passed * (frame - self.frames[-1])
        return np.asarray(self.boxes[-1] + np.tile(moved, 2), np.float32)

    def closed(self) -> Track:
        return Track(np.array(self.frames, np.int64), np.stack(self.boxes), np.array(self.scores, np.float32))


@dataclass(frozen=True)
class _Person:
    """Tracks of one person: detections in the order of time, and the track of each.

    Attributes:
        looks: in how many looks the person is in view, those counted in which the detector missed who was there.
        score: the mean weight of the detections, times the share of looks.
    """

    frames: npt.NDArray[np.int64]
    boxes: Floats
    tracks: npt.NDArray[np.int64]
    looks: int
    score: float

    @property
    def usual(self) -> Floats:
        """(4,): the median box."""
        return np.asarray(np.median(self.boxes, axis=0))


def _step(frames: npt.NDArray[np.int64]) -> int:
    return int(np.diff(frames).max(initial=1))


def _patience(step: int, fps: float) -> int:
    return max(round(PATIENCE * fps), 3 * step)


def _nobody(length: int, reason: str) -> Choice:
    return Choice(np.full(length, -1), np.full((length, 4), np.nan, np.float32), 0.0, False, reason)


def _placed(people: People, person: _Person, length: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The track (T,) and the box (T, 4) of a person in every frame of the timeline."""
    frames = np.arange(length)
    boxes, seen = _between(person.frames, person.boxes, frames, people.bridge, people.step)
    nearest = np.abs(person.frames[:, None] - frames).argmin(axis=0)
    return np.where(seen, person.tracks[nearest], -1), boxes


def _weights(track: Track, size: tuple[int, int], patient_box: Floats | None) -> npt.NDArray[np.float64]:
    """(N,): how likely each box of a track is the patient's: large, and in the middle or in the box that was given."""
    width, height = size
    large = np.sqrt(_areas(track.boxes) / (width * height))
    if patient_box is not None:
        inside = _share_within(track.boxes, np.broadcast_to(patient_box, track.boxes.shape))
        # Who reaches in from outside has less than a third of the body there.
        return np.where(inside >= 1 / 3, large * inside, 0.0)
    off = (_centres(track.boxes) / (width, height) - 0.5) / _SPREAD
    return np.asarray(large * np.exp(-0.5 * (off**2).sum(axis=1)))


def _persons(people: People, weights: Sequence[npt.NDArray[np.float64]]) -> list[_Person]:
    """Tracks joined to the likeliest people, the likeliest first; a track without weight is nobody's."""
    totals = np.array([weight.sum() for weight in weights])
    free = totals > 0
    candidates = _Candidates.of(people)
    persons: list[_Person] = []
    while free.any() and len(persons) < _MOST:
        chosen = [int(np.argmax(np.where(free, totals, 0)))]
        while True:
            free[chosen[-1]] = False
            person = _joined(people, chosen, float(totals[chosen].sum()))
            likely = np.where(free, candidates.closeness(people, person) * totals, 0)
            if not likely.any():
                break
            chosen.append(int(np.argmax(likely)))
        persons.append(person)
    return sorted(persons, key=lambda person: -person.score)


def _joined(people: People, chosen: Sequence[int], total: float) -> _Person:
    tracks = [people.tracks[index] for index in chosen]
    frames = np.concatenate([track.frames for track in tracks])
    owners = np.repeat(chosen, [len(track.frames) for track in tracks])
    mean = total / len(frames)
    # Where two tracks have a frame, the one that was joined first.
    frames, first = np.unique(frames, return_index=True)
    boxes = np.concatenate([track.boxes for track in tracks])[first]
    _, seen = _between(frames, boxes, people.frames, people.bridge, people.step)
    looks = int(seen.sum())
    return _Person(frames, boxes, owners[first], looks, mean * looks / len(people.frames))


@dataclass(frozen=True)
class _Candidates:
    """All N tracks, as what may be joined to a person.

    Attributes:
        seen: (N, looks) whether each was detected there.
        frames: (N, 2) of its first and last detection.
        boxes: (N, 2, 4) of these.
        usual: (N, 4) its median box.
    """

    seen: npt.NDArray[np.float32]
    frames: npt.NDArray[np.int64]
    boxes: Floats
    usual: Floats

    @classmethod
    def of(cls, people: People) -> _Candidates:
        """The tracks' ends and middles."""
        seen = np.zeros((len(people.tracks), len(people.frames)), np.float32)
        for row, track in zip(seen, people.tracks, strict=True):
            row[np.searchsorted(people.frames, track.frames)] = 1
        return cls(
            seen,
            np.array([track.frames[[0, -1]] for track in people.tracks], np.int64).reshape(-1, 2),
            np.array([track.boxes[[0, -1]] for track in people.tracks], np.float32).reshape(-1, 2, 4),
            np.array([np.median(track.boxes, axis=0) for track in people.tracks], np.float32).reshape(-1, 4),
        )

    def closeness(self, people: People, person: _Person) -> npt.NDArray[np.float64]:
        """(N,) in [0, 1]: how well each continues a person where it begins and ends, or else by the usual places of both.

        It is 0 if the two are in view together: then they are two.
        """
        before = np.searchsorted(person.frames, self.frames[:, 0]) - 1
        after = np.searchsorted(person.frames, self.frames[:, 1], side="right")
        met = np.stack([before >= 0, after < len(person.frames)], axis=1)
        theirs = np.stack([np.maximum(before, 0), np.minimum(after, len(person.frames) - 1)], axis=1)
        apart = np.where(met, _apart(person.boxes[theirs], self.boxes), 0).max(axis=1)
        gap = np.where(met, np.abs(person.frames[theirs] - self.frames), 0).max(axis=1) / people.fps
        habit = _apart(person.usual, self.usual)
        goes_on = met.any(axis=1) & (apart <= NEAR) & (gap <= REMEMBERED)
        close = np.where(goes_on, 1 / (1 + apart), np.where(habit <= NEAR, 1 / (1 + habit), 0))
        together = self.seen @ np.isin(people.frames, person.frames).astype(np.float32)
        return np.where(together * people.step > TOGETHER * people.fps, 0, close)


def _apart(first: Floats, second: Floats) -> Floats:
    """(...): between the centres of boxes (..., 4), in their mean sides."""
    distance = np.linalg.norm(_centres(first) - _centres(second), axis=-1)
    return np.asarray(distance / np.maximum((_sides(first) + _sides(second)) / 2, 1e-9))


def _between(
    frames: npt.NDArray[np.int64], boxes: Floats, wanted: npt.NDArray[np.int64], bridge: int, step: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Boxes of the wanted frames, on straight lines between the sightings.

    Over more than `bridge` frames there is none; there, and before the first and after the last sighting, a box is kept as far
    as the next look.
    """
    after = np.searchsorted(frames, wanted, side="right")
    first, last = np.maximum(after - 1, 0), np.minimum(after, len(frames) - 1)
    passed, apart = wanted - frames[first], frames[last] - frames[first]
    weight = passed / np.maximum(apart, 1)
    long = apart > bridge
    # Across a long absence nobody moves towards where the person will be.
    weight = np.clip(np.where(long, weight >= 0.5, weight), 0, 1)[:, None]
    nearest = np.minimum(np.abs(passed), np.abs(frames[last] - wanted))
    seen = np.where((apart > 0) & ~long, True, nearest < step)
    placed = (1 - weight) * boxes[first] + weight * boxes[last]
    return np.where(seen[:, None], placed, np.nan).astype(np.float32), seen


def _centres(boxes: Floats) -> Floats:
    return np.asarray((boxes[..., :2] + boxes[..., 2:]) / 2)


def _areas(boxes: Floats) -> Floats:
    return np.asarray(np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1))


def _sides(boxes: Floats) -> Floats:
    """Of squares of the same areas."""
    return np.asarray(np.sqrt(_areas(boxes)))


def _common(first: Floats, second: Floats) -> Floats:
    """Areas that boxes (N, 4) have in common, one by one."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    return np.asarray(np.prod(np.maximum(high - low, 0), axis=1))


def _share_within(boxes: Floats, others: Floats) -> npt.NDArray[np.float64]:
    """(N,): how much of each box lies in its other; NaN where the other is."""
    return np.asarray(_common(boxes, others) / np.maximum(_areas(boxes), 1e-9), np.float64)
