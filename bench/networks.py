"""Our networks against plain ones written from the papers' equations: `python -m bench.networks`, a table and bench-networks.json.

Each row is one network, one shape, one precision, as a training step or as inference; the reference (bench/reference.py) and ours
work by turns in this process, on the same windows, and reference/ours is how many times as fast ours is: of the processor's time on
a CPU, which other work on the machine stretches less than the clock. Rows in bf16 also have the ratio to the reference in float32,
as the original computes. `--all` takes every shape, on a CPU the ten-block's only up to so many frames as a step of its preset has:
larger ones take minutes a step, and more memory than most machines have. First come the products a second that the processor makes
in each precision; one that emulates bf16 has no rows in it.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench.machine import machine
from bench.reference import ReferenceAgcn, ReferenceTcn
from seizurelit.cohort.skeleton import Skeleton, built_in
from seizurelit.models import Agcn, Tcn
from seizurelit.training.graphs import BEFORE, Graphs

CHANNELS, FEATURES, CLASSES = 4, 512, 2
TEN_BLOCK_FRAMES = 8 * 300
"""Frames in a batch (N·T) of the ten-block, at most, on a CPU."""
SLOW = 0.25
"""bf16 products for each in fp32 below which bf16 is left out, as a step would take minutes."""
AGAINST = {"fp32": "to fp32", "captured": "reference captured", "eager": "ours eager"}
"""What else ours is compared with, and what heads its column."""
SECONDS = 0.2
"""What one turn takes at least: shorter work is repeated."""


@dataclass(frozen=True)
class Case:
    """A row.

    Attributes:
        network: agcn-small, agcn-ten_block or tcn.
        mode: step (forward, backward, optimiser) or inference.
        precision: fp32 or bf16 (autocast).
        batch: windows.
        frames: of a window.
        joints: 11 (body11) or 23 (face23); of no account to the TCN.
    """

    network: str
    mode: str
    precision: str
    batch: int
    frames: int
    joints: int


CASES = (
    *(
        Case("agcn-ten_block", mode, precision, 8, 300, 11)
        for mode in ("step", "inference")
        for precision in ("fp32", "bf16")
    ),
    *(
        Case("agcn-small", mode, precision, 8, 75, V)
        for mode in ("step", "inference")
        for V in (11, 23)
        for precision in ("fp32", "bf16")
    ),
    *(Case("tcn", mode, precision, 8, 75, 11) for mode in ("step", "inference") for precision in ("fp32", "bf16")),
)


def every_case(device: str) -> list[Case]:
    """All shapes: batch 1 to 64, 100 to 1500 frames, 11 and 23 joints; on a CPU without the ten-block's largest."""
    shapes = list(itertools.product(("fp32", "bf16"), (1, 8, 64), (100, 300, 1500), (11, 23)))
    cases = [
        Case(network, mode, *shape)
        for network in ("tcn", "agcn-small", "agcn-ten_block")
        for mode in ("step", "inference")
        for shape in shapes
        if network != "tcn" or shape[-1] == 11
    ]
    most = TEN_BLOCK_FRAMES if device == "cpu" else math.inf
    return [case for case in cases if case.network != "agcn-ten_block" or case.batch * case.frames <= most]


def networks(case: Case) -> tuple[nn.Module, nn.Module, Tensor]:
    """The reference, ours, and windows for both."""
    torch.manual_seed(0)
    if case.network == "tcn":
        sizes = {"channels": 64, "levels": 6, "kernel": 3, "dropout": 0.2}
        return (
            ReferenceTcn(FEATURES, CLASSES, **sizes),
            Tcn(FEATURES, CLASSES),
            torch.randn(case.batch, case.frames, FEATURES).transpose(1, 2),  # as batches have it
        )
    skeleton: Skeleton = built_in("body11" if case.joints == 11 else "face23")
    graph, variant = torch.from_numpy(skeleton.adjacency()), case.network.removeprefix("agcn-")
    ours = Agcn(graph, CHANNELS, CLASSES, variant=variant)  # type: ignore[arg-type]
    x = torch.randn(case.batch, CHANNELS, case.frames, case.joints)
    return ReferenceAgcn(graph, CHANNELS, CLASSES, variant=variant), ours, x


class Windows(NamedTuple):
    """A batch."""

    x: Tensor
    label: Tensor


