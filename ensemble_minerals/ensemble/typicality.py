"""How far a row lies from those of a fit, in the features of frozen extractors; in numpy alone.

Three scores, all higher for strangers:

- Relative Mahalanobis distance (Ren et al. 2021, arXiv:2106.09022): the squared Mahalanobis distance from the nearest
  class mean under one covariance (Lee et al. 2018, NeurIPS), less that from the mean of all rows under theirs. It
  tells classes that look much like those of the fit. Rows have unit length first, as in "Mahalanobis++" (Mueller and
  Hein 2025, ICML).
- Residual: the share of a row's square that lies outside of the principal directions (the residual of "ViM", Wang et
  al. 2022, CVPR). It tells what looks like nothing in the fit.
- Length: how unusual the length of a row is before it becomes one: the mean square of its standardized logarithm over
  the extractors. It tells even pictures, whose features are far from those of photos and all in the same directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ensemble_minerals.system.arrays import checked_array
from ensemble_minerals.system.memmap import take

FloatMatrix = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

SCORES = ("relative_mahalanobis", "residual", "length")
"""Names of the scores, in the order of the columns of `TypicalityModel.scores`."""

DIRECTIONS = 256
"""Principal directions, at most."""

_SHRINKAGE = 0.1
"""Share of a covariance that is its mean variance, the same in all directions."""

_FOR_DIRECTIONS, _FOR_COVARIANCES = 1024, 2048
"""Rows from which directions and covariances are learned, at most; of more rows as many of each class are taken."""

_SHORTEST = 1e-12
"""Lengths below it are taken for it."""

_PART = 1024
"""Rows that are scored at once."""

_COLUMNS = 512
"""Features whose directions are brought to double precision at once: so many stay in the processor's cache."""


