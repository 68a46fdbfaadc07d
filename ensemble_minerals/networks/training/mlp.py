"""A small multilayer perceptron and its training loop, from numpy arrays to numpy arrays.

torch's global random state is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ensemble_minerals.errors import FitError
from ensemble_minerals.networks.threads import torch_threads

Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

_VARIANCE_FLOOR = 1e-5  # epsilon of batch normalization
_DIVERGED = 1e4  # nats; the loss at chance among a million classes is 14


@dataclass(frozen=True)
class WeightedRows:
    """Training or validation rows.

    Attributes:
        X: Standardized features (n, d), float32.
        codes: Class positions (n,).
        weight: Weight of each row in the loss (n,).
    """

    X: NDArray[np.float32]
    codes: NDArray[np.intp]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Settings of training; `MLPHead` explains them."""

    hidden: tuple[int, ...]
    dropout: float
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    batch_size: int
    max_epochs: int
    patience: int
    noise: float


@dataclass(frozen=True)
class TrainedMLP:
    """A trained network.

    Attributes:
        layers: Weight (d_in, d_out) and bias (d_out,) of each layer, with batch normalization folded in.
        n_epochs: Number of epochs trained.
        best_epoch: The epoch, counted from 1, that the layers are from.
        validation_losses: Log-loss on the validation rows after each epoch; empty without such rows.
    """

    layers: Layers
    n_epochs: int
    best_epoch: int
    validation_losses: tuple[float, ...]


def train(
    rows: WeightedRows,
    validation: WeightedRows | None,
    *,
    n_classes: int,
    validation_shift: NDArray[np.float64],
    settings: Settings,
    seed: int,
) -> TrainedMLP:
    """Train a network, with early stopping if there are validation rows.

    Args:
        rows: Training rows, at least two.
        validation: Validation rows, which choose the epoch; without them all of `max_epochs` are trained.
        n_classes: Number of classes K.
        validation_shift: Added to the logits (K,) of validation rows, whose prior may differ from that of `rows`.
        settings: Settings of training.
        seed: Seed; the result depends on nothing else that runs in the process.

    Returns:
        The layers of the best epoch.

    Raises:
        FitError: The loss exploded or is no number.
    """
    # One thread: sums are added in one order, and concurrent fits do not compete for cores.
    with torch_threads(1):
        generator = torch.Generator().manual_seed(seed)
        network = MLP((rows.X.shape[1], *settings.hidden, n_classes), generator)
        return _Training(network, rows, validation, validation_shift, settings, generator).run()


