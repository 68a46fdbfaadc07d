"""The contract of a member, and what becomes of a member in a fold.

A member is a strategy (which subproblems there are, how they are oversampled) over what it learns from: feature
matrices, or the photos, by a network. Nobody outside of this package asks which of the two it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.errors import EnsembleMineralsError, card_error
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.predictor import AveragedPredictor
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.members.strategy import Strategy
from ensemble_minerals.system.runtime import Runtime

if TYPE_CHECKING:
    from ensemble_minerals.networks.models.state import NetworkState

FloatMatrix = NDArray[np.floating[Any]]

NETWORKS = "networks"
"""What members on networks learn from: the photos, by networks of their own. No feature extractor has this name."""

MEMBER_ERRORS = (
    EnsembleMineralsError,
    ValueError,
    FloatingPointError,
    np.linalg.LinAlgError,
    MemoryError,
    RuntimeError,  # how torch says that memory ran out
)
"""What makes a member fail and leaves the others as they are."""


@dataclass
class FittedFold:
    """A member that was fitted without one fold.

    Attributes:
        fold: Number of the fold; `NO_FOLD` when trained on all rows.
        fitted: The fitted member.
        proba: Answers for the held-out rows, shape (k, n_classes).
        notes: What the user should know, such as an over-sampler that was replaced.
        seconds: Time of the fit, with the member's share of what was computed for several together.
        logs: Of a member on networks: for each network the records of its epochs.
    """

    fold: int
    fitted: FittedMember
    proba: FloatMatrix
    notes: tuple[str, ...]
    seconds: float
    logs: tuple[list[dict[str, Any]], ...] = ()

    @property
    def member(self) -> str:
        """Name of the member."""
        return self.fitted.name


@dataclass(frozen=True)
class MemberFailure:
    """A member that could not be fitted in a fold, and why."""

    member: str
    fold: int
    reason: str

    @classmethod
    def of(cls, member: Member, fold: int, error: BaseException) -> Self:
        """The failure that an error means."""
        return cls(member.name, fold, card_error(error) or f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class OutOfTime(MemberFailure):
    """A member whose fit in a fold would have started after the time limit."""

    reason: str = "time limit"


FoldResult = FittedFold | MemberFailure


MemberT_co = TypeVar("MemberT_co", bound="Member", covariant=True)


class FoldTask(NamedTuple, Generic[MemberT_co]):
    """One member to be fitted without one fold."""

    member: MemberT_co
    fold: int


@dataclass(frozen=True)
class Member(ABC):
    """A base learner of the ensemble, unfitted.

    Attributes:
        name: Unique.
        features: Names of the feature matrices it needs, side by side.
        strategy: Into which subproblems it divides the classes, how they are oversampled, and the seed.
    """

    name: str
    features: tuple[str, ...]
    strategy: Strategy

    is_quick: ClassVar[bool]
    """Whether a fit takes seconds. Quick members are fitted first, and one of them is kept when time runs out."""

    @property
    @abstractmethod
    def n_steps(self) -> int:
        """Steps that a fit without one fold counts for in a bar of progress."""

    @property
    @abstractmethod
    def learns_from(self) -> tuple[str, ...]:
        """Names of the feature extractors whose features it learns from, or `NETWORKS`."""

    @property
    def takes_views(self) -> bool:
        """Whether it could learn from each view of a photo as a row: see `RowData.views`."""
        return False

    @abstractmethod
    def fit_fold(
        self,
        data: RowData,
        inputs: FoldInputs,
        fold: int,
        *,
        rows: NDArray[np.intp] | None = None,
    ) -> FoldResult:
        """Fit on the rows outside a fold and predict the rows in it; without processes or threads of its own.

        Args:
            data: What members see of the rows.
            inputs: Labels, row groups and folds of n rows.
            fold: Held out; `NO_FOLD` trains on all rows and predicts none.
            rows: Positions in `data` of the rows of `inputs`, shape (n,); all of them if None.
        """

    @classmethod
    @abstractmethod
    def fit_folds(
        cls,
        tasks: Sequence[FoldTask[Self]],
        data: RowData,
        inputs: FoldInputs,
        runtime: Runtime,
        *,
        checkpoint: Path | None,
        on_steps: Callable[[int], None],
    ) -> Generator[Sequence[FoldResult]]:
        """Fit members of this kind, several at once; arguments and results as of the function `fit_folds`."""

    @classmethod
    @abstractmethod
    def estimate_seconds(cls, members: Sequence[Self], data: RowData, inputs: FoldInputs, fold: int) -> float:
        """How long a fit of members of this kind takes, as of the function `estimate_seconds`."""

    @abstractmethod
    def restore(self, predictor: AveragedPredictor, states: tuple[NetworkState, ...]) -> FittedMember:
        """The fitted member that was saved as these parts."""


def fit_folds(
    tasks: Sequence[FoldTask[Member]],
    data: RowData,
    inputs: FoldInputs,
    runtime: Runtime,
    *,
    checkpoint: Path | None = None,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> Generator[Sequence[FoldResult]]:
    """Fit members without folds, each kind in its own way, quick ones first; results as they come.

    Args:
        tasks: Members and folds.
        data: What members see of the rows.
        inputs: Labels, row groups and folds of the rows.
        runtime: Tasks at once, and the time after which no task starts. Answers do not depend on it.
        checkpoint: Folder where long fits keep their logs and take up what was interrupted.
        on_steps: Called, from any thread, with the steps that long fits under way have done.

    Yields:
        For members that were fitted together what each was fitted to, or why it failed.
    """
    kinds = dict.fromkeys(type(task.member) for task in tasks)
    for kind in sorted(kinds, key=lambda kind: not kind.is_quick):
        own = [task for task in tasks if type(task.member) is kind]
        results = kind.fit_folds(own, data, inputs, runtime, checkpoint=checkpoint, on_steps=on_steps)
        with closing(results):
            yield from results


def estimate_seconds(members: Sequence[Member], data: RowData, inputs: FoldInputs, fold: int) -> float:
    """How long it takes on one core to fit members without one fold, from fits as short as they can be.

    Args:
        members: Unfitted.
        data: What members see of the rows.
        inputs: Labels, row groups and folds of the rows.
        fold: Held out.
    """
    kinds = dict.fromkeys(type(member) for member in members)
    return sum(
        kind.estimate_seconds([member for member in members if type(member) is kind], data, inputs, fold)
        for kind in kinds
    )


def lacking_classes(y: NDArray[np.intp], classes: NDArray[Any]) -> str | None:
    """Why nothing can be trained on rows: which classes have none among them; None where every class has some.

    Args:
        y: Class positions of the rows, shape (n,).
        classes: Labels of the positions.

    Example:
        >>> lacking_classes(np.array([0, 0]), np.array(["mica", "quartz"]))
        'no training row of class quartz'
    """
    lacking = np.setdiff1d(np.arange(len(classes)), y)
    names = ", ".join(str(classes[k]) for k in lacking)
    return f"no training row of class {names}" if names else None
