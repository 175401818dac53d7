"""Whose keypoints: all bodies or faces of another tool's file, which of them are one person, and which is the patient."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seizurelit.ingestion.keypoints import MOST_FRAMES, Floats, Keypoints, first_faults, frames_between

Integers = npt.NDArray[np.int64]

PERSON = "person"
"""The column of cohort.csv that says which of several people is the patient."""

AMBIGUOUS = 0.5
"""The second most frequent person is seen in more than this share of the frames of the first: nobody is chosen then."""

LARGEST_GAP = 15_000
"""Frames between two that follow each other in a file, ten minutes at 25 fps: more is a slip in a frame's number."""

SAME_PLACE = 0.5
"""Of the size of a person: a body that is farther from all people of the frames before is another person."""


@dataclass(frozen=True)
class Detections:
    """All bodies or faces that a file has, N of them in T frames.

    Attributes:
        frames: (N,) the frame of each, ascending.
        people: (N,) whose each is, an index into `names`.
        coordinates: (N, V, C) of x, y[, z] in the file's unit, NaN where a joint is missing.
        confidence: (N, V) in [0, 1], 0 where a joint is missing.
        names: of the people; `person 1`, … where the file does not tell them apart, `track 3` where it numbers them.
        length: T.
        joints: names of the V points, if the file gives them.
        scheme: the known scheme that the V points are, if the file says so.
        absent: frames before the last that the file does not have at all.
        highest: the largest score in the file; above 1 it is a score that was cut to 1.
    """

    frames: Integers
    people: Integers
    coordinates: Floats
    confidence: Floats
    names: tuple[str, ...]
    length: int
    joints: tuple[str, ...] | None
    scheme: str | None
    absent: int = 0
    highest: float = 1.0

    def part(self, start: float | None, end: float | None, fps: float) -> Detections:
        """Those from start to end, in seconds of the file; frames are counted from the start then."""
        first, last, _ = frames_between(start, end, fps).indices(self.length)
        inside = (self.frames >= first) & (self.frames < last)
        return dataclasses.replace(self._only(inside), frames=self.frames[inside] - first, length=max(last - first, 0))

    def surer_than(self, least: float) -> Detections:
        """Without joints whose confidence is below `least`, and without bodies of which nothing is left then."""
        lost: npt.NDArray[np.bool_] = np.any(np.isnan(self.coordinates), axis=-1)
        missing = lost | (self.confidence < least) | ~(self.confidence > 0)
        cut = dataclasses.replace(
            self,
            coordinates=np.where(missing[..., None], np.nan, self.coordinates),
            confidence=np.where(missing, 0.0, self.confidence),
        )
        kept: npt.NDArray[np.bool_] = np.any(cut.confidence > 0, axis=1)
        return cut._only(kept)

    def of_person(self, person: int) -> Keypoints:
        """The joints of one person in every frame, missing where the person is not seen."""
        mine = self.people == person
        joints, channels = self.coordinates.shape[1:]
        coordinates = np.full((self.length, joints, channels), np.nan)
        confidence = np.zeros((self.length, joints))
        coordinates[self.frames[mine]] = self.coordinates[mine]
        confidence[self.frames[mine]] = self.confidence[mine]
        return Keypoints(coordinates, confidence)

    def most_at_once(self) -> int:
        """The largest number of people in one frame."""
        return int(np.bincount(self.frames).max()) if len(self.frames) else 0

    def _only(self, kept: npt.NDArray[np.bool_]) -> Detections:
        return dataclasses.replace(
            self,
            frames=self.frames[kept],
            people=self.people[kept],
            coordinates=self.coordinates[kept],
            confidence=self.confidence[kept],
        )


@dataclass(frozen=True)
class Body:
    """One body or face of a frame, as a file has it.

    Attributes:
        frame: the file's number of the frame.
        person: the file's name for whose it is; None if it does not say.
        coordinates: (V, C).
        confidence: (V,), the file's score.
        where: names the place in the file for a message.
    """

    frame: int
    person: str | None
    coordinates: Floats
    confidence: Floats
    where: str


def gather(
    bodies: Sequence[Body],
    numbers: Iterable[int],
    where: str,
    faults: list[str],
    *,
    joints: tuple[str, ...] | None = None,
    scheme: str | None = None,
) -> Detections | None:
    """Check the bodies of a file against each other and put them into one record.

    Frames are counted from 0; a file whose first frame is 1 counts from 1. Where a file does not say for every body
    whose it is, bodies are put together by place (`linked`).

    Args:
        bodies: in any order.
        numbers: of all frames that the file has, with bodies or without.
        where: names the file.
        faults: takes one line for everything that is wrong.
        joints: names of the points.
        scheme: of the points.

    Returns:
        The record; None if there are faults.
    """
    there = sorted(set(numbers))
    if not there or not bodies:
        faults.append(f"{where}: has nobody in any of its {len(there)} frames; check the file, or delete it")
        return None
    first = 1 if there[0] == 1 else 0
    for before, after in zip([first, *there], there, strict=False):
        if after - before > LARGEST_GAP or not first <= after < MOST_FRAMES:
            faults.append(f"{where}: frame {after} follows frame {before}; correct the frames' numbers")
            return None
    bodies = sorted(bodies, key=lambda body: body.frame)
    shape, found, seen = bodies[0].coordinates.shape, [], set()
    for body in bodies:
        if body.coordinates.shape != shape:
            (points, axes), (others, other_axes) = body.coordinates.shape, shape
            found.append(
                f"{body.where}: has {points} points of {axes} coordinates, where {bodies[0].where} has {others} of "
                f"{other_axes}; run one network over the whole file"
            )
        if body.person is not None and (body.frame, body.person) in seen:
            found.append(f"{body.where}: person {body.person!r} is in frame {body.frame} twice; delete one")
        seen.add((body.frame, body.person))
    if found:
        faults += first_faults(found, where)
        return None
    frames = np.array([body.frame - first for body in bodies], dtype=np.int64)
    coordinates = np.stack([body.coordinates for body in bodies])
    scores = np.nan_to_num(np.stack([body.confidence for body in bodies]), nan=0.0, posinf=1.0, neginf=0.0)
    confidence = np.clip(scores, 0.0, 1.0)
    named = [body.person for body in bodies if body.person is not None]
    if len(named) == len(bodies):
        names, people = np.unique(np.array(named), return_inverse=True)
    else:
        people = linked(frames, np.where(confidence[..., None] > 0, coordinates, np.nan))
        names = np.array([f"person {number + 1}" for number in range(people.max() + 1)])
    return Detections(
        frames,
        people.astype(np.int64),
        coordinates,
        confidence,
        tuple(map(str, names)),
        there[-1] - first + 1,
        joints,
        scheme,
        absent=there[-1] - first + 1 - len(there),
        highest=float(scores.max()),
    )


