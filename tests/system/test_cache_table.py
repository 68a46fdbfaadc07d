from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from drawn.damage import DAMAGES

from ensemble_minerals.system import cache_table
from ensemble_minerals.system.cache_table import CacheTable


def _values(n: int, start: int = 0, size: int = 1000) -> dict[str, bytes]:
    """Values that can be foretold from their keys."""
    return {f"{number:032x}": _value(number, size) for number in range(start, start + n)}


def _value(number: int, size: int = 1000) -> bytes:
    return np.random.default_rng(number).bytes(size)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "things.sqlite"


@pytest.fixture
def table(path):
    with CacheTable(path) as table:
        yield table


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, "ensemble_minerals")
    return lambda: [record.getMessage() for record in caplog.records]


def test_gives_back_what_was_put_by_source_and_key(table, said):
    values = _values(600, size=50)
    table.put("one", values)
    table.put("two", {"0" * 32: memoryview(b"another")}, {"kind": "b"})
    assert dict(table.get("one", [*values, "unknown", "0" * 32])) == values
    assert list(table.get("two", values)) == [("0" * 32, b"another")]
    assert list(table.get("three", values)) == []
    assert table.contains("one", ["unknown", *values]) == set(values)
    assert table.contains("two", values) == {"0" * 32}
    assert said() == []


def test_what_is_there_stays(table):
    table.put("one", {"key": b"first"}, {"model": "m"})
    table.put("one", {"key": b"second", "other": b"new"}, {"model": "n"})
    assert dict(table.get("one", ["key", "other"])) == {"key": b"first", "other": b"new"}
    (source,) = table.sources()
    assert (source.name, source.facts, source.n_entries, source.n_bytes) == ("one", {"model": "m"}, 2, 8)
    assert abs(source.last_used - time.time()) < 60


def test_goes_to_threads_and_by_pickle(table):
    def work(start: int) -> bool:
        table.put("one", _values(10, start))
        return dict(table.get("one", _values(10, start))) == _values(10, start)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(0, 200, 10)))
    with pickle.loads(pickle.dumps(table)) as other:
        other.put("one", _values(1, 500))
    assert dict(table.get("one", _values(1, 500))) == _values(1, 500)


def _put_and_get(path: Path, start: int) -> bool:
    with CacheTable(path) as table:
        for first in range(start, start + 40, 4):
            table.put("one", _values(8, first))
        return dict(table.get("one", _values(40, start))) == _values(40, start)


@pytest.mark.parametrize("damaged", [False, True])
def test_is_made_and_written_by_several_processes_at_once(path, damaged):
    if damaged:
        path.parent.mkdir()
        path.write_bytes(b"no database" * 1000)
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert all(pool.map(_put_and_get, [path] * 5, [0, 20, 0, 60, 80])) or damaged
    with CacheTable(path) as table:
        kept = dict(table.get("one", _values(120)))
    assert kept.items() <= _values(120).items()
    assert damaged or kept == _values(120)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_goes_to_another_process_by_fork(table):
    table.put("one", _values(3))
    parents = table._database._connection
    child = os.fork()
    if child == 0:
        table.put("one", _values(1, 3))
        own = table._database._connection is not parents
        table.close()
        os._exit(0 if own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert dict(table.get("one", _values(4))) == _values(4)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from ensemble_minerals.system.cache_table import CacheTable

    table = CacheTable(Path(sys.argv[1]))
    table.put("one", {str(number): b"value" * 200 for number in range(10)})
    with table._database.transaction() as connection:
        connection.execute("DELETE FROM contents")
        connection.execute("INSERT INTO sources VALUES (9, 'half', '{}')")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system does not kill")
def test_a_kill_in_a_transaction_loses_that_transaction_only(path, said):
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    keys = [str(number) for number in range(20)]
    with CacheTable(path) as table:
        assert dict(table.get("one", keys)) == dict.fromkeys(keys[:10], b"value" * 200)
        table.put("one", dict.fromkeys(keys, b"value"))
        assert table.contains("one", keys) == set(keys)
    assert said() == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE contents SET value = x'0102' WHERE entry = 1",
        "UPDATE contents SET value = 'text' WHERE entry = 1",
        "UPDATE contents SET checksum = 0 WHERE entry = 1",
        "UPDATE contents SET entry = 100 WHERE entry = 1",
        "UPDATE contents SET value = (SELECT value FROM contents WHERE entry = 2) WHERE entry = 1",
        "UPDATE entries SET entry = 100 WHERE entry = 1",
    ],
)
def test_a_damaged_entry_is_not_there_and_is_stored_anew(table, said, change):
    values = _values(3)
    table.put("one", values)
    with table._database.transaction() as connection:
        connection.execute(change)
    assert dict(table.get("one", values)) == dict(list(values.items())[1:])
    table.put("one", values)
    assert dict(table.get("one", values)) == values
    table.close()
    (message,) = said()
    assert "things.sqlite" in message
    assert "1 cached result" in message
    table.close()
    assert len(said()) == 1


