"""The first law, tried from outside: nothing learns from a row it is later scored on.

Each test states what an honest ensemble shows, and, where it can, commits the fraud in question and shows that
the same measure exposes it.
"""

from __future__ import annotations

from functools import reduce
from itertools import combinations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.ensemble.stacked import WHOLE, StackedEnsemble
from ensemble_minerals.members import feature_fits, inner_folds
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.rows import RowData, Rows

NAMES = np.array(["bornite", "malachite", "pyrite", "quartz"])
TREE = {"metallic": ["bornite", "pyrite"]}


def photos(counts, *, d, views=1, distance=1.0, seed=0):
    """Rows of several views of each specimen, nearly the same; labels and row groups."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    centers = distance * np.random.default_rng(77).normal(size=(len(counts), d))
    specimen = centers[codes] + rng.normal(size=(len(codes), d))
    X = np.repeat(specimen, views, axis=0) + 0.02 * rng.normal(size=(views * len(codes), d))
    order = rng.permutation(len(X))
    return X[order], np.repeat(codes, views)[order], np.repeat(np.arange(len(codes)), views)[order]


def ensemble_of_all_kinds(**settings):
    random, smote = OverSampler("random"), OverSampler("smote")
    heads = [
        FlatClassifier(),
        FlatClassifier(head=MLPHead(hidden=(16,), max_epochs=15, learning_rate=0.01), sampler=smote),
        OneVsRestClassifier(sampler=random),
        HierarchicalClassifier(TREE, sampler=smote),
        HierarchicalClassifier("auto", sampler=random),
    ]
    members = [FeatureMember(f"member {number}", (WHOLE,), head) for number, head in enumerate(heads)]
    return StackedEnsemble(members, n_splits=3, **settings)


def accuracy(ensemble, y):
    return np.mean(ensemble.oof_proba_.argmax(axis=1) == y)


def test_permuted_labels_fall_to_the_majority_share():
    X, y, groups = photos((45, 30, 18, 12), d=150, views=2, distance=0.4)
    share = np.bincount(y) / len(y)
    prior_loss = -np.sum(share * np.log(share))
    assert accuracy(ensemble_of_all_kinds().fit(X, NAMES[y], groups), y) > 0.85  # there is something to learn
    fooled = []
    for seed in range(3):
        drawn = np.random.default_rng(seed).permutation(y[np.unique(groups, return_index=True)[1]])[groups]
        honest = ensemble_of_all_kinds(random_state=seed).fit(X, NAMES[drawn], groups)
        fooled.append((accuracy(honest, drawn), log_loss(drawn, honest.oof_proba_)))
    mean_accuracy, mean_loss = np.mean(fooled, axis=0)
    assert mean_accuracy < share.max() + 0.07  # three fits of 105 specimens: a standard error of 0.03
    assert mean_loss > prior_loss - 0.03

    leaking = ensemble_of_all_kinds().fit(X, NAMES[drawn])  # views of one specimen on both sides
    assert accuracy(leaking, drawn) > share.max() + 0.2


def test_planted_duplicates_never_straddle_a_split(monkeypatch):
    X, y, groups = photos((40, 30, 24, 18), d=10, views=3)
    groups = groups * 7 + 5  # any numbers will do
    of_row = {row.tobytes(): group for row, group in zip(X, groups, strict=True)}
    splits = {"auto groups": [], "early stopping": []}

    class InnerFolds(StratifiedGroupKFold):
        def split(self, Z, y, rows):
            for inner, held_out in super().split(Z, y, rows):
                splits["auto groups"].append((rows[inner], rows[held_out]))
                yield inner, held_out

    class StoppingHead(MLPHead):
        def fit(self, X, y, *, groups=None, resample=None):
            super().fit(X, y, groups=groups, resample=resample)
            stopping = np.isin(np.arange(len(X)), self.validation_rows_)
            splits["early stopping"].append((groups[~stopping], groups[stopping]))
            return self

    monkeypatch.setattr(inner_folds, "StratifiedGroupKFold", InnerFolds)
    head = StoppingHead(hidden=(4,), max_epochs=2)
    sampler = OverSampler("smote")
    members = [
        FeatureMember("auto", (WHOLE,), HierarchicalClassifier("auto", head=head, sampler=sampler)),
        FeatureMember("flat", (WHOLE,), FlatClassifier(head=head, sampler=sampler)),
        FeatureMember("each", (WHOLE,), OneVsRestClassifier(head=head, sampler=sampler)),
    ]
    fitted = StackedEnsemble(members, n_splits=4).fit(X, y, groups)
    for fold in range(4):
        assert not {of_row[row.tobytes()] for row in X[fitted.folds_ == fold]} & {
            of_row[row.tobytes()] for row in X[fitted.folds_ != fold]
        }
    assert len(splits["auto groups"]) == 4 * 3
    assert len(splits["early stopping"]) >= 4 * (1 + 1 + 4)
    for pairs in splits.values():
        for one_side, other_side in pairs:
            assert len(one_side)
            assert len(other_side)
            assert not np.intersect1d(one_side, other_side).size


class Task:
    """What happened in one fold, in raw features."""

    def __init__(self, training):
        self.training = training
        self.fitted = []
        self.stopped = []
        self.predicted = []


class Watch:
    """Records rows as heads see them, brought back to raw features by the fold's own row space."""

    def __init__(self):
        self.tasks = []
        self.space = None

    def saw(self, kind, Z):
        raw = Z @ reduce(np.matmul, self.space._rotation).T * self.space.scale_ + self.space.mean_
        getattr(self.tasks[-1], kind).append(raw)


