"""Logistic regressions that are computed together: their losses, gradients and curvature as functions of the logits.

The rows run along the last axis of all arrays, so that sums over the few outcomes of a regression are sums of long
vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_problem import Combinations, LogisticProblem
from ensemble_minerals.members.rows import parts

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class BlockHessian:
    """Second derivatives of a block's losses by the logits.

    Attributes:
        combinations: Of the shared rows, where the block's rows are such.
        curvature: Their diagonal, weighted, on the block's rows, shape (n_columns, m).
        factor: What a change of the logits is multiplied by: the curvature, or for a softmax the weighted
            probabilities, after the mean change by the probabilities has been taken off.
        softmax: Those probabilities.
    """

    combinations: Combinations | None
    curvature: FloatMatrix
    factor: FloatMatrix
    softmax: FloatMatrix | None = None

    def product(self, change: FloatMatrix) -> FloatMatrix:
        """Change of the gradient by the logits, shape (n_columns, n), with that of the logits."""
        own = change if self.combinations is None else self.combinations.of(change)
        if self.softmax is not None:
            own = own - np.einsum("ij,ij->j", self.softmax, own)
        own = own * self.factor
        return own if self.combinations is None else self.combinations.back(own)

    def of(self, columns: NDArray[np.bool_]) -> BlockHessian:
        """That of some columns alone; those of one regression leave together."""
        if columns.all():
            return self
        return BlockHessian(self.combinations, self.curvature[columns], self.factor[columns])


class Block:
    """One regression of three outcomes or more, or several of two, on the same rows.

    Args:
        problems: The regressions.

    Attributes:
        n_columns: Columns of all.
        is_softmax: Whether it is one regression of three outcomes or more.
        weights: Shape (n_problems, m).
    """

    def __init__(self, problems: Sequence[LogisticProblem]) -> None:
        self.problems = problems
        self.n_columns = sum(problem.n_columns for problem in problems)
        self.combinations = problems[0].combinations
        self.is_softmax = problems[0].n_outcomes > 2
        self.weights = np.stack([problem.weights for problem in problems])
        targets = np.stack([problem.targets for problem in problems])
        outcomes = np.arange(self.n_columns)[:, None] if self.is_softmax else 1
        self._targets: NDArray[np.bool_] = targets == outcomes

    def evaluate(
        self, logits: FloatMatrix, dtype: np.dtype[Any]
    ) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix]:
        """Loss of each problem, the gradient by the logits, and probabilities in the precision of steps.

        Args:
            logits: On the shared rows, shape (n_columns, n); so is the gradient.
            dtype: The precision of steps.
        """
        own = logits if self.combinations is None else self.combinations.of(logits)
        losses = np.zeros(len(self.weights))
        gradient, proba = np.empty_like(own), np.empty(own.shape, dtype=dtype)
        compute = softmax if self.is_softmax else sigmoid
        for part in parts(own.shape[1]):
            weights, targets = self.weights[:, part], self._targets[:, part]
            row_losses, row_proba = compute(own[:, part], targets)
            losses += np.einsum("ij,ij->i", weights, row_losses)
            proba[:, part] = row_proba
            row_proba -= targets
            np.multiply(row_proba, weights, out=gradient[:, part])
        return losses, gradient if self.combinations is None else self.combinations.back(gradient), proba

    def hessian(self, proba: FloatMatrix) -> BlockHessian:
        """The second derivatives where the outcomes have these probabilities."""
        weighted = proba * self.weights.astype(proba.dtype)
        curvature = weighted * (1 - proba)
        if self.is_softmax:
            return BlockHessian(self.combinations, curvature, weighted, proba)
        return BlockHessian(self.combinations, curvature, curvature)


def blocks_of(problems: Sequence[LogisticProblem]) -> list[Block]:
    """Problems in blocks, in their order."""
    blocks = []
    for is_alone, some in groupby(problems, lambda one: one.n_outcomes > 2 or one.combinations is not None):
        own = list(some)
        blocks += [Block([problem]) for problem in own] if is_alone else [Block(own)]
    return blocks


def sigmoid(odds: FloatMatrix, targets: NDArray[Any]) -> tuple[FloatMatrix, FloatMatrix]:
    """Losses and probabilities of the second outcome, both of the shape of the log-odds."""
    small = np.exp(-np.abs(odds))
    losses = np.maximum(odds, 0.0) + np.log1p(small) - targets * odds
    return losses, np.where(odds >= 0.0, 1.0, small) / (1.0 + small)


def softmax(logits: FloatMatrix, targets: NDArray[Any]) -> tuple[FloatMatrix, FloatMatrix]:
    """Losses, shape (..., 1, n), and probabilities, of the shape of the logits, (..., n_outcomes, n)."""
    shifted = logits - logits.max(axis=-2, keepdims=True)
    true = np.einsum("...ij,...ij->...j", targets, shifted)
    exponential = np.exp(shifted, out=shifted)
    total = exponential.sum(axis=-2)
    exponential /= total[..., None, :]
    losses = targets.any(axis=-2) * np.log(total) - true
    return losses[..., None, :], exponential
