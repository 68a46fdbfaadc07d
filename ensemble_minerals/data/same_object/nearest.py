"""Nearest rows by a similarity, block by block: time grows with the square of the rows, memory does not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.system.parallel import single_thread
from ensemble_minerals.system.prefetch import prefetch

_HIGH, _WIDE = 512, 4096  # rows and columns of a block: 8 MB

Similarities = Callable[[slice, slice], NDArray[Any]]
"""Similarities of some rows to some rows, shape (rows, columns); -inf for a pair that is not to be proposed."""


def nearest_rows(
    similarities: Similarities, n: int, k: int, *, start: int = 0, n_jobs: int = 1
) -> NDArray[np.intp]:
    """The most similar other rows of each row, however many threads look for them.

    Args:
        similarities: Called in threads.
        n: Number of rows.
        k: Number of rows that are wanted for each.
        start: First row that asks; those before are only answers.
        n_jobs: Number of threads.

    Returns:
        Pairs (asking row, similar row), shape (m, 2).

    Example:
        >>> place = np.array([0.0, 1.0, 5.0, 5.5])
        >>> nearest_rows(lambda i, j: -abs(place[i, None] - place[j]), 4, 1).tolist()
        [[0, 1], [1, 0], [2, 3], [3, 2]]
    """
    blocks = [slice(top, min(top + _HIGH, n)) for top in range(start, n, _HIGH)]
    work = partial(_nearest_of_block, similarities, n, k)
    with closing(prefetch(work, blocks, n_threads=n_jobs, ahead=2 * n_jobs, name="nearest")) as found:
        return np.concatenate([np.empty((0, 2), dtype=np.intp), *found])


def _nearest_of_block(similarities: Similarities, n: int, k: int, rows: slice) -> NDArray[np.intp]:
    asking = np.arange(rows.start, rows.stop)
    best = np.full((len(asking), k), -np.inf, dtype=np.float32)
    place = np.zeros((len(asking), k), dtype=np.intp)
    with single_thread:  # one order of sums, so one answer
        for left in range(0, n, _WIDE):
            columns = slice(left, min(left + _WIDE, n))
            block = similarities(rows, columns).astype(np.float32, copy=False)
            own = np.flatnonzero((asking >= left) & (asking < columns.stop))
            block[own, asking[own] - left] = -np.inf
            better = np.flatnonzero((block > best[:, -1:]).any(axis=1))
            block = block[better]
            kept = np.argpartition(-block, min(k, block.shape[1]) - 1, axis=1)[:, :k]
            values = np.concatenate([best[better], np.take_along_axis(block, kept, axis=1)], axis=1)
            places = np.concatenate([place[better], kept + left], axis=1)
            order = np.argsort(-values, axis=1, kind="stable")[:, :k]
            best[better], place[better] = (np.take_along_axis(one, order, axis=1) for one in (values, places))
    at, rank = np.nonzero(best > -np.inf)
    return np.column_stack([asking[at], place[at, rank]])
