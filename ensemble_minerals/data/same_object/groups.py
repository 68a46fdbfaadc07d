"""Hashes and embeddings in, row groups, copies and conflicts out; pure.

Every pair of pictures is compared, block by block: time grows with the square of the number of different
pictures, memory does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble_minerals.data.same_object.candidates import NearPairs, Rule, near_pairs

MAX_PAIRS = 200_000
"""At most so many near pairs are listed; row groups, copies and conflicts come from all of them."""

_MOST_WAITING = 1_000_000  # near pairs: 16 MB


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
    rule = Rule(hash_distance, hash_cosine, cosine, conflict_hash_distance, conflict_cosine)
    pairs = _exact_pairs(picture, first_row, 1.0 if vectors is not None else float("nan"))
    n_near, edges = 0, _Edges()
    for near in near_pairs(hashes, mirrored, vectors, first_row, rule):
        component = edges.add(component, near.first, near.second)
        differ = (low[near.first] != low[near.second]) | (high[near.first] != high[near.second])
        clash = near.same_picture & differ
        disputed[near.first[clash]] = True
        disputed[near.second[clash]] = True
        room = MAX_PAIRS - n_near
        n_near += len(near.first)
        if room > 0:
            pairs.extend(_listed(near, first_row, room))
    row_group, _ = _by_appearance(edges.join(component)[picture])
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


class _Edges:
    """Near pairs that wait to be joined: a join takes a look at every picture, so it is done for many at once."""

    def __init__(self) -> None:
        self.first: list[NDArray[np.intp]] = []
        self.second: list[NDArray[np.intp]] = []
        self.waiting = 0

    def add(
        self, component: NDArray[np.intp], first: NDArray[np.intp], second: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """Remember pairs; the components, with all that wait if they became many."""
        self.first.append(first)
        self.second.append(second)
        self.waiting += len(first)
        return self.join(component) if self.waiting > _MOST_WAITING else component

    def join(self, component: NDArray[np.intp]) -> NDArray[np.intp]:
        """The components after all pairs that wait."""
        if self.waiting:
            component = _join(component, np.concatenate(self.first), np.concatenate(self.second))
            self.first, self.second, self.waiting = [], [], 0
        return component


def _exact_pairs(
    picture: NDArray[np.intp], first_row: NDArray[np.intp], cosine: float
) -> list[DuplicatePair]:
    first = first_row[picture]
    later = np.flatnonzero(first != np.arange(len(picture)))
    return [DuplicatePair(int(first[row]), int(row), "exact", 0, cosine) for row in later]


def _listed(near: NearPairs, first_row: NDArray[np.intp], room: int) -> Iterator[DuplicatePair]:
    columns = (first_row[near.first], first_row[near.second], near.distance, near.cosine)
    for a, b, distance, cosine in zip(*(column[:room].tolist() for column in columns), strict=True):
        yield DuplicatePair(a, b, "near", distance, cosine)
