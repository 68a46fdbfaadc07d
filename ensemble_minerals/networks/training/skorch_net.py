"""skorch's neural net, adapted to one phase of fine-tuning."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, PassthroughScoring
from skorch.helper import predefined_split
from skorch.utils import TeeGenerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ensemble_minerals.config.networks import PhaseConfig
from ensemble_minerals.networks.precision import computing_in
from ensemble_minerals.networks.training.batches import TrainingDataset, ValidationDataset
from ensemble_minerals.networks.training.callbacks import MovingAverage, PhaseEnded
from ensemble_minerals.networks.training.freezing import parameter_groups
from ensemble_minerals.networks.training.losses import Mixer, expand_targets
from ensemble_minerals.networks.training.schedules import optimizer_of
from ensemble_minerals.networks.training.session import TrainingSession
from ensemble_minerals.system.workers import end_with_parent


class FineTuningNet(NeuralNet):  # type: ignore[misc]  # skorch ships no types
    """skorch's loop over epochs and batches, with additions for fine-tuning.

    The additions are targets of several subproblems, mixing, gradient accumulation, bfloat16, and validation of a
    weight average in place of the trained weights. Every epoch seeds the random numbers anew, so an interrupted
    training needs to know no more than its epoch.

    Args:
        session: The session, which all phases share.
        phase: How this phase trains.
        module: The module that is trained in place: the network of the session, or its last blocks.
        validation: Rows of the inner validation part, if any.
        average: Moving average that is validated instead of the module, if any.
        callbacks: skorch's callbacks, in the order in which they run.

    Attributes:
        n_earlier: Epochs of earlier phases.
        stepped: Whether the optimizer made a step after the last batch.
    """

    def __init__(
        self,
        session: TrainingSession,
        phase: PhaseConfig,
        module: nn.Module,
        *,
        validation: ValidationDataset | None,
        average: MovingAverage | None,
        callbacks: list[Any],
    ) -> None:
        config = session.job.config
        optimizer, settings = optimizer_of(phase)
        super().__init__(
            module,
            session.loss,
            optimizer=optimizer,
            max_epochs=phase.epochs,
            batch_size=config.batch_size,
            train_split=None if validation is None else predefined_split(validation),
            callbacks=callbacks,
            device=str(session.options.device),
            verbose=0,
            **{f"optimizer__{name}": value for name, value in settings.items()},
        )
        self.groups = parameter_groups(session.network, phase)
        self.batches = session.batches
        self.mixer = Mixer(config.mixup, config.cutmix)
        self.accumulate = config.accumulate
        self.precision = session.precision
        self.average = average
        self.seed = session.seed
        self.n_workers = max(0, session.options.n_threads - 1)
        self.n_earlier = 0
        self.n_batches_done = 0
        self.stepped = False
        self.random = torch.Generator()

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring(name="train_loss", on_train=True)),
        ]

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 1 over all phases."""
        return self.n_earlier + len(self.history)

    def evaluated_module(self) -> nn.Module:
        """The module that is validated and kept: the averaged one if there is one, else the trained one."""
        module: nn.Module = self.module_ if self.average is None else self.average.average_.module
        return module

    def train_epochs(self, dataset: TrainingDataset) -> None:
        """Train the epochs that the history does not have yet.

        `partial_fit` would take Ctrl-C for the end of training.
        """
        with suppress(PhaseEnded):
            self.fit_loop(dataset, None, epochs=self.max_epochs - len(self.history))
        self.notify("on_train_end", X=dataset, y=None)

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> FineTuningNet:
        """Make the optimizer with one learning rate for each parameter group."""
        self.optimizer_ = self.optimizer(self.groups, **self.get_params_for("optimizer"))
        return self

    def get_iterator(self, dataset: Any, training: bool = False) -> DataLoader[Any]:
        """Batches of training samples or of validation rows."""
        common: dict[str, Any] = {
            # Without a generator of its own the loader would draw a seed from the global random numbers.
            "generator": torch.Generator(),
            "num_workers": self.n_workers,
            "worker_init_fn": _begin_worker,
            "pin_memory": torch.device(self.device).type == "cuda",
        }
        if training:
            return DataLoader(
                dataset, batch_sampler=self.batches, persistent_workers=self.n_workers > 0, **common
            )
        return DataLoader(dataset, batch_size=self.batch_size, **common)

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Seed everything random with the number of the epoch."""
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        self.batches.epoch = self.epoch
        self.n_batches_done = 0
        state = np.random.SeedSequence((self.seed, self.epoch)).generate_state(2).tolist()
        torch.manual_seed(state[0])
        self.random.manual_seed(state[1])

    def infer(self, x: Tensor, **fit_params: Any) -> Tensor:
        """Logits of a batch, by the module in its current mode."""
        return self._logits(self.module_, x)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Add the gradients of a batch; after `accumulate` batches, and after the last one, make a step.

        skorch's own method sets the gradients to zero in every batch.
        """
        first = self.n_batches_done - self.n_batches_done % self.accumulate
        if self.n_batches_done == first:
            self._zero_grad_optimizer()
        self._set_training(True)
        images, codes = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        targets = expand_targets(codes, self.criterion_.n_outcomes)
        images, targets = self.mixer(images, targets, self.random)
        logits = self.infer(images)
        loss = self.criterion_(logits, targets)
        (loss / min(self.accumulate, len(self.batches) - first)).backward()
        self.n_batches_done += 1
        last = self.n_batches_done == len(self.batches)
        self.stepped = last or self.n_batches_done - first == self.accumulate
        if self.stepped:
            parameters = TeeGenerator(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=parameters, batch=batch, training=True)
            self._step_optimizer(None)
        return {"loss": loss.detach(), "y_pred": logits.detach()}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Loss and logits of a batch of validation rows."""
        images, codes = batch
        with torch.no_grad():
            logits = self._logits(self.evaluated_module().eval(), images)
            targets = expand_targets(codes.to(self.device), self.criterion_.n_outcomes)
            return {"loss": self.criterion_(logits, targets), "y_pred": logits}

    def _logits(self, module: nn.Module, images: Tensor) -> Tensor:
        device = torch.device(self.device)
        with computing_in(self.precision, device):
            logits: Tensor = module(images.to(device, non_blocking=True))
        return logits.float()


def _begin_worker(number: int) -> None:
    """What a worker process of a loader does first."""
    end_with_parent()
