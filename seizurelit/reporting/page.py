"""The page: sections from the errors down to the single seizure, in plain HTML and inline SVG, without a script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from seizurelit.cohort.manifest import STAND_IN as STAND_IN_COLUMN
from seizurelit.cohort.manifest import Seizure
from seizurelit.config import RESEARCH_USE, STREAMS
from seizurelit.evaluation.rendering import STAND_IN, UNDEFINED, footnotes, paper_notes, table_parts, table_title
from seizurelit.evaluation.scores import Score
from seizurelit.evaluation.statistics.agreement import agreement, agreement_with_label
from seizurelit.evaluation.table import Row, RowKey, Summary
from seizurelit.reporting.checklists import Item, claim, cohort_line, limits, seeds_of, tripod_ai
from seizurelit.reporting.curves import Curves
from seizurelit.reporting.drawing import over_time, three_charts, training
from seizurelit.reporting.evidence import Call, Evidence, Sighting, Window
from seizurelit.reporting.findings import Findings
from seizurelit.reporting.flow import flow
from seizurelit.reporting.grounded import grounds_of_seizure, grounds_section
from seizurelit.reporting.parts import facts, line, scrolled
from seizurelit.reporting.strata import FEWEST_SUBJECTS, STRATIFIED, Figure, Stratum
from seizurelit.reporting.style import PAGE, STYLE

MOST_SEIZURES = 300
"""Seizures that get a part of their own; of a larger cohort those with the most errors."""

_SECTIONS = {
    "errors": "Errors by patient",
    "run": "What was run",
    "table": "Table 1",
    "heat": "Right and wrong",
    "curves": "Curves",
    "strata": "By sex, age and lobe",
    "training": "Training",
    "grounds": "Grounds",
    "method": "Method and limits",
    "seizures": "Seizures",
}


def render_page(evidence: Evidence, findings: Findings) -> str:
    """The whole page as text.

    Args:
        evidence: of the run, under its own names or under pseudonyms.
        findings: computed of the run.
    """
    shown = _shown(evidence)
    places = {name: f"s{place}" for place, name in enumerate(shown)}
    bodies = {
        "errors": _errors(evidence, places),
        "run": _run(evidence),
        "table": _table(evidence),
        "heat": _heat(evidence, places),
        "curves": _curves(evidence, findings.curves),
        "strata": _strata(evidence, findings.strata),
        "training": _training(evidence),
        "grounds": grounds_section(evidence),
        "method": _method(evidence),
        "seizures": _seizures(evidence, shown),
    }
    sections = "\n".join(
        f'<section id="{name}" aria-labelledby="h-{name}" tabindex="-1"><h2 '
        f'id="h-{name}">{_SECTIONS[name]}</h2>\n{body}\n</section>'
        for name, body in bodies.items()
    )
    stand_in = evidence.table.stand_in
    banner = f'<p class="banner" role="note">{STAND_IN}</p>' if stand_in else ""
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in _SECTIONS.items())
    body = f"""<a class="skip" href="#errors">Skip to the errors</a>
{banner}<header id="top"><h1>Report of run {escape(evidence.run.folder.resolve().name)}</h1>
<p>{escape(table_title(evidence.table))}. {escape(cohort_line(evidence))}</p>
<p class="use">{escape(RESEARCH_USE)}</p>
<p class="use">{escape(_privacy(evidence))}</p>
<nav aria-label="Sections"><ul>{links}</ul></nav></header>
<main>
{sections}
</main>
<footer><p>{STAND_IN + ". " if stand_in else ""}{escape(RESEARCH_USE)}</p></footer>"""
    return PAGE.format(
        title=escape(f"{STAND_IN + ': ' if stand_in else ''}{evidence.run.folder.resolve().name}"),
        style=STYLE,
        kind=' class="stand-in"' if stand_in else "",
        body=body,
    )


def _privacy(evidence: Evidence) -> str:
    if evidence.shared:
        return (
            "Subjects, seizures, folds and raters stand under keyed pseudonyms; attributes of single patients, videos and paths "
            "are left out. Pseudonymous is not anonymous."
        )
    return "This page names subjects as the cohort does: keep it where the cohort is. report --share writes one to pass on."


# What is shown of a seizure.


def _wrong_rows(evidence: Evidence, sign: str, seizure: str) -> list[Row]:
    return [row for row in evidence.rows(sign, trained=True) if evidence.wrong(row, seizure)]


def _shown(evidence: Evidence) -> tuple[str, ...]:
    """The seizures that get a part of their own, in the cohort's order by subject."""
    named = sorted(evidence.cohort.seizures, key=lambda seizure: (seizure.subject, seizure.name))
    if len(named) > MOST_SEIZURES:
        errors = {
            seizure.name: sum(len(_wrong_rows(evidence, sign, seizure.name)) for sign in evidence.signs)
            for seizure in named
        }
        kept = set(sorted(errors, key=lambda name: (-errors[name], name))[:MOST_SEIZURES])
        named = [seizure for seizure in named if seizure.name in kept]
    return tuple(seizure.name for seizure in named)


