"""A subproblem: one classification problem that a specialist learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Subproblem:
    """The rows of one classification problem, and the outcome of each.

    Attributes:
        name: Its name in messages, such as ``"mica"`` or ``"quartz against the rest"``.
        rows: Positions of the training rows, shape (m,).
        targets: Outcome of each of these rows, shape (m,).
        n_outcomes: Number of outcomes. Every outcome has rows.
        soft_targets: Probabilities of the outcomes, shape (m, n_outcomes), rows sum to 1. A student network learns
            them instead of `targets`; over-sampling and inner splits use `targets`.
    """

    name: str
    rows: NDArray[np.intp]
    targets: NDArray[np.intp]
    n_outcomes: int
    soft_targets: NDArray[np.float64] | None = None


def n_logits(n_outcomes: int) -> int:
    """Number of logits of a subproblem: one (the log-odds) for two outcomes, else one for each outcome.

    >>> [n_logits(n_outcomes) for n_outcomes in (2, 3, 7)]
    [1, 3, 7]
    """
    return 1 if n_outcomes == 2 else n_outcomes
