"""Tensors and JSON metadata in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ensemble_minerals.networks.models.state_metadata import METADATA
from ensemble_minerals.system.atomic import atomic_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and metadata as safetensors; equal contents give equal bytes.

    Args:
        path: The file; it appears whole or not at all.
        tensors: By name; they are written in row-major order.
        metadata: Plain JSON.
    """
    # One entry only: safetensors writes several in an order that differs from run to run.
    header = {METADATA: json.dumps(metadata, sort_keys=True)}
    plain = {name: to_plain(tensor) for name, tensor in tensors.items()}
    with atomic_file(path) as draft:
        draft.write_bytes(save(plain, metadata=header))


def to_plain(tensor: Tensor) -> Tensor:
    """Copy of a tensor in main memory, in row-major order, as safetensors needs it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
