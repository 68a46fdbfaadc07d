"""Specialists over networks that are trained on the photos: the decisions of any strategy, learned by a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.base import Plan, Strategy
from ensemble_minerals.members.network_predictor import NetworkMemberPredictor
from ensemble_minerals.members.predictor import (
    AveragedPredictor,
    DenseSpecialist,
    MemberPredictor,
    Specialist,
)
from ensemble_minerals.members.row_space import RowSpace

if TYPE_CHECKING:
    from ensemble_minerals.data.image_cache import ImageCache

FloatMatrix = NDArray[np.floating[Any]]

PHOTOS = "photos"
"""Name of the block that holds, as one column, the position of each row's photo in the tables of pictures."""


@dataclass(frozen=True)
class NetworkStrategy:
    """What is trained in every fold for a member that stands on a network.

    Attributes:
        strategy: Unfitted; says which decisions there are, how they are oversampled, and the seed.
        network: What is trained.
        images: Photos, by position; None in a plan that is only counted.
        specialists: One network with a branch for each decision (``joint``), or a network for each.
    """

    strategy: Strategy
    network: NetworkConfig
    images: ImageCache | None = field(repr=False)
    specialists: Literal["joint", "separate"] = "joint"

    @property
    def epochs(self) -> int:
        """Epochs of one network, at most."""
        return sum(phase.epochs for phase in self.network.phases)

    @property
    def sampler(self) -> OverSampler | None:
        """The over-sampler of the strategy."""
        sampler: OverSampler | None = self.strategy.sampler
        return sampler

    @property
    def prior_correction(self) -> bool:
        """Whether the shift of the over-sampler is taken back."""
        return bool(self.strategy.prior_correction)

    def fit_rows(
        self,
        X: FloatMatrix,
        y: NDArray[np.intp],
        groups: NDArray[np.intp],
        classes: NDArray[Any],
        *,
        work: Path | None = None,
        n_threads: int = 1,
        device: str = "cpu",
    ) -> tuple[NetworkMemberPredictor, tuple[str, ...]]:
        """Train on rows.

        Args:
            X: Positions of photos in the first column; further columns, if any, are features from which a
                taxonomy may be learned. Shape (n, 1 or more).
            y: Class positions, shape (n,).
            groups: Row groups, shape (n,).
            classes: Labels of the positions.
            work: Folder for logs and checkpoints; an interrupted fit into it is taken up.
            n_threads: Threads that this fit may use.
            device: Where it trains.

        Returns:
            The trained member, and notes.
        """
        from ensemble_minerals.networks.training.estimator import FineTunedNetwork

        if self.images is None:
            raise ValueError("this member was built without photos; it can be counted, not trained")
        strategy: Strategy = clone(self.strategy)
        names = tuple(str(label) for label in classes)
        Z = RowSpace().fit_transform(X[:, 1:]) if X.shape[1] > 1 else np.zeros((len(y), 1))
        plan = strategy.plan(y, names, Z, groups)
        rows = X[:, 0].astype(np.intp)
        states, notes = [], dict[str, None]()
        for number, (chosen, subproblems) in enumerate(self._networks(plan, len(rows))):
            trained = FineTunedNetwork(
                self.network,
                self.images,
                sampler=self.sampler,
                prior_correction=self.prior_correction,
                random_state=int(
                    np.random.SeedSequence((strategy.random_state, number)).generate_state(1)[0]
                ),
                n_threads=n_threads,
                device=device,
                work=None if work is None else work / str(number),
            )
            trained.fit_subproblems(rows[chosen], subproblems, groups[chosen])
            states.append(trained.state_)
            notes |= dict.fromkeys(trained.notes_)
        predictor = MemberPredictor(plan.taxonomy, plan.one_vs_rest, (_selecting(plan),))
        fitted = NetworkMemberPredictor(
            self.network,
            self.images,
            tuple(states),
            AveragedPredictor.average([predictor]),
            device,
            n_threads,
        )
        return fitted, tuple(notes)

    def _networks(self, plan: Plan, n_rows: int) -> list[tuple[NDArray[np.intp], list[Subproblem]]]:
        """For each network its rows and decisions."""
        if self.specialists == "joint" or len(plan.subproblems) == 1:
            return [(np.arange(n_rows), list(plan.subproblems))]
        return [
            (d.rows, [Subproblem(d.name, np.arange(len(d.rows)), d.targets, d.n_outcomes)])
            for d in plan.subproblems
        ]


def _selecting(plan: Plan) -> tuple[Specialist, ...]:
    """For each decision the net that picks its columns from all logits."""
    widths = [1 if d.n_outcomes == 2 else d.n_outcomes for d in plan.subproblems]
    total, start = sum(widths), 0
    specialists: list[Specialist] = []
    for width in widths:
        weight = np.zeros((total, width), dtype=np.float32)
        weight[start : start + width] = np.eye(width)
        specialists.append(DenseSpecialist(((weight, np.zeros(width, dtype=np.float32)),)))
        start += width
    return tuple(specialists)
