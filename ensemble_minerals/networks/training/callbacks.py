"""Callbacks of a phase: early stopping, checkpoints, weight averages, divergence and the log."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from skorch.callbacks import Callback, Checkpoint, EarlyStopping
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ensemble_minerals.errors import FitError
from ensemble_minerals.networks.training.epoch_log import TrainingLog

Tensors = dict[str, Tensor]

DIVERGED = 100.0
"""Training diverged if the loss is this many times its value in the first step, or at chance if that is larger."""


class PhaseEnded(Exception):  # noqa: N818  # no error
    """Raised to end a phase before its last epoch.

    skorch raises KeyboardInterrupt for this and catches it itself, so Ctrl-C would count as early stopping.
    """


def copy_tensors(module: nn.Module, names: Iterable[str]) -> Tensors:
    """Copies of the named tensors of a module's state."""
    state = module.state_dict()
    return {name: state[name].detach().clone() for name in sorted(names)}


class Patience(EarlyStopping):  # type: ignore[misc]  # skorch ships no types
    """skorch's early stopping, but the other callbacks still see the last epoch before training ends.

    Attributes:
        over_: Whether patience has run out.
    """

    over_ = False

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Count epochs without improvement."""
        try:
            super().on_epoch_end(net, **kwargs)
        except KeyboardInterrupt:
            self.over_ = True


class EpochEnd(Callback):  # type: ignore[misc]  # skorch ships no types
    """The last callback of an epoch: writes progress, then ends the phase if patience has run out.

    Args:
        patience: Early stopping, if there is any.
        write: Called with the net and whether the phase is over, if given.
    """

    def __init__(self, patience: Patience | None, write: Callable[[Any, bool], None] | None) -> None:
        self.patience = patience
        self.write = write

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write progress, and end the phase if patience has run out."""
        over = self.patience is not None and self.patience.over_
        if self.write is not None:
            self.write(net, over)
        if over:
            raise PhaseEnded


class BestEpoch(Checkpoint):  # type: ignore[misc]  # skorch ships no types
    """skorch's checkpoint of the best epoch, but only of the tensors that the phase changes.

    skorch would write all tensors, leave half a file after an interruption, and ignore a full disk.

    Args:
        monitor: Name of the history's column that says whether an epoch is the best so far.
        names: Names of the tensors.
        keep: Whether the tensors are kept in memory.
        write: Called with the tensors and the epoch's scores, if given.

    Attributes:
        tensors: Tensors of the best epoch, if `keep`.
    """

    def __init__(
        self,
        monitor: str,
        names: Iterable[str],
        keep: bool,
        write: Callable[[Tensors, Mapping[str, Any]], None] | None,
    ) -> None:
        super().__init__(
            monitor=monitor,
            event_name=None,
            f_params=None,
            f_optimizer=None,
            f_criterion=None,
            f_history=None,
        )
        self.names = tuple(names)
        self.keep = keep
        self.write = write
        self.tensors: Tensors = {}

    def save_model(self, net: Any) -> None:
        """Keep the tensors of this epoch."""
        best = copy_tensors(net.evaluated_module(), self.names)
        if self.keep:
            self.tensors = best
        if self.write is not None:
            self.write(best, net.history[-1])


class MovingAverage(Callback):  # type: ignore[misc]  # skorch ships no types
    """Exponential moving average of the weights and of batch normalization's statistics. It replaces the weights.

    Args:
        decay: Share of the old average in the new one, at each step.

    Attributes:
        average_: torch's averaged model.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start at the current weights."""
        update: Any = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]  # torch's
        self.average_ = AveragedModel(net.module_, multi_avg_fn=update, use_buffers=True)
        self.average_.update_parameters(net.module_)

    def on_batch_end(self, net: Any, training: bool, **kwargs: Any) -> None:
        """Update the average after each step."""
        if training and net.stepped:
            self.average_.update_parameters(net.module_)


