from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from ensemble_minerals.data.folds import inner_split
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.log_space import log_proba_of_logits
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.specialists import SpecialistTraining, solve_together
from ensemble_minerals.members.training_rows import TrainingRows

COUNTS = (70, 30, 14)
QUICK = MLPHead(hidden=(8,), max_epochs=6)


def overlapping(counts=COUNTS, d=5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    centers = 0.6 * np.random.default_rng(5).normal(size=(len(counts), d))
    return 10 + 4 * (rng.normal(size=(len(y), d)) + centers[y]), y


X, Y = overlapping()
ALL = Subproblem("all classes", np.arange(len(Y)), Y, 3)
MICA = Subproblem("mica", np.flatnonzero(Y > 0), Y[Y > 0] - 1, 2)


def training(head=None, sampler="none", correct=True, seed=0, groups=None, features=X):
    return SpecialistTraining(
        rows=TrainingRows.of(features),
        y=Y,
        groups=np.arange(len(features)) if groups is None else groups,
        head=LogisticHead(tol=1e-7) if head is None else head,
        sampler=OverSampler(sampler),
        prior_correction=correct,
        seed=seed,
    )


def train(shared, nodes):
    unsolved = shared.start(nodes)
    return unsolved.finish(*solve_together([shared.rows], [[unsolved]])[0])


def answers(shared, *nodes):
    specialists, _ = train(shared, nodes)
    return [np.exp(log_proba_of_logits(specialist.logits(X))) for specialist in specialists]


class Spy(ClassifierMixin, BaseEstimator):
    """Answers with the shares of the labels, and keeps what it was given."""

    seen: ClassVar[list[dict]] = []

    def __init__(self, random_state=None):
        self.random_state = random_state

    def _record(self, X, y, **metadata):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares_ = counts / counts.sum()
        Spy.seen.append({"X": X, "y": y, "seed": self.random_state, **metadata})
        return self

    def fit(self, X, y):
        return self._record(X, y)

    def predict_proba(self, X):
        return np.tile(self.shares_, (len(X), 1))


class GroupSpy(Spy):
    """A head that splits its rows by groups."""

    def fit(self, X, y, groups):
        return self._record(X, y, groups=groups)


class SplittingSpy(Spy):
    """A head that splits its rows by groups and lets only one part be oversampled."""

    def fit(self, X, y, groups, resample):
        kept, held = inner_split(y, groups, fraction=0.3, seed=0)
        trained_X, trained_y = resample(X[kept], y[kept])
        return self._record(
            trained_X, trained_y, held=X[held], held_groups=groups[held], kept_groups=groups[kept]
        )


@pytest.fixture(autouse=True)
def _forget():
    Spy.seen = []


def test_copies_as_weights_give_what_a_head_on_the_copied_rows_gives():
    plain = LogisticRegression(C=300.0, tol=1e-9, max_iter=5000)
    for correct in (True, False):
        ours = answers(training(sampler="random", correct=correct), ALL, MICA)
        theirs = answers(training(plain, "random", correct), ALL, MICA)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_synthetic_rows_give_what_a_head_on_them_gives():
    plain = LogisticRegression(C=300.0, tol=1e-9, max_iter=5000)
    ours = answers(training(sampler="smote"), ALL, MICA)
    theirs = answers(training(plain, "smote"), ALL, MICA)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("sampler", ["random", "smote", "adasyn"])
@pytest.mark.parametrize("head", [LogisticHead(C=1.0), GaussianNB(), QUICK], ids=lambda h: type(h).__name__)
def test_correction_restores_the_natural_priors(head, sampler):
    natural = np.array(COUNTS) / sum(COUNTS)
    (corrected,) = answers(training(head, sampler), ALL)
    (shifted,) = answers(training(head, sampler, correct=False), ALL)
    off = np.abs(shifted.mean(axis=0) - natural).max()
    assert off > 0.1
    assert np.abs(corrected.mean(axis=0) - natural).max() < off / 2
    # Only the prior differs: the ratio of the two answers, normalized, is one vector for all rows.
    ratio = corrected / shifted
    ratio /= ratio.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ratio, np.tile(ratio[0], (len(X), 1)), rtol=1e-4)
    assert np.argsort(ratio[0]).tolist() == [2, 1, 0]


def test_two_branches_are_corrected_by_the_log_odds_of_the_second():
    (corrected,) = answers(training(sampler="random"), MICA)
    (shifted,) = answers(training(sampler="random", correct=False), MICA)
    log_odds = np.log(corrected[:, 1] / corrected[:, 0]) - np.log(shifted[:, 1] / shifted[:, 0])
    np.testing.assert_allclose(log_odds, np.log(14 / 30), rtol=1e-4)


def test_without_a_sampler_nothing_is_corrected():
    for head in (LogisticHead(), GaussianNB()):
        np.testing.assert_array_equal(
            answers(training(head), ALL)[0], answers(training(head, correct=False), ALL)[0]
        )