def _name(seizure: str, places: Mapping[str, str]) -> str:
    return f'<a href="#{places[seizure]}">{escape(seizure)}</a>' if seizure in places else escape(seizure)


def _score(calls: Sequence[Call]) -> str:
    return f"{sum(call.score for call in calls) / len(calls):.2f}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return "< 1 %" if 0 < share < 0.01 else "> 99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def _moment(evidence: Evidence, sign: str, seizure: Seizure, wrong: Sequence[Row]) -> str:
    """When: the rated onset and offset, the part of the video, and the windows that are furthest from the label."""
    said = []
    onset, offset = (seizure.columns.get(f"{sign}_{end}", "") for end in ("onset", "offset"))
    if onset or offset:
        said.append(f"rated {onset or '?'}–{offset or '?'} s")
    if seizure.start is not None or seizure.end is not None:
        end = "end" if seizure.end is None else _clock(seizure.end)
        said.append(f"video {_clock(seizure.start or 0.0)}–{end}")
    worst: tuple[float, Window] | None = None
    positive = evidence.signs[sign].positive
    truth = 1.0 if evidence.labels[sign][seizure.name] == positive else 0.0
    for row in wrong:
        for window in evidence.windows[row.key].get(seizure.name, ()):
            off = abs(window.score - truth)
            if worst is None or off > worst[0]:
                worst = off, window
    if worst is not None:
        window = worst[1]
        said.append(f"furthest off {window.start:.0f}–{window.end:.0f} s ({window.score:.2f})")
    if not said:
        seconds = evidence.sightings[seizure.name].seconds
        said.append("whole seizure" + ("" if math.isnan(seconds) else f", {seconds:.0f} s"))
    return escape("; ".join(said))


def _video(evidence: Evidence, seizure: Seizure) -> str:
    path = evidence.videos.get(seizure.name)
    if path is None:
        synthetic = seizure.columns.get(STAND_IN_COLUMN) == "1"
        return "synthetic" if synthetic else "–" if seizure.source is None else "not found"
    times = (
        "" if seizure.start is None else f"#t={seizure.start:g}" + ("" if seizure.end is None else f",{seizure.end:g}")
    )
    return f'<a href="{escape(path.as_uri() + times)}" aria-label="Video of {escape(seizure.name)}">video</a>'


# A phone shows these heads before each cell: the style sheet repeats them.
_ERRORS = (
    "Seizure",
    "Label",
    "Moment",
    "#Body missing",
    "#Face missing",
    "Video",
    "#Wrong",
    "Models that are wrong",
)
_SPOKEN = ("Model", "#Score of each seed", "Says", "That is", "Windows over time")


