from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from ensemble_minerals.log_space import (
    LOG_FLOOR,
    clipped_log,
    log_normalize,
    log_proba_of_logits,
    log_sigmoid,
)


def test_one_column_is_the_log_odds_of_the_second_outcome():
    odds = np.array([[-3.0], [0.0], [2.0]])
    expected = np.log(np.column_stack([expit(-odds), expit(odds)]))
    np.testing.assert_allclose(log_proba_of_logits(odds), expected)


def test_large_scores_are_normalized_without_overflow():
    scores = np.array([[1e4, 1e4 - 1.0], [-1e4, -1e4]])
    np.testing.assert_allclose(log_normalize(scores), log_softmax(scores, axis=1))


def test_large_log_odds_become_probabilities_without_overflow():
    odds = np.array([-1e4, -3.0, 0.0, 3.0, 1e4])
    np.testing.assert_allclose(log_sigmoid(odds), log_expit(odds))


def test_clipping_is_done_in_double_precision():
    logs = clipped_log(np.array([0.0, 1e-9, 0.25, 1.0], dtype=np.float32))
    assert logs.dtype == np.float64
    np.testing.assert_allclose(logs, np.log([LOG_FLOOR, LOG_FLOOR, 0.25, 1.0]))
