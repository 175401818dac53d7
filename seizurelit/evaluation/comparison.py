"""One run's table beside another's of the same cohort: how far each number moved, and how far it could move by chance."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from seizurelit.evaluation.rendering import STAND_IN
from seizurelit.evaluation.statistics.cases import Cases, cases_of, pair
from seizurelit.evaluation.statistics.intervals import RESAMPLES, Interval, difference_interval, intervals
from seizurelit.evaluation.statistics.weightings import scores_under
from seizurelit.evaluation.table import RowKey, Table

COMPARED = ("f1", "accuracy", "balanced_accuracy", "auroc")
OUTSIDE = "*"

_SHOWN = {"f1": "F1", "accuracy": "acc."}
_NONE = "–"


@dataclass(frozen=True)
class Change:
    """A score in two runs, on the seizures that both have scored.

    Attributes:
        old: mean over the older run's seeds.
        new: mean over the newer run's seeds.
        interval: of new minus old; both runs' scores in the same resamples of subjects.
        own: of the old score.
    """

    old: float
    new: float
    interval: Interval
    own: Interval

    @property
    def difference(self) -> float:
        """New minus old."""
        return self.new - self.old

    @property
    def outside(self) -> bool:
        """Whether the new score lies outside the old one's interval."""
        return self.own.defined and not self.own.low <= self.new <= self.own.high


@dataclass(frozen=True)
class RowChange:
    """A row that both tables have.

    Attributes:
        key: sign, stream, model.
        name: as the new table writes it.
        group: likewise.
        seizures: scored in every seed of both runs.
        alone: scored by one of the two runs only, and left out.
        seeds: of the old and of the new run.
        changes: score → change.
    """

    key: RowKey
    name: str
    group: str
    seizures: int
    alone: int
    seeds: tuple[int, int]
    changes: Mapping[str, Change]


@dataclass(frozen=True)
class Comparison:
    """Two runs' tables.

    Attributes:
        old: the older run's name.
        rows: that both have, in the new table's order.
        gone: rows of the old run alone.
        added: rows of the new run alone.
        stand_in: whether the cohort is synthetic.
    """

    old: str
    rows: tuple[RowChange, ...]
    gone: tuple[RowKey, ...]
    added: tuple[RowKey, ...]
    stand_in: bool


def rows_of(predictions: pd.DataFrame, key: RowKey) -> pd.DataFrame:
    """The predictions of one row of the table."""
    for name, value in key._asdict().items():
        predictions = predictions.loc[predictions[name] == value]
    return predictions


def row_cases(predictions: pd.DataFrame, key: RowKey, classes: Sequence[str]) -> Cases:
    """The cases of one row of `predictions.csv`, a seed after the other; seizures without a score are not among them."""
    groups = rows_of(predictions, key).groupby("seed", dropna=False, sort=True)
    return cases_of([group for _, group in groups], classes)


