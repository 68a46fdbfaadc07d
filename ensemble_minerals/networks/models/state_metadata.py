"""What the file of a trained network states of it, read and checked before any of its tensors; without torch."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BeforeValidator, Field

from ensemble_minerals.config.extractors import PreprocessingConfig
from ensemble_minerals.config.fields import Count, Distinct, Many, Section, Some, Text, View, as_tuple
from ensemble_minerals.config.messages import validated
from ensemble_minerals.config.names import shown
from ensemble_minerals.config.networks import LayersHeadConfig, NetworkHeadConfig
from ensemble_minerals.data.subproblem import n_logits
from ensemble_minerals.system.arrays import ArrayHeader, read_header
from ensemble_minerals.system.held_file import HeldFile
from ensemble_minerals.system.plain_json import parse_json

METADATA = "facts"
"""Name, in the file's own metadata, of the entry that holds ours."""

_FLOATS = {"F64": ("<u8", 11, 52), "F32": ("<u4", 8, 23), "F16": ("<u2", 5, 10), "BF16": ("<u2", 8, 7)}
"""Of floats: the type of their bits, and how many bits exponent and fraction have."""

_TYPES = {*_FLOATS, "I64"}
_DENSE = re.compile(r"heads\.(\d{1,6})\.(\d{1,6})\.weight")

Side: TypeAlias = Annotated[int, Field(ge=16, le=4096)]
Subproblem: TypeAlias = Annotated[tuple[str, Annotated[int, Field(ge=2)]], BeforeValidator(as_tuple)]


class StateMetadata(Section):
    """What a file states, see `NetworkState`."""

    format: Literal[1]
    model: Text
    weights: str = ""
    digest: str
    size: Annotated[tuple[Side, Side], BeforeValidator(as_tuple)]
    resize: Literal["squash", "pad"]
    preprocessing: PreprocessingConfig
    views: Distinct[View]
    head: NetworkHeadConfig
    precision: Literal["float32", "bfloat16"] = "float32"
    decisions: Some[Subproblem]
    shift: Many[float]
    n_tensors: Count | None = None

    @property
    def n_outputs(self) -> int:
        """Number of logits of all subproblems."""
        return sum(n_logits(count) for _, count in self.decisions)


def read_state_metadata(file: HeldFile) -> tuple[StateMetadata, dict[str, Any]]:
    """Read what a file states of its network, and compare it with the names, types and shapes of its tensors.

    Returns:
        The statement, and the same as plain JSON.

    Raises:
        ValueError: If it is none of a trained network, or the tensors are others.
    """
    header = read_header(file)
    if METADATA not in header.metadata:
        raise ValueError("it does not say of which network it is")
    plain = parse_json(header.metadata[METADATA])
    stated = validated(StateMetadata, plain)
    for name, (dtype, _) in header.arrays.items():
        if dtype not in _TYPES:
            raise ValueError(f"{name} is of type {dtype}; expected one of {', '.join(sorted(_TYPES))}")
    if len(stated.shift) != stated.n_outputs:
        raise ValueError(
            f"shift: must have {stated.n_outputs} entries, one for each logit, got {len(stated.shift)}"
        )
    if stated.n_tensors is not None and stated.n_tensors < len(header.arrays):
        raise ValueError(
            f"n_tensors: {stated.n_tensors} is less than the {len(header.arrays)} tensors in the file"
        )
    if isinstance(stated.head, LayersHeadConfig):
        _check_heads(header, stated, stated.head)
    return stated, plain


def check_numbers(file: HeldFile) -> None:
    """Make sure that all numbers of a network are finite and no variance is negative, tensor by tensor.

    Raises:
        ValueError: If some are not; names their tensor.
    """
    header = read_header(file)
    for name, (dtype, shape) in header.arrays.items():
        if dtype not in _FLOATS:
            continue
        kind, exponent, fraction = _FLOATS[dtype]
        bits = np.frombuffer(file.read(*header.places[name]), kind)
        if bits.size != math.prod(shape):
            raise ValueError(f"{shown(name)} has {bits.size} numbers, not those of the shape {shape}")
        largest = ((1 << exponent) - 1) << fraction  # infinity; what is not a number is above
        sign = bits.dtype.type(1 << (exponent + fraction))
        if ((bits & ~sign) >= largest).any():
            raise ValueError(f"{shown(name)} holds numbers that are not finite")
        if name.endswith("running_var") and (bits > sign).any():
            raise ValueError(f"{shown(name)} holds variances below zero")


def _check_heads(header: ArrayHeader, stated: StateMetadata, head: LayersHeadConfig) -> None:
    """Make sure that the dense layers of the heads have the stated widths, so that none larger is built."""
    dense: dict[int, dict[int, tuple[int, ...]]] = {}
    for name, (_, shape) in header.arrays.items():
        if (found := _DENSE.fullmatch(name)) and len(shape) == 2:
            dense.setdefault(int(found[1]), {})[int(found[2])] = shape
    for number, (_, count) in enumerate(stated.decisions):
        shapes = [shape for _, shape in sorted(dense.pop(number, {}).items())]
        outputs = [shape[0] for shape in shapes]
        wanted = [*head.hidden, n_logits(count)]
        if outputs != wanted or any(after[1] != before[0] for before, after in pairwise(shapes)):
            raise ValueError(f"heads.{number}: dense layers of {outputs} outputs; stated are {wanted}")
    if dense:
        raise ValueError(f"heads.{min(dense)} belongs to no subproblem")
