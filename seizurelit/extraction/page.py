"""A page to look at: for every seizure what was found and what was not, one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.cohort.manifest import STAND_IN as STAND_IN_COLUMN
from seizurelit.cohort.manifest import Seizure
from seizurelit.cohort.skeleton import Skeleton
from seizurelit.config import RESEARCH_USE
from seizurelit.errors import InputError
from seizurelit.extraction.backend import Floats, Image
from seizurelit.extraction.drawing import draw, face_crop, hide_faces, jpeg, shrink
from seizurelit.extraction.flags import grave_facts
from seizurelit.extraction.marks import Found, Marks, marks_of
from seizurelit.scheduling.ledger import Ledger

STAND_IN = "STAND-IN COHORT (not clinical data)"

MISSING, FILLED, PRESENT = 0, 1, 2

TILES = 12
TILE_WIDTH = 320
_TILE_AREA = 320 * 180
# 38 seizures of 12 tiles stay below 10 MB.
_TILE_BYTES, _FACE_BYTES = 12_000, 2_500
_FACE_SIDE = 88
_BINS = 400

_FAILED, _NOT_EXTRACTED = "failed", "not extracted"
_BAD = 5.0  # a reason of this weight is no matter of degree
_GRAVE = 4.0  # likewise, and a patient who is in no frame at all
_FEW_PATIENT, _FEW_FACES, _MANY_MISSING, _MANY_REPEATED, _UNSURE = 0.8, 0.5, 0.25, 0.05, 0.6


@dataclass(frozen=True)
class Strip:
    """One line of a timeline.

    Attributes:
        name: of what is shown.
        states: (T,) of MISSING, FILLED, PRESENT.
        fps: frames a second.
    """

    name: str
    states: npt.NDArray[np.uint8]
    fps: float

    def share(self, state: int) -> float:
        """The share of frames in this state."""
        return float((self.states == state).mean())

    @property
    def longest_gap(self) -> tuple[float, float]:
        """(start, length) of the longest stretch without it, in seconds; the length is 0 without any."""
        gaps = [(stop - start, start) for start, stop, state in runs(self.states) if state == MISSING]
        length, start = max(gaps, key=lambda gap: (gap[0], -gap[1]), default=(0, 0))
        return start / self.fps, length / self.fps


@dataclass(frozen=True)
class Finding:
    """What is known of one seizure of the cohort.

    Attributes:
        seizure: the row of the cohort.
        facts: of both streams' metadata.
        made_by: (what, text) of extractor and weights.
        frames: on the timeline; 0 where nothing was extracted.
        strips: patient, face, and each joint.
        error: the line of a failed extraction, or that there was none.
        reasons: (weight, why a person should look), the weightiest first.
    """

    seizure: Seizure
    facts: Mapping[str, Any] = field(default_factory=dict)
    made_by: tuple[tuple[str, str], ...] = ()
    frames: int = 0
    strips: tuple[Strip, ...] = ()
    error: str | None = None
    reasons: tuple[tuple[float, str], ...] = ()

    @property
    def need(self) -> float:
        """How much a person should look; the page is sorted by it."""
        return sum(weight for weight, _ in self.reasons)


def findings_of(cache: Cache) -> list[Finding]:
    """What is known of all seizures of a cache's cohort, those that most need a look first.

    Args:
        cache: what was extracted; the ledger of the extraction lies in its folder `extraction`.

    Raises:
        InputError: if a file of the cache is damaged.
    """
    errors = failed(cache.root)
    findings = [find(cache, seizure, errors.get(seizure.name)) for seizure in cache.cohort().seizures]
    return sorted(findings, key=lambda finding: (-finding.need, finding.seizure.name))


def grave(findings: Sequence[Finding]) -> dict[str, str]:
    """Seizure → why it cannot be used unseen, of those that were extracted: the wrong patient, or nobody, or lost frames."""
    reasons = {
        finding.seizure.name: [reason for weight, reason in finding.reasons if weight >= _GRAVE]
        for finding in findings
        if finding.strips
    }
    return {name: "; ".join(given) for name, given in reasons.items() if given}


def write_page(cache: Cache, findings: Sequence[Finding], videos: Path, out: Path, show_faces: bool = False) -> Path:
    """Write the page of all seizures of a cache's cohort.

    Args:
        cache: what was extracted.
        findings: of it, in the order in which they are shown.
        videos: folder against which the cohort's video cells resolve.
        out: the HTML file.
        show_faces: do not blur. Otherwise see `drawing.hide_faces`.

    Returns:
        The file.

    Raises:
        InputError: if a file of the cache is damaged. A video that cannot be read is said on the page instead.
    """
    body = [_head(findings, stand_in=cache.cohort().is_standin, show_faces=show_faces)]
    for position, finding in enumerate(findings):
        sheet = _sheet(cache, finding, videos, show_faces) if finding.strips else ""
        body.append(_section(finding, position, len(findings), sheet))
    page = _PAGE.format(style=_STYLE, body="\n".join(body), use=escape(RESEARCH_USE))
    write_whole(out, page.encode())
    return out


def failed(root: Path) -> dict[str, str]:
    """Seizure → the error of its last extraction, of those that failed, from the ledger in a cache folder."""
    records = Ledger(root / "extraction").records()
    errors = {job: record.error or "failed" for job, record in records.items() if record.state == "failed"}
    return {job: error.removeprefix("InputError: ").removeprefix("RunError: ") for job, error in errors.items()}


def find(cache: Cache, seizure: Seizure, error: str | None) -> Finding:
    """Read what the cache has of a seizure, and say why a person should look at it."""
    streams = [stream for stream in ("pose", "face") if cache.has(seizure.name, stream)]
    if not streams:
        why = error or "not extracted: there is nothing in the cache; run the extraction"
        return Finding(seizure, error=why, reasons=((100.0, _FAILED) if error else (90.0, _NOT_EXTRACTED),))
    facts: dict[str, Any] = {}
    made_by: dict[str, str] = {}
    strips: list[Strip] = []
    for stream in streams:
        names = [name for name in cache.names(seizure.name, stream) if not name.endswith(".appearance")]
        read = cache.read(seizure.name, stream, names)
        metadata = read.metadata
        facts |= metadata.facts
        made_by[f"{stream} by"] = metadata.extractor
        if metadata.subjects_seen:
            made_by[f"{stream} weights were fitted on"] = ", ".join(sorted(metadata.subjects_seen))
        if f"{stream}.confidence" not in names or metadata.skeleton is None:
            continue
        states = states_of(read[f"{stream}.confidence"])
        line = partial(Strip, fps=metadata.fps)
        strips.append(line("patient" if stream == "pose" else "face", states.max(axis=1)))
        if stream == "pose":
            strips += [line(joint, states[:, index]) for index, joint in enumerate(metadata.skeleton.joints)]
    strips.sort(key=lambda strip: ("patient", "face").index(strip.name) if strip.name in ("patient", "face") else 2)
    return Finding(
        seizure,
        facts,
        tuple(made_by.items()),
        max((len(strip.states) for strip in strips), default=0),
        tuple(strips),
        error,
        tuple(_reasons(facts, strips, error)),
    )


def states_of(confidence: Floats) -> npt.NDArray[np.uint8]:
    """Which points are missing, filled or present.

    What `gaps` interpolated has one confidence throughout the gap, half of the smaller of its two neighbours; that is
    how it is told from what was seen.

    Args:
        confidence: (T, V) in [0, 1]; 0 where missing.

    Returns:
        (T, V) of MISSING, FILLED, PRESENT.
    """
    states = np.where(confidence > 0, PRESENT, MISSING).astype(np.uint8)
    for joint in range(confidence.shape[1]):
        column = confidence[:, joint]
        for start, stop, value in runs(column):
            if start > 0 and stop < len(column) and value > 0:
                lower = min(column[start - 1], column[stop])
                if math.isclose(value, lower / 2, rel_tol=1e-6):
                    states[start:stop, joint] = FILLED
    return states


def runs(values: npt.NDArray[Any]) -> list[tuple[int, int, Any]]:
    """(start, stop, value) of each stretch of one value, in order."""
    edges = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return [(start, stop, values[start]) for start, stop in itertools.pairwise(edges) if start < stop]


def _reasons(facts: Mapping[str, Any], strips: Sequence[Strip], error: str | None) -> list[tuple[float, str]]:
    """(weight, reason), the weightiest first."""
    found = {strip.name: 1 - strip.share(MISSING) for strip in strips}
    joints = [strip.share(MISSING) for strip in strips if strip.name not in ("patient", "face")]
    repeated = _ratio(facts.get("frames_repeated"), facts.get("frames_expected"))
    confidence = facts.get("patient_confidence")
    reasons: list[tuple[float, str]] = []
    if error:
        reasons.append((50.0, "the last extraction failed; an earlier one is shown"))
    reasons += grave_facts(facts)
    if isinstance(confidence, float) and confidence < _UNSURE and not facts.get("ambiguous"):
        reasons.append((2 * (1 - confidence), f"patient chosen with confidence {confidence:.2f}"))
    patient = found.get("patient", 1.0)
    if patient < _FEW_PATIENT:
        reasons.append((4 * (1 - patient), f"patient in {_percent(patient)} of the frames"))
    face = found.get("face", 0.0)
    if face < _FEW_FACES:
        reasons.append((1 - face, f"face in {_percent(face)}"))
    missing = float(np.mean(joints)) if joints else 0.0
    if missing > _MANY_MISSING:
        reasons.append((2 * missing, f"{_percent(missing)} of the joints missing"))
    if repeated > _MANY_REPEATED:
        reasons.append((2 * repeated, f"{_percent(repeated)} of the frames repeated"))
    return sorted(reasons, reverse=True)


def _ratio(part: object, whole: object) -> float:
    if isinstance(part, int | float) and isinstance(whole, int | float) and whole > 0:
        return part / whole
    return 0.0


def _percent(share: float) -> str:
    """A share in per cent; 0 and 100 are exact."""
    percent = 100 * share
    if 0 < percent < 1:
        return "< 1 %"
    if 99 < percent < 100:
        return "> 99 %"
    return f"{percent:.0f} %"


def _head(findings: Sequence[Finding], *, stand_in: bool, show_faces: bool) -> str:
    look = sum(bool(finding.reasons) for finding in findings)
    note = (
        "Faces are shown: keep this file where the videos are."
        if show_faces
        else "Only the patient's box is sharp, and in it the face is blurred; another person's face inside that box may "
        "still be seen. Keep this file where the videos are."
    )
    rows = "\n".join(_row(finding, position) for position, finding in enumerate(findings))
    banner = f'<p class="stand-in"><strong>{STAND_IN}</strong></p>' if stand_in else ""
    return f"""<a class="skip" href="#s0">Skip to the first seizure</a>
