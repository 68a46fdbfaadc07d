"""The rows of a fit: which ones train, oversampled for each subproblem, and which ones validate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ensemble_minerals.data.class_prior import class_prior, prior_shift
from ensemble_minerals.data.folds import inner_split
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.errors import DataError
from ensemble_minerals.networks.training.batches import NO_TARGET, SubproblemRows

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class InnerSplit:
    """Training and validation part of the rows of a fit.

    Attributes:
        targets: Outcome of each row in each subproblem (n, n_subproblems), -1 where it does not belong to it.
        training: Positions of the rows that train.
        validation: Positions of the inner validation part. No row group has rows in both parts.
        note: Why there is no inner validation part; empty if there is one.
    """

    targets: NDArray[np.intp]
    training: NDArray[np.intp]
    validation: NDArray[np.intp]
    note: str


@dataclass(frozen=True)
class ResampledRows:
    """The training rows of one subproblem after over-sampling.

    Attributes:
        rows: Rows with their outcomes, copies included.
        counts: Rows of each outcome (n_outcomes,), copies included.
        shift: Added to log-probabilities (n_outcomes,), it undoes the over-sampler's change of the prior.
        note: Note of the over-sampler for the user, or empty.
    """

    rows: SubproblemRows
    counts: NDArray[np.intp]
    shift: FloatArray
    note: str


def split_rows(
    subproblems: Sequence[Subproblem], groups: NDArray[np.intp], *, fraction: float, seed: int
) -> InnerSplit:
    """Split the rows of a fit by row groups, with the outcomes of all subproblems as evenly divided as possible.

    Rows that belong to no subproblem are in neither part.

    Args:
        subproblems: Their rows are positions among those of the fit.
        groups: Row group of each row of the fit (n,).
        fraction: Share of the inner validation part.
        seed: Seed of the split.
    """
    targets = np.full((len(groups), len(subproblems)), NO_TARGET, dtype=np.intp)
    for column, subproblem in enumerate(subproblems):
        targets[subproblem.rows, column] = subproblem.targets
    used = np.flatnonzero((targets != NO_TARGET).any(axis=1))
    codes = np.unique(targets[used], axis=0, return_inverse=True)[1].ravel()
    nothing = np.empty(0, dtype=np.intp)
    if not fraction:
        return InnerSplit(targets, used, nothing, "validation_fraction is 0")
    try:
        training, validation = inner_split(codes, groups[used], fraction=fraction, seed=seed)
    except DataError as error:
        return InnerSplit(targets, used, nothing, str(error))
    return InnerSplit(targets, used[training], used[validation], "")


def resample(
    column: int, n_outcomes: int, rows: NDArray[np.intp], split: InnerSplit, sampler: OverSampler, seed: int
) -> ResampledRows:
    """Oversample the training rows of one subproblem.

    Args:
        column: Number of the subproblem.
        n_outcomes: Its number of outcomes.
        rows: Rows of the image cache, for all rows of the fit.
        split: Split of the fit.
        sampler: Copies rows of rare outcomes; it never sees a validation row.
        seed: Seed of the sampler.
    """
    targets = split.targets[split.training, column]
    own = split.training[targets != NO_TARGET]
    outcomes = targets[targets != NO_TARGET]
    resampled = clone(sampler).set_params(random_state=seed).resample(own, outcomes)
    positions, copied_outcomes = resampled.X.astype(np.intp), resampled.y.astype(np.intp)
    shift = prior_shift(class_prior(copied_outcomes, n_outcomes), class_prior(outcomes, n_outcomes))
    counts = np.bincount(copied_outcomes, minlength=n_outcomes)
    return ResampledRows(SubproblemRows(rows[positions], copied_outcomes), counts, shift, resampled.note)
