"""Hashes and embeddings in, row groups, copies and conflicts out; pure.

Every pair of pictures is compared, block by block: time grows with the square of the number of different
pictures, memory does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

UNCONFIRMED_HASH_DISTANCE = 6
"""Without embeddings to confirm it, a larger hash distance does not make a near duplicate."""

UNCONFIRMED_CONFLICT_DISTANCE = 4
"""Without embeddings to confirm it, a larger hash distance does not quarantine rows of different labels."""

NO_HASH_EVIDENCE = 64
"""Hash distance of a pair of which one picture is too plain for a perceptual hash."""

MAX_PAIRS = 200_000
"""At most so many near pairs are listed; row groups, copies and conflicts come from all of them."""

_HIGH, _WIDE = 512, 4096  # pictures of a block, below each other and side by side: some tens of MB
_STRIP = 16  # of them compared at once, so that all stays near the processor
_MIN_HASH_BITS = 16  # half of 64 bits lie above their median, unless most frequencies are absent


@dataclass(frozen=True)
class DuplicatePair:
    """Two rows that show the same picture or specimen.

    Attributes:
        first: The earlier row.
        second: The later row.
        kind: ``"exact"`` for equal pixels, ``"near"`` otherwise.
        hash_distance: Bits in which the perceptual hashes differ, the mirrored one included; `NO_HASH_EVIDENCE`
            where a picture is too plain for one.
        cosine: Cosine of the centered embeddings, NaN without embeddings.
    """

    first: int
    second: int
    kind: Literal["exact", "near"]
    hash_distance: int
    cosine: float


@dataclass(frozen=True, eq=False)
class DuplicateReport:
    """What was found.

    Attributes:
        row_group: Shape (n,), group of each row, numbered from 0 in order of appearance.
        pairs: Pairs in order of rows. An exact copy is paired with the first row of its picture, a near duplicate
            by the first rows of both pictures. See `MAX_PAIRS`.
        copies: Rows to set aside, ascending: exact copies of an earlier row of the same label.
        conflicts: Rows that show the same picture under different labels, ascending, all of them.
        n_groups: How many row groups there are.
        n_near_pairs: How many near pairs there are, the unlisted included.
    """

    row_group: NDArray[np.intp]
    pairs: tuple[DuplicatePair, ...]
    copies: NDArray[np.intp]
    conflicts: NDArray[np.intp]
    n_groups: int
    n_near_pairs: int


class _Near(NamedTuple):
    """Near pairs of one block: positions among the pictures, and how near."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    distance: NDArray[np.uint8]
    cosine: NDArray[np.float32]
    same_picture: NDArray[np.bool_]


@dataclass(frozen=True)
class _Rule:
    """Thresholds; cosines apply only where there are embeddings."""

    hash_distance: int
    hash_cosine: float
    cosine: float
    conflict_hash_distance: int
    conflict_cosine: float


