"""An SQLite file that several threads and processes use at once. A killed process does not damage it."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

_PAGE = 65536  # bytes; a row takes tens of kilobytes
_WAIT_TO_REPLACE = 2.0  # seconds for others to let a damaged file go
_CIRCUMSTANCES = {
    sqlite3.SQLITE_AUTH, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_READONLY,
}  # fmt: skip

# Connections of parent processes, kept open after a fork: SQLite forbids the child even to close them.
_parents: list[sqlite3.Connection | None] = []


class ForeignDatabase(sqlite3.DatabaseError):
    """The file is a database of another program, which may not be replaced."""


class Database:
    """An SQLite file with tables of this package, opened at its first use.

    It can be sent to other processes by pickle or fork. Each process opens the file for itself. Whoever has it open
    shares a lock on the file ending in .lock beside it, so that nobody replaces it meanwhile.

    Args:
        path: The file; made with its folder if it is not there. Not on a network file system.
        tables: SQL statements that create the tables, separated by semicolons.
        application: Number that marks the files of one kind (SQLite's application_id).
        schema: Version number of the tables.
        former: Tables that earlier versions had in files of that name.
        timeout: Seconds to wait for another process that is writing.
    """

    def __init__(
        self,
        path: Path,
        *,
        tables: str,
        application: int,
        schema: int,
        timeout: float,
        former: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.tables = tables
        self.application = application
        self.schema = schema
        self.timeout = timeout
        self.former = tuple(former)
        self._enter_process()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._enter_process()

    def _enter_process(self) -> None:
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._process = os.getpid()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._mutex:
            if self._process != os.getpid():
                return
            if self._connection is not None:
                self._connection.close()
            if self._lock is not None:
                os.close(self._lock)
            self._connection = self._lock = None

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process, for one thread at a time.

        Raises:
            sqlite3.Error: If the file cannot be used, see `is_damage`.
            OSError: If its folder cannot be made, or the file beside it not be locked.
        """
        if self._process != os.getpid():
            _parents.append(self._connection)
            self._enter_process()
        with self._mutex:
            if self._connection is None:
                self._open()
            assert self._connection is not None
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection on which everything in the block is done, or nothing.

        The lock for writing is taken at the beginning. Taken later, it could make two processes wait for each other.
        """
        with self.connected() as connection, _transaction(connection):
            yield connection

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other threads of this process from using the file."""
        with self._mutex:
            yield

    def replace(self) -> bool:
        """Make a damaged file anew, unless another process has just done so; False while others use it."""
        with self._mutex:
            generation = None if self._lock is None else os.fstat(self._lock).st_size
            self.close()
            give_up = time.monotonic() + _WAIT_TO_REPLACE
            handle = self._lock_file()
            try:
                while generation is None or os.fstat(handle).st_size == generation:
                    if _locked(handle, exclusive=True):
                        for suffix in ("", "-wal", "-shm"):
                            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                        os.write(handle, b".")
                        return True
                    if time.monotonic() > give_up:
                        return False
                    time.sleep(0.02)
            finally:
                os.close(handle)
            return True

    def _lock_file(self) -> int:
        return os.open(
            self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666
        )

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._lock_file()
        try:
            _locked(self._lock, exclusive=False)
            self._connection = self._opened()
        finally:
            if self._connection is None:
                os.close(self._lock)
                self._lock = None

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False
        )
        connection.text_factory = partial(
            str, encoding="utf-8", errors="replace"
        )  # a damaged text is no error
        try:
            if not _pragma(connection, "user_version"):
                self._create(connection)
            found = _pragma(connection, "application_id"), _pragma(connection, "user_version")
            if found != (self.application, self.schema):
                tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
                if any(f"TABLE {name} (" in self.tables or name in self.former for name in tables):
                    raise sqlite3.DatabaseError("its format is of another version")
                raise ForeignDatabase("it is a database of another program")
            self._patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
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

    def _patiently(self, change: Callable[[], object]) -> None:
        """Wait for locks where SQLite does not, as where readers and a writer are let work at the same time (WAL)."""
        give_up = time.monotonic() + self.timeout
        while True:
            try:
                change()
                return
            except sqlite3.OperationalError as error:
                if error_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the contents of a file are at fault, and not a lock, a permission or the disk."""
    return not isinstance(error, ForeignDatabase) and error_code(error) not in _CIRCUMSTANCES


def error_code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; 0 for errors that Python's module raises itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _locked(handle: int, *, exclusive: bool) -> bool:
    """Lock an open file, alone or with others; False if others hold it, or the file system has no locks."""
    if sys.platform == "win32":  # which refuses to remove a file that is open
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except OSError:
        return False
    return True


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
