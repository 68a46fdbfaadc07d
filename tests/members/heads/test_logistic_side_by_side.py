from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn.rows import overlapping
from scipy.sparse import csr_array

from ensemble_minerals.members.heads import logistic_products, logistic_rows
from ensemble_minerals.members.heads.logistic_problem import Combinations, LogisticProblem
from ensemble_minerals.members.heads.logistic_products import ProductRows
from ensemble_minerals.members.heads.logistic_solver import solve_logistic, solve_side_by_side


def some(seed, n):
    """A set of n rows, some of which are far away, and regressions of every kind on them."""
    (X, y), rng = overlapping(d=60, seed=seed), np.random.default_rng(seed)
    chosen = rng.permutation(len(y))[:n]
    X, y = X[chosen] / 4, y[chosen]
    X[: 5 * seed] *= 40
    if seed == 1:
        X[:, 7:] = 0
    pairs = np.stack([np.arange(n), rng.permutation(n)], axis=1)
    made = csr_array((np.full(2 * n, 0.5), pairs.ravel(), np.arange(0, 2 * n + 1, 2)))
    problems = [
        LogisticProblem(y, np.ones(n), 4, 300.0),
        *(
            LogisticProblem((y == k).astype(np.intp), rng.integers(1, 3, n) * 1.0, 2, 10.0**k)
            for k in range(4)
        ),
        LogisticProblem(y, np.ones(n), 4, 30.0, Combinations(made)),
        LogisticProblem((y == 1).astype(np.intp), (y < 2) * 1.0, 2, 30.0, Combinations(made)),
    ]
    return ProductRows(X @ X.T), problems


@pytest.mark.parametrize("small", [0, 50_000])
@pytest.mark.parametrize("multiplications", [0, 1_000_000])
def test_beside_others_it_is_solved_to_the_same_bits(monkeypatch, small, multiplications):
    monkeypatch.setattr(logistic_rows, "_SMALL", small)
    monkeypatch.setattr(logistic_products, "_SMALL", multiplications)
    sets = [some(seed, n) for seed, n in ((0, 100), (1, 90), (2, 100), (3, 50))]
    found = solve_side_by_side([rows for rows, _ in sets], [problems for _, problems in sets])
    for (rows, problems), together in zip(sets, found, strict=True):
        for one, other in zip(together, solve_logistic(rows, problems), strict=True):
            assert one.converged
            np.testing.assert_array_equal(one.weight, other.weight)
            np.testing.assert_array_equal(one.bias, other.bias)


def test_one_that_cannot_be_solved_leaves_those_beside_it():
    rows, problems = some(0, 100)
    broken = [replace(problem, C=np.nan) for problem in problems]
    spoilt, found = solve_side_by_side([rows, rows], [broken, problems])
    assert not any(one.converged for one in spoilt)
    for one, other in zip(found, solve_logistic(rows, problems), strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
