"""The discriminant with a shrunk covariance, against scikit-learn's and by what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.members.heads import discriminant
from ensemble_minerals.members.heads.discriminant import DiscriminantHead


def wide(n_classes=3, n=60, d=200, seed=0):
    """More columns than rows, as features of photos are."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    means = np.random.default_rng(9).normal(size=(n_classes, d)) * 0.2
    return means[y] + rng.normal(size=(n, d)), y


@pytest.mark.parametrize("shrinkage", [0.1, 0.7])
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_equals_scikit_learn_but_for_the_temperature(n_classes, shrinkage):
    X, y = overlapping(n_classes)
    X = X / (X - np.stack([X[y == k].mean(axis=0) for k in range(n_classes)])[y]).std(axis=0)
    head = DiscriminantHead(shrinkage).fit(X, y)
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X, y)
    found = head.decision_function(X) * head.temperature_
    if n_classes == 2:
        np.testing.assert_allclose(found, expected.decision_function(X), atol=1e-6)
    else:
        np.testing.assert_allclose(
            log_normalize(found), log_normalize(expected.decision_function(X)), atol=1e-6
        )


@pytest.mark.parametrize("d", [40, 200])
def test_more_columns_than_rows_are_solved_as_fewer_are(d):
    X, y = wide(d=d)
    head = DiscriminantHead(0.3).fit(X, y)
    means = np.stack([X[y == k].mean(axis=0) for k in range(3)])
    within = X - means[y]
    covariance = 0.7 * within.T @ within / len(X) + 0.3 * np.mean(within**2) * np.eye(d)
    ((weight, bias),) = head.layers_
    np.testing.assert_allclose(weight * head.temperature_, np.linalg.solve(covariance, means.T), atol=1e-8)
    centers = np.einsum("kd,dk->k", means, weight) / 2
    np.testing.assert_allclose(bias, np.log(1 / 3) / head.temperature_ - centers, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_inner_products_of_the_rows_are_enough(n_classes):
    X, y = wide(n_classes)
    groups = np.arange(len(y)) // 2
    head, by_products = DiscriminantHead(0.3).fit(X, y, groups), DiscriminantHead(0.3)
    coefficients, bias = by_products.fit_products(X @ X.T, X.shape[1], y, groups)
    found = X @ X.T @ coefficients + bias
    expected = head.decision_function(X)
    np.testing.assert_allclose(found[:, 0] if n_classes == 2 else found, expected, atol=1e-8)
    assert by_products.temperature_ == pytest.approx(head.temperature_)
    few = X[:, :20]  # of fewer columns than rows, too
    found, bias = by_products.fit_products(few @ few.T, 20, y, groups)
    expected = DiscriminantHead(0.3).fit(few, y, groups).layers_[0]
    np.testing.assert_allclose(few.T @ found, expected[0], atol=1e-6)
    np.testing.assert_allclose(bias, expected[1], atol=1e-6)


def test_of_very_many_inner_products_some_of_each_class_are_learned_from(monkeypatch):
    X, y = wide(n=90)
    monkeypatch.setattr(discriminant, "_MAX_ROWS", 60)
    head, by_products = DiscriminantHead(0.3).fit(X, y), DiscriminantHead(0.3)
    coefficients, _ = by_products.fit_products(X @ X.T, X.shape[1], y, np.arange(90))
    assert np.count_nonzero(coefficients.any(axis=1)) == 60
    np.testing.assert_allclose(X.T @ coefficients, head.layers_[0][0], atol=1e-8)


def test_it_is_less_sure_than_the_plain_discriminant_and_right_as_often():
    X, y = wide(n=120)
    new, y_new = wide(n=3000, seed=1)
    head = DiscriminantHead().fit(X, y)
    assert head.temperature_ > 1.5
    log_proba = np.log(head.predict_proba(new))[np.arange(len(new)), y_new]
    plain = log_normalize(head.decision_function(new) * head.temperature_)[np.arange(len(new)), y_new]
    assert log_proba.mean() > plain.mean() + 0.05
    np.testing.assert_array_equal(
        head.predict(new), head.classes_[head.decision_function(new).argmax(axis=1)]
    )


def test_rows_of_a_group_are_left_out_together():
    X, y = wide(n=40)
    X, y, groups = np.repeat(X, 3, axis=0), np.repeat(y, 3), np.repeat(np.arange(40), 3)
    apart = DiscriminantHead().fit(X, y)  # a row's copies train what answers it, so it looks surer than it is
    together = DiscriminantHead().fit(X, y, groups=groups)
    assert together.temperature_ > 2 * apart.temperature_


def test_of_very_many_rows_some_of_each_class_are_learned_from(monkeypatch):
    monkeypatch.setattr(discriminant, "_MAX_ROWS", 60)
    rng = np.random.default_rng(2)
    y = np.array([0] * 500 + [1] * 20 + [2] * 3)
    X = rng.normal(size=(523, 4)) + 3 * y[:, None]
    head = DiscriminantHead().fit(X, y)
    assert np.mean(head.predict(X) == y) > 0.95
    every = discriminant._some_of_each_class(y, 60)
    np.testing.assert_array_equal(np.bincount(y[every]), [20, 20, 3])


@pytest.mark.parametrize("shrinkage", [0.0, 1.5])
def test_a_shrinkage_out_of_range_is_refused(shrinkage):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        DiscriminantHead(shrinkage).fit(*wide())
