from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.members import feature_fits as module
from ensemble_minerals.members import rows
from ensemble_minerals.members.feature_fits import fit_together
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.discriminant import DiscriminantHead
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.logistic_penalty import PATH
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.rows import RowData, Rows
from ensemble_minerals.members.training_rows import TrainingRows

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


# -- views as rows -------------------------------------------------------------------------------------------


def in_views(X, spread):
    """Two views of each row, whose mean it is."""
    shift = spread * np.random.default_rng(3).normal(size=X.shape)
    return np.stack([X - shift, X + shift], axis=1)


def fit_views(members, views, X=None, fold=1):
    y = overlapping()[1]
    numbers = np.arange(len(y))
    inputs = FoldInputs(y, numbers, numbers % 3, CLASSES)
    return fit_together(members, [views.mean(axis=1) if X is None else X], inputs, fold, views=views)


@pytest.mark.parametrize("columns", [8, 200])
def test_views_that_are_alike_are_one_row(columns):
    X, _ = overlapping(d=columns)
    linear = [*TOGETHER[:4], FeatureMember("discriminant", USED, FlatClassifier(DiscriminantHead()))]
    for alone, viewed in zip(fit(linear, X=X), fit_views(linear, in_views(X, 0.0)), strict=True):
        np.testing.assert_allclose(viewed.proba, alone.proba, atol=1e-4)


def test_each_view_counts_a_part_and_the_mean_of_the_log_odds_answers():
    X, y = overlapping()
    views, held_out = in_views(X, 1.0), np.arange(len(y)) % 3 == 1
    (result,) = fit_views([FLAT], views)
    space, trained = RowSpace(), views[~held_out].reshape(-1, X.shape[1])
    head = LogisticRegression(C=LogisticHead().C, tol=1e-8, max_iter=10_000)
    head.fit(space.fit_transform(trained), np.repeat(y[~held_out], 2), np.full(len(trained), 0.5))
    logits = [head.decision_function(space.transform(views[held_out, number])) for number in (0, 1)]
    np.testing.assert_allclose(result.proba, softmax(np.mean(logits, axis=0), axis=1), atol=1e-3)
    assert np.abs(result.proba - fit([FLAT])[0].proba).max() > 0.05


def test_rows_made_between_photos_are_made_of_the_same_view_of_both():
    X, _ = overlapping()
    rows_of = TrainingRows(RowSpace(), Rows((in_views(X, 1.0).reshape(-1, 8),), np.arange(2 * len(X))), 2)
    between = csr_array(([0.25, 0.75], ([0, 0], [3, 5])), shape=(1, len(X)))
    problem = rows_of.problem(np.array([2]), np.ones(1), 4, 1.0, between)
    assert problem.targets.tolist() == [2, 2]
    assert problem.weights.tolist() == [0.5, 0.5]
    made = problem.combinations.of(np.eye(2 * len(X)))  # column j: what view j adds to each made row
    assert {(row, view): made[view, row] for view, row in np.argwhere(made)} == {
        (0, 6): 0.25, (0, 10): 0.75, (1, 7): 0.25, (1, 11): 0.75,
    }  # fmt: skip


def test_groups_learned_inside_see_views_as_one_row():
    X, _ = overlapping(d=200)
    learned = FeatureMember("learned", USED, HierarchicalClassifier("auto"))
    (alone,), (viewed,) = fit([learned], X=X), fit_views([learned], in_views(X, 0.0))
    np.testing.assert_allclose(viewed.proba, alone.proba, atol=1e-4)


@pytest.mark.parametrize(
    "strategy",
    [
        FlatClassifier(LogisticHead(), OverSampler("svm_smote")),
        FlatClassifier(DiscriminantHead(), OverSampler("random")),
        FlatClassifier(MLPHead()),
    ],
)
def test_what_cannot_learn_from_views_as_rows_says_so(strategy):
    (result,) = fit_views([FeatureMember("other", USED, strategy)], in_views(overlapping()[0], 1.0))
    assert "views can be rows for a logistic head" in result.reason


def test_a_member_on_several_matrices_sees_the_mean_of_the_views():
    X, y = overlapping()
    numbers = np.arange(len(y))
    inputs = FoldInputs(y, numbers, numbers % 3, CLASSES)
    several = FeatureMember("several", ("lite0", "color"), FlatClassifier())
    data = RowData({"lite0": X, "color": X[:, :2]}, views={"lite0": in_views(X, 1.0)})
    plain = RowData(data.matrices)
    np.testing.assert_array_equal(
        several.fit_fold(data, inputs, 1).proba, several.fit_fold(plain, inputs, 1).proba
    )
    assert FLAT.fit_fold(data, inputs, 1).proba[0, 0] != FLAT.fit_fold(plain, inputs, 1).proba[0, 0]
    some = data.take(np.array([4, 2]))
    np.testing.assert_allclose(some.views["lite0"].mean(axis=1), some.matrices["lite0"])


# -- a chosen penalty ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["none", "random", "smote"])
@pytest.mark.parametrize("strategy", [FlatClassifier, OneVsRestClassifier])
def test_a_chosen_penalty_is_one_of_the_path_and_is_used(strategy, sampler):
    chosen = FeatureMember("chosen", USED, strategy(LogisticHead(C="auto"), OverSampler(sampler)))
    given = [FeatureMember(f"{C}", USED, strategy(LogisticHead(C=C), OverSampler(sampler))) for C in PATH]
    (answer,) = fit([chosen])
    distances = [np.abs(answer.proba - one.proba).max() for one in fit(given)]
    assert min(distances) < 1e-6
    assert answer.notes == ()


def test_where_a_class_is_one_object_no_penalty_can_be_chosen():
    X, y = overlapping()
    groups = np.where(y == 3, 0, np.arange(len(y)) + 1)
    inputs = FoldInputs(y, groups, np.where(y == 3, -1, np.arange(len(y)) % 3), CLASSES)
    (answer,) = fit_together(
        [FeatureMember("chosen", USED, FlatClassifier(LogisticHead(C="auto")))], [X], inputs, 1
    )
    assert "too few objects of a class to choose a penalty, C is 300" in answer.notes[0]
