"""Multinomial logistic regression as a classifier of its own; see `logistic_solver` for how it is solved."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ensemble_minerals.members.heads.log_odds import AnswersByLogOdds
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem
from ensemble_minerals.members.heads.logistic_rows import ColumnRows
from ensemble_minerals.members.heads.logistic_solver import LogisticStack

FloatMatrix = NDArray[np.floating[Any]]


class LogisticHead(AnswersByLogOdds, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Multinomial logistic regression with an L2 penalty.

    Args:
        C: Inverse strength of the penalty, for features whose rows have unit mean square length (as `RowSpace`
            makes them).
        tol: Tolerance of the solver.
        max_iter: Its limit of Newton steps.

    Attributes:
        classes_: Labels, ascending.
        coef_: Shape (1, n_features) for two classes, else (n_classes, n_features).
        intercept_: Shape (1,) or (n_classes,).
        n_iter_: Newton steps.
    """

    def __init__(self, C: float = 300.0, tol: float = 1e-4, max_iter: int = 100) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> LogisticHead:
        """Fit to rows of shape (n, n_features) and labels of shape (n,).

        Raises:
            ValueError: If there are fewer than two classes, rows of weight zero left aside.
        """
        matrix, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        weights = _check_sample_weight(sample_weight, matrix, dtype=np.float64, ensure_non_negative=True)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        counted = np.unique(encoded[weights > 0])
        if len(counted) < 2:
            raise ValueError(
                "LogisticHead needs samples of at least two classes; the data has one class: "
                f"{str(self.classes_[counted[0] if len(counted) else 0])!r}"
            )
        problem = LogisticProblem(encoded.astype(np.intp), weights, len(self.classes_), self.C)
        stack = LogisticStack(ColumnRows(matrix), [problem])
        (solution,), self.n_iter_ = stack.minimize(self.tol, self.max_iter)
        if not solution.converged:
            warnings.warn(
                f"LogisticHead stopped after {self.n_iter_} steps, short of its tolerance {self.tol:g}: "
                f"lower C={self.C:g}, or raise max_iter={self.max_iter}",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_ = solution.weight.T
        self.intercept_ = solution.bias
        return self

    def decision_function(self, X: ArrayLike) -> FloatMatrix:
        """Log-odds: shape (n,) for two classes, else (n, n_classes)."""
        check_is_fitted(self)
        matrix = validate_data(self, X, dtype=np.float64, reset=False)
        logits: FloatMatrix = matrix @ self.coef_.T + self.intercept_
        return logits[:, 0] if len(self.classes_) == 2 else logits