def _errors(evidence: Evidence, places: Mapping[str, str]) -> str:
    """Every seizure that a trained row of the table has wrong in any seed, those of a patient together."""
    lines: dict[str, list[str]] = {}
    most: dict[str, int] = {}
    for seizure in evidence.cohort.seizures:
        for sign, labels in evidence.labels.items():
            wrong = _wrong_rows(evidence, sign, seizure.name) if seizure.name in labels else []
            if not wrong:
                continue
            asked = [row for row in evidence.rows(sign, trained=True) if evidence.wrong(row, seizure.name) is not None]
            most[seizure.subject] = most.get(seizure.subject, 0) + len(wrong)
            sighting = evidence.sightings[seizure.name]
            cells = [
                _name(seizure.name, places),
                f"{escape(sign)}: {escape(evidence.in_words(sign, labels[seizure.name]))}",
                _moment(evidence, sign, seizure, wrong),
                *(_percent(sighting.missing.get(stream)) for stream in STREAMS),
                _video(evidence, seizure),
                f"{len(wrong)}/{len(asked)}",
                escape(", ".join(_told(evidence, row, seizure.name) for row in wrong)),
            ]
            lines.setdefault(seizure.subject, []).append(line(_ERRORS, cells))
    if not lines:
        return "<p>No trained model is wrong on any seizure that was scored.</p>"
    parts = [
        f"<p>Missed by at least one trained model in at least one seed: {_counted(sum(map(len, lines.values())), 'label')} of "
        f"{_counted(len(lines), 'patient')}. Patients who are missed most often come first. What could be seen: the share of the "
        "body’s joints, and of the points of the face, without a position over all frames. Beside a model stands its score of "
        "the positive class, the mean over the seeds; furthest off is the window whose score is furthest from the label in a "
        "model that is wrong. A seizure’s name leads to all that is known of it.</p>"
    ]
    for subject in sorted(lines, key=lambda subject: (-most[subject], subject)):
        parts.append(
            f"<h3>{escape(subject)}<small>{_counted(len(lines[subject]), 'label')} missed, "
            f"{_counted(most[subject], 'time')}</small></h3>"
            + scrolled(f"Errors of {subject}", _ERRORS, lines[subject], "cards errors")
        )
    return "\n".join(parts)


def _told(evidence: Evidence, row: Row, seizure: str) -> str:
    calls = evidence.calls.get(row.key, {}).get(seizure, ())
    if not calls:
        return f"{row.name} (no extraction)"
    wrong = sum(not call.right for call in calls)
    return f"{row.name} {_score(calls)}" + (f" ({wrong} of {len(calls)} seeds)" if len(calls) > 1 else "")


# The run and its table.


def _run(evidence: Evidence) -> str:
    run, settings = evidence.run, evidence.run.setup.training
    jobs = sum(len(histories) for histories in evidence.histories.values())
    pairs: list[tuple[str, object]] = [
        ("run", run.run_id),
        ("preset", run.setup.preset),
        ("seeds", len(seeds_of(evidence))),
        ("trainings done", jobs),
        ("device, precision", f"{run.setup.device}, {settings.precision}"),
        ("epochs, batch", f"{settings.optimiser.epochs}, {settings.optimiser.batch} seizures"),
        ("optimiser, learning rate", f"{settings.optimiser.name}, {settings.optimiser.lr:g}"),
        ("clips", f"{settings.windows.frames} frames, stride {settings.windows.stride}, every {settings.windows.step}"),
        ("AGCN", f"{settings.agcn.variant}{'' if settings.agcn.adaptive else ', fixed graph'}"),
        ("TCN", f"{settings.tcn.levels} levels, {settings.tcn.channels} channels, on {settings.tcn.input}"),
        ("distillation", f"α {settings.distillation.alpha:g}, T {settings.distillation.temperature:g}"),
        ("threshold", "0.5" if settings.threshold == "half" else "chosen on inner subjects"),
    ]
    if not evidence.shared:
        pairs += [("cohort", evidence.cohort.digest), ("cache", run.setup.cache.name)]
    makers = sorted({f"{s}: {m}" for sighting in evidence.sightings.values() for s, m in sighting.made_by.items()})
    pairs += [("extracted by", ", ".join(makers) or "–")]
    flows = [_flow(evidence, sign) for sign in evidence.labels if evidence.rows(sign, trained=True)]
    lost = [row for row in evidence.table.rows if row.counted_wrong or row.missing or row.scored != row.rated]
    if lost:
        body = [
            f'<tr><th scope="row">{escape(f"{row.group}: {row.name}")}</th><td class="n">{row.rated}</td><td '
            f'class="n">{row.extracted}</td><td class="n">{row.scored}</td><td '
            f'class="n">{row.folds_done}/{row.folds}</td>'
            f"<td>{escape(', '.join(row.counted_wrong) or '–')}</td></tr>"
            for row in lost
        ]
        heads = ("Row", "#Rated", "#Extracted", "#Scored", "#Folds", "Counted as wrong for want of an extraction")
        table = "<h3>Rows that lack something</h3>" + scrolled("What is not scored", heads, body)
    else:
        table = "<p>Every row has all the rated seizures, extracted and scored.</p>"
    return facts(pairs) + "<h3>Who was scored</h3>" + "".join(flows) + table


