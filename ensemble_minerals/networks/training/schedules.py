"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import LambdaLR, MultiplicativeLR, ReduceLROnPlateau

from ensemble_minerals.config.networks import PhaseConfig

_START, _END = 25.0, 1e4  # of torch's OneCycleLR: peak rate / first rate, and first rate / last rate
_PLATEAU = 3  # epochs without progress until the rate is halved, if the phase has no patience

Factor = Callable[[int], float]


def optimizer_of(phase: PhaseConfig) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """Class of a phase's optimizer, and its arguments besides the parameter groups.

    >>> optimizer_of(PhaseConfig(optimizer="sgd", momentum=0.9))
    (<class 'torch.optim.sgd.SGD'>, {'momentum': 0.9})
    """
    if phase.optimizer == "adamw":
        return torch.optim.AdamW, {}
    if phase.optimizer == "adam":
        return torch.optim.Adam, {}
    if phase.optimizer == "rmsprop":
        return torch.optim.RMSprop, {"momentum": phase.momentum, "alpha": phase.alpha}
    return torch.optim.SGD, {"momentum": phase.momentum}


def rate_factor(phase: PhaseConfig, n_steps: int) -> Factor:
    """Factor on the learning rates before each step, as a function of the step.

    `one_cycle` is that of Smith (2018, arXiv:1803.09820) as in torch's OneCycleLR, but the momentum stays constant.

    Args:
        phase: Its schedule. For a plateau the factor is `lr_decay` alone, see `schedulers`.
        n_steps: Number of steps of the whole phase.

    Example:
        >>> factor = rate_factor(PhaseConfig(schedule="cosine", warmup=0.5), 4)
        >>> [round(factor(step), 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    rise = phase.warmup * n_steps

    def scheduled(step: int) -> float:
        if phase.schedule == "cosine":
            if step < rise:
                return min(1.0, (step + 1) / rise)
            return _cosine(1.0, 0.0, (step - rise) / max(n_steps - rise, 1.0))
        if phase.schedule == "one_cycle":
            if step < rise - 1:
                return _cosine(1 / _START, 1.0, step / (rise - 1))
            top = max(rise - 1, 0.0)
            return _cosine(1.0, 1 / (_START * _END), (step - top) / max(n_steps - 1 - top, 1.0))
        return 1.0

    return lambda step: scheduled(step) / (1.0 + phase.lr_decay * step)


def schedulers(
    phase: PhaseConfig, n_steps: int, monitor: str, *, lower_is_better: bool
) -> list[StepScheduler]:
    """Callbacks that set the learning rates of a phase.

    A plateau is reached after half of the phase's patience, or three epochs, without a better `monitor`.

    Args:
        phase: Its schedule.
        n_steps: Number of steps of the whole phase.
        monitor: Name in skorch's history of the value that a plateau is measured by.
        lower_is_better: Whether lower values of `monitor` are better.
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
    factor = rate_factor(phase, n_steps)
    decay = StepScheduler(
        MultiplicativeLR,
        lr_lambda=lambda step: factor(step) / factor(step - 1),
        step_every="batch",
        event_name=None,
    )
    return [decay, halving]


class StepScheduler(LRScheduler):  # type: ignore[misc]  # skorch ships no types
    """skorch's scheduler, but it counts steps of the optimizer, not batches, where gradients are accumulated."""

    def on_batch_end(self, net: Any, training: bool, **kwargs: Any) -> None:
        """Set the learning rate for the next step."""
        if net.stepped:
            super().on_batch_end(net, training=training, **kwargs)


def _cosine(start: float, end: float, share: float) -> float:
    """Cosine interpolation from `start` at share 0 to `end` at share 1."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))
