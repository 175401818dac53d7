"""The table on the terminal, in Markdown and as CSV, with footnotes: what a reader must know to believe a number."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from seizurelit.cohort.files import write_whole
from seizurelit.config import RESEARCH_USE
from seizurelit.evaluation.scores import SCORES, Score
from seizurelit.evaluation.statistics.chance import CONDITIONAL
from seizurelit.evaluation.statistics.intervals import LEVEL, MOST_UNDEFINED, Interval
from seizurelit.evaluation.table import (
    CALIBRATED,
    ENSEMBLE_SCORES,
    LEVEL_INTERVALS,
    NOT_RUN,
    NOT_TESTED,
    WITHIN,
    Contrast,
    Row,
    Summary,
    Table,
)

STAND_IN = "STAND-IN COHORT (not clinical data)"

UNDEFINED = "–"
MACRO = "ᵐ"

# From this many rated seizures on, a third decimal is more than the weight of one of them.
_THREE_DECIMALS = 500
WITHIN_CHANCE = "≈"
_MARKS = f"†‡{MACRO}{UNDEFINED}{WITHIN_CHANCE}"
_NAMED = 6
# Of what is printed into a file or a pipe.
_FILE_WIDTH = 100

# A column: its heading, and a row's text in it.
_Cell: TypeAlias = tuple[str, Callable[[Row], str]]

_CONTRADICTIONS = (
    "The paper contradicts itself: dystonia KD has F1 0.83 in its abstract and Table 1 (shown), 0.80 in its Results; "
    "face accuracy is 0.80 in Table 1 (shown) but 0.78 in its Conclusion; no k of 38 seizures gives TCNf's 0.84/0.80; "
    "fusion is named without a number."
)
_PAPER_BASELINE = (
    "If the paper's accuracies are pooled and truncated and its F1 is of the positive class, always positive has F1 "
    "0.64–0.79 (dystonia) and 0.59–0.79 (emotion) there: its 0.74 is not yet evidence."
)
_PAPER_CONTRASTS = (
    "At its 38 seizures the paper's own accuracies allow no p below 1.0 (AGCNp–TCNp), 0.5 (KD–AGCNp), 0.25 (KD–AGCNf) and "
    "0.125 (TCNf–AGCNf)."
)
_CHANCE = (
    "Chance lies below one half: leaving a subject out moves the training prevalence away from its label, "
    "so the training prior's AUROC can be 0."
)


def to_csv(table: Table) -> str:
    """All scores and counts at full precision, a line a row; what is undefined is blank, its reason beside it."""
    text = io.StringIO()
    records = [
        {
            **record,
            **_levels(row),
            "missing": "; ".join(_missing_lines(row)),
            "counted_wrong": " ".join(row.counted_wrong),
        }
        for record, row in zip(flat_rows(table), table.rows, strict=True)
    ]
    writer = csv.DictWriter(text, list(records[0]) if records else ["group"], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: f"{cell:.9g}" if isinstance(cell, float) else cell for name, cell in record.items()})
    return text.getvalue()


def flat_rows(table: Table) -> list[dict[str, Any]]:
    """Flat rows of text and numbers for a dashboard: no subject, seizure or path is named in them.

    What is undefined or does not apply is None. `missing_folds` counts those of all seeds.
    """
    records = []
    for row in table.rows:
        record: dict[str, Any] = {
            "group": row.group,
            "sign": row.key.sign,
            "stream": row.key.stream,
            "model": row.key.model,
            "name": row.name,
            "classes": " ".join(row.classes),
            "f1_kind": "macro" if row.macro else "positive class",
            "seeds": len(row.seeds) if row.seeds != (None,) else None,
            "folds_done": row.folds_done,
            "folds": row.folds,
            "seizures_scored": row.scored,
            "seizures_counted_wrong": len(row.counted_wrong),
            "seizures_rated": row.rated,
            "seizures_extracted": row.extracted,
            "subjects_scored": row.subjects_scored,
            "subjects_rated": row.subjects_rated,
            "subjects_extracted": row.subjects_extracted,
        }
        for name in SCORES:
            summary = row.scores[name]
            record[name] = summary.mean if summary.defined else None
            record[f"{name}_sd"] = summary.sd
            record[f"{name}_undefined"] = summary.reason or None
            if name in row.intervals:
                record |= _ends(name, row.intervals[name])
        for name in ("f1", "accuracy"):
            for suffix, scores in (("scored_only", row.scored_only), ("by_subject", row.by_subject)):
                record[f"{name}_{suffix}"] = scores[name].mean if scores[name].defined else None
        for name in ENSEMBLE_SCORES:
            score = row.ensemble.get(name)
            record[f"{name}_of_mean_score"] = score.value if score is not None and score.defined else None
        record |= _beside(row)
        record |= _tests(row)
        record["paper_f1"], record["paper_accuracy"] = row.paper or (None, None)
        record["missing_folds"] = len(row.missing)
        record["run"] = table.run.run_id or None
        record["preset"] = table.run.preset or None
        record["cohort"] = STAND_IN if table.stand_in else None
        record["use"] = RESEARCH_USE
        records.append(record)
    return records


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _ends(name: str, interval: Interval) -> dict[str, Any]:
    return {
        f"{name}_low": _defined(interval.low),
        f"{name}_high": _defined(interval.high),
        f"{name}_no_interval": interval.reason or None,
    }


def _beside(row: Row) -> dict[str, Any]:
    """Agreement with the label, undecided seizures either way, and scores of calibrated probabilities."""
    lowest, highest = row.accuracy_either_way if row.undecided else (math.nan, math.nan)
    calibrated = {f"{name}_calibrated": row.calibrated.get(name) for name in CALIBRATED}
    return {
        "kappa": _defined(row.kappa.mean),
        "seizures_undecided": row.undecided,
        "accuracy_if_undecided_wrong": _defined(lowest),
        "accuracy_if_undecided_right": _defined(highest),
        **{name: found and _defined(found.mean) for name, found in calibrated.items()},
        "calibration_error": _defined(row.calibration_error.mean),
        "calibration_error_undefined": row.calibration_error.reason or None,
    }


def _tests(row: Row) -> dict[str, Any]:
    """What is known of a row's worth: chance, its contrast, the other sign."""
    record: dict[str, Any] = {
        "chance": row.verdict,
        "chance_p_adjusted": _defined(row.chance_adjusted),
        "chance_family": "baselines, exploratory" if row.baseline else "trained rows",
        "chance_test": row.decisive.kind,
        "chance_statistic": row.chance.statistic or None,
        "chance_observed": _defined(row.chance.observed),
        "chance_expected": _defined(row.decisive.expected),
        "chance_p_conditional": _defined(row.chance.p),
        "chance_p_refit": None if row.refit is None else _defined(row.refit.p),
        "chance_relabellings": row.decisive.relabellings,
        "chance_not_tested": row.decisive.reason or None,
    }
    contrast = row.contrast
    record |= {
        "contrast_minus": contrast and contrast.name,
        "contrast_family": contrast and ("planned" if contrast.planned else "exploratory"),
        "contrast_accuracy": contrast and _defined(contrast.accuracy.difference),
        "contrast_accuracy_low": contrast and _defined(contrast.interval.low),
        "contrast_accuracy_high": contrast and _defined(contrast.interval.high),
        "contrast_p": contrast and _defined(contrast.accuracy.p),
        "contrast_p_adjusted": contrast and _defined(contrast.adjusted),
        "contrast_p_smallest": contrast and _defined(contrast.accuracy.smallest),
        "contrast_subjects_differing": contrast and contrast.accuracy.differing,
        "contrast_f1": contrast and _defined(contrast.f1.difference),
        "contrast_f1_p": contrast and _defined(contrast.f1.p),
        "contrast_mcnemar_p": contrast and _defined(contrast.mcnemar.p),
    }
    other = row.others[0] if row.others else None
    record |= {
        "other_sign": other and other.sign,
        "other_sign_auroc": other and _defined(other.auroc),
        "other_sign_p": other and _defined(other.chance.p),
    }
    return record


def _levels(row: Row) -> dict[str, Any]:
    """The scores of subjects of equal weight and of patients, with intervals."""
    record: dict[str, Any] = {}
    for suffix, scores, found in (
        ("by_subject", row.by_subject, row.by_subject_intervals),
        ("by_patient", row.by_patient, row.by_patient_intervals),
    ):
        for name in SCORES:
            record[f"{name}_{suffix}"] = scores[name].mean if scores[name].defined else None
            record[f"{name}_{suffix}_undefined"] = scores[name].reason or None
            if name in LEVEL_INTERVALS:
                record |= _ends(f"{name}_{suffix}", found[name])
    return record


@dataclass(frozen=True)
class Part:
    """A part of the table as texts: a group of rows, or the planned contrasts.

    Attributes:
        heading: of the part.
        columns: what stands over each column; nothing over the first.
        lines: the cells of each line, as many as there are columns.
        rows: what the lines are of; empty for the contrasts.
    """

    heading: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    rows: tuple[Row, ...] = ()

    @property
    def filled(self) -> tuple[int, ...]:
        """The places of the columns that have something in any line, the first among them in any case."""
        return tuple(k for k in range(len(self.columns)) if not k or any(texts[k] for texts in self.lines))


def table_parts(table: Table) -> tuple[Part, ...]:
    """The table with all its columns, a part a group and one of the planned contrasts, for whoever sets it otherwise."""
    columns: list[_Cell] = [("", lambda row: row.name), *_columns(table, wide=True)]
    headings = tuple(" ".join(heading.split("\n")) for heading, _ in columns)
    found = [
        Part(_heading(group), headings, tuple(tuple(cell(row) for _, cell in columns) for row in group), tuple(group))
        for group in _groups(table)
    ]
    contrasts = _contrast_cells(table)
    return (*found, Part(_CONTRASTS_HEADING, _CONTRAST_HEADINGS, tuple(contrasts))) if contrasts else tuple(found)


