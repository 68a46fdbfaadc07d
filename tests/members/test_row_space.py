from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.linear_model import LogisticRegression

from ensemble_minerals.members import rows
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.rows import Rows


def correlated(n, d, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, 5)) @ rng.normal(size=(5, d)) + 0.3 * rng.normal(size=(n, d))
    return (mixed * rng.uniform(0.1, 30, d) + rng.uniform(-50, 50, d)).astype(dtype)


def standardized(space, X):
    return (X - space.mean_) / space.scale_


@pytest.mark.parametrize(("n", "d"), [(20, 60), (60, 20), (30, 30)])
def test_inner_products_of_rows_are_those_of_the_standardized_columns(n, d):
    X = correlated(n, d)
    space = RowSpace()
    Z = space.fit_transform(X)
    S = standardized(space, X)
    assert Z.shape[1] <= min(n, d)
    np.testing.assert_allclose(Z @ Z.T, S @ S.T, atol=1e-10)
    np.testing.assert_allclose(pdist(Z), pdist(S), atol=1e-10)
    np.testing.assert_allclose(space.transform(X), Z, atol=1e-9)
    np.testing.assert_allclose(Z.T @ Z, np.diag(np.diag(Z.T @ Z)), atol=1e-10)


@pytest.mark.parametrize("d", [3, 40, 400])
def test_rows_have_unit_mean_square_length_whatever_the_number_of_columns(d):
    X = correlated(50, d)
    Z = RowSpace().fit_transform(X)
    np.testing.assert_allclose(np.mean(np.sum(Z**2, axis=1)), 1.0)
    np.testing.assert_allclose(np.mean(np.sum(RowSpace().fit_transform(X * 1e4) ** 2, axis=1)), 1.0)


@pytest.mark.parametrize("n", [30, 300])
def test_blocks_of_columns_count_alike(n):
    wide, narrow = correlated(n, 90), 1e-3 * correlated(n, 6, seed=1)
    X = np.column_stack([wide, narrow])
    for fit in (RowSpace.fit_transform, lambda space, X: space.fit_rows(Rows([wide, narrow], np.arange(n)))):
        space = RowSpace([90, 6])
        Z = fit(space, X)
        lengths = [
            np.mean(np.sum(block**2, axis=1)) for block in np.split(standardized(space, X), [90], axis=1)
        ]
        np.testing.assert_allclose(lengths, 0.5)
        np.testing.assert_allclose(np.mean(np.sum(Z**2, axis=1)), 1.0)


def test_a_block_that_never_varies_leaves_the_others_as_they_are():
    X = correlated(40, 10)
    with_constant = RowSpace([10, 2]).fit_transform(np.column_stack([X, np.full((40, 2), 7.0)]))
    np.testing.assert_allclose(np.sqrt(2) * with_constant, RowSpace().fit_transform(X))


@pytest.mark.parametrize(("n", "d"), [(40, 90), (90, 12)])
def test_a_penalized_head_gives_the_same_answers_in_the_row_space(n, d):
    X, new = correlated(n + 25, d)[:n], correlated(n + 25, d)[n:]
    y = np.arange(n) % 3
    space = RowSpace()
    Z = space.fit_transform(X)
    exact = {"C": 20.0, "tol": 1e-9, "max_iter": 5000}
    here = LogisticRegression(**exact).fit(Z, y).predict_proba(space.transform(new))
    there = LogisticRegression(**exact).fit(standardized(space, X), y).predict_proba(standardized(space, new))
    np.testing.assert_allclose(here, there, atol=1e-6)


def test_a_map_of_reduced_columns_is_one_of_raw_columns():
    X = correlated(30, 80)
    space = RowSpace()
    Z = space.fit_transform(X)
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(Z.shape[1], 4)), rng.normal(size=4)
    raw, raw_bias = space.fold_in(weight, bias)
    assert raw.dtype == raw_bias.dtype == np.float32
    assert raw.shape == (80, 4)
    new = correlated(200, 80)[30:]
    np.testing.assert_allclose(
        new @ raw.astype(float) + raw_bias, space.transform(new) @ weight + bias, atol=1e-4
    )


