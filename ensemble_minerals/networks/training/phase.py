"""Training one phase, with its callbacks, checkpoints and progress."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from skorch.callbacks import GradientNormClipping
from torch import Tensor

from ensemble_minerals.networks.training.batches import TrainingDataset
from ensemble_minerals.networks.training.callbacks import (
    BestEpoch,
    DivergenceCheck,
    EpochEnd,
    LastEpochs,
    Logging,
    MovingAverage,
    Patience,
    Tensors,
    copy_like,
    copy_tensors,
)
from ensemble_minerals.networks.training.epoch_scores import EpochScores, score_callbacks
from ensemble_minerals.networks.training.freezing import changing_names, freeze
from ensemble_minerals.networks.training.resume import TrainingProgress
from ensemble_minerals.networks.training.schedules import schedulers
from ensemble_minerals.networks.training.session import TrainingSession
from ensemble_minerals.networks.training.skorch_net import FineTuningNet

_MONITORS = {
    "loss": ("valid_loss", True),
    "accuracy": ("valid_accuracy", False),
    "macro_f1": ("valid_macro_f1", False),
}
"""Name in skorch's history, and whether lower is better."""


class PhaseTrainer:
    """Trains one phase. After each epoch its state can be written, and later restored in a new process.

    Args:
        session: The session, which all phases share.
        number: Number of the phase, counted from 1.

    Raises:
        ConfigError: A phase that does not fit the network.
    """

    def __init__(self, session: TrainingSession, number: int) -> None:
        config = session.job.config
        self.session, self.number, self.phase = session, number, config.phases[number - 1]
        freeze(session.network, self.phase.train)
        self.module, inputs = session.module_and_inputs(self.phase)
        self.names = changing_names(self.module)
        self.dataset = TrainingDataset(inputs, session.soft_targets)
        self.average = None if config.ema is None else MovingAverage(config.ema)
        averages_last = number == len(config.phases) and config.average_last > 0
        self.recent = LastEpochs(config.average_last, self.names) if averages_last else None
        validates = session.has_validation
        monitor, lower = _MONITORS[self.phase.monitor] if validates else ("train_loss", True)
        n_steps = -(-len(session.batches) // config.accumulate) * self.phase.epochs
        self.schedulers = schedulers(self.phase, n_steps, monitor, lower_is_better=lower)
        self.best = list(self._checkpoints()) if validates else []
        self.patience = None
        if validates and self.phase.patience is not None:
            self.patience = Patience(
                monitor,
                patience=self.phase.patience,
                lower_is_better=lower,
                threshold=0.0,
                threshold_mode="abs",
            )
        chance_loss = sum(math.log(count) for count in session.network.n_outcomes)
        self.divergence = DivergenceCheck(session.options.name, number, self.phase.lr, chance_loss)
        self.net = FineTuningNet(
            session,
            self.phase,
            self.module,
            validation=session.validation_dataset(inputs),
            average=self.average,
            callbacks=self._callbacks(),
        )

    def run(self) -> None:
        """Train the phase, or what is left of it, and leave its final weights in the network."""
        session, progress = self.session, self.session.progress
        if progress is not None and progress.metadata["phase"] != self.number:
            progress = None  # of an earlier phase
        net = self.net.initialize()
        if progress is not None:
            net.history.extend(dict(row) for row in progress.metadata["history"])
        net.n_earlier = len(session.log.records) - len(net.history)
        net.notify("on_train_begin", X=self.dataset, y=None)
        if progress is not None:
            self._restore(progress)
        if progress is None or not progress.metadata["over"]:
            net.train_epochs(self.dataset)
        if self.recent is not None:
            self.recent.average_into(self.module)
            return
        kept = [best.tensors for best in self.best if best.keep]
        final = kept[0] if kept else copy_tensors(net.evaluated_module(), self.names)
        self.module.load_state_dict(final, strict=False)

    def _checkpoints(self) -> Iterator[BestEpoch]:
        """Checkpoints of the lowest loss and of the best score; the one that training continues from is in memory."""
        score = "accuracy" if self.phase.monitor == "loss" else self.phase.monitor
        for metric, file in (("loss", "best_loss"), (score, "best_score")):
            keep = metric == self.phase.monitor and self.phase.keep == "best" and self.recent is None
            work = self.session.options.work
            write = None if work is None else partial(self._write_best, metric, work / f"{file}.safetensors")
            if keep or write is not None:
                yield BestEpoch(f"{_MONITORS[metric][0]}_best", self.names, keep, write)

    def _write_best(self, metric: str, path: Path, tensors: Tensors, row: Mapping[str, Any]) -> None:
        """Write the best epoch of this phase, unless an earlier phase had a better one."""
        name, lower = _MONITORS[metric]
        earlier = [record[Logging.NAMES[name]] for record in self.session.log.records]
        sign = 1 if lower else -1
        if all(value is None or sign * float(row[name]) < sign * value for value in earlier):
            self.session.state(dict(self.session.network.state_dict()) | tensors).save(path)

    def _callbacks(self) -> list[Any]:
        session = self.session
        n_outcomes, clip = session.network.n_outcomes, session.job.config.clip
        validation = EpochScores(n_outcomes, session.shift) if session.has_validation else None
        callbacks: list[Any] = [
            *score_callbacks(validation, EpochScores(n_outcomes, np.zeros_like(session.shift))),
            self.divergence,
            None if clip is None else GradientNormClipping(clip),
            self.average,
            *self.schedulers,
            *self.best,
            self.recent,
            self.patience,
            Logging(session.log, self.number),
            EpochEnd(self.patience, None if session.progress_file is None else self._write_progress),
        ]
        return [callback for callback in callbacks if callback is not None]

    def _write_progress(self, net: FineTuningNet, over: bool) -> None:
        """Write all that a training in a new process needs to continue from here."""
        assert self.session.progress_file is not None
        parts: dict[str, dict[str, Tensor]] = {"network": dict(self.session.network.state_dict())}
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
            "records": self.session.log.records,
            "rates": [group["lr"] for group in net.optimizer_.param_groups],
            "schedulers": [_json_values(each.lr_scheduler_.state_dict()) for each in self.schedulers],
            "first_loss": self.divergence.first,
            "precision": self.session.precision,
        }
        if self.patience is not None:
            metadata["patience"] = [self.patience.misses_, float(self.patience.dynamic_threshold_)]
        flat = {(part, name): tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        self.session.progress_file.write(TrainingProgress(flat, metadata))

    def _restore(self, progress: TrainingProgress) -> None:
        """Restore what `_write_progress` wrote."""
        metadata, optimizer = progress.metadata, self.net.optimizer_
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for key, value in progress.part("optimizer").items():
            number, _, name = key.partition("/")
            parameter = parameters[int(number)]
            like = parameter if value.shape == parameter.shape else value
            optimizer.state[parameter][name] = copy_like(value, like)
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


def _json_values(state: dict[str, Any]) -> dict[str, Any]:
    """The entries of a scheduler's state that are plain JSON: all that change while it runs."""
    return {name: value for name, value in state.items() if isinstance(value, bool | int | float | list)}
