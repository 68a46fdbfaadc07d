"""L2-regularized logistic regressions that share their rows, solved as one problem.

The objective is scikit-learn's: ``C * sum of weighted log-losses + 0.5 * ||weight||^2``, intercepts free, a
softmax over the branches of a node, a sigmoid where there are two.

Newton's method with steps found by conjugate gradients (Nocedal & Wright 2006, "Numerical Optimization", section
7.1; for logistic regression Lin, Weng & Keerthi 2008, JMLR 9). A step only has to point well, so its products with
more than a few rows are in single precision; losses and gradients, which say where the solution is, are in double.
All problems go in lockstep, each with lengths of its own: a product of the rows with a few columns costs nearly what
a product with one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.subproblem import n_logits
from ensemble_minerals.members.rows import are_many, parts

FloatMatrix = NDArray[np.floating[Any]]

_TOLERANCE = 1e-4
_MAX_ITER = 100

_ROWS_OF_TOLERANCE = 1000
"""Up to so many rows the tolerance is taken as it is given."""

_LOOSEST = 0.5
"""A step's equations are solved until their residual has fallen to this, closer as the solution comes near."""

_MAX_CONJUGATE = 200
_HALVINGS = 40
_SUFFICIENT = 1e-4
"""Share of the decrease a step promises that it has to bring (Armijo's condition)."""

_ROUNDING = 1e-12

_SMALL = 50_000
"""Entries of a matrix with which products cost so little that single precision saves nothing."""

_LARGE = 1e15
"""Entries whose squares, summed, could leave the range of single precision."""

_FREE = 1e-6
"""Curvature lent to intercepts, which a softmax leaves undetermined up to a constant."""


@dataclass(frozen=True)
class LogisticProblem:
    """One node to be solved on a shared feature matrix.

    Attributes:
        targets: Branch of each row, shape (n,); ignored where the weight is zero.
        weights: Non-negative weight of each row, shape (n,).
        n_outcomes: Number of branches, at least 2.
        C: Inverse strength of the penalty.
    """

    targets: NDArray[np.intp]
    weights: FloatMatrix
    n_outcomes: int
    C: float

    @property
    def n_columns(self) -> int:
        """Columns of the solution: one log-odds for two branches, else one a branch."""
        return n_logits(self.n_outcomes)


class Solution(NamedTuple):
    """The solution of a problem, float64.

    Attributes:
        weight: Shape (d, n_columns).
        bias: Shape (n_columns,).
        is_close: Whether it was found to within the tolerance.
    """

    weight: FloatMatrix
    bias: FloatMatrix
    is_close: bool


def solve_logistic(
    X: FloatMatrix,
    problems: Sequence[LogisticProblem],
    *,
    start: Sequence[Solution] | None = None,
    tol: float = _TOLERANCE,
    max_iter: int = _MAX_ITER,
) -> list[Solution]:
    """Solve several logistic regressions that share their rows.

    Args:
        X: Shape (n, d).
        problems: The nodes.
        start: Solutions to begin at, such as those of a stronger penalty; zero if None.
        tol: Stops when no derivative exceeds this, with parameters measured in the inverse square root of their
            curvature, which is their standard error. At the default, probabilities of unseen rows agree with the
            exact solution to about 1e-4 or better. The unit shrinks with the rows as its effect does, so for more
            than a thousand rows the tolerance grows with their square root.
        max_iter: Limit of Newton steps.

    Returns:
        A solution for each problem.
    """
    tol *= max(1.0, float(np.sqrt(len(X) / _ROWS_OF_TOLERANCE)))
    solutions, _ = LogisticStack(X, problems).minimize(tol, max_iter, start)
    return solutions


