"""Loss, accuracy and macro F1 of an epoch, from the logits of all its batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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


@dataclass(frozen=True)
class EpochScores:
    """Scores of logits, averaged over the subproblems.

    In all methods, targets have shape (n, n_subproblems), with -1 where a row does not belong to a subproblem. Of
    soft targets (see `losses.expand_targets`) the most probable outcome counts.

    Attributes:
        n_outcomes: Number of outcomes of each subproblem.
        shift: Added to the logits (n_outputs,), as for predictions.
    """

    n_outcomes: tuple[int, ...]
    shift: FloatArray

    def loss(self, logits: FloatArray, targets: NDArray[Any]) -> float:
        """Log-loss of logits (n, n_outputs): plain cross-entropy, whatever loss is minimized."""
        return _mean(
            -np.take_along_axis(log_softmax(values, axis=1), y[:, None], axis=1).mean()
            for values, y in self._subproblems(logits, targets)
        )

    def accuracy(self, logits: FloatArray, targets: NDArray[Any]) -> float:
        """Share of right answers.

        >>> scores = EpochScores((2,), np.zeros(1))
        >>> scores.accuracy(np.array([[1.5], [0.2], [-3.0]]), np.array([[1], [0], [0]]))
        0.6666666666666666
        """
        return _mean((values.argmax(1) == y).mean() for values, y in self._subproblems(logits, targets))

    def macro_f1(self, logits: FloatArray, targets: NDArray[Any]) -> float:
        """F1 averaged over the outcomes."""
        return _mean(
            f1_score(y, values.argmax(1), labels=range(values.shape[1]), average="macro", zero_division=0.0)
            for values, y in self._subproblems(logits, targets)
        )

    def _subproblems(
        self, logits: FloatArray, targets: NDArray[Any]
    ) -> Iterator[tuple[FloatArray, NDArray[np.intp]]]:
        """Logits (m, n_outcomes) and targets (m,) of each subproblem that any row belongs to."""
        parts = split_logits(torch.from_numpy(np.asarray(logits, np.float64) + self.shift), self.n_outcomes)
        columns = hard_targets(torch.from_numpy(targets), self.n_outcomes).numpy().T
        for part, column in zip(parts, columns, strict=True):
            belongs = column >= 0
            if belongs.any():
                yield part.numpy()[belongs], column[belongs]


def score_callbacks(validation: EpochScores | None, training: EpochScores) -> list[tuple[str, EpochScoring]]:
    """Callbacks that record scores as ``train_...`` and, if there are validation rows, as ``valid_...``.

    The scores of training rows are those of their random views, mixed or not, against the rows' own outcomes.
    """
    wanted: list[tuple[str, Callable[..., float], bool, bool]] = [
        ("train_accuracy", training.accuracy, False, True),
        ("train_macro_f1", training.macro_f1, False, True),
    ]
    if validation is not None:
        wanted += [
            ("valid_loss", validation.loss, True, False),
            ("valid_accuracy", validation.accuracy, False, False),
            ("valid_macro_f1", validation.macro_f1, False, False),
        ]
    return [
        (name, EpochScoring(_ScoringFunction(score), lower_is_better=lower, on_train=on_train, name=name))
        for name, score, lower, on_train in wanted
    ]


@dataclass(frozen=True)
class _ScoringFunction:
    """A score in the form that skorch calls: with the net, which holds the epoch's logits, and the targets."""

    score: Callable[[FloatArray, NDArray[Any]], float]

    def __call__(self, net: Any, X: Any, y: NDArray[Any]) -> float:
        logits = torch.cat([batch.float() for batch in net.forward_iter(X)])
        return self.score(logits.double().cpu().numpy(), y)


def _mean(values: Iterable[Any]) -> float:
    return float(np.mean([float(value) for value in values]))
