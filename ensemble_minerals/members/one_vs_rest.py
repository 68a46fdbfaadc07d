"""One specialist for each class, which tells it from all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.strategy import Decomposition, Strategy
from ensemble_minerals.members.training_rows import TrainingRows
from ensemble_minerals.taxonomy import Taxonomy


class OneVsRestClassifier(Strategy):
    """A binary head for each class against the rest; the answers are normalized to sum to 1."""

    kind = "one_vs_rest"

    def decompose(
        self, y: NDArray[np.intp], names: tuple[str, ...], rows: TrainingRows, groups: NDArray[np.intp]
    ) -> Decomposition:
        """A subproblem for each class, with all rows."""
        everywhere = np.arange(len(y))
        subproblems = tuple(
            Subproblem(f"{name} against the rest", everywhere, (y == position).astype(np.intp), 2)
            for position, name in enumerate(names)
        )
        return Decomposition(Taxonomy.flat(names), True, subproblems)
