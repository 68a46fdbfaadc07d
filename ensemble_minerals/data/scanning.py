"""Reading a data set once: every file becomes a row of the manifest, whatever became of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from joblib import effective_n_jobs

from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.data.hashing import Fingerprint, ScanCache, fingerprint
from ensemble_minerals.data.labels import check_classes
from ensemble_minerals.data.listing import Listing, list_photos
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.photo_table import Entry
from ensemble_minerals.system.prefetch import prefetch
from ensemble_minerals.system.progress import StageProgress
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits, Runtime

SCANS = "scans.sqlite"
"""File in the cache folder: scans of photos."""

FEW_PHOTOS = 20
"""A class with fewer usable photos than this is worth a warning."""

_AHEAD = 8  # files waiting for each thread


def scan(
    data: Path,
    *,
    classes: Sequence[str] | None = None,
    expected: Sequence[str] = (),
    n_jobs: int = 1,
    cache: ScanCache | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    added: Sequence[Entry] = (),
    progress: StageProgress | None = None,
) -> Manifest:
    """Read a folder or a CSV of photos; every file becomes a row, sorted by path.

    Args:
        data: Folder with one sub-folder for each class, or a CSV; see `list_photos`.
        classes: Classes to use, None for all. Rows of the others are excluded, and their files are not opened.
        expected: Class names that are known but not chosen, where folders could be classes or parts.
        n_jobs: Threads, counted as joblib does (-1: one for each processor). The result does not depend on it.
        cache: Fingerprints of earlier scans.
        limits: Sizes of the photos that are decoded.
        added: Photos from elsewhere that are read, too; their paths are absolute.
        progress: Called in this thread after each file, with (files done, all files).

    Returns:
        The manifest. Row groups and folds are not set yet.

    Raises:
        DataError: If there is nothing to use, with the way out.
    """
    listing = list_photos(data, classes or expected)
    if added:
        listing = dataclasses.replace(listing, entries=tuple(sorted((*listing.entries, *added))))
    chosen = set(listing.classes if classes is None else check_classes(classes, listing.classes))
    is_chosen = [entry.label in chosen for entry in listing.entries]
    paths = [entry.path for entry, use in zip(listing.entries, is_chosen, strict=True) if use]

    def read_path(path: str) -> Fingerprint:
        return fingerprint(listing.root / path, limits=limits, cache=cache)

    read = _in_order(read_path, paths, effective_n_jobs(n_jobs))
    fingerprints: list[Fingerprint] = []
    done = 0
    for use in is_chosen:
        if not use:
            fingerprints.append(Fingerprint("", reason="class not chosen"))
            continue
        fingerprints.append(next(read))
        done += 1
        if progress is not None:
            progress(done, len(paths))
    status = [
        (Status.UNREADABLE if one.reason else Status.OK) if use else Status.EXCLUDED
        for one, use in zip(fingerprints, is_chosen, strict=True)
    ]
    warnings = (*listing.warnings, *_warnings(listing, status, sorted(chosen)))
    return _assemble(listing, fingerprints, status, warnings)


def scan_with_cache(
    data: Path,
    runtime: Runtime,
    *,
    classes: Sequence[str] | None = None,
    expected: Sequence[str] = (),
    limits: DecodeLimits,
    added: Sequence[Entry] = (),
) -> Manifest:
    """`scan`, with the threads, the progress and the cache folder of a job.

    Args:
        data: See `scan`.
        runtime: Fingerprints are kept in its cache folder, if it has one.
        classes: See `scan`.
        expected: See `scan`.
        limits: Sizes of the photos that are decoded.
        added: See `scan`.

    Raises:
        DataError: If there is nothing to use.
    """
    folder = runtime.cache_dir
    with nullcontext() if folder is None else ScanCache(folder / SCANS) as cache:
        return scan(
            data,
            classes=classes,
            expected=expected,
            n_jobs=runtime.n_jobs,
            cache=cache,
            limits=limits,
            added=added,
            progress=runtime.progress.stage("Reading photos"),
        )


def scan_files(files: Sequence[Path], runtime: Runtime, *, limits: DecodeLimits) -> Manifest:
    """Read photos that have no label; see `scan`.

    Args:
        files: The photos.
        runtime: Fingerprints are kept in its cache folder, if it has one.
        limits: Sizes of the photos that are decoded.
    """
    listing = Listing(Path(), tuple(Entry(file.absolute().as_posix(), "") for file in files), ())
    folder = runtime.cache_dir
    progress = runtime.progress.stage("Reading photos")
    fingerprints: list[Fingerprint] = []
    with nullcontext() if folder is None else ScanCache(folder / SCANS) as cache:

        def read_path(path: str) -> Fingerprint:
            return fingerprint(Path(path), limits=limits, cache=cache)

        for one in _in_order(read_path, [entry.path for entry in listing.entries], runtime.n_jobs):
            fingerprints.append(one)
            progress(len(fingerprints), len(files))
    status = [Status.UNREADABLE if one.reason else Status.OK for one in fingerprints]
    return _assemble(listing, fingerprints, status, ())


def _in_order(
    read: Callable[[str], Fingerprint], paths: Sequence[str], n_threads: int
) -> Iterator[Fingerprint]:
    """Results in the order of the paths. An interruption does not wait for files that were not begun."""
    if n_threads == 1:
        yield from map(read, paths)
        return
    with closing(
        prefetch(read, paths, n_threads=n_threads, ahead=_AHEAD * n_threads, name="scan")
    ) as fingerprints:
        yield from fingerprints


def _warnings(listing: Listing, status: Sequence[Status], chosen: Sequence[str]) -> Iterator[str]:
    """Sentences about unreadable files, and about classes with few photos."""
    unreadable = status.count(Status.UNREADABLE)
    if unreadable:
        yield f"{unreadable} of {len(status)} files cannot be read; their rows say why"
    usable = Counter(
        entry.label for entry, one in zip(listing.entries, status, strict=True) if one == Status.OK
    )
    yield from (f"class {name!r} has no readable photo" for name in chosen if not usable[name])
    yield from few_photos({name: usable[name] for name in chosen if usable[name]}, "readable photos")


def few_photos(counts: Mapping[str, int], photos: str) -> Iterator[str]:
    """A sentence that names the classes with fewer than `FEW_PHOTOS`, if there are any.

    >>> print(*few_photos({"azurite": 3, "pyrite": 30}, "readable photos"))
    below 20 readable photos what a class reaches is uncertain: 'azurite' has 3
    """
    few = [f"{name!r} has {count}" for name, count in counts.items() if count < FEW_PHOTOS]
    if few:
        yield f"below {FEW_PHOTOS} {photos} what a class reaches is uncertain: {', '.join(few)}"


def _assemble(
    listing: Listing, fingerprints: Sequence[Fingerprint], status: Sequence[Status], warnings: tuple[str, ...]
) -> Manifest:
    columns: dict[str, Any] = {
        field.name: [getattr(one, field.name) for one in fingerprints]
        for field in dataclasses.fields(Fingerprint)
    }
    columns["path"], columns["label"], columns["given_group"], columns["split"] = zip(
        *listing.entries, strict=True
    )
    return Manifest(
        **columns,
        row_group=np.full(len(fingerprints), -1),
        fold=np.full(len(fingerprints), NO_FOLD),
        status=np.array([one.value for one in status]),
        root=listing.root,
        warnings=warnings,
    )
