"""Logistic regressions on rows of which only the inner products are known.

With an L2 penalty the solution is a combination of the rows (Kimeldorf & Wahba 1971, J. Math. Anal. Appl. 33): the
logits are the Gram matrix times coefficients, plus a bias. A constant in the Gram matrix stands for the bias in the
equations of a step, see `logistic_newton`; the bias is free all the same, as the right side pays back what the
constant is penalized for. Regressions of two outcomes on the same rows are solved side by side, each until it is
done; any other alone, on its own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_blocks import Block, blocks_of
from ensemble_minerals.members.heads.logistic_newton import NewtonEquations, RowKernel
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem, Solution
from ensemble_minerals.members.heads.logistic_rows import in_step_precision

FloatMatrix = NDArray[np.floating[Any]]

_AXES = 20
"""Principal axes of a Gram matrix that a preconditioner tells apart."""

_MOST = 128
"""Axes of all outcomes of a softmax, about: they are inverted as one matrix."""

_BIAS = 10.0
"""Square of the axis of the biases, in mean squares of a row."""

_POWERS = 2
"""Multiplications with the Gram matrix that find the axes; approximate ones precondition as well."""

_FORCING, _NEAR = 0.1, 100.0
"""A step's equations are solved until the square of their residual has fallen to this share, and closer near the
solution: to so much times the root of what the right side's square has fallen to."""

_CLOSER = 1e-6
"""Factor of that share where no loss falls along the step: from there on, steps are in double precision, too."""

_LAST = 15.0
"""A step of so many tolerances is the last: it leads so much closer (for 68 classes, to 1e-4 in probabilities)."""

_LONGEST = 8
"""Limit of what a step is multiplied by."""

_HALVINGS = 20
"""Limit of halvings of a step."""

_SUFFICIENT = 1e-4
"""Share of the decrease that a step promises and that it must reach (Armijo's condition)."""

_ROUNDING = 1e-12
"""Relative change of a loss that may be rounding."""

_CARRIED = 0.75
"""Share of regressions that must be unsolved, else the solved ones are left out of further steps."""


class ProductRows:
    """Rows that regressions share, by their inner products.

    Args:
        gram: Inner products of all pairs, shape (n, n).

    Attributes:
        approximate: The same in the precision of steps.
        axes: Values of the rows on the principal axes, the longest first, shape (n, k).
    """

    def __init__(self, gram: FloatMatrix) -> None:
        self.gram = np.asarray(gram, dtype=np.float64)
        self.n_rows = len(gram)
        self.approximate = in_step_precision(self.gram)
        self.axes = self._leading()

    def _leading(self) -> FloatMatrix:
        """The axes, by subspace iteration (Halko, Martinsson & Tropp 2011, SIAM Review 53, algorithm 4.4)."""
        block = np.random.default_rng(0).standard_normal((self.n_rows, min(_AXES, self.n_rows)))
        for _ in range(_POWERS):
            block = np.linalg.qr(self.gram @ block)[0]
        values = self.gram @ block
        squares, turn = np.linalg.eigh(block.T @ values)
        kept = squares > 1e-12 * squares[-1]
        axes: FloatMatrix = values @ (turn[:, kept] / np.sqrt(squares[kept]))[:, ::-1]
        return axes

    def logits(self, coefficients: FloatMatrix) -> FloatMatrix:
        """Logits of the rows, shape (n_columns, n), by coefficients, the bias last, shape (n_columns, n + 1)."""
        logits: FloatMatrix = coefficients[:, :-1] @ self.gram + coefficients[:, -1:]
        return logits

    def solve(
        self,
        problems: Sequence[LogisticProblem],
        start: Sequence[Solution] | None,
        *,
        tol: float,
        max_iter: int,
    ) -> list[Solution]:
        """Solve regressions on these rows; see `solve_logistic`."""
        solutions: list[Solution] = []
        for block in blocks_of(problems):
            own = None if start is None else start[len(solutions) : len(solutions) + len(block.problems)]
            solutions += _BlockSolver(self, block).solve(own, tol, max_iter)
        return solutions


