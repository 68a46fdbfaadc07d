"""An exact change of coordinates: standardized features, rotated into at most as many columns as rows.

A head with an L2 penalty depends only on inner products of rows, so solving it in the row space of the training
matrix gives the same function as solving it on all columns (Hastie & Tibshirani 2004, Biostatistics 5, "Efficient
quadratic regularization for expression arrays"). Neighbors, and so SMOTE, stay the same too, because a rotation
keeps distances. With 600 rows and 4,000 columns, every head of a fold becomes seven times smaller, and one
factorization serves all heads of the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ensemble_minerals.members.rows import Rows, are_many, parts
from ensemble_minerals.system.memmap import allocate

FloatMatrix = NDArray[np.floating[Any]]

_CONSTANT = 1e-6  # of the largest singular value: axes below it do not vary


class RowSpace(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Standardize columns, scale rows to unit mean square length, rotate onto the principal axes.

    The scaling gives a penalty the same meaning for any number of columns. Blocks of columns, such as the features of
    several extractors, count alike: a thousand columns of color are not lost beside ten thousand of networks. The
    rotation is exact: it drops only axes along which the training rows do not vary (below a
    millionth of the largest singular value).

    Args:
        blocks: Number of columns of each block; all columns are one block if None.
        max_rank: With more rows and more columns than this, a factorization costs more time than it saves, and the
            standardized columns are kept.

    Attributes:
        mean_: Column means, shape (n_features,).
        scale_: What standardized columns are divided by, shape (n_features,).
        n_features_in_: Number of columns seen in `fit`.
    """

    def __init__(self, blocks: Sequence[int] | None = None, max_rank: int = 2048) -> None:
        self.blocks = blocks
        self.max_rank = max_rank

    def fit(self, X: ArrayLike, y: object = None) -> RowSpace:
        """Learn means, scales and the rotation from training rows, shape (n, n_features)."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: ArrayLike, y: object = None, **fit_params: object) -> FloatMatrix:
        """Learn from training rows and return them in the new coordinates, shape (n, rank), float64."""
        return self.rotate(self.standardize(X))

    def standardize(self, X: ArrayLike) -> FloatMatrix:
        """Learn means and scales from training rows and return them standardized, in their own precision."""
        matrix = validate_data(self, X, dtype=(np.float64, np.float32))
        self.mean_ = matrix.mean(axis=0, dtype=np.float64)
        centered = matrix - self.mean_.astype(matrix.dtype)
        self._learn_scale(np.einsum("ij,ij->j", centered, centered).astype(np.float64) / len(centered))
        centered /= self.scale_.astype(matrix.dtype)
        self._rotation: tuple[FloatMatrix, ...] = ()
        standard: FloatMatrix = centered
        return standard

    def join(self, spaces: Sequence[RowSpace]) -> None:
        """Learn means and scales from spaces of single blocks, as `standardize` does from the rows of all of them."""
        self.mean_ = np.concatenate([space.mean_ for space in spaces])
        self.scale_: FloatMatrix = np.concatenate([space.scale_ for space in spaces]) * np.sqrt(len(spaces))
        self.n_features_in_ = len(self.mean_)
        self._rotation = ()

    def rotate(self, standard: FloatMatrix) -> FloatMatrix:
        """Learn the rotation from standardized training rows and return them in it, shape (n, rank), float64."""
        standard = standard.astype(np.float64, copy=False)
        n_rows, n_columns = standard.shape
        if min(n_rows, n_columns) > self.max_rank:
            return standard
        # NumPy's decomposition lets other threads go on meanwhile; SciPy's holds the interpreter.
        if n_rows <= n_columns:
            values, left = np.linalg.eigh(standard @ standard.T)
            kept, singular = self._kept(values)
            # A head has few columns: two products with them cost less than one with the product of the two factors.
            self._rotation = (standard.T, left[:, kept] / singular)
            reduced: FloatMatrix = left[:, kept] * singular
            return reduced
        values, right = np.linalg.eigh(standard.T @ standard)
        kept, _ = self._kept(values)
        self._rotation = (right[:, kept],)
        rotated: FloatMatrix = standard @ self._rotation[0]
        return rotated

    def fit_rows(self, rows: Rows) -> FloatMatrix:
        """`fit_transform` of rows that may not fit in memory.

        Many rows are read in parts, three times; their coordinates are float32, in a mapped file if they are large.

        Raises:
            ValueError: If a feature is not finite.
        """
        if not are_many(len(rows)):
            return self.fit_transform(rows.whole())
        n_rows, n_columns = len(rows), rows.n_columns
        rotated = min(n_rows, n_columns) <= self.max_rank
        self.n_features_in_ = n_columns
        self.mean_ = sum(part.sum(axis=0, dtype=np.float64) for part in rows.parts()) / n_rows
        if not np.isfinite(self.mean_).all():
            raise ValueError("features have NaN or infinity")
        products = np.zeros((n_columns, n_columns) if rotated else n_columns)
        for part in rows.parts():
            centered = part - self.mean_
            products += centered.T @ centered if rotated else np.square(centered).sum(axis=0)
        self._learn_scale((np.diag(products) if rotated else products) / n_rows)
        self._rotation, rank = (), n_columns
        if rotated:
            values, right = np.linalg.eigh(products / (self.scale_[:, None] * self.scale_))
            axes = right[:, self._kept(values)[0]]
            self._rotation, rank = (axes,), axes.shape[1]
        reduced = allocate((n_rows, rank))
        for section, part in zip(parts(n_rows), rows.parts(), strict=True):
            reduced[section] = self.transform(part)
        return reduced

    def _learn_scale(self, variance: FloatMatrix) -> None:
        blocks = [variance] if self.blocks is None else np.split(variance, np.cumsum(self.blocks)[:-1])
        self.scale_ = np.concatenate([_scale(block, 1.0 / len(blocks)) for block in blocks])

    def _kept(self, values: FloatMatrix) -> tuple[NDArray[np.bool_], FloatMatrix]:
        """Which axes vary, and their singular values, from the eigenvalues of a Gram matrix."""
        singular = np.sqrt(np.clip(values, 0.0, None))
        kept = singular > _CONSTANT * max(float(singular[-1]), 1e-300)
        if not kept.any():  # constant features: keep one axis so that heads have a column
            kept[-1] = True
            singular = np.maximum(singular, 1.0)
        return kept, singular[kept]

    def transform(self, X: ArrayLike) -> FloatMatrix:
        """Bring rows, shape (n, n_features), into the learned coordinates, shape (n, rank)."""
        check_is_fitted(self)
        matrix = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        standard = (matrix - self.mean_) / self.scale_
        reduced: FloatMatrix = reduce(np.matmul, self._rotation, standard)
        return reduced

    def fold_in(
        self, weight: FloatMatrix, bias: FloatMatrix
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Express a linear map of the reduced columns as one of the raw columns.

        Args:
            weight: Shape (rank, n_outputs).
            bias: Shape (n_outputs,).

        Returns:
            Weight of shape (n_features, n_outputs) and bias of shape (n_outputs,), float32.
        """
        raw = reduce(lambda inner, factor: factor @ inner, reversed(self._rotation), weight)
        return self.of_raw(raw, bias)

    def of_raw(
        self, weight: FloatMatrix, bias: FloatMatrix
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Express a linear map of the standardized columns as one of the raw columns; see `fold_in`."""
        raw = weight / self.scale_[:, None]
        return raw.astype(np.float32), (bias - self.mean_ @ raw).astype(np.float32)


def _scale(variance: FloatMatrix, square_length: float) -> FloatMatrix:
    """What to divide columns by so that their part of a row's mean square length is as wanted."""
    deviation = np.sqrt(variance)
    # Adds a thousandth of the typical spread, so that a nearly constant column is not scaled up to noise.
    deviation += 1e-3 * float(np.sqrt(np.mean(deviation**2))) + 1e-12
    scale: FloatMatrix = deviation * max(
        float(np.sqrt(np.sum(variance / deviation**2) / square_length)), 1e-12
    )
    return scale
