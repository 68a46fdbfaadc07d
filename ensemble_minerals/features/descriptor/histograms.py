"""Soft histograms of pixel values under weights.

A value counts for its two nearest bins, interpolated linearly between their centers, so that a small change of light
changes a histogram a little instead of moving whole counts across a border. The square roots of the counts are
returned: Euclidean distances between them are Hellinger distances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FINE = 4  # fine bins a bin, along one axis
_FINE_JOINT = 2
_TABLES = 4  # that values are counted in by turns


def histogram(
    values: NDArray[np.float32],
    limits: tuple[float, float],
    n_bins: int,
    weights: NDArray[np.floating[Any]],
    *,
    circular: bool = False,
) -> NDArray[np.float64]:
    """Count values softly.

    Args:
        values: Shape (m,); what lies outside the limits counts for the outermost bins.
        limits: Lower end of the first bin and upper end of the last.
        n_bins: Number of bins.
        weights: One or several weightings of the values, shape (k, m).
        circular: Whether the last bin is the first one's neighbor, as for hues.

    Returns:
        Square roots of the weighted counts, shape (k, n_bins).

    Example:
        >>> values, weights = np.array([0.2, 0.8], np.float32), np.array([[0.36, 0.64]], np.float32)
        >>> histogram(values, (0, 1), 2, weights).round(2)
        array([[0.6, 0.8]])
    """
    n_fine = _FINE * n_bins
    counts = weighted_counts(_fine_bins(values, limits, n_fine), weights, n_fine)
    return np.sqrt(counts @ _interpolation(n_bins, _FINE, circular))


def joint_histogram(
    values: Sequence[NDArray[np.float32]],
    limits: Sequence[tuple[float, float]],
    n_bins: Sequence[int],
    weights: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    """Count tuples of values softly.

    Args:
        values: One array of shape (m,) an axis of the histogram.
        limits: Limits of each axis, as in `histogram`.
        n_bins: Number of bins of each axis.
        weights: Shape (k, m).

    Returns:
        Square roots of the weighted counts, shape (k, product of n_bins), the last axis running fastest.
    """
    shape = tuple(_FINE_JOINT * n for n in n_bins)
    index = np.zeros(len(values[0]), np.int16)
    for v, limit, n in zip(values, limits, shape, strict=True):
        index = index * np.int16(n) + _fine_bins(v, limit, n)
    table = weighted_counts(index, weights, math.prod(shape)).reshape(-1, *shape)
    for n in n_bins:  # each turn softens the first axis of the values and moves it behind the others
        table = np.tensordot(table, _interpolation(n, _FINE_JOINT, False), (1, 0))
    return np.sqrt(table).reshape(len(weights), -1)


def weighted_counts(
    index: NDArray[np.integer[Any]], weights: NDArray[np.floating[Any]], n_bins: int
) -> NDArray[np.float64]:
    """Sums of weights by bin, shape (k, n_bins).

    Neighbors are counted in different tables, which are added in the end: of values in one bin, as those of a plain
    background, each would have to wait until the one before is stored.

    Args:
        index: The bin of each value, shape (m,).
        weights: Shape (k, m).
        n_bins: Number of bins, `_TABLES` times of which fit into 16 bits.
    """
    place = (index + np.int16(n_bins) * _tables(len(index))).astype(np.intp)
    counts = np.empty((len(weights), _TABLES * n_bins))
    for row, weight in enumerate(weights):
        counts[row] = np.bincount(place, weight, _TABLES * n_bins)
    summed: NDArray[np.float64] = counts.reshape(-1, _TABLES, n_bins).sum(axis=1)
    return summed


def _fine_bins(values: NDArray[np.float32], limits: tuple[float, float], n_bins: int) -> NDArray[np.int16]:
    low, high = limits
    place = (values - np.float32(low)) * np.float32(n_bins / (high - low))
    return np.clip(place, 0, n_bins - 1, out=place).astype(np.int16)


@lru_cache(maxsize=64)
def _tables(n_values: int) -> NDArray[np.int16]:
    """The table that each value is counted in, shape (n_values,)."""
    return np.resize(np.arange(_TABLES, dtype=np.int16), n_values)


@cache
def _interpolation(n_bins: int, n_fine: int, circular: bool) -> NDArray[np.float64]:
    """How much of each fine bin each bin gets, shape (n_bins * n_fine, n_bins); every row sums to 1."""
    position = (np.arange(n_bins * n_fine) + 0.5) / n_fine - 0.5
    if not circular:
        position = np.clip(position, 0, n_bins - 1)
    distance = np.abs(position[:, None] - np.arange(n_bins))
    if circular:
        distance = np.minimum(distance, n_bins - distance)
    parts: NDArray[np.float64] = np.maximum(1 - distance, 0)
    return parts
