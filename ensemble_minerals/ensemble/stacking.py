"""The meta-learner: combines the members' log-probabilities, and is only as complex as the data can pay for.

Candidates, from simple to complex: the best single member; the uniform mean; greedy selection with replacement
(Caruana et al. 2004, ICML, "Ensemble selection from libraries of models"); a weighted product of the members
(a logarithmic opinion pool; Hinton 2002, Neural Computation 14); L2 multinomial logistic regression over all
log-probabilities (Wolpert 1992, Neural Networks 5, "Stacked generalization"). They are compared by
cross-fitted log-loss over the same grouped folds, and the one-standard-error rule goes to the simplest that is
not clearly worse than the best, so stacking that would hurt is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from ensemble_minerals.ensemble.combination import Combination, centered
from ensemble_minerals.members.logistic_solver import LogisticProblem, Solution, solve_logistic
from ensemble_minerals.members.scorer import log_normalize

FloatMatrix = NDArray[np.floating[Any]]

CANDIDATES = ("best_single", "uniform", "greedy", "log_pool", "logistic")
"""Names of the candidates, from simple to complex."""

_PENALTIES = (0.001, 0.01, 0.1)
_ROUNDING = 1e-12  # nats; candidates that give the same answers are equal, whatever the order of their sums
_TOLERANCE = 1e-2  # penalized this much, a finer solution moves the log-loss in the sixth digit


class MetaLearner:
    """Chooses and fits a combination of members.

    Args:
        candidates: Which of `CANDIDATES` to consider.
        one_standard_error: Prefer the simplest candidate within one standard error of the best; else the best.
        greedy_iterations: Draws of greedy selection.

    Attributes:
        scores_: For each candidate its cross-fitted ``log_loss`` and ``accuracy``.
        chosen_: Name of the candidate in use.
        combination_: It, fitted on all rows.
        cross_fitted_: Its cross-fitted log-probabilities, shape (n, n_classes).
        penalty_: Inverse penalty of the logistic candidate, where it was considered.
    """

    def __init__(
        self,
        candidates: Sequence[str] = CANDIDATES,
        one_standard_error: bool = True,
        greedy_iterations: int = 50,
    ) -> None:
        self.candidates = candidates
        self.one_standard_error = one_standard_error
        self.greedy_iterations = greedy_iterations

    def fit(
        self,
        members: FloatMatrix,
        y: NDArray[np.intp],
        folds: NDArray[np.intp],
        groups: NDArray[np.intp],
    ) -> MetaLearner:
        """Fit to out-of-fold log-probabilities.

        Args:
            members: Shape (n, n_members, n_classes).
            y: Class positions, shape (n,).
            folds: Fold of each row, shape (n,); two different values at least.
            groups: Row groups, shape (n,): the standard error counts groups, not rows.
        """
        unknown = [name for name in self.candidates if name not in CANDIDATES]
        if unknown or not self.candidates:
            raise ValueError(f"candidates={list(self.candidates)}: choose from {', '.join(CANDIDATES)}")
        rows = np.arange(len(y))
        names = [name for name in CANDIDATES if name in self.candidates]
        answers: dict[str, FloatMatrix] = {}
        places: dict[str, int] = {}
        for name in names:
            tried = self._cross_fit(name, members, y, folds)
            places[name] = int(np.argmin([-answer[rows, y].mean() for answer in tried]))
            answers[name] = tried[places[name]]
        if "logistic" in places:
            self.penalty_ = _PENALTIES[places["logistic"]]
        losses = {name: -answer[rows, y] for name, answer in answers.items()}
        self.scores_ = {name: _scores(answers[name], y) for name in names}
        best = min(names, key=lambda name: float(losses[name].mean()))
        self.chosen_ = best
        if self.one_standard_error:
            for name in names:
                gap, error = _paired_gap(losses[name] - losses[best], groups)
                if gap <= error + _ROUNDING:
                    self.chosen_ = name
                    break
        self.cross_fitted_ = answers[self.chosen_]
        self.combination_ = self._solve(self.chosen_, members, y)[places[self.chosen_]]
        return self

    def take_uniform(self, members: FloatMatrix, y: NDArray[np.intp]) -> MetaLearner:
        """Take the uniform mean where there are no rows to learn from; `y` is scored, and nothing else.

        Args:
            members: Log-probabilities of rows that the members never saw, shape (n, n_members, n_classes).
            y: Class positions, shape (n,).
        """
        self.chosen_ = "uniform"
        (self.combination_,) = self._solve(self.chosen_, members, y)
        self.cross_fitted_ = self.log_proba(members)
        self.scores_ = {self.chosen_: _scores(self.cross_fitted_, y)}
        return self

    def log_proba(self, members: FloatMatrix) -> FloatMatrix:
        """Combined log-probabilities, shape (n, n_classes), of members' (n, n_members, n_classes)."""
        return self.combination_.log_proba(members)

    def _cross_fit(
        self, name: str, members: FloatMatrix, y: NDArray[np.intp], folds: NDArray[np.intp]
    ) -> list[FloatMatrix]:
        """Log-probabilities, (n, n_classes), of what `_solve` gives when fitted without the row's fold."""
        answers: list[FloatMatrix] = []
        for fold in np.unique(folds):
            held_out = folds == fold
            fitted = self._solve(name, members[~held_out], y[~held_out])
            answers = answers or [np.full((len(y), members.shape[2]), np.nan) for _ in fitted]
            for answer, combination in zip(answers, fitted, strict=True):
                answer[held_out] = combination.log_proba(members[held_out])
        return answers

    def _solve(self, name: str, members: FloatMatrix, y: NDArray[np.intp]) -> list[Combination]:
        """The combination of that name; of the logistic one that of each penalty."""
        n_members, n_classes = members.shape[1:]
        none = np.zeros(n_classes)
        if name == "uniform":
            return [Combination("mean", np.full(n_members, 1.0 / n_members), none)]
        if name == "best_single":
            losses = -members[np.arange(len(y)), :, y].mean(axis=0)
            return [Combination("mean", np.eye(n_members)[int(losses.argmin())], none)]
        if name == "greedy":
            return [Combination("mean", _select_greedily(members, y, self.greedy_iterations), none)]
        if name == "log_pool":
            return [Combination("product", _pool_weights(members, y), none)]
        return [_linear(solution) for solution in _regularization_path(centered(members), y, n_classes)]


