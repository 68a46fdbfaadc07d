"""Probabilities as logarithms and log-odds, in numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatMatrix = NDArray[np.floating[Any]]

LOG_FLOOR = 1e-6
"""Probabilities are clipped to this before their logarithm is taken."""


def log_normalize(scores: FloatMatrix) -> FloatMatrix:
    """Log-softmax: scores less their log-sum-exp, so that the exponentials of each row sum to 1.

    Args:
        scores: Unnormalized log-probabilities, shape (n, n_classes).

    Example:
        >>> np.exp(log_normalize(np.log([[1.0, 3.0]]))).round(3)
        array([[0.25, 0.75]])
    """
    top = scores.max(axis=1, keepdims=True)
    shifted = scores - top
    normalized: FloatMatrix = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized


def log_proba_of_logits(logits: FloatMatrix) -> FloatMatrix:
    """Log-probabilities of the outcomes of a subproblem, shape (n, n_outcomes).

    Args:
        logits: Shape (n, n_outcomes); for two outcomes (n, 1), the log-odds of the second.

    Example:
        >>> np.exp(log_proba_of_logits(np.log([[3.0]]))).round(3)
        array([[0.25, 0.75]])
    """
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return log_normalize(logits)


def log_sigmoid(log_odds: FloatMatrix) -> FloatMatrix:
    """Log-probability of an event from its log-odds, without overflow.

    Example:
        >>> np.exp(log_sigmoid(np.array([0.0, -1000.0])))
        array([0.5, 0. ])
    """
    log_proba: FloatMatrix = -np.logaddexp(0.0, -log_odds)
    return log_proba


def clipped_log(proba: FloatMatrix) -> NDArray[np.float64]:
    """Logarithm of probabilities clipped to between `LOG_FLOOR` and 1.

    Example:
        >>> clipped_log(np.array([0.0, 1.0])).round(2)
        array([-13.82,   0.  ])
    """
    logs: NDArray[np.float64] = np.log(np.clip(proba, LOG_FLOOR, 1.0, dtype=np.float64))
    return logs
