"""How well a network answers at the end of an epoch, from the logits of all its batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import f1_score
from skorch.callbacks import EpochScoring

from ensemble_minerals.networks.training.losses import hard_targets, split_logits

FloatArray = NDArray[np.float64]
Decided = tuple[FloatArray, NDArray[np.intp]]


@dataclass(frozen=True)
class EpochScores:
    """Scores of logits, averaged over the decisions.

    Attributes:
        n_outcomes: Of each decision.
        shift: Added to the logits (n_outputs,), so that they answer as predictions will.
    """

    n_outcomes: tuple[int, ...]
    shift: FloatArray

    def loss(self, logits: FloatArray, targets: NDArray[np.intp]) -> float:
        """Log-loss: plain cross-entropy, whatever the loss that is trained.

        Args:
            logits: Shape (n, n_outputs).
            targets: Shape (n, n_decisions), -1 where a row takes no part; of what is spread over branches (see
                `losses.expand_targets`) the largest counts.
        """
        return _mean(
            float(-np.take_along_axis(log_softmax(values, axis=1), y[:, None], axis=1).mean())
            for values, y in self._decided(logits, targets)
        )

    def accuracy(self, logits: FloatArray, targets: NDArray[np.intp]) -> float:
        """Share of right answers."""
        return _mean(float((values.argmax(1) == y).mean()) for values, y in self._decided(logits, targets))

    def macro_f1(self, logits: FloatArray, targets: NDArray[np.intp]) -> float:
        """F1 of each branch, averaged."""
        return _mean(
            float(
                f1_score(
                    y, values.argmax(1), labels=range(values.shape[1]), average="macro", zero_division=0.0
                )
            )
            for values, y in self._decided(logits, targets)
        )

    def _decided(self, logits: FloatArray, targets: NDArray[np.intp]) -> Iterator[Decided]:
        parts = split_logits(torch.from_numpy(np.asarray(logits, np.float64) + self.shift), self.n_outcomes)
        numbers = hard_targets(torch.from_numpy(targets), self.n_outcomes).numpy()
        for part, column in zip(parts, numbers.T, strict=True):
            asked = column >= 0
            if asked.any():
                yield part.numpy()[asked], column[asked]


def score_callbacks(watched: EpochScores | None, trained: EpochScores) -> list[tuple[str, EpochScoring]]:
    """Callbacks that record scores under ``train_...`` and, where there are rows to watch, ``valid_...``.

    Scores of training rows are those of the random views, mixed or not, against the rows' own branches.
    """
    wanted: list[tuple[str, Callable[..., float], bool, bool]] = [
        ("train_accuracy", trained.accuracy, False, True),
        ("train_macro_f1", trained.macro_f1, False, True),
    ]
    if watched is not None:
        wanted += [
            ("valid_loss", watched.loss, True, False),
            ("valid_accuracy", watched.accuracy, False, False),
            ("valid_macro_f1", watched.macro_f1, False, False),
        ]
    return [
        (name, EpochScoring(_Scorer(score), lower_is_better=lower, on_train=on_train, name=name))
        for name, score, lower, on_train in wanted
    ]


@dataclass(frozen=True)
class _Scorer:
    """In skorch's words: a function of the net, which hands out the logits of the epoch, and targets."""

    score: Callable[[FloatArray, NDArray[np.intp]], float]

    def __call__(self, net: Any, X: Any, y: NDArray[np.intp]) -> float:
        logits = torch.cat([batch.float() for batch in net.forward_iter(X)])
        return self.score(logits.double().cpu().numpy(), y)


def _mean(values: Iterator[float]) -> float:
    found: Sequence[float] = list(values)
    return float(np.mean(found))
