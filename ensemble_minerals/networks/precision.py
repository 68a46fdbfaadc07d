"""Single precision or bfloat16: whichever is faster on such a device."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from ensemble_minerals.system import cpu


def choose_precision(wanted: str, device: torch.device) -> str:
    """Settle the precision by what the device is, not by a race: a seed must give the same weights every time.

    Args:
        wanted: ``auto``, ``float32`` or ``bfloat16``.
        device: Where it runs.

    Returns:
        ``float32`` or ``bfloat16``.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if cpu.quick_at_bfloat16() else "float32"


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Within it torch computes in that precision where it is safe to."""
    context: AbstractContextManager[None] = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
    )
    return context