def _beside(columns: Sequence[str]) -> list[int]:
    """The order of the table's columns in which the paper's figure stands behind the interval of the same score."""
    order = list(range(len(columns)))
    for paper, own in (("paper F1", "F1"), ("paper acc.", "accuracy")):
        if paper in columns and own in columns:
            order.remove(columns.index(paper))
            after = order.index(columns.index(own)) + 1
            interval = order[after] if after < len(order) else None
            order.insert(after + (interval is not None and "interval" in columns[interval]), columns.index(paper))
    return order


def _flow(evidence: Evidence, sign: str) -> str:
    """Who of the cohort was scored for a sign, and who was lost at which step, and why."""
    steps = flow(evidence, sign)
    positive = evidence.signs[sign].positive
    items = []
    for place, step in enumerate(steps):
        seizures, subjects = len(step.seizures), len({evidence.cohort.subject_of(name) for name in step.seizures})
        said = escape(step.what)
        if place and positive is not None:
            said += f", {sum(evidence.labels[sign].get(name) == positive for name in step.seizures)} positive"
        lost = ""
        if step.lost:
            names = sorted(step.lost)
            listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            lost = f'<span class="lost">{len(names)} lost, {escape(step.why)}: {escape(listed)}</span>'
        items.append(f"<li>{lost}<b>{_counted(seizures, 'seizure')}, {_counted(subjects, 'subject')}</b>{said}</li>")
    return f'<ol class="flow" aria-label="Flow of seizures for {escape(sign)}">{"".join(items)}</ol>'


def _table(evidence: Evidence) -> str:
    about = paper_notes(evidence.table)
    found = []
    if about:
        found.append(
            '<p>The paper’s figure stands behind the interval of ours. Of the paper’s figures:</p><ul class="notes">'
        )
        found += [f"<li>{escape(note)}</li>" for note in about]
        found.append("</ul>")
    for part in table_parts(evidence.table):
        order = [k for k in _beside(part.columns) if k in part.filled]
        lines = []
        for place, texts in enumerate(part.lines):
            row = part.rows[place] if part.rows else None
            kind = ' class="baseline"' if row is not None and row.baseline else ""
            cells = ""
            for index in order[1:]:
                name = part.columns[index]
                short = name == "folds" and row is not None and not row.complete
                paper = name.startswith("paper")
                cells += f'<td class="n{" short" if short else " paper" if paper else ""}">{escape(texts[index])}</td>'
            lines.append(f'<tr{kind}><th scope="row">{escape(texts[0])}</th>{cells}</tr>')
        heads = (part.columns[0] or ("Model" if part.rows else "Contrast"), *(f"#{part.columns[k]}" for k in order[1:]))
        found.append(f"<h3>{escape(part.heading)}</h3>" + scrolled(part.heading, heads, lines, "table"))
    found.append(_agreement(evidence))
    notes = "".join(f"<li>{escape(note)}</li>" for note in footnotes(evidence.table) if note not in about)
    return "\n".join(found) + f'<h3>Notes</h3><ul class="notes">{notes}</ul>'


