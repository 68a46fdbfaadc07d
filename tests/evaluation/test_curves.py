"""Reliability and risk-coverage curves."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.evaluation.curves import reliability, risk_coverage
from ensemble_minerals.evaluation.metrics import summary


def draw(n=500, k=4, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 0.4), size=n)
    y = (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)  # calibrated by construction
    return y, p


def test_bins_hold_every_row_once_and_give_the_score_of_the_summary():
    y, p = draw()
    bins = reliability(y, p)
    assert bins.count.sum() == 500
    assert len(bins.count) == 15
    filled = bins.count > 0
    assert np.isnan(bins.confidence[~filled]).all()
    gap = np.abs(bins.confidence - bins.frequency)[filled] @ bins.count[filled] / 500
    assert bins.error == pytest.approx(gap)
    assert bins.error == pytest.approx(summary(y, p, list("abcd"))["ece"])
    inside = (bins.confidence >= bins.edges[:-1]) & (bins.confidence <= bins.edges[1:])
    assert inside[filled].all()


def test_a_class_against_the_rest():
    y = [0, 1, 1, 2]
    p = [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7]]
    bins = reliability(y, p, of_class=1, n_bins=2)
    assert bins.count.tolist() == [3, 1]
    np.testing.assert_allclose(bins.confidence, [0.2, 0.7])
    np.testing.assert_allclose(bins.frequency, [1 / 3, 1.0])


def test_calibrated_probabilities_lie_on_the_diagonal_and_sharpened_ones_do_not():
    y, p = draw(20_000)
    assert reliability(y, p).error < 0.015
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert reliability(y, sharp).error > 0.1


def test_risk_coverage_by_hand():
    y = [0, 0, 0, 0, 0]
    p = np.array([0.9, 0.8, 0.3, 0.6, 0.2])  # right, right, wrong at 0.7, right, wrong at 0.8 (a tie)
    curve = risk_coverage(y, np.column_stack([p, 1 - p]))
    np.testing.assert_allclose(curve.threshold, [0.9, 0.8, 0.7, 0.6])
    np.testing.assert_allclose(curve.coverage, [0.2, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(curve.risk, [0, 1 / 3, 2 / 4, 2 / 5])
    # the tied pair enters in random order: half an error after the second row
    assert curve.aurc == pytest.approx(np.mean([0, 0.5 / 2, 1 / 3, 2 / 4, 2 / 5]))
    assert curve.at_risk(0.05) == pytest.approx((0.2, 0.9))
    assert curve.at_risk(1 / 3) == pytest.approx((0.6, 0.8))
    assert curve.at_risk(0.4) == pytest.approx((1.0, 0.6))


def test_the_area_does_not_depend_on_the_order_of_tied_rows():
    y, p = draw(300)
    p = np.round(p, 1) + 0.01
    p /= p.sum(axis=1, keepdims=True)
    order = np.random.default_rng(1).permutation(300)
    assert risk_coverage(y, p).aurc == pytest.approx(risk_coverage(y[order], p[order]).aurc)


def test_perfect_and_hopeless_predictions():
    y = np.array([0, 1, 2])
    perfect = risk_coverage(y, np.eye(3))
    assert perfect.aurc == 0.0
    assert perfect.at_risk(0.01) == (1.0, 1.0)
    hopeless = risk_coverage(y, np.eye(3)[[1, 2, 0]])
    assert hopeless.aurc == 1.0
    assert hopeless.at_risk(0.05) == (0.0, float("inf"))
