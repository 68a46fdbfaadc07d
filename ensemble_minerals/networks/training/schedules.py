"""Optimizers and the course of their learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import LambdaLR, MultiplicativeLR, ReduceLROnPlateau

from ensemble_minerals.config.networks import PhaseConfig

_START, _END = 25.0, 1e4  # as torch's OneCycleLR: the first rate of the cycle, and the last below the first
_PLATEAU = 3  # epochs without progress until the rate is halved, where the phase has no patience of its own

Factor = Callable[[int], float]


def optimizer_of(phase: PhaseConfig) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The optimizer of a phase and what it is called with besides its groups of parameters."""
    if phase.optimizer == "adamw":
        return torch.optim.AdamW, {}
    if phase.optimizer == "adam":
        return torch.optim.Adam, {}
    if phase.optimizer == "rmsprop":
        return torch.optim.RMSprop, {"momentum": phase.momentum, "alpha": phase.alpha}
    return torch.optim.SGD, {"momentum": phase.momentum}


def rate_factor(phase: PhaseConfig, n_steps: int) -> Factor:
    """What the rates are multiplied by before each step.

    `one_cycle` is Smith's (2018, arXiv:1803.09820) as in torch's OneCycleLR, of the rate alone: the momentum
    stays as configured.

    Args:
        phase: Its schedule; a plateau is another matter, see `schedulers`.
        n_steps: Steps of the whole phase.
    """
    rise = phase.warmup * n_steps

    def course(step: int) -> float:
        if phase.schedule == "cosine":
            if step < rise:
                return min(1.0, (step + 1) / rise)
            return _between(1.0, 0.0, (step - rise) / max(n_steps - rise, 1.0))
        if phase.schedule == "one_cycle":
            if step < rise - 1:
                return _between(1 / _START, 1.0, step / (rise - 1))
            top = max(rise - 1, 0.0)
            return _between(1.0, 1 / (_START * _END), (step - top) / max(n_steps - 1 - top, 1.0))
        return 1.0

    return lambda step: course(step) / (1.0 + phase.lr_decay * step)


def schedulers(
    phase: PhaseConfig, n_steps: int, monitor: str, *, lower_is_better: bool
) -> list[StepScheduler]:
    """The callbacks that set the rates of a phase.

    A plateau is half of the phase's patience, or three epochs, without a better `monitor`.

    Args:
        phase: Its schedule.
        n_steps: Steps of the whole phase.
        monitor: What a plateau is one of, in skorch's history.
        lower_is_better: Which way `monitor` should go.
    """
    if phase.schedule != "plateau":
        return [
            StepScheduler(
                LambdaLR, lr_lambda=rate_factor(phase, n_steps), step_every="batch", event_name=None
            )
        ]
    patience = _PLATEAU if phase.patience is None else max(1, phase.patience // 2)
    halving = StepScheduler(
        ReduceLROnPlateau,
        monitor=monitor,
        mode="min" if lower_is_better else "max",
        factor=0.5,
        patience=patience,
        event_name=None,
    )
    if not phase.lr_decay:
        return [halving]
    whole = rate_factor(phase, n_steps)
    decay = StepScheduler(
        MultiplicativeLR,
        lr_lambda=lambda step: whole(step) / whole(step - 1),
        step_every="batch",
        event_name=None,
    )
    return [decay, halving]


class StepScheduler(LRScheduler):  # type: ignore[misc]  # skorch ships no types
    """skorch's scheduler, but where gradients are summed over batches it waits for the optimizer's step."""

    def on_batch_end(self, net: Any, training: bool, **kwargs: Any) -> None:
        """Set the rate for the next step."""
        if net.stepped:
            super().on_batch_end(net, training=training, **kwargs)


def _between(start: float, end: float, share: float) -> float:
    """Along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))
