"""What is still to be computed of photos: the features that the store lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.store import FeatureStore

SourceT = TypeVar("SourceT", bound=Path | bytes)


@dataclass(frozen=True)
class ExtractionTask(Generic[SourceT]):
    """An image whose features some extractors have not computed, and where they go.

    Attributes:
        source: A file that holds it, or the content of one.
        image_id: Its digest, or "".
        positions: Positions of all photos that hold it.
        lacking: The extractors that have not computed its features.
    """

    source: SourceT
    image_id: str
    positions: list[int]
    lacking: list[FeatureExtractor]


def empty_features(n_photos: int, extractor: FeatureExtractor) -> NDArray[np.float32]:
    """An array for the features of photos, with arbitrary values."""
    return np.empty((n_photos, extractor.n_views, extractor.n_features), dtype=np.float32)


def count_lacking(image_ids: Sequence[str], extractor: FeatureExtractor, store: FeatureStore | None) -> int:
    """Number of photos whose features by an extractor are not stored."""
    known = {image_id for image_id in image_ids if image_id}
    stored = set() if store is None else store.contains(extractor.fingerprint, known)
    return image_ids.count("") + len(known - stored)


def find_tasks(
    photos: Sequence[SourceT],
    image_ids: Sequence[str],
    extractors: Sequence[FeatureExtractor],
    features: Mapping[str, NDArray[np.float32]],
    store: FeatureStore | None,
) -> list[ExtractionTask[SourceT]]:
    """Fetch stored features; what the store lacks becomes tasks, in the order of the photos."""
    stored = {
        extractor.name: np.zeros(len(photos), dtype=bool)
        if store is None
        else store.get_into(features[extractor.name], image_ids, extractor.fingerprint)
        for extractor in extractors
    }
    tasks: dict[str | int, ExtractionTask[SourceT]] = {}
    for position, (source, image_id) in enumerate(zip(photos, image_ids, strict=True)):
        key = image_id or position
        if key in tasks:
            tasks[key].positions.append(position)
            continue
        lacking = [extractor for extractor in extractors if not stored[extractor.name][position]]
        if lacking:
            tasks[key] = ExtractionTask(source, image_id, [position], lacking)
    return list(tasks.values())
