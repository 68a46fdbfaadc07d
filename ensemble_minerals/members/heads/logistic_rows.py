"""The rows that regressions share, by their columns or by their inner products.

A regression is a linear function of a row. With few columns it has a coefficient for each column. With fewer rows
than columns it has one for each row instead, by which that row's inner product with the one in question counts: with
an L2 penalty, no other function can be the solution (Kimeldorf & Wahba 1971, J. Math. Anal. Appl. 33).

What the solver adds and scales are vectors of shape (k, n_columns, n_coefficients + 1): first the coefficients of
each column of the regressions, the intercept last; and last their image, with which coefficients have to be
multiplied for an inner product of two functions. For columns the image is the coefficients themselves, and k is 1.
For inner products it is the Gram matrix times the coefficients, the function's values on the rows, and k is 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

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

_LEADING = 128
"""Principal axes of a Gram matrix that a preconditioner tells apart."""

_POWERS = 3
"""Multiplications with the Gram matrix that find them; approximate ones precondition as well."""


class Preconditioner(Protocol):
    """An approximate inverse of the Hessian."""

    def times(self, vectors: FloatMatrix) -> FloatMatrix:
        """Its product with vectors."""

    def of(self, columns: NDArray[np.bool_]) -> Preconditioner:
        """That of some columns alone."""


class SharedRows(Protocol):
    """Rows of regressions, in double precision and in that of steps.

    Attributes:
        n_rows: Their number n.
        n_coefficients: Coefficients of a function of a row, the intercept aside.
        dtype: The precision of steps: single, unless that saves nothing or could overflow.
    """

    n_rows: int
    n_coefficients: int
    dtype: np.dtype[Any]

    def vectors(self, coefficients: FloatMatrix) -> FloatMatrix:
        """Coefficients, shape (n_columns, n_coefficients + 1), and their image."""

    def logits(self, vectors: FloatMatrix) -> FloatMatrix:
        """Values of the functions on the rows, shape (n_columns, n)."""

    def gathered(self, of_rows: FloatMatrix) -> FloatMatrix:
        """Coefficients of the gradient of a sum over the rows, from derivatives by logits (n_columns, n)."""

    def preconditioner(self, penalty: FloatMatrix, blocks: Sequence[BlockHessian]) -> Preconditioner:
        """From the penalties, shape (n_columns, 1), and the second derivatives by the logits."""


class ColumnRows:
    """Rows by their columns. Many are processed in parts and converted to double precision a part at a time.

    Args:
        X: Shape (n, d).
    """

    def __init__(self, X: FloatMatrix) -> None:
        self.n_rows, self.n_coefficients = X.shape
        self._parts = parts(len(X))
        self._exact = X if are_many(len(X)) else np.asarray(X, dtype=np.float64)
        self._approximate = _in_step_precision(X)
        self.dtype = self._approximate.dtype

    def vectors(self, coefficients: FloatMatrix) -> FloatMatrix:
        """The coefficients; see `SharedRows`."""
        return coefficients[None]

    def logits(self, vectors: FloatMatrix) -> FloatMatrix:
        """See `SharedRows`."""
        X = self._approximate if vectors.dtype == self.dtype else self._exact
        weight = np.ascontiguousarray(vectors[0, :, :-1])
        logits = np.empty((len(weight), self.n_rows), dtype=vectors.dtype)
        for part in self._parts:
            # Twice as fast as the product in the other order, which would need no transpose.
            logits[:, part] = (X[part].astype(vectors.dtype, copy=False) @ weight.T).T
        logits += vectors[0, :, -1:]
        return logits

    def gathered(self, of_rows: FloatMatrix) -> FloatMatrix:
        """See `SharedRows`."""
        X = self._approximate if of_rows.dtype == self.dtype else self._exact
        sums = np.zeros((len(of_rows), self.n_coefficients + 1), dtype=of_rows.dtype)
        for part in self._parts:
            sums[:, :-1] += of_rows[:, part] @ X[part].astype(of_rows.dtype, copy=False)
        sums[:, -1] = of_rows.sum(axis=1)
        return sums

    def preconditioner(self, penalty: FloatMatrix, blocks: Sequence[BlockHessian]) -> Preconditioner:
        """The inverse of the Hessian's diagonal, of combinations that of an upper bound of it."""
        curvature = _on_shared(blocks)
        diagonal = np.full((len(penalty), self.n_coefficients + 1), FREE, dtype=self.dtype)
        diagonal[:, :-1] = penalty
        for part in self._parts:
            diagonal[:, :-1] += curvature[:, part] @ np.square(self._approximate[part])
        diagonal[:, -1] += curvature.sum(axis=1)
        return _Diagonal(1 / diagonal)


class _Diagonal(NamedTuple):
    inverse: FloatMatrix

    def times(self, vectors: FloatMatrix) -> FloatMatrix:
        return self.inverse * vectors

    def of(self, columns: NDArray[np.bool_]) -> _Diagonal:
        return _Diagonal(self.inverse[columns])


