"""Training a network on rows: phase after phase, from starting weights to a trained state."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.training.epoch_log import Record
from ensemble_minerals.networks.training.job import RunOptions, TrainingJob
from ensemble_minerals.networks.training.phase import PhaseTrainer
from ensemble_minerals.networks.training.session import TrainingSession


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Attributes:
        state: The trained network.
        history: One record an epoch, see `epoch_log.FIELDS`.
        validation: Positions, among the rows of the job, of the inner validation part.
        notes: Notes for the user.
    """

    state: NetworkState
    history: list[Record]
    validation: NDArray[np.intp]
    notes: tuple[str, ...]


def train(job: TrainingJob, options: RunOptions) -> TrainingResult:
    """Train a network.

    If the work folder holds the progress of the same job, training continues after its last finished epoch. Seeds
    torch's global random numbers.

    Raises:
        ConfigError: A phase or head that does not fit the network.
        WeightsError: The weights cannot be loaded.
        FitError: The loss diverged.
    """
    session = TrainingSession(job, options)
    with closing(session.log):
        for number in range(session.first_phase, len(job.config.phases) + 1):
            PhaseTrainer(session, number).run()
    state = session.state(session.network.state_dict())
    return TrainingResult(state, list(session.log.records), session.split.validation, tuple(session.notes()))
