"""Which pictures are alike: every pair is compared by hashes and embeddings, block by block; pure.

Time grows with the square of the number of pictures, memory does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

UNCONFIRMED_HASH_DISTANCE = 6
"""Without embeddings to confirm it, a larger hash distance does not make a near duplicate."""

UNCONFIRMED_CONFLICT_DISTANCE = 4
"""Without embeddings to confirm it, a larger hash distance does not quarantine rows of different labels."""

NO_HASH_EVIDENCE = 64
"""Hash distance of a pair of which one picture is too plain for a perceptual hash."""

_HIGH, _WIDE = 512, 4096  # pictures of a block, below each other and side by side: some tens of MB
_STRIP = 16  # of them compared at once, so that all stays near the processor
_MIN_HASH_BITS = 16  # half of 64 bits lie above their median, unless most frequencies are absent


class NearPairs(NamedTuple):
    """Near pairs of one block: positions among the pictures, and how near."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    distance: NDArray[np.uint8]
    cosine: NDArray[np.float32]
    same_picture: NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """Thresholds; cosines apply only where there are embeddings."""

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
    """Compare all pairs of different pictures, a block at a time."""
    plain, mirrored = phash[rows], phash_mirrored[rows]
    telling = np.bitwise_count(plain) >= _MIN_HASH_BITS
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
            distance[~telling[i]] = NO_HASH_EVIDENCE
            distance[:, ~telling[j]] = NO_HASH_EVIDENCE
            possible = distance <= max(near_by, same_by)
            if upper is not None and embeddings is not None and mean is not None:
                similarity = upper @ _directions(embeddings[rows[j]], mean).T
                possible |= similarity >= rule.cosine
            high = np.flatnonzero(possible.any(axis=1))  # few: most rows need not be searched
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
    """Bits in which hashes differ, the one or the other picture mirrored if that is nearer, (n, n of the others)."""
    distances = np.empty((len(plain), len(other)), dtype=np.uint8)
    for start in range(0, len(plain), _STRIP):
        strip = slice(start, start + _STRIP)
        distance = np.bitwise_count(plain[strip, None] ^ other)
        np.minimum(distance, np.bitwise_count(plain[strip, None] ^ other_mirrored), out=distance)
        np.minimum(distance, np.bitwise_count(mirrored[strip, None] ^ other), out=distances[strip])
    return distances


def _mean(embeddings: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Mean over the different pictures, shape (d,), so that copies do not pull it."""
    total = np.zeros(embeddings.shape[1], dtype=np.float64)
    for top in range(0, len(rows), _WIDE):
        total += embeddings[rows[top : top + _WIDE]].sum(axis=0, dtype=np.float64)
    if not np.isfinite(total).all():
        raise ValueError("embeddings must be finite; leave out the rows that have none")
    return (total / max(len(rows), 1)).astype(np.float32)


def _directions(vectors: NDArray[Any], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centered vectors of length 1; zero where a vector is the mean itself."""
    centered = vectors.astype(np.float32) - mean
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    return np.asarray(np.divide(centered, length, out=np.zeros_like(centered), where=length > 1e-12))
