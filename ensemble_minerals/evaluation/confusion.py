"""Scores of confusion counts (..., K, K), and how they roll up to taxonomy groups.

Rows are given labels, columns are answers. Leading axes are free, so that one call scores two thousand
bootstrap replicates. A score that is not defined is NaN.

>>> counts = np.array([[8.0, 2.0], [1.0, 9.0]])
>>> accuracy(counts), recall(counts)
(array(0.85), array([0.8, 0.9]))
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def ratio(top: Floats, bottom: Floats) -> Floats:
    """Divide; NaN where the denominator is zero.

    >>> ratio(np.array([1.0, 1.0]), np.array([4.0, 0.0]))
    array([0.25,  nan])
    """
    top, bottom = np.broadcast_arrays(top, bottom)
    quotient: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return quotient


def _mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of the values that are defined."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))


def _hits(confusion: Floats) -> Floats:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def accuracy(confusion: Floats) -> Floats:
    """Share of rows answered right, from confusion counts (..., K, K)."""
    return ratio(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def recall(confusion: Floats) -> Floats:
    """Recall of each class, (..., K); NaN for a class without rows."""
    return ratio(_hits(confusion), confusion.sum(axis=-1))


def precision(confusion: Floats) -> Floats:
    """Precision of each class, (..., K); NaN for a class that is never answered."""
    return ratio(_hits(confusion), confusion.sum(axis=-2))


def f1(confusion: Floats) -> Floats:
    """F1 of each class, (..., K); NaN for a class neither present nor ever answered."""
    return ratio(2 * _hits(confusion), confusion.sum(axis=-1) + confusion.sum(axis=-2))


def balanced_accuracy(confusion: Floats) -> Floats:
    """Mean recall over the classes that have rows."""
    return _mean_defined(recall(confusion))


def macro_f1(confusion: Floats) -> Floats:
    """Mean F1 over the classes that are present or answered (scikit-learn's macro average)."""
    return _mean_defined(f1(confusion))


def kappa(confusion: Floats) -> Floats:
    """Cohen's kappa: agreement beyond chance; NaN when only one class occurs at all."""
    total = confusion.sum(axis=(-2, -1))
    chance = (confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1) / total
    return ratio(_hits(confusion).sum(axis=-1) - chance, total - chance)


def mcc(confusion: Floats) -> Floats:
    """Matthews correlation (Gorodkin 2004); 0 when labels or answers are all of one class."""
    given, answered = confusion.sum(axis=-1), confusion.sum(axis=-2)
    total = confusion.sum(axis=(-2, -1))
    top = _hits(confusion).sum(axis=-1) * total - (given * answered).sum(axis=-1)
    spread_given = total**2 - (given**2).sum(axis=-1)
    spread_answered = total**2 - (answered**2).sum(axis=-1)
    return np.nan_to_num(ratio(top, np.sqrt(spread_given * spread_answered)))


def row_percentages(confusion: ArrayLike, *, decimals: int | None = None) -> Floats:
    """Each row of a confusion matrix in per cent of its sum.

    Args:
        confusion: (K, K) counts.
        decimals: Round to so many places by largest remainders, so that the printed row still sums to 100.

    Returns:
        (K, K) percentages; the row of a class without photos is NaN.

    >>> row_percentages([[1, 1, 1]] * 3, decimals=1)[0]
    array([33.4, 33.3, 33.3])
    """
    counts = np.asarray(confusion, dtype=np.float64)
    percentages = 100 * ratio(counts, counts.sum(axis=1, keepdims=True))
    if decimals is None:
        return percentages
    scaled = percentages * 10**decimals
    whole = np.floor(scaled + 1e-9)
    missing = np.rint(np.nan_to_num(scaled.sum(axis=1) - whole.sum(axis=1)))
    rank = np.argsort(np.argsort(whole - scaled, axis=1, kind="stable"), axis=1)
    return np.asarray((whole + (rank < missing[:, None])) / 10**decimals)


def roll_up(table: ArrayLike, group_of: ArrayLike) -> NDArray[Any]:
    """A confusion matrix of classes as one of taxonomy groups.

    Args:
        table: (K, K) counts.
        group_of: (K,) the group position, 0..G-1, of each class.

    Returns:
        (G, G) counts with the same total.

    >>> roll_up([[5, 1, 0], [2, 6, 1], [0, 0, 7]], [0, 0, 1])
    array([[14,  1],
           [ 0,  7]])
    """
    groups = np.asarray(group_of)
    member = np.eye(int(groups.max()) + 1, dtype=np.int64)[groups]
    return np.asarray(member.T @ np.asarray(table) @ member)


def errors_by_group(confusion: ArrayLike, group_of: ArrayLike) -> tuple[int, int]:
    """Errors within a taxonomy group and errors across groups.

    >>> errors_by_group([[5, 1, 0], [2, 6, 1], [0, 0, 7]], [0, 0, 1])
    (3, 1)
    """
    counts = np.asarray(confusion)
    across = int(counts.sum() - np.trace(roll_up(counts, group_of)))
    return int(counts.sum() - np.trace(counts)) - across, across
