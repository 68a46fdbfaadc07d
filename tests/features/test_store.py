from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.features.store import SCHEMA, FeatureStore

FIRST, SECOND = "a" * 32, "b" * 32


def _ids(n: int, start: int = 0) -> list[str]:
    return [f"{number:032x}" for number in range(start, start + n)]


def _features(n: int, start: int = 0, shape: tuple[int, int] = (2, 5)) -> np.ndarray:
    """Features that can be foretold from the photo's number."""
    numbers = np.arange(start, start + n, dtype=np.float32)
    return numbers[:, None, None] + np.linspace(0, 1 / 3, np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.fixture
def store(tmp_path):
    with FeatureStore(tmp_path / "features.sqlite") as store:
        yield store


def test_gives_back_exactly_what_was_put(store):
    features = np.random.default_rng(0).normal(size=(20, 2, 5)).astype(np.float32)
    features[0, 0, 0], features[0, 0, 1] = np.finfo(np.float32).max, 1e-45
    store.put(_ids(20), FIRST, features)
    found, got = store.get(_ids(20), FIRST)
    assert found.all()
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, features)


def test_finds_some_in_the_order_asked_repeats_included(store):
    store.put(_ids(4), FIRST, _features(4))
    asked = [*_ids(1, 3), "unknown", *_ids(1, 1), *_ids(1, 3)]
    found, got = store.get(asked, FIRST)
    assert found.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(got, _features(4)[[3, 1, 3]])
    assert store.contains(asked, FIRST).tolist() == found.tolist()


def test_sources_are_kept_apart(store):
    store.put(_ids(3), FIRST, _features(3))
    store.put(_ids(2), SECOND, _features(2, shape=(1, 7)) + 100)
    assert store.get(_ids(3), SECOND)[0].tolist() == [True, True, False]
    np.testing.assert_array_equal(store.get(_ids(3), FIRST)[1], _features(3))
    found, got = store.get(_ids(3), "c" * 32)
    assert not found.any()
    assert got.shape == (0, 0, 0)


def test_fills_rows_of_a_memory_map_and_leaves_the_others(store, tmp_path):
    store.put(_ids(3), FIRST, _features(3))
    out = np.lib.format.open_memmap(tmp_path / "out.npy", mode="w+", dtype=np.float32, shape=(4, 2, 5))
    out[:] = -1
    found = store.get_into(out, [*_ids(2), "unknown", *_ids(1, 2)], FIRST)
    assert found.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(out[[0, 1, 3]], _features(3))
    assert (out[2] == -1).all()


def test_asks_for_more_ids_than_a_query_may_have(store):
    n = 3_001
    store.put(_ids(n), FIRST, _features(n, shape=(1, 1)))
    found, got = store.get(_ids(n)[::-1], FIRST)
    assert found.all()
    np.testing.assert_array_equal(got, _features(n, shape=(1, 1))[::-1])


def test_what_is_there_stays(store):
    store.put(_ids(1), FIRST, _features(1), {"model": "m"})
    store.put(_ids(2), FIRST, _features(2) + 50, {"model": "other"})
    np.testing.assert_array_equal(store.get(_ids(1), FIRST)[1], _features(1))
    np.testing.assert_array_equal(store.get(_ids(1, 1), FIRST)[1], _features(1, 1) + 50)
    assert store.statistics()[0].metadata == {"model": "m"}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (_features(2), "float32"),
        (_features(3)[:, 0], "float32"),
        (_features(3).astype(np.float64), "float64"),
        (_features(3) * np.float32(np.nan), "finite"),
        (_features(3, shape=(2, 6)), r"\(2, 6\).*\(2, 5\)"),
    ],
    ids=["too few", "flat", "double", "nan", "another shape"],
)
def test_refuses_wrong_features_whole(store, features, message):
    store.put(_ids(1, 90), FIRST, _features(1))
    with pytest.raises(ValueError, match=message):
        store.put(_ids(3), FIRST, features)
    assert not store.contains(_ids(3), FIRST).any()


def test_refuses_an_array_of_another_shape(store):
    store.put(_ids(3), FIRST, _features(3))
    for out in (np.empty((3, 2, 4), np.float32), np.empty((3, 2, 5))):
        with pytest.raises(ValueError, match="should be float32"):
            store.get_into(out, _ids(3), FIRST)


def test_describes_itself_and_forgets(store):
    store.put(_ids(3), FIRST, _features(3), {"model": "m", "layers": [1, 2]})
    store.put(_ids(600), SECOND, _features(600, shape=(1, 1000)))
    first, second = store.statistics()
    assert (first.fingerprint, first.metadata) == (FIRST, {"model": "m", "layers": [1, 2]})
    assert (first.shape, first.n_entries, first.n_bytes) == ((2, 5), 3, 3 * 10 * 4)
    assert second.n_bytes == 600 * 1000 * 4
    assert store.remove(SECOND) == 600
    assert store.remove(SECOND) == 0
    assert [s.fingerprint for s in store.statistics()] == [FIRST]
    assert store.get(_ids(3), FIRST)[0].all()
    store.close()
    assert store.path.stat().st_size < 1_200_000  # of 2.4 million, the rest was given back


def test_is_usable_from_threads(store):
    def work(start: int) -> bool:
        store.put(_ids(10, start), FIRST, _features(10, start))
        return bool(store.get(_ids(10, start), FIRST)[0].all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(0, 200, 10)))
    np.testing.assert_array_equal(store.get(_ids(200), FIRST)[1], _features(200))


