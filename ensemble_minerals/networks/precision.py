"""The precision of training and inference: float32, or bfloat16 on devices where that is faster."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from ensemble_minerals.system import cpu


def choose_precision(wanted: str, device: torch.device) -> str:
    """Choose the precision by the kind of device. Timing both would give one seed different weights in two runs.

    Args:
        wanted: ``auto``, ``float32`` or ``bfloat16``.
        device: Where the network runs.

    Returns:
        ``float32`` or ``bfloat16``.

    Example:
        >>> choose_precision("bfloat16", torch.device("cpu"))
        'bfloat16'
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if cpu.has_fast_bfloat16() else "float32"


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Context in which torch computes in a precision, where automatic mixed precision allows it."""
    context: AbstractContextManager[None] = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
    )
    return context
