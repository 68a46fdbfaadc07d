from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.base import clone
from sklearn.neighbors import NearestNeighbors

from ensemble_minerals.data.oversampling import (
    SAMPLERS,
    OverSampler,
)
from ensemble_minerals.system.seeds import derived_seed

SYNTHETIC = [kind for kind in SAMPLERS if kind not in ("none", "random")]


def overlapping_classes(counts=(60, 25, 12), d=4, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    X = (rng.normal(size=(len(y), d)) + 0.8 * y[:, None]).astype(np.float32)
    order = rng.permutation(len(y))
    return X[order], y[order]


def nearest(X):
    """Neighbors as imbalanced-learn finds them."""

    def find(rows, count):
        return NearestNeighbors(n_neighbors=count + 1).fit(X[rows]).kneighbors(X[rows])[1][:, 1:]

    return find


@pytest.mark.parametrize("kind", SAMPLERS)
def test_originals_come_first_and_classes_are_balanced(kind):
    X, y = overlapping_classes()
    names = np.array(["quartz", "pyrite", "bornite"])[y]

    result = OverSampler(kind=kind).resample(X, names)

    assert result.n_original == len(y)
    np.testing.assert_array_equal(result.X[: len(y)], X)
    np.testing.assert_array_equal(result.y[: len(y)], names)
    assert result.X.dtype == np.float32
    assert len(result.X) == len(result.y)
    added = dict(zip(*np.unique(result.y[len(y) :], return_counts=True), strict=True))
    assert added == ({} if kind == "none" else {"pyrite": 35, "bornite": 48})


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_synthetic_rows_are_new(kind):
    X, y = overlapping_classes()
    result = OverSampler(kind=kind).resample(X, y)
    known = {row.tobytes() for row in X}
    is_new = np.array([row.tobytes() not in known for row in result.X[result.n_original :]])
    assert is_new.mean() > 0.5


@pytest.mark.parametrize("kind", ["none", "random", "smote"])
@pytest.mark.parametrize("counts", [(60, 25, 12), (60, 25, 4)])
def test_combinations_of_the_rows_are_the_rows(kind, counts):
    X, y = overlapping_classes(counts)
    sampler = OverSampler(kind=kind, random_state=3)
    assert sampler.combines_rows
    rows, combined = sampler.resample(X.astype(float), y), sampler.combine(nearest(X.astype(float)), y)
    np.testing.assert_allclose(combined.X @ X.astype(float), rows.X, atol=1e-12)
    np.testing.assert_array_equal(combined.y, rows.y)
    assert (combined.n_original, combined.note) == (rows.n_original, rows.note)


def test_copies_are_imbalanced_learns_own():
    X, y = overlapping_classes()
    expected = RandomOverSampler(random_state=5).fit_resample(X, y)
    found = OverSampler("random", random_state=5).resample(X, y)
    np.testing.assert_array_equal(found.X, expected[0])
    np.testing.assert_array_equal(found.y, expected[1])


def test_smote_is_imbalanced_learns_own():
    X, y = overlapping_classes()
    found = OverSampler(kind="smote", random_state=3).resample(X, y)
    for code in (1, 2):
        seed = derived_seed(3, code)
        whole, _ = SMOTE(sampling_strategy={code: 60}, random_state=seed).fit_resample(X, y)
        np.testing.assert_array_equal(found.X[len(y) :][found.y[len(y) :] == code], whole[len(y) :])


def test_ratio_and_seed():
    X, y = overlapping_classes()
    half = OverSampler(kind="smote", ratio=0.5).resample(X, y)
    assert np.bincount(half.y).tolist() == [60, 30, 30]
    again = OverSampler(kind="smote", ratio=0.5).resample(X, y)
    np.testing.assert_array_equal(half.X, again.X)
    other = OverSampler(kind="smote", ratio=0.5, random_state=1).resample(X, y)
    assert not np.array_equal(half.X, other.X)


def test_classes_do_not_share_one_random_stream():
    rng = np.random.default_rng(0)
    rare = rng.integers(0, 1000, size=(8, 1)).astype(float)
    X = np.r_[rng.normal(size=(20, 1)), rare, rare + 4096]
    y = np.repeat([0, 1, 2], [20, 8, 8])
    result = OverSampler(kind="smote").resample(X, y)
    first, second = (result.X[len(y) :][result.y[len(y) :] == code] for code in (1, 2))
    assert not np.allclose(first, second - 4096)


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_too_small_class_is_copied_and_the_note_says_so(kind):
    X, y = overlapping_classes(counts=(30, 4, 20))
    result = OverSampler(kind=kind).resample(X, y)
    assert np.bincount(result.y).tolist() == [30, 30, 30]
    assert f"class 1 has 4 rows, fewer than {kind}'s 6: random oversampling used" in result.note
    new = result.X[result.n_original :]
    new_y = result.y[result.n_original :]
    originals = {row.tobytes() for row in X[y == 1]}
    assert all(row.tobytes() in originals for row in new[new_y == 1])
    assert not all(row.tobytes() in {r.tobytes() for r in X[y == 2]} for row in new[new_y == 2])


@pytest.mark.parametrize("kind", ["borderline_smote", "adasyn"])
def test_class_far_from_all_others_is_copied_with_a_note(kind):
    X, y = overlapping_classes(counts=(40, 20))
    X[y == 1] += 1000.0
    result = OverSampler(kind=kind).resample(X, y)
    assert np.bincount(result.y).tolist() == [40, 40]
    assert "class 1 got" in result.note
    assert kind in result.note


def test_svm_smote_without_usable_support_vectors():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(106, 2))
    y = np.r_[np.zeros(100, int), np.ones(6, int)]  # a rare class scattered among the common one: all noise
    result = OverSampler(kind="svm_smote").resample(X, y)
    assert np.bincount(result.y).tolist() == [100, 100]
    assert "class 1 got" in result.note


