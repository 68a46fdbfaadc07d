from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.row_space import RowSpace


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
    with pytest.warns(ConvergenceWarning, match="stopped after 3 steps"):
        assert LogisticHead(max_iter=3, tol=1e-12).fit(X, y).n_iter_ == 3


def test_one_class_is_an_error():
    X, _ = overlapping()
    with pytest.raises(ValueError, match="one class: 'quartz'"):
        LogisticHead().fit(X, ["quartz"] * len(X))


def test_one_class_with_weight_is_an_error():
    X, y = overlapping(2)
    with pytest.raises(ValueError, match="one class: '1'"):
        LogisticHead().fit(X, y, sample_weight=(y == 1).astype(float))
