"""Tensors and plain facts in one file that appears whole or not at all; reading it executes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ensemble_minerals.system.atomic import atomic_file

_FACTS = "facts"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and facts as safetensors; the same content gives the same bytes.

    Args:
        path: The file.
        tensors: By name; written as the values they have, in row-major order.
        metadata: Plain JSON, kept as one entry of the metadata.
    """
    # Two entries of metadata would come in an order that changes from run to run.
    header = {_FACTS: json.dumps(metadata, sort_keys=True)}
    plain = {name: _plain(tensor) for name, tensor in tensors.items()}
    with atomic_file(path) as draft:
        draft.write_bytes(save(plain, metadata=header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        ValueError: Damaged, or not such a file.
        OSError: It cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = json.loads((opened.metadata() or {})[_FACTS])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, KeyError) as error:
        raise ValueError(str(error)) from error
    return tensors, metadata


def _plain(tensor: Tensor) -> Tensor:
    """In row-major order and memory of its own, as the format wants it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