class MLP:
    """Linear layers with batch normalization, ReLU and dropout between them.

    Args:
        sizes: Features, hidden sizes, classes.
        generator: Draws the initial weights.

    Attributes:
        parameters: Weight, scale and offset of each hidden layer, then weight and bias of the last.
        statistics: Mean and variance of each hidden layer, for batch normalization.
    """

    def __init__(self, sizes: Sequence[int], generator: torch.Generator) -> None:
        initial: list[Tensor] = []
        for d_in, d_out in pairwise(sizes[:-1]):
            initial += [_uniform((d_in, d_out), generator), torch.ones(d_out), torch.zeros(d_out)]
        initial += [_uniform((sizes[-2], sizes[-1]), generator), torch.zeros(sizes[-1])]
        self.parameters = [part.requires_grad_() for part in initial]
        self.statistics = [(torch.zeros(size), torch.ones(size)) for size in sizes[1:-1]]

    def logits(self, X: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Logits (n, K). With a generator, for dropout, layers are normalized by the batch, else by `statistics`."""
        *hidden, weight, bias = self.parameters
        training = generator is not None
        for layer, (mean, variance) in enumerate(self.statistics):
            linear, scale, offset = hidden[3 * layer : 3 * layer + 3]
            X = functional.batch_norm(
                X @ linear,
                None if training else mean,
                None if training else variance,
                scale,
                offset,
                training,
                eps=_VARIANCE_FLOOR,
            ).relu()
            if training and dropout:
                kept = torch.empty_like(X).bernoulli_(1 - dropout, generator=generator)
                X = X * kept.div_(1 - dropout)
        return torch.addmm(bias, X, weight)

    @torch.no_grad()
    def update_statistics(self, X: Tensor) -> None:
        """Set the statistics of batch normalization to those of all rows under the current weights.

        Running averages would lag behind the weights, especially with wide inputs and few batches an epoch.
        """
        hidden = self.parameters[:-2]
        for layer in range(len(self.statistics)):
            linear, scale, offset = hidden[3 * layer : 3 * layer + 3]
            X = X @ linear
            mean, variance = X.mean(dim=0), X.var(dim=0, correction=0)
            self.statistics[layer] = (mean, variance)
            X = functional.batch_norm(X, mean, variance, scale, offset, eps=_VARIANCE_FLOOR).relu()

    @torch.no_grad()
    def fold(self) -> Layers:
        """Weight and bias of each layer as arrays, with batch normalization folded in."""
        *hidden, weight, bias = (part.detach().double().numpy() for part in self.parameters)
        layers = []
        for layer, (mean, variance) in enumerate(self.statistics):
            linear, scale, offset = hidden[3 * layer : 3 * layer + 3]
            factor = scale / np.sqrt(variance.double().numpy() + _VARIANCE_FLOOR)
            layers.append((linear * factor, offset - mean.double().numpy() * factor))
        layers.append((weight, bias))
        return tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers)


class _Training:
    """One run of the training loop."""

    def __init__(
        self,
        network: MLP,
        rows: WeightedRows,
        validation: WeightedRows | None,
        validation_shift: NDArray[np.float64],
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        self.network, self.settings, self.generator = network, settings, generator
        self.X, self.y, self.weight = _tensors(rows)
        self.validation = None if validation is None else _tensors(validation)
        self.shift = torch.from_numpy(validation_shift.astype(np.float32))
        matrices = [part for part in network.parameters if part.ndim == 2]
        others = [part for part in network.parameters if part.ndim == 1]
        # Scales, offsets and biases do not decay.
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def run(self) -> TrainedMLP:
        best_epoch, best_loss, best_layers = 0, math.inf, None
        losses: list[float] = []
        for epoch in range(1, self.settings.max_epochs + 1):
            self._check(self._train_epoch(), epoch)
            if self.validation is None:
                continue
            self.network.update_statistics(self.X)
            losses.append(self._check(self._validation_loss(*self.validation), epoch))
            if losses[-1] < best_loss:
                best_epoch, best_loss, best_layers = epoch, losses[-1], self.network.fold()
            if epoch - best_epoch >= self.settings.patience:
                break
        if best_layers is None:
            self.network.update_statistics(self.X)
            best_epoch, best_layers = epoch, self.network.fold()
        return TrainedMLP(best_layers, epoch, best_epoch, tuple(losses))

    def _train_epoch(self) -> float:
        """Train on all rows once, in a new order; returns the mean loss."""
        settings, n = self.settings, len(self.X)
        # Batches are equally large, and none has a single row: batch normalization needs two.
        n_batches = max(1, min(math.ceil(n / settings.batch_size), n // 2))
        total = torch.zeros(())
        for batch in torch.randperm(n, generator=self.generator).tensor_split(n_batches):
            X = self.X[batch]
            if settings.noise:
                X += settings.noise * torch.randn(X.shape, generator=self.generator)
            logits = self.network.logits(X, dropout=settings.dropout, generator=self.generator)
            losses = functional.cross_entropy(
                logits, self.y[batch], reduction="none", label_smoothing=settings.label_smoothing
            )
            loss = (losses * self.weight[batch]).mean()
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()
            total += loss.detach() * len(batch)
        return float(total) / n

    @torch.no_grad()
    def _validation_loss(self, X: Tensor, y: Tensor, weight: Tensor) -> float:
        losses = functional.cross_entropy(self.network.logits(X) + self.shift, y, reduction="none")
        return float((losses * weight).mean())

    def _check(self, loss: float, epoch: int) -> float:
        if not loss < _DIVERGED:  # false for NaN, too
            raise FitError(
                f"training diverged in epoch {epoch}: the loss is {loss:.3g} with "
                f"learning_rate={self.settings.learning_rate:g}; lower the learning rate"
            )
        return loss


def _uniform(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    bound = 1 / math.sqrt(shape[0])
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def _tensors(rows: WeightedRows) -> tuple[Tensor, Tensor, Tensor]:
    weight = rows.weight / rows.weight.mean()
    return (
        torch.from_numpy(rows.X),
        torch.from_numpy(rows.codes.astype(np.int64)),
        torch.from_numpy(weight.astype(np.float32)),
    )
