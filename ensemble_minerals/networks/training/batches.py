"""Which rows make up each step of an epoch, and how they are turned into tensors.

Every draw carries its epoch and its number, and random numbers come from these: workers, their number, and an
interruption change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ensemble_minerals.data.image_cache import ImageCache
from ensemble_minerals.networks.models.transforms import EvalTransform, TrainTransform

NO_TARGET = -1
"""Target of a row that takes no part in a decision."""


class Sample(NamedTuple):
    """One row of a batch.

    Attributes:
        row: Row of the picture table.
        targets: Its branch in each decision, -1 where it does not count.
        epoch: Counted from 1 over all phases.
        number: Of the draw in its epoch.
    """

    row: int
    targets: tuple[int, ...]
    epoch: int
    number: int


class Inputs(Protocol):
    """What goes into the module that is trained, for each row."""

    def training_input(self, draw: Sample) -> Tensor:
        """For one draw, at random."""
        ...

    def validation_input(self, row: int) -> Tensor:
        """For a row that is only looked at, always the same."""
        ...


class ImageInputs:
    """Photos: random views to train on, the first of the fixed ones to look at.

    Args:
        images: The photos.
        train: Draws random views.
        watch: Draws fixed ones.
    """

    def __init__(self, images: ImageCache, train: TrainTransform, watch: EvalTransform) -> None:
        self.images = images
        self.train = train
        self.watch = watch

    def training_input(self, draw: Sample) -> Tensor:
        """A random view, floats in [0, 1] of shape (3, height, width)."""
        image = self.images.image(draw.row)
        return self.train(image, epoch=draw.epoch, row=draw.row, draw=draw.number)

    def validation_input(self, row: int) -> Tensor:
        """The first fixed view."""
        return self.watch(self.images.image(row))[0]


class SoftTargets:
    """What rows are taken for where they are not wholly one branch.

    Args:
        n_outcomes: Of each decision.
        tables: For each decision, by row of the picture table, how much of each branch; a row without an entry
            is its branch alone.
    """

    def __init__(
        self, n_outcomes: Sequence[int], tables: Sequence[Mapping[int, NDArray[np.float64]]]
    ) -> None:
        self.n_outcomes = tuple(n_outcomes)
        self.tables = tuple(tables)

    def __call__(self, row: int, targets: Sequence[int]) -> Tensor:
        """Targets of a row, see `losses.expand_targets`: floats (sum of branches,), zeros where it takes no part."""
        parts = []
        for target, count, table in zip(targets, self.n_outcomes, self.tables, strict=True):
            part = np.zeros(count, dtype=np.float32)
            if target != NO_TARGET and row in table:
                part[:] = table[row]
            elif target != NO_TARGET:
                part[target] = 1.0
            parts.append(part)
        return torch.from_numpy(np.concatenate(parts))


class TrainingDataset(Dataset[tuple[Tensor, Tensor]]):
    """Draws as tensors.

    Args:
        inputs: Where they come from.
        shares: Of rows that are not wholly one branch, if there are any.
    """

    def __init__(self, inputs: Inputs, shares: SoftTargets | None = None) -> None:
        self.inputs = inputs
        self.shares = shares

    def __getitem__(self, draw: Sample) -> tuple[Tensor, Tensor]:
        """Input and targets of a draw: (n_decisions,), or with shares (sum of branches,)."""
        targets = torch.tensor(draw.targets) if self.shares is None else self.shares(draw.row, draw.targets)
        return self.inputs.training_input(draw), targets


class ValidationDataset(Dataset[tuple[Tensor, Tensor]]):
    """The rows of the inner validation part as tensors.

    Args:
        inputs: Where they come from.
        rows: Rows of the picture table (n,).
        targets: Branch of each in each decision (n, n_decisions), -1 where it takes no part.
        shares: Of rows that are not wholly one branch, if there are any.
    """

    def __init__(
        self,
        inputs: Inputs,
        rows: NDArray[np.intp],
        targets: NDArray[np.intp],
        shares: SoftTargets | None = None,
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.targets = targets
        self.shares = shares

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Input and targets of a row, see `TrainingDataset`."""
        row, targets = int(self.rows[position]), self.targets[position]
        soft = None if self.shares is None else self.shares(row, targets.tolist())
        return self.inputs.validation_input(row), torch.from_numpy(targets) if soft is None else soft


@dataclass(frozen=True)
class SubproblemRows:
    """The rows that one decision draws from.

    Attributes:
        rows: Rows of the picture table (m,), oversampled ones as often as they are to be drawn.
        targets: Branch of each (m,).
    """

    rows: NDArray[np.intp]
    targets: NDArray[np.intp]


class EpochBatches(Sampler[list[Sample]]):
    """The batches of an epoch, from (seed, epoch) alone.

    With one decision its rows, each as often as its over-sampler says, are the epoch, in a new order. With several
    an epoch has as many draws as there are different rows; every batch is made of near-equal slices, one
    a decision, and each decision goes through its own rows in a new order whenever it is through. A row drawn
    for a decision counts in that decision alone.

    Args:
        streams: One a decision.
        batch_size: Rows of a batch, about: batches are made equal, none of a single row.
        seed: Of the order.

    Attributes:
        epoch: The epoch, counted from 1, that iteration goes through.
    """

    def __init__(self, streams: Sequence[SubproblemRows], batch_size: int, seed: int) -> None:
        self.streams = tuple(streams)
        self.seed = seed
        self.epoch = 1
        if len(self.streams) == 1:
            self.n_draws = [len(self.streams[0].rows)]
        else:
            n_rows = len(np.unique(np.concatenate([stream.rows for stream in self.streams])))
            shares = np.array_split(np.arange(n_rows), len(self.streams))
            self.n_draws = [max(1, len(share)) for share in shares]
        n = sum(self.n_draws)
        self.n_batches = max(1, min(-(-n // batch_size), n // 2))

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[list[Sample]]:
        """The batches of `epoch`."""
        slices = [
            np.array_split(self._drawn(subproblem), self.n_batches)[:: 1 if subproblem % 2 == 0 else -1]
            for subproblem in range(len(self.streams))
        ]
        number = 0
        for batch in range(self.n_batches):
            draws = []
            for subproblem, stream in enumerate(self.streams):
                for position in slices[subproblem][batch]:
                    targets = [NO_TARGET] * len(self.streams)
                    targets[subproblem] = int(stream.targets[position])
                    draws.append(Sample(int(stream.rows[position]), tuple(targets), self.epoch, number))
                    number += 1
            yield draws

    def _drawn(self, subproblem: int) -> NDArray[np.intp]:
        """Positions in the stream of a decision that this epoch draws."""
        n_stream, n_drawn = len(self.streams[subproblem].rows), self.n_draws[subproblem]
        start = (self.epoch - 1) * n_drawn
        rounds = range(start // n_stream, (start + n_drawn - 1) // n_stream + 1)
        order = np.concatenate(
            [
                np.random.default_rng((self.seed, subproblem, round_)).permutation(n_stream)
                for round_ in rounds
            ]
        )
        skipped = start - rounds[0] * n_stream
        return order[skipped : skipped + n_drawn]
