from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping
from sklearn.base import clone
from sklearn.metrics import log_loss

from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.logistic_penalty import PATH, PenaltyChoice
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem
from ensemble_minerals.members.heads.logistic_products import ProductRows
from ensemble_minerals.members.heads.logistic_rows import ColumnRows
from ensemble_minerals.members.inner_folds import inner_folds
from ensemble_minerals.members.row_space import RowSpace


def choice(shared, y, n_outcomes, **changes):
    problem = LogisticProblem(y, np.ones(len(y)), n_outcomes, 1.0)
    asked = Subproblem("all", np.arange(len(y)), y, n_outcomes)
    shifts = [np.zeros(problem.n_columns)]
    return PenaltyChoice(shared, [problem], [asked], shifts, **changes)


def by_hand(Z, y, folds):
    """The inner cross-validation, fit by fit."""
    losses = []
    for C in PATH:
        proba = np.empty((len(y), y.max() + 1))
        for number in np.unique(folds):
            head = LogisticHead(C, tol=1e-6).fit(Z[folds != number], y[folds != number])
            proba[folds == number] = head.predict_proba(Z[folds == number])
        losses.append(log_loss(y, proba))
        if len(losses) > 1 and losses[-1] >= losses[-2]:
            break
    return PATH[int(np.argmin(losses))]


@pytest.mark.parametrize("n_outcomes", [2, 4])
@pytest.mark.parametrize(("d", "distance"), [(8, 1.0), (8, 6.0), (300, 1.0)])
def test_the_choice_is_that_of_a_cross_validation_by_hand(n_outcomes, d, distance):
    X, y = overlapping(n_outcomes, d)
    X = X + (distance - 1.0) * np.eye(n_outcomes, d)[y]
    Z, folds = RowSpace().fit_transform(X), np.arange(len(y)) % 3
    expected = by_hand(Z, y, folds)
    for shared in (ColumnRows(Z), ProductRows(Z @ Z.T)):
        assert choice(shared, y, n_outcomes).choose(folds) == expected


def test_noise_gets_a_strong_penalty_and_classes_far_apart_a_weak_one():
    X, y = overlapping(d=40)
    folds = np.arange(len(y)) % 4
    far = RowSpace().fit_transform(X + 30 * np.eye(4, 40)[y])
    noise = RowSpace().fit_transform(np.random.default_rng(1).normal(size=(len(y), 40)))
    assert choice(ColumnRows(noise), y, 4).choose(folds) == PATH[0]
    assert choice(ColumnRows(far), y, 4).choose(folds) > PATH[2]


def test_labels_of_a_held_out_row_teach_nothing_about_it():
    """Each row is there twice, in a group of its own: who splits the pairs believes that any row can be known."""
    X, y = overlapping(2, d=100)
    shuffled = np.random.default_rng(0).permutation(y)
    Z, twice = RowSpace().fit_transform(np.repeat(X, 2, axis=0)), np.repeat(shuffled, 2)
    groups = np.repeat(np.arange(len(y)), 2)
    together = LogisticHead("auto").fit(Z, twice, groups=groups)
    apart = LogisticHead("auto").fit(Z, twice)
    assert PATH[0] == together.C_
    assert PATH[3] < apart.C_


def test_without_a_fold_that_leaves_every_outcome_there_is_no_choice():
    X, y = overlapping(2)
    assert choice(ColumnRows(X), y, 2).choose(None) is None
    assert choice(ColumnRows(X), y, 2).choose(y.astype(np.int8)) is None


def test_the_head_by_itself():
    X, y = overlapping()
    Z = RowSpace().fit_transform(X)
    head = LogisticHead(C="auto").fit(Z, y)
    assert choice(ColumnRows(Z), y, 4).choose(inner_folds(y, np.arange(len(y)), 5, seed=0)) == head.C_
    np.testing.assert_array_equal(head.coef_, LogisticHead(C=head.C_).fit(Z, y).coef_)
    assert clone(head).C == "auto"
    with pytest.raises(ValueError, match="C='best' must be a number above 0, or 'auto'"):
        LogisticHead(C="best").fit(Z, y)
