"""The training rows of a fold, as the specialists of all members on the same features see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import eye_array, kron

from ensemble_minerals.members.heads.logistic_problem import Combinations, LogisticProblem
from ensemble_minerals.members.heads.logistic_products import ProductRows
from ensemble_minerals.members.heads.logistic_rows import ColumnRows
from ensemble_minerals.members.heads.logistic_solver import SharedRows
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.rows import Rows

FloatMatrix = NDArray[np.floating[Any]]

MOST_BY_PRODUCTS = 4096
"""More rows than this are not described by their inner products: the matrix would take more memory than they do."""

_COLUMNS = 1024
"""Columns that are brought to double precision at once."""


@dataclass(frozen=True)
class Block:
    """The features of one extractor, standardized by themselves, and the rows' inner products in them.

    Attributes:
        space: What standardizes them.
        standard: Shape (n, n_features).
        gram: Shape (n, n), float64.
    """

    space: RowSpace
    standard: FloatMatrix
    gram: FloatMatrix

    @classmethod
    def of(cls, space: RowSpace, rows: Rows) -> Self:
        """Standardized by a space that is not fitted yet."""
        standard = space.standardize(rows.whole())
        gram = np.zeros((len(standard), len(standard)))
        for start in range(0, standard.shape[1], _COLUMNS):
            part = standard[:, start : start + _COLUMNS]
            gram += part @ part.T  # a product in the features' own precision takes half the time
        return cls(space, standard, gram)


class SharedBlocks:
    """Blocks of one fold that members on different features share; who needs one first computes it."""

    def __init__(self) -> None:
        self._locks: dict[int, Lock] = {}
        self._blocks: dict[int, Block] = {}

    def get(self, space: RowSpace, matrix: FloatMatrix, positions: NDArray[np.intp]) -> Block:
        """The block of a matrix, which must be there as long as the blocks are."""
        with self._locks.setdefault(id(matrix), Lock()):
            if id(matrix) not in self._blocks:
                self._blocks[id(matrix)] = Block.of(space, Rows((matrix,), positions))
            return self._blocks[id(matrix)]


class TrainingRows:
    """Training rows in a row space.

    A row may come in several views. Then each of them is a row of the regressions that counts a part of one, and
    answers are for the mean of the views: the mean of a linear head's log-odds for each of them.

    Regressions on fewer rows than columns need only the inner products of the rows; the coordinates, which take a
    factorization, are computed when a head asks for them.

    Args:
        space: Not fitted yet.
        rows: The rows; those with views as all views of the first, then all of the second, and so on.
        n_views: Views of a row.
        blocks: Of the same rows, if there are other members on some of their features.

    Attributes:
        space: Standardizes rows, and rotates them once `coordinates` were asked for.
        gram: Inner products of all pairs of n views, shape (n, n); None where regressions go by the coordinates.
    """

    def __init__(
        self, space: RowSpace, rows: Rows, n_views: int = 1, blocks: SharedBlocks | None = None
    ) -> None:
        self.space = space
        self.n_views = n_views
        self.gram: FloatMatrix | None = None
        if len(rows) <= min(2 * rows.n_columns, MOST_BY_PRODUCTS):
            shared = SharedBlocks() if blocks is None else blocks
            spaces = [type(space)() for _ in rows.matrices]
            self._blocks = [
                shared.get(one, matrix, rows.positions)
                for one, matrix in zip(spaces, rows.matrices, strict=True)
            ]
            space.join([block.space for block in self._blocks])
            self.gram = np.sum([block.gram for block in self._blocks], axis=0) / len(self._blocks)
        else:
            self.coordinates = space.fit_rows(rows)

    @classmethod
    def of(cls, X: FloatMatrix) -> Self:
        """All rows of a matrix."""
        return cls(RowSpace(), Rows((X,), np.arange(len(X))))

    def __len__(self) -> int:
        return len(self.coordinates if self.gram is None else self.gram) // self.n_views

    @cached_property
    def coordinates(self) -> FloatMatrix:
        """Coordinates of the views in the row space, shape (n, rank)."""
        standard = np.concatenate([block.standard for block in self._blocks], axis=1)
        return self.space.rotate(standard / np.sqrt(len(self._blocks)))

    @property
    def n_dimensions(self) -> int:
        """Of the space that the views lie in; they are centered."""
        return min(len(self) * self.n_views - 1, self.space.n_features_in_)

    def neighbors(self, rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        """For some rows the nearest so many others among them, nearest first, as positions in `rows`."""
        if self.gram is None:
            from sklearn.neighbors import NearestNeighbors

            found = NearestNeighbors(n_neighbors=count).fit(self.of_views(self.coordinates)[rows])
            return np.asarray(found.kneighbors(return_distance=False))
        views = self.positions(rows)
        products = self.of_views(self.of_views(self.gram[np.ix_(views, views)]).T)
        squares = np.diag(products)
        distances = squares - 2 * products  # of a row, but for what it adds to all
        np.fill_diagonal(distances, np.inf)
        return np.argsort(distances, axis=1, kind="stable")[:, :count]

    @cached_property
    def shared(self) -> SharedRows:
        """The views as regressions share them."""
        return ColumnRows(self.coordinates) if self.gram is None else ProductRows(self.gram)

    def split(self, trained: NDArray[np.intp], held_out: NDArray[np.intp]) -> tuple[SharedRows, FloatMatrix]:
        """Some rows as regressions share them, and others as what their solutions are multiplied with."""
        trained, held_out = self.positions(trained), self.positions(held_out)
        if self.gram is None:
            return ColumnRows(self.coordinates[trained]), self.of_views(self.coordinates[held_out])
        return ProductRows(self.gram[np.ix_(trained, trained)]), self.of_views(
            self.gram[np.ix_(held_out, trained)]
        )

    def positions(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Positions of all views of some rows."""
        return views_of(rows, self.n_views)

    def of_views(self, values: FloatMatrix) -> FloatMatrix:
        """The mean over the views of each row, from one line a view."""
        if self.n_views == 1:
            return values
        mean: FloatMatrix = values.reshape(-1, self.n_views, values.shape[1]).mean(axis=1)
        return mean

    def problem(
        self,
        targets: NDArray[np.intp],
        weights: FloatMatrix,
        n_outcomes: int,
        C: float,
        combinations: Any = None,
    ) -> LogisticProblem:
        """A regression on rows, or on combinations of them, each of whose views counts a part of it.

        Args:
            targets: Outcome of each.
            weights: Of each.
            n_outcomes: Number of outcomes.
            C: Inverse strength of the penalty.
            combinations: Sparse, one line each, as coefficients of the rows; the rows themselves if None.
        """
        if self.n_views > 1 and combinations is not None:
            combinations = kron(combinations, eye_array(self.n_views))
        return LogisticProblem(
            np.repeat(targets, self.n_views),
            np.repeat(weights, self.n_views) / self.n_views,
            n_outcomes,
            C,
            None if combinations is None else Combinations(combinations),
        )

    def fold_in(
        self, weight: FloatMatrix, bias: FloatMatrix
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Express solutions of regressions on `shared` as linear maps of the raw columns; see `RowSpace.fold_in`."""
        if self.gram is None:
            return self.space.fold_in(weight, bias)
        # In the features' own precision, as the members' weights are stored.
        parts = [block.standard.T @ weight.astype(block.standard.dtype) for block in self._blocks]
        return self.space.of_raw(np.concatenate(parts) / np.sqrt(len(self._blocks)), bias)


def views_of(rows: NDArray[np.intp], n_views: int) -> NDArray[np.intp]:
    """Positions of all views of some rows, where those of a row lie one after the other.

    Example:
        >>> views_of(np.array([2, 0]), 3)
        array([6, 7, 8, 0, 1, 2])
    """
    return (rows[:, None] * n_views + np.arange(n_views)).reshape(-1)
