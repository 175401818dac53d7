"""What workers hold of a cohort between them: `python -m bench.memory`, a table and bench-memory.json.

Workers are forked from a process that imported all, as the pool does, and open a stream's tensors: once each for itself, as before,
and once mapped. What is counted is the proportional set size (PSS, /proc/PID/smaps_rollup) of all workers together, above what they
had before: a page that n of them share counts 1/n in each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import machine
from seizurelit.cache.store import Cache
from seizurelit.data.mapped import mapped_store
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.synthetic.options import StandIn
from seizurelit.synthetic.write import synthesize

WORKERS = (1, 2, 4, 8)
COHORT = StandIn(appearance_dim=2048)
"""The stand-in cohort with features as wide as ResNet-50's, five a second."""


def pss_mib(pid: int) -> float:
    """Of one process."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) / 1024


def touch(store: SeizureStore) -> int:
    """Read every page."""
    return sum(int(value.isnan().sum()) for value in vars(store).values() if hasattr(value, "isnan"))


def growth(workers: int, open_store: Callable[[], SeizureStore]) -> float:
    """MiB by which the workers' PSS grows together when each opens the store and reads all of it."""
    pids, ready, go, opened, end = [], os.pipe(), os.pipe(), os.pipe(), os.pipe()
    for _ in range(workers):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(end[1])
                os.write(ready[1], b".")
                os.read(go[0], 1)
                store = open_store()
                touch(store)
                os.write(opened[1], b".")
                os.read(end[0], 1)
            finally:
                os._exit(0)
        pids.append(pid)

    def wait_for(pipe: tuple[int, int]) -> None:
        for _ in range(workers):
            os.read(pipe[0], 1)

    wait_for(ready)
    before = sum(map(pss_mib, pids))
    for _ in range(workers):  # one after the other: the second finds the first one's file
        os.write(go[1], b".")
        os.read(opened[0], 1)
    after = sum(map(pss_mib, pids))
    os.close(end[1])
    for pid in pids:
        os.waitpid(pid, 0)
    return after - before


def measure() -> dict[str, object]:
    """Rows of workers, MiB when each reads for itself, MiB when mapped; and the tensors' own size."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "cache"
        # In another process: what makes the cohort leaves threads behind, and memory that would be counted.
        subprocess.run([sys.executable, "-m", "bench.memory", "--make", str(root)], check=True)
        cache = Cache.open(root)
        people = cache.cohort()

        def read() -> SeizureStore:
            return load_store(cache, people, people.sign("dystonia"), "pose", keypoints=True, appearance=True)

        rows = []
        for workers in WORKERS:
            path = Path(folder) / f"{workers}.safetensors"
            rows.append(
                {
                    "workers": workers,
                    "each_mib": growth(workers, read),
                    "mapped_mib": growth(workers, lambda path=path: mapped_store(path, read)),  # type: ignore[misc]
                }
            )
            size = path.stat().st_size / 2**20
    return {"machine": machine(), "tensors_mib": size, "rows": rows}


def render(found: dict[str, object]) -> Table:
    """A row a number of workers."""
    table = Table(title=f"memory of the workers together, PSS in MiB; the tensors are {found['tensors_mib']:.0f} MiB")
    for heading in ("workers", "each reads for itself", "mapped"):
        table.add_column(heading, justify="right")
    rows = found["rows"]
    assert isinstance(rows, list)
    for row in rows:
        table.add_row(str(row["workers"]), f"{row['each_mib']:.0f}", f"{row['mapped_mib']:.0f}")
    return table


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--make"]:
        synthesize(COHORT, Path(sys.argv[2]))
        return
    found = measure()
    Console().print(render(found))
    Path("bench-memory.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
