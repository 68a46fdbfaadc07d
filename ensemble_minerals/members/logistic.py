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
    stack = _Stack(np.asarray(X, dtype=np.float64), problems, C)
    parameters, _ = stack.minimize(tol, max_iter)
    return stack.split(parameters)


_STEPS_ON_BOUND = 20


class _Stack:
    """The stacked problem: parameters of shape (d + 1, n_columns), the last row being the intercepts."""

    def __init__(self, X: FloatMatrix, problems: Sequence[LogisticProblem], C: float) -> None:
        self.X = X
        self.squares = X**2
        self.problems = problems
        self.C = C
        ends = np.cumsum([problem.n_columns for problem in problems])
        self.n_columns = int(ends[-1])
        self.blocks = [slice(int(e) - p.n_columns, int(e)) for e, p in zip(ends, problems, strict=True)]
        self.targets = np.zeros((len(X), self.n_columns))
        for problem, block in zip(problems, self.blocks, strict=True):
            if problem.n_branches == 2:
                self.targets[:, block.start] = problem.targets == 1
            else:
                known = np.flatnonzero(problem.targets >= 0)
                self.targets[known, block.start + problem.targets[known]] = 1.0

    def minimize(self, tol: float, max_iter: int) -> tuple[FloatMatrix, int]:
        """The solution and the number of steps it took."""
        parameters = np.zeros((self.X.shape[1] + 1, self.n_columns))
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
        return [(parameters[:-1, block], parameters[-1, block]) for block in self.blocks]

    def logits(self, parameters: FloatMatrix) -> FloatMatrix:
        product: FloatMatrix = self.X @ parameters[:-1] + parameters[-1]
        return product

    def scale(self, parameters: FloatMatrix, *, bound: bool) -> FloatMatrix:
        """Inverse square root of the Hessian's diagonal, or of its bound, same shape as the parameters."""
        curvature = np.empty((len(self.X), self.n_columns))
        logits = self.logits(parameters)
        for problem, block in zip(self.problems, self.blocks, strict=True):
            if bound:
                variance = np.full((len(self.X), problem.n_columns), 0.25)
            else:
                proba = np.exp(branch_log_proba(logits[:, block]))[:, -problem.n_columns :]
                variance = proba * (1.0 - proba)
            curvature[:, block] = variance * problem.weights[:, None]
        scale = np.empty_like(parameters)
        scale[:-1] = 1.0 / np.sqrt(self.squares.T @ curvature + 1.0 / self.C)
        scale[-1] = 1.0 / np.sqrt(curvature.sum(axis=0) + 1e-6)
        return scale

    def objective(self, flat: FloatMatrix, scale: FloatMatrix) -> tuple[float, FloatMatrix]:
        """Penalized loss and its gradient in scaled parameters."""
        parameters = flat.reshape(scale.shape) * scale
        logits = self.logits(parameters)
        residual = np.empty_like(logits)
        weight = parameters[:-1]
        loss = 0.5 / self.C * float(np.vdot(weight, weight))
        for problem, block in zip(self.problems, self.blocks, strict=True):
            target = self.targets[:, block]
            if problem.n_branches == 2:
                odds = logits[:, block]
                log_loss = np.logaddexp(0.0, odds) - target * odds
                error = np.exp(-np.logaddexp(0.0, -odds)) - target
            else:
                log_proba = branch_log_proba(logits[:, block])
                log_loss = -target * log_proba
                error = np.exp(log_proba) - target
            loss += float(problem.weights @ log_loss.sum(axis=1))
            residual[:, block] = error * problem.weights[:, None]
        gradient = np.empty_like(parameters)
        gradient[:-1] = self.X.T @ residual + weight / self.C
        gradient[-1] = residual.sum(axis=0)
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
