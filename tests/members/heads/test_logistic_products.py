from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping
from scipy.sparse import csr_array

from ensemble_minerals.members.heads import logistic_rows
from ensemble_minerals.members.heads.logistic_newton import NewtonEquations, RowKernel
from ensemble_minerals.members.heads.logistic_problem import Combinations, LogisticProblem
from ensemble_minerals.members.heads.logistic_products import ProductRows
from ensemble_minerals.members.heads.logistic_solver import solve_logistic


@pytest.mark.parametrize("is_softmax", [True, False])
def test_a_step_solves_the_equations_of_coefficients_and_biases(is_softmax):
    rng = np.random.default_rng(0)
    X, _ = overlapping(4, d=60)
    X = X / 8 + 0.2
    n, k = len(X), 4
    gram, penalty, weights = X @ X.T, np.full((k, 1), 0.2), rng.uniform(0.5, 2, (1, n))
    proba = rng.dirichlet(np.ones(k), n).T
    gradient, excess = rng.normal(size=(k, n)), rng.normal(size=k)
    gradient, excess = gradient - gradient.mean(axis=0), excess - excess.mean()
    rest, norms = np.square(X[:, 5:]).sum(axis=1)[None, None], np.diag(gram)[None, None]
    kernel = RowKernel(lambda values, _: values @ gram, np.ones((1, 1, n)), X[None, :, :5], rest, norms)
    block = [one[None] for one in (penalty, weights, proba, gradient, excess)]
    newton = NewtonEquations(kernel, *block, is_softmax=is_softmax)
    change, products = newton.solve(np.full((1, 1, 1), 1e-16), np.ones((1, 1, 1), dtype=bool))
    found, bias = change[0], newton.bias(change, products)[0]
    np.testing.assert_allclose(products, change @ gram, atol=1e-9)
    if is_softmax:
        of_rows = np.einsum("kn,kj->nkj", proba, np.eye(k)) - np.einsum("kn,jn->nkj", proba, proba)
    else:
        of_rows = np.einsum("kn,kj->nkj", proba - proba**2, np.eye(k))
    bent = np.einsum("n,nkj,jn->kn", weights[0], of_rows, found @ gram + bias)
    np.testing.assert_allclose(penalty * found + bent, gradient, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), -excess, atol=1e-9)


def test_a_solution_is_found_again_in_a_step_of_combinations_too(monkeypatch):
    monkeypatch.setattr(logistic_rows, "_SMALL", 0)
    X, y = overlapping(3, d=60)
    rng = np.random.default_rng(0)
    pairs = np.stack([np.arange(len(X)), rng.permutation(len(X))], axis=1)
    matrix = csr_array((np.full(2 * len(X), 0.5), pairs.ravel(), np.arange(0, 2 * len(X) + 1, 2)))
    problems = [
        LogisticProblem(y, np.ones(len(y)), 3, 30.0, Combinations(matrix)),
        *(LogisticProblem((y == k).astype(np.intp), (y != 0).astype(float), 2, 3.0 * k) for k in (1, 2)),
    ]
    rows = ProductRows(X @ X.T)
    found = solve_logistic(rows, problems, tol=1e-5)
    assert all(one.converged for one in found)
    again = solve_logistic(rows, problems, start=found, tol=1e-5, max_iter=1)
    for one, other in zip(found, again, strict=True):
        assert other.converged
        np.testing.assert_allclose(rows.gram @ one.weight, rows.gram @ other.weight, atol=1e-3)
    assert not any(one.converged for one in solve_logistic(rows, problems, max_iter=1))
    assert (found[1].weight[y == 0] == 0).all()


@pytest.mark.parametrize(("far", "C"), [(1.0, 1e5), (1000.0, 300.0)])
def test_where_single_precision_leads_nowhere_steps_are_taken_in_double(far, C, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(5, 30)), 8, axis=0), rng.integers(0, 2, 40)
    X[5] *= far
    problem = LogisticProblem(y, np.ones(40), 2, C)
    (expected,) = solve_logistic(X, [problem], tol=1e-7, max_iter=1000)
    monkeypatch.setattr(logistic_rows, "_SMALL", 0)
    (found,) = solve_logistic(ProductRows(X @ X.T), [problem])
    assert found.converged
    proba, exact = (
        1 / (1 + np.exp(-logits))
        for logits in (X @ X.T @ found.weight + found.bias, X @ expected.weight + expected.bias)
    )
    np.testing.assert_allclose(proba, exact, atol=1e-3)