WATCH = Watch()


class WatchedRowSpace(RowSpace):
    """The first thing a task does with its training rows."""

    def standardize(self, X):
        WATCH.tasks.append(Task(X.copy()))
        WATCH.space = self
        return super().standardize(X)


class SpyHead(ClassifierMixin, BaseEstimator):
    """A logistic regression that records its rows."""

    def fit(self, X, y):
        WATCH.saw("fitted", X)
        self.inner_ = LogisticRegression().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        WATCH.saw("predicted", X)
        return self.inner_.predict_proba(X)


class SpyMLP(MLPHead):
    """A network that records its rows; its answers need no head."""

    def fit(self, X, y, *, groups=None, resample=None, **metadata):
        def recording(rows, labels):
            drawn, drawn_labels = resample(rows, labels)
            WATCH.saw("fitted", drawn)
            return drawn, drawn_labels

        super().fit(X, y, groups=groups, resample=recording, **metadata)
        WATCH.saw("stopped", X[self.validation_rows_])
        return self


def positions(rows, X, tolerance=2e-3):
    """Position in X of each row, -1 where it is none of them."""
    distance = np.linalg.norm(rows[:, None] - X[None], axis=2)
    return np.where(distance.min(axis=1) < tolerance, distance.argmin(axis=1), -1)


def off_the_segments(points, X):
    """Distance of each point from the nearest segment between two rows."""
    pairs = list(combinations(range(len(X)), 2))
    first, second = X[[a for a, _ in pairs]], X[[b for _, b in pairs]]
    along = second - first
    nearest = np.full(len(points), np.inf)
    for number, point in enumerate(points):
        step = np.clip(np.sum((point - first) * along, axis=1) / np.sum(along**2, axis=1), 0, 1)
        nearest[number] = np.linalg.norm(first + step[:, None] * along - point, axis=1).min()
    return nearest


@pytest.mark.parametrize("sampler", ["none", "random", "smote"])
def test_a_spy_sees_no_held_out_row_nor_copies_or_mixtures_of_one(sampler, monkeypatch):
    X, y, groups = photos((18, 14, 10, 9), d=6, views=2, distance=0.5)
    folds = groups % 3
    monkeypatch.setattr(feature_fits, "RowSpace", WatchedRowSpace)
    strategies = [
        FlatClassifier(head=SpyHead()),
        OneVsRestClassifier(head=SpyHead()),
        HierarchicalClassifier(TREE, head=SpyHead()),
        HierarchicalClassifier("auto", head=SpyHead()),
        FlatClassifier(head=SpyMLP(hidden=(4,), max_epochs=2)),
        HierarchicalClassifier(TREE, head=SpyMLP(hidden=(4,), max_epochs=2)),
    ]
    for number, strategy in enumerate(strategies):
        WATCH.tasks.clear()
        strategy.set_params(sampler=OverSampler(sampler, k_neighbors=3))
        member = FeatureMember(f"spy {number}", (WHOLE,), strategy)
        result = cross_fit([member], RowData({WHOLE: X}), FoldInputs(y, groups, folds, NAMES))
        assert len(WATCH.tasks) == 3
        for fold, task in enumerate(WATCH.tasks):
            training, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            np.testing.assert_array_equal(task.training, X[training])
            assert task.fitted
            for rows in task.fitted:
                known = positions(rows, X)
                assert not np.isin(known, held_out).any()
                strangers = rows[known < 0]
                assert (sampler == "smote") or not len(strangers)
                if len(strangers):  # made of training rows, and of no held-out row
                    assert off_the_segments(strangers, X[training]).max() < 2e-3
            for rows, trained in zip(task.stopped, task.fitted, strict=bool(task.stopped)):
                known, used = positions(rows, X), positions(trained, X)
                assert np.isin(known, training).all()
                assert not np.intersect1d(groups[known], groups[used[used >= 0]]).size
                if len(strangers := trained[used < 0]):  # made of rows that do not stop the training
                    assert off_the_segments(strangers, X[np.unique(used[used >= 0])]).max() < 2e-3
            for rows in task.predicted:
                assert positions(rows, X).tolist() == held_out.tolist()
            assert task.predicted or task.stopped
        assert result.out_of_fold.missing(member.name).size == 0


def test_the_spy_notices_a_leak():
    X, _, _ = photos((9, 8), d=4)
    mixture = 0.5 * X[[0]] + 0.5 * X[[1]]
    assert positions(X[[3, 5]], X).tolist() == [3, 5]
    assert positions(mixture, X).tolist() == [-1]
    assert off_the_segments(mixture, X).max() < 1e-9
    assert off_the_segments(mixture, X[1:]).max() > 0.01  # row 0 was held out


