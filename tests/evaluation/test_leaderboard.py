"""Weights of members."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.evaluation.leaderboard import member_weights


def test_weights_say_how_much_each_member_counts():
    mean = Combination("mean", np.array([0.75, 0.25]), np.zeros(3))
    assert member_weights(mean, 2)[0].tolist() == [0.75, 0.25]
    power = Combination("product", np.array([0.9, 0.4]), np.zeros(3))
    assert member_weights(power, 2)[0].tolist() == [0.9, 0.4]
    weight = np.zeros((6, 3))
    weight[:3] = 3 * np.eye(3)
    weight[3:] = np.eye(3)
    shares, meaning = member_weights(Combination("linear", weight, np.zeros(3)), 2)
    assert shares.tolist() == pytest.approx([0.75, 0.25])
    assert "regression" in meaning
    assert member_weights(Combination("linear", np.zeros((6, 3)), np.zeros(3)), 2)[0].tolist() == [0.5, 0.5]
