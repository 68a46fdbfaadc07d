from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from ensemble_minerals.ensemble.calibration import TemperatureScaling


def drawn(n=6000, seed=0):
    """Logits and labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, 4))
    cumulative = softmax(logits, axis=1).cumsum(axis=1)
    return logits, np.minimum((rng.random(n)[:, None] > cumulative).sum(axis=1), 3)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature):
    logits, y = drawn()
    found = TemperatureScaling().fit(log_softmax(logits * temperature, axis=1), y).temperature_
    assert found == pytest.approx(temperature, rel=0.05)


def test_nothing_lowers_the_log_loss_further():
    logits, y = drawn(n=300)
    logs = log_softmax(3 * logits, axis=1)
    best = TemperatureScaling().fit(logs, y).temperature_

    def loss(temperature):
        return -log_softmax(logs / temperature, axis=1)[np.arange(len(y)), y].mean()

    assert loss(best) < min(loss(best * 1.06), loss(best / 1.06), loss(1.0))


@pytest.mark.parametrize("n", [10, 36, 1000])
def test_rows_that_are_all_right_make_the_answers_as_sure_as_laplace_would_be(n):
    _, y = drawn(n=n)
    right = np.log(np.full((n, 4), 0.1))
    right[np.arange(n), y] = np.log(0.7)
    temperature = TemperatureScaling().fit(right, y).temperature_
    sure = softmax(right / temperature, axis=1)[np.arange(n), y]
    assert sure == pytest.approx((n + 1) / (n + 2), abs=1e-4)


def test_the_temperature_stays_within_its_bounds():
    _, y = drawn(n=200)
    unsure = np.log(np.full((200, 4), 0.2499))
    unsure[np.arange(200), y] = np.log(0.2503)
    assert TemperatureScaling().fit(unsure, y).temperature_ == pytest.approx(1 / 20, rel=1e-3)
