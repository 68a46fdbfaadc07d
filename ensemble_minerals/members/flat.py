"""One classifier of all classes at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.decision import Decision
from ensemble_minerals.members.base import Strategy
from ensemble_minerals.members.scorer import Scorer
from ensemble_minerals.members.specialists import Training
from ensemble_minerals.taxonomy import Taxonomy


class FlatClassifier(Strategy):
    """One head over all classes."""

    def _train(
        self, training: Training, y: NDArray[np.intp], names: tuple[str, ...]
    ) -> tuple[Scorer, tuple[str, ...]]:
        nets, notes = training.train([Decision("all classes", np.arange(len(y)), y, len(names))])
        return Scorer(Taxonomy.flat(names), False, (nets,)), notes
