"""Large arrays, mapped from temporary files: the operating system keeps in memory what it has room for."""

from __future__ import annotations

import math
import mmap
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 32_000_000
"""Arrays of at most so many bytes are kept in memory."""

_ROWS = 4096  # that are copied at once


def allocate(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A new array of float32 with arbitrary values.

    A large array is mapped from a file in the folder for temporary files. The file has no name, and disappears with
    the array.

    >>> allocate((2, 3)).shape
    (2, 3)
    """
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile(prefix="ensemble-minerals-") as file:
        file.truncate(size)
        return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)


def take(matrix: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Some rows of a matrix, without filling the memory.

    Args:
        matrix: Shape (n, ...), perhaps memory-mapped.
        rows: Positions of the rows, shape (m,).

    Returns:
        Shape (m, ...). It is the matrix itself for all rows in order; rows of a memory-mapped matrix are
        memory-mapped again if they are large.
    """
    if len(rows) == len(matrix) and np.array_equal(rows, np.arange(len(matrix))):
        return matrix
    if not isinstance(matrix, np.memmap):
        return np.asarray(matrix[rows])
    taken = allocate((len(rows), *matrix.shape[1:]))
    for start in range(0, len(rows), _ROWS):
        taken[start : start + _ROWS] = matrix[rows[start : start + _ROWS]]
    return taken


def release(matrix: NDArray[Any]) -> None:
    """Free the memory that a memory-mapped array occupies; its values stay in the file."""
    mapped = getattr(matrix, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