def test_enough_rows_leave_no_note():
    X, y = overlapping_classes()
    assert OverSampler(kind="smote").resample(X, y).note == ""
    assert OverSampler(kind="random").resample(X, y).note == ""


def test_random_takes_row_numbers_of_any_shape():
    rows = np.arange(10)
    result = OverSampler().resample(rows, [0] * 8 + [1] * 2)
    assert set(result.X[10:]) <= {8, 9}
    assert len(result.X) == 16
    with pytest.raises(ValueError, match="smote needs"):
        OverSampler(kind="smote").resample(rows, [0] * 8 + [1] * 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kind": "smoot"}, "'smoot' is no sampler"),
        ({"k_neighbors": 0}, "k_neighbors=0"),
        ({"ratio": 0.0}, r"ratio=0\.0"),
        ({"ratio": 1.5}, r"ratio=1\.5"),
    ],
)
def test_wrong_parameters(parameters, message):
    X, y = overlapping_classes()
    with pytest.raises(ValueError, match=message):
        OverSampler(**parameters).resample(X, y)


def test_wrong_rows():
    with pytest.raises(ValueError, match="shape"):
        OverSampler().resample(np.zeros((3, 2)), [0, 1])
    with pytest.raises(ValueError, match="NaN"):
        OverSampler(kind="smote").resample(np.full((9, 2), np.nan), [0] * 6 + [1] * 3)


def test_is_cloneable():
    sampler = OverSampler(kind="adasyn", k_neighbors=3, ratio=0.7, random_state=9)
    assert clone(sampler).get_params() == sampler.get_params()


@given(
    kind=st.sampled_from(sorted(SAMPLERS)),
    counts=st.lists(st.integers(1, 15), min_size=2, max_size=4),
    k_neighbors=st.integers(1, 6),
    ratio=st.floats(0.1, 1.0),
    seed=st.integers(0, 99),
)
def test_any_rows_stay_and_only_rare_classes_grow(kind, counts, k_neighbors, ratio, seed):
    X, y = overlapping_classes(counts, seed=seed)
    sampler = OverSampler(kind, k_neighbors=k_neighbors, ratio=ratio, random_state=seed)
    result = sampler.resample(X, y)
    np.testing.assert_array_equal(result.X[: len(y)], X)
    np.testing.assert_array_equal(result.y[: len(y)], y)
    wanted = 0 if kind == "none" else round(ratio * max(counts))
    assert np.bincount(result.y).tolist() == [max(count, wanted) for count in counts]
    assert np.isfinite(result.X).all()
    if sampler.combines_rows:  # no row leaves its class
        for code in range(len(counts)):
            ours, theirs = X[y == code], result.X[result.y == code]
            assert (theirs >= ours.min(axis=0) - 1e-5).all()
            assert (theirs <= ours.max(axis=0) + 1e-5).all()
        combined = sampler.combine(nearest(X), y)
        np.testing.assert_array_equal(combined.y, result.y)
        np.testing.assert_allclose(combined.X @ X.astype(float), result.X, atol=1e-4)
