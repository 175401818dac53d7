"""Whether what is pooled is of one run: refuse mixed run ids, a fold's file in another fold's place, and folds of other plans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from seizurelit.cohort.plan import Plan
from seizurelit.errors import InputError

_SHOWN = 20


@dataclass(frozen=True)
class Part:
    """The predictions of one finished job, and what its place and its weights say that they are.

    Attributes:
        where: its folder or file, for the message.
        run_id: of the weights beside it.
        sign: that its place says; so are the others.
        stream: of the row.
        model: of the row.
        seed: of the training.
        fold: name of the held-out fold.
        predictions: as `read_predictions` gives them.
    """

    where: str
    run_id: str
    sign: str
    stream: str
    model: str
    seed: int
    fold: str
    predictions: pd.DataFrame


def check_parts(parts: Iterable[Part], run_id: str, plans: Mapping[str, Plan]) -> None:
    """Refuse parts that are not of this run, or not what their place says.

    Args:
        parts: of the finished jobs. Duplicates among them are `predictions.pool`'s to refuse.
        run_id: of the run.
        plans: sign → its folds.

    Raises:
        InputError: a line a fault: another run's id, a fold that was not planned, rows of another row, seed or fold, a
            subject that the fold does not hold out.
    """
    faults = []
    for part in parts:
        if part.run_id != run_id:
            faults.append(f"{part.where}: is of run {part.run_id or 'unknown'}, not of this run ({run_id})")
            continue
        tests = {fold.name: fold.test for fold in plans[part.sign].folds} if part.sign in plans else {}
        if part.fold not in tests:
            faults.append(f"{part.where}: fold {part.fold} of {part.sign} is not in folds.json")
            continue
        for name in ("sign", "stream", "model", "seed", "fold"):
            others = sorted({str(cell) for cell in part.predictions[name]} - {str(getattr(part, name))})
            if others:
                faults.append(f"{part.where}: holds predictions of {name} {', '.join(others)}")
        strays = sorted(set(part.predictions["subject"]) - set(tests[part.fold]))
        if strays:
            faults.append(f"{part.where}: predicts {', '.join(strays)}, whom fold {part.fold} does not hold out")
    if faults:
        more = [f"{len(faults) - _SHOWN} more faults of this kind"] if len(faults) > _SHOWN else []
        raise InputError(*faults[:_SHOWN], *more, "remove the folders that are named and run again")
