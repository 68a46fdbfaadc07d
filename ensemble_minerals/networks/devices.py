"""Where networks can train."""

from __future__ import annotations

import torch


def devices() -> tuple[str, ...]:
    """Every GPU that torch sees, else the processor."""
    return tuple(f"cuda:{n}" for n in range(torch.cuda.device_count())) or ("cpu",)