def linked(frames: Integers, coordinates: Floats) -> Integers:
    """Which bodies are one person, by place alone.

    From frame to frame the bodies are given to the people who are there so that the distances are least in sum
    (Hungarian method). A distance is the median over the joints, in sizes of the person (the diagonal around the
    joints as they were last seen, however long ago); from `SAME_PLACE` on the body is a new person's. A file that never
    has two bodies in a frame is of one person.

    Args:
        frames: (N,) ascending.
        coordinates: (N, V, C), NaN where missing.

    Returns:
        (N,) numbers of people from 0, in the order of their appearance.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - half a second, for files of several people alone

    people = np.zeros(len(frames), dtype=np.int64)
    starts = np.flatnonzero(np.diff(frames, prepend=-1))
    groups = np.split(np.arange(len(frames)), starts[1:])
    if max(map(len, groups)) == 1:
        return people
    last: list[Floats] = []
    for group in groups:
        cost = np.array([[_distance(pose, coordinates[body]) for body in group] for pose in last])
        given: dict[int, int] = {}
        if last:
            capped = np.minimum(cost, 1e6)
            given = {
                int(body): int(person)
                for person, body in zip(*linear_sum_assignment(capped), strict=True)
                if cost[person, body] < SAME_PLACE
            }
        for position, body in enumerate(group):
            pose = coordinates[body]
            person = given.get(position)
            if person is None:
                person = len(last)
                last.append(pose.copy())
            else:
                last[person] = np.where(np.isnan(pose), last[person], pose)
            people[body] = person
    return people


def _distance(known: Floats, pose: Floats) -> float:
    """Between a person as last seen and a body, in sizes of the person; infinite if nothing can be compared."""
    seen = known[~np.isnan(known).any(axis=-1)]
    apart = np.linalg.norm(known - pose, axis=-1)
    apart = apart[~np.isnan(apart)]
    if len(seen) == 0:
        return np.inf
    if len(apart) == 0:  # no joint in common: their middles
        other = pose[~np.isnan(pose).any(axis=-1)]
        if len(other) == 0:
            return np.inf
        apart = np.linalg.norm(seen.mean(axis=0) - other.mean(axis=0), axis=-1, keepdims=True)
    return float(np.median(apart) / max(float(np.linalg.norm(np.ptp(seen, axis=0))), 1e-9))


def choose(detections: Detections, wanted: str | None) -> int | str:
    """The patient among the people of a file: the wanted one, or the one who is seen in the most frames.

    Args:
        detections: of one seizure.
        wanted: a name; None for the most frequent person.

    Returns:
        An index into the names; or, as a text, why nobody can be chosen.
    """
    counts = np.bincount(detections.people, minlength=len(detections.names))
    order = np.argsort(-counts, kind="stable")
    if wanted is not None:
        if wanted not in detections.names:
            return f"has no person {wanted!r}, only {_listed(detections, counts, order)}; correct the column {PERSON!r}"
        index = detections.names.index(wanted)
        if counts[index] == 0:
            return f"person {wanted!r} is in no frame of the seizure; correct the column {PERSON!r}, or start and end"
        return index
    if counts[order[0]] == 0:
        return "nobody is in any frame of the seizure; correct start and end, or delete the file"
    if len(order) > 1 and counts[order[1]] > AMBIGUOUS * counts[order[0]]:
        return (
            f"has several people, {_listed(detections, counts, order)}; write the patient's name into a column "
            f"{PERSON!r} of the cohort"
        )
    return int(order[0])


def _listed(detections: Detections, counts: Integers, order: Integers) -> str:
    """The most frequent people with how often and where they are."""
    parts = []
    for person in order[:5]:
        if counts[person] == 0:
            continue
        places = detections.coordinates[detections.people == person, :, :2]
        x, y = np.nanmedian(places.reshape(-1, 2), axis=0)
        parts.append(f"{detections.names[person]!r} ({counts[person]} frames, about x {x:.0f}, y {y:.0f})")
    more = int((counts[order[5:]] > 0).sum())
    return ", ".join(parts) + (f" and {more} more" if more else "")