def _put_and_get(path: Path, start: int) -> bool:
    with FeatureStore(path) as store:
        for first in range(start, start + 40, 4):
            store.put(_ids(8, first), FIRST, _features(8, first))
        return bool(store.get(_ids(40, start), FIRST)[0].all())


def test_is_made_and_written_by_several_processes_at_once(tmp_path):
    path = tmp_path / "features.sqlite"
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert all(pool.map(_put_and_get, [path] * 5, [0, 20, 0, 60, 80]))
    with FeatureStore(path) as store:
        np.testing.assert_array_equal(store.get(_ids(120), FIRST)[1], _features(120))


def test_goes_to_another_process_by_pickle(store):
    store.put(_ids(3), FIRST, _features(3))
    with pickle.loads(pickle.dumps(store)) as other:
        other.put(_ids(1, 3), FIRST, _features(1, 3))
    np.testing.assert_array_equal(store.get(_ids(4), FIRST)[1], _features(4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_goes_to_another_process_by_fork(store):
    store.put(_ids(3), FIRST, _features(3))
    parents = store._database._connection
    child = os.fork()
    if child == 0:
        store.put(_ids(1, 3), FIRST, _features(1, 3))
        own = store._database._connection is not parents
        store.close()
        os._exit(0 if own else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(store.get(_ids(4), FIRST)[1], _features(4))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from ensemble_minerals.features.store import FeatureStore

    store = FeatureStore(Path(sys.argv[1]))
    ids = [f"{number:032x}" for number in range(20)]
    store.put(ids[:10], "a" * 32, np.ones((10, 1, 1000), np.float32))
    with store._database.transaction() as connection:
        connection.execute("DELETE FROM features")
        connection.execute("INSERT INTO sources VALUES (9, 'half', '{}', '<f4', 1, 1)")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system does not kill")
def test_a_kill_in_a_transaction_loses_that_transaction_only(tmp_path):
    path = tmp_path / "features.sqlite"
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with FeatureStore(path) as store:
        assert store.contains(_ids(20), FIRST).tolist() == [True] * 10 + [False] * 10
        assert [extractor.fingerprint for extractor in store.statistics()] == [FIRST]
        store.put(_ids(20), FIRST, np.ones((20, 1, 1000), np.float32))
        assert store.contains(_ids(20), FIRST).all()


def test_survives_reopening(tmp_path):
    path = tmp_path / "features.sqlite"
    for start in (0, 5):
        with FeatureStore(path) as store:
            store.put(_ids(5, start), FIRST, _features(5, start))
    with FeatureStore(path) as store:
        np.testing.assert_array_equal(store.get(_ids(10), FIRST)[1], _features(10))
    assert store.contains(_ids(1), FIRST).all()  # a closed store opens again
    store.close()


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"these are no features " * 100)


def _of_another_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()


def _of_a_later_version(path: Path) -> None:
    FeatureStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_not_a_database, "not a database.*delete it"),
        (_of_another_program, "another program.*another cache directory"),
        (_of_a_later_version, f"schema {SCHEMA + 1}.*delete it"),
        (lambda path: path.mkdir(), "unable to open.*another cache directory"),
    ],
    ids=["no database", "another program", "later version", "folder"],
)
def test_refuses_what_is_no_store_of_this_version(tmp_path, prepare, message):
    path = tmp_path / "features.sqlite"
    prepare(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError, match=message) as caught:
        FeatureStore(path)
    assert str(path) in str(caught.value)
    assert before is None or path.read_bytes() == before


def test_says_when_contents_are_damaged(store):
    store.put(_ids(1), FIRST, _features(1))
    with store._database.transaction() as connection:
        connection.execute("UPDATE features SET vector = x'0102'")
    with pytest.raises(UserError, match=r"wrong length.*delete it"):
        store.get(_ids(1), FIRST)


def test_says_when_another_program_keeps_it_locked(tmp_path):
    path = tmp_path / "features.sqlite"
    with FeatureStore(path, timeout=0.05) as store, FeatureStore(path) as other:
        with other._database.transaction(), pytest.raises(UserError, match=r"locked.*wait for the other"):
            store.put(_ids(1), FIRST, _features(1))
        store.put(_ids(1), FIRST, _features(1))
        assert other.contains(_ids(1), FIRST).all()


def test_readers_and_a_writer_do_not_wait_for_each_other(tmp_path):
    path = tmp_path / "features.sqlite"
    with FeatureStore(path, timeout=0.05) as store, FeatureStore(path, timeout=0.05) as other:
        store.put(_ids(2), FIRST, _features(2))
        with other._database.transaction() as connection:
            connection.execute("DELETE FROM features")
            assert store.contains(_ids(2), FIRST).all()
        other.put(_ids(2), FIRST, _features(2))
        with other._database.connected() as connection:
            reading = connection.execute("SELECT entry FROM features")
            reading.fetchone()
            store.put(_ids(1, 2), FIRST, _features(1, 2))
            assert len(reading.fetchall()) == 1  # what was there when it began


def test_facts_are_plain_json(store):
    store.put(_ids(1), FIRST, _features(1), {"views": ("squash",), "size": 224})
    with store._database.connected() as connection:
        (text,) = connection.execute("SELECT facts FROM sources").fetchone()
    assert json.loads(text) == {"views": ["squash"], "size": 224}
