from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss

from ensemble_minerals.networks.training.epoch_scores import EpochScores


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 2, (40, 4)), np.stack([np.arange(40) % 3, np.arange(40) % 2], 1)
    targets[30:, 1] = -1
    return logits, targets


def test_scores_are_those_of_scikit_learn_averaged_over_subproblems(answers):
    logits, targets = answers
    shift = np.array([0.5, 0.0, -1.0, 0.3])
    scores = EpochScores((3, 2), shift)
    first, second = logits[:, :3] + shift[:3], logits[:30, 3] + shift[3]
    proba = np.exp(log_softmax(first, axis=1))
    parts = [(targets[:, 0], first.argmax(1)), (targets[:30, 1], (second > 0).astype(int))]
    losses = log_loss(targets[:, 0], proba), log_loss(targets[:30, 1], 1 / (1 + np.exp(-second)))
    assert scores.loss(logits, targets) == pytest.approx(np.mean(losses))
    assert scores.accuracy(logits, targets) == pytest.approx(np.mean([accuracy_score(*p) for p in parts]))
    assert scores.macro_f1(logits, targets) == pytest.approx(
        np.mean([f1_score(*p, average="macro") for p in parts])
    )


def test_a_subproblem_that_no_row_is_asked_is_left_out(answers):
    logits, targets = answers
    both = EpochScores((3, 2), np.zeros(4))
    assert both.loss(logits[30:], targets[30:]) == pytest.approx(
        EpochScores((3,), np.zeros(3)).loss(logits[30:, :3], targets[30:, :1])
    )


def test_scores_count_the_most_probable_outcome():
    scores = EpochScores((3,), np.zeros(3))
    logits = np.array([[0.0, 5.0, 0.0], [5.0, 0.0, 0.0]])
    soft = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], dtype=np.float32)
    assert scores.accuracy(logits, soft) == scores.accuracy(logits, np.array([[1], [2]])) == 0.5
