"""Candidates for combining the members, fitted to rows outside of some folds; no fit is repeated.

From simple to complex: the best single member; the uniform mean, of the members as they are or each calibrated by a
temperature of its own; greedy selection with replacement (Caruana et al. 2004, ICML, "Ensemble selection from
libraries of models"); a weighted product of the members (a logarithmic opinion pool; Hinton 2002, Neural
Computation 14); L2 multinomial logistic regression over all log-probabilities (Wolpert 1992, Neural Networks 5,
"Stacked generalization").
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import reduce
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
from joblib import delayed
from numpy.typing import NDArray

from ensemble_minerals.ensemble.calibration import TemperatureScaling
from ensemble_minerals.ensemble.combination import Combination, centered
from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem, Solution
from ensemble_minerals.members.heads.logistic_solver import solve_logistic
from ensemble_minerals.system.parallel import run_unordered

FloatMatrix = NDArray[np.floating[Any]]

USUAL = ("best_single", "uniform", "greedy", "log_pool", "logistic")
"""Names of the candidates that compete unless told otherwise, from simple to complex."""

CANDIDATES = ("best_single", "uniform", "calibrated", "greedy", "log_pool", "logistic")
"""Names of all candidates, from simple to complex."""

PENALTIES = (0.001, 0.01, 0.1)
"""Inverse penalties of the logistic candidate, from strong to weak."""


class Candidate(NamedTuple):
    """A fitted candidate.

    Attributes:
        combination: What it combines by.
        converged: Whether it was solved to within its tolerance.
    """

    combination: Combination
    converged: bool = True


class CandidateFits:
    """Candidates fitted to all rows, or to those outside of some folds.

    Nested cross-fitting leaves out the same pair of folds in either order, and needs the same candidates both times.
    So all objects that `without` derives from one object share their fits.

    Args:
        members: Out-of-fold log-probabilities, shape (n, n_members, n_classes).
        y: Class positions, shape (n,).
        folds: Fold of each row, shape (n,).
        greedy_iterations: Draws of greedy selection.

    Attributes:
        members: Of the rows that are not left out; so are `y` and `folds`.
    """

    def __init__(
        self, members: FloatMatrix, y: NDArray[np.intp], folds: NDArray[np.intp], greedy_iterations: int = 50
    ) -> None:
        self.members, self.y, self.folds = members, y, folds
        self.greedy_iterations = greedy_iterations
        self._left_out: frozenset[int] = frozenset()
        self._fitted: dict[tuple[str, frozenset[int]], list[Candidate]] = {}

    def without(self, fold: int) -> CandidateFits:
        """Candidates on the rows outside of one more fold."""
        rest = self.folds != fold
        inner = CandidateFits(self.members[rest], self.y[rest], self.folds[rest], self.greedy_iterations)
        inner._left_out, inner._fitted = self._left_out | {fold}, self._fitted
        return inner

    def fit_ahead(self, names: Sequence[str], n_jobs: int) -> None:
        """Fit candidates in threads to all that nested cross-fitting leaves: `fit` then finds them ready.

        Args:
            names: Of the candidates.
            n_jobs: Fits at once.
        """
        folds = np.unique(self.folds).tolist()
        deepest = 2 if len(folds) > 2 else 1
        left_out = [some for size in range(deepest + 1) for some in combinations(folds, size)]
        calls = [delayed(self._fit_without)(some, name) for name in names for some in left_out]
        with closing(run_unordered(calls, n_jobs=n_jobs, threads=True)) as results:
            for _ in results:
                pass

    def _fit_without(self, folds: Sequence[int], name: str) -> None:
        reduce(CandidateFits.without, folds, self).fit(name)

    def fit(self, name: str) -> list[Candidate]:
        """The fitted candidate of a name; for the logistic one a candidate for each of `PENALTIES`.

        Raises:
            ValueError: If it is none of `CANDIDATES`.
        """
        key = name, self._left_out
        if key not in self._fitted:
            self._fitted[key] = self._fit(name)
        return self._fitted[key]

    def _fit(self, name: str) -> list[Candidate]:
        members, y = self.members, self.y
        n_members, n_classes = members.shape[1:]
        if name == "logistic":
            return [_linear(solution) for solution in _regularization_path(centered(members), y, n_classes)]
        if name == "log_pool":
            return [Candidate(Combination("product", _pool_weights(members, y), np.zeros(n_classes)))]
        if name == "calibrated":
            temperatures = [
                TemperatureScaling().fit(members[:, number], y).temperature_ for number in range(n_members)
            ]
            return [Candidate(Combination("calibrated", 1 / np.array(temperatures), np.zeros(n_classes)))]
        if name == "greedy":
            weight = _select_greedily(members, y, self.greedy_iterations)
        elif name == "best_single":
            weight = np.eye(n_members)[int(members[np.arange(len(y)), :, y].mean(axis=0).argmax())]
        elif name == "uniform":
            weight = np.full(n_members, 1.0 / n_members)
        else:
            raise ValueError(f"{name!r} is no candidate; choose from {', '.join(CANDIDATES)}")
        return [Candidate(Combination("mean", weight, np.zeros(n_classes)))]


def _regularization_path(X: FloatMatrix, y: NDArray[np.intp], n_classes: int) -> list[Solution]:
    """A logistic regression for each penalty, from strong to weak, each started at the solution of the one before.

    They are solved along the principal axes of the rows: a rotation does not change an L2 penalty, and the solver
    takes half as many products where the Hessian is nearly diagonal.
    """
    _, axes = np.linalg.eigh(X.T @ X)
    rotated = X @ axes
    path: list[Solution] = []
    for penalty in PENALTIES:
        problem = LogisticProblem(y, np.ones(len(y)), n_classes, penalty)
        path += solve_logistic(rotated, [problem], start=path[-1:] or None)
    return [solution._replace(weight=axes @ solution.weight) for solution in path]


def _linear(solution: Solution) -> Candidate:
    weight, bias, converged, _ = solution
    if len(bias) == 1:  # two classes
        weight, bias = np.column_stack([np.zeros_like(weight), weight]), np.append(0.0, bias)
    return Candidate(Combination("linear", weight, bias), converged)


def _select_greedily(members: FloatMatrix, y: NDArray[np.intp], iterations: int) -> FloatMatrix:
    """Weights of greedy selection with replacement: each draw adds the member that lowers the log-loss most.

    Of the draws the best prefix is kept.
    """
    true = np.exp(members[np.arange(len(y)), :, y])
    counts = np.zeros(members.shape[1])
    total = np.zeros(len(y))
    best_loss, best_counts = np.inf, counts
    for drawn in range(1, iterations + 1):
        losses = -np.log((total[:, None] + true) / drawn).mean(axis=0)
        choice = int(losses.argmin())
        counts = counts + (np.arange(len(counts)) == choice)
        total = total + true[:, choice]
        if losses[choice] < best_loss - 1e-12:
            best_loss, best_counts = float(losses[choice]), counts
    weights: FloatMatrix = best_counts / best_counts.sum()
    return weights


def _pool_weights(members: FloatMatrix, y: NDArray[np.intp]) -> FloatMatrix:
    """Non-negative powers of the members, with a weak ridge penalty on their distance from the uniform pool."""
    n, n_members, n_classes = members.shape
    rows = np.arange(n)
    start = np.full(n_members, 1.0 / n_members)

    # One row for each (row, class), so that each sum is one matrix product.
    of_member = np.ascontiguousarray(members.transpose(0, 2, 1)).reshape(-1, n_members)
    of_truth = members[rows, :, y].sum(axis=0)

    def objective(weight: FloatMatrix) -> tuple[float, FloatMatrix]:
        pooled = log_normalize((of_member @ weight).reshape(n, n_classes))
        expected = np.exp(pooled).ravel() @ of_member
        away = weight - start
        loss = -float(pooled[rows, y].sum()) + 0.5 * n_members * float(away @ away)
        return loss, expected - of_truth + n_members * away

    result = scipy.optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * n_members
    )
    weights: FloatMatrix = result.x
    return weights if weights.sum() > 0 else start