<header id="top">
<h1>What was found in each seizure</h1>
{banner}<p class="use">{escape(RESEARCH_USE)}</p>
<p>{look} of {len(findings)} seizures need a look; those come first. {note}</p>
<ul class="legend" aria-label="Legend">
<li><i class="sw present"></i>present</li><li><i class="sw filled"></i>filled in a short gap</li>
<li><i class="sw missing"></i>missing</li>
<li><i class="dot left"></i>patient’s left</li><li><i class="dot right"></i>right</li><li><i class="dot middle"></i>middle,
landmarks</li><li><i class="dot ring"></i>ring: confidence below 0.5</li>
<li><i class="box patient"></i>patient’s box</li><li><i class="box face"></i>face’s box</li></ul>
</header>
<main>
<section aria-labelledby="overview"><h2 id="overview">Overview</h2>
<div class="scroll" tabindex="0" role="region" aria-labelledby="overview"><table class="overview">
<thead><tr><th scope="col">Seizure</th><th scope="col">Subject</th><th scope="col">Look at</th><th scope="col">Seconds</th>
<th scope="col">Patient</th><th scope="col">Face</th><th scope="col">Joints missing</th><th scope="col">Filled</th>
<th scope="col">Frames repeated</th><th scope="col">People</th></tr></thead>
<tbody>
{rows}
</tbody></table></div></section>"""


def _row(finding: Finding, position: int) -> str:
    name, subject = escape(finding.seizure.name), escape(finding.seizure.subject)
    look = f"<ul>{_badges(finding)}</ul>" if finding.reasons else '<span class="quiet">–</span>'
    shares = {strip.name: strip for strip in finding.strips}
    joints = [strip for strip in finding.strips if strip.name not in ("patient", "face")]
    people = finding.facts.get("people")
    cells = [
        f"{finding.frames / finding.strips[0].fps:.1f}" if finding.strips else "–",
        *(_percent(1 - shares[name].share(MISSING)) if name in shares else "–" for name in ("patient", "face")),
        _percent(float(np.mean([strip.share(MISSING) for strip in joints]))) if joints else "–",
        _percent(float(np.mean([strip.share(FILLED) for strip in joints]))) if joints else "–",
        _repeated(finding),
        escape(str(people)) if people is not None else "–",
    ]
    numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row"><a href="#s{position}">{name}</a></th><td>{subject}</td><td>{look}</td>{numbers}</tr>'


def _repeated(finding: Finding) -> str:
    repeated, expected = finding.facts.get("frames_repeated"), finding.facts.get("frames_expected")
    return "–" if repeated is None or not expected else _percent(_ratio(repeated, expected))


def _badges(finding: Finding) -> str:
    return "".join(
        f'<li class="{"bad" if weight >= _BAD else "mild"}">{escape(reason)}</li>' for weight, reason in finding.reasons
    )


def _section(finding: Finding, position: int, count: int, sheet: str) -> str:
    name, subject = escape(finding.seizure.name), escape(finding.seizure.subject)
    before = f'<a href="#s{position - 1}">previous</a>' if position else ""
    after = f'<a href="#s{position + 1}">next</a>' if position + 1 < count else ""
    nav = " ".join(link for link in (before, after, '<a href="#top">overview</a>') if link)
    parts = [
        f'<section id="s{position}" class="seizure" aria-labelledby="h{position}" tabindex="-1">',
        f'<div class="bar"><h2 id="h{position}">{name} <small>subject {subject}</small></h2>'
        f'<nav aria-label="From {name}">{nav}</nav></div>',
    ]
    if finding.error:
        parts.append(f'<p class="error" role="note">{escape(finding.error)}</p>')
    if finding.strips:
        if finding.reasons:
            parts.append(f'<ul class="reasons" aria-label="Why to look">{_badges(finding)}</ul>')
        parts += [sheet, _timeline(finding), _facts(finding)]
    parts.append("</section>")
    return "\n".join(parts)


def _sheet(cache: Cache, finding: Finding, videos: Path, show_faces: bool) -> str:
    """The contact sheet: frames over time with what was found in them, or why there are none."""
    from seizurelit.video.previews import preview_frames  # noqa: PLC0415 - decoders only where pictures are wanted

    seizure = finding.seizure
    if seizure.columns.get(STAND_IN_COLUMN) == "1":
        return '<p class="quiet">No pictures: this seizure is synthetic.</p>'
    if seizure.video is None:
        return '<p class="quiet">No pictures: the cohort names no video for this seizure.</p>'
    count = min(TILES, finding.frames)
    frames = [int((tile + 0.5) * finding.frames / count) for tile in range(count)]
    try:
        images = preview_frames(
            videos / Path(seizure.video).expanduser(),
            frames,
            seizure.start,
            seizure.end,
            damaged=bool(finding.facts.get("decoding_faults")),
        )
    except InputError as error:
        return f'<p class="error" role="note">No pictures: {escape(str(error))}</p>'
    found = marks_of(cache, seizure.name)
    tiles = [_tile(finding, frame, image, found, show_faces) for frame, image in zip(frames, images, strict=True)]
    return f'<div class="sheet">{"".join(tiles)}</div>'


def _tile(finding: Finding, frame: int, image: Image, found: Found, show_faces: bool) -> str:
    marks = found.at(frame)
    small, placed = shrink(image, marks, width=TILE_WIDTH, area=_TILE_AREA)
    close = face_crop(image, marks, _FACE_SIDE)
    if not show_faces:
        small = hide_faces(small, placed, found.body or _NO_BODY)
    picture = draw(small, placed, found.body, found.landmarks)
    seconds = frame / finding.strips[0].fps
    joints, landmarks = int(marks.joint_found.sum()), int(marks.landmark_found.sum())
    alt = ", ".join(
        (
            f"{finding.seizure.name} at {seconds:.1f} s",
            "patient found" if np.isfinite(marks.box).all() else "no patient",
            f"{joints} of {len(marks.joints)} joints",
            f"face with {landmarks} of {len(marks.landmarks)} landmarks" if close else "no face",
        )
    )
    inset = ""
    if close is not None:
        crop, inside = close
        if not show_faces:
            crop = hide_faces(crop, inside, found.body or _NO_BODY)
        landmarked = draw(crop, _without_boxes(inside), None, found.landmarks)
        inset = f'<img class="inset" width="{_FACE_SIDE}" height="{_FACE_SIDE}" alt="" src="{_data(landmarked, _FACE_BYTES)}">'
    height, width = picture.shape[:2]
    return (
        f'<figure><img width="{width}" height="{height}" loading="lazy" alt="{escape(alt)}" src="{_data(picture, _TILE_BYTES)}">'
        f"<figcaption>{inset}<span>{seconds:.1f} s<br>frame {frame}<br>{joints}/{len(marks.joints)} joints<br>"
        f"{landmarks}/{len(marks.landmarks)} face</span></figcaption></figure>"
    )


_NO_BODY = Skeleton("none", ("root",), (), 0, (0, 0), (), ("x", "y"), 25.0)


def _without_boxes(marks: Marks) -> Marks:
    nowhere = np.full(4, np.nan, dtype=np.float32)
    return Marks(nowhere, marks.joints, marks.joint_confidence, nowhere, marks.landmarks, marks.landmark_confidence)


def _data(image: Image, most: int) -> str:
    """A data URI; a noisy picture gets a lower quality, so that it has at most so many bytes and the page stays small."""
    for quality in (70, 55, 40, 25):
        encoded = jpeg(image, quality)
        if len(encoded) <= most:
            break
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode()


def _timeline(finding: Finding) -> str:
    rows = "\n".join(_strip(strip) for strip in finding.strips)
    seconds = finding.frames / finding.strips[0].fps
    ticks = "".join(f"<span>{part * seconds / 4:.1f} s</span>" for part in range(5))
    return f"""<table class="strips"><caption>Over time</caption>
