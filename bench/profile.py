"""Where the time of one step or inference goes, operator by operator: `python -m bench.profile agcn-ten_block step bf16`."""

from __future__ import annotations

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from bench.machine import machine
from bench.networks import Case, networks, worker


def main() -> None:
    """Profile ours or the reference, and print the operators that take most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=("agcn-small", "agcn-ten_block", "tcn"))
    parser.add_argument("mode", choices=("step", "inference"))
    parser.add_argument("precision", choices=("fp32", "bf16"))
    parser.add_argument("--reference", action="store_true", help="the reference instead of ours")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--joints", type=int, default=11)
    parser.add_argument("--times", type=int, default=3, help="how many are summed")
    parser.add_argument("--rows", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    case = Case(options.network, options.mode, options.precision, options.batch, options.frames, options.joints)
    reference, ours, x = networks(case)
    work = worker(reference if options.reference else ours, x, case, device)
    work()
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=kinds) as found:
        for _ in range(options.times):
            work()
    print(f"{'reference' if options.reference else 'ours'}, {case}, {machine()}, one thread, {options.times} of them")
    print(
        found.key_averages().table(
            sort_by=f"self_{device}_time_total", row_limit=options.rows, max_name_column_width=48
        )
    )


if __name__ == "__main__":
    main()
