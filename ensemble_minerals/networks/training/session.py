"""All that the phases of one training share: network, rows, loss, log and progress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ensemble_minerals.config.networks import AugmentConfig, LayersHeadConfig, PhaseConfig
from ensemble_minerals.networks.models.multi_head import PartlyFrozenModule, build_network
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.models.transforms import EvalTransform, TrainTransform
from ensemble_minerals.networks.precision import choose_precision
from ensemble_minerals.networks.training.batches import (
    EpochBatches,
    ImageInputs,
    Inputs,
    SoftTargets,
    ValidationDataset,
)
from ensemble_minerals.networks.training.callbacks import Tensors, copy_tensors
from ensemble_minerals.networks.training.check import check_mixing
from ensemble_minerals.networks.training.epoch_log import TrainingLog
from ensemble_minerals.networks.training.inner_split import resample, split_rows
from ensemble_minerals.networks.training.job import RunOptions, TrainingJob
from ensemble_minerals.networks.training.linear_probe import set_heads_by_probe
from ensemble_minerals.networks.training.losses import SubproblemLoss
from ensemble_minerals.networks.training.prefix import PrefixInputs, n_last_blocks
from ensemble_minerals.networks.training.resume import ProgressFile
from ensemble_minerals.system.digest import content_digest

FloatArray = NDArray[np.float64]

PROGRESS_FILE = "last.safetensors"
"""Name of the progress file in the work folder."""


class TrainingSession:
    """A job made ready for its phases: the network is built, its rows are split and oversampled.

    If the work folder holds the progress of the same job, the network and the log continue from there.

    Attributes:
        job: The job.
        options: How it runs.
        network: The network; it is trained in place.
        split: Training and inner validation part.
        resampled: Training rows of each subproblem.
        batches: The batches of each epoch.
        loss: The loss that is minimized.
        shift: Added to the logits (n_outputs,) of answers.
        seed: Seed of dropout and mixing.
        precision: ``float32`` or ``bfloat16``.
        log: Log of the epochs.
        progress_file: Where progress is written, if anywhere.
        progress: Progress that was read from there; None if training starts anew.
    """

    def __init__(self, job: TrainingJob, options: RunOptions) -> None:
        """Make a job ready. Seeds torch's global random numbers.

        Raises:
            ConfigError: Settings of the head that contradict each other.
            WeightsError: The weights cannot be loaded.
        """
        self.job, self.options = job, options
        config, n_outcomes = job.config, [subproblem.n_outcomes for subproblem in job.subproblems]
        seeds = np.random.SeedSequence(job.seed).generate_state(5 + len(n_outcomes)).tolist()
        split_seed, network_seed, view_seed, order_seed, self.seed, *sampler_seeds = seeds
        self.split = split_rows(
            job.subproblems, job.groups, fraction=config.validation_fraction, seed=split_seed
        )
        self.resampled = [
            resample(column, count, job.rows, self.split, job.sampler, seed)
            for column, (count, seed) in enumerate(zip(n_outcomes, sampler_seeds, strict=True))
        ]
        torch.manual_seed(network_seed)
        self.network, self._loaded = build_network(config, n_outcomes)
        self.network.to(options.device)
        self._start = copy_tensors(self.network, self.network.state_dict())
        self.loss = SubproblemLoss(config.loss, [each.counts for each in self.resampled]).to(options.device)
        self.shift = self._prior_shift() if job.prior_correction else np.zeros_like(self._loss_shift())
        self._inputs = ImageInputs(
            job.images,
            TrainTransform(config.augment, self.network.size, config.resize, view_seed),
            EvalTransform(config.views[:1], self.network.size, config.resize),
        )
        self.batches = EpochBatches([each.rows for each in self.resampled], config.batch_size, order_seed)
        self.soft_targets = _soft_targets(job)
        self.log = TrainingLog(options.work, self._event_folder())
        self._notes: list[str] = []
        work = options.work
        self.progress_file = None if work is None else ProgressFile(work / PROGRESS_FILE, self._digest())
        self.progress = None if self.progress_file is None else self.progress_file.read()
        if self.progress is None:
            self.precision = choose_precision(config.precision, options.device)
            self._set_heads()
        else:
            # Another machine may continue; the precision stays that of the first one.
            self.precision = str(self.progress.metadata["precision"])
            self.network.load_state_dict(self.progress.part("network"))
            self.log.restore(self.progress.metadata["records"])

    @property
    def first_phase(self) -> int:
        """Number of the phase to begin or to continue with, counted from 1."""
        return 1 if self.progress is None else int(self.progress.metadata["phase"])

    @property
    def has_validation(self) -> bool:
        """Whether there is an inner validation part."""
        return self.split.validation.size > 0

    def validation_dataset(self, inputs: Inputs) -> ValidationDataset | None:
        """The inner validation part, if any, with these inputs."""
        if not self.has_validation:
            return None
        positions = self.split.validation
        return ValidationDataset(
            inputs, self.job.rows[positions], self.split.targets[positions], self.soft_targets
        )

    def module_and_inputs(self, phase: PhaseConfig) -> tuple[PartlyFrozenModule, Inputs]:
        """The module that a phase trains, and its inputs.

        They are the network and images, or the last blocks and cached activations where `prefix_views` is set and
        the first blocks are frozen.

        Raises:
            ConfigError: With `prefix_views` set: a network that cannot be split there, or activations that CutMix
                cannot mix.
        """
        config = self.job.config
        n_last = n_last_blocks(self.network, phase.train)
        if not config.prefix_views or n_last is None:
            return self.network, self._inputs
        prefix, suffix = self.network.split(n_last)
        inputs = PrefixInputs(
            self._inputs,
            prefix.to(self.options.device),
            self.network.size,
            rows=np.concatenate([each.rows.rows for each in self.resampled]),
            validation_rows=self.job.rows[self.split.validation],
            # Without augmentation all training views of a photo are the same.
            n_views=1 if config.augment == AugmentConfig() else config.prefix_views,
            seed=self.seed,
            limit_mb=config.memory,
            folder=self.options.work,
            precision=self.precision,
        )
        if inputs.note:
            self._notes.append(inputs.note)
        check_mixing(config, inputs.cache.shape)
        return suffix, inputs

    def state(self, tensors: Tensors) -> NetworkState:
        """State of the network with these tensors, as plain data.

        Args:
            tensors: The whole state dict, after training or after some epoch.
        """
        return NetworkState.of(
            self.network,
            tensors,
            start=self._start,
            config=self.job.config,
            loaded=self._loaded,
            subproblems=[(subproblem.name, subproblem.n_outcomes) for subproblem in self.job.subproblems],
            shift=self.shift,
            precision=self.precision,
        )

    def notes(self) -> Iterator[str]:
        """Notes for the user."""
        config = self.job.config
        validates = any(
            phase.keep == "best" or phase.patience is not None or phase.schedule == "plateau"
            for phase in config.phases
        )
        if self.split.note and (validates or config.validation_fraction):
            yield (
                f"no inner validation part ({self.split.note}): phases run through all their epochs and keep the "
                "last, and a plateau is one of the training loss"
            )
        for subproblem, each in zip(self.job.subproblems, self.resampled, strict=True):
            if each.note:
                yield f"{subproblem.name}: {each.note}"
        yield from self._notes

    def _set_heads(self) -> None:
        """Set the heads by a linear probe, if configured; they are random otherwise."""
        head = self.job.config.head
        if isinstance(head, LayersHeadConfig) and head.init == "probe":
            set_heads_by_probe(
                self.network,
                self._inputs,
                [each.rows for each in self.resampled],
                C=head.probe_C,
                loss_shift=self._loss_shift(),
                precision=self.precision,
            )

    def _loss_shift(self) -> FloatArray:
        shift: FloatArray = self.loss.prior_shift().double().cpu().numpy()
        return shift

    def _prior_shift(self) -> FloatArray:
        """Shift of the logits (n_outputs,) that undoes the changes of the prior by over-sampler and loss."""
        shifts = [each.shift for each in self.resampled]
        sampler = [shift if len(shift) > 2 else shift[1:] - shift[:1] for shift in shifts]
        return np.concatenate(sampler) + self._loss_shift()

    def _event_folder(self) -> Path | None:
        """Where TensorBoard's event files of this training go: in a folder of its own, named as its work folder."""
        root, work = self.job.config.tensorboard, self.options.work
        if root is None:
            return None
        return Path(root, self.job.config.name) if work is None else Path(root, work.parent.stem, work.name)

    def _digest(self) -> str:
        """Digest of all that decides the trained weights, except the pixels."""
        job = self.job
        # Work folders of earlier versions hold this digest: the names of the entries stay.
        entries = {
            "network": job.config.model_dump(mode="json", exclude={"tensorboard"}),
            "weights": self._loaded.digest,
            "pictures": [len(job.images), job.images.side],
            "rows": job.rows.tolist(),
            "trained": self.split.training.tolist(),
            "watched": self.split.validation.tolist(),
            "targets": self.split.targets.tolist(),
            "drawn": [each.rows.rows.tolist() for each in self.resampled],
            "branches": [subproblem.n_outcomes for subproblem in job.subproblems],
            "prior_correction": job.prior_correction,
            "seed": job.seed,
            "shares": [
                None if subproblem.soft_targets is None else subproblem.soft_targets.tolist()
                for subproblem in job.subproblems
            ],
        }
        return content_digest(json.dumps(entries, sort_keys=True).encode())


def _soft_targets(job: TrainingJob) -> SoftTargets | None:
    """Soft targets by row of the image cache; None if no subproblem has any."""
    if all(subproblem.soft_targets is None for subproblem in job.subproblems):
        return None
    tables: list[dict[int, FloatArray]] = []
    for subproblem in job.subproblems:
        soft = subproblem.soft_targets
        rows = job.rows[subproblem.rows].tolist()
        tables.append({} if soft is None else dict(zip(rows, soft, strict=True)))
    return SoftTargets([subproblem.n_outcomes for subproblem in job.subproblems], tables)
