"""The table of photos: one row a file, whatever became of it."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray

from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.data.hashing import Fingerprint, ScanCache, fingerprint
from ensemble_minerals.data.listing import Listing, check_classes, list_photos
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.atomic import atomic_file
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

__all__ = ["FEW_PHOTOS", "Manifest", "ScanCache", "Status", "scan"]

FEW_PHOTOS = 20
"""A class with fewer usable photos than this is worth a warning."""

_AHEAD = 8  # files waiting for each thread


class Status(StrEnum):
    """What became of a row."""

    OK = "ok"
    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    EXCLUDED = "excluded"


_TEXT: Any = np.str_
_COLUMNS: dict[str, Any] = {
    "image_id": _TEXT,
    "path": _TEXT,
    "label": _TEXT,
    "given_group": _TEXT,
    "split": _TEXT,
    "row_group": np.int64,
    "fold": np.int64,
    "status": _TEXT,
    "reason": _TEXT,
    "width": np.int64,
    "height": np.int64,
    "format": _TEXT,
    "mode": _TEXT,
    "pixel_hash": _TEXT,
    "phash": np.uint64,
    "phash_mirrored": np.uint64,
}


@dataclass(frozen=True, eq=False)
class Manifest:
    """The photos of a data set, one row a file; columns of equal length, read-only.

    Attributes:
        image_id: Digest of the file's bytes; empty where it was not or could not be read.
        path: Path relative to `root`, with forward slashes.
        label: Class name.
        given_group: Group named by the user's CSV; empty for none.
        split: ``"train"``, ``"test"`` or empty, as named by the user's CSV.
        row_group: Rows of one row group stay together in every split; -1 while unset.
        fold: Cross-validation fold; -1 while unset. Less than that: of a part by itself, see `dataset.split`.
        status: A `Status`.
        reason: Why the status is not ok; empty otherwise.
        width: Width in pixels, upright; 0 for a file that was not read.
        height: Height in pixels.
        format: Format of the file, for instance ``"JPEG"``.
        mode: Pillow's mode of the file, for instance ``"RGB"``.
        pixel_hash: Digest of the decoded pixels.
        phash: Perceptual hash, 64 bits; 0 for a file that was not read.
        phash_mirrored: Perceptual hash of the mirrored picture.
        root: Folder that the paths are relative to.
        warnings: What the user should know about the data, one sentence each; not part of the CSV.
    """

    image_id: NDArray[np.str_]
    path: NDArray[np.str_]
    label: NDArray[np.str_]
    given_group: NDArray[np.str_]
    split: NDArray[np.str_]
    row_group: NDArray[np.int64]
    fold: NDArray[np.int64]
    status: NDArray[np.str_]
    reason: NDArray[np.str_]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    format: NDArray[np.str_]
    mode: NDArray[np.str_]
    pixel_hash: NDArray[np.str_]
    phash: NDArray[np.uint64]
    phash_mirrored: NDArray[np.uint64]
    root: Path
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, dtype in _COLUMNS.items():
            given = getattr(self, name)
            column = given if _is_ours(given, dtype) else np.array(given, dtype=dtype)
            if column.shape != (len(self.path),):
                raise ValueError(f"column {name} has shape {column.shape}, path has {len(self.path)} rows")
            column.setflags(write=False)
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.path)

    def replace(self, **columns: Any) -> Manifest:
        """A copy with some columns (or root, or warnings) replaced."""
        return dataclasses.replace(self, **columns)

    @property
    def usable(self) -> NDArray[np.intp]:
        """Rows with status ok, ascending."""
        return np.flatnonzero(self.status == Status.OK.value)

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of the usable rows, sorted."""
        return tuple(sorted(set(self.label[self.usable].tolist())))

    @property
    def digest(self) -> str:
        """BLAKE2b over the image ids and labels of all rows in order, 32 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=16)
        for image_id, label in zip(self.image_id.tolist(), self.label.tolist(), strict=True):
            digest.update(f"{image_id}\0{label}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def file(self, row: int) -> Path:
        """Where the file of a row is."""
        return self.root / str(self.path[row])

    def write_csv(self, path: Path) -> None:
        """Save the columns as UTF-8 CSV; the file appears whole or not at all.

        Raises:
            DataError: If it cannot be written.
        """
        columns = [
            [f"{bits:016x}" for bits in getattr(self, name).tolist()]
            if dtype is np.uint64
            else getattr(self, name).tolist()
            for name, dtype in _COLUMNS.items()
        ]
        try:
            # A file name that is no UTF-8 has stray bytes, which pass through as they are.
            with (
                atomic_file(path) as draft,
                draft.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
            ):
                writer = csv.writer(file)
                writer.writerow(_COLUMNS)
                writer.writerows(zip(*columns, strict=True))
        except OSError as error:
            raise DataError(f"the manifest {path} cannot be written: {error.strerror}") from error

    @classmethod
    def read_csv(cls, path: Path, root: Path) -> Manifest:
        """Load what `write_csv` saved.

        Args:
            path: The CSV.
            root: Folder that the paths in it are relative to.

        Raises:
            DataError: If it is absent, incomplete or damaged.
        """
        try:
            with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                rows = list(csv.reader(file, strict=True))
        except OSError as error:
            raise DataError(f"the manifest {path} cannot be opened: {error.strerror}") from error
        except csv.Error as error:
            raise DataError(f"the manifest {path} is damaged: {error}; make it anew") from error
        header = rows[0] if rows else []
        missing = [name for name in _COLUMNS if name not in header]
        if missing:
            raise DataError(f"the manifest {path} lacks the columns {', '.join(missing)}; make it anew")
        columns: dict[str, Any] = {name: [] for name in _COLUMNS}
        for number, row in enumerate(rows[1:], start=2):
            try:
                for name, cell in zip(header, row, strict=True):
                    if name in columns:
                        columns[name].append(_parse(name, cell))
            except ValueError as error:
                raise DataError(f"row {number} of the manifest {path} is damaged: {error}") from error
        return cls(root=root, **columns)


def _is_ours(column: Any, dtype: Any) -> bool:
    """Whether it is a column of another manifest, which nobody can write to: it need not be copied."""
    return (
        isinstance(column, np.ndarray)
        and np.issubdtype(column.dtype, dtype)
        and column.flags.owndata
        and not column.flags.writeable
    )


def _parse(name: str, cell: str) -> str | int:
    if name == "status":
        return Status(cell).value
    dtype = _COLUMNS[name]
    if dtype is np.uint64:
        return int(cell, 16)
    return int(cell) if dtype is np.int64 else cell


def scan(
    data: Path,
    *,
    classes: Sequence[str] | None = None,
    n_jobs: int = 1,
    cache: ScanCache | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Read a folder or a CSV of photos; every file becomes a row, sorted by path.

    Args:
        data: Folder with one sub-folder a class, or CSV (see `listing.list_photos`).
        classes: Classes to use, None for all; rows of the others are excluded and their files not opened.
        n_jobs: Threads, counted as joblib does (-1: one a processor); the result does not depend on it.
        cache: Fingerprints of earlier scans.
        limits: Sizes of the photos that are decoded.
        progress: Called with (files done, files in all) after each file, in this thread.

    Returns:
        The manifest, row groups and folds unset.

    Raises:
        DataError: If there is nothing to use, with the way out.
    """
    listing = list_photos(data)
    chosen = set(listing.classes if classes is None else check_classes(classes, listing.classes))
    wanted = [entry.label in chosen for entry in listing.entries]
    files = [listing.root / e.path for e, use in zip(listing.entries, wanted, strict=True) if use]

    def look(file: Path) -> Fingerprint:
        return fingerprint(file, limits=limits, cache=cache)

    seen: list[Fingerprint] = []
    for found in _in_order(look, files, effective_n_jobs(n_jobs)):
        seen.append(found)
        if progress is not None:
            progress(len(seen), len(files))
    remaining = iter(seen)
    prints = [next(remaining) if use else Fingerprint("", reason="class not chosen") for use in wanted]
    status = [
        (Status.UNREADABLE if made.reason else Status.OK) if use else Status.EXCLUDED
        for made, use in zip(prints, wanted, strict=True)
    ]
    return _assemble(listing, prints, [one.value for one in status], sorted(chosen))


