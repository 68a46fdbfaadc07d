"""Which pairs of photos are worth a comparison, by embeddings, perceptual hashes and rare words of keypoints."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.same_object.nearest import nearest_rows
from ensemble_minerals.data.same_object.visual_words import nearest_by_words
from ensemble_minerals.system.memmap import release
from ensemble_minerals.system.parallel import single_thread

NEIGHBORS = 5
"""Photos that embeddings propose for each photo."""

WORD_NEIGHBORS = 5
"""Photos that shared visual words propose for each photo: parts of collages, mostly."""

HASH_NEIGHBORS = 3
"""Photos that perceptual hashes propose for each photo, within `HASH_DISTANCE`."""

HASH_DISTANCE = 12
"""Most different bits of the hashes of a proposed pair."""

_DIMENSIONS = 256  # that embeddings are projected to: no pair was lost by it, and it is five times as quick
_ROWS = 4096  # embeddings that are projected at once
_STRIP = 16  # rows that are compared at once, so that all fits into the processor's cache
_MIN_HASH_BITS = 16  # usually 32 of 64 are set; fewer in a plain image, which lacks most frequencies


def propose_pairs(
    embeddings: NDArray[Any] | None,
    phash: NDArray[np.uint64],
    phash_mirrored: NDArray[np.uint64],
    words: Iterable[NDArray[np.uint16]] | None = None,
    *,
    n_reference: int = 0,
    n_jobs: int = 1,
) -> NDArray[np.intp]:
    """Pairs of photos that may show the same object, a bounded number for each photo, whatever they show.

    Args:
        embeddings: Vectors, finite, shape (n, d); or None.
        phash: Perceptual hashes, shape (n,). One with few bits (of a plain photo) proposes nothing.
        phash_mirrored: Perceptual hashes of the mirrored photos, shape (n,).
        words: Visual words of each photo; or None.
        n_reference: The first so many photos are not paired with each other, only with the others.
        n_jobs: Number of threads; the pairs do not depend on it.

    Returns:
        Different pairs of rows, the smaller first, ascending, shape (m, 2).

    Raises:
        ValueError: If embeddings are not finite.

    Example:
        >>> hashes = np.array([2**32 - 1, 2**40 - 2**8, 2**32 - 2], dtype=np.uint64)
        >>> propose_pairs(None, hashes, hashes).tolist()
        [[0, 2]]
    """
    n, start = len(phash), n_reference
    has_hash = np.bitwise_count(phash) >= _MIN_HASH_BITS

    def by_hash(rows: slice, columns: slice) -> NDArray[np.float32]:
        bits = _hash_distances(phash[rows], phash_mirrored[rows], phash[columns], phash_mirrored[columns])
        near = (bits <= HASH_DISTANCE) & has_hash[rows, None] & has_hash[columns]
        return np.where(near, -bits.astype(np.float32), -np.inf).astype(np.float32)

    proposed = [nearest_rows(by_hash, n, HASH_NEIGHBORS, start=start, n_jobs=n_jobs)]
    if embeddings is not None:
        similarity = partial(_similarity, _projected(embeddings))
        proposed.append(nearest_rows(similarity, n, NEIGHBORS, start=start, n_jobs=n_jobs))
        del similarity  # before words take their room
    if words is not None:
        proposed.append(nearest_by_words(words, WORD_NEIGHBORS, start=start))
    smaller, larger = np.sort(np.concatenate(proposed), axis=1).T
    return np.column_stack(np.divmod(np.unique(smaller * n + larger), max(n, 1)))


def _similarity(vectors: NDArray[np.float32], rows: slice, columns: slice) -> NDArray[np.float32]:
    products: NDArray[np.float32] = vectors[rows] @ vectors[columns].T
    return products


def _projected(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """Centered embeddings of length 1, in few dimensions drawn at random, shape (n, dimensions)."""
    mean = _mean(embeddings)
    width = embeddings.shape[1]
    axes = np.random.default_rng(0).normal(size=(width, min(_DIMENSIONS, width))).astype(np.float32)
    vectors = np.empty((len(embeddings), axes.shape[1]), dtype=np.float32)
    origin = np.zeros(axes.shape[1], dtype=np.float32)
    with single_thread:
        for top in range(0, len(embeddings), _ROWS):
            rows = slice(top, top + _ROWS)
            vectors[rows] = _directions(_directions(embeddings[rows], mean) @ axes, origin)
            release(embeddings)
    return vectors


def _hash_distances(
    plain: NDArray[np.uint64],
    mirrored: NDArray[np.uint64],
    other: NDArray[np.uint64],
    other_mirrored: NDArray[np.uint64],
) -> NDArray[np.uint8]:
    """Number of different bits for each pair, shape (n, m): the least with neither image mirrored, or one of them."""
    distances = np.empty((len(plain), len(other)), dtype=np.uint8)
    for start in range(0, len(plain), _STRIP):
        strip = slice(start, start + _STRIP)
        distance = np.bitwise_count(plain[strip, None] ^ other)
        np.minimum(distance, np.bitwise_count(plain[strip, None] ^ other_mirrored), out=distance)
        np.minimum(distance, np.bitwise_count(mirrored[strip, None] ^ other), out=distances[strip])
    return distances


def _mean(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    total = np.zeros(embeddings.shape[1], dtype=np.float64)
    for top in range(0, len(embeddings), _ROWS):
        total += embeddings[top : top + _ROWS].sum(axis=0, dtype=np.float64)
        release(embeddings)
    if not np.isfinite(total).all():
        raise ValueError("embeddings must be finite; leave out the rows that have none")
    return (total / max(len(embeddings), 1)).astype(np.float32)


def _directions(vectors: NDArray[Any], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centered vectors of length 1; zero for a vector that equals the mean."""
    centered = vectors.astype(np.float32) - mean
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    return np.asarray(np.divide(centered, length, out=np.zeros_like(centered), where=length > 1e-12))


def directions(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """Embeddings centered on their mean, of length 1, (n, d)."""
    return _directions(embeddings, _mean(embeddings))
