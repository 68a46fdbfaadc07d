"""A fitted combination of members, in numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.log_space import log_normalize

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Combination:
    """A fitted candidate: how members' log-probabilities become one.

    Attributes:
        kind: ``"mean"`` of probabilities, ``"product"`` of their powers, or ``"linear"`` in log-probabilities.
        weight: Shape (n_members,); for ``"linear"`` (n_members * n_classes, n_classes).
        bias: Shape (n_classes,); zero unless ``"linear"``.
    """

    kind: str
    weight: FloatMatrix
    bias: FloatMatrix

    def log_proba(self, members: FloatMatrix) -> FloatMatrix:
        """Combine log-probabilities, shape (n, n_members, n_classes), into (n, n_classes)."""
        if self.kind == "mean":
            mean = np.einsum("nmk,m->nk", np.exp(members), self.weight)
            return log_normalize(np.log(mean))
        if self.kind == "product":
            return log_normalize(np.einsum("nmk,m->nk", members, self.weight))
        return log_normalize(centered(members) @ self.weight + self.bias)


def centered(members: FloatMatrix) -> FloatMatrix:
    """Log-probabilities minus their mean over the classes, member by member, shape (n, n_members * n_classes)."""
    less_mean = members - members.mean(axis=2, keepdims=True)
    flat: FloatMatrix = less_mean.reshape(len(members), -1)
    return flat
