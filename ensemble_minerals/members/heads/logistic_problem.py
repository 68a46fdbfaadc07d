"""A logistic regression to be solved, and its solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_diag

from ensemble_minerals.data.subproblem import n_logits

FloatMatrix = NDArray[np.floating[Any]]


class Combinations:
    """Rows that are linear combinations of others, such as those that SMOTE makes.

    Args:
        matrix: Sparse, shape (m, n): the m rows, each as coefficients of n rows.
    """

    def __init__(self, matrix: Any) -> None:
        self._forth = matrix.tocsr()

    @classmethod
    def side_by_side(cls, several: Sequence[Combinations], sizes: Sequence[tuple[int, int]]) -> Combinations:
        """Those of several sets of rows as those of all, each filled up to sizes (m, n) with empty ones."""
        filled = [one._forth.copy() for one in several]
        for matrix, size in zip(filled, sizes, strict=True):
            matrix.resize(*size)
        return cls(block_diag(filled, format="csr"))

    @cached_property
    def _back(self) -> Any:
        return self._forth.T.tocsr()

    @cached_property
    def _forth32(self) -> Any:
        return self._forth.astype(np.float32)

    @cached_property
    def _back32(self) -> Any:
        return self._back.astype(np.float32)

    def of(self, logits: FloatMatrix) -> FloatMatrix:
        """Logits of the combinations, shape (n_columns, m), from those of the rows, shape (n_columns, n)."""
        forth = self._forth32 if logits.dtype == np.float32 else self._forth
        return np.ascontiguousarray((forth @ np.ascontiguousarray(logits.T)).T)

    def squared(self, variances: FloatMatrix) -> FloatMatrix:
        """Variances of the combinations, shape (m,), from those of rows that do not vary together, shape (n,)."""
        variances_of: FloatMatrix = self._forth.power(2) @ variances
        return variances_of

    def restricted(self) -> tuple[NDArray[np.intp], Combinations]:
        """Positions of the rows that are combined, shape (l,), and the combinations of those alone."""
        positions = np.unique(self._forth.indices)
        return positions, Combinations(self._forth[:, positions])

    def touching(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which combinations are of one of these rows, shape (m,)."""
        touching: NDArray[np.bool_] = abs(self._forth) @ rows.astype(np.float64) > 0
        return touching

    def back(self, derivatives: FloatMatrix) -> FloatMatrix:
        """Derivatives by the rows' logits, shape (n_columns, n), from those by the combinations', (n_columns, m)."""
        back = self._back32 if derivatives.dtype == np.float32 else self._back
        return np.ascontiguousarray((back @ np.ascontiguousarray(derivatives.T)).T)


@dataclass(frozen=True)
class LogisticProblem:
    """One regression on shared rows.

    Attributes:
        targets: Outcome of each row, shape (n,); ignored where the weight is zero.
        weights: Non-negative weight of each row, shape (n,).
        n_outcomes: Number of outcomes, at least 2.
        C: Inverse strength of the penalty.
        combinations: Which combinations of the shared rows are its rows; if None, the shared rows themselves.
    """

    targets: NDArray[np.intp]
    weights: FloatMatrix
    n_outcomes: int
    C: float
    combinations: Combinations | None = None

    @property
    def n_columns(self) -> int:
        """Columns of the solution: one for two outcomes, their log-odds; else one for each outcome."""
        return n_logits(self.n_outcomes)

    def without(self, rows: NDArray[np.bool_]) -> LogisticProblem:
        """The regression that learns nothing from some of the shared rows, shape (n,)."""
        left = rows if self.combinations is None else self.combinations.touching(rows)
        return replace(self, weights=np.where(left, 0.0, self.weights))


class Solution(NamedTuple):
    """The solution of a problem, float64.

    Attributes:
        weight: Shape (d, n_columns).
        bias: Shape (n_columns,).
        converged: Whether it reached the tolerance.
        combined: Where a problem's rows are combinations of rows that are known by their inner products: coefficients
            of the combinations, shape (m, n_columns).
    """

    weight: FloatMatrix
    bias: FloatMatrix
    converged: bool
    combined: FloatMatrix | None = None