class LastEpochs(Callback):  # type: ignore[misc]  # skorch ships no types
    """Keeps the weights of the last epochs, to average them. Early stopping decides which epochs are the last.

    Args:
        n_epochs: Number of epochs.
        names: Names of the tensors.

    Attributes:
        tensors: Tensors of the last epochs, one entry an epoch.
    """

    def __init__(self, n_epochs: int, names: Iterable[str]) -> None:
        self.n_epochs = n_epochs
        self.names = tuple(names)
        self.tensors: deque[Tensors] = deque(maxlen=n_epochs)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep the weights of this epoch."""
        self.tensors.append(copy_tensors(net.evaluated_module(), self.names))

    def average_into(self, module: nn.Module) -> None:
        """Load the mean of the kept weights and batch normalization statistics into a module.

        Izmailov et al. (2018), "Averaging weights leads to wider optima and better generalization", UAI.
        """
        average = AveragedModel(module, use_buffers=True)
        for tensors in self.tensors:
            module.load_state_dict(tensors, strict=False)
            average.update_parameters(module)
        module.load_state_dict(copy_tensors(average.module, self.names), strict=False)


class DivergenceCheck(Callback):  # type: ignore[misc]  # skorch ships no types
    """Ends a training whose loss explodes or is no number.

    Args:
        name: Name of the network.
        phase: Number of the phase, counted from 1.
        rate: Learning rate of the phase.
        chance_loss: Loss of equal probabilities for all outcomes.

    Attributes:
        first: Loss of the first step; None before it.
    """

    def __init__(self, name: str, phase: int, rate: float, chance_loss: float) -> None:
        self.name = name
        self.phase = phase
        self.rate = rate
        self.chance_loss = chance_loss
        self.first: float | None = None

    def on_batch_end(self, net: Any, training: bool, loss: Tensor, **kwargs: Any) -> None:
        """Check the loss of a step."""
        if not training:
            return
        value = float(loss)
        self.first = value if self.first is None else self.first
        if not math.isfinite(value):
            self._fail(net, value)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Check the losses of an epoch."""
        last = net.history[-1]
        limit = DIVERGED * max(self.chance_loss, self.first or 0.0)
        if not last["train_loss"] < limit:
            self._fail(net, last["train_loss"])
        if not math.isfinite(last.get("valid_loss", 0.0)):
            self._fail(net, last["valid_loss"], "on the inner validation rows ")

    def _fail(self, net: Any, loss: float, where: str = "") -> None:
        raise FitError(
            f"training of {self.name!r} diverged in phase {self.phase}, epoch {net.epoch}: the loss {where}is "
            f"{loss:.3g} with lr={self.rate:g}; lower lr of phase {self.phase}, or set clip"
        )


class Logging(Callback):  # type: ignore[misc]  # skorch ships no types
    """Adds each epoch to the log.

    Args:
        log: The log.
        phase: Number of the phase, counted from 1.
    """

    NAMES: Mapping[str, str] = {
        "train_loss": "train_loss",
        "train_accuracy": "train_accuracy",
        "train_macro_f1": "train_macro_f1",
        "valid_loss": "validation_loss",
        "valid_accuracy": "validation_accuracy",
        "valid_macro_f1": "validation_macro_f1",
        "dur": "seconds",
    }
    """Fields of a record by the names that skorch's history has for them."""

    def __init__(self, log: TrainingLog, phase: int) -> None:
        self.log = log
        self.phase = phase

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember the learning rate of the head."""
        self.rate_ = float(net.optimizer_.param_groups[-1]["lr"])

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the record."""
        row = net.history[-1]
        values = {name: float(row[key]) for key, name in self.NAMES.items() if key in row}
        self.log.add({"phase": self.phase, "epoch": net.epoch, "lr": self.rate_, **values})


def copy_like(tensor: Tensor, template: Tensor) -> Tensor:
    """Copy of a tensor on the device and in the memory format of another one."""
    return torch.empty_like(template, dtype=tensor.dtype).copy_(tensor)
