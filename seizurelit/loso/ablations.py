"""The method's switches one at a time: a run each, and one table that sets every row beside the same row without the switch."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from seizurelit.cache.store import Cache
from seizurelit.cohort.files import write_whole
from seizurelit.config import RESEARCH_USE, STREAMS, Training, check, with_overrides
from seizurelit.errors import InputError
from seizurelit.evaluation.comparison import Change, change, row_cases, with_equal_seeds
from seizurelit.evaluation.fusion import FUSED_MODEL, FUSED_STREAM, STUDENT
from seizurelit.evaluation.predictions import read_predictions
from seizurelit.evaluation.rendering import STAND_IN
from seizurelit.evaluation.statistics.contrasts import SignFlip, sign_flip
from seizurelit.evaluation.statistics.multiplicity import ALPHA, holm
from seizurelit.evaluation.table import Row, RowKey, Table
from seizurelit.loso.experiment import Row as Trained
from seizurelit.loso.experiment import Run, Setup, open_run
from seizurelit.loso.jobs import Request, jobs_of, possible_rows, trainings_of
from seizurelit.loso.options import Ablation, RunOptions
from seizurelit.loso.pooling import PREDICTIONS
from seizurelit.loso.run import setup_of, train
from seizurelit.loso.watching import Sweep

REFERENCE = "reference"

_COLUMNS = ("", "F1", "95%", "acc.", "95%", "p of\nchance", "change\nof acc.", "95%", "p", "Holm", "folds")
_NONE = "–"


@dataclass(frozen=True)
class AblationRow:
    """A row of a switch's run, beside the row that it is compared with.

    Attributes:
        switch: its name; REFERENCE for the rows without any.
        row: of the run's table.
        against: the reference's row; None for the reference itself.
        accuracy: change of accuracy from that row to this one.
        f1: likewise.
        test: the sign-flip test of the change of accuracy.
        adjusted: Holm's p of it over all rows that have one.
        chance_adjusted: Holm's p against chance over all rows of this table.
    """

    switch: str
    row: Row
    against: RowKey | None = None
    accuracy: Change | None = None
    f1: Change | None = None
    test: SignFlip | None = None
    adjusted: float = math.nan
    chance_adjusted: float = math.nan


@dataclass(frozen=True)
class _Part:
    """One run of the experiment: the reference, or a switch that changes settings."""

    name: str
    run: Run
    request: Request
    impossible: Mapping[Trained, str]


def run_ablations(
    options: RunOptions, training: Training, ablations: Sequence[Ablation], own: Mapping[str, str]
) -> int:
    """Train the reference and every switch, print their table, and write ablations.csv and ablations.md.

    Args:
        options: as for `run_table`; `out` holds a folder a run. Without it, the reference is the run that the same settings have
            for `reproduce`.
        training: the reference's settings.
        ablations: the switches.
        own: sign → its own stream.

    Returns:
        0, or 1 where a fold is missing.

    Raises:
        InputError: two switches of one name, a stream that does not exist, settings that cannot be.
    """
    setups = _setups(options, training, ablations, own)
    keys = {ablation.name: compared(ablation, own) for ablation in ablations}
    of_reference = [key for ablation in ablations for pair in keys[ablation.name] for key in pair[1:]]
    of_reference += [pair[0] for ablation in ablations if not ablation.settings for pair in keys[ablation.name]]
    wanted = {REFERENCE: of_reference} | {a.name: [new for new, _ in keys[a.name]] for a in ablations if a.settings}
    parts = {}
    base: Path | None = options.out
    for name, rows in wanted.items():
        folder = None if base is None else base / _slug(name)
        parts[name] = _part(name, setups[name], rows, options, folder)
        base = base or parts[name].run.folder.with_name(f"{parts[name].run.folder.name}-ablations")
    assert base is not None
    total = sum(trainings_of(jobs_of(part.run, part.request)) for part in parts.values())
    Console(stderr=True, highlight=False).print(f"{base}: {total} trainings in {len(parts)} runs")
    tables, whole = {}, True
    for name, part in parts.items():
        sweep = Sweep(parts[REFERENCE].run.run_id, name)
        tables[name], complete = train(part.run, part.request, part.impossible, options, sweep=sweep)
        whole = whole and complete
    predictions = {name: read_predictions(part.run.folder / PREDICTIONS) for name, part in parts.items()}
    rows_ = _rows(ablations, keys, tables, predictions)
    remarks = notes(rows_, tables[REFERENCE], [why for part in parts.values() for why in part.impossible.values()])
    write_whole(base / "ablations.csv", to_csv(rows_).encode())
    write_whole(base / "ablations.md", to_markdown(rows_, remarks).encode())
    print_ablations(rows_, remarks)
    print(f"{base}: ablations.csv, ablations.md; a folder a run")
    return 0 if whole else 1


def compared(ablation: Ablation, own: Mapping[str, str]) -> list[tuple[RowKey, RowKey]]:
    """The rows that a switch is tried in, each with the reference's row that it stands beside.

    Args:
        ablation: the switch.
        own: sign → its own stream.
    """
    pairs = []
    for sign, stream in own.items():
        if ablation.only not in {None, stream}:
            continue
        for model in ablation.models:
            if model == FUSED_MODEL:
                pairs.append((RowKey(sign, FUSED_STREAM, FUSED_MODEL), RowKey(sign, stream, STUDENT)))
                continue
            other = next(name for name in STREAMS if name != stream)
            read = stream if ablation.stream == "own" else other
            pairs.append((RowKey(sign, read, model), RowKey(sign, stream, model)))
    return pairs


def _setups(
    options: RunOptions, training: Training, ablations: Sequence[Ablation], own: Mapping[str, str]
) -> dict[str, Setup]:
    """Run → what it is made of; all that is wrong with the options is said before anything is trained."""
    faults = [
        f"--own.{sign} {stream}: give {' or '.join(STREAMS)}" for sign, stream in own.items() if stream not in STREAMS
    ]
    slugs = [_slug(name) for name in (REFERENCE, *(ablation.name for ablation in ablations))]
    faults += [
        f"--ablations: two are called {slug}; give each its own name"
        for slug in {s for s in slugs if slugs.count(s) > 1}
    ]
    faults += [
        f"--ablations: {ablation.name} sets nothing and reads the same rows; give it settings, stream: other, or models: [fusion]"
        for ablation in ablations
        if not ablation.settings and ablation.stream == "own" and set(ablation.models) != {FUSED_MODEL}
    ]
    if options.diff is not None:
        faults.append(f"--diff {options.diff}: is of one run; give it to reproduce or report")
    if not ablations or not own:
        faults.append("--ablations: none are given; try --config experiments/ablations.yaml")
    changed = {}
    for ablation in ablations:
        try:
            changed[ablation.name] = with_overrides(training, ablation.settings)
            check(changed[ablation.name])
        except InputError as error:
            faults += [f"--ablations, {ablation.name}: {fault}" for fault in error.faults]
    if faults:
        raise InputError(*faults)
    reference = setup_of(options, training)
    setups = {name: dataclasses.replace(reference, training=changed[name]) for name in changed}
    return {REFERENCE: reference, **setups}


def _slug(name: str) -> str:
    """A name as a folder's."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def _part(name: str, setup: Setup, keys: Sequence[RowKey], options: RunOptions, folder: Path | None) -> _Part:
    """The run of some rows, opened, with those that the cache has the tensors for."""
    rows = []
    for key in keys:
        streams = FUSED_STREAM.split("+") if key.model == FUSED_MODEL else [key.stream]
        rows += [Trained(key.sign, stream, STUDENT if key.model == FUSED_MODEL else key.model) for stream in streams]
    cache = Cache.open(setup.cache)
    possible: list[Trained] = []
    impossible: dict[Trained, str] = {}
    for row in dict.fromkeys(rows):
        found, absent = possible_rows(cache, setup.training, [row.sign], [row.stream], [row.model])
        possible += found
        impossible |= absent
    if not possible:
        raise InputError(*impossible.values())
    request = Request(tuple(possible), options.seeds or 1, None if options.fold == "all" else (options.fold,))
    return _Part(name, open_run(setup, folder, request.signs), request, impossible)


