"""One phase of training as skorch's neural net."""

from __future__ import annotations

from collections.abc import Sequence
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

from ensemble_minerals.networks.precision import computing_in
from ensemble_minerals.networks.training.batches import EpochBatches, TrainingDataset, ValidationDataset
from ensemble_minerals.networks.training.callbacks import MovingAverage, PhaseEnded
from ensemble_minerals.networks.training.losses import Mixer, SubproblemLoss, expand_targets


class FineTuningNet(NeuralNet):  # type: ignore[misc]  # skorch ships no types
    """skorch's loop over epochs and batches, with what it leaves to subclasses.

    Targets of several decisions, mixing, gradients summed over batches, bfloat16, an averaged network that is
    validated in place of the trained one, and random numbers that each epoch seeds anew, so that a training which is
    taken up again needs to know no more than its epoch.

    Args:
        module: What is trained; it is changed in place.
        loss: What is made small.
        groups: Parameters for the optimizer.
        batches: The batches of each epoch.
        watched: Rows of the inner validation part, if any.
        mixer: Mixes the rows of a batch.
        accumulate: Batches whose gradients are averaged before the weights move.
        precision: ``float32`` or ``bfloat16``.
        average: What answers instead of the module, if anything.
        seed: Of dropout and mixing.
        n_workers: Processes that prepare batches; 0 prepares them in this one.
        **settings: Of `skorch.NeuralNet`.

    Attributes:
        n_before: Epochs of earlier phases.
        stepped: Whether the optimizer made a step after the last batch.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: SubproblemLoss,
        *,
        groups: Sequence[dict[str, Any]],
        batches: EpochBatches,
        watched: ValidationDataset | None,
        mixer: Mixer,
        accumulate: int,
        precision: str,
        average: MovingAverage | None,
        seed: int,
        n_workers: int,
        **settings: Any,
    ) -> None:
        split = None if watched is None else predefined_split(watched)
        super().__init__(module, loss, train_split=split, verbose=0, **settings)
        self.groups = groups
        self.batches = batches
        self.mixer = mixer
        self.accumulate = accumulate
        self.precision = precision
        self.average = average
        self.n_before = 0
        self.seed = seed
        self.n_workers = n_workers
        self.stepped = False
        self.n_seen = 0
        self.random = torch.Generator()

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring(name="train_loss", on_train=True)),
        ]

    @property
    def epoch(self) -> int:
        """The present epoch, counted from 1 over all phases."""
        return self.n_before + len(self.history)

    def answering(self) -> nn.Module:
        """What predictions would be made with: the averaged network if there is one."""
        answering: nn.Module = self.module_ if self.average is None else self.average.average_.module
        return answering

    def train_epochs(self, rows: TrainingDataset) -> None:
        """Go through the epochs that the history does not yet have.

        In place of `partial_fit`, which takes Ctrl-C for the end of training.
        """
        with suppress(PhaseEnded):
            self.fit_loop(rows, None, epochs=self.max_epochs - len(self.history))
        self.notify("on_train_end", X=rows, y=None)

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> FineTuningNet:
        """Make the optimizer of the groups, whose rates differ."""
        self.optimizer_ = self.optimizer(self.groups, **self.get_params_for("optimizer"))
        return self

    def get_iterator(self, dataset: Any, training: bool = False) -> DataLoader[Any]:
        """Batches of training draws or of watched rows."""
        common: dict[str, Any] = {
            # The loader would take a seed from the global random numbers.
            "generator": torch.Generator(),
            "num_workers": self.n_workers,
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
        """Seed everything by the number of the epoch."""
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        self.batches.epoch = self.epoch
        self.n_seen = 0
        state = np.random.SeedSequence((self.seed, self.epoch)).generate_state(2).tolist()
        torch.manual_seed(state[0])
        self.random.manual_seed(state[1])

    def infer(self, x: Tensor, **fit_params: Any) -> Tensor:
        """Logits of a batch, by the module in its present mode."""
        return self._logits(self.module_, x)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Add up gradients and, every so many batches, make a step.

        skorch's own sets the gradients to zero in every batch.
        """
        first = self.n_seen - self.n_seen % self.accumulate
        if self.n_seen == first:
            self._zero_grad_optimizer()
        self._set_training(True)
        images, codes = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        targets = expand_targets(codes, self.criterion_.n_outcomes)
        images, targets = self.mixer(images, targets, self.random)
        logits = self.infer(images)
        loss = self.criterion_(logits, targets)
        (loss / min(self.accumulate, len(self.batches) - first)).backward()
        self.n_seen += 1
        self.stepped = self.n_seen - first == self.accumulate or self.n_seen == len(self.batches)
        if self.stepped:
            parameters = TeeGenerator(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=parameters, batch=batch, training=True)
            self._step_optimizer(None)
        return {"loss": loss.detach(), "y_pred": logits.detach()}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Answer for a batch of watched rows."""
        images, codes = batch
        with torch.no_grad():
            logits = self._logits(self.answering().eval(), images)
            targets = expand_targets(codes.to(self.device), self.criterion_.n_outcomes)
            return {"loss": self.criterion_(logits, targets), "y_pred": logits}

    def _logits(self, module: nn.Module, images: Tensor) -> Tensor:
        device = torch.device(self.device)
        with computing_in(self.precision, device):
            logits: Tensor = module(images.to(device, non_blocking=True))
        return logits.float()