def _agreement(evidence: Evidence) -> str:
    """How far raters agree, and beside it how far the models agree with the label (METHOD.md, point 12)."""
    lines = []
    for sign in evidence.signs:
        raters = agreement(evidence.cohort.ratings, sign)
        if len(raters.raters) < 2:
            continue
        lines.append(
            f'<tr><th scope="row">{escape(sign)}: {len(raters.raters)} raters</th><td class="n">{raters.seizures}</td>'
            + "".join(f'<td class="n">{_kappa(score)}</td>' for score in (raters.cohen, raters.fleiss, raters.alpha))
            + f'<td class="n">{_kappa(raters.alpha_if_absent)} / {_kappa(raters.alpha_if_present)}</td></tr>'
        )
        for row in evidence.rows(sign, trained=True):
            kappa, count = agreement_with_label(evidence.cases(row))
            lines.append(
                f'<tr><th scope="row">{escape(sign)}: {escape(row.name)} and the label</th><td class="n">{count}</td>'
                f'<td class="n">{_kappa(kappa)}</td><td></td><td></td><td></td></tr>'
            )
    if not lines:
        return ""
    heads = ("Who", "#Seizures", "#Cohen’s κ", "#Fleiss’ κ", "#Krippendorff’s α", "#α with ? as absent / present")
    return "<h3>Agreement of raters, and of models with the label</h3>" + scrolled("Agreement", heads, lines)


def _kappa(score: Score) -> str:
    return f"{score.value:.2f}".replace("-", "−") if score.defined else UNDEFINED


# Right and wrong.


def _heat(evidence: Evidence, places: Mapping[str, str]) -> str:
    legend = (
        '<ul class="legend" aria-label="Legend"><li><i class="y">✓</i>right</li><li><i '
        'class="x">×</i>wrong</li><li><i class="m">~</i>right in some seeds</li><li><i class="u">–</i>not '
        "scored</li></ul>"
        '<p>A mark is a seizure; it leads to what is known of it. <a class="skip" href="#curves">Skip the marks</a></p>'
    )
    parts = [legend]
    by_subject: dict[str, list[str]] = {}
    for seizure in evidence.cohort.seizures:
        by_subject.setdefault(seizure.subject, []).append(seizure.name)
    for sign, labels in evidence.labels.items():
        rows = evidence.rows(sign)
        if not rows:
            continue
        lines = []
        for subject in sorted(by_subject):
            seizures = sorted(name for name in by_subject[subject] if name in labels)
            if seizures:
                cells = "".join(
                    "<td><div "
                    f'class="cells">{"".join(_cell(evidence, row, name, labels[name], places) for name in seizures)}</div></td>'
                    for row in rows
                )
                lines.append(f'<tr><th scope="row">{escape(subject)}</th>{cells}</tr>')
        heads = ("Subject", *(row.name for row in rows))
        parts.append(f"<h3>{escape(sign)}</h3>" + scrolled(f"Right and wrong, {sign}", heads, lines, "heat"))
    return "\n".join(parts)


def _cell(evidence: Evidence, row: Row, seizure: str, label: str, places: Mapping[str, str]) -> str:
    calls = evidence.calls.get(row.key, {}).get(seizure, ())
    right = sum(call.right for call in calls)
    if calls:
        kind, sign, said = (
            ("y", "✓", "right")
            if right == len(calls)
            else ("x", "×", "wrong")
            if not right
            else ("m", "~", f"right in {right} of {len(calls)} seeds")
        )
        said += f", score {_score(calls)}"
    else:
        kind, sign, said = "u", "–", "not scored"
    text = escape(f"{seizure}, {row.name}: {said}; label {evidence.in_words(row.key.sign, label)}")
    if seizure not in places:
        return f'<i class="{kind}" role="img" aria-label="{text}">{sign}</i>'
    return f'<a class="{kind}" href="#{places[seizure]}" title="{text}" aria-label="{text}">{sign}</a>'


