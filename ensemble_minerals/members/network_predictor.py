"""Trained networks of one member as they predict; light to load where none is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.members.predictor import DenseNet, FoldScorer, Net, Scorer

if TYPE_CHECKING:
    from ensemble_minerals.data.image_cache import PictureTable
    from ensemble_minerals.networks.models.state import NetworkState

FloatMatrix = NDArray[np.floating[Any]]

_BATCH = 64
"""Photos whose pixels are held at once when a network answers."""


@dataclass(frozen=True)
class NetworkScorer:
    """Trained networks of one member, and the scorer of their logits.

    Attributes:
        network: What was trained.
        pictures: Photos of the rows it is asked about.
        states: The trained networks: one for each fold and, where specialists are separate, each decision.
        logits: Scorer over the outputs of all states side by side.
        device: Where the networks answer.
        n_threads: Threads that they may use.
    """

    network: NetworkConfig
    pictures: PictureTable
    states: tuple[NetworkState, ...]
    logits: FoldScorer
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
            predictor.logits([self.pictures.picture(int(row)) for row in rows[start : start + _BATCH]])
            for start in range(0, len(rows), _BATCH)
        ]
        return self.logits.log_proba(np.concatenate(answers).mean(axis=1))

    @classmethod
    def average(cls, scorers: Sequence[NetworkScorer]) -> NetworkScorer:
        """Bundle fold models: their log-odds are averaged, as those of any member."""
        widths = [count_outputs(scorer.states) for scorer in scorers]
        starts, total = np.cumsum([0, *widths[:-1]]), sum(widths)
        parts = [
            _among(part, int(start), total)
            for scorer, start in zip(scorers, starts, strict=True)
            for part in scorer.logits.parts
        ]
        states = tuple(state for scorer in scorers for state in scorer.states)
        return replace(scorers[0], states=states, logits=FoldScorer.average(parts))


def average_scorers(scorers: Sequence[FoldScorer | NetworkScorer]) -> FoldScorer | NetworkScorer:
    """The fold models of one member as one scorer."""
    trained = [scorer for scorer in scorers if isinstance(scorer, NetworkScorer)]
    if trained:
        return NetworkScorer.average(trained)
    return FoldScorer.average(
        [part for scorer in scorers if isinstance(scorer, FoldScorer) for part in scorer.parts]
    )


def count_outputs(states: Sequence[NetworkState]) -> int:
    """Logits of networks side by side."""
    return sum(state.n_outputs for state in states)


def _among(scorer: Scorer, start: int, total: int) -> Scorer:
    """The same scorer of columns that stand at `start` among `total`."""
    return Scorer(
        scorer.taxonomy,
        scorer.one_vs_rest,
        tuple(tuple(_moved(net, start, total) for net in fold) for fold in scorer.nets),
    )


def _moved(net: Net, start: int, total: int) -> Net:
    if not isinstance(net, DenseNet):
        raise TypeError("the logits of a network are scored by matrices")
    (weight, bias), *rest = net.layers
    wide = np.zeros((total, weight.shape[1]), dtype=weight.dtype)
    wide[start : start + len(weight)] = weight
    return DenseNet(((wide, bias), *rest))
