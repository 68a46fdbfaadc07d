"""Inner folds of the training rows of a fold, where a step of a member needs rows that it did not learn from."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold


def inner_folds(
    y: NDArray[np.intp], groups: NDArray[np.intp], most: int, seed: int
) -> NDArray[np.int8] | None:
    """Fold of each row, shape (n,): row groups stay together, classes are spread; None where a class has one group.

    Args:
        y: Class positions, shape (n,).
        groups: Row groups, shape (n,).
        most: Number of folds; fewer where a class has fewer row groups.
        seed: Of the folds.

    Example:
        >>> inner_folds(np.array([0, 0, 1, 1]), np.arange(4), 5, seed=0).tolist()
        [1, 0, 0, 1]
        >>> inner_folds(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), 5, seed=0)
    """
    fewest = min(len(np.unique(groups[y == position])) for position in np.unique(y))
    if fewest < 2:
        return None
    codes = np.unique(groups, return_inverse=True)[1]
    return _drawn(*(one.astype(np.int32).tobytes() for one in (y, codes)), min(most, fewest), seed)


@lru_cache(maxsize=8)
def _drawn(y: bytes, groups: bytes, n_splits: int, seed: int) -> NDArray[np.int8]:
    """The same for members on all features, and slow to find."""
    labels, together = (np.frombuffer(one, dtype=np.int32) for one in (y, groups))
    folds = np.empty(len(labels), dtype=np.int8)
    splits = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed).split(labels, labels, together)
    for number, (_, held_out) in enumerate(splits):
        folds[held_out] = number
    return folds
