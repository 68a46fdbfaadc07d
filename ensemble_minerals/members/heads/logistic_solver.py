"""L2-regularized logistic regressions that share their rows, solved as one problem.

The objective is scikit-learn's: ``C * sum of weighted log-losses + 0.5 * ||weight||^2``, with free intercepts, a
softmax over the outcomes of a subproblem, and a sigmoid where there are two outcomes.

Newton's method with steps found by conjugate gradients (Nocedal & Wright 2006, "Numerical Optimization", section
7.1; for logistic regression Lin, Weng & Keerthi 2008, JMLR 9). A step only needs the right direction, so its products
with more than a few rows are in single precision; losses and gradients, which decide where the solution is, are in
double. All problems take their steps together, each with step sizes of its own: a product of the rows with a few
columns costs little more than a product with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_hessian import Hessian, Layout
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem, Solution
from ensemble_minerals.members.rows import are_many, parts

FloatMatrix = NDArray[np.floating[Any]]

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

_SMALL = 50_000
"""Number of entries of a matrix up to which single precision saves no time."""

_LARGE = 1e15
"""Entries of this size could overflow single precision when their squares are summed."""

_CARRIED = 0.75
"""Share of columns that must be unfinished, else the finished ones are left out of a step's further products."""

_FREE = 1e-6
"""Curvature added for the intercepts, which a softmax determines only up to a constant."""


