"""The rows of a fit: which ones train, oversampled decision by decision, and which ones are only looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ensemble_minerals.data.folds import inner_split
from ensemble_minerals.data.oversampling import OverSampler, class_prior, prior_shift
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.errors import DataError
from ensemble_minerals.networks.training.batches import NO_TARGET, SubproblemRows

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class InnerSplit:
    """Positions among the rows of a fit.

    Attributes:
        targets: Branch of each row in each decision (n, n_decisions), -1 where it takes no part.
        trained: Positions that train.
        watched: Positions of the inner validation part; no row group has rows on both sides.
        note: Why there is no inner validation part; empty if there is one.
    """

    targets: NDArray[np.intp]
    trained: NDArray[np.intp]
    watched: NDArray[np.intp]
    note: str


@dataclass(frozen=True)
class ResampledRows:
    """What one decision draws from.

    Attributes:
        stream: Rows with their branches, copies of the over-sampler included.
        counts: Rows of each branch in it.
        shift: What takes the over-sampler's change of the prior back, one number a branch.
        note: Of the over-sampler.
    """

    stream: SubproblemRows
    counts: NDArray[np.intp]
    shift: FloatArray
    note: str


def split_rows(
    subproblems: Sequence[Subproblem], groups: NDArray[np.intp], *, fraction: float, seed: int
) -> InnerSplit:
    """Divide the rows of a fit by their groups, as evenly as can be in all decisions.

    Args:
        subproblems: Their rows are positions among those of the fit.
        groups: Row group of each row of the fit (n,).
        fraction: Share of the inner validation part.
        seed: Of the division.
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
        kept, held = inner_split(codes, groups[used], fraction=fraction, seed=seed)
    except DataError as error:
        return InnerSplit(targets, used, nothing, str(error))
    return InnerSplit(targets, used[kept], used[held], "")


def resample(
    subproblem: int,
    n_outcomes: int,
    rows: NDArray[np.intp],
    partition: InnerSplit,
    sampler: OverSampler,
    seed: int,
) -> ResampledRows:
    """Oversample what a decision trains on.

    Args:
        subproblem: Its number.
        n_outcomes: Its branches.
        rows: Rows of the picture table, for all rows of the fit.
        partition: Of the fit.
        sampler: Copies rows of rare branches; never sees a watched row.
        seed: Of the sampler.
    """
    column = partition.targets[partition.trained, subproblem]
    own = partition.trained[column != NO_TARGET]
    branches = column[column != NO_TARGET]
    resampled = clone(sampler).set_params(random_state=seed).resample(own, branches)
    positions, drawn = resampled.X.astype(np.intp), resampled.y.astype(np.intp)
    shift = prior_shift(class_prior(drawn, n_outcomes), class_prior(branches, n_outcomes))
    counts = np.bincount(drawn, minlength=n_outcomes)
    return ResampledRows(SubproblemRows(rows[positions], drawn), counts, shift, resampled.note)
