"""L2-regularized logistic regressions that share their rows, solved as one problem.

The objective is scikit-learn's: ``C * sum of weighted log-losses + 0.5 * ||weight||^2``, with free intercepts, a
softmax over the outcomes of a subproblem, and a sigmoid where there are two outcomes.

Newton's method with steps found by conjugate gradients (Nocedal & Wright 2006, "Numerical Optimization", section
7.1; for logistic regression Lin, Weng & Keerthi 2008, JMLR 9). A step only needs the right direction, so its products
with more than a few rows are in single precision; losses and gradients, which decide where the solution is, are in
double. All problems take their steps together, each with step sizes of its own: a product of the rows with a few
columns costs little more than a product with one. The regression of a subproblem whose rows SMOTE made is solved on
the rows that they combine. Rows that are given by their inner products are solved in `logistic_side_by_side`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_blocks import blocks_of
from ensemble_minerals.members.heads.logistic_hessian import Hessian, Layout
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem, Solution
from ensemble_minerals.members.heads.logistic_products import ProductRows
from ensemble_minerals.members.heads.logistic_rows import ColumnRows
from ensemble_minerals.members.heads.logistic_side_by_side import solve_products

FloatMatrix = NDArray[np.floating[Any]]

SharedRows: TypeAlias = ColumnRows | ProductRows
"""Rows that regressions share."""

_TOLERANCE = 1e-4
_MAX_ITER = 100

_ROWS_OF_TOLERANCE = 1000
"""With more rows than this, the tolerance grows."""

_FORCING = 0.5
"""A step's equations are solved until their residual has fallen to this share, and closer near the solution."""

_MAX_CONJUGATE = 200
"""Limit of conjugate gradients in a step."""

_HALVINGS = 40
"""Limit of halvings of a step."""

_SUFFICIENT = 1e-4
"""Share of the decrease that a step promises and that it must reach (Armijo's condition)."""

_ROUNDING = 1e-12
"""Relative change of a loss that may be rounding."""

_CARRIED = 0.75
"""Share of columns that must be unfinished, else the finished ones are left out of a step's further products."""


def solve_logistic(
    X: FloatMatrix | SharedRows,
    problems: Sequence[LogisticProblem],
    *,
    start: Sequence[Solution] | None = None,
    tol: float = _TOLERANCE,
    max_iter: int = _MAX_ITER,
) -> list[Solution]:
    """Solve logistic regressions that share their rows.

    Args:
        X: Rows, shape (n, d), or as regressions share them.
        problems: The regressions.
        start: Solutions to start from, such as those of a stronger penalty; zero if None.
        tol: Stops when the gradient's norm is at most this times the square root of the number of columns, each
            parameter being measured in units of its standard error, the inverse square root of its curvature. At the
            default, probabilities of unseen rows of unit length agree with those of the exact solution to about 1e-4
            or better. For more than a thousand rows the tolerance grows with the square
            root of their number, because standard errors shrink.
        max_iter: Limit of Newton steps.

    Returns:
        A solution for each problem.

    Example:
        >>> X, y = np.array([[-1.0], [1.0], [-0.5], [0.5]]), np.array([0, 1, 1, 0])
        >>> (solution,) = solve_logistic(X, [LogisticProblem(y, np.ones(4), 2, C=1.0)])
        >>> solution.weight.round(2), solution.converged
        (array([[0.31]]), True)
    """
    shared = ColumnRows(X) if isinstance(X, np.ndarray) else X
    (solutions,) = solve_side_by_side([shared], [problems], starts=[start], tol=tol, max_iter=max_iter)
    return solutions


