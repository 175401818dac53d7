"""AGCN and TCN in ONNX, checked against torch: the same logits for any number of windows and any length."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from seizurelit.errors import RunError
from seizurelit.models.agcn import Agcn

CLOSE = 1e-4
"""Largest difference of a logit from torch's, of logits of the size of 1 or below; of larger ones in proportion."""
OPSET = 18


@dataclass(frozen=True)
class Checked:
    """How near an exported network is to torch.

    Attributes:
        file: the .onnx file.
        largest: difference of a logit over all shapes that were tried.
        shapes: (N, T) that were tried.
    """

    file: Path
    largest: float
    shapes: tuple[tuple[int, int], ...]


def export_onnx(
    network: nn.Module, channels: int, joints: int, path: Path, *, lengths: Sequence[int] = (300, 75, 41)
) -> Checked:
    """Write a network and check it in onnxruntime.

    Args:
        network: an `Agcn` or a `Tcn`, in evaluation mode.
        channels: C or D of its input.
        joints: V of an AGCN's.
        path: of the .onnx file; the input is (N, C, T, V) or (N, D, T), the output the logits (N, classes).
        lengths: T that are tried, each with another N; the network is exported at the first.

    Raises:
        RunError: onnxruntime's logits are further from torch's than `CLOSE`.
    """
    import onnxruntime  # noqa: PLC0415 - an extra, only for who exports

    graph = isinstance(network, Agcn)
    shapes = tuple((2 + place, length) for place, length in enumerate(lengths))
    generator = torch.Generator().manual_seed(0)

    def windows(count: int, frames: int) -> torch.Tensor:
        shape = (count, channels, frames, joints) if graph else (count, channels, frames)
        return torch.randn(shape, generator=generator)

    path.parent.mkdir(parents=True, exist_ok=True)
    dynamic = {0: torch.export.Dim("windows", min=1, max=4096), 2: torch.export.Dim("frames", min=16, max=65536)}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("onnxscript").setLevel(logging.ERROR)
        torch.onnx.export(
            network,
            (windows(*shapes[0]),),
            path,
            input_names=["windows"],
            output_names=["logits"],
            dynamic_shapes=({**dynamic},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for count, frames in shapes:
        x = windows(count, frames)
        with torch.no_grad():
            ours = network(x).numpy()
        theirs = np.asarray(session.run(None, {"windows": x.numpy()})[0])
        largest = max(largest, float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(ours).max()))))
    if not largest <= CLOSE:
        msg = f"{path}: onnxruntime's logits differ from torch's by {largest:.2g}, more than {CLOSE:g}; report it with the versions"
        raise RunError(msg)
    return Checked(path, largest, shapes)
