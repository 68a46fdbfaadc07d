"""What was computed once, kept by key in one file. Trouble with the file costs time, and is never an error."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ensemble_minerals.system.database import Database, error_code, is_damage
from ensemble_minerals.system.digest import checksum
from ensemble_minerals.system.plural import counted

T = TypeVar("T")
Value = bytes | memoryview

_log = logging.getLogger(__name__)

_SCHEMA = 2  # change the number with the tables: a file of another number is made anew
_APPLICATION = 0x656D6673  # "emfs", marks the file as ours
_FORMER = ("features", "fingerprint_1")
_TABLES = """
CREATE TABLE sources (
    source INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    facts TEXT NOT NULL
);
CREATE TABLE entries (
    entry INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources,
    key TEXT NOT NULL,
    used INTEGER NOT NULL,
    size INTEGER NOT NULL,
    UNIQUE (source, key)
);
CREATE TABLE contents (
    entry INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    value BLOB NOT NULL
);
"""
_KEYS_A_QUERY = 250  # below the limit of variables of any SQLite, and little to hold at once
_USE_NOTED = 3600  # seconds: a later use is noted again
_USES_AT_ONCE = 10_000
_ANEW = "what it held is computed again"
_WITHOUT = "this run goes without it, which only costs time"


@dataclass(frozen=True)
class CachedSource:
    """What a table holds of one source.

    Attributes:
        name: As given to `put`.
        facts: As given to `put`; empty if they are damaged.
        n_entries: Number of entries.
        n_bytes: Bytes of their values.
        last_used: Seconds since the epoch, about an hour exact.
    """

    name: str
    facts: Mapping[str, Any]
    n_entries: int
    n_bytes: int
    last_used: float


class CacheTable:
    """Bytes by source and key, in one SQLite file. A checksum tells what was damaged, which counts as not there.

    No method raises an error over the file. One whose contents make no sense is made anew; without one that cannot
    be opened, read or written, work goes on. Each is said once, as a warning of Python's logging; damaged entries are
    counted, and said at `close`. An object may be shared by threads, and goes to other processes by pickle or fork.

    Args:
        path: The file; made with its folder if it is not there. Not on a network file system.
        timeout: Seconds to wait for another process that is writing.

    Example:
        >>> import tempfile
        >>> with CacheTable(Path(tempfile.mkdtemp()) / "areas.sqlite") as table:
        ...     table.put("area 1", {"photo": b"1200"})
        ...     list(table.get("area 1", ["photo", "other"]))
        [('photo', b'1200')]
    """

    def __init__(self, path: Path, *, timeout: float = 60.0) -> None:
        self.path = path
        self._database = Database(
            path, tables=_TABLES, application=_APPLICATION, schema=_SCHEMA, timeout=timeout, former=_FORMER
        )
        self._given_up = False
        self._made_anew = 0
        self._damaged = 0
        self._used: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and say how many entries were damaged; the next use opens it again."""
        self._note_uses()
        self._database.close()
        if self._damaged:
            _log.warning(
                "%s: damaged, and computed again: %s", self.path, counted(self._damaged, "cached result")
            )
        self._damaged = 0

    def contains(self, source: str, keys: Iterable[str]) -> set[str]:
        """Which keys have an entry."""
        found: set[str] = set()
        for batch in _batches(keys):
            found.update(self._tried(partial(_stored, source, batch)) or ())
        return found

    def get(self, source: str, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Keys and values of the entries that are there and whole, in any order, read in batches."""
        for batch in _batches(keys):
            rows = self._tried(partial(_read, source, batch)) or []
            damaged, now = [], int(time.time())
            for key, entry, used, noted, value in rows:
                if not isinstance(value, bytes) or noted != _checksum(source, key, value):
                    damaged.append((entry,))
                    continue
                if not isinstance(used, int) or abs(now - used) > _USE_NOTED:
                    self._used.append((now, entry))
                yield key, value
            if damaged:
                self._damaged += len(damaged)
                self._tried(partial(_mend, damaged), writes=True)
            if len(self._used) > _USES_AT_ONCE:
                self._note_uses()

    def put(self, source: str, values: Mapping[str, Value], facts: Mapping[str, Any] | None = None) -> None:
        """Store values, all or none. What is already stored stays as it is.

        Args:
            source: Names everything that the values depend on besides their keys.
            values: By key.
            facts: What the source is, for people; stored with its first values.
        """
        self._tried(partial(_write, source, values, facts or {}), writes=True)

    def sources(self) -> list[CachedSource]:
        """What is stored of each source, in the order of their first entries."""
        query = (
            "SELECT name, facts, COUNT(*), SUM(CAST(size AS INTEGER)), MAX(CAST(used AS INTEGER))"
            " FROM sources JOIN entries USING (source) GROUP BY source ORDER BY source"
        )
        rows = self._tried(lambda connection: connection.execute(query).fetchall()) or []
        return [CachedSource(name, _facts(facts), n, size, used) for name, facts, n, size, used in rows]

    def uses(self) -> list[tuple[int, int]]:
        """When each entry was last used, in seconds since the epoch, and its bytes; the longest unused first."""
        query = "SELECT CAST(used AS INTEGER), CAST(size AS INTEGER) FROM entries ORDER BY used, entry"
        return self._tried(lambda connection: connection.execute(query).fetchall()) or []

    def clear(self) -> None:
        """Remove the file, or, while other programs use it, all entries."""
        self._tried(lambda connection: None)  # nothing of another program is removed
        if not self._given_up:
            try:
                if not self._database.replace():
                    self.drop()
            except OSError as error:
                self._face(error)

    def drop(self, *, unused_since: float = float("inf"), n_bytes: float = float("inf")) -> int:
        """Remove the entries that were not used for longest, and give their space back.

        Args:
            unused_since: Seconds since the epoch; what was used later stays.
            n_bytes: As soon as so much was removed, the rest stays.

        Returns:
            Bytes of the removed values.
        """
        freed = self._tried(partial(_drop, unused_since, n_bytes), writes=True) or 0
        if freed:  # `execute` would free a single page
            self._tried(
                lambda c: c.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
            )
        return freed

    def _note_uses(self) -> None:
        uses, self._used = self._used, []
        update = "UPDATE entries SET used = ? WHERE entry = ?"
        if uses:
            self._tried(lambda connection: connection.executemany(update, uses), writes=True)

    def _tried(self, work: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T | None:
        """What some work with the file returns; None where the file cannot be used."""
        for _ in range(2):
            if self._given_up:
                return None
            made_anew = self._made_anew
            try:
                with self._database.transaction() if writes else self._database.connected() as connection:
                    return work(connection)
            except (sqlite3.Error, OSError) as error:
                if isinstance(error, sqlite3.ProgrammingError):
                    raise
                with self._database.alone():
                    if self._made_anew == made_anew and not self._given_up:  # no other thread was quicker
                        self._face(error)
        self._given_up = True
        return None

    def _face(self, error: sqlite3.Error | OSError) -> None:
        """Make a damaged file anew, or do without the file."""
        try:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                if self._database.replace():
                    self._made_anew += 1
                    _log.warning("%s is made anew (%s); %s", self.path, error, _ANEW)
                    return
                error = sqlite3.OperationalError(f"{error}, while other programs use it")
            self._database.close()
        except (sqlite3.Error, OSError) as failure:
            error = failure
        self._given_up = True
        _log.warning("%s cannot be used (%s); %s. %s", self.path, error, _WITHOUT, _way_out(error))


def _stored(source: str, keys: Sequence[str], connection: sqlite3.Connection) -> list[str]:
    query = f"SELECT key FROM entries JOIN sources USING (source) WHERE name = ? AND key IN ({_marks(keys)})"
    return [key for (key,) in connection.execute(query, (source, *keys))]


def _read(source: str, keys: Sequence[str], connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    query = (
        "SELECT key, entry, used, checksum, value FROM entries JOIN sources USING (source) LEFT JOIN contents"
        f" USING (entry) WHERE name = ? AND key IN ({_marks(keys)})"
    )
    return connection.execute(query, (source, *keys)).fetchall()


def _mend(entries: Sequence[tuple[int]], connection: sqlite3.Connection) -> None:
    _delete(entries, connection)
    connection.execute("REINDEX")  # an entry that only a damaged index knows could never be stored again


def _write(
    source: str, values: Mapping[str, Value], facts: Mapping[str, Any], connection: sqlite3.Connection
) -> None:
    connection.execute(
        "INSERT INTO sources (name, facts) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (source, json.dumps(dict(facts), sort_keys=True)),
    )
    (number,) = connection.execute("SELECT source FROM sources WHERE name = ?", (source,)).fetchone()
    now = int(time.time())
    for key, value in values.items():
        row = (number, key, now, memoryview(value).nbytes)
        cursor = connection.execute(
            "INSERT INTO entries (source, key, used, size) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row
        )
        if cursor.rowcount:
            content = (cursor.lastrowid, _checksum(source, key, value), value)
            connection.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", content)


def _drop(unused_since: float, n_bytes: float, connection: sqlite3.Connection) -> int:
    freed, gone = 0, []
    query = "SELECT entry, CAST(size AS INTEGER) FROM entries WHERE used <= ? ORDER BY used, entry"
    for entry, size in connection.execute(query, (unused_since,)):
        if freed >= n_bytes:
            break
        gone.append((entry,))
        freed += size
    _delete(gone, connection)
    connection.execute("DELETE FROM sources WHERE source NOT IN (SELECT source FROM entries)")
    return freed


def _delete(entries: Sequence[tuple[int]], connection: sqlite3.Connection) -> None:
    for table in ("entries", "contents"):
        connection.executemany(f"DELETE FROM {table} WHERE entry = ?", entries)


def _checksum(source: str, key: str, value: Value) -> int:
    return checksum((f"{source}\0{key}\0".encode(), value))


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), _KEYS_A_QUERY):
        yield wanted[start : start + _KEYS_A_QUERY]


def _marks(keys: Sequence[str]) -> str:
    return ",".join("?" * len(keys))


def _facts(text: str) -> Mapping[str, Any]:
    try:
        facts = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _way_out(error: sqlite3.Error | OSError) -> str:
    code = error_code(error) if isinstance(error, sqlite3.Error) else 0
    if code == sqlite3.SQLITE_BUSY:
        return "Wait for the other program that is writing to it"
    if code == sqlite3.SQLITE_FULL:
        return "Make room on the disk; ensemble-minerals cache --prune removes what was not used for long"
    return "Delete it, or choose another folder with --cache"
