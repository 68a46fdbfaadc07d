"""What fitting a member in one fold costs, from numbers alone: rows, columns and classes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ensemble_minerals.config.members import LogisticHeadConfig, MemberConfig, MlpHeadConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.members.training_rows import MOST_BY_PRODUCTS
from ensemble_minerals.system.parallel import single_thread

_MAX_RANK = 2048
"""Rank from which on row spaces keep the columns, see `RowSpace`."""

_SOLVING = 2700
"""Operations of a flat logistic regression for each row, column and square root of the number of classes."""

_CHOOSING = 7.0
"""Times that a regression takes whose penalty is chosen, over one of a given penalty."""


@dataclass(frozen=True)
class FoldShape:
    """A fold in numbers.

    Attributes:
        n_rows: Training rows.
        n_held_out: Rows to be predicted.
        n_classes: Classes.
        largest: Training rows of the largest class.
    """

    n_rows: int
    n_held_out: int
    n_classes: int
    largest: float

    @classmethod
    def of(cls, labels: Sequence[str], config: Config) -> FoldShape:
        """The shape of an average fold.

        Args:
            labels: Class of each usable photo.
            config: Number of folds, or size of the hold-out.

        Example:
            >>> from ensemble_minerals.config.loading import build_config
            >>> members = [{"features": ["descriptor"], "strategy": "flat"}]
            >>> config = build_config({"members": members, "folds": {"n_splits": 5}})
            >>> FoldShape.of(["a"] * 30 + ["b"] * 20, config)
            FoldShape(n_rows=40, n_held_out=10, n_classes=2, largest=24.0)
        """
        trained = 1 - config.folds.holdout if config.folds.n_splits == 1 else 1 - 1 / config.folds.n_splits
        return cls(
            n_rows=round(trained * len(labels)),
            n_held_out=round((1 - trained) * len(labels)),
            n_classes=max(2, len(set(labels))),
            largest=trained * max(Counter(labels).values(), default=0),
        )

    def in_views(self, n_views: int) -> FoldShape:
        """The same where so many views of a photo are training rows."""
        return replace(self, n_rows=self.n_rows * n_views)

    def space(self, width: int) -> float:
        """Operations of a row space of so many columns: inner products, or a Gram matrix, its axes and a rotation."""
        n, d = float(self.n_rows), float(width)
        if n <= min(2 * d, MOST_BY_PRODUCTS):
            return 2 * n**2 * d
        return 0.0 if min(n, d) > _MAX_RANK else 3 * d**2 * n + 10 * d**3

    def head(self, member: MemberConfig, width: int) -> float:
        """Operations of a member's head on a row space; `benchmarks/estimates.py` calibrates them."""
        n, rank = float(self.n_rows), float(min(self.n_rows, width))
        if min(n, width) > _MAX_RANK:
            rank = float(width)
        if isinstance(member.head, MlpHeadConfig):
            n = self._oversampled(member) if member.sampler.kind != "none" else n
            one = 6 * n * rank * sum(member.head.hidden) * member.head.max_epochs
            return one * (2 if member.strategy == "flat" else 4)
        one = _SOLVING * n * rank * math.sqrt(self.n_classes)
        if isinstance(member.head, LogisticHeadConfig) and member.head.C == "auto":
            one *= _CHOOSING
        # Copies of a row are a weight on it, and rows that a sampler makes are solved with those that it combines.
        return one * (1 if member.strategy == "flat" else 1.3) * (1.4 if member.sampler.makes_rows else 1)

    def training(self, member: MemberConfig, per_photo: float, forward: float, config: Config) -> float:
        """Seconds of a member's networks on one core or one GPU.

        Args:
            member: Stands on a network.
            per_photo: Seconds of a photo in training, all epochs together.
            forward: Seconds of a photo in one forward pass.
            config: Describes the network.
        """
        network = next(network for network in config.networks if network.name == member.network)
        n_networks = 1
        if member.specialists == "separate" and member.strategy != "flat":
            n_networks = self.n_classes if member.strategy == "one_vs_rest" else self.n_classes // 2 + 1
        rows = self._oversampled(member) if member.sampler.kind != "none" else float(self.n_rows)
        validated = sum(phase.epochs for phase in network.phases) * network.validation_fraction * self.n_rows
        trained = rows * (1 - network.validation_fraction)
        predicted = self.n_held_out * len(network.views)
        return n_networks * (trained * per_photo + (validated + predicted) * forward)

    def _oversampled(self, member: MemberConfig) -> float:
        """Training rows after over-sampling."""
        return max(float(self.n_rows), self.n_classes * self.largest * getattr(member.sampler, "ratio", 1.0))


def multiplication_rate() -> float:
    """Floating point operations a second of one core, in double precision, beside all else that runs now."""
    side, rounds = 384, 10
    factor = np.random.default_rng(0).random((side, side))
    with single_thread:
        factor @ factor  # the first is slow
        started = time.perf_counter()
        for _ in range(rounds):
            factor @ factor
        return 2 * rounds * side**3 / (time.perf_counter() - started)