def find_duplicates(
    *,
    pixel_hash: ArrayLike,
    phash: ArrayLike,
    phash_mirrored: ArrayLike,
    labels: ArrayLike,
    embeddings: ArrayLike | None = None,
    given_groups: ArrayLike | None = None,
    hash_distance: int = 12,
    hash_cosine: float = 0.5,
    cosine: float = 0.70,
    conflict_hash_distance: int = 6,
    conflict_cosine: float = 0.85,
) -> DuplicateReport:
    """Group rows that must stay together in every split, and find copies and conflicts.

    Two pictures are near duplicates if their perceptual hashes are near and the embeddings confirm it, or if the
    embeddings alone are very near. They are the same picture if the pixels are equal, or hashes and embeddings
    both are very near. Connected components become row groups; rows of one given group are merged too.

    Args:
        pixel_hash: Shape (n,), digests of the decoded pixels.
        phash: Shape (n,), uint64, perceptual hashes. A hash with few bits (a picture of one color) is no evidence.
        phash_mirrored: Shape (n,), uint64, perceptual hashes of the mirrored pictures.
        labels: Shape (n,), class names or numbers.
        embeddings: Shape (n, d), finite, or None. They are centered on the mean over different pictures and
            normalized here. Without them only `UNCONFIRMED_HASH_DISTANCE` links rows.
        given_groups: Shape (n,), names of groups that the user gave, empty for none; or None.
        hash_distance: Bits by which the hashes of near duplicates may differ, where embeddings confirm.
        hash_cosine: Cosine that confirms.
        cosine: Cosine that is enough alone.
        conflict_hash_distance: Bits by which the hashes of the same picture may differ.
        conflict_cosine: Cosine that the same picture has at least.

    Returns:
        The report; rows are numbered as in the arguments.

    Raises:
        ValueError: If the shapes do not agree or embeddings are not finite.
    """
    pixel_hash, labels = np.asarray(pixel_hash), np.asarray(labels)
    hashes = np.asarray(phash, dtype=np.uint64)
    mirrored = np.asarray(phash_mirrored, dtype=np.uint64)
    vectors = None if embeddings is None else np.asarray(embeddings)
    groups = np.asarray([""] * len(labels) if given_groups is None else given_groups, dtype=np.str_)
    n = len(pixel_hash)
    for name, column in (
        ("phash", hashes),
        ("phash_mirrored", mirrored),
        ("labels", labels),
        ("given_groups", groups),
    ):
        if column.shape != (n,):
            raise ValueError(f"{name} has shape {column.shape}, pixel_hash has {n} rows")
    if vectors is not None and (vectors.ndim != 2 or len(vectors) != n):
        raise ValueError(f"embeddings have shape {vectors.shape}, expected ({n}, d)")
    picture, first_row = _by_appearance(pixel_hash)
    low, high = _label_range(labels, picture, len(first_row))
    disputed = low != high
    component = _join(np.arange(len(first_row)), *_same_given_group(groups, picture))
    rule = _Rule(hash_distance, hash_cosine, cosine, conflict_hash_distance, conflict_cosine)
    pairs = _exact_pairs(picture, first_row, 1.0 if vectors is not None else float("nan"))
    n_near = 0
    for near in _near_pairs(hashes, mirrored, vectors, first_row, rule):
        component = _join(component, near.first, near.second)
        differ = (low[near.first] != low[near.second]) | (high[near.first] != high[near.second])
        clash = near.same_picture & differ
        disputed[near.first[clash]] = True
        disputed[near.second[clash]] = True
        room = MAX_PAIRS - n_near
        n_near += len(near.first)
        if room > 0:
            pairs.extend(_listed(near, first_row, room))
    row_group, _ = _by_appearance(component[picture])
    conflict = disputed[picture]
    later = first_row[picture] != np.arange(n)
    return DuplicateReport(
        row_group=row_group,
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second))),
        copies=np.flatnonzero(later & ~conflict),
        conflicts=np.flatnonzero(conflict),
        n_groups=int(row_group.max(initial=-1)) + 1,
        n_near_pairs=n_near,
    )


def _by_appearance(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the different values in order of appearance: (number of each row, first row of each number)."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(first), dtype=np.intp)
    number[order] = np.arange(len(first))
    return number[inverse], first[order]


def _label_range(
    labels: NDArray[Any], picture: NDArray[np.intp], n_pictures: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Smallest and largest label number of each picture; they differ where its copies bear different labels."""
    number, _ = _by_appearance(labels)
    low, high = np.full(n_pictures, len(labels), dtype=np.intp), np.full(n_pictures, -1, dtype=np.intp)
    np.minimum.at(low, picture, number)
    np.maximum.at(high, picture, number)
    return low, high


def _same_given_group(
    groups: NDArray[np.str_], picture: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Edges from the picture of each row with a given group to that of the first row of the group."""
    rows = np.flatnonzero(groups != "")
    number, first = _by_appearance(groups[rows])
    return picture[rows], picture[rows[first[number]]]


def _join(component: NDArray[np.intp], first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Components of the pictures after adding edges between pictures `first` and `second`."""
    a, b = component[first], component[second]
    if np.array_equal(a, b):
        return component
    n = len(component)
    edges = coo_array((np.ones(len(a), dtype=np.uint8), (a, b)), shape=(n, n))
    _, merged = connected_components(edges, directed=False)
    return np.asarray(merged[component], dtype=np.intp)


def _exact_pairs(
    picture: NDArray[np.intp], first_row: NDArray[np.intp], cosine: float
) -> list[DuplicatePair]:
    first = first_row[picture]
    later = np.flatnonzero(first != np.arange(len(picture)))
    return [DuplicatePair(int(first[row]), int(row), "exact", 0, cosine) for row in later]


def _listed(near: _Near, first_row: NDArray[np.intp], room: int) -> Iterator[DuplicatePair]:
    columns = (first_row[near.first], first_row[near.second], near.distance, near.cosine)
    for a, b, distance, cosine in zip(*(column[:room].tolist() for column in columns), strict=True):
        yield DuplicatePair(a, b, "near", distance, cosine)


def _near_pairs(
    phash: NDArray[np.uint64],
    phash_mirrored: NDArray[np.uint64],
    embeddings: NDArray[Any] | None,
    rows: NDArray[np.intp],
    rule: _Rule,
) -> Iterator[_Near]:
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
            a, b = np.nonzero(possible)
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
                yield _Near(a[kept] + top, b[kept] + left, bits[kept], cosine[kept], same[kept])


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
