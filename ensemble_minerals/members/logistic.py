"""L2-regularized logistic regression: all specialists of a member solved as one problem.

The objective is scikit-learn's: ``C * sum of weighted log-losses + 0.5 * ||weight||^2``, intercepts free, a
softmax over the branches of a node, a sigmoid where there are two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ensemble_minerals.members.rows import are_many, parts
from ensemble_minerals.members.scorer import branch_log_proba

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LogisticProblem:
    """One node to be solved on a shared feature matrix.

    Attributes:
        targets: Branch of each row, shape (n,); ignored where the weight is zero.
        weights: Non-negative weight of each row, shape (n,).
        n_branches: Number of branches, at least 2.
    """

    targets: NDArray[np.intp]
    weights: FloatMatrix
    n_branches: int

    @property
    def n_columns(self) -> int:
        """Columns of the solution: one log-odds for two branches, else one a branch."""
        return 1 if self.n_branches == 2 else self.n_branches


def solve_logistic(
    X: FloatMatrix,
    problems: Sequence[LogisticProblem],
    C: float,
    *,
    tol: float = 1e-4,
    max_iter: int = 1000,
) -> list[tuple[FloatMatrix, FloatMatrix]]:
    """Solve several logistic regressions that share their rows in one L-BFGS run.

    The stacked problem costs one product with X and one with its transpose an iteration, whatever the number of
    problems. Parameters are scaled by the diagonal of the Hessian: first of Boehning's bound on it (Boehning
    1992, Annals of the Institute of Statistical Mathematics 44), which is nearly the whole bound when the
    columns of X are orthogonal as in a `RowSpace`, then, after some steps, of the Hessian itself.

    Args:
        X: Shape (n, d).
        problems: The nodes.
        C: Inverse strength of the penalty.
        tol: Stops when no derivative exceeds this in the scaled coordinates, where curvature is about 1. At the
            default, probabilities of unseen rows agree with the exact solution to about 1e-4.
        max_iter: Limit of iterations.

    Returns:
        For each problem its weight, shape (d, n_columns), and bias, shape (n_columns,), float64.
    """
    # Many rows are made double a part at a time.
    stack = _Stack(X if are_many(len(X)) else np.asarray(X, dtype=np.float64), problems, C)
    # The scaled coordinates' unit is their standard error, which shrinks with the rows as their effect does.
    parameters, _ = stack.minimize(tol * max(1.0, float(np.sqrt(len(X) / _ROWS_OF_TOLERANCE))), max_iter)
    return stack.split(parameters)


_STEPS_ON_BOUND = 20

_ROWS_OF_TOLERANCE = 1000
"""Up to so many rows the tolerance is taken as it is given."""


class _Stack:
    """The stacked problem: parameters of shape (n_columns, d + 1), the last of each row being the intercept.

    Rows of photos run along the last axis of everything: sums over a node's few branches are then sums of long
    vectors, and both products are of a few rows with X as it lies in memory. Many rows are looked at in parts.
    """

    def __init__(self, X: FloatMatrix, problems: Sequence[LogisticProblem], C: float) -> None:
        self.X = X
        self.problems = problems
        self.C = C
        ends = np.cumsum([problem.n_columns for problem in problems])
        self.n_columns = int(ends[-1])
        self.blocks = [slice(int(e) - p.n_columns, int(e)) for e, p in zip(ends, problems, strict=True)]
        self.binary = np.array([b.start for b in self.blocks if b.stop - b.start == 1], dtype=np.intp)
        self.several = [block for block in self.blocks if block.stop - block.start > 1]
        self.parts = parts(len(X))
        self.targets = np.zeros((self.n_columns, len(X)))
        self.weights = np.empty((self.n_columns, len(X)))
        for problem, block in zip(problems, self.blocks, strict=True):
            self.weights[block] = problem.weights
            if problem.n_branches == 2:
                self.targets[block] = problem.targets == 1
            else:
                known = np.flatnonzero(problem.targets >= 0)
                self.targets[block.start + problem.targets[known], known] = 1.0

    def minimize(self, tol: float, max_iter: int) -> tuple[FloatMatrix, int]:
        """The solution and the number of steps it took."""
        parameters = np.zeros((self.n_columns, self.X.shape[1] + 1))
        n_steps = 0
        for bound, limit in ((True, min(_STEPS_ON_BOUND, max_iter)), (False, max_iter)):
            scale = self.scale(parameters, bound=bound)
            result = scipy.optimize.minimize(
                self.objective,
                (parameters / scale).ravel(),
                args=(scale,),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": limit, "maxfun": 4 * limit, "maxcor": 12, "gtol": tol, "ftol": 0.0},
            )
            parameters = result.x.reshape(scale.shape) * scale
            n_steps += int(result.nit)
        return parameters, n_steps

    def split(self, parameters: FloatMatrix) -> list[tuple[FloatMatrix, FloatMatrix]]:
        """Weight and bias of each problem."""
        return [(parameters[block, :-1].T, parameters[block, -1]) for block in self.blocks]

    def rows(self, part: slice) -> FloatMatrix:
        """A part of the rows, shape (k, d), float64."""
        return self.X[part].astype(np.float64, copy=False)

    def logits(self, parameters: FloatMatrix, X: FloatMatrix) -> FloatMatrix:
        """Log-odds of rows, shape (n_columns, k)."""
        product: FloatMatrix = np.ascontiguousarray(parameters[:, :-1]) @ X.T
        product += parameters[:, -1:]
        return product

    def answers(self, logits: FloatMatrix, targets: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix]:
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

    def scale(self, parameters: FloatMatrix, *, bound: bool) -> FloatMatrix:
        """Inverse square root of the Hessian's diagonal, or of its bound, same shape as the parameters."""
        diagonal = np.zeros_like(parameters)
        for part in self.parts:
            X, curvature = self.rows(part), self.weights[:, part]
            if bound:
                curvature = 0.25 * curvature
            else:
                _, proba = self.answers(self.logits(parameters, X), self.targets[:, part])
                curvature = proba * (1.0 - proba) * curvature
            diagonal[:, :-1] += curvature @ np.square(X)
            diagonal[:, -1] += curvature.sum(axis=1)
        diagonal[:, :-1] += 1.0 / self.C
        diagonal[:, -1] += 1e-6
        return 1.0 / np.sqrt(diagonal)

    def objective(self, flat: FloatMatrix, scale: FloatMatrix) -> tuple[float, FloatMatrix]:
        """Penalized loss and its gradient in scaled parameters."""
        parameters = flat.reshape(scale.shape) * scale
        weight = parameters[:, :-1]
        loss = 0.5 / self.C * float(np.vdot(weight, weight))
        gradient = np.zeros_like(parameters)
        for part in self.parts:
            X, targets, weights = self.rows(part), self.targets[:, part], self.weights[:, part]
            losses, proba = self.answers(self.logits(parameters, X), targets)
            loss += float(np.vdot(weights, losses))
            residual = (proba - targets) * weights
            gradient[:, :-1] += residual @ X
            gradient[:, -1] += residual.sum(axis=1)
        gradient[:, :-1] += weight / self.C
        return loss, (gradient * scale).ravel()


class LogisticHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Multinomial logistic regression with an L2 penalty.

    Args:
        C: Inverse strength of the penalty, for features whose rows have unit mean square length (as `RowSpace`
            makes them).
        tol: Tolerance of the solver.
        max_iter: Its limit of iterations.

    Attributes:
        classes_: Labels, ascending.
        coef_: Shape (1, n_features) for two classes, else (n_classes, n_features).
        intercept_: Shape (1,) or (n_classes,).
        n_iter_: Steps of the solver.
    """

    def __init__(self, C: float = 300.0, tol: float = 1e-4, max_iter: int = 1000) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> LogisticHead:
        """Fit to rows of shape (n, n_features) and labels of shape (n,).

        Raises:
            ValueError: If there are fewer than two classes.
        """
        matrix, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        weights = _check_sample_weight(sample_weight, matrix, dtype=np.float64, ensure_non_negative=True)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "LogisticHead needs samples of at least two classes; the data has one class: "
                f"{str(self.classes_[0])!r}"
            )
        problem = LogisticProblem(encoded.astype(np.intp), weights, len(self.classes_))
        stack = _Stack(matrix, [problem], self.C)
        parameters, self.n_iter_ = stack.minimize(self.tol, self.max_iter)
        ((weight, bias),) = stack.split(parameters)
        self.coef_ = weight.T
        self.intercept_ = bias
        return self

    def decision_function(self, X: ArrayLike) -> FloatMatrix:
        """Log-odds: shape (n,) for two classes, else (n, n_classes)."""
        check_is_fitted(self)
        matrix = validate_data(self, X, dtype=np.float64, reset=False)
        logits: FloatMatrix = matrix @ self.coef_.T + self.intercept_
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: ArrayLike) -> FloatMatrix:
        """Probabilities, shape (n, n_classes)."""
        logits = self.decision_function(X)
        return np.exp(branch_log_proba(logits[:, None] if logits.ndim == 1 else logits))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable label of each row, shape (n,)."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels
