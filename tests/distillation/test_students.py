from __future__ import annotations

import numpy as np

from ensemble_minerals.distillation.students import calibrate


def test_temperatures_are_learned_on_other_folds():
    rng = np.random.default_rng(0)
    y, fold = rng.integers(0, 3, 600), np.repeat([0, 1, 2], 200)
    log_odds = (np.eye(3)[y] + rng.normal(size=(600, 3)) / 2) * np.array([1.0, 3.0, 9.0])[fold][:, None]
    proba, temperature = calibrate(log_odds, y, fold)
    np.testing.assert_array_equal(proba.argmax(axis=1), log_odds.argmax(axis=1))
    assert 0.05 < temperature < 20
    for number in range(3):
        inside = fold == number
        # Other labels of a fold change the answers of the other folds, not its own.
        others = np.where(inside, (y + 1) % 3, y)
        again, moved = calibrate(log_odds, others, fold)
        np.testing.assert_array_equal(again[inside], proba[inside])
        assert not np.allclose(again[~inside], proba[~inside])
        assert moved != temperature
