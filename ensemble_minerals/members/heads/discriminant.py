"""Linear discriminant analysis whose covariance is shrunk, in closed form, with its answers softened to fit.

The classes share one covariance, estimated from far fewer rows than columns. Shrinking it towards a multiple of the
identity makes it invertible and its answers accurate (Friedman 1989, Journal of the American Statistical Association
84, "Regularized discriminant analysis"), but its probabilities stay far too sure. So one number divides its log-odds,
learned on rows that an inner fold left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
        kept = _some_of_each_class(encoded, _MAX_ROWS)
        some = matrix[kept].astype(np.float64)
        wide = matrix.shape[1] > len(kept)
        rows = _ByProducts(some @ some.T, matrix.shape[1]) if wide else _ByColumns(some)
        weight, bias = self._learn(rows, encoded, kept, together)
        self.layers_ = ((some.T @ weight if wide else weight, bias),)
        return self

    def fit_products(
        self, gram: FloatMatrix, n_dimensions: int, y: NDArray[np.intp], groups: NDArray[Any]
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Fit to rows of which only the inner products are known.

        Args:
            gram: Inner products of all pairs of rows, shape (n, n).
            n_dimensions: Of the space that the rows lie in.
            y: Outcomes, shape (n,), each of 0 to the highest there.
            groups: Row groups, shape (n,).

        Returns:
            Coefficients of the rows (n, n_outputs) and bias (n_outputs,): logits are the inner products with the rows
            @ coefficients + bias.
        """
        kept = _some_of_each_class(y, _MAX_ROWS)
        coefficients = np.zeros((len(y), 1 if y.max() == 1 else y.max() + 1))
        some = gram if len(kept) == len(y) else gram[np.ix_(kept, kept)]
        coefficients[kept], bias = self._learn(_ByProducts(some, n_dimensions), y, kept, groups)
        return coefficients, bias

    def _learn(
        self,
        rows: _ByProducts | _ByColumns,
        y: NDArray[np.intp],
        kept: NDArray[np.intp],
        groups: NDArray[Any],
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Coefficients and bias, calibrated, of rows that are those `kept` of all."""
        prior = np.log(np.bincount(y) / len(y))
        self.temperature_ = self._temperature(rows, y[kept], groups[kept], prior)
        weight, bias = rows.solve(y[kept], prior, self.shrinkage)
        if len(prior) == 2:
            weight, bias = weight[:, [1]] - weight[:, [0]], bias[[1]] - bias[[0]]
        return weight / self.temperature_, bias / self.temperature_

    def _temperature(
        self,
        rows: _ByProducts | _ByColumns,
        y: NDArray[np.intp],
        groups: NDArray[Any],
        prior: FloatMatrix,
    ) -> float:
        """What divides the log-odds so that rows of inner folds are answered best."""
        n_groups = len(np.unique(groups))
        logits = np.full((len(y), len(prior)), np.nan)
        if n_groups >= 2:
            folds = GroupKFold(min(_INNER_FOLDS, n_groups), shuffle=True, random_state=0)
            for inner, held_out in folds.split(y, y, groups):
                if len(np.unique(y[inner])) == len(prior):
                    trained, asked = rows.split(inner, held_out)
                    weight, bias = trained.solve(y[inner], prior, self.shrinkage)
                    logits[held_out] = asked @ weight + bias
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


class _ByColumns(NamedTuple):
    """Rows with no more columns than there are rows; coefficients are those of the columns."""

    X: FloatMatrix

    def split(self, trained: NDArray[np.intp], held_out: NDArray[np.intp]) -> tuple[_ByColumns, FloatMatrix]:
        """Some rows, and others as what coefficients are multiplied with."""
        return _ByColumns(self.X[trained]), self.X[held_out]

    def solve(
        self, y: NDArray[np.intp], prior: FloatMatrix, shrinkage: float
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Coefficients (d, n_classes) and bias (n_classes,) of the discriminant, not calibrated."""
        n, d = self.X.shape
        means = _averages(y, len(prior)) @ self.X
        within = self.X - means[y]
        covariance = (1.0 - shrinkage) / n * (within.T @ within)
        covariance.flat[:: d + 1] += shrinkage * max(float(np.mean(np.square(within))), 1e-12)
        weight = scipy.linalg.solve(covariance, means.T, assume_a="pos")
        return weight, prior - 0.5 * np.einsum("kd,dk->k", means, weight)


class _ByProducts(NamedTuple):
    """Rows by their inner products, and the number of their dimensions; coefficients are those of the rows."""

    gram: FloatMatrix
    n_dimensions: int

    def split(self, trained: NDArray[np.intp], held_out: NDArray[np.intp]) -> tuple[_ByProducts, FloatMatrix]:
        """Some rows, and others as what coefficients are multiplied with."""
        return self._replace(gram=self.gram[np.ix_(trained, trained)]), self.gram[np.ix_(held_out, trained)]

    def solve(
        self, y: NDArray[np.intp], prior: FloatMatrix, shrinkage: float
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Coefficients (n, n_classes) and bias (n_classes,) of the discriminant, not calibrated.

        It is that of the columns, by Woodbury's identity.
        """
        n = len(y)
        averages = _averages(y, len(prior))
        to_means = averages @ self.gram
        within = self.gram - to_means[y]  # rows without their class mean, times rows
        means = within @ averages.T
        within -= means[:, y]
        ridge = shrinkage * max(float(np.trace(within)) / (n * self.n_dimensions), 1e-12)
        part = (1.0 - shrinkage) / n
        within *= part
        within.flat[:: n + 1] += ridge
        inner = scipy.linalg.solve(within, means, assume_a="pos", overwrite_a=True)
        inner -= (averages @ inner)[y]
        coefficients = (averages.T - part * inner) / ridge
        return coefficients, prior - 0.5 * np.einsum("kn,nk->k", to_means, coefficients)


def _averages(y: NDArray[np.intp], n_classes: int) -> FloatMatrix:
    """A matrix that averages the rows of each class, shape (n_classes, n)."""
    of_class = np.arange(n_classes)[:, None] == y
    averages: FloatMatrix = of_class / np.maximum(of_class.sum(axis=1, keepdims=True), 1)
    return averages


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
