from __future__ import annotations

import numpy as np
import pytest
from drawn.opinions import ALONE, FOLDS, K, N, a_good_and_two_poor_members, draw, informed, opinions
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from ensemble_minerals.ensemble import candidates, meta_learner
from ensemble_minerals.ensemble.calibration import TemperatureScaling
from ensemble_minerals.ensemble.candidates import CANDIDATES, USUAL, CandidateFits
from ensemble_minerals.ensemble.meta_learner import MetaLearner


def only(name, members, y, folds=FOLDS, groups=ALONE):
    return MetaLearner([name], calibrate=False).fit(CandidateFits(members, y, folds), groups)


def test_best_single_is_the_member_of_lowest_log_loss():
    members, y = a_good_and_two_poor_members()
    meta = only("best_single", members, y)
    assert meta.combination_.weight.tolist() == [0.0, 1.0, 0.0]
    np.testing.assert_allclose(meta.log_proba(members), members[:, 1])
    assert meta.scores_["best_single"]["log_loss"] == pytest.approx(log_loss(y, np.exp(members[:, 1])))
    assert meta.scores_["best_single"]["accuracy"] == np.mean(members[:, 1].argmax(axis=1) == y)


def test_uniform_is_the_mean_of_probabilities():
    members = opinions()
    y = draw(np.exp(members[:, 0]))
    np.testing.assert_allclose(
        np.exp(only("uniform", members, y).log_proba(members)), np.exp(members).mean(axis=1)
    )


def test_only_logistic_mends_a_member_that_calls_every_class_by_anothers_name():
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, N)
    members = informed(rng, (y + 1) % K, 4.0)[:, None]
    meta = MetaLearner().fit(CandidateFits(members, y, FOLDS), ALONE)
    assert meta.chosen_ == "logistic"
    assert meta.scores_["logistic"]["accuracy"] > 0.9
    assert meta.scores_["uniform"]["accuracy"] < 0.1


def test_candidates_are_scored_on_folds_they_were_not_fitted_on():
    members, y = a_good_and_two_poor_members()
    meta = MetaLearner().fit(CandidateFits(members, y, FOLDS), ALONE)
    assert list(meta.scores_) == list(USUAL)
    for name in ("greedy", "log_pool"):
        alone = only(name, members, y)
        expected = np.empty((N, K))
        for rest in (FOLDS != 0, FOLDS != 1, FOLDS != 2, FOLDS != 3):
            fitted = only(name, members[rest], y[rest], FOLDS[rest], ALONE[rest])
            expected[~rest] = fitted.log_proba(members[~rest])
        np.testing.assert_allclose(alone.cross_fitted_, expected)
        assert meta.scores_[name]["log_loss"] == pytest.approx(log_loss(y, np.exp(expected)))
        assert meta.scores_[name]["accuracy"] == np.mean(expected.argmax(axis=1) == y)


@pytest.mark.parametrize("name", CANDIDATES)
def test_labels_of_a_fold_do_not_touch_its_own_cross_fitted_answers(name, monkeypatch):
    monkeypatch.setattr(candidates, "PENALTIES", (0.1,))  # else the choice among them looks at all folds
    members, y = a_good_and_two_poor_members()
    before = only(name, members, y).cross_fitted_
    changed = y.copy()
    changed[FOLDS == 2] = (y[FOLDS == 2] + 1) % K
    after = only(name, members, changed).cross_fitted_
    np.testing.assert_array_equal(after[FOLDS == 2], before[FOLDS == 2])
    if name in ("greedy", "log_pool", "logistic"):
        assert not np.array_equal(after[FOLDS != 2], before[FOLDS != 2])


def test_of_equals_the_simplest_is_chosen():
    members = np.repeat(opinions(n_members=1), 3, axis=1)
    y = draw(np.exp(members[:, 0]))
    meta = MetaLearner().fit(CandidateFits(members, y, FOLDS), ALONE)
    assert meta.chosen_ == "best_single"
    without = MetaLearner(CANDIDATES[1:]).fit(CandidateFits(members, y, FOLDS), ALONE)
    assert without.chosen_ == "uniform"


