"""An SQLite file that several threads and processes use at once. A killed process does not damage it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ensemble_minerals.errors import UserError

_PAGE = 65536  # bytes; a row takes tens of kilobytes
_DELETE = "delete it and the files beside it that end in -wal and -shm; what it held is computed anew"
_ELSEWHERE = "choose another cache directory"
_WAYS_OUT = {
    sqlite3.SQLITE_NOTADB: _DELETE,
    sqlite3.SQLITE_CORRUPT: _DELETE,
    sqlite3.SQLITE_BUSY: "wait for the other program that is writing to it",
    sqlite3.SQLITE_FULL: "make room on the disk",
}

# Connections of parent processes, kept open after a fork: SQLite forbids the child even to close them.
_parents: list[sqlite3.Connection | None] = []


class Database:
    """An SQLite file with tables of this package.

    It can be sent to other processes by pickle or fork. Each process opens the file for itself.

    Args:
        path: The file; made if it is not there. Not on a network file system.
        tables: SQL statements that create the tables, separated by semicolons.
        application: Number that marks the files of one kind (SQLite's application_id).
        schema: Version number of the tables; a file with another number is refused.
        timeout: Seconds to wait for another process that is writing.

    Raises:
        UserError: If the file cannot be opened, belongs to another program, or has another schema.
    """

    def __init__(self, path: Path, *, tables: str, application: int, schema: int, timeout: float) -> None:
        self.path = path
        self.tables = tables
        self.application = application
        self.schema = schema
        self.timeout = timeout
        self._enter_process()
        with self.connected():
            pass

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._enter_process()

    def _enter_process(self) -> None:
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
                self._connection = None

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process, for one thread at a time.

        Raises:
            UserError: For whatever SQLite raises inside.
        """
        if self._process != os.getpid():
            _parents.append(self._connection)
            self._enter_process()
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._opened()
                yield self._connection
            except sqlite3.Error as error:
                way_out = _WAYS_OUT.get(_code(error), f"see to the file, or {_ELSEWHERE}")
                raise self._unusable(str(error), way_out) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection on which everything in the block is done, or nothing.

        The lock for writing is taken at the beginning. Taken later, it could make two processes wait for each other.
        """
        with self.connected() as connection, _transaction(connection):
            yield connection

    def damaged(self, why: str) -> UserError:
        """The error to raise for impossible contents."""
        return self._unusable(why, _DELETE)

    def _unusable(self, why: str, way_out: str) -> UserError:
        return UserError(f"{self.path} cannot be used: {why}. The way out: {way_out}.")

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False
        )
        try:
            if not _pragma(connection, "user_version"):
                self._create(connection)
            if _pragma(connection, "application_id") != self.application:
                raise self._unusable("it is a database of another program", _ELSEWHERE)
            schema = _pragma(connection, "user_version")
            if schema != self.schema:
                raise self._unusable(f"it has schema {schema}, this version reads {self.schema}", _DELETE)
            self._log_ahead(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        """Create the tables in an empty file. Of several processes that try, only one does it."""
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        with _transaction(connection):
            if connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                return
            for statement in filter(str.strip, self.tables.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {self.application}")
            connection.execute(f"PRAGMA user_version = {self.schema}")

    def _log_ahead(self, connection: sqlite3.Connection) -> None:
        """Let readers and a writer work at the same time (WAL). SQLite does not wait for locks here; this does."""
        give_up = time.monotonic() + self.timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; 0 for errors that Python's module raises itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