def _regularization_path(X: FloatMatrix, y: NDArray[np.intp], n_classes: int) -> list[Solution]:
    """A logistic regression for each penalty, from strong to weak, each begun at the solution of the one before."""
    path: list[Solution] = []
    for penalty in _PENALTIES:
        problem = LogisticProblem(y, np.ones(len(y)), n_classes, penalty)
        path += solve_logistic(X, [problem], start=path[-1:] or None, tol=_TOLERANCE)
    return path


def _linear(solution: Solution) -> Combination:
    weight, bias, _ = solution
    if len(bias) == 1:  # two classes
        return Combination("linear", np.column_stack([np.zeros_like(weight), weight]), np.append(0.0, bias))
    return Combination("linear", weight, bias)


def _scores(answer: FloatMatrix, y: NDArray[np.intp]) -> dict[str, float]:
    return {
        "log_loss": float((-answer[np.arange(len(y)), y]).mean()),
        "accuracy": float(np.mean(answer.argmax(axis=1) == y)),
    }


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


def _pool_weights(members: FloatMatrix, y: NDArray[np.intp], strength: float = 1.0) -> FloatMatrix:
    """Non-negative powers of the members, drawn to the uniform pool by a ridge of the weight of a few rows."""
    n, n_members, n_classes = members.shape
    rows = np.arange(n)
    start = np.full(n_members, 1.0 / n_members)

    # A row for each row and class, so that both sums are one product.
    of_member = np.ascontiguousarray(members.transpose(0, 2, 1)).reshape(-1, n_members)
    of_truth = members[rows, :, y].sum(axis=0)

    def objective(weight: FloatMatrix) -> tuple[float, FloatMatrix]:
        pooled = log_normalize((of_member @ weight).reshape(n, n_classes))
        expected = np.exp(pooled).ravel() @ of_member
        away = weight - start
        loss = -float(pooled[rows, y].sum()) + 0.5 * strength * n_members * float(away @ away)
        return loss, expected - of_truth + strength * n_members * away

    result = scipy.optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * n_members
    )
    weights: FloatMatrix = result.x
    return weights if weights.sum() > 0 else start


def _paired_gap(difference: FloatMatrix, groups: NDArray[np.intp]) -> tuple[float, float]:
    """Mean difference of two losses and its standard error, rows of a group counted as one draw."""
    _, member = np.unique(groups, return_inverse=True)
    gap = float(difference.mean())
    sums = np.bincount(member, weights=difference - gap)
    return gap, float(np.sqrt(np.sum(sums**2)) / len(difference))
