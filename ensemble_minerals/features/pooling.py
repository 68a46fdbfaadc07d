"""Features of all photos of a data set, one row a photo and source, pooled as they are computed.

The views of a photo are several times as large as what members see of them; they are held for some thousand
photos at a time. The rows lie in memory, or in a mapped file where they are many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import ImageError
from ensemble_minerals.features.extraction import ExtractionResult
from ensemble_minerals.features.extractor import EmbeddingExtractor, FeatureExtractor
from ensemble_minerals.system.memmap import allocate, release

AT_ONCE = 4096
"""Photos whose views are held at once."""


class Extract(Protocol):
    """`extract_features`, or another that does the same elsewhere."""

    def __call__(
        self,
        paths: Sequence[Path],
        image_ids: Sequence[str],
        extractors: Sequence[FeatureExtractor],
        *,
        progress: Callable[[int, int], None] | None,
    ) -> ExtractionResult:
        """See `extract_features`."""
        ...


@dataclass
class Gathered:
    """Features of n photos.

    Attributes:
        features: For each source's name (n, n_features), float32; NaN for photos that could not be read.
        embeddings: Shape (n, d), what tells whether two photos are alike; None where no source has it.
        errors: Position of each photo that could not be read, with the reason.
    """

    features: dict[str, NDArray[np.float32]]
    embeddings: NDArray[np.float32] | None = None
    errors: dict[int, ImageError] = field(default_factory=dict)


def gather(
    extract: Extract,
    paths: Sequence[Path],
    image_ids: Sequence[str],
    extractors: Sequence[FeatureExtractor],
    pooling: Mapping[str, str],
    *,
    progress: Callable[[int, int], None] | None = None,
    at_once: int = AT_ONCE,
) -> Gathered:
    """Compute or fetch the features of all photos, a few thousand at a time, and pool their views.

    Args:
        extract: What computes them.
        paths: The photos, n of them.
        image_ids: Digests of their contents.
        extractors: What is computed.
        pooling: For each source's name how its views are pooled, see `pool_views`.
        progress: Called with (photos done, of all that must be looked at); of all photos where they are many.
        at_once: Photos whose views are held at once.
    """
    found = Gathered({})
    told = progress
    for start in range(0, max(len(paths), 1), at_once):
        part = slice(start, start + at_once)
        if progress is not None and len(paths) > at_once:
            told = _shifted(progress, start, len(paths))
        extracted = extract(paths[part], image_ids[part], extractors, progress=told)
        found.errors |= {start + position: error for position, error in extracted.errors.items()}
        for extractor in extractors:
            views = extracted.features[extractor.name]
            pooled = pool_views(views, pooling[extractor.name])
            if start == 0:
                found.features[extractor.name] = _room(pooled, len(paths))
            found.features[extractor.name][part] = pooled
            release(found.features[extractor.name])
        alike = _embeddings(extracted.features, extractors)
        if alike is not None:
            if found.embeddings is None:
                found.embeddings = _room(alike, len(paths))
            found.embeddings[part] = alike
    return found


def pool_views(features: NDArray[np.floating[Any]], pooling: str) -> NDArray[np.floating[Any]]:
    """One row a photo.

    Args:
        features: Shape (n, n_views, n_features).
        pooling: ``"mean"`` over the views, or ``"concat"``: views side by side.

    Returns:
        Shape (n, n_features) or (n, n_views * n_features).
    """
    if pooling == "concat":
        n, n_views, n_features = features.shape
        return features.reshape(n, n_views * n_features)
    pooled: NDArray[np.floating[Any]] = features.mean(axis=1, dtype=features.dtype)
    return pooled


def pooling_of(config: Config, extractor: str) -> str:
    """How the configuration pools the views of a source."""
    return next((b.pooling for b in config.backbones if b.name == extractor), "mean")


def _room(first: NDArray[Any], n_rows: int) -> NDArray[np.float32]:
    """Where rows like the first ones go."""
    return allocate((n_rows, first.shape[1]))


def _embeddings(
    features: Mapping[str, NDArray[np.float32]], extractors: Sequence[FeatureExtractor]
) -> NDArray[np.float32] | None:
    """What confirms near-duplicates: the first such source's of the whole photo and its mirror image, averaged.

    A source that does not look at the whole photo is asked for what it sees first.
    """
    for extractor in extractors:
        if isinstance(extractor, EmbeddingExtractor):
            whole = [v for v, view in enumerate(extractor.views) if view.removesuffix("_flip") == "squash"]
            mean: NDArray[np.float32] = features[extractor.name][:, whole or [0], extractor.embedding].mean(
                axis=1
            )
            return mean
    return None


def _shifted(progress: Callable[[int, int], None], start: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _of_part: progress(start + done, total)
