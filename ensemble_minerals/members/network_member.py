"""Members on networks: the subproblems of any strategy, learned by networks that are trained on the photos."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.subproblem import Subproblem, n_logits
from ensemble_minerals.members.base import (
    MEMBER_ERRORS,
    NETWORKS,
    FittedFold,
    FoldResult,
    FoldTask,
    Member,
    MemberFailure,
    lacking_classes,
)
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.network_folds import train_in_processes
from ensemble_minerals.members.predictor import (
    AveragedPredictor,
    DenseSpecialist,
    MemberPredictor,
    Specialist,
)
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.members.strategy import Decomposition, Strategy
from ensemble_minerals.members.trained_networks import TrainedNetworks
from ensemble_minerals.members.training_rows import TrainingRows
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.seeds import derived_seed

if TYPE_CHECKING:
    from ensemble_minerals.data.image_cache import ImageCache
    from ensemble_minerals.networks.models.state import NetworkState

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class NetworkMember(Member):
    """A strategy whose subproblems networks learn from the photos.

    Attributes:
        features: Feature matrices from which groups of classes are learned, where the strategy learns any.
        network: What is trained.
        images: The shrunken photos; None in a plan that is only counted.
        specialists: One network with an output for each subproblem (``joint``), or a network for each.
    """

    network: NetworkConfig
    images: ImageCache | None = field(default=None, repr=False)
    specialists: Literal["joint", "separate"] = "joint"

    is_quick: ClassVar[bool] = False

    @property
    def n_steps(self) -> int:
        """Epochs of one network, at most."""
        return sum(phase.epochs for phase in self.network.phases)

    @property
    def learns_from(self) -> tuple[str, ...]:
        """`NETWORKS`."""
        return (NETWORKS,)

    def fit_fold(
        self,
        data: RowData,
        inputs: FoldInputs,
        fold: int,
        *,
        rows: NDArray[np.intp] | None = None,
        work: Path | None = None,
        n_threads: int = 1,
        device: str = "cpu",
    ) -> FoldResult:
        """Train on the rows outside a fold and predict the rows in it, see `Member.fit_fold`.

        Args:
            data: With the photos of the rows.
            inputs: Labels, row groups and folds.
            fold: Held out.
            rows: Positions in `data` of the rows of `inputs`.
            work: Folder for logs and checkpoints; an interrupted fit into it is taken up.
            n_threads: Threads that this fit may use.
            device: Where it trains.
        """
        started = time.perf_counter()
        here = data if rows is None else data.take(rows)
        training = inputs.training(fold)
        if (reason := lacking_classes(inputs.y[training], inputs.classes)) is not None:
            return MemberFailure(self.name, fold, reason)
        try:
            fitted, notes = self._train(
                here.take(training), inputs.take(training), work=work, n_threads=n_threads, device=device
            )
            proba = np.exp(fitted.log_proba(here.take(inputs.held_out(fold))).astype(np.float64))
        except MEMBER_ERRORS as error:
            return MemberFailure.of(self, fold, error)
        proba /= proba.sum(axis=1, keepdims=True)
        return FittedFold(fold, fitted, proba, notes, time.perf_counter() - started)

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
        """Train networks, each in a process of its own; a step is an epoch."""
        return train_in_processes(tasks, data, inputs, runtime, checkpoint=checkpoint, on_epochs=on_steps)

    @classmethod
    def estimate_seconds(cls, members: Sequence[Self], data: RowData, inputs: FoldInputs, fold: int) -> float:
        """How long the networks take, from an epoch of each phase."""
        return sum(member._estimate_seconds(data, inputs, fold) for member in members)

    def _estimate_seconds(self, data: RowData, inputs: FoldInputs, fold: int) -> float:
        phases = self.network.phases
        short = tuple(phase.model_copy(update={"epochs": 1}) for phase in phases)
        quick = replace(self, network=self.network.model_copy(update={"phases": short}))
        started = time.perf_counter()
        quick.fit_fold(data, inputs, fold)
        return (time.perf_counter() - started) * self.n_steps / len(phases)

    def restore(self, predictor: AveragedPredictor, states: tuple[NetworkState, ...]) -> FittedMember:
        """The fitted member that was saved as a predictor of logits, and networks."""
        networks = TrainedNetworks(self.network, self._photos(), states)
        return FittedMember(self.name, self.features, predictor, networks)

    def _photos(self) -> ImageCache:
        if self.images is None:
            raise ValueError("this member was built without photos; it can be counted, not trained")
        return self.images

    def _train(
        self, data: RowData, inputs: FoldInputs, *, work: Path | None, n_threads: int, device: str
    ) -> tuple[FittedMember, tuple[str, ...]]:
        """Train on all the rows given; the fitted member, and notes."""
        from ensemble_minerals.networks.training.estimator import FineTunedNetwork

        images, photos = self._photos(), data.photos()
        strategy: Strategy = clone(self.strategy)
        seen = data.side_by_side(self.features) if self.features else np.zeros((len(inputs), 1))
        trained = TrainingRows.of(seen.astype(np.float64))
        decomposition = strategy.decompose(inputs.y, inputs.names, trained, inputs.groups)
        states, notes = [], dict[str, None]()
        for number, (rows, subproblems) in enumerate(self._networks(decomposition, len(photos))):
            trained = FineTunedNetwork(
                self.network,
                images,
                sampler=strategy.sampler,
                prior_correction=bool(strategy.prior_correction),
                random_state=derived_seed(strategy.random_state, number),
                n_threads=n_threads,
                device=device,
                work=None if work is None else work / str(number),
            )
            trained.fit_subproblems(photos[rows], subproblems, inputs.groups[rows])
            states.append(trained.state_)
            notes |= dict.fromkeys(trained.notes_)
        predictor = MemberPredictor(
            decomposition.taxonomy, decomposition.one_vs_rest, (_selecting(decomposition),)
        )
        networks = TrainedNetworks(self.network, images, tuple(states), device, n_threads)
        average = AveragedPredictor.average([predictor])
        return FittedMember(self.name, self.features, average, networks), tuple(notes)

    def _networks(
        self, decomposition: Decomposition, n_rows: int
    ) -> list[tuple[NDArray[np.intp], list[Subproblem]]]:
        """For each network its rows and subproblems."""
        subproblems = decomposition.subproblems
        if self.specialists == "joint" or len(subproblems) == 1:
            return [(np.arange(n_rows), list(subproblems))]
        return [
            (one.rows, [Subproblem(one.name, np.arange(len(one.rows)), one.targets, one.n_outcomes)])
            for one in subproblems
        ]


def _selecting(decomposition: Decomposition) -> tuple[Specialist, ...]:
    """For each subproblem the specialist that picks its columns from all logits."""
    widths = [n_logits(one.n_outcomes) for one in decomposition.subproblems]
    total, start = sum(widths), 0
    specialists: list[Specialist] = []
    for width in widths:
        weight = np.zeros((total, width), dtype=np.float32)
        weight[start : start + width] = np.eye(width)
        specialists.append(DenseSpecialist(((weight, np.zeros(width, dtype=np.float32)),)))
        start += width
    return tuple(specialists)
