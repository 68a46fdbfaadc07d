from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.ensemble.oof import OutOfFoldError, ProbabilityStore
from ensemble_minerals.errors import BundleError
from ensemble_minerals.log_space import LOG_FLOOR

CLASSES = ("bornite", "pyrite", "quartz")


def dirichlet(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(3), size=n)


def empty():
    return ProbabilityStore(["flat", "tree"], 6, CLASSES)


def test_what_was_never_predicted_is_nan():
    store = empty()
    assert np.isnan(store.proba).all()
    store.write("tree", np.array([4, 1]), dirichlet(2))
    assert store.missing("tree").tolist() == [0, 2, 3, 5]
    assert store.missing("flat").tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(store.proba[1, [4, 1]], dirichlet(2))


def test_every_row_is_written_once():
    store = empty()
    store.write("flat", np.array([0, 1, 2]), dirichlet(3))
    store.write("tree", np.array([0, 1, 2]), dirichlet(3))
    before = store.proba.copy()
    with pytest.raises(OutOfFoldError, match="'flat': row 2 was predicted before"):
        store.write("flat", np.array([5, 2]), dirichlet(2, seed=1))
    with pytest.raises(OutOfFoldError, match="stands twice"):
        store.write("flat", np.array([4, 4]), dirichlet(2))
    np.testing.assert_array_equal(store.proba, before)


@pytest.mark.parametrize(
    "answer", [[0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [np.nan, 0.5, 0.5], [np.inf, 0.0, 0.0]]
)
def test_what_is_no_distribution_is_refused(answer):
    store = empty()
    with pytest.raises(OutOfFoldError, match="no probability distribution"):
        store.write("flat", np.array([3]), np.array([answer]))
    assert np.isnan(store.proba).all()


def test_nothing_outside_can_change_it():
    store = empty()
    with pytest.raises(ValueError, match="read-only"):
        store.proba[0, 0] = 1.0


def test_logarithms_need_every_row_of_every_member():
    store = empty()
    store.write("flat", np.arange(6), dirichlet(6))
    store.write("tree", np.arange(4), dirichlet(4))
    with pytest.raises(OutOfFoldError, match=r"'tree' never predicted row 4 \(2 in all\)"):
        store.log_proba()
    store.write("tree", np.array([4, 5]), np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    logs = store.log_proba()
    assert logs.shape == (6, 2, 3)
    np.testing.assert_allclose(logs[:, 0], np.log(dirichlet(6)))
    np.testing.assert_allclose(logs[4, 1], [0, np.log(LOG_FLOOR), np.log(LOG_FLOOR)])


def test_file_keeps_values_names_and_order(tmp_path):
    store = ProbabilityStore(["z member", "a member"], 5, ("quartz", "Bornit, gelb", "pyrite"))
    store.write("z member", np.array([3, 0]), dirichlet(2))
    store.save(tmp_path / "oof.safetensors")
    loaded = ProbabilityStore.load(tmp_path / "oof.safetensors")
    assert loaded.members == store.members
    assert loaded.classes == store.classes
    np.testing.assert_array_equal(loaded.proba, store.proba)
    with pytest.raises(OutOfFoldError, match="predicted before"):
        loaded.write("z member", np.array([3]), dirichlet(1))


def test_a_file_that_is_no_store(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "oof.safetensors"
    with pytest.raises(BundleError, match=r"oof\.safetensors"):
        ProbabilityStore.load(path)
    path.write_bytes(b"no tensors here")
    with pytest.raises(BundleError, match="holds no out-of-fold probabilities"):
        ProbabilityStore.load(path)
    save_file({"proba": np.zeros((2, 6, 3))}, path)
    with pytest.raises(BundleError, match="holds no out-of-fold probabilities"):
        ProbabilityStore.load(path)
    save_file(
        {"proba": np.zeros((2, 6, 3))}, path, metadata={"names": '{"members": ["a"], "classes": ["b", "c"]}'}
    )
    with pytest.raises(BundleError, match=r"\(2, 6, 3\) probabilities for \(1, 6, 2\)"):
        ProbabilityStore.load(path)
