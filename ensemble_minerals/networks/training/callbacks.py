"""What happens around the epochs of a phase, as skorch's callbacks or small additions to them."""

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
"""A loss this many times that of the first step, or that of guessing if this is larger, will not come back."""


class PhaseEnded(Exception):  # noqa: N818  # no error
    """A phase ends before its last epoch.

    skorch says so by KeyboardInterrupt, which it swallows: Ctrl-C would pass for early stopping.
    """


def copy_tensors(module: nn.Module, names: Iterable[str]) -> Tensors:
    """Copies of some tensors in the state of a module."""
    state = module.state_dict()
    return {name: state[name].detach().clone() for name in sorted(names)}


class Patience(EarlyStopping):  # type: ignore[misc]  # skorch ships no types
    """skorch's early stopping, which leaves the other callbacks time to note the last epoch.

    Attributes:
        over_: Whether patience is at an end.
    """

    over_ = False

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Look at the epoch."""
        try:
            super().on_epoch_end(net, **kwargs)
        except KeyboardInterrupt:
            self.over_ = True


class EpochEnd(Callback):  # type: ignore[misc]  # skorch ships no types
    """The last callback of an epoch: notes how far training has come, then ends the phase if patience has ended.

    Args:
        patience: Early stopping, if there is any.
        note: Called with the net and whether the phase is over.
    """

    def __init__(self, patience: Patience | None, note: Callable[[Any, bool], None] | None) -> None:
        self.patience = patience
        self.note = note

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Note and perhaps end."""
        over = self.patience is not None and self.patience.over_
        if self.note is not None:
            self.note(net, over)
        if over:
            raise PhaseEnded


class BestEpoch(Checkpoint):  # type: ignore[misc]  # skorch ships no types
    """skorch's checkpoint of the best epoch, of the tensors that this phase moves.

    skorch would write all tensors, half a file if interrupted, and pass over a full disk in silence.

    Args:
        monitor: Name in the history of whether an epoch is the best.
        names: Tensors to keep.
        keep: Whether they are kept in memory to go on from.
        write: Called with the tensors and the epoch's scores, if given.

    Attributes:
        tensors: Those of the best epoch, if `keep`.
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
        best = copy_tensors(net.answering(), self.names)
        if self.keep:
            self.tensors = best
        if self.write is not None:
            self.write(best, net.history[-1])


class MovingAverage(Callback):  # type: ignore[misc]  # skorch ships no types
    """Exponential moving average of the weights and of the statistics of batch normalization; it is what answers.

    Args:
        decay: Share of the old average in the new one, each step.

    Attributes:
        average_: torch's averaged model.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start at the present weights."""
        follow: Any = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]  # torch's
        self.average_ = AveragedModel(net.module_, multi_avg_fn=follow, use_buffers=True)
        self.average_.update_parameters(net.module_)

    def on_batch_end(self, net: Any, training: bool, **kwargs: Any) -> None:
        """Follow the weights."""
        if training and net.stepped:
            self.average_.update_parameters(net.module_)


class LastEpochs(Callback):  # type: ignore[misc]  # skorch ships no types
    """Keeps the answering weights of the last epochs, of which nobody knows in advance which they are.

    Args:
        n_epochs: How many.
        names: Which tensors.

    Attributes:
        tensors: One entry an epoch.
    """

    def __init__(self, n_epochs: int, names: Iterable[str]) -> None:
        self.n_epochs = n_epochs
        self.names = tuple(names)
        self.tensors: deque[Tensors] = deque(maxlen=n_epochs)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep this epoch."""
        self.tensors.append(copy_tensors(net.answering(), self.names))

    def average_into(self, module: nn.Module) -> None:
        """Give a module the mean of the kept weights, and of the kept statistics of batch normalization.

        (Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".)
        """
        average = AveragedModel(module, use_buffers=True)
        for tensors in self.tensors:
            module.load_state_dict(tensors, strict=False)
            average.update_parameters(module)
        module.load_state_dict(copy_tensors(average.module, self.names), strict=False)


class DivergenceCheck(Callback):  # type: ignore[misc]  # skorch ships no types
    """Ends a training whose loss is not a number any more, or explodes.

    Args:
        name: Of the network.
        phase: Number of the phase, counted from 1.
        rate: Its learning rate.
        guessing: Loss of an even guess.
    """

    def __init__(self, name: str, phase: int, rate: float, guessing: float) -> None:
        self.name = name
        self.phase = phase
        self.rate = rate
        self.guessing = guessing
        self.first: float | None = None

    def on_batch_end(self, net: Any, training: bool, loss: Tensor, **kwargs: Any) -> None:
        """Look at the loss of a step."""
        if not training:
            return
        value = float(loss)
        self.first = value if self.first is None else self.first
        if not math.isfinite(value):
            self._fail(net, value)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Look at the losses of an epoch."""
        last = net.history[-1]
        limit = DIVERGED * max(self.guessing, self.first or 0.0)
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
    """Hands each epoch to the log.

    Args:
        log: Where to.
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
    """What skorch's history calls the fields of a record."""

    def __init__(self, log: TrainingLog, phase: int) -> None:
        self.log = log
        self.phase = phase

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Note the rate of the head."""
        self.rate_ = float(net.optimizer_.param_groups[-1]["lr"])

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the record."""
        row = net.history[-1]
        values = {name: float(row[key]) for key, name in self.NAMES.items() if key in row}
        self.log.add({"phase": self.phase, "epoch": net.epoch, "lr": self.rate_, **values})


def copied_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """The values of a tensor on the device and in the memory order of another."""
    return torch.empty_like(pattern, dtype=tensor.dtype).copy_(tensor)
