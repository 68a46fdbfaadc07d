"""Row groups, copies and conflicts of a data set, found by hashes and embeddings."""

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
"""Most near pairs that a report lists. Row groups, copies and conflicts use all pairs."""

_MOST_WAITING = 1_000_000  # near pairs: 16 MB


@dataclass(frozen=True)
class DuplicatePair:
    """Two rows that show the same image or specimen.

    Attributes:
        first: The earlier row.
        second: The later row.
        kind: ``"exact"`` for equal pixels, ``"near"`` otherwise.
        hash_distance: Number of different bits of the perceptual hashes, with or without mirroring;
            `NO_HASH_EVIDENCE` if an image is too plain for a hash.
        cosine: Cosine of the centered embeddings; NaN without embeddings.
    """

    first: int
    second: int
    kind: Literal["exact", "near"]
    hash_distance: int
    cosine: float


@dataclass(frozen=True, eq=False)
class DuplicateReport:
    """Row groups and duplicates of a data set.

    Attributes:
        row_group: Group of each row, numbered from 0 in order of appearance, shape (n,).
        pairs: Pairs in order of their rows, see `MAX_PAIRS`. An exact copy is paired with the first row of its image;
            two similar images are paired by the first row of each.
        copies: Rows that are exact copies of an earlier row with the same label, ascending.
        conflicts: All rows whose image is also there with another label, ascending.
        n_groups: Number of row groups.
        n_near_pairs: Number of near pairs, those that are not listed included.
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

    Two images are near duplicates if their hashes are similar and their embeddings confirm it, or if their embeddings
    alone are very similar. They are the same image if their pixels are equal, or if hashes and embeddings are both
    very similar. Row groups are the connected components of near duplicates and of the groups that the user gave.

    Args:
        pixel_hash: Digests of the decoded pixels, shape (n,).
        phash: Perceptual hashes, uint64, shape (n,). A hash with few bits (of a plain image) is ignored.
        phash_mirrored: Perceptual hashes of the mirrored images, uint64, shape (n,).
        labels: Class names or numbers, shape (n,).
        embeddings: Finite vectors, shape (n, d), or None. They are centered on the mean over the different images,
            and normalized. Without them, only hashes within `UNCONFIRMED_HASH_DISTANCE` make near duplicates.
        given_groups: Names of the groups that the user gave, empty for none, shape (n,); or None.
        hash_distance: Most different bits in the hashes of near duplicates that embeddings confirm.
        hash_cosine: Least cosine that confirms them.
        cosine: Least cosine that is enough without hashes.
        conflict_hash_distance: Most different bits in the hashes of the same image.
        conflict_cosine: Least cosine of the same image.

    Returns:
        The report. Rows have the numbers that they have in the arguments.

    Raises:
        ValueError: If the shapes do not agree, or embeddings are not finite.

    Example:
        >>> report = find_duplicates(
        ...     pixel_hash=["a", "b", "a"], phash=[2**40 - 1, 2**64 - 2**24, 2**40 - 1],
        ...     phash_mirrored=[2**41 - 2, 2**63 - 2**22, 2**41 - 2], labels=["quartz", "pyrite", "quartz"],
        ... )
        >>> report.row_group.tolist(), report.copies.tolist()
        ([0, 1, 0], [2])
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
    image, first_row = _by_appearance(pixel_hash)
    low, high = _label_range(labels, image, len(first_row))
    in_conflict = low != high
    component = _join(np.arange(len(first_row)), *_same_given_group(groups, image))
    rule = Rule(hash_distance, hash_cosine, cosine, conflict_hash_distance, conflict_cosine)
    pairs = _exact_pairs(image, first_row, 1.0 if vectors is not None else float("nan"))
    n_near, edges = 0, _Edges()
    for near in near_pairs(hashes, mirrored, vectors, first_row, rule):
        component = edges.add(component, near.first, near.second)
        differ = (low[near.first] != low[near.second]) | (high[near.first] != high[near.second])
        clash = near.same_image & differ
        in_conflict[near.first[clash]] = True
        in_conflict[near.second[clash]] = True
        limit = MAX_PAIRS - n_near
        n_near += len(near.first)
        if limit > 0:
            pairs.extend(_listed(near, first_row, limit))
    row_group, _ = _by_appearance(edges.join(component)[image])
    conflict = in_conflict[image]
    later = first_row[image] != np.arange(n)
    return DuplicateReport(
        row_group=row_group,
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second))),
        copies=np.flatnonzero(later & ~conflict),
        conflicts=np.flatnonzero(conflict),
        n_groups=int(row_group.max(initial=-1)) + 1,
        n_near_pairs=n_near,
    )


def _by_appearance(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the different values in order of appearance: number of each row, and first row of each number."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(first), dtype=np.intp)
    number[order] = np.arange(len(first))
    return number[inverse], first[order]


def _label_range(
    labels: NDArray[Any], image: NDArray[np.intp], n_images: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Smallest and largest label number of each image; they differ if its copies have different labels."""
    number, _ = _by_appearance(labels)
    low, high = np.full(n_images, len(labels), dtype=np.intp), np.full(n_images, -1, dtype=np.intp)
    np.minimum.at(low, image, number)
    np.maximum.at(high, image, number)
    return low, high


def _same_given_group(
    groups: NDArray[np.str_], image: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Edges that join each row with a given group to the first row of its group, as pairs of images."""
    rows = np.flatnonzero(groups != "")
    number, first = _by_appearance(groups[rows])
    return image[rows], image[rows[first[number]]]


def _join(component: NDArray[np.intp], first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Components of the images after edges between the images `first` and `second` are added."""
    a, b = component[first], component[second]
    if np.array_equal(a, b):
        return component
    n = len(component)
    edges = coo_array((np.ones(len(a), dtype=np.uint8), (a, b)), shape=(n, n))
    _, merged = connected_components(edges, directed=False)
    return np.asarray(merged[component], dtype=np.intp)


class _Edges:
    """Edges that are not joined yet. A join takes time for every image, so it is done for many edges at once."""

    def __init__(self) -> None:
        self.first: list[NDArray[np.intp]] = []
        self.second: list[NDArray[np.intp]] = []
        self.waiting = 0

    def add(
        self, component: NDArray[np.intp], first: NDArray[np.intp], second: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """Add edges; return the components, after a join if many edges wait."""
        self.first.append(first)
        self.second.append(second)
        self.waiting += len(first)
        return self.join(component) if self.waiting > _MOST_WAITING else component

    def join(self, component: NDArray[np.intp]) -> NDArray[np.intp]:
        """The components after all edges that wait."""
        if self.waiting:
            component = _join(component, np.concatenate(self.first), np.concatenate(self.second))
            self.first, self.second, self.waiting = [], [], 0
        return component


def _exact_pairs(image: NDArray[np.intp], first_row: NDArray[np.intp], cosine: float) -> list[DuplicatePair]:
    first = first_row[image]
    later = np.flatnonzero(first != np.arange(len(image)))
    return [DuplicatePair(int(first[row]), int(row), "exact", 0, cosine) for row in later]


def _listed(near: NearPairs, first_row: NDArray[np.intp], limit: int) -> Iterator[DuplicatePair]:
    columns = (first_row[near.first], first_row[near.second], near.distance, near.cosine)
    for a, b, distance, cosine in zip(*(column[:limit].tolist() for column in columns), strict=True):
        yield DuplicatePair(a, b, "near", distance, cosine)
