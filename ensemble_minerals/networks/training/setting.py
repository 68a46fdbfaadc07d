"""What all phases of a training share, and whether a network can be trained as it is described."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ensemble_minerals.config.networks import AugmentConfig, NetworkConfig, PhaseConfig
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork, PartlyFrozenModule, build_network
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.training.batches import EpochBatches, Inputs, SoftTargets
from ensemble_minerals.networks.training.callbacks import Tensors
from ensemble_minerals.networks.training.epoch_log import TrainingLog
from ensemble_minerals.networks.training.losses import SubproblemLoss
from ensemble_minerals.networks.training.prefix import PrefixInputs, n_last_blocks
from ensemble_minerals.networks.training.resume import ProgressFile


@dataclass(frozen=True)
class Watched:
    """The rows of the inner validation part.

    Attributes:
        rows: Rows of the picture table (n,).
        targets: Branch of each in each decision (n, n_decisions), -1 where it takes no part.
    """

    rows: NDArray[np.intp]
    targets: NDArray[np.intp]


@dataclass(frozen=True)
class Setting:
    """All that the phases of a training share.

    Attributes:
        name: Of the network, for messages.
        network: Trained in place.
        config: The phases and the rest.
        inputs: What goes into the network for each row.
        batches: The batches of each epoch.
        watched: The inner validation part, if any.
        loss: What is made small.
        shift: Added to the logits (n_outputs,) in answers.
        seed: Of dropout and mixing.
        precision: ``float32`` or ``bfloat16``.
        device: Where the network runs.
        n_workers: Processes that prepare batches.
        work: Folder for checkpoints, if any.
        restart: Where progress is noted, if anywhere.
        log: Of the epochs.
        state: Makes plain data of the network's tensors, for checkpoints.
        notes: What the user should know; filled while training.
        shares: Of rows that are not wholly one branch, if there are any.
    """

    name: str
    network: MultiHeadNetwork
    config: NetworkConfig
    inputs: Inputs
    batches: EpochBatches
    watched: Watched | None
    loss: SubproblemLoss
    shift: NDArray[np.float64]
    seed: int
    precision: str
    device: torch.device
    n_workers: int
    work: Path | None
    restart: ProgressFile | None
    log: TrainingLog
    state: Callable[[Tensors], NetworkState]
    notes: list[str] = field(default_factory=list)
    shares: SoftTargets | None = None

    def route(self, phase: PhaseConfig) -> tuple[PartlyFrozenModule, Inputs]:
        """What is trained in a phase, and what goes into it: where only the end of the network learns, that end.

        Raises:
            ConfigError: A network that cannot be cut, or views that cannot be mixed as asked, if they are to be kept.
        """
        n_last = n_last_blocks(self.network, phase.train)
        if not self.config.prefix_views or n_last is None:
            return self.network, self.inputs
        prefix, suffix = self.network.split(n_last)
        inputs = PrefixInputs(
            self.inputs,
            prefix.to(self.device),
            self.network.size,
            rows=np.concatenate([stream.rows for stream in self.batches.streams]),
            watched_rows=() if self.watched is None else self.watched.rows,
            # Without random changes all views of a photo are the same.
            n_views=1 if self.config.augment == AugmentConfig() else self.config.prefix_views,
            seed=self.seed,
            limit_mb=self.config.memory,
            folder=self.work,
            precision=self.precision,
        )
        if inputs.note:
            self.notes.append(inputs.note)
        _check_mixing(self.config, inputs.store.shape)
        return suffix, inputs


def check_network(config: NetworkConfig) -> None:
    """Build a network once as its phases want it: what cannot work is told before anything long begins.

    Raises:
        WeightsError: Unknown model, or weights that cannot be had or do not fit.
        ConfigError: A head that does not fit together, layers that it does not have, or a place where it cannot be
            cut for views that are kept.
    """
    with torch.random.fork_rng(devices=[]):
        network, _ = build_network(config, (2,))
    for phase in config.phases:
        n_last = n_last_blocks(network, phase.train)
        if config.prefix_views and n_last is not None:
            with torch.no_grad():
                inner = network.eval().split(n_last)[0](torch.rand(1, 3, *network.size))
            _check_mixing(config, inner.shape[1:])


def _check_mixing(config: NetworkConfig, shape: Sequence[int]) -> None:
    if config.cutmix and len(shape) != 3:
        raise ConfigError(
            [
                f"network {config.name!r}: cutmix cuts rectangles out of maps, but what prefix_views keeps for its "
                "head are vectors; set cutmix or prefix_views to 0"
            ]
        )
