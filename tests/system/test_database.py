from __future__ import annotations

from pathlib import Path

import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.system.database import Database


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


def test_what_sqlite_says_reaches_the_user_with_file_and_way_out(database):
    said = r"things\.sqlite.*no such table.*way out"
    with pytest.raises(UserError, match=said) as caught, database.connected() as connection:
        connection.execute("SELECT * FROM absent")
    assert caught.value.exit_code == 2


def test_writes_are_logged_ahead(database):
    with database.connected() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL


def test_other_schemas_and_applications_are_refused(database):
    with pytest.raises(UserError, match="schema 1, this version reads 2"):
        _database(database.path, schema=2)
    with pytest.raises(UserError, match="another program"):
        _database(database.path, application=8)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*unable to open.*another cache directory"):
        _database(tmp_path / "nowhere" / "things.sqlite")