def with_equal_seeds(one: Cases, other: Cases) -> tuple[Cases, Cases]:
    """Both rows with as many seeds, each seed repeated as often as the others of its row: means over seeds stay."""
    count = math.lcm(one.seeds, other.seeds)
    first, second = (cases.of_seeds([*range(cases.seeds)] * (count // cases.seeds)) for cases in (one, other))
    return first, second


def change(old: Cases, new: Cases, name: str, *, resamples: int = RESAMPLES) -> Change:
    """A score's change from one row to another on their common seizures.

    Args:
        old: a row.
        new: a row of the same sign; of as many seeds, or one of the two of one seed.
        name: of `weightings.WEIGHABLE`.
        resamples: of the subjects.
    """
    before, after = pair(old, new)
    values = []
    for cases in (before, after):
        once = np.ones((1, len(cases.subjects)))
        values.append(float(scores_under(cases, once, [name])[name][0]) if cases.subjects else math.nan)
    interval = difference_interval(new, old, name, resamples=resamples)
    return Change(values[0], values[1], interval, intervals(before, [name], resamples=resamples)[name])


def compare(table: Table, new: pd.DataFrame, old: pd.DataFrame, name: str, *, resamples: int = RESAMPLES) -> Comparison:
    """Compare two runs of one cohort.

    Args:
        table: the new run's.
        new: the predictions that it is made of.
        old: the older run's predictions.
        name: of the older run.
        resamples: of the subjects.
    """
    columns = [old[name].astype(str) for name in RowKey._fields]
    before = {RowKey(*key) for key in zip(*columns, strict=True)}
    shown = [row for row in table.rows if row.seeds]
    rows = []
    for row in shown:
        if row.key not in before:
            continue
        cases = with_equal_seeds(row_cases(old, row.key, row.classes), row_cases(new, row.key, row.classes))
        common = len(pair(*cases)[0].labels)
        both = len({*cases[0].seizures, *cases[1].seizures})
        seeds = tuple(row_cases(frame, row.key, row.classes).seeds for frame in (old, new))
        changes = {score: change(*cases, score, resamples=resamples) for score in COMPARED}
        rows.append(RowChange(row.key, row.name, row.group, common, both - common, (seeds[0], seeds[1]), changes))
    here = {row.key for row in shown}
    return Comparison(name, tuple(rows), tuple(sorted(before - here)), tuple(sorted(here - before)), table.stand_in)


def to_csv(comparison: Comparison) -> str:
    """A line a row and score, at full precision; what is undefined is blank."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("sign", "stream", "model", "score", "old", "new", "change", "change_low", "change_high", "no_interval")
    writer.writerow((*head, "old_low", "old_high", "outside", "seizures", "left_out", "old_seeds", "new_seeds"))
    for row in comparison.rows:
        for name, found in row.changes.items():
            numbers = (found.old, found.new, found.difference, found.interval.low, found.interval.high)
            ends = (found.own.low, found.own.high)
            writer.writerow(
                [
                    *(*row.key, name, *map(_exact, numbers), found.interval.reason, *map(_exact, ends)),
                    *(int(found.outside), row.seizures, row.alone, *row.seeds),
                ]
            )
    return text.getvalue()


def render(comparison: Comparison) -> Group:
    """The comparison as something that rich prints, 80 columns wide."""
    columns = ["", *(text for name in _SHOWN.values() for text in (name, "change", "95%"))]
    grid = RichTable(box=box.HORIZONTALS, padding=0)
    for place, heading in enumerate(columns):
        grid.add_column(Text(heading), justify="right" if place else "left", no_wrap=True)
    group = ""
    for row in comparison.rows:
        if row.group != group:
            group = row.group
            grid.add_section()
            grid.add_row(Text(group, style="bold cyan"))
        grid.add_row(f" {row.name}", *(cell for name in _SHOWN for cell in cells(row.changes[name], row.seizures)))
    title = Text(f"Beside {comparison.old}", style="bold")
    if comparison.stand_in:
        title.append("\n").append(f" {STAND_IN} ", style="bold black on yellow")
    parts: list[RenderableType] = [Text(""), title, grid]
    return Group(*parts, *(Text(f"· {note}", style="dim") for note in notes(comparison)), Text(""))


def cells(found: Change, seizures: int) -> tuple[str, str, str]:
    """Old → new, their difference and its interval, as short text; three decimals from 500 seizures on."""
    places = 3 if seizures >= 500 else 2
    if math.isnan(found.difference):
        return (_NONE, _NONE, _NONE)
    pair_ = "→".join(_short(f"{value:.{places}f}") for value in (found.old, found.new))
    ends = [_short(f"{end:+.{places}f}") for end in (found.interval.low, found.interval.high)]
    mark = OUTSIDE if found.outside else ""
    return (
        pair_,
        f"{mark}{_short(f'{found.difference:+.{places}f}')}",
        " ".join(ends) if found.interval.defined else _NONE,
    )


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What must be known to read the changes, a line each."""
    told = [
        "Old → new, both on the seizures that both runs scored, mean over each run's seeds; 95%: BCa interval of the change, "
        "both runs in the same resamples of subjects, the fitted models as they are. What other seeds would give it does not tell.",
        f"{OUTSIDE} The new number lies outside the 95% interval of the old one. A change whose own interval holds 0 is none "
        "that this cohort can show. Nothing here is corrected for the number of rows: exploratory.",
    ]
    told += [
        f"{row.key.sign} {row.name}: {row.alone} seizures that only one of the runs scored are left out."
        for row in comparison.rows
        if row.alone
    ]
    counts = sorted({row.seeds for row in comparison.rows if row.seeds[0] != row.seeds[1]})
    told += [f"{old} and {new} seeds are compared by their means." for old, new in counts]
    for keys, where in ((comparison.gone, "the older run"), (comparison.added, "this run")):
        if keys:
            told.append(f"Only in {where}: {', '.join(' '.join(part for part in key if part) for key in keys)}.")
    return tuple(told)


def _short(number: str) -> str:
    """Without the zero before the point."""
    return number.replace("0.", ".", 1) if number.lstrip("+-").startswith("0.") else number


def _exact(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.9g}"
