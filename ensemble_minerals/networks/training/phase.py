"""One phase of a training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from skorch.callbacks import GradientNormClipping
from torch import Tensor

from ensemble_minerals.config.networks import PhaseConfig
from ensemble_minerals.networks.training.batches import TrainingDataset, ValidationDataset
from ensemble_minerals.networks.training.callbacks import (
    BestEpoch,
    DivergenceCheck,
    EpochEnd,
    LastEpochs,
    Logging,
    MovingAverage,
    Patience,
    Tensors,
    copied_like,
    copy_tensors,
)
from ensemble_minerals.networks.training.epoch_scores import EpochScores, score_callbacks
from ensemble_minerals.networks.training.freezing import freeze, moving_names, parameter_groups
from ensemble_minerals.networks.training.losses import Mixer
from ensemble_minerals.networks.training.resume import TrainingProgress
from ensemble_minerals.networks.training.schedules import optimizer_of, schedulers
from ensemble_minerals.networks.training.setting import Setting
from ensemble_minerals.networks.training.skorch_net import FineTuningNet

_MONITORS = {
    "loss": ("valid_loss", True),
    "accuracy": ("valid_accuracy", False),
    "macro_f1": ("valid_macro_f1", False),
}


class PhaseRun:
    """One phase: a net with its callbacks, whose state can be taken and given back.

    Args:
        setting: What all phases share.
        number: Of the phase, counted from 1.
        phase: How it is trained.

    Raises:
        ConfigError: A phase that does not fit the network.
    """

    def __init__(self, setting: Setting, number: int, phase: PhaseConfig) -> None:
        self.setting, self.number, self.phase = setting, number, phase
        config = setting.config
        freeze(setting.network, phase.train)
        self.module, inputs = setting.route(phase)
        names = moving_names(self.module)
        self.rows = TrainingDataset(inputs, setting.shares)
        watched = setting.watched
        self.watched = (
            None
            if watched is None
            else ValidationDataset(inputs, watched.rows, watched.targets, setting.shares)
        )
        last = number == len(config.phases)
        self.recent = LastEpochs(config.average_last, names) if last and config.average_last else None
        self.average = None if config.ema is None else MovingAverage(config.ema)
        monitor, lower = _MONITORS[phase.monitor] if watched is not None else ("train_loss", True)
        steps = -(-len(setting.batches) // config.accumulate) * phase.epochs
        self.schedulers = schedulers(phase, steps, monitor, lower_is_better=lower)
        self.best = list(self._best(names)) if watched is not None else []
        self.patience = None
        if phase.patience is not None and watched is not None:
            self.patience = Patience(
                monitor, patience=phase.patience, lower_is_better=lower, threshold=0.0, threshold_mode="abs"
            )
        guessing = sum(math.log(count) for count in setting.network.n_outcomes)
        self.divergence = DivergenceCheck(setting.name, number, phase.lr, guessing)
        self.net = self._net(self._callbacks())

    def _best(self, names: frozenset[str]) -> Iterator[BestEpoch]:
        """The lowest loss and the highest score; of these the one that training goes on from is kept in memory."""
        score = "accuracy" if self.phase.monitor == "loss" else self.phase.monitor
        for watch, file in (("loss", "best_loss"), (score, "best_score")):
            kept = watch == self.phase.monitor and self.phase.keep == "best" and self.recent is None
            work = self.setting.work
            write = None if work is None else partial(self._write_best, watch, work / f"{file}.safetensors")
            if kept or write is not None:
                yield BestEpoch(f"{_MONITORS[watch][0]}_best", names, kept, write)

    def _write_best(self, watch: str, path: Path, tensors: Tensors, row: Mapping[str, Any]) -> None:
        """Write the best epoch of a phase, if none of an earlier phase was better."""
        name, lower = _MONITORS[watch]
        earlier = [record[Logging.NAMES[name]] for record in self.setting.log.records]
        sign = 1 if lower else -1
        if all(value is None or sign * float(row[name]) < sign * value for value in earlier):
            state = dict(self.setting.network.state_dict()) | tensors
            self.setting.state(state).save(path)

    def _callbacks(self) -> list[Any]:
        setting = self.setting
        plain = np.zeros_like(setting.shift)
        n_outcomes = setting.network.n_outcomes
        watched = None if setting.watched is None else EpochScores(n_outcomes, setting.shift)
        chosen: list[Any] = [
            *score_callbacks(watched, EpochScores(n_outcomes, plain)),
            self.divergence,
            GradientNormClipping(setting.config.clip) if setting.config.clip is not None else None,
            self.average,
            *self.schedulers,
            *self.best,
            self.recent,
            self.patience,
            Logging(setting.log, self.number),
            EpochEnd(self.patience, None if setting.restart is None else self._note),
        ]
        return [callback for callback in chosen if callback is not None]

    def _net(self, callbacks: list[Any]) -> FineTuningNet:
        setting, config = self.setting, self.setting.config
        optimizer, settings = optimizer_of(self.phase)
        return FineTuningNet(
            self.module,
            setting.loss,
            groups=parameter_groups(setting.network, self.phase),
            batches=setting.batches,
            watched=self.watched,
            mixer=Mixer(config.mixup, config.cutmix),
            accumulate=config.accumulate,
            precision=setting.precision,
            average=self.average,
            seed=setting.seed,
            n_workers=setting.n_workers,
            optimizer=optimizer,
            max_epochs=self.phase.epochs,
            batch_size=config.batch_size,
            callbacks=callbacks,
            device=str(setting.device),
            **{f"optimizer__{name}": value for name, value in settings.items()},
        )

    def run(self, progress: TrainingProgress | None) -> None:
        """Train the phase, or the rest of it, and settle on its weights."""
        net = self.net.initialize()
        if progress is not None:
            net.history.extend(dict(row) for row in progress.metadata["history"])
        net.n_before = len(self.setting.log.records) - len(net.history)
        net.notify("on_train_begin", X=self.rows, y=None)
        if progress is not None:
            self._restore(progress)
        if progress is None or not progress.metadata["over"]:
            net.train_epochs(self.rows)
        if self.recent is not None:
            self.recent.average_into(self.module)
            return
        kept = [best.tensors for best in self.best if best.keep]
        settled = kept[0] if kept else copy_tensors(net.answering(), moving_names(self.module))
        self.module.load_state_dict(settled, strict=False)

    def _note(self, net: FineTuningNet, over: bool) -> None:
        """Write down all that a training in a new process needs to go on from here."""
        assert self.setting.restart is not None
        parts: dict[str, dict[str, Tensor]] = {"network": dict(self.setting.network.state_dict())}
        if self.average is not None:
            parts["average"] = dict(self.average.average_.state_dict())
        for best in self.best:
            if best.keep:
                parts["best"] = best.tensors
        for number, tensors in enumerate(self.recent.tensors if self.recent is not None else ()):
            parts[f"recent{number}"] = tensors
        state = net.optimizer_.state_dict()
        parts["optimizer"] = {
            f"{parameter}/{name}": value
            for parameter, values in state["state"].items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        metadata = {
            "phase": self.number,
            "over": over,
            "history": [_scores(row) for row in net.history],
            "records": self.setting.log.records,
            "rates": [group["lr"] for group in net.optimizer_.param_groups],
            "schedulers": [_plain(scheduler.lr_scheduler_.state_dict()) for scheduler in self.schedulers],
            "first_loss": self.divergence.first,
            "precision": self.setting.precision,
        }
        if self.patience is not None:
            metadata["patience"] = [self.patience.misses_, float(self.patience.dynamic_threshold_)]
        flat = {(part, name): tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        self.setting.restart.write(TrainingProgress(flat, metadata))

    def _restore(self, progress: TrainingProgress) -> None:
        """Take up what `_note` wrote down."""
        metadata, optimizer = progress.metadata, self.net.optimizer_
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for key, value in progress.part("optimizer").items():
            number, _, name = key.partition("/")
            parameter = parameters[int(number)]
            like = parameter if value.shape == parameter.shape else value
            optimizer.state[parameter][name] = copied_like(value, like)
        for group, rate in zip(optimizer.param_groups, metadata["rates"], strict=True):
            group["lr"] = rate
        for scheduler, state in zip(self.schedulers, metadata["schedulers"], strict=True):
            scheduler.lr_scheduler_.load_state_dict(state)
        if self.average is not None:
            self.average.average_.load_state_dict(progress.part("average"))
        for best in self.best:
            if best.keep:
                best.tensors = progress.part("best")
        if self.recent is not None:
            while tensors := progress.part(f"recent{len(self.recent.tensors)}"):
                self.recent.tensors.append(tensors)
                if len(self.recent.tensors) == self.recent.n_epochs:
                    break
        if self.patience is not None:
            self.patience.misses_, self.patience.dynamic_threshold_ = metadata["patience"]
        self.divergence.first = metadata["first_loss"]


def _scores(row: dict[str, Any]) -> dict[str, Any]:
    """An epoch of skorch's history without its batches."""
    return {
        name: value if isinstance(value, bool | int) else float(value)
        for name, value in row.items()
        if name != "batches"
    }


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """What of a scheduler's state changes and is plain JSON; the rest its maker set."""
    return {name: value for name, value in state.items() if isinstance(value, bool | int | float | list)}
