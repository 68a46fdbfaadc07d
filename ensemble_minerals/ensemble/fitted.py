"""The fitted ensemble as it predicts: members, their combination and one temperature, in numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.log_space import clipped_log, log_normalize
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.rows import RowData

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FittedEnsemble:
    """Members and how their answers become one.

    Attributes:
        members: In the order of the combination's weights.
        combination: The fitted meta-learner.
        temperature: Divides the combined log-probabilities; 1 where calibration is off.
    """

    members: tuple[FittedMember, ...]
    combination: Combination
    temperature: float

    def of_weight(self) -> FittedEnsemble:
        """The members whose weight is not 0, which give the same answers."""
        n_members = len(self.members)
        kept = np.flatnonzero(self.combination.weight_of_members(n_members))
        if kept.size in (0, n_members):  # without any, the biases of the classes answer
            return self
        members = tuple(self.members[position] for position in kept)
        return FittedEnsemble(members, self.combination.of_members(kept, n_members), self.temperature)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the feature matrices that its members see."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.features))

    def member_log_proba(self, data: RowData) -> FloatMatrix:
        """Clipped log-probabilities of every member, shape (n, n_members, n_classes).

        Args:
            data: What the members see of n rows.
        """
        answers = [np.exp(member.log_proba(data)) for member in self.members]
        return clipped_log(np.stack(answers, axis=1))

    def combine(self, member_log_proba: FloatMatrix) -> FloatMatrix:
        """Calibrated log-probabilities, shape (n, n_classes), of members' (n, n_members, n_classes)."""
        return log_normalize(self.combination.log_proba(member_log_proba) / self.temperature)
