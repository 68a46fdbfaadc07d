"""Two models on the same rows: by how much the second is better, and for which classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval
from ensemble_minerals.evaluation.metrics import row_log_loss, weighted_metric
from ensemble_minerals.evaluation.significance import holm, mcnemar

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
"""Scores that are given for both."""

_DRAWS = 9999
"""Of the permutation test; its p is at least 1 over one more."""

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class PairedScore:
    """A score of two models.

    Attributes:
        first: Of the first model.
        second: Of the second.
        difference: Second minus first, with an interval over row groups.
        p: Of a paired test that there is no difference; None where none is made.
    """

    first: float
    second: float
    difference: Interval
    p: float | None


@dataclass(frozen=True)
class ClassChange:
    """What changed for one class.

    Attributes:
        name: Of the class.
        n: Photos with this label.
        first: Share of them that the first model answers right.
        second: The same of the second.
        difference: Second minus first, with an interval over row groups.
        mended: Photos that only the second answers right.
        broken: Photos that only the first answers right.
        p: Exact McNemar test over row groups, adjusted for all classes (Holm).
    """

    name: str
    n: int
    first: float
    second: float
    difference: Interval
    mended: int
    broken: int
    p: float


@dataclass(frozen=True)
class PairedScores:
    """Two models on the same rows.

    Attributes:
        n: Photos.
        row_groups: Row groups of these photos.
        scores: Of each of `SCORES`.
        classes: In the order of the classes.
    """

    n: int
    row_groups: int
    scores: dict[str, PairedScore]
    classes: tuple[ClassChange, ...]


def score_pair(
    y: Ints, first: Floats, second: Floats, groups: Ints, classes: Sequence[str], *, seed: int = 0
) -> PairedScores:
    """Compare two models.

    Accuracy is tested by McNemar's exact test over row groups, log-loss by changing the sign of each row group's
    difference at random (9,999 draws).

    Args:
        y: Class positions (n,).
        first: Probabilities of the first model (n, n_classes).
        second: Of the second.
        groups: Row group of each row (n,); its rows are drawn, and change sign, together.
        classes: Names of the classes.
        seed: Of the draws.
    """
    bootstrap = GroupBootstrap(groups, seed=seed)
    right = first.argmax(axis=1) == y, second.argmax(axis=1) == y
    loss = row_log_loss(y, second) - row_log_loss(y, first)
    p = {"accuracy": mcnemar(*right, groups).p, "log_loss": _sign_flip(loss, groups, seed)}
    scores = {}
    for name in SCORES:
        one, two = weighted_metric(name, y, first), weighted_metric(name, y, second)
        difference = bootstrap.interval(two, minus=one)
        scores[name] = PairedScore(float(one.estimate), float(two.estimate), difference, p.get(name))
    return PairedScores(
        len(y), bootstrap.n_groups, scores, _class_changes(y, right, groups, classes, seed=seed)
    )


def _class_changes(
    y: Ints,
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    groups: Ints,
    classes: Sequence[str],
    *,
    seed: int,
) -> tuple[ClassChange, ...]:
    present = [number for number in range(len(classes)) if (y == number).any()]
    rows = [np.flatnonzero(y == number) for number in present]
    adjusted = holm([mcnemar(right[0][at], right[1][at], groups[at]).p for at in rows])
    return tuple(
        ClassChange(
            classes[number],
            len(at),
            float(right[0][at].mean()),
            float(right[1][at].mean()),
            GroupBootstrap(groups[at], seed=seed).interval(
                MeanScore(right[1][at]), minus=MeanScore(right[0][at])
            ),
            mended=int((right[1][at] & ~right[0][at]).sum()),
            broken=int((right[0][at] & ~right[1][at]).sum()),
            p=p,
        )
        for number, at, p in zip(present, rows, adjusted, strict=True)
    )


class MeanScore:
    """Weighted mean of a value a row, as a score of `GroupBootstrap`."""

    def __init__(self, values: NDArray[np.bool_]) -> None:
        self.values = values.astype(np.float64)

    def __call__(self, weights: Floats) -> Floats:
        """The mean at each draw (b,) of weights (b, n)."""
        mean: Floats = weights @ self.values / weights.sum(axis=1)
        return mean


def _sign_flip(difference: Floats, groups: Ints, seed: int) -> float:
    """Two-sided p of the mean difference under random signs of the row groups."""
    _, position = np.unique(groups, return_inverse=True)
    sums = np.bincount(position, weights=difference)
    if not sums.any():
        return 1.0
    tested = stats.permutation_test(
        (sums,), np.mean, permutation_type="samples", vectorized=True, n_resamples=_DRAWS, rng=seed, axis=0
    )
    return float(tested.pvalue)
