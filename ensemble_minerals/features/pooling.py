"""Features of all photos of a data set: one row for each photo and extractor, views pooled as they are computed.

The features of all views are several times as large as the pooled ones; they are held in memory for a few thousand
photos at a time. The rows are kept in memory, or in a mapped file where they are many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from ensemble_minerals.system.progress import StageProgress, part_of

AT_ONCE = 4096
"""Photos whose views are held in memory at once."""


class Extract(Protocol):
    """`extract_features`, or another that does the same elsewhere."""

    def __call__(
        self,
        paths: Sequence[Path],
        image_ids: Sequence[str],
        extractors: Sequence[FeatureExtractor],
        *,
        progress: StageProgress | None,
    ) -> ExtractionResult:
        """See `extract_features`."""
        ...


@dataclass
class Gathered:
    """Features of n photos.

    Attributes:
        features: For each extractor's name (n, n_features), float32; NaN for photos that could not be read.
        embeddings: Shape (n, d), which propose the pairs of photos to compare; None where no extractor gives it.
        errors: Position of each photo that could not be read, with the reason.
        views: Of extractors whose views are rows, (n, n_views, n_features); NaN as in `features`.
    """

    features: dict[str, NDArray[np.float32]]
    embeddings: NDArray[np.float32] | None = None
    errors: dict[int, ImageError] = field(default_factory=dict)
    views: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def gather(
    extract: Extract,
    paths: Sequence[Path],
    image_ids: Sequence[str],
    extractors: Sequence[FeatureExtractor],
    pooling: Mapping[str, str],
    *,
    progress: StageProgress | None = None,
    at_once: int = AT_ONCE,
) -> Gathered:
    """Compute or fetch the features of all photos, a few thousand at a time, and pool their views.

    Args:
        extract: What computes them.
        paths: The photos, n of them.
        image_ids: Digests of their contents.
        extractors: What is computed.
        pooling: How the views of each extractor are pooled, by its name; see `pool_views`.
        progress: Called with (photos done, photos to compute); where photos are many, with (photos done, all photos).
        at_once: Photos whose views are held in memory at once.
    """
    gathered = Gathered({})
    report = progress
    for start in range(0, max(len(paths), 1), at_once):
        part = slice(start, start + at_once)
        if progress is not None and len(paths) > at_once:
            report = part_of(progress, start, len(paths))
        extracted = extract(paths[part], image_ids[part], extractors, progress=report)
        gathered.errors |= {start + position: error for position, error in extracted.errors.items()}
        for extractor in extractors:
            views = extracted.features[extractor.name]
            pooled = pool_views(views, pooling[extractor.name])
            if start == 0:
                gathered.features[extractor.name] = _rows_like(pooled, len(paths))
                if pooling[extractor.name] == "rows" and extractor.n_views > 1:
                    gathered.views[extractor.name] = _rows_like(views, len(paths))
            gathered.features[extractor.name][part] = pooled
            release(gathered.features[extractor.name])
            if extractor.name in gathered.views:
                gathered.views[extractor.name][part] = views
                release(gathered.views[extractor.name])
        embeddings = embeddings_of(extracted.features, extractors)
        if embeddings is not None:
            if gathered.embeddings is None:
                gathered.embeddings = _rows_like(embeddings, len(paths))
            gathered.embeddings[part] = embeddings
            release(gathered.embeddings)
    return gathered


def pool_views(features: NDArray[np.floating[Any]], pooling: str) -> NDArray[np.floating[Any]]:
    """Turn the features of all views into one row for each photo.

    Args:
        features: Shape (n, n_views, n_features).
        pooling: ``"mean"`` over the views, which ``"rows"`` is as well, or ``"concat"``: views side by side.

    Returns:
        Shape (n, n_features) or (n, n_views * n_features).

    Example:
        >>> views = np.array([[[1.0, 2.0], [3.0, 4.0]]])
        >>> pool_views(views, "mean"), pool_views(views, "concat")
        (array([[2., 3.]]), array([[1., 2., 3., 4.]]))
    """
    if pooling == "concat":
        n, n_views, n_features = features.shape
        return features.reshape(n, n_views * n_features)
    pooled: NDArray[np.floating[Any]] = features.mean(axis=1, dtype=features.dtype)
    return pooled


def pooled_width(extractor: FeatureExtractor, pooling: str) -> int:
    """Number of features of a row that `pool_views` returns."""
    return extractor.n_features * (extractor.n_views if pooling == "concat" else 1)


def pooling_of(config: Config, extractor: str) -> str:
    """How the configuration pools the views of an extractor."""
    return next((b.pooling for b in config.backbones if b.name == extractor), "mean")


def _rows_like(first: NDArray[Any], n_rows: int) -> NDArray[np.float32]:
    """An array for rows that are as long as the first ones."""
    return allocate((n_rows, *first.shape[1:]))


def embeddings_of(
    features: Mapping[str, NDArray[np.float32]], extractors: Sequence[FeatureExtractor]
) -> NDArray[np.float32] | None:
    """What proposes the pairs of photos to compare: the first embedding of the whole photo.

    One view alone, so that the pairs do not depend on which other views are computed. Where an extractor has no view
    of the whole photo, its first view is taken.
    """
    for extractor in extractors:
        if isinstance(extractor, EmbeddingExtractor):
            view = extractor.views.index("squash") if "squash" in extractor.views else 0
            return features[extractor.name][:, view, extractor.embedding]
    return None
