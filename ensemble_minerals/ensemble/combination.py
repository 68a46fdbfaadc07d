"""A fitted combination of members, in numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.system.arrays import checked_array

FloatMatrix = NDArray[np.floating[Any]]
Kind: TypeAlias = Literal["mean", "calibrated", "product", "linear"]

_MOST = 1e6
"""Size of a weight that was read, at most; that of a fit is a few units."""


@dataclass(frozen=True)
class Combination:
    """A fitted candidate: how members' log-probabilities become one.

    Attributes:
        kind: ``"mean"`` of probabilities; ``"calibrated"``, the plain mean of members whose log-probabilities are
            multiplied by the weights; ``"product"`` of their powers; or ``"linear"`` in log-probabilities.
        weight: Shape (n_members,); for ``"linear"`` (n_members * n_classes, n_classes).
        bias: Shape (n_classes,); zero unless ``"linear"``.
    """

    kind: Kind
    weight: FloatMatrix
    bias: FloatMatrix

    @classmethod
    def read(cls, kind: Kind, arrays: Mapping[str, NDArray[Any]], n_members: int, n_classes: int) -> Self:
        """A combination from what a bundle keeps of it.

        Args:
            kind: See the class.
            arrays: ``weight`` and ``bias``.
            n_members: Number of members.
            n_classes: Number of classes.

        Raises:
            ValueError: If an array is not what such a combination has.
        """
        linear = kind == "linear"
        shape = (n_members * n_classes, n_classes) if linear else (n_members,)
        weight = checked_array(arrays, "weight", np.float64, shape)
        bias = checked_array(arrays, "bias", np.float64, (n_classes,))
        if max(np.abs(weight).max(), np.abs(bias).max()) > _MOST:
            raise ValueError(f"weight and bias must be between -{_MOST:g} and {_MOST:g}")
        least = weight.min() if kind == "calibrated" else weight.max()
        if not linear and (weight.min() < 0 or least == 0 or bias.any()):
            raise ValueError(f"weight of a {kind} must be positive, and bias zero")
        if kind == "mean" and abs(weight.sum() - 1) > 1e-6:
            raise ValueError(f"weight of a mean must add up to 1, not {weight.sum():g}")
        return cls(kind, weight, bias)

    def weight_of_members(self, n_members: int) -> FloatMatrix:
        """How much each member counts, shape (n_members,): 0 where its answers change nothing."""
        weights: FloatMatrix = np.abs(self.weight).reshape(n_members, -1).max(axis=1)
        return weights

    def of_members(self, kept: NDArray[np.intp], n_members: int) -> Combination:
        """The combination of some of the members.

        Args:
            kept: Their positions.
            n_members: Number of all members.
        """
        weight = self.weight.reshape(n_members, -1, *self.weight.shape[1:])[kept]
        return replace(self, weight=weight.reshape(-1, *self.weight.shape[1:]))

    def log_proba(self, members: FloatMatrix) -> FloatMatrix:
        """Combine log-probabilities, shape (n, n_members, n_classes), into (n, n_classes)."""
        if self.kind == "mean":
            mean = np.einsum("nmk,m->nk", np.exp(members), self.weight)
            return log_normalize(np.log(mean))
        if self.kind == "calibrated":
            logits = members * self.weight[:, None]
            calibrated = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
            return log_normalize(np.log(np.exp(calibrated).mean(axis=1)))
        if self.kind == "product":
            return log_normalize(np.einsum("nmk,m->nk", members, self.weight))
        return log_normalize(centered(members) @ self.weight + self.bias)


def centered(members: FloatMatrix) -> FloatMatrix:
    """Log-probabilities minus their mean over the classes, member by member, shape (n, n_members * n_classes)."""
    less_mean = members - members.mean(axis=2, keepdims=True)
    flat: FloatMatrix = less_mean.reshape(len(members), -1)
    return flat