def to_markdown(table: Table) -> str:
    """The table as GitHub Markdown: a part a group, confusion matrices, footnotes."""
    lines = [f"# {table_title(table)}", ""]
    if table.stand_in:
        lines += [f"**{STAND_IN}**", ""]
    for part in table_parts(table):
        lines += [f"## {_escape(part.heading)}", ""]
        lines.append("| " + " | ".join(part.columns) + " |")
        lines.append("| " + " | ".join([":--", *["--:"] * (len(part.columns) - 1)]) + " |")
        lines += ["| " + " | ".join(map(_escape, texts)) + " |" for texts in part.lines]
        lines.append("")
    lines += [*_confusion_lines(table), "## Notes", ""]
    lines += [f"- {_escape(note)}" for note in footnotes(table)]
    return "\n".join(lines) + "\n"


def print_table(table: Table, console: Console | None = None) -> None:
    """Print the table; 80 columns are enough, and more show more. A file or pipe gets as many as show the intervals."""
    target = console or Console()
    if console is None and not target.is_terminal and "COLUMNS" not in os.environ:
        target = Console(width=_FILE_WIDTH)
    target.print(render(table, width=target.width))


def render(table: Table, *, width: int) -> Group:
    """The table with its title and footnotes as something that rich prints.

    Args:
        table: what to show.
        width: of the terminal, in characters; columns get shorter, and the least of them goes, to fit it.
    """
    gap, cells = _fitted(table, width)
    headings = [heading for heading, _ in cells]
    head = [
        Column(header=Text(heading), justify="right" if index else "left", no_wrap=True, vertical="bottom")
        for index, heading in enumerate(headings)
    ]
    grid = RichTable(*head, box=box.HORIZONTALS, padding=(0, 0, 0, gap))
    for group in _groups(table):
        grid.add_row(Text(_heading(group), style="bold cyan"))
        for row in group:
            plain = "dim" if row.baseline else ""
            styles = ["bold yellow" if head == "folds" and not row.complete else plain for head in headings]
            texts = [cell(row) for _, cell in cells]
            grid.add_row(*(Text(text, style=style) for text, style in zip(texts, styles, strict=True)))
        grid.add_section()
    title = Text(table_title(table), style="bold")
    if table.stand_in:
        title.append("\n").append(f" {STAND_IN} ", style="bold black on yellow")
    notes = RichTable.grid(Column(width=2), Column())
    for note in footnotes(table):
        mark, text = (note[0], note[1:].lstrip()) if note[0] in _MARKS else ("·", note)
        loud = note.startswith(STAND_IN)
        notes.add_row(Text(mark, style="dim"), Text(text, style="bold yellow" if loud else "dim"))
    parts: list[RenderableType] = [Text(""), title, grid]
    contrasts = _contrast_cells(table)
    if contrasts:
        below = RichTable(
            *(
                Column(header=Text(heading), justify="right" if index else "left", no_wrap=True, vertical="bottom")
                for index, heading in enumerate(_CONTRAST_HEADINGS)
            ),
            box=box.HORIZONTALS,
            padding=(0, 0, 0, gap),
        )
        for line in contrasts:
            below.add_row(*map(Text, line))
        parts += [Text(_CONTRASTS_HEADING, style="bold"), below]
    return Group(*parts, Padding(notes, (0, 0, 1, 0)))


