"""Log-probabilities of members, and labels, drawn by code: K classes, N rows in four folds, each its own group."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

N, K = 240, 3
FOLDS = np.arange(N) % 4
ALONE = np.arange(N)


def draw(proba, seed=0):
    """Labels drawn from probabilities."""
    uniform = np.random.default_rng(seed).random(len(proba))[:, None]
    return np.minimum((uniform > proba.cumsum(axis=1)).sum(axis=1), proba.shape[1] - 1)


def opinions(n=N, n_members=3, seed=0, size=1.5):
    return log_softmax(size * np.random.default_rng(seed).normal(size=(n, n_members, K)), axis=2)


def informed(rng, y, strength, n=N):
    return log_softmax(strength * np.eye(K)[y] + rng.normal(size=(n, K)), axis=1)


def a_good_and_two_poor_members(seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, N)
    members = np.stack([informed(rng, y, strength) for strength in (0.0, 4.0, 0.3)], axis=1)
    return members, y
