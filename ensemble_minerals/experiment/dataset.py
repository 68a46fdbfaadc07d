"""A folder of photos brought to rows: scanned, turned into features, grouped by likeness, split into folds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.folds import (
    HOLDOUT_FOLD,
    NO_FOLD,
    TEST_FOLD,
    TRAINING_FOLD,
    assign_folds,
    hold_out,
)
from ensemble_minerals.data.manifest import Manifest, ScanCache, Status, scan
from ensemble_minerals.data.same_object.groups import DuplicateReport, find_duplicates
from ensemble_minerals.errors import DataError
from ensemble_minerals.features.distributed import extract_on_cluster
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.pooling import gather
from ensemble_minerals.features.registry import build_extractors, pooling_of
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system.memmap import take
from ensemble_minerals.system.parallel import Cluster
from ensemble_minerals.system.progress import Progress, Silent

FloatMatrix = NDArray[np.floating[Any]]

SCANS = "scans.sqlite"
"""What was found in photos, in the cache folder."""

FEATURES = "features.sqlite"
"""What was computed of them, likewise."""


@dataclass(frozen=True)
class Dataset:
    """Photos as rows.

    Attributes:
        manifest: One row a file; row groups and, after `split`, folds are filled in.
        duplicates: What was found alike, in positions of `compared`.
        compared: Manifest rows that were compared: the readable ones.
        features: For each source (n_compared, n_features), views pooled.
        extractors: The sources, ready to answer for more photos.
        seconds: Time of ``scan`` and ``features``.
    """

    manifest: Manifest
    duplicates: DuplicateReport
    compared: NDArray[np.intp]
    features: dict[str, FloatMatrix]
    extractors: dict[str, FeatureExtractor]
    seconds: dict[str, float]

    def rows(self) -> NDArray[np.intp]:
        """Manifest rows to learn from: usable, and not of the test part."""
        usable = self.manifest.usable
        kept: NDArray[np.intp] = usable[self.manifest.fold[usable] != TEST_FOLD]
        return kept

    def test_rows(self) -> NDArray[np.intp]:
        """Manifest rows of the untouched test part."""
        usable = self.manifest.usable
        kept: NDArray[np.intp] = usable[self.manifest.fold[usable] == TEST_FOLD]
        return kept

    def blocks(self, rows: NDArray[np.intp]) -> dict[str, FloatMatrix]:
        """Feature matrices of manifest rows, by source name."""
        position = np.full(len(self.manifest), -1, dtype=np.intp)
        position[self.compared] = np.arange(len(self.compared))
        return {name: take(matrix, position[rows]) for name, matrix in self.features.items()}


@dataclass(frozen=True)
class _Files(Sequence[Path]):
    """Files of manifest rows; a path is made when it is asked for."""

    manifest: Manifest
    rows: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Path: ...

    @overload
    def __getitem__(self, place: slice) -> list[Path]: ...

    def __getitem__(self, place: int | slice) -> Path | list[Path]:
        if isinstance(place, slice):
            return [self.manifest.file(row) for row in self.rows[place].tolist()]
        return self.manifest.file(int(self.rows[place]))


@dataclass(frozen=True)
class Scan:
    """Photos that were read, before anything was computed of them.

    Attributes:
        manifest: One row a file.
        seconds: Time it took.
        extractors: Sources of features that have been opened since, to estimate what they take.
        trial_seconds: Time that took.
    """

    manifest: Manifest
    seconds: float
    extractors: Mapping[str, FeatureExtractor] = field(default_factory=dict)
    trial_seconds: float = 0.0


def scan_photos(
    data: Path, config: Config, *, cache_dir: Path | None, n_threads: int, progress: Progress
) -> Scan:
    """Read the photos; see `load_dataset`, which goes on from here."""
    started = time.perf_counter()
    with ExitStack() as stack:
        cache = None
        if cache_dir is not None:
            cache_dir.mkdir(parents=True, exist_ok=True)
            cache = stack.enter_context(ScanCache(cache_dir / SCANS))
        manifest = scan(
            data,
            classes=config.classes,
            n_jobs=n_threads,
            cache=cache,
            limits=config.data.limits,
            progress=progress.stage("Reading photos"),
        )
    for warning in manifest.warnings:
        progress.note(warning)
    return Scan(manifest, time.perf_counter() - started)


def load_dataset(
    data: Path,
    config: Config,
    extractors: Iterable[str],
    *,
    cache_dir: Path | None = None,
    n_threads: int = 1,
    progress: Progress | None = None,
    found: Scan | None = None,
    cluster: Cluster | None = None,
) -> Dataset:
    """Scan photos, extract the features of the named sources, and find what is alike.

    Args:
        data: Folder with one sub-folder a class, or CSV.
        config: Limits, backbones and thresholds.
        extractors: Names of the sources whose features are wanted; the first backbone among them confirms
            near-duplicates.
        cache_dir: Where fingerprints, features and converted networks are kept between runs.
        n_threads: Threads that decode.
        progress: Told of progress.
        found: The photos, where they have been read already.
        cluster: Whose workers compute the features, if it is not this machine.

    Raises:
        DataError: If there are no photos, or fewer than two classes.
        WeightsError: If a backbone's weights cannot be had.
    """
    progress = Silent() if progress is None else progress
    if found is None:
        found = scan_photos(data, config, cache_dir=cache_dir, n_threads=n_threads, progress=progress)
    manifest, started = found.manifest, time.perf_counter()
    readable = manifest.usable
    built = build_extractors(config, extractors, cache_dir=cache_dir)
    built |= {name: extractor for name, extractor in found.extractors.items() if name in built}
    extract = (
        partial(extract_features, n_threads=n_threads)
        if cluster is None or cluster.is_local
        else partial(extract_on_cluster, n_jobs=cluster.n_cores)
    )
    with ExitStack() as stack:
        store = None
        if cache_dir is not None:
            store = stack.enter_context(FeatureStore(cache_dir / FEATURES))
        gathered = gather(
            partial(
                extract,
                store=store,
                limits=config.data.limits,
                check_contents=True,
            ),
            _Files(manifest, readable),
            manifest.image_id[readable].tolist(),
            list(built.values()),
            {name: pooling_of(config, name) for name in built},
            progress=progress.stage("Computing features"),
        )
    manifest, compared = _drop_unreadable(manifest, readable, gathered.errors)
    kept = np.flatnonzero(np.isin(readable, compared))
    features = {name: take(values, kept) for name, values in gathered.features.items()}
    embeddings = None if gathered.embeddings is None else take(gathered.embeddings, kept)
    seconds = {"scan": found.seconds, "features": found.trial_seconds + time.perf_counter() - started}
    report = _find_alike(manifest, compared, config, embeddings)
    manifest = _mark(manifest, compared, report, config)
    return Dataset(manifest, report, compared, features, built, seconds)


def split(dataset: Dataset, config: Config) -> Dataset:
    """Put the test part aside and assign folds, by row groups.

    With one fold what is put aside is fold 0, the only one that is predicted, and the rest is only trained on.

    Raises:
        DataError: If nothing usable is left, or a class has fewer row groups than folds.
    """
    manifest = dataset.manifest
    if not dataset.compared.size:
        raise DataError(
            f"{manifest.root}: no photo could be read; `ensemble-minerals inspect` lists the reasons"
        )
    rows = manifest.usable
    labels, groups = manifest.label[rows], manifest.row_group[rows]
    if len(set(labels.tolist())) < 2:
        raise DataError(
            f"{'only one class has' if rows.size else 'no class has'} usable photos"
            f"{f' ({labels[0]})' if rows.size else ''}; at least two are needed, and of {len(manifest)} files "
            f"{_by_status(manifest)}"
        )
    aside = np.zeros(len(rows), dtype=bool)
    named = manifest.split == "test"
    if named[rows].any():
        # A group goes whole: its other rows would give the answer away. A test photo whose exact copy stands
        # among the others is set aside itself, and takes the copy with it all the same.
        aside = np.isin(groups, manifest.row_group[named])
        untrained = sorted(set(labels[aside].tolist()) - set(labels[~aside].tolist()))
        if untrained:
            raise DataError(
                f"all usable photos of {', '.join(map(repr, untrained))} are of the test part, or look like one "
                "that is; leave some of each class to learn from"
            )
    elif config.folds.holdout > 0:
        aside = hold_out(labels, groups, fraction=config.folds.holdout, seed=config.seed)
    fold = np.full(len(manifest), NO_FOLD, dtype=np.int64)
    once = config.folds.n_splits == 1
    fold[rows[aside]] = HOLDOUT_FOLD if once else TEST_FOLD
    fold[rows[~aside]] = (
        TRAINING_FOLD
        if once
        else assign_folds(labels[~aside], groups[~aside], n_splits=config.folds.n_splits, seed=config.seed)
    )
    changed = manifest.replace(fold=fold)
    return Dataset(
        changed, dataset.duplicates, dataset.compared, dataset.features, dataset.extractors, dataset.seconds
    )


def _drop_unreadable(
    manifest: Manifest, readable: NDArray[np.intp], errors: dict[int, Any]
) -> tuple[Manifest, NDArray[np.intp]]:
    """A file that changed or vanished since the scan keeps its row, with the reason."""
    if not errors:
        return manifest, readable
    status, reason = manifest.status.tolist(), manifest.reason.tolist()
    for position, error in errors.items():
        status[readable[position]] = Status.UNREADABLE.value
        reason[readable[position]] = str(error)
    lost = np.array(sorted(errors), dtype=np.intp)
    return manifest.replace(status=status, reason=reason), np.delete(readable, lost)


def _find_alike(
    manifest: Manifest, rows: NDArray[np.intp], config: Config, embeddings: FloatMatrix | None
) -> DuplicateReport:
    limits = config.duplicates
    return find_duplicates(
        pixel_hash=manifest.pixel_hash[rows],
        phash=manifest.phash[rows],
        phash_mirrored=manifest.phash_mirrored[rows],
        labels=manifest.label[rows],
        embeddings=embeddings if limits.near else None,
        given_groups=manifest.given_group[rows],
        hash_distance=limits.hash_distance,
        hash_cosine=limits.hash_cosine,
        cosine=limits.cosine,
        conflict_hash_distance=limits.conflict_hash_distance,
        conflict_cosine=limits.conflict_cosine,
    )


def _mark(manifest: Manifest, rows: NDArray[np.intp], report: DuplicateReport, config: Config) -> Manifest:
    """Write row groups, set exact copies aside, quarantine conflicts."""
    status, reason = manifest.status.tolist(), manifest.reason.tolist()
    group = np.full(len(manifest), NO_FOLD, dtype=np.int64)
    group[rows] = report.row_group
    if config.duplicates.exact == "drop":
        for position in report.copies.tolist():
            status[rows[position]] = Status.DUPLICATE.value
            reason[rows[position]] = "exact copy of an earlier photo of the same class"
    for position in report.conflicts.tolist():
        status[rows[position]] = Status.CONFLICT.value
        reason[rows[position]] = "the same picture stands under another class too"
    return manifest.replace(status=status, reason=reason, row_group=group)


def _by_status(manifest: Manifest) -> str:
    found = Counter(manifest.status.tolist())
    return ", ".join(f"{number} are {status}" for status, number in sorted(found.items()))


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
