from __future__ import annotations

import numpy as np
import pytest
from drawn.opinions import ALONE, FOLDS, K, N, a_good_and_two_poor_members, draw, opinions
from scipy.optimize import approx_fprime
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from ensemble_minerals.ensemble.candidates import CANDIDATES, PENALTIES, CandidateFits
from ensemble_minerals.ensemble.combination import centered


def only(name, members, y, **settings):
    (candidate,) = CandidateFits(members, y, np.zeros(len(y), int), **settings).fit(name)
    return candidate.combination


def test_greedy_shares_the_weight_of_members_that_complete_each_other():
    y = np.arange(N) % K
    knows = np.where(np.eye(K)[y] == 1, 0.9, 0.05)
    lost = np.full((N, K), 1 / K)
    first_half = (np.arange(N) // K % 2 == 0)[:, None]
    useless = np.roll(knows, 1, axis=1)
    members = np.log(
        np.stack([np.where(first_half, knows, lost), useless, np.where(first_half, lost, knows)], axis=1)
    )
    found = only("greedy", members, y)
    np.testing.assert_allclose(found.weight, [0.5, 0.0, 0.5])


def test_greedy_stays_with_a_member_nothing_can_improve():
    y = np.arange(N) % K
    knows = np.log(np.where(np.eye(K)[y] == 1, 0.98, 0.01))
    members = np.stack([np.roll(knows, 1, axis=1), knows], axis=1)
    found = only("greedy", members, y, greedy_iterations=7)
    assert found.weight.tolist() == [0.0, 1.0]


def test_greedy_draws_with_replacement_and_keeps_the_best_prefix():
    members = opinions(n_members=4, seed=3)
    y = draw(np.einsum("nmk,m->nk", np.exp(members), [0.6, 0.3, 0.1, 0.0]))
    losses = []
    for iterations in (1, 5, 50):
        found = only("greedy", members, y, greedy_iterations=iterations)
        shares = found.weight
        assert any(
            np.allclose(shares * drawn, np.round(shares * drawn)) for drawn in range(1, iterations + 1)
        )
        assert shares.sum() == pytest.approx(1.0)
        losses.append(-found.log_proba(members)[ALONE, y].mean())
    assert losses[0] > losses[1] >= losses[2]
    assert shares.argmax() == 0
    assert shares[3] < 0.2


def test_members_are_calibrated_each_by_itself_before_their_mean():
    members = opinions(n=4000, n_members=2)
    y = draw(np.exp(members[:, 0]))
    sure = log_softmax(np.stack([3 * members[:, 0], members[:, 0] / 2], axis=1), axis=2)
    found = only("calibrated", sure, y)
    np.testing.assert_allclose(found.weight, [1 / 3, 2], rtol=0.1)
    np.testing.assert_allclose(np.exp(found.log_proba(sure)), np.exp(members[:, 0]), atol=0.03)


def test_log_pool_finds_the_powers_the_answers_were_drawn_with():
    members = opinions(n=6000, n_members=3, seed=1)
    powers = np.array([0.9, 0.4, 0.0])
    y = draw(softmax(np.einsum("nmk,m->nk", members, powers), axis=1))
    found = only("log_pool", members, y)
    np.testing.assert_allclose(found.weight, powers, atol=0.08)
    assert (found.weight >= 0).all()


def test_log_pool_softens_a_member_that_is_too_sure():
    members = opinions(n=4000, n_members=1)
    y = draw(np.exp(members[:, 0]))
    sure = log_softmax(3 * members, axis=2)
    weight = only("log_pool", sure, y).weight
    assert weight[0] == pytest.approx(1 / 3, rel=0.1)


def test_log_pool_solves_its_objective():
    members, y = a_good_and_two_poor_members()

    def objective(weight):
        pooled = log_softmax(np.einsum("nmk,m->nk", members, weight), axis=1)
        return -pooled[ALONE, y].sum() + 0.5 * 3 * np.sum((weight - 1 / 3) ** 2)

    weight = only("log_pool", members, y).weight
    slope = approx_fprime(weight, objective, 1e-6)
    assert np.abs(slope[weight > 0]).max(initial=0) < 0.01
    assert (slope[weight == 0] > -0.01).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_is_scikit_learns_on_centered_log_probabilities(n_classes):
    rng = np.random.default_rng(2)
    members = log_softmax(rng.normal(size=(N, 2, n_classes)), axis=2)
    y = draw(np.exp(members.mean(axis=1)) / np.exp(members.mean(axis=1)).sum(axis=1, keepdims=True))
    found = CandidateFits(members, y, FOLDS).fit("logistic")
    for penalty, (combination, converged) in zip(PENALTIES, found, strict=True):
        expected = LogisticRegression(C=penalty, tol=1e-9, max_iter=5000).fit(centered(members), y)
        np.testing.assert_allclose(
            np.exp(combination.log_proba(members)), expected.predict_proba(centered(members)), atol=1e-4
        )
        assert converged
        assert combination.weight.shape == (2 * n_classes, n_classes)


@pytest.mark.parametrize("name", CANDIDATES)
def test_folds_are_left_out_in_either_order_and_fitted_once(name):
    members, y = a_good_and_two_poor_members()
    whole = CandidateFits(members, y, FOLDS)
    rest = (FOLDS != 1) & (FOLDS != 3)
    alone = CandidateFits(members[rest], y[rest], FOLDS[rest]).fit(name)
    before = whole.without(1).without(3).fit(name)
    after = whole.without(3).without(1)
    np.testing.assert_array_equal(after.members, members[rest])
    for one, other, same in zip(before, after.fit(name), alone, strict=True):
        assert one is other
        np.testing.assert_array_equal(one.combination.weight, same.combination.weight)
        np.testing.assert_array_equal(one.combination.bias, same.combination.bias)


def test_whoever_leaves_out_other_folds_is_fitted_to_other_rows():
    members, y = a_good_and_two_poor_members()
    whole = CandidateFits(members, y, FOLDS)
    weights = [
        one.fit("log_pool")[0].combination.weight
        for one in (whole, whole.without(0), whole.without(1), whole.without(0).without(1))
    ]
    assert len({weight.tobytes() for weight in weights}) == 4


def test_a_candidate_must_be_known():
    with pytest.raises(ValueError, match="'logpool' is no candidate; choose from best_single"):
        only("logpool", *a_good_and_two_poor_members())


def test_what_is_fitted_ahead_is_what_nested_cross_fitting_needs(monkeypatch):
    members = opinions(n_members=3, seed=5)
    y = draw(np.exp(members[:, 0]))
    folds = np.arange(len(y)) % 3
    late = CandidateFits(members, y, folds)
    ahead = CandidateFits(members, y, folds)
    ahead.fit_ahead(CANDIDATES, n_jobs=2)
    expected = [
        fits.fit(name) for fits in (late, late.without(1), late.without(2).without(0)) for name in CANDIDATES
    ]
    monkeypatch.delattr(CandidateFits, "_fit")
    found = [
        fits.fit(name)
        for fits in (ahead, ahead.without(1), ahead.without(0).without(2))
        for name in CANDIDATES
    ]
    for theirs, ours in zip(expected, found, strict=True):
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(one.combination.weight, other.combination.weight, rtol=1e-6)
