from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping

from ensemble_minerals.members import training_rows
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem
from ensemble_minerals.members.heads.logistic_solver import solve_logistic
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.rows import Rows
from ensemble_minerals.members.training_rows import SharedBlocks, TrainingRows


def logits(rows, y, X):
    """Log-odds of raw rows by a regression on shared ones."""
    problem = LogisticProblem(y, np.ones(len(y)), 4, 30.0)
    (solution,) = solve_logistic(rows.shared, [problem], tol=1e-6)
    weight, bias = rows.fold_in(solution.weight, solution.bias)
    return X @ weight + bias


@pytest.mark.parametrize("d", [70, 300])
def test_inner_products_give_the_answers_of_coordinates(d, monkeypatch):
    (X, y), (new, _) = overlapping(d=d), overlapping(d=d, seed=1)
    by_products = TrainingRows.of(X)
    assert by_products.gram is not None
    found = logits(by_products, y, new)
    assert "coordinates" not in vars(by_products)  # no factorization was needed
    monkeypatch.setattr(training_rows, "MOST_BY_PRODUCTS", 10)
    by_coordinates = TrainingRows.of(X)
    assert by_coordinates.gram is None
    np.testing.assert_allclose(found, logits(by_coordinates, y, new), atol=1e-3)
    np.testing.assert_allclose(by_products.coordinates, by_coordinates.coordinates)
    np.testing.assert_allclose(by_products.space.transform(new), by_coordinates.space.transform(new))


@pytest.mark.parametrize("d", [8, 300])
def test_some_rows_are_told_by_the_others(d):
    X, y = overlapping(d=d)
    rows, picked = TrainingRows.of(X), np.random.default_rng(0).permutation(len(X))
    trained, held_out = np.sort(picked[:80]), picked[80:]
    shared, asked = rows.split(trained, held_out)
    (solution,) = solve_logistic(shared, [LogisticProblem(y[trained], np.ones(80), 4, 30.0)], tol=1e-6)
    Z = rows.coordinates
    (expected,) = solve_logistic(Z[trained], [LogisticProblem(y[trained], np.ones(80), 4, 30.0)], tol=1e-6)
    np.testing.assert_allclose(
        asked @ solution.weight + solution.bias, Z[held_out] @ expected.weight + expected.bias, atol=1e-3
    )
    assert len(rows) == len(X)


@pytest.mark.parametrize("d", [8, 300])
def test_neighbors_are_those_of_the_coordinates(d):
    X, _ = overlapping(d=d)
    rows, some = TrainingRows.of(X), np.arange(3, len(X), 2)
    own = rows.coordinates[some]
    distances = np.linalg.norm(own[:, None] - own, axis=2) + 1e6 * np.eye(len(some))
    np.testing.assert_array_equal(rows.neighbors(some, 4), distances.argsort(axis=1)[:, :4])


def test_extractors_side_by_side_are_one_row_space_of_blocks():
    X, _ = overlapping(d=300)
    matrices, chosen = [X[:, :200].astype(np.float32), X[:, 200:].astype(np.float32)], np.arange(0, len(X), 2)
    rows, space = TrainingRows(RowSpace(), Rows(matrices, chosen)), RowSpace([200, len(X[0]) - 200])
    Z = space.fit_transform(X[chosen].astype(np.float32))
    np.testing.assert_allclose(rows.gram, Z @ Z.T, atol=1e-6)
    np.testing.assert_allclose(rows.space.scale_, space.scale_)
    np.testing.assert_allclose(rows.coordinates @ rows.coordinates.T, Z @ Z.T, atol=1e-6)
    assert rows.n_dimensions == Z.shape[1]
    weight, bias = np.random.default_rng(1).normal(size=(len(chosen), 3)), np.zeros(3)
    raw, raw_bias = rows.fold_in(weight, bias)
    np.testing.assert_allclose(X[chosen] @ raw + raw_bias, rows.gram @ weight, atol=1e-4)


def test_blocks_that_are_shared_are_computed_once():
    X, _ = overlapping(d=300)
    seen, matrices = [], [X[:, :200], X[:, 200:]]

    class Spy(RowSpace):
        def standardize(self, X):
            seen.append(X.shape[1])
            return super().standardize(X)

    blocks, chosen = SharedBlocks(), np.arange(90)
    one = TrainingRows(Spy(), Rows(matrices[:1], chosen), blocks=blocks)
    both = TrainingRows(Spy(), Rows(matrices, chosen), blocks=blocks)
    assert seen == [200, len(X[0]) - 200]
    np.testing.assert_array_equal(both.gram, TrainingRows(Spy(), Rows(matrices, chosen)).gram)
    np.testing.assert_array_equal(one.gram, TrainingRows(Spy(), Rows(matrices[:1], chosen)).gram)
