"""One classification problem that a specialist learns: which rows, and the outcome of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Subproblem:
    """One classification problem to be learned.

    Attributes:
        name: What it decides, for messages: ``"mica"``, ``"quartz against the rest"``.
        rows: Positions of the rows to learn from, shape (m,).
        targets: Outcome of each of them, shape (m,).
        n_outcomes: Number of outcomes; every one has rows.
        soft_targets: Probabilities of the outcomes that a student network learns in place of `targets`, shape
            (m, n_outcomes); rows sum to 1. Over-sampling and inner splits go by `targets`.
    """

    name: str
    rows: NDArray[np.intp]
    targets: NDArray[np.intp]
    n_outcomes: int
    soft_targets: NDArray[np.float64] | None = None


def n_logits(n_outcomes: int) -> int:
    """Number of logits of a subproblem: one log-odds for two outcomes, else one logit an outcome.

    >>> [n_logits(n_outcomes) for n_outcomes in (2, 3, 7)]
    [1, 3, 7]
    """
    return 1 if n_outcomes == 2 else n_outcomes
