from __future__ import annotations

import numpy as np
import pytest
from drawn.runtimes import runtime
from scipy.special import log_softmax
from sklearn.base import clone

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble.calibration import TemperatureScaling
from ensemble_minerals.ensemble.candidates import CANDIDATES, CandidateFits
from ensemble_minerals.ensemble.meta_learner import MetaLearner
from ensemble_minerals.ensemble.stacked import WHOLE, StackedEnsemble
from ensemble_minerals.errors import DataError, FitError
from ensemble_minerals.log_space import clipped_log
from ensemble_minerals.members.feature_fits import fit_together, start_together
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.predictor import DenseSpecialist, MemberPredictor
from ensemble_minerals.members.rows import RowData

NAMES = np.array(["bornite", "malachite", "pyrite"])
TREE = {"metallic": ["bornite", "pyrite"]}


def specimens(n=120, seed=0, distance=0.9):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1, 2], [n // 2, n // 3, n - n // 2 - n // 3])
    centers = distance * np.random.default_rng(9).normal(size=(3, 10))
    X = (centers[y] + rng.normal(size=(n, 10))).astype(np.float32)
    order = rng.permutation(n)
    X, y = X[order], y[order]
    return {"color": X[:, :4] * 50 + 9, "lite0": X[:, 4:]}, NAMES[y]


MEMBERS = [
    FeatureMember("tree", ("lite0",), HierarchicalClassifier(TREE, sampler=OverSampler("smote"))),
    FeatureMember("flat", ("color",), FlatClassifier()),
    FeatureMember("both", ("lite0", "color"), OneVsRestClassifier(sampler=OverSampler("random"))),
    FeatureMember("mlp", ("lite0",), FlatClassifier(head=MLPHead(hidden=(6,), max_epochs=4))),
]


@pytest.fixture(scope="module")
def fitted():
    blocks, y = specimens()
    return StackedEnsemble(MEMBERS, n_splits=3).fit(blocks, y)


class Given(FlatClassifier):
    """Answers with the softmax of some of its columns, whatever the labels."""

    def __init__(self, first=0, head=None, sampler=None, prior_correction=True, random_state=0):
        super().__init__(head, sampler, prior_correction, random_state)
        self.first = first

    def finish_fit(self, unsolved, solutions):
        weight = np.zeros((self.n_features_in_, 3), dtype=np.float32)
        weight[self.first + np.arange(3), np.arange(3)] = 1.0
        net = DenseSpecialist(((weight, np.zeros(3, np.float32)),))
        self.predictor_, self.notes_ = MemberPredictor(self._decomposition.taxonomy, False, ((net,),)), ()
        return self


GIVEN = [FeatureMember(f"given {first}", (WHOLE,), Given(first)) for first in (0, 3)]


def test_prediction_is_members_over_folds_then_combination_then_temperature(fitted):
    blocks, y = specimens()
    new, _ = specimens(30, seed=1)
    codes = np.searchsorted(NAMES, y)
    members = []
    for member in MEMBERS:
        matrices = [blocks[name] for name in member.features]
        fits = [
            fit_together([member], matrices, FoldInputs(codes, np.arange(120), fitted.folds_, NAMES), f)
            for f in range(3)
        ]
        parts = [fit[0].fitted.predictor.parts[0] for fit in fits]
        whole = MemberPredictor(
            parts[0].taxonomy, parts[0].one_vs_rest, tuple(part.specialists[0] for part in parts)
        )
        members.append(np.exp(whole.log_proba(np.hstack([new[name] for name in member.features]))))
    combined = fitted.meta_.combination_.log_proba(clipped_log(np.stack(members, axis=1)))
    expected = np.exp(log_softmax(combined / fitted.fitted_ensemble_.temperature, axis=1))
    np.testing.assert_allclose(fitted.predict_proba(new), expected, atol=1e-5)
    np.testing.assert_array_equal(fitted.predict(new), NAMES[expected.argmax(axis=1)])


def test_it_learns(fitted):
    new, truth = specimens(300, seed=5)
    assert fitted.score(new, truth) > 0.75
    assert np.mean(NAMES[fitted.oof_proba_.argmax(axis=1)] == specimens()[1]) > 0.7
    assert fitted.classes_.tolist() == NAMES.tolist()
    np.testing.assert_allclose(fitted.oof_proba_.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(new)), fitted.predict_proba(new))
    assert set(fitted.seconds_) == {member.name for member in MEMBERS}