def _in_order(
    look: Callable[[Path], Fingerprint], files: Sequence[Path], n_threads: int
) -> Iterator[Fingerprint]:
    """Results in the order of the files; an interruption does not wait for the files not begun."""
    if n_threads == 1:
        yield from map(look, files)
        return
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix="scan")
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        remaining = iter(files)
        waiting = deque(pool.submit(look, file) for file in islice(remaining, _AHEAD * n_threads))
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(pool.submit(look, file) for file in islice(remaining, 1))
            yield found


def _assemble(
    listing: Listing, prints: Sequence[Fingerprint], status: Sequence[str], chosen: Sequence[str]
) -> Manifest:
    columns: dict[str, Any] = {
        field.name: [getattr(made, field.name) for made in prints]
        for field in dataclasses.fields(Fingerprint)
    }
    columns["path"], columns["label"], columns["given_group"], columns["split"] = zip(
        *listing.entries, strict=True
    )
    usable = Counter(
        entry.label for entry, one in zip(listing.entries, status, strict=True) if one == Status.OK
    )
    warnings = list(listing.warnings)
    unreadable = status.count(Status.UNREADABLE.value)
    if unreadable:
        warnings.append(f"{unreadable} of {len(status)} files cannot be read; their rows say why")
    for name in chosen:
        if usable[name] == 0:
            warnings.append(f"class {name!r} has no readable photo")
        elif usable[name] < FEW_PHOTOS:
            photos = "photo" if usable[name] == 1 else "photos"
            warnings.append(
                f"class {name!r} has {usable[name]} readable {photos}; below {FEW_PHOTOS} the results of a class "
                "are uncertain"
            )
    return Manifest(
        **columns,
        row_group=np.full(len(prints), -1),
        fold=np.full(len(prints), NO_FOLD),
        status=np.array(status),
        root=listing.root,
        warnings=tuple(warnings),
    )
