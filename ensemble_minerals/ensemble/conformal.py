"""Conformal prediction sets: the classes that cannot be ruled out at a stated confidence.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005); the score of a class is one minus its
probability, which gives the smallest sets (Sadinle, Lei and Wasserman 2019, JASA 114). The calibration is a few plain
arrays, from which sets of any confidence can be computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class ConformalSets:
    """Prediction sets from probabilities of rows that the model had not seen.

    If new photos come from where the calibration photos came, the set holds the true class with at least
    the stated probability, for every class by itself: it is compared with its own calibration rows (Mondrian).
    A class with too few calibration groups to be ruled out at a confidence, see `groups_needed`, is in every
    set at that confidence.

    Attributes:
        scores_: (n,) scores of the calibration rows at their true class.
        labels_: (n,) their class positions.
        weights_: (n,) their weights: the rows of a group share the weight of one.
        n_classes_: Number of classes.
    """

    def fit(self, y: ArrayLike, proba: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Calibrate.

        Args:
            y: (n,) class positions.
            proba: (n, K) probabilities of rows the model had not seen (out-of-fold, cross-fitted).
            groups: (n,) row groups. Single rows of a group are not exchangeable with a new photo; with
                groups each group counts once (hierarchical conformal prediction, Lee, Barber and
                Willett 2023).

        Returns:
            Itself.

        Raises:
            ValueError: No rows, or probabilities that are not numbers.
        """
        p = _checked(proba)
        self.labels_ = np.asarray(y, dtype=np.int64)
        if self.labels_.shape != p.shape[:1] or not len(p):
            raise ValueError(
                f"expected labels (n,) and probabilities (n, K), got {self.labels_.shape}, {p.shape}"
            )
        self.n_classes_ = p.shape[1]
        self.scores_ = 1.0 - p[np.arange(len(p)), self.labels_]
        group = np.arange(len(p)) if groups is None else np.asarray(groups)
        unit = np.column_stack([group, self.labels_])
        _, inverse, size = np.unique(unit, axis=0, return_inverse=True, return_counts=True)
        self.weights_ = 1.0 / size[inverse.reshape(-1)]
        return self

    def p_values(self, proba: ArrayLike) -> Floats:
        """Conformal p-value of each class: small if it is unlikely to be the true one.

        Args:
            proba: (m, K) class probabilities; each row is answered by itself.

        Returns:
            (m, K) conformal p-values in 0..1: the share of calibration groups whose score is at least as high.
        """
        p = _checked(proba)
        if p.shape[1] != self.n_classes_:
            raise ValueError(f"calibrated for {self.n_classes_} classes, got {p.shape[1]} columns")
        at_least, total = self.counts(1.0 - p)
        return np.minimum((at_least + 1.0) / (total + 1.0), 1.0)

    def counts(self, scores: Floats) -> tuple[Floats, Floats]:
        """Calibration groups of each class whose score is at least as high, and all of them, both (m, K).

        Args:
            scores: (m, K) scores of each class as the true one.
        """
        at_least, total = np.empty_like(scores), np.empty_like(scores)
        for k in range(self.n_classes_):
            chosen = self.labels_ == k
            order = np.argsort(self.scores_[chosen])
            known, weights = self.scores_[chosen][order], self.weights_[chosen][order]
            above = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
            at_least[:, k] = above[np.searchsorted(known, scores[:, k], side="left")]
            total[:, k] = weights.sum()
        return at_least, total

    def highest_scores(self, level: float) -> Floats:
        """The highest score with which each class is in a set at a confidence, (K,); infinite where any will do.

        Example:
            >>> proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
            >>> ConformalSets().fit([0, 0, 0, 1], proba).highest_scores(0.7).round(2)
            array([0.4, inf])
        """
        highest = np.full(self.n_classes_, np.inf)
        known = np.sort(self.scores_)
        at_least, total = self.counts(np.repeat(known[:, None], self.n_classes_, axis=1))
        inside = (at_least + 1.0) / (total + 1.0) > 1 - level + 1e-9
        for k in range(self.n_classes_):
            if 1.0 / (total[0, k] + 1.0) <= 1 - level + 1e-9:
                highest[k] = known[np.flatnonzero(inside[:, k]).max(initial=0)]
        return highest

    def never_ruled_out(self, level: float) -> NDArray[np.intp]:
        """Positions of the classes with fewer calibration groups than `groups_needed`: they are in every set."""
        _, total = self.counts(np.zeros((1, self.n_classes_)))
        return np.flatnonzero(total[0] < groups_needed(level) - 1e-9)

    def predict(self, proba: ArrayLike, level: float = 0.95) -> NDArray[np.bool_]:
        """The classes that cannot be ruled out, and the most probable one.

        Args:
            proba: (m, K) class probabilities.
            level: Probability, 0..1, that a set holds the true class.

        Returns:
            (m, K) membership.

        Raises:
            ValueError: A level outside 0..1, or probabilities that do not fit.
        """
        if not 0 < level < 1:
            raise ValueError(f"the level of a prediction set lies between 0 and 1, got {level}")
        p = _checked(proba)
        return _members(p, self.p_values(p), level)


