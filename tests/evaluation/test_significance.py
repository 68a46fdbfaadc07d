"""Tests of one arm against another: hand-worked examples, and false findings counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import contingency_tables, multitest

from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.evaluation.significance import (
    WHY,
    corrected_resampled_t,
    doubt,
    holm,
    mcnemar,
    verdict,
)


def pairs(both, only_first, only_second, neither):
    first = [True] * both + [True] * only_first + [False] * only_second + [False] * neither
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def test_mcnemar_by_hand():
    found = mcnemar(*pairs(80, 10, 2, 8))
    assert (found.only_first, found.only_second, found.n) == (10, 2, 100)
    assert found.discordance == pytest.approx(0.12)
    assert found.p == pytest.approx(2 * (1 + 12 + 66) / 2**12)


@pytest.mark.parametrize(("b", "c"), [(1, 0), (5, 5), (3, 11), (40, 25)])
def test_mcnemar_is_that_of_statsmodels(b, c):
    theirs = contingency_tables.mcnemar([[0, b], [c, 0]], exact=True).pvalue
    assert mcnemar(*pairs(20, b, c, 5)).p == pytest.approx(min(theirs, 1.0))


def test_mcnemar_knows_no_side():
    first, second = pairs(20, 9, 3, 5)
    assert mcnemar(first, second).p == mcnemar(second, first).p


def test_identical_arms_are_never_significant():
    right = np.random.default_rng(0).random(200) < 0.9
    assert mcnemar(right, right).p == 1.0
    assert mcnemar(right, right, groups=np.arange(200) // 3).p == 1.0
    found = corrected_resampled_t(np.zeros((3, 5)))
    assert (found.mean, found.p, found.low, found.high) == (0.0, 1.0, 0.0, 0.0)


def test_a_row_group_is_one_pair():
    first, second = pairs(10, 6, 0, 0)
    groups = np.r_[np.arange(10), [10] * 6]  # six wins are six views of one specimen
    assert mcnemar(first, second).p < 0.05
    found = mcnemar(first, second, groups=groups)
    assert (found.only_first, found.only_second, found.n, found.p) == (1, 0, 11, 1.0)
    even = mcnemar([True, False], [False, True], groups=[0, 0])
    assert (even.only_first, even.only_second) == (0, 0)


@pytest.mark.parametrize(("first", "second"), [([True], [True, False]), ([], []), ([[True]], [[True]])])
def test_mcnemar_needs_the_same_rows(first, second):
    with pytest.raises(ValueError, match="same rows"):
        mcnemar(first, second)


def test_nadeau_bengio_by_hand():
    found = corrected_resampled_t([[0.02, 0.04, 0.00, 0.03, 0.01]])
    # variance 2.5e-4; corrected variance of the mean (1/5 + 1/4) x 2.5e-4 = 1.125e-4
    assert found.mean == pytest.approx(0.02)
    assert found.t == pytest.approx(0.02 / math.sqrt(1.125e-4))
    assert found.degrees == 4
    assert found.p == pytest.approx(2 * stats.t.sf(1.8856181, 4), rel=1e-6)
    assert (found.low, found.high) == pytest.approx(
        (0.02 - 2.7764451 * 0.01060660, 0.02 + 2.7764451 * 0.01060660), abs=1e-8
    )


def test_without_shared_training_rows_it_is_the_plain_t_test():
    d = np.random.default_rng(1).normal(0.01, 0.02, size=12)
    found = corrected_resampled_t(d, test_share=0.0)
    plain = stats.ttest_1samp(d, 0.0)
    assert (found.t, found.p) == pytest.approx((plain.statistic, plain.pvalue))
    assert corrected_resampled_t(d, test_share=0.25).p > found.p


def test_repeats_count_as_differences_but_not_as_folds():
    d = np.random.default_rng(2).normal(size=(4, 5))
    found = corrected_resampled_t(d)
    assert found.degrees == 19
    assert found.t == pytest.approx(d.mean() / math.sqrt((1 / 20 + 1 / 4) * d.var(ddof=1)))


def test_folds_that_share_their_training_rows_give_the_nominal_error():
    rng = np.random.default_rng(3)
    repeats, folds, n = 2, 5, 4000
    shared = 1 / folds  # the correlation that the correction assumes: n_test / (n_test + n_train)
    d = math.sqrt(shared) * rng.normal(size=(n, 1, 1)) + math.sqrt(1 - shared) * rng.normal(
        size=(n, repeats, folds)
    )
    false = np.mean([corrected_resampled_t(table).p < 0.05 for table in d])
    plain = np.mean(stats.ttest_1samp(d.reshape(n, -1), 0.0, axis=1).pvalue < 0.05)
    assert false == pytest.approx(0.05, abs=0.012)
    assert plain > 0.2  # what the correction is for


@pytest.mark.parametrize(
    ("differences", "message"),
    [([], "empty"), ([[0.1, math.nan]], "NaN"), ([0.1, 0.2], "test_share"), ([[0.1], [0.2]], "test_share")],
)
def test_differences_that_cannot_be_tested(differences, message):
    with pytest.raises(ValueError, match=message):
        corrected_resampled_t(differences)


def test_without_spread_nothing_is_claimed():
    assert corrected_resampled_t([0.1], test_share=0.25).p == 1.0
    same = corrected_resampled_t([[0.05, 0.05]])
    assert same.p == 1.0
    assert math.isnan(same.t)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 1.0]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    some = np.random.default_rng(0).random(40) ** 3
    assert holm(some.tolist()) == pytest.approx(multitest.multipletests(some, method="holm")[1].tolist())
    for wrong in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="p-values must lie in"):
            holm([0.5, wrong])


def test_a_table_without_differences_seldom_claims_one():
    rng = np.random.default_rng(4)
    found = {"mcnemar": 0, "t": 0}
    n_tables, n_arms, n = 400, 6, 400
    for _ in range(n_tables):
        hard = rng.random(n)
        right = np.where(hard < 0.6, 1.0, 0.5) > rng.random((n_arms + 1, n))
        found["mcnemar"] += min(holm([mcnemar(right[0], arm).p for arm in right[1:]])) < 0.05
        lead = (right[0].astype(float) - right[1:]).reshape(n_arms, 1, 10, n // 10).mean(axis=-1)
        ps = [corrected_resampled_t(arm, test_share=0.0).p for arm in lead]  # fixed arms: no training rows
        found["t"] += min(holm(ps)) < 0.05
    rate = {name: count / n_tables for name, count in found.items()}
    assert all(0.01 <= r <= 0.075 for r in rate.values()), rate


def test_verdicts_are_plain():
    gain = Interval(0.021, 0.009, 0.033)
    assert verdict(gain, 0.0041, first="the ensemble", second="the best single") == (
        "the ensemble is better than the best single by 2.1 points "
        "(95 % interval +0.9 to +3.3, p = 0.004): significant."
    )
    assert verdict(Interval(-0.004, -0.016, 0.008), 0.61, first="greedy", second="stacked") == (
        "greedy is worse than stacked by 0.4 points (95 % interval -1.6 to +0.8, p = 0.610): not significant."
    )
    assert verdict(Interval(0.0, 0.0, 0.0), 1.0, first="a", second="b").startswith("a and b score the same (")


def test_a_verdict_on_a_loss_turns_the_sign():
    loss = Interval(-0.052, -0.081, -0.020, level=0.9)
    text = verdict(loss, 0.0002, first="a", second="b", lower_is_better=True, percent=False)
    assert text == "a is better than b by 0.052 (90 % interval -0.081 to -0.020, p < 0.001): significant."


def test_a_verdict_without_an_interval():
    text = verdict(Interval(0.01, math.nan, math.nan), 1.0, first="a", second="b")
    assert text == "a is better than b by 1.0 points (p = 1.000): not significant."


@pytest.mark.parametrize(
    ("low", "p", "alone", "why"),
    [(0.01, 0.2, None, "exact"), (0.01, 0.2, 0.06, "exact"), (0.01, 0.2, 0.04, "corrected"), (0.01, 0.04, 0.01, None),
     (-0.01, 0.2, 0.04, None), (math.nan, 0.2, None, None)],
)  # fmt: skip
def test_why_an_interval_and_a_test_disagree_is_said_where_they_do(low, p, alone, why):
    difference = Interval(0.02, low, 0.03)
    assert doubt(difference, p, "exact", alone=alone) == (WHY[why] if why else "")


PS = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(PS, st.randoms(use_true_random=False))
def test_adjusted_p_values_are_larger_keep_their_order_and_know_no_position(p_values, random):
    adjusted = holm(p_values)
    assert all(p <= held <= 1 for p, held in zip(p_values, adjusted, strict=True))
    assert holm(p_values[:1]) == p_values[:1]
    by_p = [held for _, held in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)
    order = random.sample(range(len(p_values)), len(p_values))
    assert holm([p_values[i] for i in order]) == [adjusted[i] for i in order]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_any_two_arms_may_change_sides(rows):
    first, second, groups = map(list, zip(*rows, strict=True))
    here, there = mcnemar(first, second, groups), mcnemar(second, first, groups)
    assert 0 < here.p <= 1
    assert (here.p, here.only_first, here.only_second) == (there.p, there.only_second, there.only_first)
    assert mcnemar(first * 2, second * 2, groups * 2) == here  # a second photo of each object is no evidence


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10), st.floats(0.01, 1))
def test_any_differences_have_a_p_value_and_the_other_side_has_the_same(differences, test_share):
    here = corrected_resampled_t(differences, test_share=test_share)
    there = corrected_resampled_t([-difference for difference in differences], test_share=test_share)
    assert 0 <= here.p <= 1
    assert here.p == pytest.approx(there.p)
    assert np.isnan(here.low) or here.low <= here.mean <= here.high
