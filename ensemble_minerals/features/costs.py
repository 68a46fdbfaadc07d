"""What a photo costs in each feature extractor: milliseconds and megabytes, measured on a few photos."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits
from ensemble_minerals.system.sealed import read_sealed, write_sealed

_ROUNDS = 3
"""Rounds that are timed, by default."""

_NOTED = 1000
"""Times that are kept between runs."""


@runtime_checkable
class Weighty(Protocol):
    """A feature extractor with weights."""

    def megabytes(self) -> float:
        """Size of the weights in float32."""
        ...


@dataclass(frozen=True)
class ExtractorCost:
    """What a feature extractor costs.

    Attributes:
        predict_ms: Milliseconds a photo, decoding not counted; None where no photo could be read.
        megabytes: Size of its weights.
    """

    predict_ms: float | None
    megabytes: float


def measure_extractors(
    extractors: Mapping[str, FeatureExtractor],
    photos: Sequence[Path],
    *,
    limits: DecodeLimits = DEFAULT_LIMITS,
    rounds: int = _ROUNDS,
    memory: Path | None = None,
) -> dict[str, ExtractorCost]:
    """Time feature extractors on some photos.

    Each photo goes through every extractor several times and the quickest round counts, so that other work on the
    machine disturbs little.

    Args:
        extractors: By name.
        photos: A handful is enough; all of them are computed in every round.
        limits: Sizes of the photos that are decoded.
        rounds: Rounds that count; one more goes before them, to load the networks.
        memory: File of times that were measured before; extractors whose time this machine has noted there are not
            timed again.
    """
    known = {} if memory is None else _noted(memory)
    keys = {name: f"{platform.node()} {extractor.fingerprint}" for name, extractor in extractors.items()}
    timed = {name: extractor for name, extractor in extractors.items() if keys[name] not in known}
    quickest = _quickest(timed, photos, rounds, limits=limits)
    measured = {keys[name]: 1000 * seconds for name, seconds in quickest.items() if np.isfinite(seconds)}
    if memory is not None and measured:
        _note(memory, known | measured)
    known |= measured
    return {
        name: ExtractorCost(
            known.get(keys[name]), extractor.megabytes() if isinstance(extractor, Weighty) else 0.0
        )
        for name, extractor in extractors.items()
    }


def _quickest(
    extractors: Mapping[str, FeatureExtractor],
    photos: Sequence[Path],
    rounds: int,
    *,
    limits: DecodeLimits,
) -> dict[str, float]:
    """Seconds a photo in the quickest round, infinite where no photo could be read."""
    quickest = dict.fromkeys(extractors, np.inf)
    for number in range(1 + rounds if extractors else 0):
        extracted = extract_features(photos, [""] * len(photos), list(extractors.values()), limits=limits)
        if number == 0:  # networks are loaded at their first photo
            continue
        for name, seconds in extracted.seconds.items():
            if extracted.n_computed[name]:
                quickest[name] = min(quickest[name], seconds / extracted.n_computed[name])
    return quickest


def _noted(memory: Path) -> dict[str, float]:
    sealed = read_sealed(memory)
    return {} if sealed is None else dict(json.loads(sealed))


def _note(memory: Path, times: Mapping[str, float]) -> None:
    newest = dict(list(times.items())[-_NOTED:])
    write_sealed(memory, json.dumps(newest, indent=1).encode())
