"""Fitting a rejection in the folds of the ensemble, and choosing its weights by leaving classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.rejection import Rejection, auroc, join, p_values
from ensemble_minerals.ensemble.typicality import SCORES, TypicalityModel
from ensemble_minerals.system.memmap import take
from ensemble_minerals.system.parallel import run_unordered, single_thread

FloatMatrix = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

RESIDUAL_WEIGHTS = (0.25, 0.5, 1.0, 2.0)
"""Weights of the residual that are tried; the relative Mahalanobis distance has 1."""

DEFAULT_WEIGHT = 0.5
"""Weight of the residual where nothing is left to choose it by: with two classes, and in a plain hold-out."""

_LENGTH_WEIGHT = 0.25
"""Weight of the length. No class that is left out is an even picture, so there is nothing to choose it by."""

_LEFT_OUT = 8
"""Fits that leave classes out: one for each class where there are no more classes than this or folds."""


@dataclass(frozen=True)
class FittedRejection:
    """A rejection, and what is known of it on rows that it had not seen.

    Attributes:
        rejection: What predicts.
        left_out: For each class the AUROC of its rows, by a model fitted without it, against held-out rows of the
            classes that the model knows; the weights were chosen on other classes and other folds.
    """

    rejection: Rejection
    left_out: dict[str, float]


@dataclass(frozen=True)
class _Trial:
    """Scores by one model, fitted without a fold and without some classes.

    Attributes:
        model: The model.
        fold: The fold.
        classes: Positions of the classes; none for the plain model of a fold.
        known: Scores of the rows of the fold that are of other classes, (n_known, 3).
        left_out: Scores of the rows of each of the classes.
        strangers: Scores of strangers that the user gave, (n_strangers, 3).
    """

    model: TypicalityModel
    fold: int
    classes: tuple[int, ...]
    known: Floats
    left_out: tuple[Floats, ...]
    strangers: Floats

    def aurocs(self, weights: Floats) -> tuple[list[float], list[float]]:
        """AUROC of each class left out, and of the strangers."""
        mean, spread = _moments(self.known)
        known = join(self.known, mean, spread, weights)
        return (
            [auroc(known, join(own, mean, spread, weights)) for own in self.left_out],
            [auroc(known, join(self.strangers, mean, spread, weights))] if len(self.strangers) else [],
        )


def fit_rejection(
    matrices: Mapping[str, FloatMatrix],
    known: FoldInputs,
    *,
    refuse: float,
    strangers: Mapping[str, FloatMatrix] | None = None,
    leave_out: bool = True,
    n_jobs: int = 1,
) -> FittedRejection:
    """Fit a rejection to rows.

    Nothing that is learned for the rows of a fold has seen them: neither their model, nor the moments and the weights
    by which scores are joined. Those come from the other folds, where models were fitted without some classes: how
    well is the class that is left out told from the others?

    Args:
        matrices: Features of n rows, for each extractor (n, n_features).
        known: Classes, row groups and folds of the rows.
        refuse: Share of photos like these that is to be refused.
        strangers: Features of photos that show none of the classes, if there are any: they choose the weights, too.
        leave_out: Whether weights are chosen by leaving classes out: not where the features know them all.
        n_jobs: Models fitted at once. The outcome does not depend on it.
    """
    own = list(matrices.values())
    others = [matrix[:0] for matrix in own] if strangers is None else [strangers[name] for name in matrices]
    folds = known.numbers
    jobs: list[tuple[int, tuple[int, ...]]] = [(fold, ()) for fold in folds]
    n_classes = len(known.classes)
    if leave_out and n_classes > 2:
        n_fits = min(n_classes, max(_LEFT_OUT, len(folds)))
        jobs += [(folds[n % len(folds)], tuple(range(n, n_classes, n_fits))) for n in range(n_fits)]
    calls = [delayed(_try)(number, own, known, others, *job) for number, job in enumerate(jobs)]
    with closing(run_unordered(calls, n_jobs=n_jobs, threads=True)) as results:
        done = dict(results)
    trials = [done[number] for number in range(len(jobs))]
    scores = np.zeros((len(known), len(SCORES)))
    for fold, trial in zip(folds, trials, strict=False):
        scores[known.held_out(fold)] = trial.known
    typicality = np.ones(len(known))
    for fold in folds:
        held_out = known.held_out(fold)
        rest = np.isin(known.folds, [other for other in folds if other != fold] or [fold])
        how = *_moments(scores[rest]), _weights([trial for trial in trials if trial.fold != fold])
        calibration = join(scores[rest], *how)
        typicality[held_out] = p_values(join(scores[held_out], *how), calibration, known.groups[rest])
    rows = known.predicted
    how = *_moments(scores[rows]), _weights(trials if len(folds) > 1 else [])
    groups = known.groups[rows].astype(np.int64)
    return FittedRejection(
        Rejection(
            tuple(matrices), trials[0].model, *how, join(scores[rows], *how), groups, refuse, typicality[rows]
        ),
        _aurocs_of_classes(trials, known),
    )


def can_be_fitted(known: FoldInputs) -> bool:
    """Whether rows outside each fold are known: not where the answers to a plain hold-out are all there is."""
    return all(known.training(fold).size for fold in known.numbers)


def _aurocs_of_classes(trials: Sequence[_Trial], known: FoldInputs) -> dict[str, float]:
    """AUROC of each class that was left out, by weights chosen in other folds, in the order of the classes."""
    found: dict[int, float] = {}
    for trial in trials:
        weights = _weights([other for other in trials if other.fold != trial.fold])
        found |= dict(zip(trial.classes, trial.aurocs(weights)[0], strict=True))
    return {known.names[position]: found[position] for position in sorted(found)}


def _try(
    number: int,
    matrices: Sequence[FloatMatrix],
    known: FoldInputs,
    strangers: Sequence[FloatMatrix],
    fold: int,
    classes: tuple[int, ...],
) -> tuple[int, _Trial]:
    """Fit a model without a fold and without some classes, and let it score both."""
    with single_thread:
        of_classes = np.isin(known.y, classes)
        training = np.flatnonzero((known.folds != fold) & ~of_classes)
        model = TypicalityModel.fit([take(matrix, training) for matrix in matrices], known.y[training])

        # What chooses weights alone need not be exact.
        precision = np.float32 if classes else np.float64

        def scores(rows: NDArray[np.intp]) -> Floats:
            return model.scores([take(matrix, rows) for matrix in matrices], precision)

        return number, _Trial(
            model,
            fold,
            classes,
            scores(np.flatnonzero((known.folds == fold) & ~of_classes)),
            tuple(scores(np.flatnonzero(known.y == position)) for position in classes),
            model.scores(strangers),
        )


def _weights(trials: Sequence[_Trial]) -> Floats:
    """The weights with the highest mean AUROC; classes left out and strangers count one half each."""

    def mean_auroc(weight: float) -> float:
        of_classes, of_strangers = zip(*(trial.aurocs(_with_length(weight)) for trial in trials), strict=True)
        return float(
            np.mean([np.mean(np.concatenate(some)) for some in (of_classes, of_strangers) if any(some)])
        )

    if not any(trial.classes or len(trial.strangers) for trial in trials):
        return _with_length(DEFAULT_WEIGHT)
    return _with_length(max(RESIDUAL_WEIGHTS, key=mean_auroc))


def _with_length(weight: float) -> Floats:
    """Weights of all scores, of that of the residual."""
    return np.array([1.0, weight, _LENGTH_WEIGHT])


def _moments(scores: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each score."""
    return scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-9)
