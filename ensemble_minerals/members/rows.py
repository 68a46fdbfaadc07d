"""What members see of rows: feature matrices side by side, whole or in parts, and photos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.system.memmap import release

FloatMatrix = NDArray[np.floating[Any]]

MANY = 16_384
"""More rows than this are processed in parts; fewer are held at once, in double precision."""

PART = 1024
"""Rows of a part."""


@dataclass(frozen=True, eq=False)
class RowData:
    """What members see of n rows.

    Attributes:
        matrices: Feature matrices by name, each of shape (n, n_features).
        images: Position of each row's photo in the image caches of networks, shape (n,); None where there are no
            members on networks.
        views: Of feature matrices that are means of views, and whose views are training rows: the views, each of
            shape (n, n_views, n_features).

    Example:
        >>> data = RowData({"color": np.eye(2), "texture": np.ones((2, 1))}, images=np.array([7, 4]))
        >>> data.side_by_side(["texture", "color"])
        array([[1., 1., 0.],
               [1., 0., 1.]])
        >>> data.take(np.array([1])).photos()
        array([4])
    """

    matrices: Mapping[str, FloatMatrix]
    images: NDArray[np.intp] | None = None
    views: Mapping[str, FloatMatrix] = field(default_factory=dict)

    def side_by_side(self, features: Sequence[str]) -> FloatMatrix:
        """The named matrices as one, shape (n, sum of their columns)."""
        if len(features) == 1:
            return self.matrices[features[0]]
        return np.concatenate([self.matrices[name] for name in features], axis=1)

    def views_for(self, features: Sequence[str]) -> FloatMatrix | None:
        """The views that members on these features train on; None where they train on the mean of the views."""
        return self.views.get(features[0]) if len(features) == 1 else None

    def photos(self) -> NDArray[np.intp]:
        """Position of each row's photo in the image caches, shape (n,).

        Raises:
            ValueError: If the rows come without photos.
        """
        if self.images is None:
            raise ValueError(
                "a member on networks needs to know the photo of each row; these rows come without"
            )
        return self.images

    def take(self, rows: NDArray[Any]) -> RowData:
        """Some rows alone.

        Args:
            rows: Their positions in order, or a mask, shape (n,).
        """
        return RowData(
            {name: matrix[rows] for name, matrix in self.matrices.items()},
            None if self.images is None else self.images[rows],
            {name: views[rows] for name, views in self.views.items()},
        )


@dataclass(frozen=True)
class Rows:
    """Some rows of matrices; nothing is copied before it is needed.

    Attributes:
        matrices: Each of shape (n, n_features).
        positions: Of the rows, shape (k,).
    """

    matrices: Sequence[FloatMatrix]
    positions: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def n_columns(self) -> int:
        """Columns of all matrices."""
        return sum(matrix.shape[1] for matrix in self.matrices)

    def whole(self, part: slice = slice(None)) -> FloatMatrix:
        """The rows, or a part of them, as one matrix."""
        taken = [np.asarray(matrix[self.positions[part]]) for matrix in self.matrices]
        return taken[0] if len(taken) == 1 else np.concatenate(taken, axis=1)

    def parts(self) -> Iterator[FloatMatrix]:
        """The rows a part at a time, in order."""
        for part in parts(len(self)):
            yield self.whole(part)
        for matrix in self.matrices:
            release(matrix)


def are_many(n_rows: int) -> bool:
    """Whether so many rows are processed in parts."""
    return n_rows > MANY


def parts(n_rows: int) -> list[slice]:
    """Slices in which rows are processed: one of all rows, unless they are many.

    Example:
        >>> parts(3)
        [slice(0, 3, None)]
    """
    step = PART if are_many(n_rows) else max(n_rows, 1)
    return [slice(start, start + step) for start in range(0, max(n_rows, 1), step)]
