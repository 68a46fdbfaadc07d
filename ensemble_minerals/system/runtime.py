"""Settings that are passed through the whole program: how a job runs, and which photos are decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ensemble_minerals.system.progress import Progress, Silent

if TYPE_CHECKING:
    from ensemble_minerals.system.cluster import Cluster


@dataclass(frozen=True)
class DecodeLimits:
    """Sizes of the photos that are decoded; all others are refused.

    Attributes:
        max_pixels: Largest accepted width x height.
        min_side: Smallest accepted shorter side, in pixels.
    """

    max_pixels: int = 100_000_000
    min_side: int = 8


DEFAULT_LIMITS = DecodeLimits()
"""The limits of a configuration that names none."""


@dataclass(frozen=True)
class Runtime:
    """How a job runs. The results do not depend on it.

    Attributes:
        n_jobs: Concurrent tasks or threads, at least 1.
        cache_dir: Folder where features, scans and converted networks are kept between runs; nowhere if None.
        progress: Receives stages, and notes for the user.
        deadline: Seconds since the epoch after which no member begins; none if None.
        cluster: Its workers compute features and fit members; this machine does if None.
    """

    n_jobs: int = 1
    cache_dir: Path | None = None
    progress: Progress = field(default_factory=Silent)
    deadline: float | None = None
    cluster: Cluster | None = None

    @property
    def is_local(self) -> bool:
        """Whether all tasks run on this machine."""
        return self.cluster is None or self.cluster.is_local

    @property
    def n_tasks(self) -> int:
        """Tasks that run at once, here or on the cluster."""
        return self.n_jobs if self.cluster is None else self.cluster.n_cores
