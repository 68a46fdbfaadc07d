"""One decision that a specialist learns: which rows, and which way each of them goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Subproblem:
    """One decision to be learned.

    Attributes:
        name: What it decides, for messages: ``"mica"``, ``"quartz against the rest"``.
        rows: Positions of the rows it learns from, shape (m,).
        targets: Branch of each of them, shape (m,).
        n_outcomes: Number of branches; every one has rows.
        shares: What is learned in place of the branch alone, for a network that learns another's answers: how much of
            each branch, shape (m, n_branches), rows sum to 1. Sampling and inner splits go by `targets`.
    """

    name: str
    rows: NDArray[np.intp]
    targets: NDArray[np.intp]
    n_outcomes: int
    shares: NDArray[np.float64] | None = None
