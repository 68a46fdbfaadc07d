"""In which order new photos are labelled: the ones first that would teach a model most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_ORDERED = 2000
"""Photos that are chosen with regard to each other; the others follow by uncertainty."""


def teaching_order(
    proba: NDArray[np.float64], features: NDArray[np.floating[Any]], *, seed: int = 0
) -> NDArray[np.intp]:
    """Order photos by what a label would teach: uncertain ones first, unlike those before.

    BADGE: Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient
    Lower Bounds", ICLR 2020. Written from the paper. Each photo stands for the gradient that its loss would have
    if the answer were right, (probabilities - answer) x features, which is long where the answer is unsure. k-means++
    chooses among those: the longest first, then each by chance, in proportion to the squared distance to the nearest
    that was chosen.

    Args:
        proba: Answers, shape (n, n_classes).
        features: Of the photos, shape (n, d).
        seed: Of the choice.

    Returns:
        All rows in the order in which they should be labelled, shape (n,).

    Example:
        >>> answers = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.6, 0.4]])
        >>> teaching_order(answers, np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]]))[:2].tolist()
        [1, 3]
    """
    n = len(proba)
    if not n:
        return np.zeros(0, dtype=np.intp)
    rng = np.random.default_rng(seed)
    slope = proba.copy()
    slope[np.arange(n), proba.argmax(axis=1)] -= 1.0
    vectors = features.astype(np.float32)
    length = (slope**2).sum(axis=1) * (vectors**2).sum(axis=1)
    distance = np.full(n, np.inf)
    chosen = [int(length.argmax())]
    left = np.ones(n, dtype=bool)
    while len(chosen) < min(n, MOST_ORDERED):
        last = chosen[-1]
        left[last] = False
        inner = (slope @ slope[last]) * (vectors @ vectors[last])
        distance = np.minimum(distance, np.maximum(length + length[last] - 2 * inner, 0.0))
        weight = np.where(left, distance, 0.0)
        if not weight.sum() > 1e-12 * length.max():
            break
        chosen.append(int(rng.choice(n, p=weight / weight.sum())))
    left[chosen] = False
    rest = np.flatnonzero(left)
    return np.concatenate([chosen, rest[np.argsort(-length[rest], kind="stable")]]).astype(np.intp)
