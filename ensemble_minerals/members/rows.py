"""Rows of feature matrices that lie side by side, whole or some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.system.memmap import release

FloatMatrix = NDArray[np.floating[Any]]

MANY = 16_384
"""More rows than this are never held at once, but in parts; fewer are, in double precision."""

PART = 1024
"""Rows of a part."""


@dataclass(frozen=True)
class Rows:
    """Some rows of matrices; nothing is copied before it is asked for.

    Attributes:
        matrices: Each of shape (n, n_features).
        positions: Of the rows, shape (k,).
    """

    matrices: Sequence[FloatMatrix]
    positions: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def n_columns(self) -> int:
        """Columns of all matrices."""
        return sum(matrix.shape[1] for matrix in self.matrices)

    def whole(self, part: slice = slice(None)) -> FloatMatrix:
        """The rows, or a part of them, as one matrix."""
        taken = [np.asarray(matrix[self.positions[part]]) for matrix in self.matrices]
        return taken[0] if len(taken) == 1 else np.concatenate(taken, axis=1)

    def parts(self) -> Iterator[FloatMatrix]:
        """The rows a part at a time, in order."""
        for part in parts(len(self)):
            yield self.whole(part)
        for matrix in self.matrices:
            release(matrix)


def are_many(n_rows: int) -> bool:
    """Whether so many rows are never held at once."""
    return n_rows > MANY


def parts(n_rows: int) -> list[slice]:
    """What is looked at at a time: everything, unless the rows are many."""
    step = PART if are_many(n_rows) else max(n_rows, 1)
    return [slice(start, start + step) for start in range(0, max(n_rows, 1), step)]