def solve_side_by_side(
    rows: Sequence[SharedRows],
    problems: Sequence[Sequence[LogisticProblem]],
    *,
    starts: Sequence[Sequence[Solution] | None] | None = None,
    tol: float = _TOLERANCE,
    max_iter: int = _MAX_ITER,
) -> list[list[Solution]]:
    """Solve regressions on several sets of rows, those on rows known by inner products in common steps.

    Args:
        rows: Each set is shared by some regressions.
        problems: Of each set.
        starts: For each set solutions to start from, or None.
        tol: See `solve_logistic`.
        max_iter: Limit of Newton steps.

    Returns:
        A solution for each problem of each set. A set's do not depend on the other sets, to the last bit.
    """
    begins = [None] * len(rows) if starts is None else starts
    tols = [tol * max(1.0, float(np.sqrt(one.n_rows / _ROWS_OF_TOLERANCE))) for one in rows]
    by_columns = {
        number: LogisticStack(one, problems[number]).minimize(tols[number], max_iter, begins[number])[0]
        for number, one in enumerate(rows)
        if isinstance(one, ColumnRows)
    }
    known = [(number, one) for number, one in enumerate(rows) if isinstance(one, ProductRows)]
    numbers = [number for number, _ in known]
    solved = solve_products(
        [one for _, one in known],
        [problems[number] for number in numbers],
        [begins[number] for number in numbers],
        [tols[number] for number in numbers],
        max_iter,
    )
    found = by_columns | dict(zip(numbers, solved, strict=True))
    return [found[number] for number in range(len(rows))]


class _Point(NamedTuple):
    """The objective at some parameters.

    Attributes:
        parameters: Coefficients, the intercept last, shape (n_columns, n_coefficients + 1).
        losses: Penalized loss of each problem.
        gradient: Of the same shape.
        proba: For each block the probabilities of its columns, in the precision of steps.
    """

    parameters: FloatMatrix
    losses: FloatMatrix
    gradient: FloatMatrix
    proba: list[FloatMatrix]


class LogisticStack:
    """Problems that share their rows, one after the other: a row of coefficients for each column of each problem.

    Attributes:
        layout: Which columns are of which problem.
    """

    def __init__(self, rows: ColumnRows, problems: Sequence[LogisticProblem]) -> None:
        self.rows, self.problems = rows, problems
        counts = np.array([problem.n_columns for problem in problems], dtype=np.intp)
        self.layout = Layout(counts)
        self._penalty = np.repeat([1.0 / problem.C for problem in problems], counts)[:, None]
        self._blocks = blocks_of(problems)
        self._slices = self.layout.slices([block.n_columns for block in self._blocks])

    def minimize(
        self, tol: float, max_iter: int, start: Sequence[Solution] | None = None
    ) -> tuple[list[Solution], int]:
        """Solve every problem, from `start` or from zero; the solutions, and the number of Newton steps."""
        solutions: dict[int, Solution] = {}
        stack, positions = self, np.arange(len(self.problems))
        point = stack.evaluate(
            np.zeros((self.layout.n_columns, self.rows.n_coefficients + 1))
            if start is None
            else joined(start)
        )
        first: FloatMatrix | None = None
        number = 0
        while True:
            hessian = stack.hessian(point)
            residual = -point.gradient.astype(self.rows.dtype)
            scaled = hessian.preconditioner * residual
            squares = stack.layout.sums(residual * scaled)
            first = squares if first is None else first
            unsolved = ~(squares <= stack.layout.counts * tol**2)
            moved = None
            if unsolved.any() and number < max_iter:
                columns = unsolved[stack.layout.problem_of]
                if np.count_nonzero(columns) <= _CARRIED * len(columns):
                    # Solved problems would be carried along through every product.
                    solutions |= stack.split(point, unsolved, positions)
                    positions, first = positions[unsolved], first[unsolved]
                    stack = LogisticStack(
                        self.rows, [self.problems[position] for position in positions.tolist()]
                    )
                    point = stack.evaluate(point.parameters[columns])
                    continue
                forcing = np.minimum(_FORCING**2, np.sqrt(np.sqrt(squares / np.maximum(first, 1e-300))))
                target = np.where(
                    unsolved, np.maximum(forcing * squares, stack.layout.counts * (0.3 * tol) ** 2), np.inf
                )
                step = _conjugate_gradients(hessian, residual, scaled, squares, target)
                moved = stack.search(point, step)
            if moved is None:
                solutions |= stack.split(point, unsolved, positions)
                return [solutions[position] for position in range(len(self.problems))], number
            point = moved
            number += 1

    def split(
        self, point: _Point, unsolved: NDArray[np.bool_], positions: NDArray[np.intp]
    ) -> dict[int, Solution]:
        """The solution of each problem, by its position; the intercepts of a softmax are shifted to sum to zero."""
        solutions = {}
        blocks = self.layout.slices(self.layout.counts.tolist())
        for position, block, is_unsolved in zip(positions.tolist(), blocks, unsolved.tolist(), strict=True):
            weight, bias = point.parameters[block, :-1].T, point.parameters[block, -1]
            shifted = bias if len(bias) == 1 else bias - bias.mean()
            solutions[position] = Solution(weight, shifted, not is_unsolved)
        return solutions

    def evaluate(self, parameters: FloatMatrix) -> _Point:
        """Losses, gradient and probabilities, in double precision."""
        losses = self.layout.sums(0.5 * self._penalty * np.square(parameters[:, :-1]))
        logits = self.rows.logits(parameters)
        probas, of_problems = [], []
        for block, columns in zip(self._blocks, self._slices, strict=True):
            of_block, logits[columns], proba = block.evaluate(logits[columns], self.rows.dtype)
            of_problems.append(of_block)
            probas.append(proba)
        losses += np.concatenate(of_problems)
        gradient = self.rows.gathered(logits)
        gradient[:, :-1] += self._penalty * parameters[:, :-1]
        return _Point(parameters, losses, gradient, probas)

    def hessian(self, point: _Point) -> Hessian:
        """The Hessian at a point."""
        blocks = [block.hessian(proba) for block, proba in zip(self._blocks, point.proba, strict=True)]
        penalty = self._penalty.astype(self.rows.dtype)
        return Hessian(self.layout, self.rows, penalty, blocks, self.rows.preconditioner(penalty, blocks))

    def search(self, point: _Point, step: FloatMatrix) -> _Point | None:
        """Go along the step, for each problem as far as its loss falls; None if no loss falls."""
        step = step.astype(np.float64)
        slope = self.layout.sums(point.gradient * step)
        size = np.ones(len(self.problems))
        for _ in range(_HALVINGS):
            moved = self.evaluate(point.parameters + size[self.layout.problem_of, None] * step)
            allowed = point.losses + _SUFFICIENT * size * slope + _ROUNDING * np.abs(point.losses)
            failed = ~(moved.losses <= allowed)
            if not failed.any():
                return moved
            size[failed] *= 0.5
        size[failed] = 0.0
        return (
            self.evaluate(point.parameters + size[self.layout.problem_of, None] * step)
            if size.any()
            else None
        )


