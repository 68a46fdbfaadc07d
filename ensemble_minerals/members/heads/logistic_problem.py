"""A logistic regression to be solved, and its solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.subproblem import n_logits

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LogisticProblem:
    """One regression on a shared feature matrix.

    Attributes:
        targets: Outcome of each row, shape (n,); ignored where the weight is zero.
        weights: Non-negative weight of each row, shape (n,).
        n_outcomes: Number of outcomes, at least 2.
        C: Inverse strength of the penalty.
    """

    targets: NDArray[np.intp]
    weights: FloatMatrix
    n_outcomes: int
    C: float

    @property
    def n_columns(self) -> int:
        """Columns of the solution: one for two outcomes, their log-odds; else one for each outcome."""
        return n_logits(self.n_outcomes)


class Solution(NamedTuple):
    """The solution of a problem, float64.

    Attributes:
        weight: Shape (d, n_columns).
        bias: Shape (n_columns,).
        converged: Whether it reached the tolerance.
    """

    weight: FloatMatrix
    bias: FloatMatrix
    converged: bool