def test_stacking_on_in_sample_predictions_is_caught(monkeypatch):
    """Members with more columns than rows know their training rows by heart."""
    X, y, groups = photos((40, 30, 20), d=200, distance=0.14)
    new, truth, _ = photos((400, 300, 200), d=200, distance=0.14, seed=1)
    names = NAMES[:3]
    members = [
        FeatureMember("flat", (WHOLE,), FlatClassifier()),
        FeatureMember("soft", (WHOLE,), FlatClassifier(head=LogisticHead(C=3.0))),
        FeatureMember("each", (WHOLE,), OneVsRestClassifier(sampler=OverSampler("random"))),
    ]

    def scores(ensemble):
        claimed = ensemble.fit(X, names[y], groups).oof_proba_
        kept = ensemble.predict_proba(new)
        return (
            np.mean(claimed.argmax(axis=1) == y),
            np.mean(kept.argmax(axis=1) == truth),
            log_loss(y, claimed),
            log_loss(truth, kept),
        )

    claimed, kept, claimed_loss, kept_loss = scores(StackedEnsemble(members, n_splits=3))
    assert abs(claimed - kept) < 0.12  # a standard error of 0.05 for 90 rows
    assert abs(claimed_loss - kept_loss) < 0.15

    real = feature_fits.start_together

    def in_sample(members, matrices, inputs, fold, **shared):
        """The fraud: the model that answers for the fold has learned from it, too."""
        started = real(members, matrices, inputs, NO_FOLD)
        for fit in started.fits:
            fit.fold = fold
        started.held_out = Rows(matrices, inputs.held_out(fold))
        return started

    monkeypatch.setattr(feature_fits, "start_together", in_sample)
    boasted, kept, boasted_loss, kept_loss = scores(StackedEnsemble(members, n_splits=3))
    assert boasted > kept + 0.25
    assert kept_loss > boasted_loss + 0.5


def test_the_natural_priors_are_restored_through_the_whole_ensemble():
    X, y, groups = photos((90, 30, 15, 15), d=6, distance=0.4)
    share = np.bincount(y) / len(y)
    strategies = {
        "ovr": OneVsRestClassifier(sampler=OverSampler("random")),
        "tree": HierarchicalClassifier(TREE, sampler=OverSampler("smote")),
    }

    def fit(correct):
        members = [
            FeatureMember(name, (WHOLE,), strategy.set_params(prior_correction=correct))
            for name, strategy in strategies.items()
        ]
        return StackedEnsemble(members, n_splits=3).fit(X, NAMES[y], groups)

    corrected, shifted = fit(True), fit(False)
    for member in range(2):
        assert np.abs(corrected.out_of_fold_.member_proba[member].mean(axis=0) - share).max() < 0.05
        assert np.abs(shifted.out_of_fold_.member_proba[member].mean(axis=0) - share).max() > 0.12


def test_auto_groups_of_a_fold_do_not_look_at_its_labels():
    X, y, groups = photos((30, 30, 30, 30), d=5, distance=0.6)
    folds = groups % 3
    member = FeatureMember("auto", (WHOLE,), HierarchicalClassifier("auto"))
    before = cross_fit([member], RowData({WHOLE: X}), FoldInputs(y, groups, folds, NAMES))
    changed = y.copy()
    changed[folds == 1] = (y[folds == 1] + 1) % 4
    after = cross_fit([member], RowData({WHOLE: X}), FoldInputs(changed, groups, folds, NAMES))
    np.testing.assert_array_equal(
        after.out_of_fold.member_proba[0, folds == 1], before.out_of_fold.member_proba[0, folds == 1]
    )
    assert not np.allclose(
        after.out_of_fold.member_proba[0, folds != 1], before.out_of_fold.member_proba[0, folds != 1]
    )


def test_held_out_rows_move_nothing_that_is_learned():
    """Scaler, rotation, sampler, groups, early stopping: all of the training rows alone."""
    X, y, groups = photos((30, 24, 18, 12), d=5)
    folds = groups % 3
    members = [
        FeatureMember("auto", (WHOLE,), HierarchicalClassifier("auto", sampler=OverSampler("smote"))),
        FeatureMember("mlp", (WHOLE,), FlatClassifier(head=MLPHead(hidden=(4,), max_epochs=3))),
    ]
    before = cross_fit(members, RowData({WHOLE: X}), FoldInputs(y, groups, folds, NAMES))
    moved = X.copy()
    moved[folds == 2] = 1000 + 50 * np.random.default_rng(1).normal(size=moved[folds == 2].shape)
    after = cross_fit(members, RowData({WHOLE: moved}), FoldInputs(y, groups, folds, NAMES))
    for member in ("auto", "mlp"):
        one, other = (run.fitted[member][2].fitted.predictor for run in (before, after))
        np.testing.assert_array_equal(one.log_proba(X), other.log_proba(X))
