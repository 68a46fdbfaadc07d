"""A discriminant on random features: nonlinear, and still in closed form.

Each random feature is a random sum of the columns, cut off below zero; many of them approximate a kernel (Rahimi and
Recht 2007, NeurIPS; of this kind: Cho and Saul 2009, NeurIPS).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ensemble_minerals.members.heads.discriminant import DiscriminantHead
from ensemble_minerals.members.heads.log_odds import AnswersByLogOdds

FloatMatrix = NDArray[np.floating[Any]]


class RandomFeaturesHead(AnswersByLogOdds, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """`DiscriminantHead` on random features, which is ridge regression on them but for its calibrated answers.

    Args:
        n_components: Number of random features.
        shrinkage: See `DiscriminantHead`.
        random_state: Seed.

    Attributes:
        classes_: Labels, ascending.
        layers_: Weight and bias of the random features, and of the discriminant on them: a rectifier is between.
    """

    def __init__(self, n_components: int = 500, shrinkage: float = 0.3, random_state: int = 0) -> None:
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> RandomFeaturesHead:
        """Fit to rows of shape (n, n_features) and labels of shape (n,); see `DiscriminantHead.fit`."""
        matrix, labels = validate_data(self, X, y, dtype=np.float64)
        random = check_random_state(self.random_state)
        length = np.sqrt(np.mean(np.square(matrix).sum(axis=1))) + 1e-12
        weight = random.normal(size=(matrix.shape[1], self.n_components)) / length
        bias = random.normal(size=self.n_components)
        # Of unit deviation, which a rectifier lets through: the covariance is shrunk towards the same for all.
        deviation = _rectified(matrix, weight, bias).std(axis=0)
        scale = np.where(deviation > 1e-9, deviation, 1.0)
        first = weight / scale, bias / scale
        head = DiscriminantHead(self.shrinkage).fit(_rectified(matrix, *first), labels, groups)
        self.classes_, self.layers_ = head.classes_, (first, *head.layers_)
        return self

    def decision_function(self, X: ArrayLike) -> FloatMatrix:
        """Log-odds: shape (n,) for two classes, else (n, n_classes)."""
        check_is_fitted(self)
        first, (weight, bias) = self.layers_
        logits: FloatMatrix = (
            _rectified(validate_data(self, X, dtype=np.float64, reset=False), *first) @ weight
        )
        logits += bias
        return logits[:, 0] if len(self.classes_) == 2 else logits


def _rectified(X: FloatMatrix, weight: FloatMatrix, bias: FloatMatrix) -> FloatMatrix:
    return np.maximum(X @ weight + bias, 0.0)
