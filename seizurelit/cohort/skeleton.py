"""Joint sets: names, bones, what is subtracted, what is the unit, what swaps in a mirror (`skeleton.yaml`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import yaml

from seizurelit.cohort.table import name_fault
from seizurelit.errors import InputError

BUILT_IN = ("body11", "face23")
CHANNELS = ("x", "y", "z", "confidence")
AXES = ("x", "y", "z")

_REQUIRED = ("name", "joints", "bones", "root", "scale", "channels", "fps")
_OPTIONAL = ("flip", "up", "facing", "lengths")


@dataclass(frozen=True)
class Skeleton:
    """A joint set; joints are indices into `joints`.

    Attributes:
        name: of the set.
        joints: names, in the order of a tensor's V axis.
        bones: (child, parent) pairs, a tree whose root is `root`.
        root: the joint that is subtracted.
        scale: the two joints whose median distance is the unit of length.
        flip: (left, right) pairs that swap in a mirror; the others are in the middle.
        channels: what a file's last axis holds, in its order: of x, y, z, confidence.
        fps: frames a second.
        up: the vertical axis.
        facing: (left, right) pair whose line lies along x once a clip has been turned to face the camera; None if no
            pair can tell.
        lengths: of a standard body's bones, in the order of `bones`, with the distance of the `scale` pair as the unit;
            None if none are given.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    root: int
    scale: tuple[int, int]
    flip: tuple[tuple[int, int], ...]
    channels: tuple[str, ...]
    fps: float
    up: Literal["x", "y", "z"] = "y"
    facing: tuple[int, int] | None = None
    lengths: tuple[float, ...] | None = None

    @property
    def dimensions(self) -> int:
        """How many of x, y, z there are: 2 or 3."""
        return sum(axis in self.channels for axis in AXES)

    @cached_property
    def flip_permutation(self) -> tuple[int, ...]:
        """For each joint the joint that takes its place in a mirror; taken twice it is the identity."""
        permutation = list(range(len(self.joints)))
        for left, right in self.flip:
            permutation[left], permutation[right] = right, left
        return tuple(permutation)

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """For each joint its parent; the root is its own."""
        parents = list(range(len(self.joints)))
        for child, parent in self.bones:
            parents[child] = parent
        return tuple(parents)

    def adjacency(self) -> npt.NDArray[np.float32]:
        """The fixed graph A of 2s-AGCN (Shi et al., CVPR 2019, section 3.1): identity, inward, outward.

        Returns:
            (3, V, V) float32. Inward has an entry at [parent, child], outward at [child, parent]; each column with
            entries sums to 1.
        """
        joints = len(self.joints)
        inward = np.zeros((joints, joints), dtype=np.float32)
        for child, parent in self.bones:
            inward[parent, child] = 1.0
        parts = [np.eye(joints, dtype=np.float32), inward, inward.T]
        return np.stack([part / np.maximum(part.sum(axis=0, keepdims=True), 1.0) for part in parts]).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value, in the form of a `skeleton.yaml`: joints by their names."""

        def names(pair: tuple[int, ...]) -> list[str]:
            return [self.joints[joint] for joint in pair]

        value: dict[str, Any] = {
            "name": self.name,
            "joints": list(self.joints),
            "bones": [names(bone) for bone in self.bones],
            "root": self.joints[self.root],
            "scale": names(self.scale),
            "flip": [names(pair) for pair in self.flip],
            "channels": list(self.channels),
            "fps": self.fps,
            "up": self.up,
        }
        if self.facing is not None:
            value["facing"] = names(self.facing)
        if self.lengths is not None:
            value["lengths"] = list(self.lengths)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str = "skeleton") -> Skeleton:
        """From what `to_json` gave or a `skeleton.yaml` says.

        Args:
            value: the mapping.
            where: names the file in the messages.

        Raises:
            InputError: with every fault that was found.
        """
        return _Reading(value, where).skeleton()

    def with_channels(self, channels: tuple[str, ...]) -> Skeleton:
        """The same joints in another file's channels."""
        return dataclasses.replace(self, channels=channels)


