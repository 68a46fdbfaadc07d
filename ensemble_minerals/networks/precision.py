"""Single precision or bfloat16: whichever is faster on this machine."""

from __future__ import annotations

import copy
import time
from contextlib import AbstractContextManager

import torch
from torch import nn

PRECISIONS = ("float32", "bfloat16")

_GAIN = 0.8
"""bfloat16 must need less than this share of the time: a near draw would be decided by chance, and the weights
that a seed gives with it."""
_ROWS = 8
_TIMES = 2
_MEASURED: dict[tuple[str, tuple[int, int], int], str] = {}


def choose_precision(
    wanted: str, network: nn.Module, name: str, size: tuple[int, int], device: torch.device
) -> str:
    """Settle the precision; on a processor `auto` measures a training step of each, once a process.

    Args:
        wanted: ``auto``, ``float32`` or ``bfloat16``.
        network: Stays as it is.
        name: What the measured time is remembered under.
        size: Height and width of the input.
        device: Where it runs.

    Returns:
        ``float32`` or ``bfloat16``.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    key = (name, size, torch.get_num_threads())
    if key not in _MEASURED:
        trial = copy.deepcopy(network).to(device).train().requires_grad_(True)
        images = torch.rand(_ROWS, 3, *size, device=device)
        seconds = {precision: _seconds(trial, images, precision) for precision in PRECISIONS}
        gains = seconds["bfloat16"] < _GAIN * seconds["float32"]
        _MEASURED[key] = "bfloat16" if gains else "float32"
    return _MEASURED[key]


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Within it torch computes in that precision where it is safe to."""
    context: AbstractContextManager[None] = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
    )
    return context


def _seconds(network: nn.Module, images: torch.Tensor, precision: str) -> float:
    """Of the fastest of a few training steps, after one to warm up."""
    taken = []
    for _ in range(_TIMES + 1):
        start = time.perf_counter()
        with computing_in(precision, images.device):
            logits = network(images)
        logits.float().square().mean().backward()
        taken.append(time.perf_counter() - start)
    return min(taken[1:])
