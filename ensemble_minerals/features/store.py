"""Stored features: what was computed once is not computed again.

One SQLite file on a local disk. The key of a photo's features is the digest of its content and the fingerprint of the
extractor, so neither a renamed file nor a changed configuration can fetch the wrong ones. A write is complete or
absent whenever the program is killed, and several threads and processes may use one file.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.features.extractor import JSON
from ensemble_minerals.system.database import Database

# Change the number with the tables: a store of another number is refused, and features are computed anew.
SCHEMA = 1
_APPLICATION = 0x656D6673  # "emfs", marks the file as a feature store of ours
_TABLES = """
CREATE TABLE sources (
    source INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    facts TEXT NOT NULL,
    dtype TEXT NOT NULL,
    n_views INTEGER NOT NULL,
    n_features INTEGER NOT NULL
);
CREATE TABLE features (
    entry INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources,
    image_id TEXT NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (source, image_id)
);
"""
_DTYPE = np.dtype("<f4")
_IDS_A_QUERY = 500  # below the limit of variables of any SQLite
_BYTES_A_WRITE = 32_000_000


@dataclass(frozen=True)
class StoredExtractor:
    """What a store holds of one extractor.

    Attributes:
        fingerprint: Digest of the metadata.
        metadata: What the features are.
        shape: (n_views, n_features) of each photo.
        n_entries: Number of photos.
        n_bytes: Bytes of their features.
    """

    fingerprint: str
    metadata: Mapping[str, JSON]
    shape: tuple[int, int]
    n_entries: int
    n_bytes: int


class FeatureStore:
    """Features by image id and fingerprint of the extractor, kept in one file.

    An object may be shared by threads, and goes to other processes by pickle or fork.

    Args:
        path: The file; made if it is not there. Not on a network file system.
        timeout: Seconds to wait for another process that is writing.

    Raises:
        UserError: If the file cannot be opened, is no feature store, or has another schema.

    Example:
        >>> import tempfile
        >>> with FeatureStore(Path(tempfile.mkdtemp()) / "features.sqlite") as store:
        ...     store.put(["photo"], "fingerprint", np.ones((1, 1, 3), dtype=np.float32))
        ...     store.contains(["photo", "other"], "fingerprint")
        array([ True, False])
    """

    def __init__(self, path: Path, *, timeout: float = 60.0) -> None:
        self.path = path
        self._database = Database(
            path, tables=_TABLES, application=_APPLICATION, schema=SCHEMA, timeout=timeout
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()

    def contains(self, image_ids: Sequence[str], fingerprint: str) -> NDArray[np.bool_]:
        """Which photos' features are stored, shape (n,)."""
        stored = np.zeros(len(image_ids), dtype=bool)
        positions = _positions(image_ids)
        with self._database.connected() as connection:
            extractor, _ = _extractor(connection, fingerprint)
            for (image_id,) in _entries(connection, "image_id", extractor, positions):
                stored[positions[image_id]] = True
        return stored

    def get(
        self, image_ids: Sequence[str], fingerprint: str
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Fetch features.

        Args:
            image_ids: Digests of the photos' contents, n of them; repeats are allowed.
            fingerprint: Of the extractor.

        Returns:
            Which are stored, shape (n,), and their features, (n_stored, n_views, n_features), in order. Of an
            extractor that the store does not know, the latter have shape (0, 0, 0).
        """
        with self._database.connected() as connection:
            _, shape = _extractor(connection, fingerprint)
        features = np.empty((len(image_ids), *shape), dtype=np.float32)
        stored = self.get_into(features, image_ids, fingerprint)
        return stored, features if stored.all() else features[stored]

    def get_into(
        self, out: NDArray[np.float32], image_ids: Sequence[str], fingerprint: str
    ) -> NDArray[np.bool_]:
        """Fetch features into rows of an array, which may be a memory map; other rows stay as they are.

        Args:
            out: Shape (n, n_views, n_features), float32.
            image_ids: Digests of the photos' contents, n of them; repeats are allowed.
            fingerprint: Of the extractor.

        Returns:
            Which rows were stored, and written to `out`, shape (n,).

        Raises:
            ValueError: If `out` has another shape than what is stored.
            UserError: If the file is damaged.
        """
        stored = np.zeros(len(image_ids), dtype=bool)
        positions = _positions(image_ids)
        with self._database.connected() as connection:
            extractor, shape = _extractor(connection, fingerprint)
            if extractor is None:
                return stored
            expected = (len(image_ids), *shape)
            if out.shape != expected or out.dtype != np.float32:
                raise ValueError(f"out is {out.dtype} {out.shape}, it should be float32 {expected}")
            for image_id, vector in _entries(connection, "image_id, vector", extractor, positions):
                if len(vector) != math.prod(shape) * _DTYPE.itemsize:
                    raise self._database.damaged(f"the features of {image_id} have the wrong length")
                out[positions[image_id]] = np.frombuffer(vector, _DTYPE).reshape(shape)
                stored[positions[image_id]] = True
        return stored

    def put(
        self,
        image_ids: Sequence[str],
        fingerprint: str,
        features: NDArray[np.float32],
        metadata: Mapping[str, JSON] | None = None,
    ) -> None:
        """Store features, in transactions of some megabytes. What is already stored stays as it is.

        Args:
            image_ids: Digests of the photos' contents, n of them.
            fingerprint: Of the extractor.
            features: Shape (n, n_views, n_features), float32, finite.
            metadata: Of the extractor, stored with its first features.

        Raises:
            ValueError: If shapes, the type or the numbers are wrong.
            UserError: If the file cannot be written.
        """
        if features.ndim != 3 or len(features) != len(image_ids) or features.dtype != np.float32:
            expected = f"float32 ({len(image_ids)}, n_views, n_features)"
            raise ValueError(f"features are {features.dtype} {features.shape}, they should be {expected}")
        if not np.isfinite(features).all():
            raise ValueError("features must be finite numbers")
        shape = features.shape[1:]
        step = max(1, _BYTES_A_WRITE // max(1, math.prod(shape) * _DTYPE.itemsize))
        for start in range(0, len(image_ids), step):
            ids = image_ids[start : start + step]
            vectors = np.ascontiguousarray(features[start : start + step], dtype=_DTYPE)
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO sources (fingerprint, facts, dtype, n_views, n_features)"
                    " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (fingerprint, json.dumps(dict(metadata or {}), sort_keys=True), _DTYPE.str, *shape),
                )
                extractor, stored_shape = _extractor(connection, fingerprint)
                if stored_shape != shape:
                    raise ValueError(
                        f"features are {shape} a photo, those of this extractor are {stored_shape}"
                    )
                connection.executemany(
                    "INSERT INTO features (source, image_id, vector) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    ((extractor, image_id, vector) for image_id, vector in zip(ids, vectors, strict=True)),
                )

    def remove(self, fingerprint: str) -> int:
        """Remove an extractor and its features, and give their space back.

        Returns:
            Number of photos whose features were removed.
        """
        with self._database.transaction() as connection:
            extractor, _ = _extractor(connection, fingerprint)
            count = connection.execute("DELETE FROM features WHERE source = ?", (extractor,)).rowcount
            connection.execute("DELETE FROM sources WHERE source = ?", (extractor,))
        with self._database.connected() as connection:
            connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free a single page
        return int(count)

    def statistics(self) -> list[StoredExtractor]:
        """What is stored of each extractor, in the order of their first features."""
        query = (
            "SELECT fingerprint, facts, n_views, n_features,"
            " (SELECT COUNT(*) FROM features WHERE features.source = sources.source)"
            " FROM sources ORDER BY source"
        )
        with self._database.connected() as connection:
            rows = connection.execute(query).fetchall()
        return [
            StoredExtractor(fingerprint, json.loads(metadata), (v, f), n, n * v * f * _DTYPE.itemsize)
            for fingerprint, metadata, v, f, n in rows
        ]


def _extractor(connection: sqlite3.Connection, fingerprint: str) -> tuple[int | None, tuple[int, int]]:
    """Number of an extractor, None if unknown, and the shape of its features."""
    query = "SELECT source, n_views, n_features FROM sources WHERE fingerprint = ?"
    row = connection.execute(query, (fingerprint,)).fetchone()
    return (None, (0, 0)) if row is None else (row[0], (row[1], row[2]))


def _entries(
    connection: sqlite3.Connection, columns: str, extractor: int | None, image_ids: Iterable[str]
) -> Iterator[tuple[Any, ...]]:
    """Columns of the entries of an extractor, fetched in batches."""
    wanted = sorted(image_ids)
    for start in range(0, len(wanted), _IDS_A_QUERY):
        batch = wanted[start : start + _IDS_A_QUERY]
        marks = ",".join("?" * len(batch))
        query = f"SELECT {columns} FROM features WHERE source = ? AND image_id IN ({marks})"
        yield from connection.execute(query, (extractor, *batch))


def _positions(image_ids: Sequence[str]) -> dict[str, list[int]]:
    """Positions of each id."""
    positions: dict[str, list[int]] = {}
    for position, image_id in enumerate(image_ids):
        positions.setdefault(image_id, []).append(position)
    return positions
