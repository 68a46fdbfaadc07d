"""Row groups, copies and conflicts of a data set, from the pairs of photos that belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble_minerals.data.same_object.pairs import SAME_PICTURE, SameObjectPair


@dataclass(frozen=True, eq=False)
class SameObjectReport:
    """Which rows of a data set show the same object.

    Attributes:
        row_group: Group of each row, numbered from 0 in order of appearance, shape (n,).
        pairs: Pairs in order of their rows. A copy is paired with the first row of its pixels; others are paired by
            the first row of each.
        copies: Rows with the pixels of an earlier row of the same label, ascending.
        conflicts: All rows whose picture is also there with another label, ascending.
        n_groups: Number of row groups.
        n_pairs: Number of pairs, copies included.
    """

    row_group: NDArray[np.intp]
    pairs: tuple[SameObjectPair, ...]
    copies: NDArray[np.intp]
    conflicts: NDArray[np.intp]
    n_groups: int
    n_pairs: int

    def at(self, rows: NDArray[np.intp], n_rows: int) -> SameObjectReport:
        """The same in a larger table.

        Args:
            rows: Numbers of the rows there, ascending.
            n_rows: Rows of the larger table; those that were not compared get the group -1.
        """
        row_group = np.full(n_rows, -1, dtype=np.intp)
        row_group[rows] = self.row_group
        return replace(
            self,
            row_group=row_group,
            pairs=tuple(pair.at(rows) for pair in self.pairs),
            copies=rows[self.copies],
            conflicts=rows[self.conflicts],
        )


def group_rows(
    pixel_hash: ArrayLike,
    labels: ArrayLike,
    pairs: Iterable[SameObjectPair],
    given_groups: Sequence[str] | NDArray[np.str_] | None = None,
    aside: NDArray[np.bool_] | None = None,
) -> SameObjectReport:
    """Put rows that belong together into groups, and find copies and conflicts.

    Args:
        pixel_hash: Digests of the decoded pixels, shape (n,).
        labels: Class names or numbers, shape (n,).
        pairs: Pairs that are not copies, between the first rows of their pixels.
        given_groups: Names of the groups that the user gave, empty for none, shape (n,); or None.
        aside: Rows that are neither copies nor in conflict, and make no other row so, shape (n,): those of an
            official test part, for example. They are in groups and pairs like all others.

    Example:
        >>> report = group_rows(["a", "b", "a"], ["quartz", "pyrite", "quartz"], [])
        >>> report.row_group.tolist(), report.copies.tolist()
        ([0, 1, 0], [2])
    """
    image, first_row = by_appearance(np.asarray(pixel_hash))
    n = len(image)
    names = np.full(n, "") if given_groups is None else np.asarray(given_groups, dtype=np.str_)
    judged = np.ones(n, dtype=bool) if aside is None else ~aside
    low, high = _label_range(np.asarray(labels)[judged], image[judged], len(first_row))
    known = high >= 0  # images of which a row is judged
    in_conflict = known & (low != high)
    found = list(pairs)
    first = image[np.array([pair.first for pair in found], dtype=np.intp)]
    second = image[np.array([pair.second for pair in found], dtype=np.intp)]
    same_picture = np.array([pair.grade in SAME_PICTURE for pair in found], dtype=bool)
    clash = (
        same_picture
        & known[first]
        & known[second]
        & ((low[first] != low[second]) | (high[first] != high[second]))
    )
    in_conflict[first[clash]] = in_conflict[second[clash]] = True
    a, b = _same_given_group(names, image)
    component = _components(len(first_row), np.concatenate([a, first]), np.concatenate([b, second]))
    row_group, _ = by_appearance(component[image])
    conflict = in_conflict[image] & judged
    first_judged = np.full(len(first_row), n)
    np.minimum.at(first_judged, image[judged], np.flatnonzero(judged))
    copies = np.flatnonzero(judged & ~conflict & (first_judged[image] != np.arange(n)))
    later = np.flatnonzero(first_row[image] != np.arange(n))
    found += [SameObjectPair(int(first_row[image[row]]), int(row), "copy") for row in later]
    return SameObjectReport(
        row_group=row_group,
        pairs=tuple(sorted(found, key=lambda pair: (pair.first, pair.second))),
        copies=copies,
        conflicts=np.flatnonzero(conflict),
        n_groups=int(row_group.max(initial=-1)) + 1,
        n_pairs=len(found),
    )


def by_appearance(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
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
    number, _ = by_appearance(labels)
    low, high = np.full(n_images, len(labels), dtype=np.intp), np.full(n_images, -1, dtype=np.intp)
    np.minimum.at(low, image, number)
    np.maximum.at(high, image, number)
    return low, high


def _same_given_group(
    groups: NDArray[np.str_], image: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Edges that join each row with a given group to the first row of its group, as pairs of images."""
    rows = np.flatnonzero(groups != "")
    number, first = by_appearance(groups[rows])
    return image[rows], image[rows[first[number]]]


def _components(n: int, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    edges = coo_array((np.ones(len(first), dtype=np.uint8), (first, second)), shape=(n, n))
    _, component = connected_components(edges, directed=False)
    return np.asarray(component, dtype=np.intp)
