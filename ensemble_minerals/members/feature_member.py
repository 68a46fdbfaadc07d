"""Members on features: those on the same features share one row space a fold, and one solve of their regressions.

Of a few hundred rows, regressions on all features are solved side by side in one task a fold.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.members.base import (
    FoldResult,
    FoldTask,
    Member,
)
from ensemble_minerals.members.feature_fits import fit_sets, fit_task, fit_together
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.predictor import AveragedPredictor
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.members.training_rows import SharedBlocks
from ensemble_minerals.system.cluster import DelayedCall
from ensemble_minerals.system.cpu import short_switch_interval
from ensemble_minerals.system.parallel import run_unordered, single_thread
from ensemble_minerals.system.runtime import Runtime

if TYPE_CHECKING:
    from ensemble_minerals.networks.models.state import NetworkState

FloatMatrix = NDArray[np.floating[Any]]

_FEW = 1024
"""Rows up to which members on all features are fitted in one task a fold."""


@dataclass(frozen=True)
class FeatureMember(Member):
    """A strategy over feature matrices.

    Example:
        >>> from ensemble_minerals.members.flat import FlatClassifier
        >>> member = FeatureMember("flat", ("color",), FlatClassifier())
        >>> data = RowData({"color": np.array([[0.0], [1.0], [9.0], [8.0], [1.5], [9.5]])})
        >>> y, folds = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 0, 0, 0, 1, 1])
        >>> inputs = FoldInputs(y, np.arange(6), folds, np.array(["malachite", "quartz"]))
        >>> member.fit_fold(data, inputs, 1).proba.round(1)
        array([[1., 0.],
               [0., 1.]])
    """

    is_quick: ClassVar[bool] = True

    @property
    def n_steps(self) -> int:
        """One."""
        return 1

    @property
    def learns_from(self) -> tuple[str, ...]:
        """Its features."""
        return self.features

    @property
    def takes_views(self) -> bool:
        """Whether it sees one matrix, and its strategy can learn from views."""
        return len(self.features) == 1 and self.strategy.takes_views

    def fit_fold(
        self, data: RowData, inputs: FoldInputs, fold: int, *, rows: NDArray[np.intp] | None = None
    ) -> FoldResult:
        """Fit on the rows outside a fold and predict the rows in it, see `Member.fit_fold`."""
        matrices = [data.matrices[name] for name in self.features]
        (result,) = fit_together([self], matrices, inputs, fold, rows, data.views_for(self.features))
        return result

    @classmethod
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
        """Fit members in threads, those on the same features in one task a fold, of few rows all."""
        together: dict[tuple[tuple[str, ...], int], list[Member]] = defaultdict(list)
        for member, fold in tasks:
            together[member.features, fold].append(member)
        # Members on some of the same features share what is prepared of them, fold by fold so that it can go again.
        # By a deadline, members have to be done one by one.
        shares = runtime.deadline is None and runtime.is_local
        order = sorted(together, key=lambda task: task[1]) if shares else list(together)

        def calls() -> Iterator[DelayedCall]:
            blocks, prepared = None, None
            for features, fold in order:
                if shares and fold != prepared:
                    blocks, prepared = SharedBlocks(), fold
                own = [data.matrices[name] for name in features]
                yield delayed(fit_task)(
                    together[features, fold],
                    fold,
                    runtime.deadline,
                    blocks,
                    inputs,
                    data.views_for(features),
                    *own,
                )

        def calls_of_few() -> Iterator[DelayedCall]:
            for fold in dict.fromkeys(fold for _, fold in order):
                own = [members for (_, number), members in together.items() if number == fold]
                yield delayed(fit_sets)(own, fold, inputs, data)

        used = dict.fromkeys(name for features, _ in together for name in features)
        shared = [inputs, *(data.matrices[name] for name in used), *data.views.values()]
        results = run_unordered(
            calls_of_few() if shares and len(inputs) <= _FEW and not data.views else calls(),
            n_jobs=runtime.n_tasks,
            shared=shared,
            threads=True,
            cluster=runtime.cluster,
        )
        with single_thread, short_switch_interval(), closing(results):
            yield from results

    @classmethod
    def estimate_seconds(cls, members: Sequence[Self], data: RowData, inputs: FoldInputs, fold: int) -> float:
        """How long a fit of members takes on one core, from one that is made."""
        started = time.perf_counter()
        with single_thread:
            for features in dict.fromkeys(member.features for member in members):
                same = [member for member in members if member.features == features]
                matrices = [data.matrices[name] for name in features]
                fit_together(same, matrices, inputs, fold, views=data.views_for(features))
        return time.perf_counter() - started

    def restore(self, predictor: AveragedPredictor, states: tuple[NetworkState, ...]) -> FittedMember:
        """The fitted member that was saved as a predictor."""
        return FittedMember(self.name, self.features, predictor)
