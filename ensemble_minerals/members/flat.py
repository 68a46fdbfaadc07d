"""One classifier for all classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.strategy import Decomposition, Strategy
from ensemble_minerals.members.training_rows import TrainingRows
from ensemble_minerals.taxonomy import Taxonomy


class FlatClassifier(Strategy):
    """One head over all classes."""

    kind = "flat"

    def decompose(
        self, y: NDArray[np.intp], names: tuple[str, ...], rows: TrainingRows, groups: NDArray[np.intp]
    ) -> Decomposition:
        """One subproblem, with all rows."""
        return Decomposition(
            Taxonomy.flat(names), False, (Subproblem("all classes", np.arange(len(y)), y, len(names)),)
        )
