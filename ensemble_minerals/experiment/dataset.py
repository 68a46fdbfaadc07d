"""The stages that turn a folder of photos into rows: scan, extract.

Between them `grouping` finds photos of one object; after them `splitting` draws folds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import TEST_FOLD
from ensemble_minerals.data.manifest import Files, Manifest, Status
from ensemble_minerals.data.photo_table import Entry
from ensemble_minerals.data.same_object.given_pairs import check_given_pairs
from ensemble_minerals.data.scanning import scan_with_cache
from ensemble_minerals.data.usable import check_usable
from ensemble_minerals.errors import ImageError
from ensemble_minerals.features.distributed import extract_on_cluster
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.pooling import Gathered, gather, pooling_of
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system.cache_folder import cache_limit, keep_within_limit
from ensemble_minerals.system.memmap import take
from ensemble_minerals.system.runtime import Runtime

FloatMatrix = NDArray[np.floating[Any]]

FEATURES = "features.sqlite"
"""File in the cache folder: features of photos."""


@dataclass(frozen=True)
class Dataset:
    """Photos as rows, with their features.

    Attributes:
        manifest: One row a file. `group_photos` filled in the row groups, `split` fills in the folds.
        readable: Manifest rows that have features, (n_readable,).
        features: For each extractor (n_readable, n_features), views pooled.
        extractors: The extractors, ready to compute features of more photos.
        views: Of extractors whose views are rows, (n_readable, n_views, n_features).
    """

    manifest: Manifest
    readable: NDArray[np.intp]
    features: Mapping[str, FloatMatrix]
    extractors: Mapping[str, FeatureExtractor]
    views: Mapping[str, FloatMatrix] = field(default_factory=dict)

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """Manifest rows to learn from, (n,): usable, and not of the test part."""
        usable = self.manifest.usable
        kept: NDArray[np.intp] = usable[self.manifest.fold[usable] != TEST_FOLD]
        return kept

    @cached_property
    def test_rows(self) -> NDArray[np.intp]:
        """Manifest rows of the untouched test part, (n_test,)."""
        usable = self.manifest.usable
        kept: NDArray[np.intp] = usable[self.manifest.fold[usable] == TEST_FOLD]
        return kept

    @property
    def labels(self) -> NDArray[np.str_]:
        """Class of each of `rows`, (n,)."""
        return self.manifest.label[self.rows]

    @property
    def groups(self) -> NDArray[np.int64]:
        """Row group of each of `rows`, (n,)."""
        return self.manifest.row_group[self.rows]

    @property
    def folds(self) -> NDArray[np.int64]:
        """Fold of each of `rows`, (n,)."""
        return self.manifest.fold[self.rows]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of `rows`, ascending."""
        return tuple(np.unique(self.labels).tolist())

    @property
    def inputs(self) -> FoldInputs:
        """Class positions, row groups and folds of `rows`."""
        classes = np.array(self.classes)
        y = np.searchsorted(classes, self.labels).astype(np.intp)
        return FoldInputs(y, self.groups.astype(np.intp), self.folds.astype(np.intp), classes)

    def blocks(self, rows: NDArray[np.intp]) -> dict[str, FloatMatrix]:
        """Feature matrices of manifest rows, by extractor, each (len(rows), n_features)."""
        return self._taken(self.features, rows)

    def blocks_of_views(self, rows: NDArray[np.intp]) -> dict[str, FloatMatrix]:
        """The same of `views`, each (len(rows), n_views, n_features)."""
        return self._taken(self.views, rows)

    def _taken(self, matrices: Mapping[str, FloatMatrix], rows: NDArray[np.intp]) -> dict[str, FloatMatrix]:
        position = np.full(len(self.manifest), -1, dtype=np.intp)
        position[self.readable] = np.arange(len(self.readable))
        return {name: take(matrix, position[rows]) for name, matrix in matrices.items()}


def scan_photos(
    data: Path, config: Config, runtime: Runtime, *, n_classes: int = 2, added: Sequence[Entry] = ()
) -> Manifest:
    """Read all photos: their sizes, digests, perceptual hashes, and why some cannot be used.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        config: Classes, and limits of what is decoded.
        runtime: Scans are kept in its cache folder.
        n_classes: So many classes must have photos that can be read.
        added: Photos from elsewhere that are read, too; their paths are absolute.

    Raises:
        DataError: If there are no photos, or fewer than two classes, or photos of too few classes can be read, or
            there is no file of the user's pairs.
    """
    if config.duplicates.pairs is not None:
        check_given_pairs(Path(config.duplicates.pairs))
    manifest = scan_with_cache(data, runtime, classes=config.classes, limits=config.data.limits, added=added)
    for warning in manifest.warnings:
        runtime.progress.note(warning)
    check_usable(manifest, n_classes)
    return manifest


