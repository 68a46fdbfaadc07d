"""Photos that only look alike, kept together where the user wants it: complete linkage, the most similar first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.same_object.joining import Groups

LEAST_COSINE = 0.7
"""Of the embeddings of any two photos that are kept together."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """What is needed to join groups of photos that look alike.

    Attributes:
        vectors: Centered embeddings of length 1, (n, d).
        pairs: Photos that may look alike, (m, 2).
        n_folds: A class is left this number of groups, where it has so many: the least alike are cut.
    """

    vectors: NDArray[np.float32]
    pairs: NDArray[np.intp]
    n_folds: int

    def join(self, groups: Groups, labels: NDArray[np.intp]) -> list[tuple[int, int, float]]:
        """Join groups all of whose photos look alike; the pairs that joined them, with their cosines.

        Args:
            groups: Groups of the photos so far; they grow.
            labels: Class of each photo, (n,).
        """
        cosine = np.array([self.vectors[a] @ self.vectors[b] for a, b in self.pairs.tolist()])
        left = Counter(label for _, label in set(zip(groups.numbers.tolist(), labels.tolist(), strict=True)))
        joined = []
        for number in np.argsort(-cosine, kind="stable"):
            if cosine[number] < LEAST_COSINE:
                break
            a, b = self.pairs[number].tolist()
            one, other = groups.members(a), groups.members(b)
            if one is other or (self.vectors[one] @ self.vectors[other].T).min() < LEAST_COSINE:
                continue
            shared = set(labels[one].tolist()) & set(labels[other].tolist())
            if any(left[label] <= self.n_folds for label in shared) or not groups.join(a, b):
                continue
            left.subtract(shared)
            joined.append((a, b, float(cosine[number])))
        return joined
