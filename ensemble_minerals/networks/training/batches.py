"""Which rows make up each batch of an epoch, and how they become tensors.

Every sample carries its epoch and its number within it, and all random numbers come from these. So the result depends
neither on worker processes nor on an interruption.
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
"""Target of a row that does not belong to a subproblem."""


class Sample(NamedTuple):
    """One training row of a batch.

    Attributes:
        row: Row of the image cache.
        targets: Its outcome in each subproblem, -1 where it does not belong to it.
        epoch: Counted from 1 over all phases.
        number: Position in the epoch, counted from 0.
    """

    row: int
    targets: tuple[int, ...]
    epoch: int
    number: int


class Inputs(Protocol):
    """Gives the input of the trained module for each row."""

    def training_input(self, sample: Sample) -> Tensor:
        """Random input for training; it depends on the sample alone."""
        ...

    def validation_input(self, row: int) -> Tensor:
        """Fixed input for validation."""
        ...


class ImageInputs:
    """Images as inputs: random views for training, the first fixed view for validation.

    Args:
        images: The images by row.
        train: Draws random views.
        evaluate: Draws fixed views.
    """

    def __init__(self, images: ImageCache, train: TrainTransform, evaluate: EvalTransform) -> None:
        self.images = images
        self.train = train
        self.evaluate = evaluate

    def training_input(self, sample: Sample) -> Tensor:
        """A random view, floats in [0, 1] of shape (3, height, width)."""
        image = self.images.image(sample.row)
        return self.train(image, epoch=sample.epoch, row=sample.row, draw=sample.number)

    def validation_input(self, row: int) -> Tensor:
        """The first fixed view, floats in [0, 1] of shape (3, height, width)."""
        return self.evaluate(self.images.image(row))[0]


class SoftTargets:
    """Probabilities that rows have as targets, in place of a single outcome.

    Args:
        n_outcomes: Number of outcomes of each subproblem.
        tables: For each subproblem the probabilities of the outcomes, shape (n_outcomes,), by row of the image
            cache. A row without an entry has its outcome with probability 1.
    """

    def __init__(
        self, n_outcomes: Sequence[int], tables: Sequence[Mapping[int, NDArray[np.float64]]]
    ) -> None:
        self.n_outcomes = tuple(n_outcomes)
        self.tables = tuple(tables)

    def __call__(self, row: int, targets: Sequence[int]) -> Tensor:
        """Targets of a row: floats of shape (sum of `n_outcomes`,), zeros where it has no target.

        >>> SoftTargets([3, 2], [{7: np.array([0.5, 0.25, 0.25])}, {}])(7, (0, 1))
        tensor([0.5000, 0.2500, 0.2500, 0.0000, 1.0000])
        """
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
    """Samples as tensors.

    Args:
        inputs: Gives the input of a sample.
        soft_targets: Probabilities of the outcomes, if rows have them.
    """

    def __init__(self, inputs: Inputs, soft_targets: SoftTargets | None = None) -> None:
        self.inputs = inputs
        self.soft_targets = soft_targets

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """Input and targets of a sample: (n_subproblems,), or with soft targets (sum of outcomes,)."""
        soft = self.soft_targets
        targets = torch.tensor(sample.targets) if soft is None else soft(sample.row, sample.targets)
        return self.inputs.training_input(sample), targets


class ValidationDataset(Dataset[tuple[Tensor, Tensor]]):
    """The rows of the inner validation part as tensors.

    Args:
        inputs: Gives the input of a row.
        rows: Rows of the image cache (n,).
        targets: Outcome of each in each subproblem (n, n_subproblems), -1 where it does not belong to it.
        soft_targets: Probabilities of the outcomes, if rows have them.
    """

    def __init__(
        self,
        inputs: Inputs,
        rows: NDArray[np.intp],
        targets: NDArray[np.intp],
        soft_targets: SoftTargets | None = None,
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.targets = targets
        self.soft_targets = soft_targets

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Input and targets of a row, as in `TrainingDataset`."""
        row, targets, soft = int(self.rows[position]), self.targets[position], self.soft_targets
        return (
            self.inputs.validation_input(row),
            torch.from_numpy(targets) if soft is None else soft(row, targets.tolist()),
        )


@dataclass(frozen=True)
class SubproblemRows:
    """The training rows of one subproblem.

    Attributes:
        rows: Rows of the image cache (m,); oversampled ones occur several times.
        targets: Outcome of each (m,).
    """

    rows: NDArray[np.intp]
    targets: NDArray[np.intp]


class EpochBatches(Sampler[list[Sample]]):
    """The batches of an epoch, from (seed, epoch) alone.

    With one subproblem an epoch is all its rows in a new order, as often as its over-sampler copied them. With
    several subproblems an epoch has as many samples as there are different rows. Each batch then consists of
    near-equal slices, one a subproblem. Each subproblem goes through its own rows and starts again in a new order
    when it is through. A sample counts in the subproblem it was drawn for, and in no other.

    Args:
        subproblems: The rows of each subproblem.
        batch_size: Rows of a batch, about: batches are equally large, and none has a single row.
        seed: Seed of the order.

    Attributes:
        epoch: The epoch, counted from 1, that iteration goes through.

    Example:
        >>> rows = SubproblemRows(np.array([3, 5, 7, 7]), np.array([0, 0, 1, 1]))
        >>> batches = EpochBatches([rows], batch_size=2, seed=0)
        >>> [[(sample.row, sample.targets) for sample in batch] for batch in batches]
        [[(7, (1,)), (3, (0,))], [(5, (0,)), (7, (1,))]]
    """

    def __init__(self, subproblems: Sequence[SubproblemRows], batch_size: int, seed: int) -> None:
        self.subproblems = tuple(subproblems)
        self.seed = seed
        self.epoch = 1
        if len(self.subproblems) == 1:
            self.n_samples = [len(self.subproblems[0].rows)]
        else:
            n_rows = len(np.unique(np.concatenate([each.rows for each in self.subproblems])))
            slices = np.array_split(np.arange(n_rows), len(self.subproblems))
            self.n_samples = [max(1, len(part)) for part in slices]
        n = sum(self.n_samples)
        self.n_batches = max(1, min(-(-n // batch_size), n // 2))

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[list[Sample]]:
        """The batches of `epoch`."""
        slices = [
            np.array_split(self._positions(column), self.n_batches)[:: 1 if column % 2 == 0 else -1]
            for column in range(len(self.subproblems))
        ]
        number = 0
        for batch in range(self.n_batches):
            samples = []
            for column, subproblem in enumerate(self.subproblems):
                for position in slices[column][batch]:
                    targets = [NO_TARGET] * len(self.subproblems)
                    targets[column] = int(subproblem.targets[position])
                    samples.append(Sample(int(subproblem.rows[position]), tuple(targets), self.epoch, number))
                    number += 1
            yield samples

    def _positions(self, column: int) -> NDArray[np.intp]:
        """Positions among the rows of a subproblem that this epoch draws."""
        n_rows, n_samples = len(self.subproblems[column].rows), self.n_samples[column]
        start = (self.epoch - 1) * n_samples
        rounds = range(start // n_rows, (start + n_samples - 1) // n_rows + 1)
        order = np.concatenate(
            [np.random.default_rng((self.seed, column, round_)).permutation(n_rows) for round_ in rounds]
        )
        skipped = start - rounds[0] * n_rows
        return order[skipped : skipped + n_samples]