# Curves, strata, training.


def _number(summary: Summary) -> str:
    return f"{summary.mean:.2f}".replace("-", "−") if summary.defined else UNDEFINED


def _curves(evidence: Evidence, found: Mapping[RowKey, Curves]) -> str:
    parts = [
        "<p>ROC, precision-recall and calibration of the trained models, over their out-of-fold seizures; the mean "
        "of the seeds’ curves. Bands: 95 % of resamples of subjects at each place, taking the fitted models as "
        "given. Each curve mixes scores of as many models as there are folds. Dashed: chance, or perfect "
        "calibration. The third chart is the share of positive seizures near each score (Gaussian kernel, 0.1), with "
        "the seizures as ticks: positive above, negative below.</p>"
    ]
    rows = [row for row in evidence.table.rows if row.key in found]
    for group in dict.fromkeys(row.group for row in rows):
        figures = []
        for row in (row for row in rows if row.group == group):
            auroc, auprc, slope = (_number(row.scores[name]) for name in ("auroc", "auprc", "calibration_slope"))
            figures.append(
                f"<figure><figcaption><b>{escape(row.name)}</b> AUROC {auroc}, AUPRC {auprc}, calibration slope "
                f"{slope}</figcaption>"
                f'<div class="trio">{three_charts(f"{group} {row.name}", found[row.key], auroc, auprc, slope)}</div></figure>'
            )
        parts.append(f'<h3>{escape(group)}</h3><div class="charts">{"".join(figures)}</div>')
    if not found:
        parts.append("<p>No trained row of two classes has both of them scored.</p>")
    return "\n".join(parts)


def _strata(evidence: Evidence, found: Mapping[str, tuple[Stratum, ...]]) -> str:
    if not found:
        return f"<p>The cohort has no column {', '.join(STRATIFIED)}.</p>"
    parts = [
        "<p>Accuracy within groups of subjects, the mean over the seeds, with 95 % BCa intervals over subjects. "
        f"Exploratory, uncorrected. Under {FEWEST_SUBJECTS} subjects only counts are given.</p>"
    ]
    for sign, listed in found.items():
        rows = [row for row in evidence.rows(sign, trained=True) if row.key in listed[0].accuracy]
        positive = evidence.signs[sign].positive is not None
        heads = (
            "Group",
            "#Subjects",
            "#Seizures",
            *(("#Positive",) if positive else ()),
            *(f"#{row.name}" for row in rows),
        )
        lines = []
        for kind in dict.fromkeys(stratum.kind for stratum in listed):
            lines.append(f'<tr><th scope="rowgroup" colspan="{len(heads)}"><b>{escape(kind)}</b></th></tr>')
            for stratum in (one for one in listed if one.kind == kind):
                counts = [stratum.subjects, stratum.seizures, *([stratum.positive] if positive else [])]
                few = stratum.subjects < FEWEST_SUBJECTS
                cells = [str(count) for count in counts] + [
                    "" if few else _figure(stratum.accuracy[row.key]) for row in rows
                ]
                lines.append(
                    f'<tr><th scope="row">{escape(stratum.name)}</th>'
                    + "".join(f'<td class="n">{cell}</td>' for cell in cells)
                    + "</tr>"
                )
        parts.append(f"<h3>{escape(sign)}</h3>" + scrolled(f"Strata, {sign}", heads, lines))
    return "\n".join(parts)


def _figure(figure: Figure | None) -> str:
    if figure is None or math.isnan(figure.value):
        return UNDEFINED
    ends = figure.interval
    return f"{figure.value:.2f}" + (f" ({ends.low:.2f}–{ends.high:.2f})" if ends.defined else "")


