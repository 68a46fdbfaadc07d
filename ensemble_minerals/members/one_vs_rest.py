"""One specialist a class, telling it from all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.decision import Decision
from ensemble_minerals.members.base import Strategy
from ensemble_minerals.members.scorer import Scorer
from ensemble_minerals.members.specialists import Training
from ensemble_minerals.taxonomy import Taxonomy


class OneVsRestClassifier(Strategy):
    """A binary head for each class against the rest; the answers are normalized to sum to 1."""

    def _train(
        self, training: Training, y: NDArray[np.intp], names: tuple[str, ...]
    ) -> tuple[Scorer, tuple[str, ...]]:
        rows = np.arange(len(y))
        nodes = [
            Decision(f"{name} against the rest", rows, (y == position).astype(np.intp), 2)
            for position, name in enumerate(names)
        ]
        nets, notes = training.train(nodes)
        return Scorer(Taxonomy.flat(names), True, (nets,)), notes
