from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping
from sklearn.naive_bayes import GaussianNB

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.members import feature_member as module
from ensemble_minerals.members import rows
from ensemble_minerals.members.feature_member import FeatureMember, fit_together
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier

CLASSES = np.array(["bornite", "malachite", "pyrite", "quartz"])
TREE = {"metallic": ["bornite", "pyrite"]}
USED = ("lite0",)

FLAT = FeatureMember("flat", USED, FlatClassifier())
AGAINST = FeatureMember("against", USED, OneVsRestClassifier(LogisticHead(C=3.0), OverSampler("random")))
TOGETHER = [
    FLAT,
    AGAINST,
    FeatureMember("tree", USED, HierarchicalClassifier(TREE, head=LogisticHead(C=10.0))),
    FeatureMember("made", USED, HierarchicalClassifier(TREE, sampler=OverSampler("smote"))),
    FeatureMember("naive", USED, FlatClassifier(GaussianNB())),
]


def fit(members, **changes):
    X, y = overlapping()
    given = {"X": X, "fold": 1} | changes
    numbers = np.arange(len(y))
    return fit_together(members, [given["X"]], FoldInputs(y, numbers, numbers % 3, CLASSES), given["fold"])


def test_members_solved_together_answer_as_alone():
    for member, beside in zip(TOGETHER, fit(TOGETHER), strict=True):
        (alone,) = fit([member])
        assert beside.member == member.name
        np.testing.assert_allclose(beside.proba, alone.proba, atol=1e-6)
        np.testing.assert_allclose(beside.proba.sum(axis=1), 1.0)


@pytest.mark.parametrize("loose", [{"max_iter": 1}, {"tol": 1.0}])
def test_limits_of_a_head_are_its_own(loose):
    limited = FeatureMember("limited", USED, FlatClassifier(LogisticHead(C=100.0, **loose)))
    close, far = fit([FLAT, limited])
    (alone,) = fit([limited])
    np.testing.assert_allclose(far.proba, alone.proba, atol=1e-6)
    np.testing.assert_allclose(close.proba, fit([FLAT])[0].proba, atol=1e-6)
    assert far.notes == alone.notes
    assert not close.notes


def test_one_row_space_and_one_solve_for_all(monkeypatch):
    spaces, solves = [], []
    solve = module.solve_together

    class Spy(module.RowSpace):
        def standardize(self, X):
            spaces.append(X.shape)
            return super().standardize(X)

    monkeypatch.setattr(module, "RowSpace", Spy)
    monkeypatch.setattr(
        module,
        "solve_together",
        lambda rows, unsolved: (
            solves.append([len(one.problems) for one in unsolved]) or solve(rows, unsolved)
        ),
    )
    n_training = int(np.sum(np.arange(len(overlapping()[1])) % 3 != 1))
    fit(TOGETHER)
    assert spaces == [(n_training, overlapping()[0].shape[1])]
    assert solves == [[1, 4, 2, 2]]


def test_time_is_charged_by_columns(monkeypatch):
    clock = [0.0]
    solve = module.solve_together

    def takes_eight_seconds(rows, unsolved):
        clock[0] += 8.0
        return solve(rows, unsolved)

    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(module, "solve_together", takes_eight_seconds)
    assert [one.seconds for one in fit([FLAT, AGAINST, TOGETHER[-1]])] == [4.0, 4.0, 0.0]


def test_members_that_could_not_be_solved_leave_the_others(monkeypatch):
    def runs_out(rows, unsolved):
        raise MemoryError("too large")

    monkeypatch.setattr(module, "solve_together", runs_out)
    failed, kept = fit([FLAT, TOGETHER[-1]])
    assert (failed.member, failed.reason) == ("flat", "MemoryError: too large")
    assert kept.proba.shape[1] == len(CLASSES)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_fail_their_members(monkeypatch, many, value):
    if many:
        monkeypatch.setattr(rows, "MANY", 20)
        monkeypatch.setattr(rows, "PART", 16)
    X, _ = overlapping()
    X[5, 2] = value
    found = fit([FLAT, AGAINST], X=X)
    assert [failure.member for failure in found] == ["flat", "against"]
    assert all(failure.reason.startswith("ValueError:") for failure in found)
    assert all("NaN" in failure.reason or "infinity" in failure.reason for failure in found)


def test_held_out_rows_that_are_not_finite_fail_their_members():
    X, _ = overlapping()
    X[4, 2] = np.nan
    assert all("no probabilities" in failure.reason for failure in fit([FLAT, AGAINST], X=X))


def test_a_class_without_training_rows_fails_all_members():
    X, y = overlapping()
    folds = (y == 2).astype(int)
    (failure,) = fit_together([FLAT], [X], FoldInputs(y, np.arange(len(y)), folds, CLASSES), 1)
    assert failure.reason == "no training row of class pyrite"
