"""Members, and what becomes of one of them in one fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.errors import EnsembleMineralsError
from ensemble_minerals.members.base import Strategy
from ensemble_minerals.members.network_member import NetworkStrategy
from ensemble_minerals.members.network_predictor import NetworkMemberPredictor
from ensemble_minerals.members.predictor import AveragedPredictor

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Member:
    """A base learner of the ensemble.

    Attributes:
        name: Unique.
        features: Names of the feature matrices it sees, side by side.
        strategy: Unfitted.
    """

    name: str
    features: tuple[str, ...]
    strategy: Strategy | NetworkStrategy

    @property
    def steps(self) -> int:
        """What a fit in one fold counts for in a bar of progress: epochs, or one where there are none."""
        return self.strategy.epochs if isinstance(self.strategy, NetworkStrategy) else 1


@dataclass(frozen=True)
class MemberFailure:
    """A member that could not be fitted in a fold, and why."""

    member: str
    fold: int
    reason: str


MEMBER_ERRORS = (
    EnsembleMineralsError,
    ValueError,
    FloatingPointError,
    np.linalg.LinAlgError,
    MemoryError,
    RuntimeError,  # how torch says that memory ran out
)
"""What makes a member fail and leaves the others as they are."""


def lacking_classes(y: NDArray[np.intp], classes: NDArray[Any]) -> str | None:
    """Why nothing can be trained on rows: which classes have none among them; None where every class has some.

    Args:
        y: Class positions of the rows, shape (n,).
        classes: Labels of the positions.
    """
    lacking = np.setdiff1d(np.arange(len(classes)), y)
    names = ", ".join(str(classes[k]) for k in lacking)
    return f"no training row of class {names}" if names else None


@dataclass(frozen=True)
class OutOfTime(MemberFailure):
    """A member whose fit in a fold would have begun after the time limit."""

    reason: str = "time limit"


@dataclass
class FittedFold:
    """One member in one fold.

    Attributes:
        member: Its name.
        fold: Number of the fold; -1 when trained on all rows.
        predictor: The fitted member.
        proba: Answers for the held-out rows, shape (k, n_classes).
        notes: What the user should know, such as an over-sampler that was replaced.
        seconds: Time of the fit, its share of the common factorization included.
        logs: Of a network, for each that was trained the records of its epochs.
    """

    member: str
    fold: int
    predictor: AveragedPredictor | NetworkMemberPredictor
    proba: FloatMatrix
    notes: tuple[str, ...]
    seconds: float
    logs: tuple[list[dict[str, Any]], ...] = ()


@dataclass(frozen=True)
class Shared:
    """What all tasks of a cross-fit are given.

    Attributes:
        blocks: Feature matrices by name, (n, n_features) each.
        y: Class positions, (n,).
        groups: Row groups, (n,).
        folds: Fold of each row, (n,).
        classes: Labels of the positions.
        n_jobs: Concurrent tasks.
    """

    blocks: Mapping[str, FloatMatrix]
    y: NDArray[np.intp]
    groups: NDArray[np.intp]
    folds: NDArray[np.intp]
    classes: NDArray[Any]
    n_jobs: int

    @property
    def rows(self) -> tuple[NDArray[Any], ...]:
        """What there is besides features."""
        return self.y, self.groups, self.folds, self.classes