<thead><tr><th scope="col">What</th><th scope="col"><div class="ticks">{ticks}</div></th><th scope="col">Present</th>
<th scope="col">Filled</th><th scope="col">Longest gap</th></tr></thead><tbody>
{rows}
</tbody></table>"""


def _strip(strip: Strip) -> str:
    start, length = strip.longest_gap
    gap = f"{length:.1f} s, at {start:.1f} s" if length else "–"
    present, filled = _percent(strip.share(PRESENT)), _percent(strip.share(FILLED))
    label = f"{strip.name}: present {present}, filled {filled}, longest gap {gap}"
    edges = np.linspace(0, len(strip.states), min(_BINS, len(strip.states)) + 1).astype(int)
    bins = np.minimum.reduceat(strip.states, edges[:-1])
    # Height tells the states apart as well as colour does: whole, half, a line.
    paths = "".join(
        f'<path class="{kind}" d="'
        + "".join(f"M{a} {top}h{b - a}V10H{a}z" for a, b, found in runs(bins) if found == state)
        + '"/>'
        for state, kind, top in ((PRESENT, "present", 0), (FILLED, "filled", 4), (MISSING, "missing", 8))
    )
    return (
        f'<tr><th scope="row">{escape(strip.name)}</th><td class="strip"><svg role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {len(bins)} 10" preserveAspectRatio="none">{paths}</svg></td>'
        f'<td class="n">{present}</td><td class="n">{filled}</td><td class="n">{gap}</td></tr>'
    )


def _facts(finding: Finding) -> str:
    facts = finding.facts
    told = [(key.replace("_", " "), _text(facts[key])) for key in facts]
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(text)}</dd></div>" for key, text in [*told, *finding.made_by]
    )
    return f"<details><summary>Facts of the recording and the extraction</summary><dl>{items}</dl></details>"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
    return "–" if value is None else str(value)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark">
<title>What was found in each seizure</title>
<style>{style}</style></head>
<body>
{body}
</main>
<footer><p>{use}</p></footer>
</body></html>
"""