@pytest.mark.parametrize("sampler", ["none", "random", "smote"])
@pytest.mark.parametrize("head", [LogisticHead(), GaussianNB(), QUICK], ids=lambda h: type(h).__name__)
def test_a_specialist_learns_from_its_own_rows_only(head, sampler):
    shared = training(head, sampler)
    others = np.setdiff1d(np.arange(len(Y)), MICA.rows)
    before = train(shared, [MICA])[0][0].logits(X)
    Z = shared.rows.coordinates
    Z[others] += 100 * np.random.default_rng(0).normal(size=Z[others].shape)
    np.testing.assert_array_equal(train(shared, [MICA])[0][0].logits(X), before)


def test_specialists_draw_differently_and_repeat():
    shared = training(Spy(), "smote")
    train(shared, [ALL, ALL])
    train(shared, [ALL, ALL])
    first, second, again, _ = Spy.seen
    assert not np.array_equal(first["X"], second["X"])
    assert first["seed"] != second["seed"]
    np.testing.assert_array_equal(first["X"], again["X"])
    assert first["seed"] == again["seed"]
    train(training(Spy(), "smote", seed=1), [ALL])
    assert not np.array_equal(first["X"], Spy.seen[-1]["X"])


def test_notes_name_the_specialist():
    few = np.concatenate([np.arange(70), [100, 101, 102]])
    node = Subproblem("quartz against the rest", few, (Y[few] > 0).astype(np.intp), 2)
    for head in (LogisticHead(), GaussianNB(), QUICK):
        _, notes = train(training(head, "smote"), [ALL, node])
        assert len(notes) == 1
        rows = "2 rows" if head is QUICK else "3 rows"  # one stops the training
        assert notes[0].startswith(f"quartz against the rest: class 1 has {rows}, fewer than smote's 6")
        assert "random oversampling used" in notes[0]


@pytest.mark.parametrize("sampler", ["none", "smote"])
def test_a_regression_that_was_not_solved_is_noted(sampler):
    _, notes = train(training(LogisticHead(max_iter=2), sampler), [ALL, MICA])
    assert [note.split(":")[0] for note in notes] == ["all classes", "mica"]
    assert "stopped short of its tolerance" in notes[0]


def test_nets_take_raw_features():
    rows = (shared := training()).rows
    raw, reduced = train(shared, [ALL])[0][0].logits(X), LogisticHead(tol=1e-7).fit(rows.coordinates, Y)
    np.testing.assert_allclose(
        softmax(raw, axis=1), reduced.predict_proba(rows.space.transform(X)), atol=1e-4
    )


def test_the_heads_given_are_never_fitted_themselves():
    for head in (LogisticHead(), QUICK, Spy()):
        train(training(head, "random"), [ALL])
        assert not hasattr(head, "classes_")


def test_a_head_that_splits_by_groups_is_given_them_where_nothing_is_added():
    groups = np.arange(len(Y)) // 2
    train(training(GroupSpy(), groups=groups), [MICA])
    np.testing.assert_array_equal(Spy.seen[0]["groups"], groups[MICA.rows])


def test_a_head_that_splits_after_oversampling_is_refused():
    with pytest.raises(ValueError, match=r"copies of a row would be on both sides.*`resample`"):
        train(training(GroupSpy(), "random"), [ALL])


@pytest.mark.parametrize("sampler", ["none", "random", "smote"])
def test_a_head_that_splits_has_only_its_training_part_oversampled(sampler):
    # Pairs of rows that share a group lie far from all others, so a copy or mixture would betray its origin.
    spread = np.arange(len(Y) // 2).repeat(2) * 1000.0
    features = np.column_stack([spread, np.cos(spread)])
    groups = np.arange(len(Y)) // 2
    shared = training(SplittingSpy(), sampler, groups=groups, features=features)
    train(shared, [ALL])
    (seen,) = Spy.seen
    assert not np.intersect1d(seen["held_groups"], seen["kept_groups"]).size
    known = {row.tobytes() for row in seen["X"]}
    assert not any(row.tobytes() in known for row in seen["held"])
    assert len(seen["X"]) > len(seen["kept_groups"]) or sampler == "none"
    if sampler != "none":
        assert np.ptp(np.bincount(seen["y"])) == 0


def test_members_of_different_limits_are_not_solved_together():
    shared = training()
    unsolved = [replace(shared, head=LogisticHead(tol=tol)).start([ALL]) for tol in (1e-4, 1e-6)]
    with pytest.raises(ValueError, match=r"different limits: \[\(1e-06, 100\), \(0.0001, 100\)\]"):
        solve_together([shared.rows], [unsolved])
    assert [len(solutions) for solutions in solve_together([shared.rows], [unsolved[:1]])[0]] == [1]
