"""UI-PRMD, Kinect part: ten rehabilitation exercises of ten subjects, done correctly or not (public domain).

Vakanski, Jun, Paul, Baker: A Data Set of Human Body Movements for Physical Rehabilitation Exercises. Data 2018, 3(1):2.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seizurelit.cache.store import COHORT, Cache
from seizurelit.cache.tensors import Metadata, SeizureTensors
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.manifest import Cohort, read_cohort, write_cohort
from seizurelit.cohort.skeleton import Skeleton, read_skeleton
from seizurelit.cohort.table import read_table
from seizurelit.config import digest
from seizurelit.errors import InputError
from seizurelit.ingestion.keypoints import Keypoints, relative_to_root

Floats = npt.NDArray[np.float64]

SIGN = "correct"
PEER_SIGN = "correct_egcn"
PEER_FOLDS = "egcn_folds.csv"
EXTRACTOR = "ui-prmd forward kinematics"
VERSION = 1
"""To be raised when the same files give other bits."""

_MEMBER = re.compile(
    r"(?:^|/)(?P<incorrect>Incorrect )?Segmented Movements/Kinect/(?P<folder>Positions|Angles)/"
    r"(?P<name>m(?P<exercise>\d\d)_s(?P<subject>\d\d)_e(?P<repetition>\d\d))_(?P<what>positions|angles)(?P<inc>_inc)?\.txt$"
)
_LARGEST = 4 * 2**20
"""Bytes of a member once unpacked; the largest of the data set has 116 kB."""


@dataclass(frozen=True)
class Recording:
    """One repetition of one exercise.

    Attributes:
        exercise: 1 to 10.
        subject: 1 to 10.
        repetition: 1 to 10.
        correct: whether it was done as asked.
        positions: name of the member with the offsets of the joints from their parents.
        angles: name of the member with the joints' rotations.
    """

    exercise: int
    subject: int
    repetition: int
    correct: bool
    positions: str
    angles: str

    @property
    def name(self) -> str:
        """As in the data set: mEE_sSS_eRR, and _inc if it is incorrect."""
        name = f"m{self.exercise:02}_s{self.subject:02}_e{self.repetition:02}"
        return name if self.correct else f"{name}_inc"


def ui_prmd_skeleton() -> Skeleton:
    """The 22 joints of the Kinect part."""
    return read_skeleton(Path(__file__).parent / "ui_prmd.yaml")


def rotations(degrees: Floats) -> Floats:
    """Rotation matrices R = Rz · Rx · Ry of Euler angles.

    Of all 36 orders of factors and columns this one alone keeps the feet where they are in a squat: they move by 2 cm
    (standard deviation over the recording), by 13 cm under Rz · Ry · Rx, and by 7 cm or more under all others.

    Args:
        degrees: (..., 3) angles about x, y and z.

    Returns:
        (..., 3, 3).
    """
    radians = np.deg2rad(degrees)
    (cx, cy, cz), (sx, sy, sz) = np.moveaxis(np.cos(radians), -1, 0), np.moveaxis(np.sin(radians), -1, 0)
    rows = [
        [cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy],
        [sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy],
        [-cx * sy, sx, cx * cy],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def forward_kinematics(offsets: Floats, degrees: Floats, skeleton: Skeleton) -> Floats:
    """Absolute positions of joints: p(child) = p(parent) + R(parent) · offset(child), R accumulated from the root.

    Args:
        offsets: (T, V, 3) of each joint from its parent, in the parent's axes; the root's is its position.
        degrees: (T, V, 3) Euler angles of each joint.
        skeleton: whose joints stand after their parents.

    Returns:
        (T, V, 3) in the offsets' unit.
    """
    turned = rotations(degrees)
    positions = np.array(offsets, dtype=np.float64)
    for joint, parent in enumerate(skeleton.parents):
        if parent == joint:
            continue
        positions[:, joint] = positions[:, parent] + (turned[:, parent] @ offsets[:, joint, :, None])[..., 0]
        turned[:, joint] = turned[:, parent] @ turned[:, joint]
    return positions


def ingest_ui_prmd(
    path: Path, root: Path, peer_folds: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Cache:
    """Make a cohort and its cache from the zip file of the data set.

    The sign is `correct` (1 or 0), the columns `exercise` (m01 to m10) and `repetition` (1 to 10); joints are in torso
    lengths (waist to neck, median over the recording) relative to the waist, at the Kinect's own 30 Hz.

    Args:
        path: the zip file, or any that has the two folders of segmented Kinect movements in it.
        root: folder of the cache.
        peer_folds: CSV file with the columns exercise, fold, subject, repetition, label (correct or incorrect): the
            subset and the folds of EGCN (Yu et al., IJCAI 2022). Adds the column `correct_egcn`, empty outside that
            subset, and writes `egcn_folds.csv` (fold, subject) into the cache.
        progress: called with (recordings made, recordings in all) at the start and after every recording.

    Raises:
        InputError: if the zip file or the folds have faults, or the folder holds another cohort.
    """
    if not path.is_file():
        msg = f"--keypoints {path}: there is no such file; give the data set's zip file"
        raise InputError(msg)
    try:
        with zipfile.ZipFile(path) as archive:
            return _ingest(archive, path, root, peer_folds, progress)
    except zipfile.BadZipFile as error:
        msg = f"{path}: is no whole zip file ({error}); download it again"
        raise InputError(msg) from None


def _ingest(
    archive: zipfile.ZipFile,
    path: Path,
    root: Path,
    peer_folds: Path | None,
    progress: Callable[[int, int], None] | None,
) -> Cache:
    recordings = _recordings(archive, path)
    peers = _peers(peer_folds, recordings) if peer_folds else None
    cache = Cache(root)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / COHORT
        _write_table(table, recordings, peers)
        cohort = read_cohort(table)
        cache.require_only(cohort)
        skeleton = ui_prmd_skeleton()
        if progress:
            progress(0, len(recordings))
        for done, recording in enumerate(recordings, start=1):
            cache.write(_tensors(archive, path, recording, skeleton, cohort))
            if progress:
                progress(done, len(recordings))
        if peers:
            write_whole(root / PEER_FOLDS, _folds_text(peers).encode())
        else:
            (root / PEER_FOLDS).unlink(missing_ok=True)
        # The table comes last: a folder in which this was stopped half-way is no cache, and a second run completes it.
        return Cache.create(root, table)


def _recordings(archive: zipfile.ZipFile, path: Path) -> list[Recording]:
    """The recordings by exercise, subject, repetition, correct first; members by other names are passed over."""
    faults: list[str] = []
    found: dict[tuple[int, int, int, bool], dict[str, str]] = {}
    for member in archive.infolist():
        match = _MEMBER.search(member.filename)
        if match is None or (match["incorrect"] is None) != (match["inc"] is None):
            continue
        if match["folder"].lower() != match["what"]:
            continue
        key = (int(match["exercise"]), int(match["subject"]), int(match["repetition"]), match["incorrect"] is None)
        parts = found.setdefault(key, {})
        if match["what"] in parts:
            faults.append(f"{path}: has {match['name']}_{match['what']} twice; download it again")
        if member.file_size > _LARGEST:
            faults.append(f"{path}: {member.filename!r} has {member.file_size:,} bytes, too many; download it again")
        parts[match["what"]] = member.filename
    recordings = []
    for key in sorted(found, key=lambda key: (*key[:3], not key[3])):
        parts = found[key]
        if len(parts) < 2:
            faults.append(
                f"{path}: has {next(iter(parts.values()))!r} alone, without its angles or positions; download it again"
            )
            continue
        recordings.append(Recording(*key, parts["positions"], parts["angles"]))
    if not found:
        faults.append(
            f"{path}: has no 'Segmented Movements/Kinect/Positions/mEE_sSS_eRR_positions.txt'; give UI-PRMD's zip file"
        )
    if faults:
        raise InputError(*faults)
    return recordings


@dataclass(frozen=True)
class _Peers:
    """The peer's protocol.

    Attributes:
        recordings: names of its subset.
        folds: subject → fold.
    """

    recordings: frozenset[str]
    folds: Mapping[str, str]


def _peers(path: Path, recordings: list[Recording]) -> _Peers:
    faults: list[str] = []
    table = read_table(path, ("exercise", "fold", "subject", "repetition", "label"), faults)
    names = {(r.exercise, r.subject, r.repetition, r.correct): r.name for r in recordings}
    chosen: dict[str, int] = {}
    folds: dict[str, tuple[str, int]] = {}
    for row in table.rows if table else ():
        at, cells = f"{path}, row {row.line}", row.cells
        numbers = [cells[key] for key in ("exercise", "subject", "repetition")]
        if cells["label"] not in ("correct", "incorrect") or not all(n.isascii() and n.isdigit() for n in numbers):
            faults.append(f"{at}: is no recording; write three numbers, and correct or incorrect")
            continue
        exercise, subject, repetition = map(int, numbers)
        name = names.get((exercise, subject, repetition, cells["label"] == "correct"))
        if name is None:
            faults.append(f"{at}: the zip file has no such recording; delete the row")
            continue
        if name in chosen:
            faults.append(f"{at}: {name} is in row {chosen[name]} already; delete one of the two")
        chosen.setdefault(name, row.line)
        fold, line = folds.setdefault(f"s{subject:02}", (cells["fold"], row.line))
        if fold != cells["fold"]:
            faults.append(f"{at}: subject {subject} is in fold {fold!r} in row {line}; a subject is in one fold")
    if faults:
        raise InputError(*faults)
    return _Peers(frozenset(chosen), {subject: folds[subject][0] for subject in sorted(folds)})


def _folds_text(peers: _Peers) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("fold", "subject"))
    writer.writerows(sorted((fold, subject) for subject, fold in peers.folds.items()))
    return text.getvalue()


def _write_table(path: Path, recordings: list[Recording], peers: _Peers | None) -> None:
    columns = ["subject", "seizure", "file", "exercise", "repetition", SIGN]
    rows: list[list[object]] = []
    for recording in recordings:
        label = int(recording.correct)
        row = [f"s{recording.subject:02}", recording.name, recording.positions]
        rows.append([*row, f"m{recording.exercise:02}", recording.repetition, label])
        if peers:
            rows[-1].append(label if recording.name in peers.recordings else None)
    write_cohort(path, [*columns, PEER_SIGN] if peers else columns, rows)


def _tensors(
    archive: zipfile.ZipFile, path: Path, recording: Recording, skeleton: Skeleton, cohort: Cohort
) -> SeizureTensors:
    joints = len(skeleton.joints)
    contents = [archive.read(member) for member in (recording.positions, recording.angles)]
    offsets, degrees = (
        _numbers(content, joints, f"{path}: {member!r}")
        for content, member in zip(contents, (recording.positions, recording.angles), strict=True)
    )
    if len(offsets) != len(degrees):
        msg = f"{path}: {recording.name} has {len(offsets)} frames of positions, {len(degrees)} of angles; download it again"
        raise InputError(msg)
    positions = forward_kinematics(offsets, degrees, skeleton)
    present = np.ones(positions.shape[:2])
    relative = relative_to_root(Keypoints(positions, present), skeleton)
    if isinstance(relative, str):
        msg = f"{path}: {recording.name}: {relative}"
        raise InputError(msg)
    metadata = Metadata(
        seizure=recording.name,
        subject=cohort.subject_of(recording.name),
        stream="pose",
        fps=skeleton.fps,
        appearance_fps=None,
        skeleton=skeleton,
        source_digest=hashlib.sha256(b"\0".join(contents)).hexdigest(),
        extractor=EXTRACTOR,
        extractor_digest=digest(f"version {VERSION}", repr(skeleton)),
        facts={"duration_s": len(positions) / skeleton.fps, "container": "ui-prmd", "unit_length": relative.unit},
    )
    tensors = {
        "pose.keypoints": relative.keypoints.astype(np.float32),
        "pose.root": relative.root.astype(np.float32),
        "pose.confidence": present.astype(np.float32),
    }
    return SeizureTensors(metadata, tensors)


def _numbers(content: bytes, joints: int, where: str) -> Floats:
    """(T, V, 3) from a member: a frame a line, the joints' x, y, z after each other."""
    try:
        table = np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=2, dtype=np.float64)
    except ValueError as error:
        msg = f"{where} cannot be read ({' '.join(str(error).split())[:120]}); download it again"
        raise InputError(msg) from None
    if table.shape[1:] != (3 * joints,) or len(table) == 0 or not np.isfinite(table).all():
        msg = f"{where} is no table of (T, {3 * joints}) numbers, but {table.shape}; download it again"
        raise InputError(msg)
    return table.reshape(-1, joints, 3)
