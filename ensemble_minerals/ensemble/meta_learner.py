"""The meta-learner: combines the members' log-probabilities, and is only as complex as the data allow.

Candidates are compared by cross-fitted log-loss over the same grouped folds. The one-standard-error rule chooses the
simplest one that is not clearly worse than the best, so that stacking is not used where it would hurt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.calibration import TemperatureScaling
from ensemble_minerals.ensemble.candidates import CANDIDATES, PENALTIES, USUAL, Candidate, CandidateFits
from ensemble_minerals.log_space import log_normalize

FloatMatrix = NDArray[np.floating[Any]]

_ROUNDING = 1e-12
"""Difference of losses, in nats, that may be rounding."""


class MetaLearner:
    """Chooses, fits and calibrates a combination of members.

    Args:
        candidates: Which of `CANDIDATES` to consider.
        one_standard_error: Prefer the simplest candidate within one standard error of the best; else the best.
        greedy_iterations: Draws of greedy selection.
        calibrate: Learn a temperature; else it is 1.

    Attributes:
        scores_: For each candidate its cross-fitted ``log_loss`` and ``accuracy``.
        chosen_: Name of the candidate in use.
        combination_: The candidate in use, fitted on all rows.
        cross_fitted_: Its cross-fitted log-probabilities, not calibrated, shape (n, n_classes).
        temperature_: Learned from those, so from answers of combinations that never saw the row.
        penalty_: Inverse penalty of the logistic candidate, where it was considered.
        notes_: What the user should know of the candidate in use.
    """

    def __init__(
        self,
        candidates: Sequence[str] = USUAL,
        one_standard_error: bool = True,
        greedy_iterations: int = 50,
        calibrate: bool = True,
    ) -> None:
        self.candidates = candidates
        self.one_standard_error = one_standard_error
        self.greedy_iterations = greedy_iterations
        self.calibrate = calibrate

    def unfitted(self) -> MetaLearner:
        """A meta-learner with the same settings that has learned nothing."""
        return MetaLearner(self.candidates, self.one_standard_error, self.greedy_iterations, self.calibrate)

    def candidate_fits(
        self, members: FloatMatrix, y: NDArray[np.intp], folds: NDArray[np.intp]
    ) -> CandidateFits:
        """Candidates on rows, to be given to `fit`; see `CandidateFits`."""
        return CandidateFits(members, y, folds, self.greedy_iterations)

    def fit(self, fits: CandidateFits, groups: NDArray[np.intp]) -> MetaLearner:
        """Choose by cross-fitting over the folds of the fits, of which there are two at least.

        Args:
            fits: Candidates on n rows; what has been fitted of them already is not fitted again.
            groups: Row groups, shape (n,): the standard error counts groups, not rows.

        Raises:
            ValueError: If a candidate is not known, or none is given.
        """
        unknown = [name for name in self.candidates if name not in CANDIDATES]
        if unknown or not self.candidates:
            raise ValueError(f"candidates={list(self.candidates)}: choose from {', '.join(CANDIDATES)}")
        y = fits.y
        rows = np.arange(len(y))
        names = [name for name in CANDIDATES if name in self.candidates]
        answers: dict[str, FloatMatrix] = {}
        variants: dict[str, int] = {}
        for name in names:
            tried = _cross_fit(name, fits)
            variants[name] = int(np.argmin([-answer[rows, y].mean() for answer in tried]))
            answers[name] = tried[variants[name]]
        if "logistic" in variants:
            self.penalty_ = PENALTIES[variants["logistic"]]
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
        self._take(fits.fit(self.chosen_)[variants[self.chosen_]])
        self.temperature_ = 1.0
        if self.calibrate:
            self.temperature_ = TemperatureScaling().fit(self.cross_fitted_, y).temperature_
        return self

    def _take(self, candidate: Candidate) -> None:
        self.combination_ = candidate.combination
        self.notes_ = () if candidate.converged else (f"{self.chosen_} stopped short of its tolerance",)

    def take_uniform(self, members: FloatMatrix, y: NDArray[np.intp]) -> MetaLearner:
        """Use the uniform mean, uncalibrated, because no rows are left to learn from; `y` is used for scores only.

        Args:
            members: Log-probabilities of rows that the members never saw, shape (n, n_members, n_classes).
            y: Class positions, shape (n,).
        """
        self.chosen_ = "uniform"
        self._take(*CandidateFits(members, y, np.zeros(len(y), np.intp)).fit(self.chosen_))
        self.temperature_ = 1.0
        self.cross_fitted_ = self.combination_.log_proba(members)
        self.scores_ = {self.chosen_: _scores(self.cross_fitted_, y)}
        return self

    def log_proba(self, members: FloatMatrix) -> FloatMatrix:
        """Calibrated log-probabilities, shape (n, n_classes), of members' (n, n_members, n_classes)."""
        return log_normalize(self.combination_.log_proba(members) / self.temperature_)


def _cross_fit(name: str, fits: CandidateFits) -> list[FloatMatrix]:
    """Log-probabilities, (n, n_classes), of what `CandidateFits.fit` gives when fitted without the row's fold."""
    members, folds = fits.members, fits.folds
    answers: list[FloatMatrix] = []
    for fold in np.unique(folds).tolist():
        held_out = folds == fold
        fitted = fits.without(fold).fit(name)
        answers = answers or [np.full((len(folds), members.shape[2]), np.nan) for _ in fitted]
        for answer, (combination, _) in zip(answers, fitted, strict=True):
            answer[held_out] = combination.log_proba(members[held_out])
    return answers


def _scores(answer: FloatMatrix, y: NDArray[np.intp]) -> dict[str, float]:
    return {
        "log_loss": float((-answer[np.arange(len(y)), y]).mean()),
        "accuracy": float(np.mean(answer.argmax(axis=1) == y)),
    }


def _paired_gap(difference: FloatMatrix, groups: NDArray[np.intp]) -> tuple[float, float]:
    """Mean difference of two losses and its standard error, for which a row group counts as one draw."""
    _, member = np.unique(groups, return_inverse=True)
    gap = float(difference.mean())
    sums = np.bincount(member, weights=difference - gap)
    return gap, float(np.sqrt(np.sum(sums**2)) / len(difference))
