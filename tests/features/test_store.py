from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.features.store import FeatureStore

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
    store.put_features(_ids(20), FIRST, features, {"views": ("squash",)})
    out = np.empty_like(features)
    assert store.get_into(out, _ids(20), FIRST).all()
    np.testing.assert_array_equal(out, features)
    assert store.sources()[0].facts == {"views": ["squash"]}


def test_fills_rows_of_a_memory_map_and_leaves_the_others(store, tmp_path):
    store.put_features(_ids(4), FIRST, _features(4))
    store.put_features(_ids(4), SECOND, _features(4, shape=(1, 7)) + 100)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", mode="w+", dtype=np.float32, shape=(5, 2, 5))
    out[:] = -1
    asked = [*_ids(1, 3), *_ids(1), "unknown", *_ids(1, 2), *_ids(1, 3)]
    assert store.get_into(out, asked, FIRST).tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(out[[1, 3, 0]], _features(4)[[0, 2, 3]])
    np.testing.assert_array_equal(out[0], out[4])
    assert (out[2] == -1).all()
    assert not store.get_into(out, asked, "c" * 32).any()


def test_asks_for_more_ids_than_a_query_may_have(store):
    n = 3_001
    store.put_features(_ids(n), FIRST, _features(n, shape=(1, 1)))
    out = np.empty((n, 1, 1), np.float32)
    assert store.get_into(out, _ids(n)[::-1], FIRST).all()
    np.testing.assert_array_equal(out, _features(n, shape=(1, 1))[::-1])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (_features(2), "float32"),
        (_features(3)[:, 0], "float32"),
        (_features(3).astype(np.float64), "float64"),
        (_features(3) * np.float32(np.nan), "finite"),
    ],
    ids=["too few", "flat", "double", "nan"],
)
def test_refuses_wrong_features_whole(store, features, message):
    with pytest.raises(ValueError, match=message):
        store.put_features(_ids(3), FIRST, features)
    assert not store.contains(FIRST, _ids(3))


def test_refuses_an_array_of_another_size(store):
    store.put_features(_ids(3), FIRST, _features(3))
    with pytest.raises(ValueError, match="reshape"):
        store.get_into(np.empty((3, 2, 4), np.float32), _ids(3), FIRST)
