from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping
from scipy.optimize import approx_fprime
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from ensemble_minerals.log_space import log_proba_of_logits
from ensemble_minerals.members import rows
from ensemble_minerals.members.heads import logistic_rows
from ensemble_minerals.members.heads.logistic_problem import Combinations, LogisticProblem
from ensemble_minerals.members.heads.logistic_products import ProductRows
from ensemble_minerals.members.heads.logistic_rows import ColumnRows
from ensemble_minerals.members.heads.logistic_solver import LogisticStack, solve_logistic


def some(y):
    """A flat node, a specialist against the rest and a node of some of the rows, each with a penalty of its own."""
    return [
        LogisticProblem(y, np.ones(len(y)), 4, 300.0),
        LogisticProblem((y == 2).astype(np.intp), np.random.default_rng(1).uniform(0, 3, len(y)), 2, 0.1),
        LogisticProblem(np.where(y < 3, y, -1), (y < 3).astype(float), 3, 5.0),
    ]


def answers(X, solution):
    return np.exp(log_proba_of_logits(X @ solution.weight + solution.bias))


@pytest.fixture(params=[np.float64, np.float32])
def steps_in(request, monkeypatch):
    """The precision of steps; small problems take double."""
    if request.param is np.float32:
        monkeypatch.setattr(logistic_rows, "_SMALL", 0)
    return request.param


def by_columns(X, new):
    """Rows as regressions share them, and others as what solutions are multiplied with."""
    return ColumnRows(X), new


def by_products(X, new):
    return ProductRows(X @ X.T), new @ X.T


either_way = pytest.mark.parametrize("shared", [by_columns, by_products])


@either_way
@pytest.mark.parametrize("d", [8, 400])
def test_each_of_several_equals_scikit_learns(shared, d, steps_in):
    (X, y), (new, _) = overlapping(d=d), overlapping(d=d, seed=1)
    X, new = (3 * rows / np.sqrt(d) for rows in (X, new))
    rows, asked = shared(X, new)
    problems = some(y)
    for problem, solution in zip(problems, solve_logistic(rows, problems), strict=True):
        rows_of_it = problem.targets >= 0
        exact = LogisticRegression(C=problem.C, tol=1e-10, max_iter=20_000).fit(
            X[rows_of_it], problem.targets[rows_of_it], sample_weight=problem.weights[rows_of_it]
        )
        np.testing.assert_allclose(answers(asked, solution), exact.predict_proba(new), atol=1e-4)


@either_way
@pytest.mark.parametrize("n_outcomes", [2, 3])
def test_combinations_of_rows_are_solved_as_those_rows(shared, n_outcomes, steps_in):
    X, y = overlapping(3)
    rng = np.random.default_rng(0)
    share, first, second = rng.uniform(size=90), *rng.integers(0, len(X), (2, 90))
    matrix = csr_array(
        (np.append(share, 1 - share), (np.tile(np.arange(90), 2), np.append(first, second))), (90, len(X))
    )
    targets, weights = np.minimum(y[first], n_outcomes - 1), rng.uniform(0, 2, 90)
    plain = LogisticProblem(targets, weights, n_outcomes, 30.0)
    (expected,) = solve_logistic(matrix @ X, [plain], tol=1e-6)
    rows, asked = shared(X, X)
    combined = LogisticProblem(targets, weights, n_outcomes, 30.0, Combinations(matrix))
    beside = some(y)[1:2]
    found, other = solve_logistic(rows, [combined, *beside])
    np.testing.assert_allclose(answers(asked, found), answers(X, expected), atol=1e-4)
    np.testing.assert_allclose(
        answers(asked, other), answers(asked, *solve_logistic(rows, beside)), atol=1e-4
    )


def test_problems_solved_together_are_those_solved_alone():
    X, y = overlapping()
    problems = some(y)
    for problem, solution in zip(problems, solve_logistic(X, problems, tol=1e-8), strict=True):
        (alone,) = solve_logistic(X, [problem], tol=1e-8)
        assert solution.weight.shape == (X.shape[1], problem.n_columns)
        np.testing.assert_allclose(answers(X, solution), answers(X, alone), atol=1e-6)


@pytest.mark.parametrize("n_outcomes", [2, 3])
def test_a_row_of_weight_zero_is_absent_and_a_weight_of_three_is_three_copies(n_outcomes):
    X, y = overlapping(3)
    targets = np.minimum(y, n_outcomes - 1)
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    ignored = np.where(weights > 0, targets, -1)
    repeated = np.repeat(np.arange(len(y)), weights)
    (weighted,) = solve_logistic(
        X, [LogisticProblem(ignored, weights.astype(float), n_outcomes, 2.0)], tol=1e-8
    )
    copies = LogisticProblem(targets[repeated], np.ones(len(repeated)), n_outcomes, 2.0)
    (copied,) = solve_logistic(X[repeated], [copies], tol=1e-8)
    np.testing.assert_allclose(answers(X, weighted), answers(X, copied), atol=1e-6)


