"""Answers of the whole to rows that no combination and no temperature learned from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.candidates import CandidateFits
from ensemble_minerals.ensemble.meta_learner import MetaLearner

FloatMatrix = NDArray[np.floating[Any]]


class CrossCombined(NamedTuple):
    """Answers of combinations of the other folds.

    Attributes:
        proba: Probabilities, shape (n, n_classes).
        temperatures: For each fold the temperature by which its answers were scaled.
        fits: What was fitted on the way, for a combination of all rows.
    """

    proba: FloatMatrix
    temperatures: dict[int, float]
    fits: CandidateFits


def cross_combined(
    meta: MetaLearner, members: FloatMatrix, known: FoldInputs, *, n_jobs: int = 1
) -> CrossCombined:
    """Answer each fold by a combination and a temperature of the others.

    Args:
        meta: How members are combined and calibrated, unfitted.
        members: Out-of-fold log-probabilities, shape (n, n_members, n_classes).
        known: Labels, row groups and folds of the rows; there are two folds at least.
        n_jobs: Threads.
    """
    fits = meta.candidate_fits(members, known.y, known.folds)
    fits.fit_ahead(meta.candidates, n_jobs)
    proba, temperatures = np.full(members.shape[::2], np.nan), {}
    for fold in known.numbers:
        rest, held_out = known.training(fold), known.held_out(fold)
        others = fits.without(fold)
        if len(known.numbers) == 2:
            # Only one fold is left: it is split again, by row groups, to choose and to calibrate.
            others = meta.candidate_fits(others.members, others.y, _halves(known.groups[rest]))
        learned = meta.unfitted().fit(others, known.groups[rest])
        temperatures[fold] = learned.temperature_
        proba[held_out] = np.exp(learned.log_proba(members[held_out]))
    return CrossCombined(proba, temperatures, fits)


def _halves(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Every other row group in one half, the rest in the other."""
    return np.unique(groups, return_inverse=True)[1] % 2