def extract(
    manifest: Manifest, config: Config, extractors: Mapping[str, FeatureExtractor], runtime: Runtime
) -> Dataset:
    """Compute or fetch the features of all usable photos.

    A photo that changed or vanished since the scan keeps its row, with the reason.

    Args:
        manifest: As scanned and grouped.
        config: Limits of what is decoded, and how views are pooled.
        extractors: By name.
        runtime: Features are kept in its cache folder, which is then trimmed to its limit; the workers of its
            cluster compute them, if it has one.

    Raises:
        WeightsError: If a backbone's weights cannot be had.
        UserError: If the limit of the cache is no size.
    """
    limit = cache_limit()
    usable = manifest.usable
    gathered = gather_features(manifest, config, extractors, runtime, "Computing features")
    manifest = mark_unreadable(manifest, usable, gathered.errors)
    return as_dataset(manifest, gathered, usable, extractors, runtime, limit)


def as_dataset(
    manifest: Manifest,
    gathered: Gathered,
    rows: NDArray[np.intp],
    extractors: Mapping[str, FeatureExtractor],
    runtime: Runtime,
    limit: float,
) -> Dataset:
    """A data set of features that were gathered; see `extract`.

    Args:
        manifest: As grouped; photos whose features could not be computed are marked.
        gathered: Features of photos, among which all usable ones are.
        rows: Rows of the manifest, whose features they are, ascending.
        extractors: By name.
        runtime: See `extract`.
        limit: Of the cache folder, in bytes.
    """
    if removed := keep_within_limit(runtime.cache_dir, limit):
        runtime.progress.note(removed)
    usable = manifest.usable
    kept = np.searchsorted(rows, usable)
    return Dataset(
        manifest,
        usable,
        {name: take(values, kept) for name, values in gathered.features.items()},
        extractors,
        {name: take(values, kept) for name, values in gathered.views.items()},
    )


def gather_features(
    manifest: Manifest,
    config: Config,
    extractors: Mapping[str, FeatureExtractor],
    runtime: Runtime,
    stage: str,
) -> Gathered:
    """Compute or fetch the features of all usable photos; see `extract`.

    Args:
        manifest: As scanned.
        config: Limits of what is decoded, and how views are pooled.
        extractors: By name.
        runtime: Where, and where they are kept.
        stage: What the user is told.
    """
    return gather_rows(manifest, manifest.usable, config, extractors, runtime, stage)


def gather_rows(
    manifest: Manifest,
    rows: NDArray[np.intp],
    config: Config,
    extractors: Mapping[str, FeatureExtractor],
    runtime: Runtime,
    stage: str,
) -> Gathered:
    """`gather_features` of some rows of the manifest."""
    compute = (
        partial(extract_features, n_threads=runtime.n_jobs)
        if runtime.cluster is None or runtime.is_local
        else partial(extract_on_cluster, cluster=runtime.cluster)
    )
    with ExitStack() as stack:
        store = None
        if runtime.cache_dir is not None:
            store = stack.enter_context(FeatureStore(runtime.cache_dir / FEATURES))
        return gather(
            partial(compute, store=store, limits=config.data.limits, check_contents=True),
            Files(manifest, rows),
            np.array(manifest.feature_ids)[rows].tolist(),
            list(extractors.values()),
            {name: pooling_of(config, name) for name in extractors},
            progress=runtime.progress.stage(stage),
        )


def counts(manifest: Manifest) -> dict[str, Any]:
    """Files by status, usable photos by class, and row groups among them; JSON values."""
    rows = manifest.usable
    return {
        "files": len(manifest),
        "status": dict(sorted(Counter(manifest.status.tolist()).items())),
        "classes": dict(sorted(Counter(manifest.label[rows].tolist()).items())),
        "row_groups": len(set(manifest.row_group[rows].tolist())),
        "test": int(np.sum(manifest.fold[rows] == TEST_FOLD)),
    }


def mark_unreadable(manifest: Manifest, rows: NDArray[np.intp], errors: Mapping[int, ImageError]) -> Manifest:
    """The manifest with the reasons why rows could not be read after the scan, by their position in `rows`."""
    if not errors:
        return manifest
    status, reason = manifest.status.tolist(), manifest.reason.tolist()
    for position, error in errors.items():
        status[rows[position]] = Status.UNREADABLE.value
        reason[rows[position]] = str(error)
    return manifest.replace(status=status, reason=reason)
