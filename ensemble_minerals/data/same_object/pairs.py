"""Pairs of photos that belong together, and what shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Grade: TypeAlias = Literal["copy", "same_picture", "same_object", "likeness", "given"]
"""How two photos belong together.

``copy``: equal pixels. ``same_picture``: local features agree over most of both photos, and so do the pixels. Only
these two contradict different labels. ``same_object``: local features agree over a part. ``likeness``: embeddings are
similar, and nothing else. ``given``: the user says so.
"""

GRADES: tuple[Grade, ...] = get_args(Grade)
"""From the strongest to the weakest."""

SAME_PICTURE: tuple[Grade, ...] = ("copy", "same_picture")
"""Grades of photos that cannot have different labels."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Local features of two photos that agree.

    Attributes:
        inliers: Features of one photo that lie in the other where one shift, turn and scale puts them.
        first_share: Share of the first photo's area that they span.
        second_share: Share of the second photo's area.
        agreement: Share of all features in that area of one photo that are found where they belong in the other.
        correlation: Of the pixels in that area, -1 to 1, one photo laid over the other.
        mirrored: Whether one photo is the mirror image of the other.
        points: Some of the features, shape (m, 4), float32: x and y in the first photo and in the second one, as
            fractions of width and height.
    """

    inliers: int
    first_share: float
    second_share: float
    agreement: float
    correlation: float
    mirrored: bool
    points: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SameObjectPair:
    """Two rows that belong together.

    Attributes:
        first: The earlier row.
        second: The later row.
        grade: How they belong together.
        evidence: What shows it; None for a copy, a likeness, and what the user says.
        cosine: Of the centered embeddings; NaN where they were not compared.
    """

    first: int
    second: int
    grade: Grade
    evidence: Evidence | None = None
    cosine: float = float("nan")

    def at(self, rows: NDArray[np.intp]) -> SameObjectPair:
        """The same pair in a larger table, in which its rows have the numbers `rows`."""
        return replace(self, first=int(rows[self.first]), second=int(rows[self.second]))
