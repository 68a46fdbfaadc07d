"""Soft histograms of pixel values under weights.

A value counts for its two nearest bins, interpolated linearly between their centers, so that a small change of light
changes a histogram a little instead of moving whole counts across a border. The square roots of the counts are
returned: Euclidean distances between them are Hellinger distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

_FINE = 4  # fine bins a bin, along one axis
_FINE_JOINT = 2


def histogram(
    values: NDArray[np.float32],
    limits: tuple[float, float],
    n_bins: int,
    weights: NDArray[np.float32],
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
    index = _fine_bins(values, limits, n_fine)
    counts = np.stack([np.bincount(index, weight, n_fine) for weight in weights])
    return np.sqrt(counts @ _interpolation(n_bins, _FINE, circular))


def joint_histogram(
    values: Sequence[NDArray[np.float32]],
    limits: Sequence[tuple[float, float]],
    n_bins: Sequence[int],
    weights: NDArray[np.float32],
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
    index = np.ravel_multi_index(
        [_fine_bins(v, limit, n) for v, limit, n in zip(values, limits, shape, strict=True)], shape
    )
    counts = [np.bincount(index, weight, int(np.prod(shape))).reshape(shape) for weight in weights]
    table: NDArray[np.float64] = np.stack(counts)
    for n in n_bins:  # each turn softens the first axis of the values and moves it behind the others
        table = np.tensordot(table, _interpolation(n, _FINE_JOINT, False), (1, 0))
    return np.sqrt(table).reshape(len(weights), -1)


def _fine_bins(values: NDArray[np.float32], limits: tuple[float, float], n_bins: int) -> NDArray[np.intp]:
    low, high = limits
    place = (values - np.float32(low)) * np.float32(n_bins / (high - low))
    return np.clip(place, 0, n_bins - 1, out=place).astype(np.intp)


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