def write_table(folder: Path, table: Table) -> tuple[Path, Path]:
    """Write `table.csv` and `table.md` into a run's folder, each whole or not at all."""
    paths = folder / "table.csv", folder / "table.md"
    write_whole(paths[0], to_csv(table).encode())
    write_whole(paths[1], to_markdown(table).encode())
    return paths


def confusion_records(table: Table) -> list[dict[str, Any]]:
    """Confusion matrices in long form: a count for each row, seed, label and prediction ('not scored' among them)."""
    return [
        {
            "sign": row.key.sign,
            "stream": row.key.stream,
            "model": row.key.model,
            "seed": seed,
            "label": label,
            "prediction": prediction,
            "seizures": int(row.confusion[index, i, j]),
        }
        for row in table.rows
        for index, seed in enumerate(row.seeds)
        for i, label in enumerate(row.classes)
        for j, prediction in enumerate([*row.classes, "not scored"])
    ]


def footnotes(table: Table) -> tuple[str, ...]:
    """What stands under the table, one line each, the most important first."""
    rows = table.rows
    notes: list[str] = []
    if table.stand_in:
        notes.append(
            f"{STAND_IN}: synthetic people, made so that everything runs. Nothing here is a finding about seizures."
        )
    notes += [*_size_notes(table), *_missing_notes(table), *_wrong_notes(table), *_undefined_notes(table)]
    notes.append(
        "F1 (positive class) and accuracy are pooled over the out-of-fold seizures of a seed; ± is the sd over seeds "
        "(n − 1): the spread of training, not that of patients."
    )
    macro = {row.key.sign: row.classes for row in rows if row.macro}
    notes += [
        f"{MACRO} {sign} has {len(classes)} classes ({', '.join(classes)}) and so no positive one: F1 is the macro F1, "
        "AUROC the mean of one class against the rest."
        for sign, classes in macro.items()
    ]
    notes.append(
        "† Pooled AUROC mixes the scores of different models, one a fold, and so do AUPRC, Brier score and log loss (table.csv); "
        "all are over seizures that have a score."
    )
    if any(row.ensemble for row in rows):
        notes.append("‡ Accuracy of the mean of the seeds' scores: one ensemble, not a mean of seeds.")
    notes += [
        f"{sign}: {count} {'seizure is' if count == 1 else 'seizures are'} not rated and left out."
        for sign, count in table.unrated.items()
        if count and any(row.key.sign == sign for row in rows)
    ]
    notes += [" ".join(note.split()) for note in table.run.notes]
    notes += [*_interval_notes(table), *_chance_notes(table), *_contrast_notes(table), *_other_sign_notes(table)]
    notes += [*_rater_notes(table), *_calibration_notes(table), *paper_notes(table), RESEARCH_USE]
    return tuple(notes)


def paper_notes(table: Table) -> tuple[str, ...]:
    """Those of the footnotes that are about the paper's own figures; none where no row has any."""
    rows = [row for row in table.rows if row.paper]
    contrasts = [_PAPER_CONTRASTS] if any(row.contrast for row in rows) else []
    return (_CONTRADICTIONS, _PAPER_BASELINE, *contrasts) if rows else ()


