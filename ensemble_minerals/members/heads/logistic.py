"""Multinomial logistic regression as a classifier of its own; see `logistic_solver` for how it is solved."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.heads.log_odds import AnswersByLogOdds
from ensemble_minerals.members.heads.logistic_penalty import AUTO, INNER_FOLDS, PenaltyChoice
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem
from ensemble_minerals.members.heads.logistic_rows import ColumnRows
from ensemble_minerals.members.heads.logistic_solver import LogisticStack
from ensemble_minerals.members.inner_folds import inner_folds

FloatMatrix = NDArray[np.floating[Any]]

DEFAULT_C = 300.0
"""Inverse penalty where none is given."""


class LogisticHead(AnswersByLogOdds, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Multinomial logistic regression with an L2 penalty.

    Args:
        C: Inverse strength of the penalty, for features whose rows have unit mean square length (as `RowSpace`
            makes them); ``"auto"`` chooses it by an inner cross-validation.
        tol: Tolerance of the solver.
        max_iter: Its limit of Newton steps.

    Attributes:
        classes_: Labels, ascending.
        coef_: Shape (1, n_features) for two classes, else (n_classes, n_features).
        intercept_: Shape (1,) or (n_classes,).
        n_iter_: Newton steps.
        C_: The penalty that was used.
    """

    def __init__(self, C: float | str = 300.0, tol: float = 1e-4, max_iter: int = 100) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> LogisticHead:
        """Fit to rows of shape (n, n_features) and labels of shape (n,).

        Args:
            X: Features.
            y: Labels.
            sample_weight: Of each row, shape (n,).
            groups: Row groups, shape (n,), which the choice of a penalty keeps together; each row by itself if None.

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
        shared = ColumnRows(matrix)
        problem = LogisticProblem(encoded.astype(np.intp), weights, len(self.classes_), DEFAULT_C)
        self.C_ = self.given_penalty or self._chosen(shared, problem, groups)
        stack = LogisticStack(shared, [replace(problem, C=self.C_)])
        (solution,), self.n_iter_ = stack.minimize(self.tol, self.max_iter)
        if not solution.converged:
            warnings.warn(
                f"LogisticHead stopped after {self.n_iter_} steps, short of its tolerance {self.tol:g}: "
                f"lower C={self.C_:g}, or raise max_iter={self.max_iter}",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_ = solution.weight.T
        self.intercept_ = solution.bias
        return self

    @property
    def given_penalty(self) -> float | None:
        """C as a number; None where it is to be chosen.

        Raises:
            ValueError: If it is neither a number nor ``"auto"``.
        """
        if isinstance(self.C, str):
            if self.C != AUTO:
                raise ValueError(f"C={self.C!r} must be a number above 0, or {AUTO!r}")
            return None
        return self.C

    def _chosen(self, shared: ColumnRows, problem: LogisticProblem, groups: ArrayLike | None) -> float:
        """The penalty that an inner cross-validation chooses; the default where there are too few rows for one."""
        y = problem.targets
        counted = np.flatnonzero(problem.weights > 0)
        together = np.arange(len(y)) if groups is None else np.asarray(groups)
        whole = Subproblem("all", counted, y[counted], problem.n_outcomes)
        choice = PenaltyChoice(
            shared, [problem], [whole], [np.zeros(problem.n_columns)], max_iter=self.max_iter
        )
        return choice.choose(inner_folds(y, together, INNER_FOLDS, seed=0)) or DEFAULT_C

    def decision_function(self, X: ArrayLike) -> FloatMatrix:
        """Log-odds: shape (n,) for two classes, else (n, n_classes)."""
        check_is_fitted(self)
        matrix = validate_data(self, X, dtype=np.float64, reset=False)
        logits: FloatMatrix = matrix @ self.coef_.T + self.intercept_
        return logits[:, 0] if len(self.classes_) == 2 else logits