class GramRows:
    """Rows by their inner products.

    Args:
        gram: Inner products of all pairs, shape (n, n).
    """

    def __init__(self, gram: FloatMatrix) -> None:
        self.n_rows = self.n_coefficients = len(gram)
        self._exact = np.asarray(gram, dtype=np.float64)
        self._approximate = _in_step_precision(gram)
        self.dtype = self._approximate.dtype
        self._norms = np.diag(self._approximate)
        self._axes, self._on_rows = self._leading()

    def _leading(self) -> tuple[FloatMatrix, FloatMatrix]:
        """Principal axes as functions of a row: coefficients and values on the rows, both of shape (n, k).

        They are found by subspace iteration (Halko, Martinsson & Tropp 2011, SIAM Review 53, algorithm 4.4).
        """
        gram = self._approximate
        count = min(_LEADING, self.n_rows)
        block = np.random.default_rng(0).standard_normal((self.n_rows, count)).astype(self.dtype)
        for _ in range(_POWERS):
            block = np.linalg.qr(gram @ block)[0]
        values = gram @ block
        squares, turn = np.linalg.eigh(block.T.astype(np.float64) @ values)
        kept = squares > 1e-5 * squares[-1]
        turn = (turn[:, kept] / np.sqrt(squares[kept])).astype(self.dtype)
        return block @ turn, values @ turn

    def _axes_on(self, block: BlockHessian) -> FloatMatrix:
        """Values of the leading axes on the rows of a block, shape (m, k)."""
        if block.combinations is None:
            return self._on_rows
        return block.combinations.of(self._on_rows.T).T

    def vectors(self, coefficients: FloatMatrix) -> FloatMatrix:
        """See `SharedRows`."""
        gram = self._approximate if coefficients.dtype == self.dtype else self._exact
        vectors = np.empty((2, *coefficients.shape), dtype=coefficients.dtype)
        vectors[0] = coefficients
        np.matmul(np.ascontiguousarray(coefficients[:, :-1]), gram, out=vectors[1, :, :-1])
        vectors[1, :, -1] = coefficients[:, -1]
        return vectors

    def logits(self, vectors: FloatMatrix) -> FloatMatrix:
        """See `SharedRows`."""
        logits: FloatMatrix = vectors[1, :, :-1] + vectors[1, :, -1:]
        return logits

    def gathered(self, of_rows: FloatMatrix) -> FloatMatrix:
        """See `SharedRows`."""
        return np.column_stack([of_rows, of_rows.sum(axis=1)])

    def preconditioner(self, penalty: FloatMatrix, blocks: Sequence[BlockHessian]) -> Preconditioner:
        """The inverse of the Hessian's diagonal along the leading axes, and of its mean along the others.

        It has to be exact along the leading axes: coefficients that the Gram matrix maps to zero grow where the
        approximation is larger than the Hessian.
        """
        curvature = _on_shared(blocks)
        leading = np.concatenate([one.curvature @ np.square(self._axes_on(one)) for one in blocks])
        rest = curvature @ self._norms - leading.sum(axis=1)
        tail = penalty[:, 0] + np.maximum(rest, 0) / max(self.n_rows - leading.shape[1], 1)
        intercept = 1 / (curvature.sum(axis=1) + FREE)
        inverse = (1 / tail)[:, None]
        return _LowRank(1 / (penalty + leading) - inverse, inverse, intercept, self._axes, self._on_rows)


class _LowRank(NamedTuple):
    leading: FloatMatrix
    rest: FloatMatrix
    intercept: FloatMatrix
    axes: FloatMatrix
    on_rows: FloatMatrix

    def times(self, vectors: FloatMatrix) -> FloatMatrix:
        along = (vectors[1, :, :-1] @ self.axes) * self.leading
        product: FloatMatrix = self.rest * vectors
        product[0, :, :-1] += along @ self.axes.T
        product[1, :, :-1] += along @ self.on_rows.T
        product[:, :, -1] = vectors[:, :, -1] * self.intercept
        return product

    def of(self, columns: NDArray[np.bool_]) -> _LowRank:
        return self._replace(
            leading=self.leading[columns], rest=self.rest[columns], intercept=self.intercept[columns]
        )


def _on_shared(blocks: Sequence[BlockHessian]) -> FloatMatrix:
    """Curvature of each logit, shape (n_columns, n); that of a combination counts for its rows."""
    curvature: FloatMatrix = np.concatenate(
        [
            one.curvature if one.combinations is None else one.combinations.back(one.curvature)
            for one in blocks
        ]
    )
    return curvature


def _in_step_precision(X: FloatMatrix) -> FloatMatrix:
    """Numbers in the precision of steps: single, unless that saves nothing or could overflow."""
    is_double = X.size <= _SMALL or not -_LARGE < X.min() <= X.max() < _LARGE
    rows: FloatMatrix = X.astype(np.float64 if is_double else np.float32, copy=False)
    return rows
