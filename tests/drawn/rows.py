"""Rows of classes that overlap, drawn by code."""

from __future__ import annotations

import numpy as np

COUNTS = (60, 25, 15, 12)


def overlapping(n_classes=4, d=8, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), COUNTS[:n_classes])
    centers = np.random.default_rng(42).normal(size=(n_classes, d))
    return rng.normal(size=(len(y), d)) + centers[y], y
