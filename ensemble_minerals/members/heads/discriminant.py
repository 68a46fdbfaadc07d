"""Linear discriminant analysis whose covariance is shrunk, in closed form, with its answers softened to fit.

The classes share one covariance, estimated from far fewer rows than columns. Shrinking it towards a multiple of the
identity makes it invertible and its answers accurate (Friedman 1989, Journal of the American Statistical Association
84, "Regularized discriminant analysis"), but its probabilities stay far too sure. So one number divides its log-odds,
learned on rows that an inner fold left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GroupKFold
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.members.heads.log_odds import AnswersByLogOdds

FloatMatrix = NDArray[np.floating[Any]]

_INNER_FOLDS = 5
_SOFTEST = 100.0
"""The highest temperature; the lowest is 1, because a shrunk discriminant is too sure, never too modest."""

_MAX_ROWS = 4096
"""Of more rows some are taken, evenly of each class: the covariance is shrunk so much that more do not change it."""


class DiscriminantHead(AnswersByLogOdds, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Linear discriminant analysis with a shrunk covariance, calibrated inside.

    Args:
        shrinkage: Part of the covariance that is a multiple of the identity of the same mean variance; above 0, at
            most 1.

    Attributes:
        classes_: Labels, ascending.
        temperature_: What divides the log-odds; 1 where no inner fold leaves rows of every class to learn from.
        layers_: One pair of weight (n_features, n_outputs) and bias (n_outputs,): logits are X @ weight + bias. For
            two classes there is one output, the log-odds of the second.
    """

    def __init__(self, shrinkage: float = 0.3) -> None:
        self.shrinkage = shrinkage

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> DiscriminantHead:
        """Fit to rows of shape (n, n_features) and labels of shape (n,).

        Args:
            X: Features.
            y: Labels.
            groups: Row groups, shape (n,); an inner fold leaves a group out whole. Each row by itself if None.

        Raises:
            ValueError: If there are fewer than two classes, or the shrinkage is out of range.
        """
        matrix, labels = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(labels)
        if not 0.0 < self.shrinkage <= 1.0:
            raise ValueError(f"shrinkage={self.shrinkage!r} must be above 0 and at most 1")
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "DiscriminantHead needs samples of at least two classes; the data has one class: "
                f"{str(self.classes_[0])!r}"
            )
        together = np.arange(len(labels)) if groups is None else np.asarray(groups)
        check_consistent_length(matrix, together)
        prior = np.log(np.bincount(encoded) / len(encoded))
        kept = _some_of_each_class(encoded, _MAX_ROWS)
        rows, y_kept = matrix[kept].astype(np.float64), encoded[kept]
        self.temperature_ = self._temperature(rows, y_kept, together[kept], prior)
        weight, bias = self._solve(rows, y_kept, prior)
        if len(self.classes_) == 2:
            weight, bias = weight[:, [1]] - weight[:, [0]], bias[[1]] - bias[[0]]
        self.layers_ = ((weight / self.temperature_, bias / self.temperature_),)
        return self

    def _solve(
        self, X: FloatMatrix, y: NDArray[np.intp], prior: FloatMatrix
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Weight (d, n_classes) and bias (n_classes,) of the discriminant, not calibrated."""
        n, d = X.shape
        means = np.stack([X[y == k].mean(axis=0) for k in range(len(prior))])
        within = X - means[y]
        ridge = self.shrinkage * max(float(np.mean(np.square(within))), 1e-12)
        part = (1.0 - self.shrinkage) / n
        if d <= n:
            weight = scipy.linalg.solve(
                part * (within.T @ within) + ridge * np.eye(d), means.T, assume_a="pos"
            )
        else:  # the same by the matrix of the rows' products (Woodbury's identity)
            products = part * (within @ within.T) + ridge * np.eye(n)
            inner = scipy.linalg.solve(products, within @ means.T, assume_a="pos")
            weight = (means.T - part * (within.T @ inner)) / ridge
        return weight, prior - 0.5 * np.einsum("kd,dk->k", means, weight)

    def _temperature(
        self, X: FloatMatrix, y: NDArray[np.intp], groups: NDArray[Any], prior: FloatMatrix
    ) -> float:
        """What divides the log-odds so that rows of inner folds are answered best."""
        n_groups = len(np.unique(groups))
        logits = np.full((len(y), len(prior)), np.nan)
        if n_groups >= 2:
            folds = GroupKFold(min(_INNER_FOLDS, n_groups), shuffle=True, random_state=0)
            for inner, held_out in folds.split(X, y, groups):
                if len(np.unique(y[inner])) == len(prior):
                    weight, bias = self._solve(X[inner], y[inner], prior)
                    logits[held_out] = X[held_out] @ weight + bias
        known = np.flatnonzero(~np.isnan(logits[:, 0]))
        if not len(known):
            return 1.0

        def loss(log_temperature: float) -> float:
            log_proba = log_normalize(logits[known] / np.exp(log_temperature))
            return -float(log_proba[np.arange(len(known)), y[known]].mean())

        found = scipy.optimize.minimize_scalar(loss, bounds=(0.0, np.log(_SOFTEST)), method="bounded")
        return float(np.exp(found.x))

    def decision_function(self, X: ArrayLike) -> FloatMatrix:
        """Log-odds: shape (n,) for two classes, else (n, n_classes)."""
        check_is_fitted(self)
        ((weight, bias),) = self.layers_
        logits: FloatMatrix = validate_data(self, X, dtype=np.float64, reset=False) @ weight + bias
        return logits[:, 0] if len(self.classes_) == 2 else logits


def _some_of_each_class(y: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Positions of the rows that are learned from: all, or as many of each class as there is room for."""
    if len(y) <= most:
        return np.arange(len(y))
    counts = np.bincount(y)
    room = max(1, most // len(counts))
    picked = [
        np.flatnonzero(y == k)[np.linspace(0, count - 1, min(count, room)).astype(np.intp)]
        for k, count in enumerate(counts.tolist())
    ]
    return np.sort(np.concatenate(picked))
