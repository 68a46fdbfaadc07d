from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ensemble_minerals.system.database import Database, ForeignDatabase, error_code, is_damage


def _database(path: Path, *, schema: int = 1, application: int = 7) -> Database:
    tables = "CREATE TABLE things (thing INTEGER PRIMARY KEY); CREATE TABLE others (other TEXT);"
    return Database(path, tables=tables, application=application, schema=schema, timeout=5)


@pytest.fixture
def database(tmp_path):
    database = _database(tmp_path / "things.sqlite")
    yield database
    database.close()


def _things(database: Database) -> list[int]:
    with database.connected() as connection:
        return [thing for (thing,) in connection.execute("SELECT thing FROM things ORDER BY thing")]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()], ids=repr)
def test_a_transaction_is_whole_or_not_at_all(database, error):
    with database.transaction() as connection:
        connection.execute("INSERT INTO things VALUES (1), (2)")

    def interrupted() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO things VALUES (3)")
            connection.execute("DELETE FROM things WHERE thing = 1")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert _things(database) == [1, 2]
    with database.transaction() as connection:  # and the next one works
        connection.execute("INSERT INTO things VALUES (4)")
    assert _things(database) == [1, 2, 4]


def test_writes_are_logged_ahead(database):
    with database.connected() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL


@pytest.mark.parametrize("change", [{"schema": 2}, {"application": 8}], ids=str)
def test_a_changed_number_in_a_file_with_our_tables_is_damage(database, change):
    assert _things(database) == []
    with pytest.raises(sqlite3.DatabaseError, match="another version") as caught:
        _things(_database(database.path, **change))
    assert is_damage(caught.value)


def test_a_database_of_another_program_is_not_damaged(tmp_path):
    connection = sqlite3.connect(tmp_path / "theirs.sqlite")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(ForeignDatabase) as caught:
        _things(_database(tmp_path / "theirs.sqlite"))
    assert not is_damage(caught.value)


def test_a_file_that_cannot_be_opened_is_not_damaged(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(sqlite3.OperationalError) as caught:
        _things(_database(tmp_path / "folder"))
    assert error_code(caught.value) == sqlite3.SQLITE_CANTOPEN
    assert not is_damage(caught.value)


def test_a_damaged_file_is_replaced_when_nobody_uses_it(database):
    assert _things(database) == []
    database.path.write_bytes(b"damaged" * 100)
    assert database.replace()
    assert _things(database) == []