def _conjugate_gradients(
    hessian: Hessian,
    residual: FloatMatrix,
    scaled: FloatMatrix,
    squares: FloatMatrix,
    target: FloatMatrix,
) -> FloatMatrix:
    """The coefficients of Newton's step.

    Args:
        hessian: Where the step starts.
        residual: The negative gradient there.
        scaled: The preconditioner's product with it.
        squares: For each problem the squared norm of the residual, by the preconditioner.
        target: At which squared norm it stops.
    """
    steps: FloatMatrix = np.zeros_like(residual)
    columns = np.arange(len(steps))  # those that are carried through the products
    step, direction = np.zeros_like(steps), scaled
    for _ in range(_MAX_CONJUGATE):
        unfinished = squares > target
        if not unfinished.any():
            break
        layout = hessian.layout
        kept = unfinished[layout.problem_of]
        if np.count_nonzero(kept) <= _CARRIED * layout.n_columns:
            steps[columns] = step
            columns, step = columns[kept], step[kept]
            residual, direction = residual[kept], direction[kept]
            squares, target = squares[unfinished], target[unfinished]
            hessian = hessian.of(unfinished)
            layout, unfinished = hessian.layout, unfinished[unfinished]
        product = hessian.product(direction)
        second_derivative = layout.sums(direction * product)
        unfinished = unfinished & (second_derivative > 0)
        if not unfinished.any():
            break
        size = np.divide(squares, second_derivative, out=np.zeros_like(squares), where=unfinished)
        alpha = size[layout.problem_of, None].astype(step.dtype)
        step += alpha * direction
        product *= alpha
        residual = np.subtract(residual, product, out=product)
        scaled = hessian.preconditioner * residual
        before, squares = squares, layout.sums(residual * scaled)
        beta = np.divide(squares, before, out=np.zeros_like(squares), where=before > 0)
        scaled += beta[layout.problem_of, None].astype(step.dtype) * direction
        direction = scaled
    steps[columns] = step
    return steps


def joined(solutions: Sequence[Solution]) -> FloatMatrix:
    """Coefficients of the solutions of all problems, their intercepts last, shape (n_columns, n_coefficients + 1)."""
    parameters: FloatMatrix = np.concatenate([np.column_stack([one.weight.T, one.bias]) for one in solutions])
    return parameters
