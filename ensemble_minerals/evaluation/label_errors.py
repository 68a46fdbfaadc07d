"""Suspected label errors: rows that the model confidently assigns to another class.

Confident learning on out-of-fold probabilities: Northcutt, Jiang and Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", JAIR 70 (2021) 1373-1411. Written from the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ensemble_minerals.evaluation.metrics import Floats, Ints, check_rows


@dataclass(frozen=True)
class LabelErrors:
    """Suspected label errors, the most suspicious first (s suspects of n rows).

    Attributes:
        rows: (s,) row positions.
        given: (s,) the labels they carry.
        suggested: (s,) the classes that the model suggests instead.
        suggested_confidence: (s,) probability of the suggested class.
        normalized_margin: (s,) probability of the given label minus the largest of any other; at most 0.
        estimated_count: How many of the n labels the joint distribution estimates to be wrong.
    """

    rows: Ints
    given: Ints
    suggested: Ints
    suggested_confidence: Floats
    normalized_margin: Floats
    estimated_count: float


def label_errors(y_true: ArrayLike, proba: ArrayLike) -> LabelErrors:
    """Find the rows off the diagonal of the confident joint.

    A row counts for a class when its probability of it reaches the class's threshold, the mean probability
    of the class over the rows labeled so; among several, for the most probable. It is a suspect when that
    class is not its label and its label is not the model's answer either.

    Args:
        y_true: (n,) given class positions.
        proba: (n, K) probabilities from a model that never saw the row.

    Returns:
        The suspects: the largest lead of another class over the given label comes first.

    Raises:
        ValueError: Rows that are not labels and distributions.
    """
    y, p = check_rows(y_true, proba)
    n, k = p.shape
    rows = np.arange(n)
    support = np.bincount(y, minlength=k)
    own = p[rows, y]
    thresholds = np.bincount(y, weights=own, minlength=k) / np.where(support, support, np.nan)

    # a class without rows has no threshold, so no row reaches it; rounding must not cost a perfect row
    reached: NDArray[np.bool_] = p >= np.nan_to_num(thresholds, nan=np.inf) - 1e-12
    likely = np.where(reached, p, -1.0).argmax(axis=1)
    confident = reached.any(axis=1)
    joint = np.zeros((k, k), dtype=np.int64)
    np.add.at(joint, (y[confident], likely[confident]), 1)

    counted = joint.sum(axis=1)
    wrong_share = (counted - np.diagonal(joint)) / np.maximum(counted, 1)

    others = p.copy()
    others[rows, y] = -1.0
    margin = own - others.max(axis=1)
    suspect = np.flatnonzero(confident & (likely != y) & (p.argmax(axis=1) != y))
    suspect = suspect[np.lexsort((suspect, margin[suspect]))]
    return LabelErrors(
        rows=suspect,
        given=y[suspect],
        suggested=likely[suspect],
        suggested_confidence=p[suspect, likely[suspect]],
        normalized_margin=margin[suspect],
        estimated_count=float((support * wrong_share).sum()),
    )
