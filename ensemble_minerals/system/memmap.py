"""Arrays that are too large for memory live in a file without a name, which goes with them.

The operating system keeps in memory what it has room for, and takes it back when others need it.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 32_000_000
"""Bytes up to which an array is kept in memory."""

_ROWS = 4096  # copied at once


def allocate(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array of float32 to be filled; mapped from a file in the folder for temporary files if it is large."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile(prefix="ensemble-minerals-") as file:
        file.truncate(size)
        return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)


def take(matrix: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Rows of a matrix, mapped if it is and they are many; the matrix itself where they are all of them, in order."""
    if len(rows) == len(matrix) and np.array_equal(rows, np.arange(len(matrix))):
        return matrix
    if not isinstance(matrix, np.memmap):
        return np.asarray(matrix[rows])
    taken = allocate((len(rows), *matrix.shape[1:]))
    for start in range(0, len(rows), _ROWS):
        taken[start : start + _ROWS] = matrix[rows[start : start + _ROWS]]
    return taken


def release(matrix: NDArray[Any]) -> None:
    """Give back the memory that a mapped array took while it was read or filled; its values stay."""
    held = getattr(matrix, "_mmap", None)
    if isinstance(held, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        held.madvise(mmap.MADV_DONTNEED)