class _Reading:
    """One reading of a skeleton's mapping: collects faults, gives indices."""

    def __init__(self, value: object, where: str) -> None:
        self.where = where
        self.faults: list[str] = []
        if not isinstance(value, Mapping):
            msg = f"{where}: is no mapping; write {', '.join(_REQUIRED)}, each with a colon"
            raise InputError(msg)
        self.value = value
        self.index: dict[str, int] = {}

    def fault(self, text: str) -> None:
        self.faults.append(f"{self.where}: {text}")

    def skeleton(self) -> Skeleton:
        for key in _REQUIRED:
            if key not in self.value:
                self.fault(f"{key!r} is missing; add it")
        for key in self.value:
            if key not in _REQUIRED + _OPTIONAL:
                self.fault(f"{key!r} is unknown; there are {', '.join(_REQUIRED + _OPTIONAL)}")
        name = self.value.get("name", "skeleton")
        wrong = name_fault(name) if isinstance(name, str) else "is no text; put it in quotes"
        if wrong:
            self.fault(f"name {name!r} {wrong}")
        joints = self.joints()
        root = self.joint("root", self.value.get("root", joints[0] if joints else ""))
        bones = self.pairs("bones", "[child, parent]")
        flip = self.pairs("flip", "[left, right]")
        scale = self.pair("scale", self.value["scale"], "two joints") if "scale" in self.value else None
        facing = self.value.get("facing")
        facing = self.pair("facing", facing, "[left, right]") if facing is not None else None
        channels, dimensions = self.channels()
        fps = self.value.get("fps", 1.0)
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not math.isfinite(fps) or fps <= 0:
            self.fault(f"fps {fps!r} is no frame rate; write frames a second, such as 25")
        up = self.value.get("up", "y")
        if up not in AXES[:dimensions]:
            self.fault(f"up {up!r} is no axis of these channels; write one of {', '.join(AXES[:dimensions])}")
        if self.index and root is not None:
            self.check_tree(bones, root)
        self.check_flip(flip)
        lengths = self.lengths(len(bones))
        if self.faults or root is None or scale is None:
            raise InputError(*self.faults)
        return Skeleton(name, joints, tuple(bones), root, scale, tuple(flip), channels, float(fps), up, facing, lengths)

    def joints(self) -> tuple[str, ...]:
        joints = self.value.get("joints", [])
        if not isinstance(joints, list) or ("joints" in self.value and len(joints) < 2):
            self.fault("joints is no list of two or more names; write joints: [name, name, …]")
            return ()
        for joint in joints:
            if not isinstance(joint, str) or not joint.strip():
                self.fault(f"joint {joint!r} is no text; put it in quotes")
            elif joint in self.index:
                self.fault(f"joint {joint!r} is there twice; rename one")
            else:
                self.index[joint] = len(self.index)
        return tuple(str(joint) for joint in joints)

    def joint(self, what: str, name: object) -> int | None:
        if isinstance(name, str) and name in self.index:
            return self.index[name]
        if self.index:
            self.fault(f"{what} names {name!r}, which is no joint; correct it, or add it to joints")
        return None

    def pair(self, what: str, pair: object, form: str) -> tuple[int, int] | None:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            self.fault(f"{what} {pair!r} is no pair; write {form}")
            return None
        first, second = self.joint(what, pair[0]), self.joint(what, pair[1])
        if first is None or second is None:
            return None
        if first == second:
            self.fault(f"{what} pairs {pair[0]!r} with itself; write {form}")
            return None
        return first, second

    def pairs(self, what: str, form: str) -> list[tuple[int, int]]:
        pairs = self.value.get(what, [])
        if pairs is None:
            pairs = []
        if not isinstance(pairs, list | tuple):
            self.fault(f"{what} is no list; write one {form} pair a line")
            return []
        return [read for pair in pairs if (read := self.pair(what, pair, form)) is not None]

    def channels(self) -> tuple[tuple[str, ...], int]:
        channels = self.value.get("channels", ["x", "y"])
        if not isinstance(channels, list | tuple) or not all(channel in CHANNELS for channel in channels):
            self.fault(f"channels {channels!r} are not of {', '.join(CHANNELS)}; write them in the file's order")
            return (), 3
        if len(set(channels)) < len(channels):
            self.fault(f"channels {list(channels)!r} name one twice; write each once")
        if "x" not in channels or "y" not in channels:
            self.fault(f"channels {list(channels)!r} lack x or y; two or three dimensions are needed")
        return tuple(channels), 3 if "z" in channels else 2

    def lengths(self, bones: int) -> tuple[float, ...] | None:
        lengths = self.value.get("lengths")
        if lengths is None:
            return None
        numbers = isinstance(lengths, list | tuple) and all(
            isinstance(length, int | float) and not isinstance(length, bool) and math.isfinite(length) and length > 0
            for length in lengths
        )
        if not numbers or len(lengths) != bones:
            self.fault(f"lengths are not {bones} numbers above 0; write one for each bone, in the order of bones")
            return None
        return tuple(float(length) for length in lengths)

    def check_tree(self, bones: list[tuple[int, int]], root: int) -> None:
        names = list(self.index)
        parents: dict[int, int] = {}
        for child, parent in bones:
            if child in parents:
                self.fault(
                    f"joint {names[child]!r} has two parents, {names[parents[child]]!r} and {names[parent]!r}; "
                    "delete one bone"
                )
            else:
                parents[child] = parent
        if root in parents:
            self.fault(f"the root {names[root]!r} has the parent {names[parents[root]]!r}; turn that bone around")
        for joint in range(len(names)):
            path = [joint]
            while path[-1] != root and path[-1] in parents and parents[path[-1]] not in path:
                path.append(parents[path[-1]])
            if path[-1] == root:
                continue
            if path[-1] not in parents:
                if len(path) == 1:
                    self.fault(f"joint {names[joint]!r} has no bone towards the root {names[root]!r}; add one")
            elif parents[path[-1]] == joint and joint == min(path):
                self.fault(f"bones go in a circle: {', '.join(names[step] for step in path)}; delete one")

    def check_flip(self, flip: list[tuple[int, int]]) -> None:
        names = list(self.index)
        seen: set[int] = set()
        for pair in flip:
            for joint in pair:
                if joint in seen:
                    self.fault(f"flip has {names[joint]!r} twice; a joint has one mirror image")
                seen.add(joint)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.append(key.value)
        return super().construct_mapping(node, deep)


def built_in(name: Literal["body11", "face23"]) -> Skeleton:
    """The paper's body or face: METHOD's graphs."""
    return _read(Path(__file__).parent / f"{name}.yaml")


def read_skeleton(path_or_name: str | Path) -> Skeleton:
    """A built-in skeleton by its name, or any from a `skeleton.yaml`.

    Raises:
        InputError: with every fault of the file.
    """
    if str(path_or_name) in BUILT_IN:
        return _read(Path(__file__).parent / f"{path_or_name}.yaml")
    return _read(Path(path_or_name))


def _read(path: Path) -> Skeleton:
    if not path.is_file():
        msg = f"{path}: does not exist; give a skeleton.yaml, or one of {', '.join(BUILT_IN)}"
        raise InputError(msg)
    try:
        value = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError:
        msg = f"{path}: is not UTF-8; save it as UTF-8"
        raise InputError(msg) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        row = f", row {mark.line + 1}" if mark else ""
        msg = f"{path}{row}: is no YAML ({getattr(error, 'problem', error)}); correct it"
        raise InputError(msg) from None
    return Skeleton.from_json(value, str(path))
