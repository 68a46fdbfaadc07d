"""A plain hold-out in place of folds: trained once on the rest, scored once, and nothing learned from it."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.runtimes import runtime

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import TRAINING_FOLD
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.evaluation.learning_curve import learning_curve
from ensemble_minerals.members import feature_fits as module
from ensemble_minerals.members.feature_fits import start_together
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.rows import RowData

NAMES = np.array(["bornite", "malachite", "pyrite"])
MEMBERS = [
    FeatureMember("flat", ("a",), FlatClassifier()),
    FeatureMember("each", ("a", "b"), OneVsRestClassifier(sampler=OverSampler("random"))),
    FeatureMember("auto", ("b",), HierarchicalClassifier("auto", sampler=OverSampler("smote"))),
    FeatureMember("mlp", ("b",), FlatClassifier(head=MLPHead(hidden=(6,), max_epochs=4))),
]


def specimens(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 3)
    X = np.random.default_rng(9).normal(size=(3, 10))[y] + rng.normal(size=(n, 10))
    return {"a": X[:, :4], "b": X[:, 4:]}, y


BLOCKS, Y = specimens()
GROUPS = np.arange(120) // 2
HELD_OUT = GROUPS % 5 == 0
FOLDS = np.where(HELD_OUT, 0, TRAINING_FOLD)
INPUTS = FoldInputs(Y, GROUPS, FOLDS, NAMES)
NEW = specimens(40, seed=1)[0]


def fit(blocks=BLOCKS, y=Y, **settings):
    return StackedEnsemble(MEMBERS, **settings).fit(blocks, NAMES[y], GROUPS, FOLDS)


@pytest.fixture(scope="module")
def fitted():
    return fit()


def test_members_are_trained_on_the_other_rows_and_on_no_other(monkeypatch):
    seen = {}

    def spy(members, matrices, inputs, fold, **shared):
        for member in members:
            seen.setdefault(member.name, []).append(inputs.training(fold).tolist())
        return start_together(members, matrices, inputs, fold, **shared)

    monkeypatch.setattr(module, "start_together", spy)
    fit()
    assert seen == {member.name: [np.flatnonzero(~HELD_OUT).tolist()] for member in MEMBERS}


def test_held_out_rows_move_nothing_that_answers(fitted):
    """Neither their features nor their labels; both change a fit that has seen them."""
    moved = {name: X.copy() for name, X in BLOCKS.items()}
    for X in moved.values():
        X[HELD_OUT] = 50 + 9 * np.random.default_rng(1).normal(size=X[HELD_OUT].shape)
    changed = np.where(HELD_OUT, (Y + 1) % 3, Y)
    for again in (fit(moved), fit(y=changed)):
        np.testing.assert_array_equal(again.predict_proba(NEW), fitted.predict_proba(NEW))
        assert again.fitted_ensemble_.temperature == 1.0
    np.testing.assert_array_equal(fit(y=changed).oof_proba_, fitted.oof_proba_)
    seen = np.where(HELD_OUT, TRAINING_FOLD, np.where(GROUPS % 5 == 1, 0, TRAINING_FOLD))
    leaking = [StackedEnsemble(MEMBERS).fit(BLOCKS, NAMES[y], GROUPS, seen) for y in (Y, changed)]
    assert not np.allclose(leaking[0].predict_proba(NEW), leaking[1].predict_proba(NEW), atol=1e-3)


def test_only_held_out_rows_have_answers(fitted):
    np.testing.assert_array_equal(fitted.answered_, np.flatnonzero(HELD_OUT))
    assert np.isnan(fitted.out_of_fold_.member_proba[:, ~HELD_OUT]).all()
    assert np.isnan(fitted.oof_proba_[~HELD_OUT]).all()
    np.testing.assert_allclose(fitted.oof_proba_[HELD_OUT].sum(axis=1), 1.0)
    assert np.mean(fitted.oof_proba_[HELD_OUT].argmax(axis=1) == Y[HELD_OUT]) > 0.7


def test_members_count_alike_and_the_temperature_is_one(fitted):
    assert fitted.meta_.chosen_ == "uniform"
    np.testing.assert_array_equal(fitted.meta_.combination_.weight, [0.25] * 4)
    assert fitted.fitted_ensemble_.temperature == 1.0
    assert fitted.fold_temperatures_ == {0: 1.0}
    mean = fitted.out_of_fold_.member_proba[:, HELD_OUT].mean(axis=0)
    np.testing.assert_allclose(fitted.oof_proba_[HELD_OUT], mean, atol=1e-5)
    right = fitted.oof_proba_[HELD_OUT][np.arange(HELD_OUT.sum()), Y[HELD_OUT]]
    assert fitted.meta_.scores_ == {
        "uniform": {
            "log_loss": pytest.approx(-np.log(right).mean()),
            "accuracy": np.mean(fitted.oof_proba_[HELD_OUT].argmax(axis=1) == Y[HELD_OUT]),
        }
    }


def test_what_answers_is_what_was_scored(fitted):
    """The fitted ensemble on the rows held out gives the answers that were scored: it was trained no further."""
    asked = {name: X[HELD_OUT] for name, X in BLOCKS.items()}
    np.testing.assert_allclose(fitted.predict_proba(asked), fitted.oof_proba_[HELD_OUT], atol=1e-5)


def test_one_member_alone_is_itself():
    alone = StackedEnsemble(MEMBERS[:1]).fit(BLOCKS, NAMES[Y], GROUPS, FOLDS)
    np.testing.assert_allclose(
        alone.oof_proba_[HELD_OUT], alone.out_of_fold_.member_proba[0, HELD_OUT], atol=1e-5
    )


def test_a_killed_fit_is_taken_up(tmp_path, fitted, monkeypatch):
    fit(checkpoint=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(MEMBERS)
    monkeypatch.setattr(module, "start_together", lambda *_: pytest.fail("it was fitted again"))
    np.testing.assert_array_equal(fit(checkpoint=tmp_path).oof_proba_, fitted.oof_proba_)


def test_progress_counts_each_member_once():
    told = []
    cross_fit(MEMBERS[:2], RowData(BLOCKS), INPUTS, runtime(lambda *steps: told.append(steps)))
    assert told[-1] == (2, 2)


def test_a_hold_out_is_neither_refitted_nor_folded():
    with pytest.raises(ValueError, match="refit=True trains on all rows, those held out, too"):
        fit(refit=True)
    for fold, number in ((TRAINING_FOLD, 0), (1, 2)):
        folds = np.where(GROUPS % 5 == 1, fold, np.where(HELD_OUT & (number == 2), 0, TRAINING_FOLD))
        with pytest.raises(ValueError, match=f"want one fold to be predicted, not {number}"):
            StackedEnsemble(MEMBERS).fit(BLOCKS, NAMES[Y], GROUPS, folds)
    straddling = FOLDS.copy()
    straddling[0] = TRAINING_FOLD
    with pytest.raises(ValueError, match="row group 0 straddles"):
        StackedEnsemble(MEMBERS).fit(BLOCKS, NAMES[Y], GROUPS, straddling)


def test_the_learning_curve_answers_the_hold_out(fitted):
    curve = learning_curve(
        MEMBERS[:1], RowData(BLOCKS), INPUTS, fitted.out_of_fold_.member_proba[[0]], shares=(0.5,)
    )
    half, whole = curve.points
    assert whole.rows == (~HELD_OUT).sum()
    assert 0.4 < half.rows / whole.rows < 0.6
    answers = fitted.out_of_fold_.member_proba[0, HELD_OUT].argmax(axis=1)
    assert whole.accuracy.estimate == pytest.approx(np.mean(answers == Y[HELD_OUT]))