def _rows(
    ablations: Sequence[Ablation],
    keys: Mapping[str, Sequence[tuple[RowKey, RowKey]]],
    tables: Mapping[str, Table],
    predictions: Mapping[str, pd.DataFrame],
) -> list[AblationRow]:
    """The reference's rows that something is compared with, then each switch's; corrected over all of them."""
    found = {name: {row.key: row for row in table.rows if row.seeds} for name, table in tables.items()}
    bases = dict.fromkeys(against for ablation in ablations for _, against in keys[ablation.name])
    rows = [AblationRow(REFERENCE, row) for key, row in found[REFERENCE].items() if key in bases]
    for ablation in ablations:
        where = ablation.name if ablation.settings else REFERENCE
        for key, against in keys[ablation.name]:
            if key not in found[where]:
                continue
            row = found[where][key]
            if against not in found[REFERENCE]:
                rows.append(AblationRow(ablation.name, row, against))
                continue
            old, new = with_equal_seeds(
                row_cases(predictions[REFERENCE], against, row.classes), row_cases(predictions[where], key, row.classes)
            )
            rows.append(
                AblationRow(
                    *(ablation.name, row, against, change(old, new, "accuracy"), change(old, new, "f1")),
                    test=sign_flip(new, old, "accuracy"),
                )
            )
    chance = holm([entry.row.decisive.p for entry in rows])
    tests = holm([math.nan if entry.test is None else entry.test.p for entry in rows])
    return [
        dataclasses.replace(entry, chance_adjusted=of_chance, adjusted=of_change)
        for entry, of_chance, of_change in zip(rows, chance, tests, strict=True)
    ]