def slightly_better(seed=4):
    """Averaging helps a little: three members of like strength with errors of their own."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, N)
    members = np.stack([informed(rng, y, 2.0), informed(rng, y, 1.85), informed(rng, y, 0.2)], axis=1)
    return members, y


def test_one_standard_error_goes_to_the_simpler_and_without_it_the_best_wins():
    members, y = slightly_better()
    strict = MetaLearner(one_standard_error=False).fit(CandidateFits(members, y, FOLDS), ALONE)
    losses = {name: score["log_loss"] for name, score in strict.scores_.items()}
    assert strict.chosen_ == min(losses, key=losses.get)
    for seed in range(6):
        members, y = slightly_better(seed)
        rule = MetaLearner().fit(CandidateFits(members, y, FOLDS), ALONE)
        best = MetaLearner(one_standard_error=False).fit(CandidateFits(members, y, FOLDS), ALONE)
        assert CANDIDATES.index(rule.chosen_) <= CANDIDATES.index(best.chosen_)
        for name in CANDIDATES[: CANDIDATES.index(rule.chosen_) + 1]:
            gap, error = gap_and_error(members, y, name, best.chosen_)
            assert (gap <= error) == (name == rule.chosen_)


def gap_and_error(members, y, name, best):
    """Mean paired difference of the log-losses and its standard error, written out."""
    loss, of_best = (-only(each, members, y).cross_fitted_[ALONE, y] for each in (name, best))
    difference = loss - of_best
    return difference.mean(), difference.std() / np.sqrt(len(y))


def test_the_standard_error_counts_row_groups_and_not_their_rows():
    members, y = slightly_better()
    difference = -members[ALONE, 0, y] + members[ALONE, 1, y]
    gap, error = meta_learner._paired_gap(difference, ALONE)
    assert error == pytest.approx(difference.std() / np.sqrt(N))
    four = np.repeat(difference, 4)
    assert meta_learner._paired_gap(four, np.repeat(ALONE, 4)) == pytest.approx((gap, error))
    assert meta_learner._paired_gap(four, np.arange(4 * N))[1] == pytest.approx(error / 2)


def test_candidates_may_be_named_in_any_order_but_must_be_known():
    members, y = a_good_and_two_poor_members()
    meta = MetaLearner(["greedy", "best_single"]).fit(CandidateFits(members, y, FOLDS), ALONE)
    assert list(meta.scores_) == ["best_single", "greedy"]
    with pytest.raises(ValueError, match="stacked"):
        MetaLearner(["stacked"]).fit(CandidateFits(members, y, FOLDS), ALONE)
    with pytest.raises(ValueError, match="choose from best_single"):
        MetaLearner([]).fit(CandidateFits(members, y, FOLDS), ALONE)


def test_answers_follow_the_order_of_members_and_classes():
    members, y = a_good_and_two_poor_members()
    for name in CANDIDATES:
        proba = np.exp(only(name, members, y).log_proba(members))
        np.testing.assert_allclose(proba.sum(axis=1), 1.0)
        swapped = np.exp(only(name, members[:, ::-1, ::-1], K - 1 - y).log_proba(members[:, ::-1, ::-1]))
        np.testing.assert_allclose(swapped[:, ::-1], proba, atol=2e-3)


def test_a_regression_that_stopped_short_is_told(monkeypatch):
    members, y = a_good_and_two_poor_members()
    assert only("logistic", members, y).notes_ == ()
    solve = candidates.solve_logistic
    monkeypatch.setattr(candidates, "solve_logistic", lambda *a, **k: solve(*a, **k, max_iter=0))
    assert only("logistic", members, y).notes_ == ("logistic stopped short of its tolerance",)


def test_answers_are_calibrated_by_a_temperature_of_the_cross_fitted_ones():
    members, y = a_good_and_two_poor_members()
    raw = only("uniform", members, y)
    calibrated = MetaLearner(["uniform"]).fit(CandidateFits(members, y, FOLDS), ALONE)
    assert raw.temperature_ == 1.0
    assert calibrated.temperature_ == TemperatureScaling().fit(raw.cross_fitted_, y).temperature_ != 1.0
    np.testing.assert_array_equal(calibrated.cross_fitted_, raw.cross_fitted_)
    expected = log_softmax(raw.log_proba(members) / calibrated.temperature_, axis=1)
    np.testing.assert_allclose(calibrated.log_proba(members), expected)


def test_an_unfitted_copy_keeps_the_settings_and_nothing_else():
    members, y = a_good_and_two_poor_members()
    meta = MetaLearner(["greedy"], one_standard_error=False, greedy_iterations=7, calibrate=False)
    fresh = meta.fit(meta.candidate_fits(members, y, FOLDS), ALONE).unfitted()
    assert vars(fresh) == {
        "candidates": ["greedy"], "one_standard_error": False, "greedy_iterations": 7, "calibrate": False
    }  # fmt: skip