def test_one_seed_one_result_byte_for_byte(fitted):
    blocks, y = specimens()
    new, _ = specimens(30, seed=1)
    again = StackedEnsemble(MEMBERS, n_splits=3, runtime=runtime(n_jobs=3)).fit(blocks, y)
    np.testing.assert_array_equal(again.out_of_fold_.member_proba, fitted.out_of_fold_.member_proba)
    np.testing.assert_array_equal(again.oof_proba_, fitted.oof_proba_)
    np.testing.assert_array_equal(again.predict_proba(new), fitted.predict_proba(new))
    assert again.meta_.scores_ == fitted.meta_.scores_
    other = StackedEnsemble(MEMBERS, n_splits=3, random_state=1).fit(blocks, y)
    assert not np.array_equal(other.folds_, fitted.folds_)


def test_an_answer_does_not_depend_on_the_other_rows_nor_on_their_order(fitted):
    new, _ = specimens(50, seed=2)
    together = fitted.predict_proba(new)
    backwards = fitted.predict_proba({name: X[::-1] for name, X in new.items()})
    np.testing.assert_allclose(backwards[::-1], together, rtol=1e-9, atol=1e-12)
    for row in (0, 17, 49):
        alone = fitted.predict_proba({name: X[[row]] for name, X in new.items()})
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-9, atol=1e-12)


def test_the_order_of_the_training_rows_does_not_matter_where_nothing_is_drawn():
    blocks, y = specimens()
    folds = np.arange(120) % 3
    members = [MEMBERS[1], FeatureMember("all", ("color", "lite0"), HierarchicalClassifier(TREE))]
    order = np.random.default_rng(3).permutation(120)
    shuffled = {name: X[order] for name, X in blocks.items()}
    one = StackedEnsemble(members).fit(blocks, y, folds=folds)
    other = StackedEnsemble(members).fit(shuffled, y[order], folds=folds[order])
    np.testing.assert_allclose(
        other.out_of_fold_.member_proba, one.out_of_fold_.member_proba[:, order], atol=1e-3
    )
    np.testing.assert_allclose(other.predict_proba(blocks), one.predict_proba(blocks), atol=5e-3)


def test_one_matrix_is_a_mapping_of_one(fitted):
    X = specimens()[0]["lite0"]
    y = specimens()[1]
    members = [FeatureMember("flat", (WHOLE,), FlatClassifier())]
    whole = StackedEnsemble(members, n_splits=3).fit(X, y)
    mapped = StackedEnsemble(members, n_splits=3).fit({WHOLE: X}, y)
    np.testing.assert_array_equal(whole.predict_proba(X), mapped.predict_proba({WHOLE: X}))
    assert whole.n_features_in_ == 6
    with pytest.raises(ValueError, match="expecting 6 features"):
        whole.predict(X[:, :5])


def test_names_of_classes_stay_with_their_columns():
    blocks, y = specimens()
    renamed = np.array(["zz", "mm", "aa"])[np.searchsorted(NAMES, y)]
    folds = np.arange(120) % 3
    members = [MEMBERS[1], FeatureMember("flat too", ("lite0",), FlatClassifier())]
    one = StackedEnsemble(members).fit(blocks, y, folds=folds)
    other = StackedEnsemble(members).fit(blocks, renamed, folds=folds)
    assert other.classes_.tolist() == ["aa", "mm", "zz"]
    assert other.out_of_fold_.classes == ("aa", "mm", "zz")
    np.testing.assert_allclose(other.oof_proba_[:, ::-1], one.oof_proba_, atol=5e-3)
    np.testing.assert_allclose(other.predict_proba(blocks)[:, ::-1], one.predict_proba(blocks), atol=5e-3)


