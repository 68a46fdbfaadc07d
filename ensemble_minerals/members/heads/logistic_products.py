"""Rows of which only the inner products are known, as logistic regressions share them.

With an L2 penalty the solution is a combination of the rows (Kimeldorf & Wahba 1971, J. Math. Anal. Appl. 33): the
logits are the Gram matrix times coefficients, plus a bias. See `logistic_side_by_side` for how they are solved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_blocks import Block
from ensemble_minerals.members.heads.logistic_problem import Solution
from ensemble_minerals.members.heads.logistic_rows import step_precision

FloatMatrix = NDArray[np.floating[Any]]

_FEWEST_AXES, _AXES, _ROWS_AN_AXIS = 4, 20, 40
"""Principal axes of a Gram matrix that a preconditioner tells apart: one for so many rows, within limits. Of few rows
a product takes less time than a better preconditioner."""

_MOST = 64
"""Axes of all outcomes of a softmax, about: they are inverted as one matrix."""

_BIAS = 10.0
"""Square of the axis of the biases, in mean squares of a row."""

_POWERS = 2
"""Multiplications with the Gram matrix that find the axes; approximate ones precondition as well."""

_STEP = 64
"""Rows of blocks are filled up to a multiple of this, so that those with a few rows more or less have one shape."""

_SMALL = 1_000_000
"""Multiplications of a product up to which OpenBLAS computes it without copying the matrices, in half of the time."""


class ProductRows:
    """Rows that regressions share, by their inner products.

    Args:
        gram: Inner products of all pairs, shape (n, n).

    Attributes:
        dtype: The precision of steps.
        axes: Values of the rows on the principal axes, the longest first, shape (n, n_axes); zero beyond the rank.
    """

    def __init__(self, gram: FloatMatrix) -> None:
        self.gram = np.asarray(gram, dtype=np.float64)
        self.n_rows = len(gram)
        self.dtype = step_precision(self.gram)
        self._parts: dict[bool, tuple[FloatMatrix, FloatMatrix]] = {}
        self.axes = self._leading()

    def _leading(self) -> FloatMatrix:
        """The axes, by subspace iteration (Halko, Martinsson & Tropp 2011, SIAM Review 53, algorithm 4.4)."""
        count = min(_AXES, max(_FEWEST_AXES, self.n_rows // _ROWS_AN_AXIS))
        block = np.random.default_rng(0).standard_normal((self.n_rows, min(count, self.n_rows)))
        for _ in range(_POWERS):
            block = np.linalg.qr(self.gram @ block)[0]
        values = self.gram @ block
        squares, turn = np.linalg.eigh(block.T @ values)
        kept = squares > 1e-12 * squares[-1]
        axes = np.zeros((self.n_rows, count))
        axes[:, : kept.sum()] = values @ (turn[:, kept] / np.sqrt(squares[kept]))[:, ::-1]
        return axes

    def parts(self, used: NDArray[np.intp], n_columns: int) -> tuple[FloatMatrix, FloatMatrix]:
        """Inner products of some rows, in parts of columns that are quick to multiply with.

        Args:
            used: Positions of the rows, shape (m,), ascending.
            n_columns: Lines of what they are multiplied with.

        Returns:
            In double precision and in that of steps: of shape (1, m, m), or filled up with zeros (n_parts, n_filled,
            width).
        """
        whole, filled = len(used) == self.n_rows, fill_up(len(used))
        in_parts = n_columns * filled * _STEP <= _SMALL
        if whole and in_parts in self._parts:
            return self._parts[in_parts]
        exact = self.gram if whole else self.gram[np.ix_(used, used)]
        if in_parts:
            square = np.pad(exact, ((0, filled - len(used)),) * 2)
            exact = np.ascontiguousarray(square.reshape(filled, -1, _STEP).transpose(1, 0, 2))
        else:
            exact = exact[None]
        both = exact, exact.astype(self.dtype, copy=False)
        if whole:
            self._parts[in_parts] = both
        return both

    def logits(self, coefficients: FloatMatrix) -> FloatMatrix:
        """Logits of the rows, shape (n_columns, n), by coefficients, the bias last, shape (n_columns, n + 1)."""
        logits: FloatMatrix = coefficients[:, :-1] @ self.gram + coefficients[:, -1:]
        return logits


class OwnRows:
    """The rows of a block: shared rows that have a weight in it, or combinations of some.

    Attributes:
        used: Positions of the shared rows.
        gram: Their inner products, in parts; `approximate` in the precision of steps. See `ProductRows.parts`.
        combinations: What the rows are of those; None if they are those.
        n_filled: Number of the rows, and of empty ones that fill them up.
        problems: The regressions on the rows.
        ones: Of each row the share of the bias, shape (m,).
        axes: Values of the rows on a long axis for the bias, and on the leading axes, shape (m, n_axes).
        rest: What the axes leave of each row's square, shape (m,).
        norms: The rows' squares, shape (m,).
    """

    def __init__(
        self,
        shared: ProductRows,
        block: Block,
        start: Sequence[Solution] | None,
        tol: float,
        place: tuple[int, int],
    ) -> None:
        self.n_shared, self.start, self.tol, self.place = shared.n_rows, start, tol, place
        self.problems, self.combinations = block.problems, block.combinations
        self.is_softmax, self.n_columns = block.is_softmax, block.n_columns
        if self.combinations is None:
            self.used = np.flatnonzero(np.any([one.weights > 0 for one in self.problems], axis=0))
            self.problems = [
                replace(one, targets=one.targets[self.used], weights=one.weights[self.used])
                for one in self.problems
            ]
        else:
            self.used, self.combinations = self.combinations.restricted()
        self.gram, self.approximate = shared.parts(self.used, self.n_columns)
        axes = shared.axes[self.used]
        if self.is_softmax:
            axes = axes[:, : max(4, _MOST // self.n_columns)]
        norms = np.diag(shared.gram)[self.used]
        rest, ones = np.maximum(norms - np.square(axes).sum(axis=1), 0.0), np.ones(len(axes))
        bias = np.sqrt(_BIAS * norms.mean())
        if self.combinations is not None:
            axes, ones = self.combinations.of(axes.T).T, self.combinations.of(ones[None])[0]
            rest = self.combinations.squared(rest)
            norms = rest + np.square(axes).sum(axis=1)
        self.ones, self.rest, self.norms = ones, rest, norms
        self.axes = np.column_stack([bias * ones, axes])
        self.n_filled = fill_up(len(ones))

    def filled(self, values: FloatMatrix) -> FloatMatrix:
        """Values of the rows, along the last axis, with zeros for empty rows."""
        filled: FloatMatrix = np.zeros((*values.shape[:-1], self.n_filled), dtype=values.dtype)
        filled[..., : values.shape[-1]] = values
        return filled


def fill_up(n_rows: int) -> int:
    """Number of rows with the empty ones that fill them up.

    Example:
        >>> fill_up(65)
        128
    """
    return -(-n_rows // _STEP) * _STEP
