"""Two models on the same rows, against counts by hand and tests of SciPy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ensemble_minerals.evaluation.paired import score_pair

CLASSES = ("mica", "quartz")


def answers(right, y, p=0.9):
    """Probabilities of two classes that are right where wanted."""
    chosen = np.where(right, y, 1 - y)
    proba = np.full((len(y), 2), 1 - p)
    proba[np.arange(len(y)), chosen] = p
    return proba


def test_counts_shares_and_exact_tests_of_each_class():
    y = np.repeat([0, 1], 10)
    first = np.array([True] * 8 + [False] * 2 + [True] * 4 + [False] * 6)
    second = np.array([True] * 7 + [False] + [True] * 2 + [True] * 10)
    paired = score_pair(y, answers(first, y), answers(second, y), np.arange(20), CLASSES)
    assert (paired.n, paired.row_groups) == (20, 20)
    accuracy = paired.scores["accuracy"]
    assert (accuracy.first, accuracy.second) == (pytest.approx(0.6), pytest.approx(0.95))
    assert accuracy.difference.estimate == pytest.approx(0.35)
    assert accuracy.p == pytest.approx(stats.binomtest(1, 9).pvalue)
    mica, quartz = paired.classes
    assert [(one.n, one.first, one.second, one.mended, one.broken) for one in paired.classes] == [
        (10, 0.8, 0.9, 2, 1),
        (10, 0.4, 1.0, 6, 0),
    ]
    assert quartz.p == pytest.approx(2 * stats.binomtest(0, 6).pvalue)  # Holm, two classes
    assert mica.p == 1


def test_the_rows_of_a_group_count_once():
    y = np.zeros(12, dtype=int)
    first, second = np.zeros(12, dtype=bool), np.ones(12, dtype=bool)
    apart = score_pair(y, answers(first, y), answers(second, y), np.arange(12), CLASSES)
    together = score_pair(y, answers(first, y), answers(second, y), np.arange(12) // 6, CLASSES)
    for score in ("accuracy", "log_loss"):
        assert apart.scores[score].p < 0.01
        assert together.scores[score].p == 0.5  # two groups, both signs: 2 of 4 outcomes
    assert [one.name for one in apart.classes] == ["mica"]  # no photo of the other


def test_the_same_answers_differ_by_nothing():
    y = np.array([0, 1, 0, 1])
    proba = answers(np.array([True, True, False, True]), y)
    paired = score_pair(y, proba, proba, np.arange(4), CLASSES)
    for score in paired.scores.values():
        assert (score.difference.low, score.difference.estimate, score.difference.high) == (0, 0, 0)
        assert score.p in (1, None)


def test_a_difference_that_is_chance_is_seldom_significant():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=60)
    found = []
    for seed in range(40):
        draws = np.random.default_rng(seed)
        first, second = (draws.dirichlet([2, 2], size=60) for _ in range(2))
        found.append(
            score_pair(y, first, second, np.arange(60), CLASSES, seed=seed).scores["log_loss"].p < 0.05
        )
    assert sum(found) <= 6  # 2 in expectation; more than 6 has a probability of 0.3 %
