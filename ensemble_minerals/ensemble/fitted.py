"""The fitted ensemble as it predicts: members, their combination and one temperature, in numpy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.log_space import clipped_log, log_normalize
from ensemble_minerals.members.network_predictor import NetworkMemberPredictor
from ensemble_minerals.members.predictor import AveragedPredictor

FloatMatrix = NDArray[np.floating[Any]]
Blocks = Mapping[str, FloatMatrix]


@dataclass(frozen=True)
class FittedMember:
    """A fitted base learner.

    Attributes:
        name: Unique.
        features: Names of the feature matrices it sees, side by side.
        predictor: Its fold models; of a network that has not been saved yet, with the networks themselves.
    """

    name: str
    features: tuple[str, ...]
    predictor: AveragedPredictor | NetworkMemberPredictor

    @property
    def matrices(self) -> AveragedPredictor:
        """What turns its features, or the logits of its networks, into probabilities."""
        return self.predictor.logits if isinstance(self.predictor, NetworkMemberPredictor) else self.predictor


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

    def member_log_proba(self, blocks: Blocks) -> FloatMatrix:
        """Clipped log-probabilities of every member, shape (n, n_members, n_classes).

        Args:
            blocks: Feature matrices by name, each of shape (n, n_features).
        """
        answers = [
            np.exp(member.predictor.log_proba(side_by_side(blocks, member.features)))
            for member in self.members
        ]
        return clipped_log(np.stack(answers, axis=1))

    def combine(self, member_log_proba: FloatMatrix) -> FloatMatrix:
        """Calibrated log-probabilities, shape (n, n_classes), of members' (n, n_members, n_classes)."""
        return log_normalize(self.combination.log_proba(member_log_proba) / self.temperature)


def side_by_side(blocks: Blocks, features: Sequence[str]) -> FloatMatrix:
    """The named matrices as one, shape (n, sum of their columns)."""
    if len(features) == 1:
        return blocks[features[0]]
    return np.concatenate([blocks[name] for name in features], axis=1)