@dataclass(frozen=True)
class Standardization:
    """How the features of one extractor become its part of a row; d is the number of directions.

    Attributes:
        mean: Of each feature, shape (n_features,).
        scale: Standard deviation of each feature, shape (n_features,).
        center: Mean of the parts of the rows, shape (n_features,).
        directions: The principal directions' share in this part, shape (n_features, d).
        length: Mean and standard deviation of the logarithm of the length of a row, shape (2,).
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    center: NDArray[np.float32]
    directions: NDArray[np.float32]
    length: Floats

    def centered(self, features: FloatMatrix, n_blocks: int, dtype: DTypeLike) -> tuple[FloatMatrix, Floats]:
        """Standardized features as parts of rows of unit length, less their mean, and how unusual their lengths are.

        Returns:
            Shapes (n, n_features) and (n,).
        """
        rows: FloatMatrix = features.astype(dtype)
        rows -= self.mean
        rows /= self.scale
        length = np.maximum(np.sqrt(np.einsum("ij,ij->i", rows, rows)), _SHORTEST)
        rows *= (1 / (length * rows.dtype.type(np.sqrt(n_blocks))))[:, None]
        rows -= self.center
        return rows, ((np.log(length) - self.length[0]) / self.length[1]) ** 2


@dataclass(frozen=True)
class TypicalityModel:
    """One Gaussian a class with a common covariance, and one for all rows, in the principal directions of the rows.

    Features of each extractor are standardized and brought to unit length, so that each extractor counts the same.

    Attributes:
        blocks: One for each extractor.
        class_means: Shape (n_classes, d).
        within: Whitens by the covariance within the classes, shape (d, d).
        mean: Of all rows, shape (d,).
        overall: Whitens by the covariance of all rows, shape (d, d).

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(60, 5)) + 6 * np.eye(5)[np.arange(60) % 2]
        >>> model = TypicalityModel.fit([rows], np.arange(60) % 2)
        >>> stranger = 6 * np.eye(5)[[4]]
        >>> bool((model.scores([stranger])[0, 0] > model.scores([rows])[:, 0]).all())
        True
    """

    blocks: tuple[Standardization, ...]
    class_means: Floats
    within: Floats
    mean: Floats
    overall: Floats

    @classmethod
    def fit(cls, matrices: Sequence[FloatMatrix], y: NDArray[np.intp]) -> Self:
        """Learn the model from rows.

        Args:
            matrices: Features of each extractor, each (n, n_features).
            y: Class of each row, shape (n,): any numbers.
        """
        rows = _some_of_each_class(y, _FOR_COVARIANCES)
        y = np.unique(y[rows], return_inverse=True)[1]
        own = _some_of_each_class(y, _FOR_DIRECTIONS)
        fewer = len(own) < len(rows)
        blocks, units = [], []
        for matrix in matrices:
            unit = np.array(take(matrix, rows), dtype=np.float32)
            mean = unit.mean(axis=0, dtype=np.float64).astype(np.float32)
            unit -= mean
            scale = np.sqrt(np.einsum("ij,ij->j", unit, unit) / len(unit))
            scale = np.where(scale > 1e-6 * np.maximum(1.0, np.abs(mean)), scale, 1.0).astype(np.float32)
            unit /= scale
            length = np.maximum(np.sqrt(np.einsum("ij,ij->i", unit, unit)), _SHORTEST)
            unit *= (1 / (length * np.float32(np.sqrt(len(matrices)))))[:, None]
            center = (unit[own] if fewer else unit).mean(axis=0)
            unit -= center
            units.append(unit)
            logs = np.log(length, dtype=np.float64)
            blocks.append((mean, scale, center, np.array([logs.mean(), max(float(logs.std()), 1e-3)])))
        chosen = [unit[own] for unit in units] if fewer else units
        products: Floats = np.sum([unit @ unit.T for unit in chosen], axis=0, dtype=np.float64)
        combine = _principal(products)
        standardized = tuple(
            Standardization(mean, scale, center, unit.T @ combine, length)
            for (mean, scale, center, length), unit in zip(blocks, chosen, strict=True)
        )
        projected = products @ combine
        if fewer:
            projected = np.zeros((len(rows), combine.shape[1]))
            for unit, block in zip(units, standardized, strict=True):
                projected += unit @ block.directions
        class_means = np.stack([projected[y == k].mean(axis=0) for k in range(y.max() + 1)])
        overall_mean = projected.mean(axis=0)
        return cls(
            standardized,
            class_means,
            _whitening(projected - class_means[y]),
            overall_mean,
            _whitening(projected - overall_mean),
        )

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], n_blocks: int, n_classes: int) -> Self:
        """A model from what a bundle keeps of it, see `arrays`.

        Raises:
            ValueError: If an array is not what such a model has.
        """
        mean = checked_array(arrays, "mean", np.float64, (None,))
        d = len(mean)
        blocks = []
        for number in range(n_blocks):
            directions = checked_array(arrays, f"{number}.directions", np.float32, (None, d))
            one = [
                checked_array(arrays, f"{number}.{name}", np.float32, (len(directions),))
                for name in ("mean", "scale", "center")
            ]
            if not len(directions) or one[1].min() <= 0:
                raise ValueError(f"{number}.scale must be positive numbers")
            length = checked_array(arrays, f"{number}.length", np.float64, (2,))
            if length[1] <= 0:
                raise ValueError(f"{number}.length must have a positive deviation")
            blocks.append(Standardization(one[0], one[1], one[2], directions, length))
        return cls(
            tuple(blocks),
            checked_array(arrays, "class_means", np.float64, (n_classes, d)),
            checked_array(arrays, "within", np.float64, (d, d)),
            mean,
            checked_array(arrays, "overall", np.float64, (d, d)),
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of features of each extractor."""
        return tuple(len(block.mean) for block in self.blocks)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a bundle keeps."""
        kept: dict[str, NDArray[Any]] = {
            f"{number}.{name}": values
            for number, block in enumerate(self.blocks)
            for name, values in vars(block).items()
        }
        gaussians = {name: values for name, values in vars(self).items() if name != "blocks"}
        return {name: np.ascontiguousarray(values) for name, values in (kept | gaussians).items()}

    def scores(self, matrices: Sequence[FloatMatrix], dtype: DTypeLike = np.float64) -> Floats:
        """Scores of rows, higher for strangers, shape (n, 3), see `SCORES`.

        In double precision a row's scores do not differ visibly with the number of rows that are scored together.

        Args:
            matrices: Features of each extractor, each (n, n_features).
            dtype: Precision of the rows.
        """
        projected, residual, length = _project(self.blocks, matrices, dtype)
        whitened, means = projected @ self.within, self.class_means @ self.within
        to_means = (whitened**2).sum(axis=1)[:, None] - 2 * whitened @ means.T + (means**2).sum(axis=1)
        to_all = (((projected - self.mean) @ self.overall) ** 2).sum(axis=1)
        return np.column_stack([to_means.min(axis=1) - to_all, residual, length])


def _project(
    blocks: Sequence[Standardization], matrices: Sequence[FloatMatrix], dtype: DTypeLike
) -> tuple[Floats, Floats, Floats]:
    """Rows in the principal directions, (n, d), the share of each row's square outside of them, and lengths, (n,)."""
    n, d = len(matrices[0]), blocks[0].directions.shape[1]
    projected, square, lengths = np.zeros((n, d)), np.zeros(n), np.zeros(n)
    for start in range(0, n, _PART):
        part = slice(start, start + _PART)
        for block, matrix in zip(blocks, matrices, strict=True):
            rows, length = block.centered(matrix[part], len(blocks), dtype)
            for first in range(0, rows.shape[1], _COLUMNS):
                some = slice(first, first + _COLUMNS)
                projected[part] += rows[:, some] @ block.directions[some].astype(dtype, copy=False)
            square[part] += np.einsum("ij,ij->i", rows, rows)
            lengths[part] += length / len(blocks)
    inside = (projected**2).sum(axis=1)
    return projected, np.clip(1.0 - inside / np.maximum(square, _SHORTEST), 0.0, 1.0), lengths


def _principal(products: Floats) -> NDArray[np.float32]:
    """Combinations of rows that are their principal directions, (n, d), of the products of each two rows, (n, n)."""
    variance, vectors = np.linalg.eigh(products)
    kept = np.flatnonzero(variance > 1e-6 * max(float(variance[-1]), 1e-12))[::-1][:DIRECTIONS]
    # Rows that are all alike have one direction, of no length.
    kept = kept if kept.size else np.array([len(variance) - 1])
    combinations: NDArray[np.float32] = (
        vectors[:, kept] / np.sqrt(np.maximum(variance[kept], 1e-12))
    ).astype(np.float32)
    return combinations


def _whitening(deviations: Floats) -> Floats:
    """A matrix by which rows are multiplied to have the shrunken covariance of the deviations as their unit."""
    covariance = deviations.T @ deviations / len(deviations)
    spread = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    shrunken = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * spread * np.eye(len(covariance))
    whitening: Floats = np.linalg.inv(np.linalg.cholesky(shrunken)).T
    return whitening


def _some_of_each_class(y: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Positions of all rows; where they are more than `most`, of as many rows of each class, evenly spaced."""
    if len(y) <= most:
        return np.arange(len(y))
    classes = np.unique(y)
    each = max(2, most // len(classes))
    chosen = []
    for k in classes:
        own = np.flatnonzero(y == k)
        chosen.append(own[np.unique(np.linspace(0, len(own) - 1, each).astype(np.intp))])
    return np.sort(np.concatenate(chosen))
