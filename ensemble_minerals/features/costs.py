"""What a photo costs in each source: milliseconds and megabytes, measured on photos at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ensemble_minerals.data.images import MAX_PIXELS, MIN_SIDE
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.source import FeatureSource

_ROUNDS = 3
"""Rounds that count, by default."""


@runtime_checkable
class Weighty(Protocol):
    """A source with weights."""

    def megabytes(self) -> float:
        """Size of the weights in float32."""
        ...


@dataclass(frozen=True)
class SourceCost:
    """What a source costs.

    Attributes:
        predict_ms: Milliseconds a photo, decoding not counted; None where no photo could be read.
        megabytes: Size of its weights.
    """

    predict_ms: float | None
    megabytes: float


def measure_sources(
    sources: Mapping[str, FeatureSource],
    photos: Sequence[Path],
    *,
    max_pixels: int = MAX_PIXELS,
    min_side: int = MIN_SIDE,
    rounds: int = _ROUNDS,
) -> dict[str, SourceCost]:
    """Time every source on some photos.

    Each photo goes through every source several times and the quickest round counts, so that other work on the
    machine disturbs little.

    Args:
        sources: By name.
        photos: A handful is enough; all are looked at in every round.
        max_pixels: Largest photo that is decoded.
        min_side: Smallest.
        rounds: Rounds that count; one more goes before them, to load the networks.
    """
    quickest = dict.fromkeys(sources, np.inf)
    for number in range(1 + rounds):
        found = extract_features(
            photos, [""] * len(photos), list(sources.values()), max_pixels=max_pixels, min_side=min_side
        )
        if number == 0:  # networks are loaded at their first photo
            continue
        for name, seconds in found.seconds.items():
            if found.n_computed[name]:
                quickest[name] = min(quickest[name], seconds / found.n_computed[name])
    return {
        name: SourceCost(
            1000 * quickest[name] if np.isfinite(quickest[name]) else None,
            source.megabytes() if isinstance(source, Weighty) else 0.0,
        )
        for name, source in sources.items()
    }