@pytest.mark.parametrize("n_splits", [2, 3])
@pytest.mark.parametrize("name", CANDIDATES)
def test_labels_of_a_fold_never_touch_its_own_answers(name, n_splits):
    """Members that ignore the labels: what is left is the choice, the weights and the temperature."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 120)
    X = np.hstack([2.0 * np.eye(3)[y] + rng.normal(size=(120, 3)) for _ in range(2)])
    folds = np.arange(120) % n_splits
    candidates = [name] if name != "logistic" else list(CANDIDATES)
    before = StackedEnsemble(GIVEN, meta=MetaLearner(candidates)).fit(X, NAMES[y], folds=folds)
    mine = folds == 1
    changed = y.copy()
    changed[mine] = (y[mine] + 1) % 3
    after = StackedEnsemble(GIVEN, meta=MetaLearner(candidates)).fit(X, NAMES[changed], folds=folds)
    np.testing.assert_array_equal(after.out_of_fold_.member_proba, before.out_of_fold_.member_proba)
    np.testing.assert_array_equal(after.oof_proba_[mine], before.oof_proba_[mine])
    assert not np.array_equal(after.oof_proba_[~mine], before.oof_proba_[~mine])


def test_the_score_of_the_whole_is_by_a_combination_and_a_temperature_of_the_other_folds(fitted):
    y = np.searchsorted(NAMES, specimens()[1])
    members = fitted.out_of_fold_.log_proba()
    for fold in range(3):
        rest = fitted.folds_ != fold
        meta = MetaLearner().fit(
            CandidateFits(members[rest], y[rest], fitted.folds_[rest]), np.arange(120)[rest]
        )
        temperature = TemperatureScaling().fit(meta.cross_fitted_, y[rest]).temperature_
        expected = log_softmax(meta.combination_.log_proba(members[~rest]) / temperature, axis=1)
        assert fitted.fold_temperatures_[fold] == temperature
        np.testing.assert_allclose(fitted.oof_proba_[~rest], np.exp(expected), rtol=1e-9)


def test_two_folds_are_split_again_by_row_groups(monkeypatch):
    blocks, y = specimens()
    groups = np.arange(120) // 3
    folds = np.where(groups % 2, 0, 1)  # all groups of a fold have numbers of one parity
    seen = []

    fit = MetaLearner.fit

    def spy(self, fits, groups):
        seen.append((fits.folds, groups))
        return fit(self, fits, groups)

    monkeypatch.setattr(MetaLearner, "fit", spy)
    ensemble = StackedEnsemble(MEMBERS[:2]).fit(blocks, y, groups=groups, folds=folds)
    assert np.isfinite(ensemble.oof_proba_).all()
    assert len(seen) == 3
    for inner, inner_groups in seen:
        counts = np.unique(inner, return_counts=True)[1]
        assert len(counts) == 2
        assert np.ptp(counts) <= 3
        for group in np.unique(inner_groups):
            assert len(np.unique(inner[inner_groups == group])) == 1


def test_without_calibration_the_temperature_is_one():
    blocks, y = specimens()
    raw = StackedEnsemble(MEMBERS[:2], n_splits=3, meta=MetaLearner(calibrate=False)).fit(blocks, y)
    assert raw.fitted_ensemble_.temperature == 1.0
    softened = StackedEnsemble(MEMBERS[:2], n_splits=3).fit(blocks, y)
    assert softened.fitted_ensemble_.temperature != 1.0
    np.testing.assert_array_equal(raw.out_of_fold_.member_proba, softened.out_of_fold_.member_proba)
    assert not np.allclose(raw.oof_proba_, softened.oof_proba_)


def test_refitting_predicts_with_one_model_of_all_rows_and_scores_the_same(fitted):
    blocks, y = specimens()
    new, _ = specimens(30, seed=1)
    again = StackedEnsemble(MEMBERS, n_splits=3, refit=True).fit(blocks, y)
    np.testing.assert_array_equal(again.oof_proba_, fitted.oof_proba_)
    assert not np.allclose(again.predict_proba(new), fitted.predict_proba(new), atol=1e-3)
    codes = np.searchsorted(NAMES, y)
    for member, learner in zip(MEMBERS, again.fitted_ensemble_.members, strict=True):
        assert len(learner.predictor.parts[0].specialists) == 1
        X = [blocks[name] for name in member.features]
        inputs = FoldInputs(codes, np.arange(120), np.zeros(120, int), NAMES)
        (alone,) = fit_together([member], X, inputs, NO_FOLD)
        np.testing.assert_array_equal(learner.log_proba(RowData(new)), alone.fitted.log_proba(RowData(new)))


def test_notes_of_models_of_all_rows_and_of_the_combination_are_kept(monkeypatch):
    blocks, y = specimens()
    few = FeatureMember("few", ("lite0",), FlatClassifier(sampler=OverSampler("smote", k_neighbors=60)))
    monkeypatch.setattr(MetaLearner, "notes_", ("stopped short",), raising=False)
    monkeypatch.setattr(
        MetaLearner, "_take", lambda self, one: setattr(self, "combination_", one.combination)
    )
    notes = StackedEnsemble([few, MEMBERS[1]], n_splits=3, refit=True).fit(blocks, y).notes_
    assert any(name == "few" and note.startswith("on all rows: all classes: class") for name, note in notes)
    assert notes[-1] == ("meta-learner", "stopped short")


class Failing(FlatClassifier):
    def decompose(self, y, names, Z, groups):
        raise ValueError("no convergence")


def test_a_failing_member_stops_the_fit_or_is_left_out():
    blocks, y = specimens()
    members = [MEMBERS[1], FeatureMember("broken", ("lite0",), Failing()), MEMBERS[2]]
    with pytest.raises(FitError, match="'broken' failed in fold 0"):
        StackedEnsemble(members, n_splits=3).fit(blocks, y)
    left = StackedEnsemble(members, n_splits=3, allow_failures=True, refit=True).fit(blocks, y)
    assert {failure.member for failure in left.failures_} == {"broken"}
    assert [learner.name for learner in left.fitted_ensemble_.members] == ["flat", "both"]
    assert left.out_of_fold_.members == ("flat", "both")
    without = StackedEnsemble([MEMBERS[1], MEMBERS[2]], n_splits=3, refit=True).fit(blocks, y)
    np.testing.assert_array_equal(left.predict_proba(blocks), without.predict_proba(blocks))


def test_a_killed_fit_resumes_to_the_same_bytes(tmp_path, fitted, monkeypatch):
    blocks, y = specimens()
    calls = []

    def dying(*arguments, **named):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(arguments)
        return start_together(*arguments, **named)

    monkeypatch.setattr("ensemble_minerals.members.feature_fits.start_together", dying)
    with pytest.raises(KeyboardInterrupt):
        StackedEnsemble(MEMBERS, n_splits=3, checkpoint=tmp_path).fit(blocks, y)
    assert len(calls) == 4
    monkeypatch.setattr("ensemble_minerals.members.feature_fits.start_together", start_together)
    finished = len(list(tmp_path.glob("*.safetensors")))
    assert 0 < finished < 12
    progress = []
    resumed = StackedEnsemble(
        MEMBERS,
        n_splits=3,
        checkpoint=tmp_path,
        runtime=runtime(lambda done, total: progress.append(done)),
    ).fit(blocks, y)
    assert progress[0] == finished
    np.testing.assert_array_equal(resumed.oof_proba_, fitted.oof_proba_)
    new, _ = specimens(30, seed=1)
    np.testing.assert_array_equal(resumed.predict_proba(new), fitted.predict_proba(new))


def test_folds_that_cannot_be_used():
    blocks, y = specimens()
    with pytest.raises(ValueError, match="row group 3 straddles two folds"):
        StackedEnsemble(MEMBERS[:1]).fit(
            blocks, y, groups=np.arange(120) // 2, folds=(np.arange(120) > 6).astype(int)
        )
    groups = np.where(y == "pyrite", 1000 + np.arange(120) % 2, np.arange(120))
    with pytest.raises(DataError, match="'pyrite' has 2"):
        StackedEnsemble(MEMBERS[:1], n_splits=3).fit(blocks, y, groups=groups)


@pytest.mark.parametrize("wrong", ["y", "groups", "folds", "features"])
def test_everything_is_one_a_row(wrong):
    blocks, y = specimens()
    given = {"groups": np.arange(120), "folds": np.arange(120) % 3}
    if wrong in given:
        given[wrong] = given[wrong][:-1]
    elif wrong == "y":
        y = y[:-1]
    else:
        blocks = {**blocks, "lite0": blocks["lite0"][:-1]}
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        StackedEnsemble(MEMBERS[:1]).fit(blocks, y, **given)


def test_one_class_is_an_error():
    blocks, _ = specimens()
    with pytest.raises(ValueError, match="at least two classes; the data has one class: 'quartz'"):
        StackedEnsemble(MEMBERS[:1]).fit(blocks, ["quartz"] * 120)


def test_is_cloned_with_its_members():
    ensemble = StackedEnsemble(MEMBERS, n_splits=4)
    copy = clone(ensemble)
    assert copy.n_splits == 4
    assert [member.name for member in copy.members] == [member.name for member in MEMBERS]
    assert copy.members[0].strategy is not MEMBERS[0].strategy