class _Point(NamedTuple):
    """The regressions of a block at some coefficients; k is the number of regressions.

    Attributes:
        coefficients: Of the block's rows, shape (n_columns, m).
        products: The Gram matrix times them.
        bias: Shape (n_columns, 1).
        losses: Penalized, shape (k, 1).
        residual: Negative derivatives of the losses by the logits, shape (n_columns, m).
        proba: Shape (n_columns, m).
    """

    coefficients: FloatMatrix
    products: FloatMatrix
    bias: FloatMatrix
    losses: FloatMatrix
    residual: FloatMatrix
    proba: FloatMatrix


class _BlockSolver:
    """Solves a block's regressions on its own rows: shared rows that have a weight in it, or combinations of some.

    Args:
        rows: The shared rows.
        block: The regressions on them.
    """

    def __init__(self, rows: ProductRows, block: Block) -> None:
        problems, self._combinations = block.problems, block.combinations
        self._n_shared = rows.n_rows
        if self._combinations is None:
            self._used = np.flatnonzero(np.any([one.weights > 0 for one in problems], axis=0))
            problems = [
                replace(one, targets=one.targets[self._used], weights=one.weights[self._used])
                for one in problems
            ]
        else:
            self._used, self._combinations = self._combinations.restricted()
        pairs = slice(None) if len(self._used) == rows.n_rows else np.ix_(self._used, self._used)
        self._gram, self._approximate = rows.gram[pairs], rows.approximate[pairs]
        self._take(problems)
        axes = rows.axes[self._used]
        if self._block.is_softmax:
            axes = axes[:, : max(4, _MOST // self._block.n_columns)]
        norms = np.diag(self._gram)
        rest, ones = np.maximum(norms - np.square(axes).sum(axis=1), 0.0), np.ones(len(axes))
        bias = np.sqrt(_BIAS * norms.mean())
        if self._combinations is not None:
            axes, ones = self._combinations.of(axes.T).T, self._combinations.of(ones[None])[0]
            rest = self._combinations.squared(rest)
            norms = rest + np.square(axes).sum(axis=1)
        axes = np.column_stack([bias * ones, axes])
        self._exact = RowKernel(self._times, ones, axes, rest, norms)
        steps = (values.astype(self._approximate.dtype) for values in (axes, rest, norms))
        self._kernel = RowKernel(self._times, ones, *steps)

    def _take(self, problems: Sequence[LogisticProblem]) -> None:
        self._problems = problems
        self._block = Block([replace(one, combinations=None) for one in problems])
        self._penalty = np.repeat([1.0 / one.C for one in problems], [one.n_columns for one in problems])[
            :, None
        ]

    def solve(self, start: Sequence[Solution] | None, tol: float, max_iter: int) -> list[Solution]:
        """Solve the regressions, from `start` or from zero."""
        solutions: dict[int, Solution] = {}
        positions, unsolved = np.arange(len(self._problems)), np.ones(len(self._problems), dtype=bool)
        point = self._start(start)
        first, closer = np.zeros((1, 1)), 1.0
        for _ in range(max_iter):
            newton = self._equations(point)
            first = np.maximum(first, newton.squares)
            share = np.minimum(_FORCING, _NEAR * np.sqrt(newton.squares / np.maximum(first, 1e-300)))
            moved, squares = self._search(point, newton, newton.solve(closer * share))
            if moved is None and closer < 1.0:
                break
            closer = _CLOSER if moved is None else 1.0
            if moved is None:
                self._kernel = self._exact
                continue
            point = moved
            unsolved = ~(squares <= self._block.n_columns / len(squares) * (_LAST * tol) ** 2)[:, 0]
            if not unsolved.any():
                break
            if np.count_nonzero(unsolved) <= _CARRIED * len(unsolved):
                solutions |= self._split(point, positions[~unsolved], ~unsolved, np.zeros_like(unsolved))
                self._take([self._problems[number] for number in np.flatnonzero(unsolved).tolist()])
                point = _Point(*(values[unsolved] for values in point))
                positions, first, unsolved = positions[unsolved], first[unsolved], unsolved[unsolved]
        solutions |= self._split(point, positions, np.ones_like(unsolved), unsolved)
        return [solutions[position] for position in sorted(solutions)]

    def _start(self, start: Sequence[Solution] | None) -> _Point:
        n_columns = self._block.n_columns
        coefficients, bias = np.zeros((n_columns, len(self._kernel.ones))), np.zeros((n_columns, 1))
        if start is not None:
            own = [one.weight[self._used] if one.combined is None else one.combined for one in start]
            coefficients = np.concatenate([one.T for one in own])
            bias = np.concatenate([one.bias for one in start])[:, None]
        return self._evaluate(coefficients, self._times(coefficients), bias)

    def _evaluate(self, coefficients: FloatMatrix, products: FloatMatrix, bias: FloatMatrix) -> _Point:
        losses, gradient, proba = self._block.evaluate(
            products + bias * self._kernel.ones, np.dtype(np.float64)
        )
        penalized = losses[:, None] + 0.5 * self._sums(self._penalty * coefficients * products)
        return _Point(coefficients, products, bias, penalized, -gradient, proba)

    def _sums(self, values: FloatMatrix) -> FloatMatrix:
        """The sum for each regression, shape (k, 1)."""
        sums: FloatMatrix = values.sum(axis=None if self._block.is_softmax else 1, keepdims=True)
        return sums

    def _equations(self, point: _Point) -> NewtonEquations:
        return NewtonEquations(
            self._kernel,
            self._penalty,
            self._block.weights,
            point.proba,
            point.residual - self._penalty * point.coefficients,
            point.coefficients @ self._kernel.ones,
            is_softmax=self._block.is_softmax,
        )

    def _split(
        self,
        point: _Point,
        positions: NDArray[np.intp],
        some: NDArray[np.bool_],
        unsolved: NDArray[np.bool_],
    ) -> dict[int, Solution]:
        """The solutions of some regressions, by their positions; biases of a softmax are shifted to sum to zero."""
        solutions = {}
        for position, number in zip(positions.tolist(), np.flatnonzero(some).tolist(), strict=True):
            columns = slice(None) if self._block.is_softmax else slice(number, number + 1)
            own, bias = point.coefficients[columns], point.bias[columns, 0]
            weight = np.zeros((self._n_shared, len(own)))
            weight[self._used] = self._on_shared(own).T
            shifted = bias if len(bias) == 1 else bias - bias.mean()
            combined = None if self._combinations is None else own.T
            solutions[position] = Solution(weight, shifted, not unsolved[number], combined)
        return solutions

    def _on_shared(self, values: FloatMatrix) -> FloatMatrix:
        return values if self._combinations is None else self._combinations.back(values)

    def _times(self, coefficients: FloatMatrix) -> FloatMatrix:
        """The Gram matrix times coefficients, in their precision."""
        gram = self._gram if coefficients.dtype == self._gram.dtype else self._approximate
        products: FloatMatrix = self._on_shared(coefficients) @ gram
        return products if self._combinations is None else self._combinations.of(products)

    def _search(
        self, point: _Point, newton: NewtonEquations, change: FloatMatrix
    ) -> tuple[_Point | None, FloatMatrix]:
        """Go along a change of the coefficients, for each regression as far as its loss falls.

        Far from the solution, where losses of rows that are told apart only fall off, longer steps may be better.

        Returns:
            Where that leads, None if no loss falls; and the square of each regression's change in units of standard
            errors, shape (k, 1).
        """
        products = self._times(change)
        bias = newton.bias(change, products)
        gradient = point.residual - self._penalty * point.coefficients
        logits = products + bias * self._kernel.ones
        slope = -self._sums(gradient * products + bias * point.residual * self._kernel.ones)
        squares = self._sums(logits * newton.bent(logits) + self._penalty * change * products)

        def at(size: FloatMatrix) -> _Point:
            return self._evaluate(
                point.coefficients + size * change, point.products + size * products, point.bias + size * bias
            )

        size, moved = np.ones_like(slope), at(np.ones_like(slope))
        while (failed := ~(moved.losses <= self._allowed(point, size * slope))).any():
            size[failed] *= 0.5
            if size.min() < 0.5**_HALVINGS:
                size[failed] = 0.0
                return at(size) if size.any() else None, squares
            moved = at(size)
        while (squares > 1).any() and size.max() < _LONGEST:
            longer = at(2 * size)
            better = longer.losses < moved.losses
            if not better.any():
                break
            size = np.where(better, 2 * size, size)
            moved = longer if better.all() else at(size)
        return moved, squares

    def _allowed(self, point: _Point, promised: FloatMatrix) -> FloatMatrix:
        """Losses that are low enough, where the slope promises this change."""
        allowed: FloatMatrix = point.losses + _SUFFICIENT * promised + _ROUNDING * np.abs(point.losses)
        return allowed
