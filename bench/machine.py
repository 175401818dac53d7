"""What a benchmark ran on, in one line, without the machine's name."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

_UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine() -> str:
    """Processor, the vector units that matter here, cores, torch, and the GPU if there is one."""
    name, flags = platform.machine(), set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = dict(
            (part.strip() for part in line.split(":", 1))
            for line in cpuinfo.read_text().split("\n\n")[0].splitlines()
            if ":" in line
        )
        name, flags = fields.get("model name", name), set(fields.get("flags", "").split())
    units = ", ".join(unit for unit in _UNITS if unit in flags) or "no vector units known"
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name} ({units}), {os.cpu_count()} cores{gpu}, torch {torch.__version__}"
