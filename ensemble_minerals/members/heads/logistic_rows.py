"""The rows that regressions share, by their columns; see `logistic_products` for rows by their inner products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_blocks import BlockHessian
from ensemble_minerals.members.rows import are_many, parts

FloatMatrix = NDArray[np.floating[Any]]

FREE = 1e-6
"""Curvature added for the intercepts, which a softmax determines only up to a constant."""

_SMALL = 50_000
"""Number of entries of a matrix up to which single precision saves no time."""

_LARGE = 1e15
"""Entries of this size could overflow single precision when their squares are summed."""


class ColumnRows:
    """Rows by their columns. Many are processed in parts and converted to double precision a part at a time.

    Args:
        X: Shape (n, d).

    Attributes:
        n_rows: Their number n.
        n_coefficients: Coefficients of a function of a row, the intercept aside.
        dtype: The precision of steps: single, unless that saves nothing or could overflow.
    """

    def __init__(self, X: FloatMatrix) -> None:
        self.n_rows, self.n_coefficients = X.shape
        self._parts = parts(len(X))
        self._exact = X if are_many(len(X)) else np.asarray(X, dtype=np.float64)
        self.dtype = step_precision(X)
        self._approximate = X.astype(self.dtype, copy=False)

    def logits(self, coefficients: FloatMatrix) -> FloatMatrix:
        """Logits of the rows, shape (n_columns, n), by coefficients, the intercept last, shape (n_columns, d + 1)."""
        X = self._approximate if coefficients.dtype == self.dtype else self._exact
        weight = np.ascontiguousarray(coefficients[:, :-1])
        logits = np.empty((len(weight), self.n_rows), dtype=coefficients.dtype)
        for part in self._parts:
            # Twice as fast as the product in the other order, which would need no transpose.
            logits[:, part] = (X[part].astype(coefficients.dtype, copy=False) @ weight.T).T
        logits += coefficients[:, -1:]
        return logits

    def gathered(self, of_rows: FloatMatrix) -> FloatMatrix:
        """Coefficients of the gradient of a sum over the rows, from derivatives by logits, shape (n_columns, n)."""
        X = self._approximate if of_rows.dtype == self.dtype else self._exact
        sums = np.zeros((len(of_rows), self.n_coefficients + 1), dtype=of_rows.dtype)
        for part in self._parts:
            sums[:, :-1] += of_rows[:, part] @ X[part].astype(of_rows.dtype, copy=False)
        sums[:, -1] = of_rows.sum(axis=1)
        return sums

    def preconditioner(self, penalty: FloatMatrix, blocks: Sequence[BlockHessian]) -> FloatMatrix:
        """The inverse of the Hessian's diagonal, of combinations that of an upper bound of it.

        Args:
            penalty: Of each column, shape (n_columns, 1).
            blocks: Second derivatives by the logits.
        """
        curvature = _on_shared(blocks)
        diagonal = np.full((len(penalty), self.n_coefficients + 1), FREE, dtype=self.dtype)
        diagonal[:, :-1] = penalty
        for part in self._parts:
            diagonal[:, :-1] += curvature[:, part] @ np.square(self._approximate[part])
        diagonal[:, -1] += curvature.sum(axis=1)
        inverse: FloatMatrix = 1 / diagonal
        return inverse


def _on_shared(blocks: Sequence[BlockHessian]) -> FloatMatrix:
    """Curvature of each logit, shape (n_columns, n); that of a combination counts for its rows."""
    curvature: FloatMatrix = np.concatenate(
        [
            one.curvature if one.combinations is None else one.combinations.back(one.curvature)
            for one in blocks
        ]
    )
    return curvature


def step_precision(X: FloatMatrix) -> np.dtype[Any]:
    """The precision of steps with such numbers: single, unless that saves nothing or could overflow."""
    is_double = X.size <= _SMALL or not -_LARGE < X.min() <= X.max() < _LARGE
    return np.dtype(np.float64 if is_double else np.float32)