def test_an_entry_of_another_key_or_source_is_not_believed(table):
    table.put("one", _values(2))
    table.put("two", {"key": b"value"})
    with table._database.transaction() as connection:
        connection.execute("UPDATE entries SET key = 'mine' WHERE entry = 1")
        connection.execute("UPDATE sources SET name = 'three' WHERE name = 'two'")
    assert list(table.get("one", ["mine"])) == []
    assert list(table.get("three", ["key"])) == []


@pytest.mark.parametrize("how", DAMAGES, ids=lambda how: how.__name__)
def test_no_damage_to_the_file_is_an_error_or_believed(path, how):
    values = _values(40, size=5000)
    with CacheTable(path) as table:
        table.put("one", values, {"kind": "test"})
    whole = path.read_bytes()
    for seed in range(12):
        path.write_bytes(how(whole, np.random.default_rng(seed)))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        with CacheTable(path) as table:
            table.contains("one", values)
            assert dict(table.get("one", values)).items() <= values.items()
            table.put("one", values)
            table.sources()
            assert table.drop(n_bytes=0) == 0
        with CacheTable(path) as table:  # and the next run has it all
            again = dict(table.get("one", values))
            table.put("one", values)
            assert dict(table.get("one", values)) == values
            assert again.items() <= values.items()


def test_what_makes_no_sense_is_made_anew_and_said_once(path, said):
    path.parent.mkdir()
    path.write_bytes(b"this is no database " * 1000)
    with CacheTable(path) as table:
        assert list(table.get("one", ["key"])) == []
        table.put("one", {"key": b"value"})
        assert list(table.get("one", ["key"])) == [("key", b"value")]
    (message,) = said()
    assert "made anew (file is not a database)" in message


def test_threads_make_a_damaged_file_anew_once(path, said):
    path.parent.mkdir()
    path.write_bytes(b"this is no database " * 1000)
    with CacheTable(path) as table, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: table.put("one", _values(1, number)), range(40)))
        assert dict(table.get("one", _values(40))).items() <= _values(40).items()
    assert len(said()) == 1


@pytest.mark.parametrize("tables", ["features (x)", "fingerprint_1 (x)"])
def test_files_of_former_versions_are_made_anew(path, said, tables):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE {tables}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with CacheTable(path) as table:
        table.put("one", {"key": b"value"})
        assert table.contains("one", ["key"])
    assert "another version" in said()[0]


def _of_another_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()


def _folder_for_the_log(path: Path) -> None:
    CacheTable(path).close()
    path.with_name(path.name + "-wal").mkdir()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_of_another_program, "another program"),
        (lambda path: path.mkdir(), "unable to open"),
        (lambda path: path.with_name(path.name + ".lock").mkdir(), "Is a directory"),
        (_folder_for_the_log, ""),
    ],
    ids=["another program", "folder", "folder for the lock", "folder for the log"],
)
def test_goes_without_what_cannot_be_used_and_leaves_it(path, said, prepare, message):
    path.parent.mkdir()
    prepare(path)
    before = path.read_bytes() if path.is_file() else None
    with CacheTable(path) as table:
        table.put("one", {"key": b"value"})
        assert list(table.get("one", ["key"])) == []
        assert table.contains("one", ["key"]) == set()
        assert table.sources() == []
        assert table.drop() == 0
    assert len(said()) == 1
    assert message in said()[0]
    assert "only costs time" in said()[0]
    assert before is None or path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_said(tmp_path, said):
    (tmp_path / "file").write_text("")
    with CacheTable(tmp_path / "file" / "things.sqlite") as table:
        table.put("one", {"key": b"value"})
    assert "--cache" in said()[0]


