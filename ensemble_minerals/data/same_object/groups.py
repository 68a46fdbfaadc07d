"""Row groups, copies and conflicts of a data set, from the pairs of photos that belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ensemble_minerals.data.same_object.given_pairs import NO_PAIRS, GivenPairs
from ensemble_minerals.data.same_object.joining import Groups
from ensemble_minerals.data.same_object.likeness import Likeness
from ensemble_minerals.data.same_object.pairs import GRADES, SAME_PICTURE, SameObjectPair
from ensemble_minerals.errors import DataError


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
    *,
    given: GivenPairs = NO_PAIRS,
    likeness: Likeness | None = None,
) -> SameObjectReport:
    """Put rows that belong together into groups, and find copies and conflicts.

    Args:
        pixel_hash: Digests of the decoded pixels, shape (n,).
        labels: Class names or numbers, shape (n,).
        pairs: Pairs that are not copies, between the first rows of their pixels.
        given_groups: Names of the groups that the user gave, empty for none, shape (n,); or None.
        aside: Rows that are neither copies nor in conflict, and make no other row so, shape (n,): those of an
            official test part, for example. They are in groups and pairs like all others.
        given: Pairs of rows that the user wants together or apart; they win.
        likeness: How photos that only look alike are joined, by the first rows of their pixels; not if None.

    Raises:
        DataError: If the user's pairs contradict each other, or separate copies.

    Example:
        >>> report = group_rows(["a", "b", "a"], ["quartz", "pyrite", "quartz"], [])
        >>> report.row_group.tolist(), report.copies.tolist()
        ([0, 1, 0], [2])
    """
    image, first_row = by_appearance(np.asarray(pixel_hash))
    n = len(image)
    names = np.full(n, "") if given_groups is None else np.asarray(given_groups, dtype=np.str_)
    number, _ = by_appearance(np.asarray(labels))
    apart = {_in_order(image[a], image[b]) for a, b in given.apart}
    groups = _given(image, names, given, apart)
    found = []
    for pair in sorted(pairs, key=_strength):
        a, b = _in_order(image[pair.first], image[pair.second])
        if (a, b) not in apart and groups.join(a, b):
            found.append(pair)
    if likeness is not None:
        for a, b, cosine in likeness.join(groups, number[first_row]):
            found.append(SameObjectPair(int(first_row[a]), int(first_row[b]), "likeness", None, cosine))
    known_pairs = {(pair.first, pair.second) for pair in found}
    wanted = sorted(given.together - known_pairs)
    found += [SameObjectPair(a, b, "given") for a, b in wanted if image[a] != image[b]]  # others are copies
    judged = np.ones(n, dtype=bool) if aside is None else ~aside
    in_conflict = _conflicts(found, image, number, judged, len(first_row))[image] & judged
    first_judged = np.full(len(first_row), n)
    np.minimum.at(first_judged, image[judged], np.flatnonzero(judged))
    later = np.flatnonzero(first_row[image] != np.arange(n))
    found += [SameObjectPair(int(first_row[image[row]]), int(row), "copy") for row in later]
    row_group, _ = by_appearance(groups.numbers[image])
    return SameObjectReport(
        row_group=row_group,
        pairs=tuple(sorted(found, key=lambda pair: (pair.first, pair.second))),
        copies=np.flatnonzero(judged & ~in_conflict & (first_judged[image] != np.arange(n))),
        conflicts=np.flatnonzero(in_conflict),
        n_groups=int(row_group.max(initial=-1)) + 1,
        n_pairs=len(found),
    )


def _given(
    image: NDArray[np.intp], names: NDArray[np.str_], given: GivenPairs, apart: set[tuple[int, int]]
) -> Groups:
    """What the user wants together, in groups of images."""
    for a, b in apart:
        if a == b:
            raise DataError(
                "two photos of equal pixels are said to show different objects (duplicates.pairs, corrections); "
                "delete one of them instead"
            )
    groups = Groups(int(image.max(initial=-1)) + 1, apart)
    rows = np.flatnonzero(names != "")
    number, first = by_appearance(names[rows])
    same_name = zip(rows.tolist(), rows[first[number]].tolist(), strict=True)
    for a, b in (*sorted(given.together), *same_name):
        if not groups.join(int(image[a]), int(image[b])):
            raise DataError(
                "two photos are said to be apart (duplicates.pairs, corrections) that must be together by other "
                "rows, or by the column group; decide for one of both"
            )
    return groups


def _in_order(a: int, b: int) -> tuple[int, int]:
    return (int(a), int(b)) if a < b else (int(b), int(a))


def _strength(pair: SameObjectPair) -> tuple[int, int, int, int]:
    """The strongest first."""
    inliers = pair.evidence.inliers if pair.evidence else 0
    return GRADES.index(pair.grade), -inliers, pair.first, pair.second


def _conflicts(
    pairs: Sequence[SameObjectPair],
    image: NDArray[np.intp],
    labels: NDArray[np.intp],
    judged: NDArray[np.bool_],
    n_images: int,
) -> NDArray[np.bool_]:
    """Which images are there with two labels, in copies or in other pairs of the same picture; (n_images,)."""
    low, high = np.full(n_images, len(labels), dtype=np.intp), np.full(n_images, -1, dtype=np.intp)
    np.minimum.at(low, image[judged], labels[judged])
    np.maximum.at(high, image[judged], labels[judged])
    known: NDArray[np.bool_] = high >= 0
    in_conflict: NDArray[np.bool_] = known & (low != high)
    for pair in pairs:
        a, b = image[pair.first], image[pair.second]
        if pair.grade in SAME_PICTURE and known[a] and known[b] and (low[a], high[a]) != (low[b], high[b]):
            in_conflict[[a, b]] = True
    return in_conflict


def by_appearance(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the different values in order of appearance: number of each row, and first row of each number."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(first), dtype=np.intp)
    number[order] = np.arange(len(first))
    return number[inverse], first[order]
