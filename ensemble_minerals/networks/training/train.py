"""Training a network on rows: from the weights it starts from to the state it ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ensemble_minerals.config.networks import LayersHeadConfig, NetworkConfig
from ensemble_minerals.data.image_cache import ImageCache
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.models.transforms import EvalTransform, TrainTransform
from ensemble_minerals.networks.precision import choose_precision
from ensemble_minerals.networks.training.batches import EpochBatches, ImageInputs, SoftTargets
from ensemble_minerals.networks.training.callbacks import copy_tensors
from ensemble_minerals.networks.training.epoch_log import Record, TrainingLog
from ensemble_minerals.networks.training.inner_split import InnerSplit, ResampledRows, resample, split_rows
from ensemble_minerals.networks.training.linear_probe import probe
from ensemble_minerals.networks.training.losses import SubproblemLoss
from ensemble_minerals.networks.training.phase import PhaseRun
from ensemble_minerals.networks.training.resume import ProgressFile
from ensemble_minerals.networks.training.setting import Setting, Watched

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """What is to be learned from which rows; see `FineTunedNetwork` for what is not explained here.

    Attributes:
        rows: Rows of the picture table (n,).
        subproblems: Their rows are positions among `rows`.
        groups: Row group of each row (n,).
    """

    config: NetworkConfig
    images: ImageCache
    rows: NDArray[np.intp]
    subproblems: Sequence[Subproblem]
    groups: NDArray[np.intp]
    sampler: OverSampler
    prior_correction: bool
    seed: int
    n_threads: int
    device: torch.device
    work: Path | None
    name: str
    tensorboard: Path | None


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Attributes:
        state: The trained network.
        history: One record an epoch.
        watched: Positions, among the rows of the task, of the inner validation part.
        notes: What the user should know.
    """

    state: NetworkState
    history: list[Record]
    watched: NDArray[np.intp]
    notes: tuple[str, ...]


def train(task: Task) -> Trained:
    """Train a network, from the last finished epoch on if the work folder holds a training of the same task.

    Uses torch's global random numbers, which it seeds.

    Raises:
        ConfigError: A phase or head that does not fit the network.
        WeightsError: The weights cannot be had.
        FitError: The loss diverged.
    """
    config, device = task.config, task.device
    seeds = np.random.SeedSequence(task.seed).generate_state(5 + len(task.subproblems)).tolist()
    partition = split_rows(task.subproblems, task.groups, fraction=config.validation_fraction, seed=seeds[0])
    drawn = [
        resample(number, subproblem.n_outcomes, task.rows, partition, task.sampler, seeds[5 + number])
        for number, subproblem in enumerate(task.subproblems)
    ]
    torch.manual_seed(seeds[1])
    network, loaded = build_network(config, [subproblem.n_outcomes for subproblem in task.subproblems])
    network.to(device)
    start = copy_tensors(network, network.state_dict())
    loss = SubproblemLoss(config.loss, [each.counts for each in drawn]).to(device)
    loss_shift = loss.prior_shift().double().cpu().numpy()
    shift = _sampler_shift(drawn) + loss_shift if task.prior_correction else np.zeros_like(loss_shift)
    inputs = ImageInputs(
        task.images,
        TrainTransform(config.augment, network.size, config.resize, seeds[2]),
        EvalTransform(config.views[:1], network.size, config.resize),
    )
    restart = None
    if task.work is not None:
        restart = ProgressFile(
            task.work / "last.safetensors", _identity(task, partition, drawn, loaded.digest)
        )
    progress = None if restart is None else restart.read()
    # An interrupted training may go on at another machine: in the precision that it began in.
    precision = (
        choose_precision(config.precision, device)
        if progress is None
        else str(progress.metadata["precision"])
    )
    streams = [each.stream for each in drawn]
    if progress is None and isinstance(config.head, LayersHeadConfig) and config.head.init == "probe":
        probe(network, inputs, streams, C=config.head.probe_C, loss_shift=loss_shift, precision=precision)
    held = partition.watched
    log = TrainingLog(task.work, task.tensorboard)
    setting = Setting(
        name=task.name,
        network=network,
        config=config,
        inputs=inputs,
        batches=EpochBatches(streams, config.batch_size, seeds[3]),
        watched=Watched(task.rows[held], partition.targets[held]) if held.size else None,
        loss=loss,
        shift=shift,
        seed=seeds[4],
        precision=precision,
        device=device,
        n_workers=max(0, task.n_threads - 1),
        work=task.work,
        restart=restart,
        log=log,
        state=partial(
            NetworkState.of,
            network,
            start=start,
            config=config,
            loaded=loaded,
            subproblems=[(subproblem.name, subproblem.n_outcomes) for subproblem in task.subproblems],
            shift=shift,
            precision=precision,
        ),
        shares=_shares(task),
    )
    reached = 0
    if progress is not None:
        network.load_state_dict(progress.part("network"))
        log.restore(progress.metadata["records"])
        reached = int(progress.metadata["phase"])
    try:
        for number, phase in enumerate(config.phases, 1):
            if number >= reached:
                PhaseRun(setting, number, phase).run(progress if number == reached else None)
    finally:
        log.close()
    notes = (*_notes(config, partition, drawn, task.subproblems), *setting.notes)
    return Trained(setting.state(network.state_dict()), list(log.records), held, notes)