def _size_notes(table: Table) -> list[str]:
    seeds = sorted({seed for row in table.rows for seed in row.seeds if seed is not None})
    preset = f"preset {table.run.preset}" if table.run.preset else ""
    number = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds" if seeds else ""
    said = ", ".join(part for part in (preset, number) if part)
    if not said:
        return []
    line = said[0].upper() + said[1:]
    if table.run.preset == "fast":
        line += ": small networks and few epochs, to see that everything works; --preset paper is the method's own size"
    if len(seeds) == 1:
        line += "; what another seed would give is not known"
    return [line + "."]


def _interval_notes(table: Table) -> list[str]:
    shown = [row.intervals[name] for row in table.rows if row.seeds for name in ("f1", "accuracy")]
    if not shown:
        return []
    drawn = max(interval.resamples for interval in shown)
    note = (
        f"{LEVEL:.0%}: BCa intervals over subjects ({drawn} resamples, the same for all seeds), of the mean over the seeds. "
        "They take the fitted models as given; at 19 subjects they hold the truth a little less often than they say (0.92–0.94 in "
        "simulation: bench/coverage.py). Scores by subject and by patient, with theirs: table.csv."
    )
    reasons: dict[str, list[str]] = {}
    for row in table.rows:
        for reason in dict.fromkeys(row.intervals[name].reason for name in ("f1", "accuracy")):
            if reason and row.seeds and row.scores["f1"].defined:
                reasons.setdefault(reason, []).append(f"{row.key.sign} {row.name}")
    undefined = [f"No interval ({reason}): {_listed(names)}." for reason, names in reasons.items()]
    if any("resamples" in reason and "undefined" in reason for reason in reasons):
        undefined.append(f"Above {MOST_UNDEFINED:.0%} of resamples without a score there is no interval.")
    return [note, *undefined]


def _chance_notes(table: Table) -> list[str]:
    rows = [row for row in table.rows if row.seeds]
    if not rows:
        return [_CHANCE]
    kinds = {row.decisive.kind for row in rows if row.verdict != NOT_TESTED}
    trained = sum(row.verdict != NOT_TESTED for row in rows if not row.baseline)
    how = (
        f"{CONDITIONAL}: the subjects' labels are permuted against the fixed scores, not refitted"
        if kinds <= {CONDITIONAL}
        else "every fold fitted anew on permuted labels"
        if CONDITIONAL not in kinds
        else f"refitted where table.csv says so, else {CONDITIONAL}"
    )
    notes = [
        _CHANCE,
        f"{WITHIN_CHANCE} Within chance: one-sided p ≥ 0.05 ({how}), Holm over {trained} trained rows; baselines are corrected "
        "among themselves, exploratory.",
    ]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict == NOT_TESTED:
            reasons.setdefault(row.decisive.reason, []).append(f"{row.key.sign} {row.name}")
    return [*notes, *(f"Not tested against chance ({reason}): {_listed(names)}." for reason, names in reasons.items())]


def _contrast_notes(table: Table) -> list[str]:
    if not any(row.contrast for row in table.rows):
        return []
    return [
        "Contrasts: both models' predictions swapped for all seizures and seeds of a subject (exact up to 20 differing subjects), "
        "two-sided; Holm over those shown; least: the smallest p that these models could have reached; differ: subjects on whom "
        "they differ. Crossed contrasts, F1 and clustered McNemar are exploratory: table.csv."
    ]


def _other_sign_notes(table: Table) -> list[str]:
    groups: dict[str, list[str]] = {}
    for row in table.rows:
        for other in row.others:
            if not row.baseline and row.verdict not in {WITHIN, NOT_TESTED} and other.tells_it_as_well:
                groups.setdefault(other.sign, []).append(
                    f"{row.key.sign} {row.name} (AUROC {other.auroc:.2f}, own {other.own_auroc:.2f})"
                )
    return [
        f"Scores that go with {sign} at least as well as with their own sign: {_listed(names)}."
        for sign, names in groups.items()
    ]