def worker(network: nn.Module, x: Tensor, case: Case, device: str, *, captured: bool = False) -> Callable[[], None]:
    """One training step or one inference; captured as a CUDA graph, as our training does on a GPU."""
    network, x = network.to(device), x.to(device)
    batch = Windows(x, torch.arange(case.batch, device=device) % CLASSES)
    autocast = torch.autocast(device, torch.bfloat16) if case.precision == "bf16" else contextlib.nullcontext()
    if case.mode == "inference":
        network.eval()

        @torch.inference_mode()
        def infer() -> None:
            with autocast:
                network(x)

        return infer
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def loss(batch: Windows) -> tuple[Tensor]:
        return (nn.functional.cross_entropy(network(batch.x).float(), batch.label),)

    passes = Graphs(loss, network) if captured else loss

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with autocast:
            (found,) = passes(batch)
        found.backward()
        optimiser.step()

    return step


def timed(work: Callable[[], object], times: int, device: str) -> float:
    """Seconds for one of so many."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    for _ in range(times):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (clock() - start) / times


def measure(case: Case, rounds: int, device: str) -> dict[str, float]:
    """Milliseconds of both (medians), their ratio by turns, its range.

    In bf16 also against the reference in float32 (_fp32). On a GPU our step is replayed as a CUDA graph, and further ratios are of
    the reference replayed likewise (_captured) and of our own step that is not (_eager).
    """
    reference, ours, x = networks(case)
    captured = device == "cuda" and case.mode == "step"
    works = {
        "reference": worker(reference, x, case, device),
        "ours": worker(ours, x, case, device, captured=captured),
    }
    if case.precision != "fp32":
        works["fp32"] = worker(copy.deepcopy(reference), x, replace(case, precision="fp32"), device)
    if captured:
        works["captured"] = worker(copy.deepcopy(reference), x, case, device, captured=True)
        works["eager"] = worker(copy.deepcopy(ours), x, case, device)
    for work in works.values():
        timed(work, BEFORE + 1 if captured else 1, device)  # warms up, captures
    times = {name: max(1, round(SECONDS / timed(work, 2, device))) for name, work in works.items()}
    turns = [{name: timed(work, times[name], device) for name, work in works.items()} for _ in range(rounds)]
    found = {f"{name}_ms": statistics.median(turn[name] for turn in turns) * 1e3 for name in works}
    found |= spread([turn["reference"] / turn["ours"] for turn in turns])
    for name in works.keys() - {"reference", "ours"}:
        against = spread([turn[name] / turn["ours"] for turn in turns])
        found |= {f"{ratio}_{name}": value for ratio, value in against.items()}
    return found


def spread(ratios: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def products(device: str, size: int = 1024) -> dict[str, float]:
    """10⁹ multiplications and additions a second of a square matrix product, by precision: what bounds a network."""
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        multiply = functools.partial(torch.mm, a, b)
        multiply()
        found[name] = 2e-9 * size**3 / min(timed(multiply, 3, device) for _ in range(5))
    return found


def ranges(row: dict[str, float], against: Iterable[str]) -> list[str]:
    """The last cells of a row: its range, then ratio and range against each other way, empty where there is none."""
    cells = [f"{row['lowest']:.2f}–{row['highest']:.2f}"]
    for name in against:
        cells += ["", ""]
        if f"ratio_{name}" in row:
            cells[-2:] = f"{row[f'ratio_{name}']:.2f}", f"{row[f'lowest_{name}']:.2f}–{row[f'highest_{name}']:.2f}"
    return cells


def main() -> None:
    """Measure, print, write bench-networks.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every shape instead of those that the presets use")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    against = AGAINST if device == "cuda" else ("fp32",)
    described = machine()
    table = Table(title=f"{described}, {options.threads} thread(s), {options.rounds} turns; reference/ours")
    for heading in (
        "network",
        "mode",
        "precision",
        "batch",
        "T",
        "V",
        "reference ms",
        "ours ms",
        "ratio",
        "range",
        *(heading for name in against for heading in (AGAINST[name], "range")),
    ):
        table.add_column(heading)
    rate = products(device)
    console = Console(width=150)
    console.print(f"products: fp32 {rate['fp32']:.0f}, bf16 {rate['bf16']:.0f} GFLOP/s")
    rows: list[dict[str, object]] = []
    found = {"machine": described, "threads": options.threads, "products": rate, "rows": rows}
    cases = every_case(device) if options.all else list(CASES)
    if rate["bf16"] < SLOW * rate["fp32"]:
        console.print("no rows in bf16: this processor emulates it")
        cases = [case for case in cases if case.precision == "fp32"]
    for case in cases:
        row = measure(case, options.rounds, device)
        rows.append(vars(case) | row)
        Path("bench-networks.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        cells = (case.network, case.mode, case.precision, case.batch, case.frames, case.joints)
        numbers = (f"{row['reference_ms']:.1f}", f"{row['ours_ms']:.1f}", f"{row['ratio']:.2f}")
        table.add_row(*map(str, cells), *numbers, *ranges(row, against))
    console.print(table)


if __name__ == "__main__":
    main()