_STYLE = """
:root { --page: #fbfbfa; --ink: #1d2125; --quiet: #5c656e; --line: #d5d9dd; --card: #fff; --link: #0b5394;
  --present: #0072b2; --filled: #b97a00; --missing: #c44a00; --bad: #9a2c00; --bad-back: #fdeee6;
--mild-back: #eef1f4; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --ink: #e6e8ea; --quiet: #a2abb4; --line: #363d44;
  --card: #1c2024; --link: #8ec5f4; --present: #56b4e9; --filled: #e6a817; --missing: #f08a4b; --bad: #ffb392;
  --bad-back: #43210f; --mild-back: #2a3036; } }
* { box-sizing: border-box; }
html { scroll-padding-top: .5rem; }
body { margin: 0 auto; max-width: 84rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.45 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: .3rem 0; } h2 { font-size: 1.15rem; margin: 0; overflow-wrap: anywhere; }
h2 small { font-weight: 400; color: var(--quiet); margin-left: .4rem; }
a { color: var(--link); } :focus-visible { outline: 3px solid var(--present); outline-offset: 2px; }
section:focus { outline: none; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; background: var(--card); padding: .5rem; }
.use, .quiet, footer { color: var(--quiet); } .use { margin: .3rem 0; font-size: .9rem; }
.stand-in { margin: .5rem 0; padding: .4rem .7rem; border: 2px solid var(--filled); width: fit-content; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; padding: 0; font-size: .875rem; }
.legend i { display: inline-block; width: 1em; height: .9em; margin-right: .35em; vertical-align: -.1em; }
.legend .sw.present { background: var(--present); }
.legend .sw.filled { background: var(--filled); height: .5em; vertical-align: 0; }
.legend .sw.missing { background: var(--missing); height: .2em; vertical-align: 0; }
.legend .dot { width: .8em; height: .8em; border-radius: 50%; border: 2px solid #000; outline: 1px solid var(--line); }
.dot.left { background: #56b4e9; } .dot.right { background: #d55e00; } .dot.middle { background: #f0e442; }
.dot.ring { background: #000; box-shadow: inset 0 0 0 2px #f0e442; }
.legend .box { border: 2px solid #009e73; } .legend .box.face { border-color: #cc79a7; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { vertical-align: bottom; color: var(--quiet); font-weight: 600; }
th[scope=row] { font-weight: 500; overflow-wrap: anywhere; } .overview th[scope=row] { min-width: 9rem; }
.n, .overview thead th:nth-child(n+4) { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.overview thead th:nth-child(n+4) { white-space: normal; }
td ul, .reasons { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem; }
.overview td ul { min-width: 13rem; }
li.bad, li.mild { padding: 0 .5em; border-radius: .6em; font-size: .85rem; background: var(--mild-back); }
li.bad { background: var(--bad-back); color: var(--bad); font-weight: 600; }
.seizure { margin-top: 1.6rem; padding: .9rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
.bar { display: flex; flex-wrap: wrap; gap: .3rem 1rem; justify-content: space-between; margin-bottom: .5rem; }
nav { display: flex; gap: .9rem; font-size: .9rem; }
.error { margin: .4rem 0; padding: .4rem .7rem; background: var(--bad-back); color: var(--bad);
  border-left: 4px solid; overflow-wrap: anywhere; }
.sheet { display: grid; grid-template-columns: repeat(6, 1fr); gap: .6rem; margin: .6rem 0 1rem; }
figure { margin: 0; break-inside: avoid; } figure > img { width: 100%; height: auto; display: block; background: #000; }
figcaption { display: flex; flex-wrap: wrap; gap: .5rem; padding-top: .25rem; font-size: .8rem; line-height: 1.35;
  color: var(--quiet);
  font-variant-numeric: tabular-nums; }
.strips caption { text-align: left; font-weight: 600; padding: .2rem 0; }
.strips th, .strips td { padding: .12rem .5rem .12rem 0; border: 0; vertical-align: middle; font-size: .85rem; }
.strips th[scope=row] { white-space: nowrap; width: 1%; } .strips .n { width: 1%; }
.strips thead th:nth-child(n+3) { text-align: right; }
.strip svg { display: block; width: 100%; height: .8rem; min-width: 7rem; background: var(--mild-back);
  shape-rendering: crispEdges; }
.ticks { display: flex; justify-content: space-between; font-weight: 400; font-variant-numeric: tabular-nums; }
path.present { fill: var(--present); } path.filled { fill: var(--filled); } path.missing { fill: var(--missing); }
details { margin-top: .7rem; } summary { cursor: pointer; color: var(--link); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); gap: .1rem 1.2rem;
  font-size: .85rem; }
dl div { display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--line); }
dt { color: var(--quiet); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
@media (max-width: 70rem) { .sheet { grid-template-columns: repeat(4, 1fr); } }
@media (max-width: 48rem) { .sheet { grid-template-columns: repeat(3, 1fr); } }
@media (max-width: 40rem) { body { padding: .6rem; } .sheet { grid-template-columns: 1fr 1fr; }
  .seizure { padding: .6rem; }
  .inset { width: 64px; height: 64px; }
  .strips th:nth-child(4), .strips td:nth-child(4), .strips th:nth-child(5), .strips td:nth-child(5),
  .ticks span:nth-child(even) { display: none; } }
@media print { :root { --page: #fff; --ink: #000; --quiet: #444; --line: #bbb; --card: #fff; --link: #000;
  --present: #0072b2;
  --filled: #b97a00; --missing: #c44a00; --bad: #9a2c00; --bad-back: #fdeee6; --mild-back: #eef1f4; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 9pt; } body { max-width: none; padding: 0; } nav, .skip { display: none; }
.seizure { border: 0; padding: 0; }
  .sheet { grid-template-columns: repeat(6, 1fr); gap: 4pt; } .inset { width: 44px; height: 44px; }
figcaption { font-size: 6.5pt; }
  .scroll { overflow: visible; } .overview { font-size: 7.5pt; } .overview td ul { min-width: 0; }
.overview th[scope=row] { min-width: 0; }
  tr, .strips { break-inside: avoid; } h2 { break-after: avoid; } }
"""