def _sampler_shift(drawn: Sequence[ResampledRows]) -> FloatArray:
    """What takes back the over-sampler's change of the prior, one number an output."""
    return np.concatenate(
        [each.shift if len(each.shift) > 2 else each.shift[1:] - each.shift[:1] for each in drawn]
    )


def _shares(task: Task) -> SoftTargets | None:
    """What rows are taken for where they are not wholly one branch; None where all are."""
    if all(subproblem.shares is None for subproblem in task.subproblems):
        return None
    tables: list[dict[int, FloatArray]] = []
    for subproblem in task.subproblems:
        rows = task.rows[subproblem.rows].tolist()
        tables.append({} if subproblem.shares is None else dict(zip(rows, subproblem.shares, strict=True)))
    return SoftTargets([subproblem.n_outcomes for subproblem in task.subproblems], tables)


def _identity(task: Task, partition: InnerSplit, drawn: Sequence[ResampledRows], digest: str) -> str:
    """Digest of what decides the weights that training ends with, but for the pixels."""
    metadata = {
        "network": task.config.model_dump(mode="json"),
        "weights": digest,
        "pictures": [len(task.images), task.images.side],
        "rows": task.rows.tolist(),
        "trained": partition.trained.tolist(),
        "watched": partition.watched.tolist(),
        "targets": partition.targets.tolist(),
        "drawn": [each.stream.rows.tolist() for each in drawn],
        "branches": [subproblem.n_outcomes for subproblem in task.subproblems],
        "prior_correction": task.prior_correction,
        "seed": task.seed,
        "shares": [None if each.shares is None else each.shares.tolist() for each in task.subproblems],
    }
    return blake2b(json.dumps(metadata, sort_keys=True).encode(), digest_size=16).hexdigest()


def _notes(
    config: NetworkConfig,
    partition: InnerSplit,
    drawn: Sequence[ResampledRows],
    subproblems: Sequence[Subproblem],
) -> Iterator[str]:
    looks = any(
        phase.keep == "best" or phase.patience is not None or phase.schedule == "plateau"
        for phase in config.phases
    )
    if partition.note and (looks or config.validation_fraction):
        yield (
            f"no inner validation part ({partition.note}): phases run through all their epochs and keep the last, "
            "and a plateau is one of the training loss"
        )
    for subproblem, each in zip(subproblems, drawn, strict=True):
        if each.note:
            yield f"{subproblem.name}: {each.note}"
