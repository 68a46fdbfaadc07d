"""Intervals hold what they state: their coverage is counted over simulated data sets with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ensemble_minerals.evaluation.intervals import (
    GroupBootstrap,
    detectable_difference,
    ece_interval,
    mcnemar_power,
    wilson,
)
from ensemble_minerals.evaluation.metrics import summary, weighted_metric

K = 3


def draw(rng, n_groups, *, rows=(1, 2), strength=2.0, sharpen=1.0):
    """Two arms over grouped rows; a group shares its class and most of its difficulty."""
    group = np.repeat(np.arange(n_groups), rng.integers(rows[0], rows[1] + 1, size=n_groups))
    y = rng.choice(K, p=[0.5, 0.3, 0.2], size=n_groups)[group]
    shared = rng.normal(size=(n_groups, K))[group]
    arms = []
    for own in (strength, strength - 0.4):
        z = np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.normal(size=(len(y), K))
        z[np.arange(len(y)), y] += own
        z = (own * z + np.log([0.5, 0.3, 0.2])) * sharpen  # calibrated when not sharpened
        p = np.exp(z - z.max(axis=1, keepdims=True))
        arms.append(p / p.sum(axis=1, keepdims=True))
    return group, y, *arms


def test_score_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    names = ["accuracy", "macro_f1", "log_loss", "f1"]
    _, y, p, _ = draw(rng, 60_000)
    truth = {name: np.atleast_1d(weighted_metric(name, y, p).estimate) for name in names}
    covered = {name: [] for name in names}
    for seed in range(150):
        group, y, p, _ = draw(rng, 150)
        bootstrap = GroupBootstrap(group, n_replicates=300, seed=seed)
        for name in names:
            found = bootstrap.intervals(weighted_metric(name, y, p))
            covered[name] += [i.low <= t <= i.high for i, t in zip(found, truth[name], strict=True)]
    share = {name: np.mean(values) for name, values in covered.items()}
    assert all(0.89 <= s <= 0.99 for s in share.values()), share


def test_paired_difference_intervals_cover_the_truth():
    rng = np.random.default_rng(1)
    names = ["accuracy", "log_loss"]
    _, y, p, q = draw(rng, 60_000)
    truth = {m: float(weighted_metric(m, y, p).estimate - weighted_metric(m, y, q).estimate) for m in names}
    covered = {name: [] for name in names}
    for seed in range(200):
        group, y, p, q = draw(rng, 150)
        bootstrap = GroupBootstrap(group, n_replicates=300, seed=seed)
        for m in names:
            found = bootstrap.interval(weighted_metric(m, y, p), minus=weighted_metric(m, y, q))
            covered[m].append(found.low <= truth[m] <= found.high)
    share = {name: np.mean(values) for name, values in covered.items()}
    assert all(0.90 <= s <= 0.99 for s in share.values()), share


def test_copies_of_a_row_make_no_interval_narrower():
    rng = np.random.default_rng(2)
    y = rng.integers(K, size=200)
    p = rng.dirichlet(np.ones(K), size=200)
    alone = GroupBootstrap(np.arange(200)).interval(weighted_metric("accuracy", y, p))
    copied = weighted_metric("accuracy", np.repeat(y, 4), np.repeat(p, 4, axis=0))
    grouped = GroupBootstrap(np.repeat(np.arange(200), 4)).interval(copied)
    fooled = GroupBootstrap(np.arange(800)).interval(copied)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=1e-9)
    assert fooled.high - fooled.low < 0.6 * (grouped.high - grouped.low)


@pytest.mark.parametrize(("sharpen", "adaptive"), [(1.0, False), (1.0, True), (2.5, False), (0.4, True)])
def test_calibration_error_intervals_cover_the_truth(sharpen, adaptive):
    rng = np.random.default_rng(3)
    _, y, p, _ = draw(rng, 60_000, sharpen=sharpen)
    key = "ece_adaptive" if adaptive else "ece"
    truth = summary(y, p, list("abc"))[key]
    found, plug_in = [], []
    for seed in range(60):
        group, y, p, _ = draw(rng, 300, sharpen=sharpen)
        found.append(
            ece_interval(y, p, GroupBootstrap(group, n_replicates=200, seed=seed), adaptive=adaptive)
        )
        plug_in.append(summary(y, p, list("abc"))[key])
    # the large sample's own chance error, 0.002, stands between a calibrated model and a truth of zero
    assert np.mean([i.low - 0.002 <= truth <= i.high + 0.002 for i in found]) >= 0.88
    assert abs(np.median([i.estimate for i in found]) - truth) < abs(np.median(plug_in) - truth) + 0.004
    assert np.median(plug_in) > truth  # chance only ever adds
    assert all(0 <= i.low <= i.estimate <= i.high for i in found)


def test_the_plain_bootstrap_of_the_calibration_error_would_be_wrong():
    rng = np.random.default_rng(4)
    missed = []
    for seed in range(10):
        group, y, p, _ = draw(rng, 300)
        missed.append(
            GroupBootstrap(group, n_replicates=200, seed=seed).interval(weighted_metric("ece", y, p)).low
        )
    assert min(missed) > 0.002  # none of ten holds the truth, about zero: hence `ece_interval`


def test_identical_arms_differ_by_exactly_nothing():
    group, y, p, _ = draw(np.random.default_rng(5), 80)
    for name in ("accuracy", "f1", "log_loss"):
        score = weighted_metric(name, y, p)
        for found in GroupBootstrap(group, n_replicates=100).intervals(score, minus=score):
            assert (found.estimate, found.low, found.high) == (0.0, 0.0, 0.0)


def test_perfect_predictions_leave_the_interval_open():
    y = np.arange(30) % K
    bootstrap = GroupBootstrap(np.arange(30), n_replicates=50)
    found = bootstrap.interval(weighted_metric("accuracy", y, np.eye(K)[y]))
    assert found.estimate == 1.0
    assert np.isnan([found.low, found.high]).all()
    found = ece_interval(y, np.eye(K)[y], bootstrap)
    assert found.estimate == 0.0
    assert np.isnan([found.low, found.high]).all()


def test_a_class_of_one_photo_and_one_without():
    rng = np.random.default_rng(6)
    y = np.r_[np.zeros(20, int), 1]
    p = rng.dirichlet([3, 2, 0.5], size=21)
    bootstrap = GroupBootstrap(np.arange(21), n_replicates=200)
    many, one, none = bootstrap.intervals(weighted_metric("recall", y, p))
    assert many.low < many.high
    assert one.estimate in (0.0, 1.0)
    assert np.isnan([none.estimate, none.low, none.high]).all()


def test_the_same_seed_gives_the_same_interval_and_chunks_change_nothing(monkeypatch):
    group, y, p, _ = draw(np.random.default_rng(7), 50)
    score = weighted_metric("macro_f1", y, p)
    one = GroupBootstrap(group, n_replicates=200, seed=3).interval(score)
    assert one == GroupBootstrap(group, n_replicates=200, seed=3).interval(score)
    assert one != GroupBootstrap(group, n_replicates=200, seed=4).interval(score)
    monkeypatch.setattr("ensemble_minerals.evaluation.intervals.CHUNK", 7 * len(y))
    assert one == GroupBootstrap(group, n_replicates=200, seed=3).interval(score)


def test_group_names_need_not_be_numbers():
    y, p = np.array([0, 1, 1, 0]), np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.7, 0.3]])
    score = weighted_metric("accuracy", y, p)
    named = GroupBootstrap(np.array(["a", "b", "c", "a"]), n_replicates=50).interval(score)
    assert named == GroupBootstrap([0, 1, 2, 0], n_replicates=50).interval(score)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_any_function_of_row_weights_has_the_interval_that_scipy_gives(method):
    values = np.random.default_rng(8).exponential(size=25)

    def variance(weights):
        total = weights.sum(axis=1)
        return weights @ values**2 / total - (weights @ values / total) ** 2  # biased and skewed

    found = GroupBootstrap(np.arange(25), n_replicates=20_000, seed=1).interval(variance, method=method)
    reference = stats.bootstrap(
        (values,), np.var, n_resamples=20_000, method=method, vectorized=True, rng=np.random.default_rng(0)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=0.03)


def test_scores_are_bias_corrected_and_differences_are_not_unless_asked():
    group, y, p, q = draw(np.random.default_rng(10), 60)
    bootstrap = GroupBootstrap(group, n_replicates=200)
    one, other = weighted_metric("log_loss", y, p), weighted_metric("log_loss", y, q)
    ways = ("bca", "percentile")
    alone = {way: bootstrap.interval(one, method=way) for way in ways}
    paired = {way: bootstrap.interval(one, minus=other, method=way) for way in ways}
    assert bootstrap.interval(one) == alone["bca"] != alone["percentile"]
    assert bootstrap.interval(one, minus=other) == paired["percentile"] != paired["bca"]


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (118, 130)])
def test_wilson_agrees_with_scipy(k, n):
    found = wilson(k, n)
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_wilson_without_trials_is_undefined():
    found = wilson(0, 0)
    assert np.isnan([found.estimate, found.low, found.high]).all()


def test_wilson_covers_near_nominal_on_average():
    counts = np.arange(41)
    ends = [wilson(int(k), 40) for k in counts]
    coverage = [
        sum(stats.binom.pmf(k, 40, p) for k, i in zip(counts, ends, strict=True) if i.low <= p <= i.high)
        for p in np.linspace(0.05, 0.95, 37)
    ]
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)


def test_power_by_simulation():
    rng = np.random.default_rng(9)
    n, discordance, difference = 300, 0.10, 0.05
    win, lose = (discordance + difference) / 2, (discordance - difference) / 2
    counts = rng.multinomial(n, [win, lose, 1 - discordance], size=20_000)
    fewer, both = counts[:, :2].min(axis=1), counts[:, :2].sum(axis=1)
    rejected = 2 * stats.binom.cdf(fewer, both, 0.5) <= 0.05
    assert mcnemar_power(n, discordance, difference) == pytest.approx(rejected.mean(), abs=0.01)


def test_power_without_a_difference_is_at_most_the_level():
    for n in (20, 150, 755):
        assert 0 < mcnemar_power(n, 0.1, 0.0) <= 0.05


def test_the_detectable_difference_has_the_wanted_power_and_shrinks_with_more_photos():
    found = [detectable_difference(n, 0.08) for n in (200, 755, 3000)]
    assert found == sorted(found, reverse=True)
    for n, d in zip((200, 755, 3000), found, strict=True):
        assert mcnemar_power(n, 0.08, d) == pytest.approx(0.8, abs=1e-3)
    assert mcnemar_power(755, 0.08, found[1] * 0.9) < 0.75


def test_too_few_photos_can_detect_nothing():
    assert detectable_difference(50, 0.02) is None
    assert detectable_difference(755, 0.0) is None