def _training(evidence: Evidence) -> str:
    parts = [
        "<p>Training loss over the epochs, a line a fold and seed; nothing is validated on a held-out subject, so "
        "there is no other curve. A line’s name shows under the pointer.</p>"
    ]
    figures = []
    for row in evidence.table.rows:
        histories = [history for history in evidence.histories[row.key] if history.loss]
        if histories:
            first = sum(history.loss[0] for history in histories) / len(histories)
            final = sum(history.loss[-1] for history in histories) / len(histories)
            said = f"{row.group} {row.name}: mean loss of {len(histories)} trainings from {first:.2f} to {final:.2f}"
            figures.append(
                f"<figure><figcaption><b>{escape(row.name)}</b> {escape(row.key.sign)}, {len(histories)} trainings, "
                f"mean loss {first:.2f} → {final:.2f}</figcaption>{training(histories, said)}</figure>"
            )
    return "\n".join(parts) + f'<div class="losses">{"".join(figures)}</div>'


# Method and limits.


def _method(evidence: Evidence) -> str:
    items = tripod_ai(evidence), claim(evidence)
    points = "".join(f"<li>{escape(limit)}</li>" for limit in limits(evidence))
    lists = []
    for name, listed in zip(("TRIPOD+AI (2024)", "CLAIM (2020)"), items, strict=True):
        answered = [item for item in listed if item.answer is not None]
        open_ = "".join(f"<li><b>{item.number}</b> {escape(item.topic)}</li>" for item in listed if item.answer is None)
        lists.append(
            f"<h3>{name}</h3><p>{len(answered)} of {len(listed)} items have an answer from the run’s own records, some in part.</p>"
            + scrolled(name, ("Item", "Topic", "Answer"), [_item(item) for item in answered], "list")
            + f'<h4>The author’s to write</h4><ul class="open">{open_}</ul>'
        )
    return (
        "<p>Multi-stream classification of seizure videos with knowledge distillation (Hou et al.): a graph network "
        "on keypoints (AGCN), a temporal network on appearance (TCN), and the AGCN taught by the TCN (KD). What the "
        "papers leave open is a named default in config.json. What is fitted for a fold never sees its held-out "
        f"subject.</p><h3>Limits</h3><ul>{points}</ul>" + "".join(lists)
    )


def _item(item: Item) -> str:
    return (
        f'<tr><th scope="row">{item.number}</th><td>{escape(item.topic)}</td><td>{escape(item.answer or "")}</td></tr>'
    )


# Seizures.


def _seizures(evidence: Evidence, shown: Sequence[str]) -> str:
    total = len(evidence.cohort.seizures)
    parts = []
    if len(shown) < total:
        parts.append(f"<p>{len(shown)} of {total} seizures, those with the most errors; predictions.csv has all.</p>")
    kept = any(evidence.windows.values())
    if not kept:
        parts.append("<p>The jobs of this run kept no scores of windows: there is none over time.</p>")
    parts += [_article(evidence, name, place, len(shown)) for place, name in enumerate(shown)]
    return "\n".join(parts)


def _article(evidence: Evidence, name: str, place: int, count: int) -> str:
    seizure, sighting = evidence.cohort.seizure(name), evidence.sightings[name]
    before = f'<a href="#s{place - 1}">previous</a>' if place else ""
    after = f'<a href="#s{place + 1}">next</a>' if place + 1 < count else ""
    video = f"<span>{_video(evidence, seizure)}</span>" if name in evidence.videos else ""
    known = [
        (key.replace("_", " "), cell)
        for key, cell in seizure.columns.items()
        if cell
        and key != STAND_IN_COLUMN
        and key not in evidence.labels
        and not (evidence.shared and key in STRATIFIED)
    ]
    pairs = [*known, *_seen(sighting)]
    tables = "".join(_spoken(evidence, sign, name) for sign, labels in evidence.labels.items() if name in labels)
    return (
        f'<article id="s{place}" aria-labelledby="n{place}" tabindex="-1"><h3 '
        f'id="n{place}">{escape(name)}<small>subject {escape(seizure.subject)}</small></h3><div '
        f'class="links">{before}{after}<a href="#heat">right and wrong</a><a '
        f'href="#errors">errors</a>{video}</div>{facts(pairs)}<div class="signs">{tables}</div></article>'
    )


