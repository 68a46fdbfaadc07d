from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from ensemble_minerals.members import rows
from ensemble_minerals.members.logistic import LogisticHead, LogisticProblem, _Stack, solve_logistic
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.scorer import branch_log_proba

COUNTS = (60, 25, 15, 12)


def overlapping(n_classes=4, d=8, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), COUNTS[:n_classes])
    centers = np.random.default_rng(42).normal(size=(n_classes, d))
    return rng.normal(size=(len(y), d)) + centers[y], y


def reference(X, y, C, weight=None):
    return LogisticRegression(C=C, tol=1e-10, max_iter=20_000).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("C", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_equals_scikit_learn(n_classes, C, weighted):
    X, y = overlapping(n_classes)
    new, _ = overlapping(n_classes, seed=1)
    weight = np.random.default_rng(3).integers(1, 6, len(y)).astype(float) if weighted else None
    head = LogisticHead(C=C).fit(X, y, sample_weight=weight)
    expected = reference(X, y, C, weight)
    np.testing.assert_allclose(head.predict_proba(new), expected.predict_proba(new), atol=1e-4)
    assert head.coef_.shape == expected.coef_.shape
    assert head.intercept_.shape == expected.intercept_.shape
    assert head.decision_function(new).shape == expected.decision_function(new).shape
    assert 1 <= head.n_iter_ < head.max_iter


@pytest.mark.parametrize("n_classes", [2, 4])
def test_equals_scikit_learn_on_more_columns_than_rows(n_classes):
    X, y = overlapping(n_classes, d=400)
    new, _ = overlapping(n_classes, d=400, seed=1)
    space = RowSpace()
    Z = space.fit_transform(X)
    head = LogisticHead().fit(Z, y)
    expected = reference(Z, y, 300.0)
    np.testing.assert_allclose(
        head.predict_proba(space.transform(new)), expected.predict_proba(space.transform(new)), atol=1e-4
    )


def test_columns_of_very_different_size():
    X, y = overlapping(3)
    X = X * np.logspace(-2, 2, X.shape[1])
    head = LogisticHead(C=1.0).fit(X, y)
    np.testing.assert_allclose(head.predict_proba(X), reference(X, y, 1.0).predict_proba(X), atol=1e-4)


def test_problems_solved_together_are_those_solved_alone():
    X, y = overlapping()
    problems = [
        LogisticProblem(y, np.ones(len(y)), 4),
        LogisticProblem((y == 2).astype(np.intp), np.ones(len(y)), 2),
        LogisticProblem(np.where(y < 3, y, -1), (y < 3).astype(float), 3),
    ]
    together = solve_logistic(X, problems, 5.0, tol=1e-8)
    for problem, (weight, bias) in zip(problems, together, strict=True):
        ((alone, alone_bias),) = solve_logistic(X, [problem], 5.0, tol=1e-8)
        assert weight.shape == (X.shape[1], problem.n_columns)
        np.testing.assert_allclose(
            np.exp(branch_log_proba(X @ weight + bias)),
            np.exp(branch_log_proba(X @ alone + alone_bias)),
            atol=1e-6,
        )


@pytest.mark.parametrize("n_branches", [2, 3])
def test_a_row_of_weight_zero_is_absent_and_a_weight_of_three_is_three_copies(n_branches):
    X, y = overlapping(3)
    targets = np.minimum(y, n_branches - 1)
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    ignored = np.where(weights > 0, targets, -1)
    ((weight, bias),) = solve_logistic(
        X, [LogisticProblem(ignored, weights.astype(float), n_branches)], 2.0, tol=1e-8
    )
    repeated = np.repeat(np.arange(len(y)), weights)
    head = LogisticHead(C=2.0, tol=1e-8).fit(X[repeated], targets[repeated])
    np.testing.assert_allclose(np.exp(branch_log_proba(X @ weight + bias)), head.predict_proba(X), atol=1e-6)


def test_gradient_is_that_of_the_objective():
    X, y = overlapping(3, d=4)
    weights = np.random.default_rng(1).uniform(0, 2, len(y))
    stack = _Stack(X, [LogisticProblem(y, weights, 3), LogisticProblem(np.minimum(y, 1), weights, 2)], 0.7)
    scale = np.random.default_rng(2).uniform(0.5, 2, (4, 5))
    at = np.random.default_rng(3).normal(size=20)
    numeric = approx_fprime(at, lambda flat: stack.objective(flat, scale)[0], 1e-6)
    np.testing.assert_allclose(stack.objective(at, scale)[1], numeric, rtol=1e-3, atol=1e-3)


def test_classes_that_can_be_separated_do_not_run_away():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    head = LogisticHead(C=10.0).fit(X, [0, 0, 1, 1])
    expected = reference(X, [0, 0, 1, 1], 10.0)
    np.testing.assert_allclose(head.predict_proba(X), expected.predict_proba(X), atol=1e-4)


def test_columns_follow_the_sorted_labels_whatever_the_order_of_the_rows():
    X, y = overlapping(3)
    names = np.array(["quartz", "bornite", "pyrite"])[y]
    head = LogisticHead(C=3.0, tol=1e-8).fit(X, names)
    backwards = LogisticHead(C=3.0, tol=1e-8).fit(X[::-1], names[::-1])
    assert head.classes_.tolist() == ["bornite", "pyrite", "quartz"]
    np.testing.assert_allclose(head.predict_proba(X), backwards.predict_proba(X), atol=1e-6)
    assert set(head.predict(X)) == set(names)
    assert np.mean(head.predict(X) == names) > 0.85


def test_a_limit_of_steps_is_kept():
    X, y = overlapping()
    assert LogisticHead(max_iter=3, tol=1e-12).fit(X, y).n_iter_ <= 6  # at most as many in either scaling


def test_one_class_is_an_error():
    X, _ = overlapping()
    with pytest.raises(ValueError, match="one class: 'quartz'"):
        LogisticHead().fit(X, ["quartz"] * len(X))


def test_many_rows_in_single_precision_give_the_same_answers(monkeypatch):
    X, y = overlapping(4, d=6)
    problems = [
        LogisticProblem(y, np.random.default_rng(1).uniform(0, 2, len(y)), 4),
        LogisticProblem(np.minimum(y, 1), np.ones(len(y)), 2),
    ]
    expected = solve_logistic(X, problems, 5.0, tol=1e-6)
    monkeypatch.setattr(rows, "MANY", 20)
    monkeypatch.setattr(rows, "PART", 16)
    found = solve_logistic(X.astype(np.float32), problems, 5.0, tol=1e-4)
    for (weight, bias), (exact, exact_bias) in zip(found, expected, strict=True):
        proba = np.exp(branch_log_proba(X @ weight + bias))
        np.testing.assert_allclose(proba, np.exp(branch_log_proba(X @ exact + exact_bias)), atol=1e-4)
