"""Predictors of fitted members: a few small matrix products, in numpy alone.

Fold models are averaged as log-odds (a geometric mean of the odds), before probabilities are computed. So the fold
models of linear heads collapse into one matrix, and ten folds cost as much as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.log_space import log_normalize, log_proba_of_logits, log_sigmoid
from ensemble_minerals.taxonomy import Taxonomy

FloatMatrix = NDArray[np.floating[Any]]


class Specialist(Protocol):
    """A function from features to the log-odds of the outcomes of a subproblem."""

    def logits(self, X: FloatMatrix) -> FloatMatrix:
        """Log-odds, shape (n, n_outcomes); for two outcomes (n, 1), the log-odds of the second."""
        ...

    @property
    def nbytes(self) -> int:
        """Size of its matrices; 0 where it has none."""
        ...

    @property
    def n_columns(self) -> int | None:
        """Number of features; None where it is not known."""
        ...


@dataclass(frozen=True)
class DenseSpecialist:
    """Affine layers with rectifiers between them; one layer is a linear head.

    Attributes:
        layers: Pairs of weight (n_in, n_out) and bias (n_out,).
    """

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    @property
    def nbytes(self) -> int:
        """Size of the matrices."""
        return sum(weight.nbytes + bias.nbytes for weight, bias in self.layers)

    @property
    def n_columns(self) -> int:
        """Number of features."""
        return len(self.layers[0][0])

    def logits(self, X: FloatMatrix) -> FloatMatrix:
        """Log-odds of the outcomes, shape (n, n_outputs), float64.

        In float32 the sums would differ visibly with the number of rows that are predicted together.
        """
        last = len(self.layers) - 1
        values: FloatMatrix = np.asarray(X, dtype=np.float64)
        for number, (weight, bias) in enumerate(self.layers):
            values = values @ weight + bias
            if number < last:
                values = np.maximum(values, 0.0)
        return values


@dataclass(frozen=True)
class ClassifierSpecialist:
    """Any fitted scikit-learn classifier of the outcomes of a subproblem.

    Attributes:
        classifier: Fitted; its classes are the numbers of the outcomes.
        shift: Added to the log-probabilities, shape (n_outcomes,): the prior correction.
    """

    classifier: Any
    shift: FloatMatrix

    @property
    def nbytes(self) -> int:
        """Not known, so 0."""
        return 0

    @property
    def n_columns(self) -> None:
        """Not known, so None."""

    def logits(self, X: FloatMatrix) -> FloatMatrix:
        """Shifted log-probabilities of the outcomes, (n, n_outcomes); for two outcomes their log-odds, (n, 1)."""
        proba = np.clip(self.classifier.predict_proba(X), 1e-12, None)
        logits: FloatMatrix = np.log(proba) + self.shift
        return logits[:, [1]] - logits[:, [0]] if logits.shape[1] == 2 else logits


@dataclass(frozen=True)
class MemberPredictor:
    """One or several fold models of one member.

    Attributes:
        taxonomy: Classes and, for a hierarchical member, their tree; flat for a flat member.
        one_vs_rest: Whether there is a specialist for each class against the others, not for each node of the tree.
        specialists: For each fold model its specialists, in the order of the nodes (or classes).
    """

    taxonomy: Taxonomy
    one_vs_rest: bool
    specialists: tuple[tuple[Specialist, ...], ...]

    def log_proba(self, X: FloatMatrix) -> FloatMatrix:
        """Log-probabilities of the classes, shape (n, n_classes)."""
        log_odds = self._log_odds(X)
        if self.one_vs_rest:
            return log_normalize(log_sigmoid(np.concatenate(log_odds, axis=1)))
        return self.taxonomy.expand_log([log_proba_of_logits(z) for z in log_odds])

    def _log_odds(self, X: FloatMatrix) -> list[FloatMatrix]:
        """Of each subproblem, averaged over the fold models."""
        if self.is_linear and len(self.specialists) == 1:
            # One product with the weights of all, as the features are read but once.
            layers = [one.layers[0] for one in self.specialists[0] if isinstance(one, DenseSpecialist)]
            weight = np.concatenate([weight for weight, _ in layers], axis=1)
            logits = DenseSpecialist(((weight, np.concatenate([bias for _, bias in layers])),)).logits(X)
            return np.split(logits, np.cumsum([len(bias) for _, bias in layers])[:-1], axis=1)
        return [
            np.mean([fold[number].logits(X) for fold in self.specialists], axis=0)
            for number in range(len(self.specialists[0]))
        ]

    @property
    def is_linear(self) -> bool:
        """Whether every specialist is a single affine map."""
        return all(
            isinstance(specialist, DenseSpecialist) and len(specialist.layers) == 1
            for fold in self.specialists
            for specialist in fold
        )

    def widened(self, start: int, total: int) -> MemberPredictor:
        """The same predictor of columns that begin at `start`, among `total`."""
        return MemberPredictor(
            self.taxonomy,
            self.one_vs_rest,
            tuple(
                tuple(_widened(specialist, start, total) for specialist in fold) for fold in self.specialists
            ),
        )

    def collapse(self) -> MemberPredictor:
        """One fold model with the same answers, if all are linear; otherwise itself."""
        if not self.is_linear or len(self.specialists) == 1:
            return self
        merged: list[Specialist] = []
        for folds in zip(*self.specialists, strict=True):
            pairs = [specialist.layers[0] for specialist in folds if isinstance(specialist, DenseSpecialist)]
            weight = np.stack([weight for weight, _ in pairs]).mean(axis=0, dtype=np.float64)
            bias = np.stack([bias for _, bias in pairs]).mean(axis=0, dtype=np.float64)
            merged.append(DenseSpecialist(((weight.astype(np.float32), bias.astype(np.float32)),)))
        return MemberPredictor(self.taxonomy, self.one_vs_rest, (tuple(merged),))


@dataclass(frozen=True)
class AveragedPredictor:
    """The fold models of one member, averaged.

    Attributes:
        parts: Fold models that share a tree are in one part; a member whose groups are learned inside each
            fold has several.
        weights: Number of fold models in each part.
    """

    parts: tuple[MemberPredictor, ...]
    weights: tuple[float, ...]

    @property
    def nbytes(self) -> int:
        """Size of all matrices."""
        return sum(
            specialist.nbytes for part in self.parts for folds in part.specialists for specialist in folds
        )

    @property
    def n_arrays(self) -> int:
        """Number of matrices and biases of dense specialists."""
        return sum(
            2 * len(specialist.layers)
            for part in self.parts
            for folds in part.specialists
            for specialist in folds
            if isinstance(specialist, DenseSpecialist)
        )

    @property
    def n_columns(self) -> int | None:
        """Number of features; None where it is not known."""
        return self.parts[0].specialists[0][0].n_columns

    @property
    def is_linear(self) -> bool:
        """Whether all fold models are affine maps, so that many cost what one does."""
        return all(part.is_linear for part in self.parts)

    @classmethod
    def average(cls, predictors: Sequence[MemberPredictor]) -> AveragedPredictor:
        """Average fold models: those with the same tree as log-odds, different trees as log-probabilities."""
        by_tree: dict[Taxonomy, list[MemberPredictor]] = {}
        for predictor in predictors:
            by_tree.setdefault(predictor.taxonomy, []).append(predictor)
        parts = tuple(
            MemberPredictor(
                tree, same[0].one_vs_rest, tuple(fold for predictor in same for fold in predictor.specialists)
            ).collapse()
            for tree, same in by_tree.items()
        )
        return cls(parts, tuple(float(len(same)) for same in by_tree.values()))

    def log_proba(self, X: FloatMatrix) -> FloatMatrix:
        """Log-probabilities of the classes, shape (n, n_classes)."""
        if len(self.parts) == 1:
            return self.parts[0].log_proba(X)
        return log_normalize(
            np.average([part.log_proba(X) for part in self.parts], axis=0, weights=self.weights)
        )


def _widened(specialist: Specialist, start: int, total: int) -> Specialist:
    if not isinstance(specialist, DenseSpecialist):
        raise TypeError("a foreign classifier cannot be given other columns")
    (weight, bias), *rest = specialist.layers
    wide = np.zeros((total, weight.shape[1]), dtype=weight.dtype)
    wide[start : start + len(weight)] = weight
    return DenseSpecialist(((wide, bias), *rest))