def _rater_notes(table: Table) -> list[str]:
    """How far raters agree, the models' agreement beside it, and what undecided seizures could change."""
    notes = []
    for sign, found in table.agreement.items():
        rows = [row for row in table.rows if row.key.sign == sign and row.seeds and not row.baseline]
        alphas = [found.alpha, found.alpha_if_absent, found.alpha_if_present]
        value, absent, present = (
            f"{alpha.value:.2f}" if alpha.defined else f"undefined: {alpha.reason}" for alpha in alphas
        )
        ways = (
            f" (each of {found.undecided} '?' taken as absent {absent}, as present {present})"
            if found.undecided
            else ""
        )
        models = [f"{row.name} {row.kappa.mean:.2f}" for row in rows if row.kappa.defined]
        beside = f"; Cohen's κ of the models with the label: {_listed(models)}" if models else ""
        notes.append(
            f"{sign}: {len(found.raters)} raters agree on {found.seizures} seizures with Krippendorff's α {value}{ways}{beside}. "
            "A model cannot be shown to be better than its labels."
        )
        undecided = [row for row in rows if row.undecided and row.scores["accuracy"].defined]
        if undecided:
            spans = [f"{row.name} {low:.2f}–{high:.2f}" for row in undecided for low, high in [row.accuracy_either_way]]
            notes.append(
                f"{sign}: {undecided[0].undecided} seizures on which raters do not agree or cannot tell are left out; if all of "
                f"them were called wrongly, or all rightly, accuracy were {_listed(spans)}."
            )
    return notes


def _calibration_notes(table: Table) -> list[str]:
    shown = [
        row for row in table.rows if row.calibrated and row.calibrated["brier"].defined and row.scores["brier"].defined
    ]
    if not shown:
        return []
    parts = [
        f"{row.key.sign} {row.name} {row.scores['brier'].mean:.2f} → {row.calibrated['brier'].mean:.2f}"
        for row in shown
    ]
    error = "" if any(row.calibration_error.defined for row in shown) else "; no calibration error below 200 seizures"
    return [
        f"Brier score as it is → with each subject's scores calibrated on the other subjects': {_listed(parts)}{error}. On a new "
        "video it is a score, and no probability before it is calibrated on data that it has not seen."
    ]


def _undefined_notes(table: Table) -> list[str]:
    shown = ("f1", "accuracy", "balanced_accuracy", "auroc")
    reasons: dict[str, list[str]] = {}
    for row in table.rows:
        for reason in dict.fromkeys(row.scores[name].reason for name in shown):
            if reason and row.seeds:
                reasons.setdefault(reason, []).append(f"{row.key.sign} {row.name}")
    return [f"{UNDEFINED} Undefined ({reason}): {_listed(names)}." for reason, names in reasons.items()]


def _wrong_notes(table: Table) -> list[str]:
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in table.rows:
        if row.counted_wrong:
            groups.setdefault((row.key.sign, row.counted_wrong), []).append(row.name)
    return [
        f"{sign} {', '.join(names)}: {len(seizures)} rated {'seizure' if len(seizures) == 1 else 'seizures'} without "
        f"an extraction {'counts' if len(seizures) == 1 else 'count'} as wrong ({_listed(seizures)})."
        for (sign, seizures), names in groups.items()
    ]


def _missing_notes(table: Table) -> list[str]:
    groups: dict[tuple[str, int, int, tuple[str, ...]], list[str]] = {}
    for row in table.rows:
        if row.missing:
            groups.setdefault((row.key.sign, row.folds_done, row.folds, tuple(_missing_lines(row))), []).append(
                row.name
            )
    return [
        f"{sign} {', '.join(names)}, {done}/{folds} folds: {'; '.join(lines)}."
        for (sign, done, folds, lines), names in groups.items()
    ]


def _missing_lines(row: Row) -> list[str]:
    """Reason → folds, as text; folds that were simply not run come last and together."""
    reasons: dict[str, dict[str, list[int]]] = {}
    for seed, fold, reason in row.missing:
        seeds = reasons.setdefault(" ".join(reason.split()), {}).setdefault(fold, [])
        if seed is not None:
            seeds.append(seed)
    several = len({missing.seed for missing in row.missing} | set(row.seeds)) > 1
    lines = []
    for reason in sorted(reasons, key=lambda text: (text == NOT_RUN, text)):
        folds = reasons[reason]
        same = len({tuple(seeds) for seeds in folds.values()}) == 1
        if several and not same:
            names = [f"{fold} (seed {', '.join(map(str, seeds))})" for fold, seeds in folds.items()]
        else:
            names = list(folds)
        seeds = next(iter(folds.values()))
        suffix = f" (seed {', '.join(map(str, seeds))})" if several and same and seeds else ""
        which = "every fold" if len(folds) == row.folds > 1 and same else _listed(names)
        lines.append(f"{which}{suffix}: {reason.rstrip('.')}")
    return lines


