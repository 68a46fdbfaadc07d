"""The manifest: a table with a row for every photo file, the unreadable ones included."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.decoding import DECODER_VERSION, heif_version, is_decoded_as_before
from ensemble_minerals.data.formats import HEIF
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.atomic import atomic_file, user_errors
from ensemble_minerals.system.csv_file import unescaped, write_csv


class Status(StrEnum):
    """Whether a row is used, or why it is not."""

    OK = "ok"
    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    CONTAMINATED = "contaminated"
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
    "corrected": _TEXT,
}
_LATER = ("corrected",)
"""Columns that manifests of earlier versions lack."""
_RANGES = {
    name: (0 if name in ("width", "height") else int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for name, dtype in _COLUMNS.items()
    if dtype is not _TEXT
}


@dataclass(frozen=True, eq=False)
class Manifest:
    """The photo files of a data set, a row for each. The columns have the same length and are read-only.

    Attributes:
        image_id: Digest of the file's bytes; empty if they were not read.
        path: Path relative to `root`, with forward slashes.
        label: Class name.
        given_group: Group in the user's CSV; empty for none.
        split: ``"train"``, ``"test"`` or empty, as in the user's CSV.
        row_group: Number of the row group, which is never divided between folds; -1 if not set yet.
        fold: Cross-validation fold, `NO_FOLD` if not set yet; or `TEST_FOLD` or `TRAINING_FOLD`.
        status: Value of a `Status`.
        reason: Why the status is not ok; empty if it is.
        width: Width in pixels, upright; 0 for a file that was not read.
        height: Height in pixels.
        format: Format of the file, for instance ``"JPEG"``.
        mode: Pillow's mode of the file, for instance ``"RGB"``.
        pixel_hash: Digest of the decoded pixels.
        phash: Perceptual hash, 64 bits; 0 for a file that was not read.
        phash_mirrored: Perceptual hash of the mirrored image.
        corrected: Label that the row had before corrections changed it; empty where they did not.
        root: Folder that the paths are relative to.
        warnings: What the user should know about the data, one sentence each. They are not saved.
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
    corrected: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))

    def __post_init__(self) -> None:
        for name, dtype in _COLUMNS.items():
            values = getattr(self, name)
            if name in _LATER and not len(values):
                values = np.full(len(self.path), "")
            column = values if _is_column(values, dtype) else np.array(values, dtype=dtype)
            if column.shape != (len(self.path),):
                raise ValueError(f"column {name} has shape {column.shape}, path has {len(self.path)} rows")
            column.setflags(write=False)
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.path)

    def replace(self, **columns: Any) -> Manifest:
        """A copy in which some columns, the root or the warnings are replaced."""
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

    @property
    def feature_ids(self) -> list[str]:
        """What the features of each row are stored under: its image id, marked by the decoder where that matters.

        Features of what an older decoder made of a file are not found, see `is_decoded_as_before`. Extractors know
        the version of Pillow, but not that of what decodes HEIC.
        """
        return [
            f"{image_id}{_mark(*form)}"
            for image_id, *form in zip(
                self.image_id.tolist(),
                self.format.tolist(),
                self.mode.tolist(),
                self.width.tolist(),
                self.height.tolist(),
                strict=True,
            )
        ]

    def file(self, row: int) -> Path:
        """Path of a row's file."""
        return self.root / str(self.path[row])

    def write_csv(self, path: Path) -> None:
        """Save the columns as UTF-8 CSV; the file appears whole or not at all.

        Raises:
            UserError: If it cannot be written.
        """
        columns = [
            [f"{bits:016x}" for bits in getattr(self, name).tolist()]
            if dtype is np.uint64
            else getattr(self, name).tolist()
            for name, dtype in _COLUMNS.items()
        ]
        with user_errors(path), atomic_file(path) as draft:
            write_csv(draft, _COLUMNS, zip(*columns, strict=True))

    @classmethod
    def parse_csv(cls, lines: Iterable[str], path: Path, root: Path) -> Manifest:
        """Load what `write_csv` saved from its lines.

        Args:
            lines: Of the CSV, with their ends.
            path: Where they come from, for messages.
            root: Folder that the paths in it are relative to.

        Raises:
            DataError: If it is incomplete or damaged.
        """
        try:
            rows = list(csv.reader(lines, strict=True))
        except csv.Error as error:
            raise DataError(f"the manifest {path} is damaged: {error}; make it anew") from error
        header = rows[0] if rows else []
        missing = [name for name in _COLUMNS if name not in (*header, *_LATER)]
        if missing:
            raise DataError(f"the manifest {path} lacks the columns {', '.join(missing)}; make it anew")
        columns: dict[str, Any] = {name: [] for name in _COLUMNS if name in header}
        for number, row in enumerate(rows[1:], start=2):
            try:
                for name, cell in zip(header, row, strict=True):
                    if name in columns:
                        columns[name].append(_parse(name, cell))
            except ValueError as error:
                raise DataError(f"row {number} of the manifest {path} is damaged: {error}") from error
        return cls(root=root, **columns)


@dataclass(frozen=True)
class Files(Sequence[Path]):
    """Files of manifest rows; a path is made when it is needed."""

    manifest: Manifest
    rows: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self.manifest.file(row) for row in self.rows[index].tolist()]
        return self.manifest.file(int(self.rows[index]))


def _is_column(column: Any, dtype: Any) -> bool:
    """Whether an array is a column of another manifest: it is read-only then, and need not be copied."""
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
    if dtype is _TEXT:
        if "\0" in cell:
            raise ValueError(f"{name} holds the character NUL")
        return unescaped(cell)
    number = int(cell, 16 if dtype is np.uint64 else 10)
    least, most = _RANGES[name]
    if not least <= number <= most:
        raise ValueError(f"{name} is {cell}")
    return number


def _mark(file_format: str, mode: str, width: int, height: int) -> str:
    if file_format == HEIF:
        return f":heif-{heif_version()}"
    return "" if is_decoded_as_before(file_format, mode, width, height) else f":{DECODER_VERSION}"