def to_csv(rows: Sequence[AblationRow]) -> str:
    """A line a row at full precision; what is undefined or does not apply is blank."""
    text = io.StringIO()
    records = [_record(entry) for entry in rows]
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _exact(cell) for name, cell in record.items()})
    return text.getvalue()


def _record(entry: AblationRow) -> dict[str, Any]:
    row, test = entry.row, entry.test
    record: dict[str, Any] = {"switch": entry.switch, **row.key._asdict(), "name": row.name}
    record |= {"folds_done": row.folds_done, "folds": row.folds, "seeds": len(row.seeds), "seizures": row.scored}
    for name in ("f1", "accuracy", "balanced_accuracy", "auroc"):
        interval = row.intervals[name]
        record |= {name: row.scores[name].mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    record |= {"chance_test": row.decisive.kind, "chance_p": row.decisive.p, "chance_p_adjusted": entry.chance_adjusted}
    record["against"] = " ".join(entry.against) if entry.against else None
    for name, found in (("accuracy", entry.accuracy), ("f1", entry.f1)):
        record[f"change_of_{name}"] = found and found.difference
        record[f"change_of_{name}_low"] = found and found.interval.low
        record[f"change_of_{name}_high"] = found and found.interval.high
    record |= {"p": test and test.p, "p_adjusted": entry.adjusted, "p_smallest": test and test.smallest}
    return record | {"subjects_differing": test and test.differing, "use": RESEARCH_USE}


def to_markdown(rows: Sequence[AblationRow], remarks: Sequence[str]) -> str:
    """The table as GitHub Markdown, with its footnotes."""
    lines = ["# Ablations", "", "| switch " + " | ".join(["", *(" ".join(c.split("\n")) for c in _COLUMNS)]) + " |"]
    lines.append("|" + " :-- |" * 2 + " --: |" * (len(_COLUMNS) - 1))
    lines += ["| " + " | ".join([entry.switch, *_cells(entry)]) + " |" for entry in rows]
    return "\n".join([*lines, "", *(f"- {remark}" for remark in remarks)]) + "\n"


# Columns that a narrower terminal goes without: least first.
_LEAST = ((), (2,), (2, 4), (1, 2, 4), (1, 2, 4, 7))


def print_ablations(rows: Sequence[AblationRow], remarks: Sequence[str], console: Console | None = None) -> None:
    """The table on standard output; a file gets all of it, a narrow terminal goes without the intervals, then without F1."""
    target = console or Console()
    grids = [_grid(rows, dropped) for dropped in _LEAST]
    if console is None and not target.is_terminal:
        target = Console(width=Console(width=500).measure(grids[0]).maximum)
    fitting = (grid for grid in grids if Console(width=500).measure(grid).maximum <= target.width)
    target.print(Text("\nAblations: one switch at a time", style="bold"), next(fitting, grids[-1]))
    for remark in remarks:
        target.print(Text(f"· {remark}", style="bold yellow" if remark.startswith(STAND_IN) else "dim"))


def _grid(rows: Sequence[AblationRow], dropped: Sequence[int]) -> RichTable:
    """The table without some of its columns."""
    grid = RichTable(box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    for place, heading in enumerate(_COLUMNS):
        if place not in dropped:
            grid.add_column(Text(heading), justify="right" if place else "left", no_wrap=True, vertical="bottom")
    switch = ""
    for entry in rows:
        if entry.switch != switch:
            switch = entry.switch
            grid.add_section()
            grid.add_row(Text(switch, style="bold cyan"))
        name, *cells = (cell for place, cell in enumerate(_cells(entry)) if place not in dropped)
        grid.add_row(f" {name}", *cells)
    return grid


def notes(rows: Sequence[AblationRow], reference: Table, impossible: Sequence[str]) -> tuple[str, ...]:
    """What must be known to read the table, a line each."""
    run, tested = reference.run, sum(entry.test is not None and not math.isnan(entry.test.p) for entry in rows)
    kinds = sorted({entry.row.decisive.kind for entry in rows})
    told = [f"{STAND_IN}: synthetic people. Nothing here is a finding about seizures."] if reference.stand_in else []
    told += [
        f"Preset {run.preset or 'none'}, {len(run.seeds)} seed(s). Change: from the reference's row of the same sign and model "
        "(fusion: from the sign's own student) to this one, on their common seizures; BCa interval over subjects.",
        f"p: both rows' predictions swapped by subject, exact up to 20 differing subjects; Holm over the {tested} changes. p of "
        f"chance: {', '.join(kinds)}, Holm over the {len(rows)} rows; above chance is below {ALPHA}.",
        "Exploratory: these are not the planned contrasts, and a change that is not significant is not shown to be none.",
    ]
    told += [
        f"{entry.switch}, {entry.row.key.sign} {entry.row.name}: {entry.row.folds_done}/{entry.row.folds} folds; "
        f"{entry.row.missing[0].fold}: {entry.row.missing[0].reason}."
        for entry in rows
        if entry.row.missing
    ]
    told += [f"Rows that could not be trained: {why}." for why in dict.fromkeys(impossible)]
    return (*told, RESEARCH_USE)


def _cells(entry: AblationRow) -> tuple[str, ...]:
    row, found, test = entry.row, entry.accuracy, entry.test
    figures = []
    for name in ("f1", "accuracy"):
        score, interval = row.scores[name], row.intervals[name]
        figures.append(f"{score.mean:.2f}" if score.defined else _NONE)
        figures.append(f"{_short(interval.low)}–{_short(interval.high)}" if interval.defined else _NONE)
    moved: tuple[str, ...] = ("",) * 4
    if found is not None and test is not None:
        ends = f"{found.interval.low:+.2f} {found.interval.high:+.2f}" if found.interval.defined else _NONE
        moved = (_signed(found.difference), ends, _p(test.p), _p(entry.adjusted))
    name = f"{row.key.sign} {row.name}"
    return (name, *figures, _p(entry.chance_adjusted), *moved, f"{row.folds_done}/{row.folds}")


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _signed(value: float) -> str:
    return _NONE if math.isnan(value) else f"{value:+.2f}"


def _p(value: float) -> str:
    return (
        _NONE if math.isnan(value) else "<.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    )


def _exact(cell: Any) -> Any:
    if isinstance(cell, float):
        return "" if math.isnan(cell) else f"{cell:.9g}"
    return "" if cell is None else cell