def _seen(sighting: Sighting) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    if not math.isnan(sighting.seconds):
        found.append(("length", f"{sighting.seconds:.1f} s"))
    found += [(f"{stream} missing", _percent(share)) for stream, share in sighting.missing.items()]
    found += [(f"frames without {stream}", _percent(share)) for stream, share in sighting.without.items()]
    others = {key: fact for key, fact in sighting.facts.items() if key != "duration_s"}
    found += [(key.replace("_", " "), _plain(fact)) for key, fact in others.items()]
    if sighting.fault:
        found.append(("not seen", sighting.fault))
    return found


def _plain(fact: object) -> str:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return f"{fact:.3g}" if isinstance(fact, float) else str(fact)


def _spoken(evidence: Evidence, sign: str, name: str) -> str:
    """What each row says of a seizure."""
    label = evidence.labels[sign][name]
    rows = evidence.rows(sign)
    timed = any(name in evidence.windows[row.key] for row in rows)
    heads = _SPOKEN if timed else _SPOKEN[:-1]
    lines = []
    for row in rows:
        calls = evidence.calls.get(row.key, {}).get(name, ())
        if calls:
            right = sum(call.right for call in calls)
            verdict = (
                "right" if right == len(calls) else "wrong" if not right else f"{right} of {len(calls)} seeds right"
            )
            named = ", ".join(dict.fromkeys(evidence.in_words(sign, call.named) for call in calls))
            scores = " ".join(f"{call.score:.2f}" for call in calls)
        else:
            verdict, named, scores = ("wrong: no extraction" if name in row.counted_wrong else "not scored"), "–", "–"
        cells = [
            escape(row.name),
            scores,
            escape(named),
            f'<span class="said{"" if verdict == "right" else " x0"}">{verdict}</span>',
            *([_time(evidence, row, name, calls)] if timed else []),
        ]
        lines.append(line(heads, cells, "baseline" if row.baseline else ""))
    said = f"{sign}: {evidence.in_words(sign, label)}"
    shown = scrolled(f"{name}, {said}", heads, lines, "cards spoken")
    grounds = grounds_of_seizure(evidence, sign, name)
    return f"<section><h4>{escape(said)}</h4>{_raters(evidence, sign, name)}{shown}{grounds}</section>"


def _raters(evidence: Evidence, sign: str, seizure: str) -> str:
    """Who said what of a sign, where labels.csv has it."""
    words = {"0": "absent", "1": "present", "?": "cannot be told"}
    said = []
    for rating in evidence.cohort.ratings:
        if (rating.seizure, rating.sign) != (seizure, sign):
            continue
        parts = [words[rating.value]]
        if rating.onset is not None or rating.offset is not None:
            ends = ("?" if time is None else f"{time:g}" for time in (rating.onset, rating.offset))
            parts.append("–".join(ends) + " s")
        parts += [part for part in (rating.side, rating.limb) if part]
        parts += {True: ["blinded"], False: ["not blinded"], None: []}[rating.blinded]
        said.append(f"{rating.rater}: {', '.join(parts)}")
    return f'<p class="raters">Raters: {escape("; ".join(said))}</p>' if said else ""


def _time(evidence: Evidence, row: Row, name: str, calls: Sequence[Call]) -> str:
    windows = evidence.windows[row.key].get(name, ())
    if not windows:
        return ""
    threshold = calls[0].threshold if calls else math.nan
    low, high = min(windows, key=lambda w: w.score), max(windows, key=lambda w: w.score)
    ends = (
        f"{name} {window.score:.2f} at {window.start:.0f} s" for name, window in (("lowest", low), ("highest", high))
    )
    label = f"{row.name}, {len(windows)} windows: {', '.join(ends)}"
    return over_time(windows, evidence.sightings[name].seconds, threshold, label)
