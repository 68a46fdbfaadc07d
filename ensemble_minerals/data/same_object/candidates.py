"""Which pairs of photos are worth a comparison: those with similar embeddings, or similar perceptual hashes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAREST = 8
"""Most similar photos that are proposed for each."""

_ROWS = 512  # compared at once


def propose_pairs(
    embeddings: NDArray[np.floating[Any]] | None,
    phash: NDArray[np.uint64],
    phash_mirrored: NDArray[np.uint64],
    *,
    n_reference: int = 0,
) -> NDArray[np.intp]:
    """Pairs of rows that may show the same object, (m, 2), smaller row first, ascending.

    Args:
        embeddings: Shape (n, d), or None.
        phash: Perceptual hashes, (n,).
        phash_mirrored: Of the mirrored photos, (n,).
        n_reference: The first so many rows are not compared with each other.
    """
    n = len(phash)
    k = min(NEAREST, n - 1)
    if k < 1:
        return np.zeros((0, 2), np.intp)
    vectors = None
    if embeddings is not None:
        centered = embeddings.astype(np.float32) - embeddings.mean(axis=0, dtype=np.float64).astype(
            np.float32
        )
        vectors = centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-12)
    pairs = []
    for start in range(n_reference, n, _ROWS):
        rows = np.arange(start, min(start + _ROWS, n))
        near = [_bits(phash, phash_mirrored, rows)]
        if vectors is not None:
            near.append(-(vectors[rows] @ vectors.T))
        for distance in near:
            distance[np.arange(len(rows)), rows] = np.inf
            nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
            pairs.append(np.column_stack([np.repeat(rows, k), nearest.ravel()]))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _bits(
    plain: NDArray[np.uint64], mirrored: NDArray[np.uint64], rows: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Different bits of hashes, (len(rows), n): the least with neither photo mirrored, or one."""
    one = np.bitwise_count(plain[rows, None] ^ plain)
    bits: NDArray[np.uint8] = np.minimum(one, np.bitwise_count(mirrored[rows, None] ^ plain))
    return bits.astype(np.float32)
