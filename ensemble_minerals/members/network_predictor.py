"""Trained networks of one member as they predict; light to load where none is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.members.predictor import (
    AveragedPredictor,
    DenseSpecialist,
    MemberPredictor,
    Specialist,
)

if TYPE_CHECKING:
    from ensemble_minerals.data.image_cache import ImageCache
    from ensemble_minerals.networks.models.state import NetworkState

FloatMatrix = NDArray[np.floating[Any]]

_BATCH = 64
"""Photos whose pixels are held at once when a network answers."""


@dataclass(frozen=True)
class NetworkMemberPredictor:
    """Trained networks of one member, and the predictor of their logits.

    Attributes:
        network: What was trained.
        images: Photos of the rows it is asked about.
        states: The trained networks: one for each fold and, where specialists are separate, each decision.
        logits: Scorer over the outputs of all states side by side.
        device: Where the networks answer.
        n_threads: Threads that they may use.
    """

    network: NetworkConfig
    images: ImageCache
    states: tuple[NetworkState, ...]
    logits: AveragedPredictor
    device: str = "cpu"
    n_threads: int = 1

    def log_proba(self, X: FloatMatrix) -> FloatMatrix:
        """Log-probabilities of the classes, shape (n, n_classes).

        Args:
            X: Positions of photos in the first column, shape (n, 1 or more).
        """
        from ensemble_minerals.networks.inference import NetworkPredictor

        rows = X[:, 0].astype(np.intp)
        if not rows.size:
            return np.zeros((0, len(self.logits.parts[0].taxonomy.classes)))
        predictor = NetworkPredictor(
            self.states, self.network.weights, device=self.device, n_threads=self.n_threads
        )
        answers = [
            predictor.logits([self.images.image(int(row)) for row in rows[start : start + _BATCH]])
            for start in range(0, len(rows), _BATCH)
        ]
        return self.logits.log_proba(np.concatenate(answers).mean(axis=1))

    @classmethod
    def average(cls, predictors: Sequence[NetworkMemberPredictor]) -> NetworkMemberPredictor:
        """Bundle fold models: their log-odds are averaged, as those of any member."""
        widths = [count_outputs(predictor.states) for predictor in predictors]
        starts, total = np.cumsum([0, *widths[:-1]]), sum(widths)
        parts = [
            _among(part, int(start), total)
            for predictor, start in zip(predictors, starts, strict=True)
            for part in predictor.logits.parts
        ]
        states = tuple(state for predictor in predictors for state in predictor.states)
        return replace(predictors[0], states=states, logits=AveragedPredictor.average(parts))


def average_predictors(
    predictors: Sequence[AveragedPredictor | NetworkMemberPredictor],
) -> AveragedPredictor | NetworkMemberPredictor:
    """The fold models of one member as one predictor."""
    trained = [predictor for predictor in predictors if isinstance(predictor, NetworkMemberPredictor)]
    if trained:
        return NetworkMemberPredictor.average(trained)
    return AveragedPredictor.average(
        [
            part
            for predictor in predictors
            if isinstance(predictor, AveragedPredictor)
            for part in predictor.parts
        ]
    )


def count_outputs(states: Sequence[NetworkState]) -> int:
    """Logits of networks side by side."""
    return sum(state.n_outputs for state in states)


def _among(predictor: MemberPredictor, start: int, total: int) -> MemberPredictor:
    """The same predictor of columns that stand at `start` among `total`."""
    return MemberPredictor(
        predictor.taxonomy,
        predictor.one_vs_rest,
        tuple(
            tuple(_moved(specialist, start, total) for specialist in fold) for fold in predictor.specialists
        ),
    )


def _moved(specialist: Specialist, start: int, total: int) -> Specialist:
    if not isinstance(specialist, DenseSpecialist):
        raise TypeError("the logits of a network are scored by matrices")
    (weight, bias), *rest = specialist.layers
    wide = np.zeros((total, weight.shape[1]), dtype=weight.dtype)
    wide[start : start + len(weight)] = weight
    return DenseSpecialist(((wide, bias), *rest))