def solve_logistic(
    X: FloatMatrix,
    problems: Sequence[LogisticProblem],
    *,
    start: Sequence[Solution] | None = None,
    tol: float = _TOLERANCE,
    max_iter: int = _MAX_ITER,
) -> list[Solution]:
    """Solve softmaxes logistic regressions that share their rows.

    Args:
        X: Shape (n, d).
        problems: The regressions.
        start: Solutions to start from, such as those of a stronger penalty; zero if None.
        tol: Stops when no derivative exceeds this, each parameter being measured in units of its standard error, the
            inverse square root of its curvature. At the default, probabilities of unseen rows agree with those of the
            exact solution to about 1e-4 or better. For more than a thousand rows the tolerance grows with the square
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
    tol *= max(1.0, float(np.sqrt(len(X) / _ROWS_OF_TOLERANCE)))
    solutions, _ = LogisticStack(X, problems).minimize(tol, max_iter, start)
    return solutions


class _Evaluation(NamedTuple):
    """What is known of the objective at some parameters.

    Attributes:
        losses: Penalized loss of each problem.
        gradient: Same shape as the parameters.
        proba: Probability of each column for each row, in the precision of steps.
    """

    losses: FloatMatrix
    gradient: FloatMatrix
    proba: FloatMatrix


class LogisticStack:
    """Problems stacked: parameters of shape (n_columns, d + 1), the last of each row being the intercept.

    The rows of X run along the last axis of every other array, so that sums over the few outcomes of a subproblem are
    sums of long vectors. Many rows are processed in parts, and are not copied.

    Attributes:
        X_approximate: The rows in the precision of steps.
        layout: Where the columns of each problem are.
    """

    def __init__(
        self, X: FloatMatrix, problems: Sequence[LogisticProblem], *, X_approximate: FloatMatrix | None = None
    ) -> None:
        self.problems = problems
        self.parts = parts(len(X))
        # Many rows are converted to double precision a part at a time.
        self.X = X if are_many(len(X)) else np.asarray(X, dtype=np.float64)
        self.X_approximate = _in_step_precision(X) if X_approximate is None else X_approximate
        counts = np.array([problem.n_columns for problem in problems], dtype=np.intp)
        self.layout = Layout(counts)
        self.penalty = np.repeat([1.0 / problem.C for problem in problems], counts)[:, None]
        self.targets = np.zeros((self.layout.n_columns, len(X)), dtype=bool)
        self.weights = np.stack([problem.weights for problem in problems])
        for problem, block in zip(problems, self.layout.blocks, strict=True):
            if problem.n_outcomes == 2:
                self.targets[block] = problem.targets == 1
            else:
                known = np.flatnonzero(problem.targets >= 0)
                self.targets[block.start + problem.targets[known], known] = True
        self.curvature_of_penalty = np.full(
            (self.layout.n_columns, X.shape[1] + 1), _FREE, dtype=self.X_approximate.dtype
        )
        self.curvature_of_penalty[:, :-1] = self.penalty

    def minimize(
        self, tol: float, max_iter: int, start: Sequence[Solution] | None = None
    ) -> tuple[list[Solution], int]:
        """Solve every problem, from `start` or from zero; the solutions, and the number of Newton steps."""
        parameters = (
            np.zeros((self.layout.n_columns, self.X.shape[1] + 1)) if start is None else _joined(start)
        )
        return self._minimize(tol, max_iter, parameters, None)

    def _minimize(
        self, tol: float, max_iter: int, parameters: FloatMatrix, first: FloatMatrix | None
    ) -> tuple[list[Solution], int]:
        """Go on from parameters; `first` are the squared norms of the gradients where the search started."""
        current = self.evaluate(parameters)
        number = 0
        while True:
            diagonal = self.diagonal(current.proba)
            norms = np.abs(current.gradient * np.sqrt(1.0 / diagonal)).max(axis=1)
            unsolved = ~(np.maximum.reduceat(norms, self.layout.starts) <= tol)
            if not unsolved.any() or number == max_iter:
                return self._split(parameters, unsolved), number
            squares = self.layout.sums(current.gradient**2 / diagonal)
            first = squares if first is None else first
            if 2 * np.count_nonzero(unsolved[self.layout.problem_of]) <= self.layout.n_columns:
                # Solved problems would be carried along through every product.
                solutions = self._split(parameters, unsolved)
                unsolved_positions = np.flatnonzero(unsolved).tolist()
                stack = LogisticStack(
                    self.X,
                    [self.problems[position] for position in unsolved_positions],
                    X_approximate=self.X_approximate,
                )
                rest, more = stack._minimize(
                    tol,
                    max_iter - number,
                    parameters[unsolved[self.layout.problem_of]],
                    first[unsolved_positions],
                )
                for position, solution in zip(unsolved_positions, rest, strict=True):
                    solutions[position] = solution
                return solutions, number + more
            forcing = np.minimum(_FORCING**2, np.sqrt(np.sqrt(squares / np.maximum(first, 1e-300))))
            target = np.where(unsolved, np.maximum(forcing * squares, (0.3 * tol) ** 2), np.inf)
            step = self.step(current, diagonal, target)
            moved = self._search(parameters, current, step)
            if moved is None:
                return self._split(parameters, unsolved), number
            parameters, current = moved
            number += 1

    def _split(self, parameters: FloatMatrix, unsolved: NDArray[np.bool_]) -> list[Solution]:
        """The solution of each problem; the intercepts of a softmax are shifted to sum to zero."""
        solutions = []
        for block, is_unsolved in zip(self.layout.blocks, unsolved.tolist(), strict=True):
            weight, bias = parameters[block, :-1].T, parameters[block, -1]
            solutions.append(
                Solution(weight, bias if len(bias) == 1 else bias - bias.mean(), not is_unsolved)
            )
        return solutions

    def evaluate(self, parameters: FloatMatrix) -> _Evaluation:
        """Losses, gradient and probabilities, in double precision."""
        weight = np.ascontiguousarray(parameters[:, :-1])
        losses = 0.5 * self.penalty[:, 0] * np.einsum("ij,ij->i", weight, weight)
        gradient = np.zeros_like(parameters)
        gradient[:, :-1] = self.penalty * weight
        proba = np.empty(self.targets.shape, dtype=self.X_approximate.dtype)
        for part in self.parts:
            X = self.X[part].astype(np.float64, copy=False)
            targets, weights = self.targets[:, part], self.weights_of(part)
            logits = weight @ X.T
            logits += parameters[:, -1:]
            row_losses, row_proba = self._losses_and_proba(logits, targets)
            losses += np.einsum("ij,ij->i", weights, row_losses)
            proba[:, part] = row_proba
            residual = (row_proba - targets) * weights
            gradient[:, :-1] += residual @ X
            gradient[:, -1] += residual.sum(axis=1)
        return _Evaluation(np.add.reduceat(losses, self.layout.starts), gradient, proba)

    def weights_of(self, part: slice) -> FloatMatrix:
        """Weights of a part of the rows, for each column, shape (n_columns, n_part)."""
        return self.weights[:, part][self.layout.problem_of]

    def _losses_and_proba(
        self, logits: FloatMatrix, targets: NDArray[np.bool_]
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Losses and probabilities of all columns, both of the shape of the logits."""
        losses, proba = np.empty_like(logits), np.empty_like(logits)
        if self.layout.binary.size:
            odds = logits[self.layout.binary]
            small = np.exp(-np.abs(odds))
            losses[self.layout.binary] = (
                np.maximum(odds, 0.0) + np.log1p(small) - targets[self.layout.binary] * odds
            )
            proba[self.layout.binary] = np.where(odds >= 0.0, 1.0, small) / (1.0 + small)
        for block in self.layout.softmaxes:
            shifted = logits[block] - logits[block].max(axis=0)
            exponential = np.exp(shifted)
            total = exponential.sum(axis=0)
            losses[block] = targets[block] * (np.log(total) - shifted)
            proba[block] = exponential / total
        return losses, proba

    def diagonal(self, proba: FloatMatrix) -> FloatMatrix:
        """Diagonal of the Hessian, same shape as the parameters."""
        diagonal = self.curvature_of_penalty.copy()
        for part in self.parts:
            p = proba[:, part]
            curvature = p * (1 - p) * self.weights_of(part).astype(self.X_approximate.dtype)
            diagonal[:, :-1] += curvature @ np.square(self.X_approximate[part])
            diagonal[:, -1] += curvature.sum(axis=1)
        return diagonal

    def hessian(self, proba: FloatMatrix) -> Hessian:
        """The Hessian where the columns have these probabilities, shape (n_columns, n)."""
        curvature = proba.copy()
        for part in self.parts:
            curvature[self.layout.binary, part] *= 1 - proba[self.layout.binary, part]
            curvature[:, part] *= self.weights_of(part).astype(self.X_approximate.dtype)
        return Hessian(
            self.layout, self.X_approximate, self.parts, self.curvature_of_penalty, proba, curvature
        )

    def step(self, current: _Evaluation, diagonal: FloatMatrix, target: FloatMatrix) -> FloatMatrix:
        """Newton's step by conjugate gradients, preconditioned by the Hessian's diagonal.

        Args:
            current: Where the step starts.
            diagonal: Of the Hessian there.
            target: For each problem the squared norm of the residual at which it stops, in scaled parameters.
        """
        hessian = self.hessian(current.proba)
        steps = np.zeros_like(diagonal)
        columns = np.arange(len(steps))  # those that are carried through the products
        scale, residual = 1 / diagonal, -current.gradient.astype(diagonal.dtype)
        step, direction = np.zeros_like(residual), residual * scale
        squares = hessian.layout.sums(residual * direction)
        for _ in range(_MAX_CONJUGATE):
            unfinished = squares > target
            if not unfinished.any():
                break
            layout = hessian.layout
            if np.count_nonzero(unfinished[layout.problem_of]) <= _CARRIED * layout.n_columns:
                steps[columns] = step
                kept = unfinished[layout.problem_of]
                columns, scale, residual, step = columns[kept], scale[kept], residual[kept], step[kept]
                direction, squares, target = direction[kept], squares[unfinished], target[unfinished]
                hessian = hessian.of(unfinished)
                layout, unfinished = hessian.layout, unfinished[unfinished]
            product = hessian.product(direction)
            second_derivative = layout.sums(direction * product)
            unfinished = unfinished & (second_derivative > 0)
            if not unfinished.any():
                break
            step_size = np.divide(squares, second_derivative, out=np.zeros_like(squares), where=unfinished)
            alpha = step_size[layout.problem_of, None].astype(step.dtype)
            step += alpha * direction
            product *= alpha
            residual -= product
            scaled = residual * scale
            before, squares = squares, layout.sums(residual * scaled)
            beta = np.divide(squares, before, out=np.zeros_like(squares), where=before > 0)
            direction *= beta[layout.problem_of, None].astype(step.dtype)
            direction += scaled
        steps[columns] = step
        return steps

    def _search(
        self, parameters: FloatMatrix, current: _Evaluation, step: FloatMatrix
    ) -> tuple[FloatMatrix, _Evaluation] | None:
        """Go along the step, for each problem as far as its loss falls; None if no loss falls."""
        slope = self.layout.sums(current.gradient * step)
        step_size = np.ones(len(self.problems))
        for _ in range(_HALVINGS):
            moved = parameters + step_size[self.layout.problem_of, None] * step
            candidate = self.evaluate(moved)
            allowed = current.losses + _SUFFICIENT * step_size * slope + _ROUNDING * np.abs(current.losses)
            failed = ~(candidate.losses <= allowed)
            if not failed.any():
                return moved, candidate
            step_size[failed] *= 0.5
        step_size[failed] = 0.0
        if not step_size.any():
            return None
        moved = parameters + step_size[self.layout.problem_of, None] * step
        return moved, self.evaluate(moved)


def _in_step_precision(X: FloatMatrix) -> FloatMatrix:
    """The rows in the precision of steps: single, unless that saves nothing or could overflow."""
    is_double = X.size <= _SMALL or not -_LARGE < X.min() <= X.max() < _LARGE
    rows: FloatMatrix = X.astype(np.float64 if is_double else np.float32, copy=False)
    return rows


def _joined(solutions: Sequence[Solution]) -> FloatMatrix:
    """Parameters of the solutions of all problems."""
    return np.concatenate([np.column_stack([one.weight.T, one.bias]) for one in solutions])