def _indented(row: Row) -> str:
    return f" {row.name}"


_NAME: _Cell = ("", _indented)


# Column by column what a narrower terminal goes without, after the wide headings: least first.
_LEAST = ("mean", "balanced_accuracy", "accuracy_interval", "f1_interval")


def _fitted(table: Table, width: int) -> tuple[int, list[_Cell]]:
    """The gap between columns, beyond one blank, and the columns that fit a width; the narrowest if none do."""
    forms = [(True, 0, 1), (True, 0, 0), *((False, count, 0) for count in range(len(_LEAST) + 1))]
    for wide, dropped, gap in forms:
        columns = [_NAME, *_columns(table, wide=wide, without=_LEAST[:dropped])]
        longest = [
            max([*map(len, heading.split("\n")), *(len(cell(row)) for row in table.rows)]) for heading, cell in columns
        ]
        longest[0] = max(longest[0], *(len(_heading(group)) for group in _groups(table))) if table.rows else 0
        if sum(longest) + len(columns) * (1 + gap) + 1 <= width:
            break
    return gap, columns


def _columns(table: Table, *, wide: bool, without: Sequence[str] = ()) -> list[_Cell]:
    """Heading and the function from a row to its cell, of all columns but the name and those of `_LEAST` left out."""

    def figure(name: str, *, sd: bool) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            mark = MACRO if name == "f1" and row.macro else ""
            return _figure(row.scores[name], row, sd=sd, wide=wide, mark=mark)

        return cell

    def interval(name: str) -> list[_Cell]:
        def cell(row: Row) -> str:
            return _interval(row.intervals[name], row, wide=wide)

        any_row = any(row.intervals[name].defined for row in table.rows)
        return [(f"{LEVEL:.0%}\ninterval" if wide else f"{LEVEL:.0%}", cell)] if any_row else []

    columns: dict[str, list[_Cell]] = {
        "f1": [("F1", figure("f1", sd=True))],
        "f1_interval": interval("f1"),
        "accuracy": [("accuracy" if wide else "acc.", figure("accuracy", sd=True))],
        "accuracy_interval": interval("accuracy"),
        "balanced_accuracy": [("balanced\naccuracy" if wide else "bal.\nacc.", figure("balanced_accuracy", sd=False))],
        "auroc": [("AUROC†", figure("auroc", sd=False))],
        "mean": [("acc. of\nmean‡", lambda row: _number(row.ensemble["accuracy"], row) if row.ensemble else "")]
        if any(row.ensemble for row in table.rows)
        else [],
        "chance": [("p of\nchance", _chance)] if any(row.seeds for row in table.rows) else [],
        "folds": [("folds", lambda row: f"{row.folds_done}/{row.folds}")],
        "seizures": [("seizures" if wide else "seiz.", lambda row: f"{row.scored}/{row.rated}")],
    }
    if any(row.paper for row in table.rows):
        columns["paper"] = [
            ("paper\nF1", lambda row: f"{row.paper[0]:.2f}" if row.paper else ""),
            ("paper\nacc.", lambda row: f"{row.paper[1]:.2f}" if row.paper else ""),
        ]
    return [cell for name, cells in columns.items() if name not in without for cell in cells]


def _interval(interval: Interval, row: Row, *, wide: bool) -> str:
    if not interval.defined:
        return UNDEFINED if row.seeds else ""
    ends = [f"{end:.{_places(row)}f}" for end in (interval.low, interval.high)]
    return "–".join(ends if wide else map(_short, ends))


def _short(number: str) -> str:
    """Without the zero before the point."""
    return number[1:] if number.startswith("0.") else number[:-1]