class _Look(NamedTuple):
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

    Rows of photos run along the last axis of everything: sums over a node's few branches are then sums of long
    vectors. Many rows are looked at in parts, and are not copied.
    """

    def __init__(
        self, X: FloatMatrix, problems: Sequence[LogisticProblem], *, rough: FloatMatrix | None = None
    ) -> None:
        self.problems = problems
        self.parts = parts(len(X))
        # Many rows are made double a part at a time.
        self.X = X if are_many(len(X)) else np.asarray(X, dtype=np.float64)
        self.rough = _rough(X) if rough is None else rough
        counts = [problem.n_columns for problem in problems]
        ends = np.cumsum(counts)
        self.n_columns = int(ends[-1])
        self.starts: NDArray[np.intp] = ends - np.array(counts)
        self.problem_of = np.repeat(np.arange(len(problems)), counts)
        blocks = [slice(int(start), int(end)) for start, end in zip(self.starts, ends, strict=True)]
        self.blocks = blocks
        self.binary = np.array([b.start for b in blocks if b.stop - b.start == 1], dtype=np.intp)
        self.several = [block for block in blocks if block.stop - block.start > 1]
        self.penalty = np.repeat([1.0 / problem.C for problem in problems], counts)[:, None]
        self.targets = np.zeros((self.n_columns, len(X)), dtype=bool)
        self.weights = np.stack([problem.weights for problem in problems])
        for problem, block in zip(problems, blocks, strict=True):
            if problem.n_outcomes == 2:
                self.targets[block] = problem.targets == 1
            else:
                known = np.flatnonzero(problem.targets >= 0)
                self.targets[block.start + problem.targets[known], known] = True
        self.curvature_of_penalty = np.full((self.n_columns, X.shape[1] + 1), _FREE, dtype=self.rough.dtype)
        self.curvature_of_penalty[:, :-1] = self.penalty

    def minimize(
        self, tol: float, max_iter: int, start: Sequence[Solution] | None = None
    ) -> tuple[list[Solution], int]:
        """Go from `start`, or from zero, to the solution of each problem; and the number of Newton steps it took."""
        parameters = np.zeros((self.n_columns, self.X.shape[1] + 1)) if start is None else _joined(start)
        return self._minimize(tol, max_iter, parameters, None)

    def _minimize(
        self, tol: float, max_iter: int, parameters: FloatMatrix, first: FloatMatrix | None
    ) -> tuple[list[Solution], int]:
        """Go on from parameters; `first` are the squared gradients of those that the way began at."""
        look = self.look(parameters)
        number = 0
        while True:
            diagonal = self.diagonal(look.proba)
            slopes = np.abs(look.gradient * np.sqrt(1.0 / diagonal)).max(axis=1)
            is_open = ~(np.maximum.reduceat(slopes, self.starts) <= tol)
            if not is_open.any() or number == max_iter:
                return self._split(parameters, is_open), number
            squares = self._sums(look.gradient**2 / diagonal)
            first = squares if first is None else first
            if 2 * np.count_nonzero(is_open[self.problem_of]) <= self.n_columns:
                # What is solved would be carried through every product.
                solutions = self._split(parameters, is_open)
                left = np.flatnonzero(is_open).tolist()
                stack = LogisticStack(self.X, [self.problems[place] for place in left], rough=self.rough)
                found, more = stack._minimize(
                    tol, max_iter - number, parameters[is_open[self.problem_of]], first[left]
                )
                for place, solution in zip(left, found, strict=True):
                    solutions[place] = solution
                return solutions, number + more
            looseness = np.minimum(_LOOSEST**2, np.sqrt(np.sqrt(squares / np.maximum(first, 1e-300))))
            enough = np.where(is_open, np.maximum(looseness * squares, (0.3 * tol) ** 2), np.inf)
            step = self.step(look, diagonal, enough)
            moved = self._search(parameters, look, step)
            if moved is None:
                return self._split(parameters, is_open), number
            parameters, look = moved
            number += 1

    def _split(self, parameters: FloatMatrix, is_open: NDArray[np.bool_]) -> list[Solution]:
        """The solution of each problem; of a softmax that whose intercepts sum to zero."""
        solutions = []
        for block, far in zip(self.blocks, is_open.tolist(), strict=True):
            weight, bias = parameters[block, :-1].T, parameters[block, -1]
            solutions.append(Solution(weight, bias if len(bias) == 1 else bias - bias.mean(), not far))
        return solutions

    def look(self, parameters: FloatMatrix) -> _Look:
        """Losses, gradient and probabilities, in double precision."""
        weight = np.ascontiguousarray(parameters[:, :-1])
        losses = 0.5 * self.penalty[:, 0] * np.einsum("ij,ij->i", weight, weight)
        gradient = np.zeros_like(parameters)
        gradient[:, :-1] = self.penalty * weight
        proba = np.empty(self.targets.shape, dtype=self.rough.dtype)
        for part in self.parts:
            X = self.X[part].astype(np.float64, copy=False)
            targets, weights = self.targets[:, part], self.weights_of(part)
            logits = weight @ X.T
            logits += parameters[:, -1:]
            missed, answers = self._answers(logits, targets)
            losses += np.einsum("ij,ij->i", weights, missed)
            proba[:, part] = answers
            residual = (answers - targets) * weights
            gradient[:, :-1] += residual @ X
            gradient[:, -1] += residual.sum(axis=1)
        return _Look(np.add.reduceat(losses, self.starts), gradient, proba)

    def weights_of(self, part: slice) -> FloatMatrix:
        """Weights of some rows in each column."""
        return self.weights[:, part][self.problem_of]

    def _answers(self, logits: FloatMatrix, targets: NDArray[np.bool_]) -> tuple[FloatMatrix, FloatMatrix]:
        """Losses and probabilities of all columns, both of the shape of the logits."""
        losses, proba = np.empty_like(logits), np.empty_like(logits)
        if self.binary.size:
            odds = logits[self.binary]
            small = np.exp(-np.abs(odds))
            losses[self.binary] = np.maximum(odds, 0.0) + np.log1p(small) - targets[self.binary] * odds
            proba[self.binary] = np.where(odds >= 0.0, 1.0, small) / (1.0 + small)
        for block in self.several:
            shifted = logits[block] - logits[block].max(axis=0)
            exponential = np.exp(shifted)
            total = exponential.sum(axis=0)
            losses[block] = targets[block] * (np.log(total) - shifted)
            proba[block] = exponential / total
        return losses, proba

    def diagonal(self, proba: FloatMatrix) -> FloatMatrix:
        """Of the Hessian, same shape as the parameters."""
        diagonal = self.curvature_of_penalty.copy()
        for part in self.parts:
            answers = proba[:, part]
            curvature = answers * (1 - answers) * self.weights_of(part).astype(self.rough.dtype)
            diagonal[:, :-1] += curvature @ np.square(self.rough[part])
            diagonal[:, -1] += curvature.sum(axis=1)
        return diagonal

    def bend(self, proba: FloatMatrix, steepness: FloatMatrix, direction: FloatMatrix) -> FloatMatrix:
        """The Hessian's product with a direction."""
        found: FloatMatrix = self.curvature_of_penalty * direction
        weight = np.ascontiguousarray(direction[:, :-1])
        for part in self.parts:
            # Twice as fast as the product the other way round, which would give it as it is wanted.
            change = np.ascontiguousarray((self.rough[part] @ weight.T).T)
            change += direction[:, -1:]
            for block in self.several:
                change[block] -= np.einsum("ij,ij->j", proba[block, part], change[block])
            change *= steepness[:, part]
            found[:, :-1] += change @ self.rough[part]
            found[:, -1] += change.sum(axis=1)
        return found

    def steepness(self, proba: FloatMatrix) -> FloatMatrix:
        """What turns changes of logits, of softmaxes less their mean, into changes of weighted probabilities."""
        steepness = proba.copy()
        for part in self.parts:
            steepness[self.binary, part] *= 1 - proba[self.binary, part]
            steepness[:, part] *= self.weights_of(part).astype(self.rough.dtype)
        return steepness

    def step(self, look: _Look, diagonal: FloatMatrix, enough: FloatMatrix) -> FloatMatrix:
        """Newton's step by conjugate gradients, preconditioned by the Hessian's diagonal.

        Args:
            look: Where the step starts.
            diagonal: Of the Hessian there.
            enough: For each problem the square of the residual at which it is left, in scaled parameters.
        """
        scale, steepness = 1 / diagonal, self.steepness(look.proba)
        residual = -look.gradient.astype(self.rough.dtype)
        step = np.zeros_like(residual)
        scaled = residual * scale
        direction = scaled.copy()
        squares = self._sums(residual * scaled)
        for _ in range(_MAX_CONJUGATE):
            if (squares <= enough).all():
                break
            bent = self.bend(look.proba, steepness, direction)
            curvature = self._sums(direction * bent)
            goes_on = (squares > enough) & (curvature > 0)
            if not goes_on.any():
                break
            length = np.divide(squares, curvature, out=np.zeros_like(squares), where=goes_on)
            along = length[self.problem_of, None].astype(self.rough.dtype)
            step += along * direction
            bent *= along
            residual -= bent
            np.multiply(residual, scale, out=scaled)
            before, squares = squares, self._sums(residual * scaled)
            turn = np.divide(squares, before, out=np.zeros_like(squares), where=before > 0)
            direction *= turn[self.problem_of, None].astype(self.rough.dtype)
            direction += scaled
        return step

    def _search(
        self, parameters: FloatMatrix, look: _Look, step: FloatMatrix
    ) -> tuple[FloatMatrix, _Look] | None:
        """Go along the step, problem by problem as far as the loss falls; None if it falls for none."""
        promised = self._sums(look.gradient * step)
        length = np.ones(len(self.problems))
        for _ in range(_HALVINGS):
            found = parameters + length[self.problem_of, None] * step
            there = self.look(found)
            allowed = look.losses + _SUFFICIENT * length * promised + _ROUNDING * np.abs(look.losses)
            failed = ~(there.losses <= allowed)
            if not failed.any():
                return found, there
            length[failed] *= 0.5
        length[failed] = 0.0
        if not length.any():
            return None
        found = parameters + length[self.problem_of, None] * step
        return found, self.look(found)

    def _sums(self, values: FloatMatrix) -> FloatMatrix:
        """Sums over the columns and rows of each problem's parameters."""
        return np.add.reduceat(values.sum(axis=1), self.starts)


def _rough(X: FloatMatrix) -> FloatMatrix:
    """The rows in the precision that steps are taken in."""
    is_double = X.size <= _SMALL or not -_LARGE < X.min() <= X.max() < _LARGE
    rough: FloatMatrix = X.astype(np.float64 if is_double else np.float32, copy=False)
    return rough


def _joined(solutions: Sequence[Solution]) -> FloatMatrix:
    """Parameters of the solutions of all problems."""
    return np.concatenate([np.column_stack([one.weight.T, one.bias]) for one in solutions])
