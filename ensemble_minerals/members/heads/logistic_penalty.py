"""The penalty of logistic regressions, chosen inside the training rows.

An inner cross-validation over row groups scores penalties along a path, from the strongest on; each starts from the
solutions of the one before. The regressions of all inner folds share their rows and are solved together: held-out
rows have weight zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.log_space import log_proba_of_logits
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem, Solution
from ensemble_minerals.members.heads.logistic_solver import SharedRows, joined, solve_logistic

FloatMatrix = NDArray[np.floating[Any]]

AUTO = "auto"
"""In place of a number: the penalty is chosen."""

PATH = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Inverse penalties (C) that are tried, the strongest penalty first."""

INNER_FOLDS = 5
"""Folds of the inner cross-validation."""

_TOLERANCE = 1e-3
"""Of the solver: a choice needs fewer digits than answers."""


@dataclass(frozen=True)
class PenaltyChoice:
    """Regressions whose common penalty is to be chosen.

    Attributes:
        shared: The rows; each of n rows may come in several views, one after the other.
        problems: The regressions, with any penalty.
        subproblems: What each is asked: the rows that have an outcome in it.
        shifts: Of each, what is added to its logits when it answers.
        n_views: Views of a row.
        max_iter: Limit of the solver's steps.
    """

    shared: SharedRows
    problems: Sequence[LogisticProblem]
    subproblems: Sequence[Subproblem]
    shifts: Sequence[FloatMatrix]
    n_views: int = 1
    max_iter: int = 100

    def choose(self, folds: NDArray[np.int8] | None) -> float | None:
        """The inverse penalty with the lowest log-loss of held-out rows, all regressions together.

        The path is left where the loss begins to rise.

        Args:
            folds: Inner fold of each row, shape (n,).

        Returns:
            It, or None where no fold leaves rows of every outcome to learn from.
        """
        if folds is None:
            return None
        numbers = [
            number
            for number in np.unique(folds).tolist()
            if all(
                len(np.unique(one.targets[folds[one.rows] != number])) == one.n_outcomes
                for one in self.subproblems
            )
        ]
        if not numbers:
            return None
        of_views = np.repeat(folds, self.n_views)
        inner = [problem.without(of_views == number) for number in numbers for problem in self.problems]
        best, lowest, start = PATH[0], np.inf, None
        for C in PATH:
            penalized = [replace(problem, C=C) for problem in inner]
            start = solve_logistic(
                self.shared, penalized, start=start, tol=_TOLERANCE, max_iter=self.max_iter
            )
            loss = self._loss(start, folds, numbers)
            if loss >= lowest:
                break
            best, lowest = C, loss
        return best

    def _loss(self, solutions: Sequence[Solution], folds: NDArray[np.int8], numbers: Sequence[int]) -> float:
        """Sum of the log-losses of held-out rows."""
        logits = self.shared.logits(joined(solutions))
        of_rows = logits.reshape(len(logits), -1, self.n_views).mean(axis=2)
        blocks = iter(np.split(of_rows, np.cumsum([len(one.bias) for one in solutions])[:-1]))
        loss = 0.0
        for number in numbers:
            for subproblem, shift in zip(self.subproblems, self.shifts, strict=True):
                held_out = folds[subproblem.rows] == number
                asked = next(blocks)[:, subproblem.rows[held_out]].T + shift
                log_proba = log_proba_of_logits(asked)
                loss -= float(log_proba[np.arange(len(asked)), subproblem.targets[held_out]].sum())
        return loss
