"""Trained networks of one member as they predict; torch is loaded only then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.networks import NetworkConfig

if TYPE_CHECKING:
    from ensemble_minerals.data.image_cache import ImageCache
    from ensemble_minerals.networks.models.state import NetworkState

_BATCH = 64
"""Photos whose pixels are held at once when a network answers."""


@dataclass(frozen=True)
class TrainedNetworks:
    """Networks of one configuration, trained on different rows or for different subproblems.

    Attributes:
        config: What was trained.
        images: The shrunken photos.
        states: The trained networks: one for each fold and, where specialists are separate, each subproblem.
        device: Where the networks answer.
        n_threads: Threads that they may use.
    """

    config: NetworkConfig
    images: ImageCache
    states: tuple[NetworkState, ...]
    device: str = "cpu"
    n_threads: int = 1

    def logits(self, photos: NDArray[np.intp]) -> NDArray[np.float64]:
        """Logits of all networks side by side, mean over the views, shape (n, n_outputs).

        Args:
            photos: Positions in the image cache, shape (n,).
        """
        if not photos.size:
            return np.zeros((0, self.n_outputs))
        from ensemble_minerals.networks.inference import NetworkPredictor

        predictor = NetworkPredictor(
            self.states, self.config.weights, device=self.device, n_threads=self.n_threads
        )
        answers = [
            predictor.logits([self.images.image(int(photo)) for photo in photos[start : start + _BATCH]])
            for start in range(0, len(photos), _BATCH)
        ]
        logits: NDArray[np.float64] = np.concatenate(answers).mean(axis=1)
        return logits

    @property
    def n_outputs(self) -> int:
        """Logits of all networks."""
        return sum(state.n_outputs for state in self.states)

    @property
    def nbytes(self) -> int:
        """Size of the tensors."""
        return sum(state.nbytes for state in self.states)

    @classmethod
    def concatenate(cls, networks: Sequence[TrainedNetworks]) -> TrainedNetworks:
        """Networks of several folds side by side."""
        return replace(networks[0], states=tuple(state for one in networks for state in one.states))
