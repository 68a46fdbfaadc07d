"""Pairs of similar images: all pairs are compared by hashes and embeddings, block by block.

Time grows with the square of the number of images; memory does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

UNCONFIRMED_HASH_DISTANCE = 6
"""Largest hash distance of a near duplicate that no embeddings confirm."""

UNCONFIRMED_CONFLICT_DISTANCE = 4
"""Largest hash distance at which images with different labels are a conflict, if no embeddings confirm it."""

NO_HASH_EVIDENCE = 64
"""Hash distance of a pair in which one image is too plain for a perceptual hash."""

_HIGH, _WIDE = 512, 4096  # rows and columns of a block of pairs: some tens of MB
_STRIP = 16  # rows that are compared at once, so that all fits into the processor's cache
_MIN_HASH_BITS = 16  # usually 32 of 64 are set; fewer in a plain image, which lacks most frequencies


class NearPairs(NamedTuple):
    """Similar pairs of one block: positions of both images, and how similar they are."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    distance: NDArray[np.uint8]
    cosine: NDArray[np.float32]
    same_image: NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """Thresholds of similar pairs, see `find_duplicates`. Cosines are used only with embeddings."""

    hash_distance: int
    hash_cosine: float
    cosine: float
    conflict_hash_distance: int
    conflict_cosine: float


def near_pairs(
    phash: NDArray[np.uint64],
    phash_mirrored: NDArray[np.uint64],
    embeddings: NDArray[Any] | None,
    rows: NDArray[np.intp],
    rule: Rule,
) -> Iterator[NearPairs]:
    """Compare all pairs of different images.

    Args:
        phash: Perceptual hash of each row, shape (n,).
        phash_mirrored: Perceptual hash of the mirrored image, shape (n,).
        embeddings: Finite vectors, shape (n, d), or None.
        rows: A row for each different image, shape (m,).
        rule: Thresholds.

    Yields:
        The similar pairs of each block, as positions in `rows`.

    Raises:
        ValueError: If embeddings are not finite.
    """
    plain, mirrored = phash[rows], phash_mirrored[rows]
    has_hash = np.bitwise_count(plain) >= _MIN_HASH_BITS
    mean = None if embeddings is None else _mean(embeddings, rows)
    near_by, same_by = rule.hash_distance, rule.conflict_hash_distance
    if embeddings is None:
        near_by, same_by = (
            min(near_by, UNCONFIRMED_HASH_DISTANCE),
            min(same_by, UNCONFIRMED_CONFLICT_DISTANCE),
        )
    for top in range(0, len(rows), _HIGH):
        i = slice(top, top + _HIGH)
        upper = None if embeddings is None or mean is None else _directions(embeddings[rows[i]], mean)
        for left in range(top, len(rows), _WIDE):
            j = slice(left, left + _WIDE)
            distance = _hash_distances(plain[i], mirrored[i], plain[j], mirrored[j])
            distance[~has_hash[i]] = NO_HASH_EVIDENCE
            distance[:, ~has_hash[j]] = NO_HASH_EVIDENCE
            possible = distance <= max(near_by, same_by)
            if upper is not None and embeddings is not None and mean is not None:
                similarity = upper @ _directions(embeddings[rows[j]], mean).T
                possible |= similarity >= rule.cosine
            high = np.flatnonzero(possible.any(axis=1))  # only a few rows have to be searched
            a, b = np.nonzero(possible[high])
            a = high[a]
            bits = distance[a, b]
            if upper is None:
                cosine = np.full(len(a), np.nan, dtype=np.float32)
                near, same = bits <= near_by, bits <= same_by
            else:
                cosine = np.clip(similarity[a, b], -1.0, 1.0)
                same = (bits <= same_by) & (cosine >= rule.conflict_cosine)
                near = ((bits <= near_by) & (cosine >= rule.hash_cosine)) | (cosine >= rule.cosine)
            kept = (near | same) & (a + top < b + left)
            if kept.any():
                yield NearPairs(a[kept] + top, b[kept] + left, bits[kept], cosine[kept], same[kept])


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


def _mean(embeddings: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Mean over the different images, shape (d,). Copies do not count."""
    total = np.zeros(embeddings.shape[1], dtype=np.float64)
    for top in range(0, len(rows), _WIDE):
        total += embeddings[rows[top : top + _WIDE]].sum(axis=0, dtype=np.float64)
    if not np.isfinite(total).all():
        raise ValueError("embeddings must be finite; leave out the rows that have none")
    return (total / max(len(rows), 1)).astype(np.float32)


def _directions(vectors: NDArray[Any], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centered vectors of length 1; zero for a vector that equals the mean."""
    centered = vectors.astype(np.float32) - mean
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    return np.asarray(np.divide(centered, length, out=np.zeros_like(centered), where=length > 1e-12))
