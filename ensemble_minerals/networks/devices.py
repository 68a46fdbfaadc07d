"""The devices that networks can train on."""

from __future__ import annotations

import torch


def devices() -> tuple[str, ...]:
    """Names of all GPUs that torch finds, else of the CPU."""
    return tuple(f"cuda:{n}" for n in range(torch.cuda.device_count())) or ("cpu",)
