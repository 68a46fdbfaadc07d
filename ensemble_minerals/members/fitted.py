"""A fitted member as it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.predictor import AveragedPredictor
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.members.trained_networks import TrainedNetworks

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FittedMember:
    """A fitted base learner: matrices that turn columns into probabilities.

    The columns are features; or logits of networks, from the photos of the rows, until those networks are saved and
    their logits are features, too.

    Attributes:
        name: Unique.
        features: Names of the feature matrices it sees, side by side.
        predictor: Turns the columns into log-probabilities.
        networks: Trained networks whose logits are the columns; None where the columns are features.
    """

    name: str
    features: tuple[str, ...]
    predictor: AveragedPredictor
    networks: TrainedNetworks | None = None

    def log_proba(self, data: RowData) -> FloatMatrix:
        """Log-probabilities of the classes, shape (n, n_classes)."""
        if self.networks is None:
            return self.predictor.log_proba(data.side_by_side(self.features))
        return self.predictor.log_proba(self.networks.logits(data.photos()))

    @property
    def nbytes(self) -> int:
        """Size of its matrices and networks."""
        return self.predictor.nbytes + (0 if self.networks is None else self.networks.nbytes)

    @classmethod
    def average(cls, folds: Sequence[FittedMember]) -> FittedMember:
        """Fold models of one member as one: their log-odds are averaged."""
        networks = [fold.networks for fold in folds if fold.networks is not None]
        if not networks:
            parts = [part for fold in folds for part in fold.predictor.parts]
            return replace(folds[0], predictor=AveragedPredictor.average(parts))
        ends = np.cumsum([one.n_outputs for one in networks])
        parts = [
            part.widened(int(end) - one.n_outputs, int(ends[-1]))
            for fold, one, end in zip(folds, networks, ends, strict=True)
            for part in fold.predictor.parts
        ]
        return replace(
            folds[0],
            predictor=AveragedPredictor.average(parts),
            networks=TrainedNetworks.concatenate(networks),
        )
