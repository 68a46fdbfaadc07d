"""In which order new photos are labeled: the ones first that would teach a model most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_ORDERED = 2000
"""Photos that are chosen with regard to each other; the others follow by uncertainty."""


def teaching_order(proba: NDArray[np.float64], features: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Order photos by what a label would teach: uncertain ones first, unlike those before.

    Each photo stands for the gradient that its loss would have if the answer were right, (probabilities - answer) x
    features, which is long where the answer is unsure (Ash et al., "Deep Batch Active Learning by Diverse, Uncertain
    Gradient Lower Bounds", ICLR 2020). The longest comes first, then always the one farthest from all before it
    (k-center, Sener and Savarese, "Active Learning for Convolutional Neural Networks", ICLR 2018). Written from the
    papers.

    Args:
        proba: Answers, shape (n, n_classes).
        features: Of the photos, shape (n, d).

    Returns:
        All rows in the order in which they should be labeled, shape (n,).

    Example:
        >>> answers = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.6, 0.4]])
        >>> teaching_order(answers, np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]])).tolist()
        [1, 3, 0, 2]
    """
    n = len(proba)
    slope = proba.copy()
    slope[np.arange(n), proba.argmax(axis=1)] -= 1.0
    vectors = features.astype(np.float32)
    length = (slope**2).sum(axis=1) * (vectors**2).sum(axis=1)
    distance = length.copy()
    chosen = np.zeros(min(n, MOST_ORDERED), dtype=np.intp)
    for number in range(len(chosen)):
        last = chosen[number] = distance.argmax()
        inner = (slope @ slope[last]) * (vectors @ vectors[last])
        apart = np.maximum(length + length[last] - 2 * inner, 0.0)
        distance = apart if number == 0 else np.minimum(distance, apart)
        distance[chosen[: number + 1]] = -1.0
    rest = np.setdiff1d(np.arange(n), chosen)
    return np.concatenate([chosen, rest[np.argsort(-length[rest], kind="stable")]])