def test_a_full_disk_is_said(table, said):
    table.put("one", {"key": b"value"})
    with table._database.connected() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    table.put("one", _values(1, size=1_000_000))
    assert "full" in said()[0]
    assert "Make room" in said()[0]


def test_another_program_that_keeps_it_locked_is_said(path, said):
    with CacheTable(path, timeout=0.05) as table, CacheTable(path) as other:
        other.put("one", {"key": b"value"})
        with other._database.transaction():
            table.put("one", {"other": b"value"})
        assert other.contains("one", ["key", "other"]) == {"key"}
    assert "Wait for the other program" in said()[0]


def test_readers_and_a_writer_do_not_wait_for_each_other(path, said):
    with CacheTable(path, timeout=0.05) as table, CacheTable(path, timeout=0.05) as other:
        table.put("one", _values(2))
        with other._database.transaction() as connection:
            connection.execute("DELETE FROM entries")
            assert table.contains("one", _values(2)) == set(_values(2))
    assert said() == []


def test_a_damaged_file_that_others_use_is_left_to_them(path, said, monkeypatch):
    monkeypatch.setattr("ensemble_minerals.system.database._WAIT_TO_REPLACE", 0.05)
    with CacheTable(path) as theirs:
        theirs.put("one", {"key": b"value"})
        path.write_bytes(b"no database" * 1000)
        with CacheTable(path) as table:
            table.put("one", {"other": b"value"})
        assert "other programs use it" in said()[0]
        assert path.exists()


def test_a_file_that_another_made_anew_meanwhile_is_not_made_anew_again(path, said):
    with CacheTable(path) as table, CacheTable(path) as other:
        assert table.contains("one", []) == other.contains("one", []) == set()
        table.put("one", {"old": b"value"})
        list(other.get("one", ["old"]))
        table._database.close()
        held = os.fstat(other._database._lock).st_size
        other.close()
        assert table._database.replace()
        table.put("one", {"new": b"value"})
        table.close()
        assert Path(f"{path}.lock").stat().st_size == held + 1
        assert list(other.get("one", ["new"])) == [("new", b"value")]


def test_what_was_unused_for_longest_leaves_first(table, monkeypatch):
    for number, day in enumerate([3, 1, 2]):
        monkeypatch.setattr(time, "time", lambda day=day: day * 86_400.0)
        table.put(f"day {day}", {"key": _value(number), "other": _value(number)})
    monkeypatch.setattr(time, "time", lambda: 4 * 86_400.0)
    assert dict(table.get("day 1", ["key"]))
    table.close()  # writes the use down
    assert table.drop(n_bytes=1500) == 2000
    assert table.contains("day 1", ["key", "other"]) == {"key"}
    assert table.contains("day 2", ["key", "other"]) == {"other"}
    assert table.drop(unused_since=3.5 * 86_400) == 3000
    assert [(source.name, source.last_used) for source in table.sources()] == [("day 1", 4 * 86_400)]


def test_removing_gives_space_back(table, path):
    table.put("one", _values(600, size=4000))
    assert table.drop() == 2_400_000
    table.close()
    assert path.stat().st_size < 500_000


def test_a_use_is_noted_once_an_hour_only(table, monkeypatch):
    monkeypatch.setattr(cache_table, "_USES_AT_ONCE", 0)
    table.put("one", {"key": b"value"})
    now = time.time()
    with table._database.connected() as connection:
        for later, changes in ((1000, 0), (4000, 1), (4100, 0)):
            monkeypatch.setattr(time, "time", lambda later=later: now + later)
            before = connection.total_changes
            list(table.get("one", ["key"]))
            assert connection.total_changes - before == changes
