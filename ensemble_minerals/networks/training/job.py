"""Description of a training: the job, which decides the trained weights, and the options of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.image_cache import ImageCache
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem


@dataclass(frozen=True)
class TrainingJob:
    """What is learned, from which rows, and how: all that decides the trained weights.

    Attributes:
        config: The network and how it is trained.
        images: The photos by row.
        rows: Rows of the image cache (n,).
        subproblems: The subproblems to learn; their rows are positions among `rows`.
        groups: Row group of each row (n,).
        sampler: Copies rows of rare outcomes inside the training part.
        prior_correction: Whether changes of the prior by sampler and loss are undone in the answers.
        seed: Seed of everything random.
    """

    config: NetworkConfig
    images: ImageCache
    rows: NDArray[np.intp]
    subproblems: Sequence[Subproblem]
    groups: NDArray[np.intp]
    sampler: OverSampler
    prior_correction: bool
    seed: int


@dataclass(frozen=True)
class RunOptions:
    """Where a job runs and what it writes.

    Attributes:
        name: Name of the network in messages.
        device: Where the network runs.
        n_threads: Threads of torch; one less are the processes that prepare batches.
        work: Folder for the log, checkpoints and progress; None writes nothing.
    """

    name: str
    device: torch.device
    n_threads: int
    work: Path | None