def groups_needed(level: float) -> int:
    """Row groups that a class needs to be ruled out at a confidence: with fewer it is in every set.

    >>> groups_needed(0.9), groups_needed(0.95), groups_needed(0.99)
    (9, 19, 99)
    """
    return math.ceil(1.0 / (1.0 - level) - 1e-6) - 1


def _members(p: Floats, p_values: Floats, level: float) -> NDArray[np.bool_]:
    """The classes with p-values above 1 - level, and the most probable one."""
    member: NDArray[np.bool_] = p_values > 1 - level + 1e-9  # a p-value of exactly 1 - level rules out
    member[np.arange(len(p)), p.argmax(axis=1)] = True
    return member


def _checked(proba: ArrayLike) -> Floats:
    p = np.asarray(proba, dtype=np.float64)
    if p.ndim != 2 or not np.isfinite(p).all():
        raise ValueError(
            "probabilities must be a finite (n, K) array; leave out rows that were never predicted"
        )
    return p


@dataclass(frozen=True)
class SetCoverage:
    """Coverage and size of prediction sets on rows with known classes.

    Attributes:
        level: The stated confidence.
        coverage: Share of sets that hold the true class.
        by_class: (K,) the same for the rows of each class; NaN for a class without rows.
        support: (K,) rows of each class.
        mean_size: Mean number of classes in a set.
        sizes: (K + 1,) number of sets with 0, 1, ..., K classes.
    """

    level: float
    coverage: float
    by_class: Floats
    support: NDArray[np.int64]
    mean_size: float
    sizes: NDArray[np.int64]


def leave_one_out_sets(
    y: ArrayLike, proba: ArrayLike, *, level: float, groups: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """Prediction sets of rows, each calibrated on all rows but those of its own group.

    A new photo's set is calibrated on all rows: nearly as many rows decide here, so sets are as large. Without the
    row's whole fold a class may have too few rows to be ruled out, where it has enough in `predict`.

    Args:
        y: (n,) class positions.
        proba: (n, K) out-of-fold probabilities.
        level: Stated confidence.
        groups: (n,) row groups.

    Returns:
        (n, K) membership.
    """
    p = _checked(proba)
    fitted, scores = ConformalSets().fit(y, p, groups), 1.0 - p
    at_least, total = fitted.counts(scores)
    _, group = np.unique(np.arange(len(p)) if groups is None else groups, return_inverse=True)
    for own in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
        for row in own:
            k = fitted.labels_[row]
            at_least[own, k] -= fitted.weights_[row] * (fitted.scores_[row] >= scores[own, k])
            total[own, k] -= fitted.weights_[row]
    return _members(p, (at_least + 1.0) / (total + 1.0), level)


def set_coverage(y: ArrayLike, sets: NDArray[np.bool_], *, level: float) -> SetCoverage:
    """Score prediction sets.

    Args:
        y: (n,) class positions.
        sets: (n, K) membership.
        level: The stated confidence, carried along.

    Returns:
        Coverage, overall and by class, and the sizes.
    """
    labels = np.asarray(y, dtype=np.int64)
    n, k = sets.shape
    held = sets[np.arange(n), labels]
    support = np.bincount(labels, minlength=k)
    by_class = np.bincount(labels, weights=held, minlength=k) / np.where(support, support, np.nan)
    size = sets.sum(axis=1)
    sizes = np.bincount(size, minlength=k + 1)
    return SetCoverage(level, float(held.mean()), by_class, support, float(size.mean()), sizes)
