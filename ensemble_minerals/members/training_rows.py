"""The training rows of a fold, as the specialists of all members on the same features see them."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_rows import ColumnRows, GramRows, SharedRows
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.rows import Rows

FloatMatrix = NDArray[np.floating[Any]]

_MOST_BY_PRODUCTS = 4096
"""More rows than this are not described by their inner products: the matrix would take more memory than they do."""

_APART = 1e-9
"""Squared distance by which rows of unit length that are alike are told apart."""


class TrainingRows:
    """Training rows in a row space.

    Regressions on fewer rows than columns need only the inner products of the rows; the coordinates, which take a
    factorization, are computed when a head asks for them.

    Args:
        space: Not fitted yet.
        rows: The rows.

    Attributes:
        space: Standardizes rows, and rotates them once `coordinates` were asked for.
        gram: Inner products of all pairs, shape (n, n); None where regressions go by the coordinates.
    """

    def __init__(self, space: RowSpace, rows: Rows) -> None:
        self.space = space
        self.gram: FloatMatrix | None = None
        if len(rows) <= min(2 * rows.n_columns, _MOST_BY_PRODUCTS):
            self._standard = space.standardize(rows.whole())
            self.gram = self._standard @ self._standard.T
        else:
            self.coordinates = space.fit_rows(rows)

    @classmethod
    def of(cls, X: FloatMatrix) -> Self:
        """All rows of a matrix."""
        return cls(RowSpace(), Rows((X,), np.arange(len(X))))

    def __len__(self) -> int:
        return len(self.coordinates if self.gram is None else self.gram)

    @cached_property
    def coordinates(self) -> FloatMatrix:
        """Coordinates of the rows in the row space, shape (n, rank)."""
        return self.space.rotate(self._standard)

    @cached_property
    def isometric(self) -> FloatMatrix:
        """Few coordinates of the rows with the same distances between them, shape (n, at most n)."""
        if self.gram is None:
            return self.coordinates
        # What is added makes all rows a little farther from each other, each as much.
        return np.linalg.cholesky(self.gram + _APART * np.eye(len(self.gram)))

    @cached_property
    def shared(self) -> SharedRows:
        """The rows as regressions share them."""
        return ColumnRows(self.coordinates) if self.gram is None else GramRows(self.gram)

    def split(self, trained: NDArray[np.intp], held_out: NDArray[np.intp]) -> tuple[SharedRows, FloatMatrix]:
        """Some rows as regressions share them, and others as what their solutions are multiplied with."""
        if self.gram is None:
            return ColumnRows(self.coordinates[trained]), self.coordinates[held_out]
        return GramRows(self.gram[np.ix_(trained, trained)]), self.gram[np.ix_(held_out, trained)]

    def fold_in(
        self, weight: FloatMatrix, bias: FloatMatrix
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Express solutions of regressions on `shared` as linear maps of the raw columns; see `RowSpace.fold_in`."""
        if self.gram is None:
            return self.space.fold_in(weight, bias)
        return self.space.of_raw(self._standard.T @ weight, bias)