def test_gradient_is_that_of_the_losses():
    X, y = overlapping(4, d=4)
    stack = LogisticStack(ColumnRows(X), some(y))
    at = np.random.default_rng(3).normal(size=(8, 5))
    numeric = approx_fprime(at.ravel(), lambda flat: stack.evaluate(flat.reshape(8, 5)).losses.sum(), 1e-6)
    np.testing.assert_allclose(stack.evaluate(at).gradient.ravel(), numeric, rtol=1e-3, atol=1e-3)


def test_bends_as_the_gradient_changes(steps_in):
    X, y = overlapping(4, d=4)
    stack = LogisticStack(ColumnRows(X), some(y))
    at, direction = np.random.default_rng(3).normal(size=(2, 8, 5)) / 4
    ahead, behind = (stack.evaluate(at + step * direction).gradient for step in (1e-5, -1e-5))
    hessian = stack.hessian(stack.evaluate(at))
    found = hessian.product(direction.astype(steps_in))
    expected = (ahead - behind) / 2e-5
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_the_preconditioner_of_columns_is_the_hessians_diagonal(steps_in):
    X, y = overlapping(4, d=4)
    stack = LogisticStack(ColumnRows(X), some(y))
    hessian = stack.hessian(stack.evaluate(np.random.default_rng(3).normal(size=(8, 5))))
    directions = np.eye(40, dtype=steps_in).reshape(40, 8, 5)
    found = [hessian.product(one)[one > 0][0] for one in directions]
    np.testing.assert_allclose(1 / hessian.preconditioner.ravel(), found, rtol=1e-3)


def test_from_a_solution_it_is_a_step_and_the_same():
    X, y = overlapping()
    stack = LogisticStack(ColumnRows(X), some(y))
    found, n_steps = stack.minimize(1e-6, 100)
    again, n_again = stack.minimize(1e-6, 100, found)
    assert n_steps > 3
    assert n_again <= 1
    for problem, one in zip(some(y), solve_logistic(X, some(y), start=again), strict=True):
        (alone,) = solve_logistic(X, [problem], tol=1e-6)
        np.testing.assert_allclose(answers(X, one), answers(X, alone), atol=1e-4)


@either_way
def test_a_step_too_long_is_shortened(shared):
    # One far row of the wrong label: from zero, Newton's first step overshoots.
    X = np.array([[1.0], [1.2], [0.8], [1.1], [60.0]])
    problem = LogisticProblem(np.array([0, 0, 1, 1, 1]), np.array([40.0, 40.0, 1.0, 1.0, 1.0]), 2, 1e4)
    rows, asked = shared(X, X)
    (found,) = solve_logistic(rows, [problem], tol=1e-7)
    exact = LogisticRegression(C=1e4, tol=1e-12, max_iter=100_000)
    exact.fit(X, problem.targets, sample_weight=problem.weights)
    np.testing.assert_allclose(answers(asked, found), exact.predict_proba(X), atol=1e-4)


def test_running_out_of_steps_is_told_of_those_that_did():
    X, y = overlapping()
    assert all(one.converged for one in solve_logistic(X, some(y)))
    steps = [LogisticStack(ColumnRows(X), [problem]).minimize(1e-4, 100)[1] for problem in some(y)]
    assert min(steps) < max(steps)
    found = solve_logistic(X, some(y), max_iter=min(steps))
    assert [one.converged for one in found] == [number == min(steps) for number in steps]


def test_many_rows_in_single_precision_give_the_same_answers(monkeypatch):
    X, y = overlapping(4, d=6)
    expected = solve_logistic(X, some(y), tol=1e-6)
    monkeypatch.setattr(rows, "MANY", 20)
    monkeypatch.setattr(rows, "PART", 16)
    monkeypatch.setattr(logistic_rows, "_SMALL", 0)
    found = solve_logistic(X.astype(np.float32), some(y))
    for one, exact in zip(found, expected, strict=True):
        np.testing.assert_allclose(answers(X, one), answers(X, exact), atol=1e-4)


@either_way
def test_a_hard_problem_changes_nothing_for_those_beside_it(shared):
    X, y = overlapping()
    rows, asked = shared(X, X)
    hard = LogisticProblem((y == 0).astype(np.intp), np.ones(len(y)), 2, 1e9)
    problems = [*some(y), hard]
    found = solve_logistic(rows, problems)
    for problem, one in zip(problems, found, strict=True):
        (alone,) = solve_logistic(rows, [problem])
        np.testing.assert_allclose(answers(asked, one), answers(asked, alone), atol=1e-4)
        assert one.converged == alone.converged


def test_values_that_are_no_numbers_are_not_solved():
    X, y = overlapping()
    X[3, 1] = np.nan
    assert not any(one.converged for one in solve_logistic(X, some(y)))


def test_entries_whose_squares_leave_single_precision_are_solved_in_double(monkeypatch):
    monkeypatch.setattr(logistic_rows, "_SMALL", 0)
    X, y = overlapping(d=6)
    problems = [LogisticProblem(y, np.ones(len(y)), 4, 1e-40)]
    (expected,) = solve_logistic(X, [LogisticProblem(y, np.ones(len(y)), 4, 1.0)])
    (found,) = solve_logistic(1e20 * X, problems)
    np.testing.assert_allclose(answers(1e20 * X, found), answers(X, expected), atol=1e-4)