def test_columns_that_say_nothing_leave_no_trace():
    X = correlated(40, 10)
    space = RowSpace()
    Z = space.fit_transform(np.column_stack([X, X[:, 0], np.full(40, 7.0)]))
    assert Z.shape[1] == 10
    new = np.column_stack([X, X[:, 0], np.full(40, 8.0)])
    np.testing.assert_allclose(space.transform(new), Z, atol=1e-9)


def test_a_column_that_hardly_varies_is_not_blown_up():
    X = correlated(40, 10)
    hardly = 7.0 + 1e-6 * np.random.default_rng(1).normal(size=40)
    space = RowSpace()
    Z = space.fit_transform(np.column_stack([X, hardly]))
    moved = space.transform(np.column_stack([X, hardly + 1e-3]))  # a thousand of its deviations
    assert np.abs(moved - Z).max() < 0.05


def test_constant_features_still_give_a_column():
    space = RowSpace()
    Z = space.fit_transform(np.full((6, 3), 5.0))
    assert Z.shape == (6, 1)
    assert np.isfinite(space.transform([[1.0, 2.0, 3.0]])).all()
    np.testing.assert_allclose(Z, 0.0)


def test_columns_are_kept_where_both_sides_are_large():
    X = correlated(30, 25)
    space = RowSpace(max_rank=20)
    Z = space.fit_transform(X)
    assert not space._rotation
    np.testing.assert_allclose(Z, standardized(space, X), atol=1e-12)
    np.testing.assert_allclose(space.transform(X), Z, atol=1e-12)
    weight, bias = np.ones((25, 2)), np.zeros(2)
    raw, raw_bias = space.fold_in(weight, bias)
    np.testing.assert_allclose(X @ raw.astype(float) + raw_bias, Z @ weight, atol=1e-4)
    assert RowSpace(max_rank=25).fit(X)._rotation


def test_single_precision_gives_the_same_coordinates():
    X = correlated(40, 70, dtype=np.float32)
    single, double = RowSpace(), RowSpace()
    Z = single.fit_transform(X)
    assert Z.dtype == np.float64
    expected = double.fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(Z @ Z.T, expected @ expected.T, atol=1e-4)
    np.testing.assert_allclose(single.transform(X), Z, atol=1e-4)


def test_new_rows_move_nothing_that_was_learned():
    X, far = correlated(30, 40), correlated(30, 40, seed=9) * 100
    space = RowSpace().fit(X)
    alone = space.transform(X[:1])
    np.testing.assert_allclose(space.transform(np.vstack([X[:1], far]))[:1], alone, rtol=1e-10)


@pytest.mark.parametrize("max_rank", [100, 10])
def test_many_rows_are_read_in_parts_to_the_same_coordinates(monkeypatch, max_rank):
    X = correlated(90, 25, dtype=np.float32)
    chosen = np.random.default_rng(0).permutation(90)[:70]
    matrices = [X[:, :8], X[:, 8:]]
    few = RowSpace(max_rank=max_rank)
    expected = few.fit_rows(Rows(matrices, chosen))
    np.testing.assert_array_equal(expected, RowSpace(max_rank=max_rank).fit_transform(X[chosen]))
    monkeypatch.setattr(rows, "MANY", 40)
    monkeypatch.setattr(rows, "PART", 16)
    many = RowSpace(max_rank=max_rank)
    Z = many.fit_rows(Rows(matrices, chosen))
    assert Z.dtype == np.float32
    assert Z.shape == expected.shape
    np.testing.assert_allclose(Z @ Z.T, expected @ expected.T, atol=1e-4)
    np.testing.assert_allclose(many.transform(X[chosen]), Z, atol=1e-5)
    np.testing.assert_allclose(many.scale_, few.scale_, rtol=1e-4)
    weight, bias = np.random.default_rng(1).normal(size=(Z.shape[1], 3)), np.zeros(3)
    raw, raw_bias = many.fold_in(weight, bias)
    np.testing.assert_allclose(X[chosen] @ raw.astype(float) + raw_bias, Z @ weight, atol=1e-3)
