from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping

from ensemble_minerals.members import training_rows
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem
from ensemble_minerals.members.heads.logistic_solver import solve_logistic
from ensemble_minerals.members.training_rows import TrainingRows


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
    monkeypatch.setattr(training_rows, "_MOST_BY_PRODUCTS", 10)
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
def test_distances_are_those_of_the_coordinates(d):
    X, _ = overlapping(d=d)
    rows = TrainingRows.of(X)
    to_first = [np.linalg.norm(one - one[0], axis=1) for one in (rows.isometric, rows.coordinates)]
    np.testing.assert_allclose(*to_first, atol=1e-4)