def _chance(row: Row) -> str:
    """Holm's p, with the mark where it is within chance."""
    if row.verdict == NOT_TESTED:
        return UNDEFINED if row.seeds else ""
    return f"{WITHIN_CHANCE if row.verdict == WITHIN else ''}{_p(row.chance_adjusted)}"


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


_CONTRASTS_HEADING = "Planned contrasts, difference of accuracy"
_CONTRAST_HEADINGS = ("", "", f"{LEVEL:.0%}", "p", "Holm", "least", "differ")


def _contrast_cells(table: Table) -> list[tuple[str, ...]]:
    """A line of cells for each planned contrast."""
    return [
        (f"{row.key.sign}: {row.name} − {row.contrast.name}", *_contrast_figures(row, row.contrast))
        for row in table.rows
        if row.contrast is not None and row.contrast.planned
    ]


def _contrast_figures(row: Row, contrast: Contrast) -> tuple[str, ...]:
    test = contrast.accuracy
    if math.isnan(test.p):
        return (test.reason, *[UNDEFINED] * 5)
    return (
        f"{test.difference:+.{_places(row)}f}",
        " to ".join(f"{end:+.{_places(row)}f}" for end in (contrast.interval.low, contrast.interval.high))
        if contrast.interval.defined
        else UNDEFINED,
        _p(test.p),
        _p(contrast.adjusted),
        _p(test.smallest),
        f"{test.differing}/{test.subjects}",
    )


def _figure(summary: Summary, row: Row, *, sd: bool, wide: bool, mark: str) -> str:
    if not summary.defined:
        return UNDEFINED
    places = _places(row)
    text = f"{summary.mean:.{places}f}{mark}"
    if sd and summary.sd is not None:
        sd_text = f"{summary.sd:.{places}f}"
        text += f" ± {sd_text}" if wide else f"±{_short(sd_text)}"
    return text


def _number(score: Score, row: Row) -> str:
    return UNDEFINED if math.isnan(score.value) else f"{score.value:.{_places(row)}f}"


def _places(row: Row) -> int:
    return 3 if row.rated >= _THREE_DECIMALS else 2


def table_title(table: Table) -> str:
    """What the table is of, in one line."""
    kinds = set(table.kinds.values())
    plan = (
        "Leave one subject out"
        if kinds == {"loso"}
        else "Folds from a file"
        if kinds == {"file"}
        else "A cohort that the networks had never seen"
        if kinds == {"external"}
        else "Out-of-fold predictions"
    )
    return f"{plan}, scores pooled over seizures"


def _groups(table: Table) -> list[list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        groups.setdefault(row.group, []).append(row)
    return list(groups.values())


def _heading(group: Sequence[Row]) -> str:
    row = group[0]
    return f"{row.group} ({len(row.classes)} classes, macro F1{MACRO})" if row.macro else row.group


def _confusion_lines(table: Table) -> list[str]:
    """Confusion matrices of each group, summed over the seeds, a line a row."""
    lines: list[str] = []
    for group in _groups(table):
        rows = [row for row in group if row.seeds]
        if not rows:
            continue
        totals = [row.confusion.sum(axis=0) for row in rows]
        names = [*rows[0].classes, "not scored"]
        shown = len(names) if any(total[:, -1].any() for total in totals) else len(names) - 1
        pairs = [(i, j) for i in range(len(names) - 1) for j in range(shown)]
        headings = [f"{_escape(names[i])} → {_escape(names[j])}" for i, j in pairs]
        lines.append("| " + " | ".join([_escape(rows[0].group), "seeds", *headings]) + " |")
        lines.append("| " + " | ".join([":--", *["--:"] * (len(pairs) + 1)]) + " |")
        for row, total in zip(rows, totals, strict=True):
            seeds = "" if row.seeds == (None,) else str(len(row.seeds))
            counts = [str(int(total[i, j])) for i, j in pairs]
            lines.append("| " + " | ".join([_escape(row.name), seeds, *counts]) + " |")
        lines.append("")
    head = ["## Confusion matrices", "", "Seizures, summed over the seeds; columns are label → prediction.", ""]
    return [*head, *lines] if lines else []


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED + 1 else ""
    return ", ".join(listed[:_NAMED] if more else listed) + more


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
