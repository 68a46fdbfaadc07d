from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.features.descriptor.histograms import histogram, joint_histogram


def _weights(n: int) -> np.ndarray:
    return np.full((1, n), 1 / n, np.float32)


def test_squares_sum_to_the_weights():
    values = np.random.default_rng(0).normal(size=500).astype(np.float32)
    weights = np.random.default_rng(1).random((2, 500)).astype(np.float32)
    for squared in (
        histogram(values, (-1, 1), 7, weights) ** 2,
        histogram(values, (-1, 1), 7, weights, circular=True) ** 2,
        joint_histogram((values, values[::-1]), ((-1, 1), (0, 2)), (3, 4), weights) ** 2,
    ):
        np.testing.assert_allclose(squared.sum(axis=1), weights.sum(axis=1), rtol=1e-5)


def test_a_value_between_two_centers_counts_for_both():
    squared = histogram(np.array([0.5], np.float32), (0, 1), 2, _weights(1))[0] ** 2
    assert squared == pytest.approx([0.5, 0.5], abs=0.13)  # an eighth: the width of a fine bin
    squared = histogram(np.array([0.25], np.float32), (0, 1), 2, _weights(1))[0] ** 2
    assert squared == pytest.approx([1, 0], abs=0.13)


def test_outliers_count_for_the_outermost_bins():
    squared = histogram(np.array([-9, 9], np.float32), (0, 1), 4, _weights(2))[0] ** 2
    np.testing.assert_allclose(squared, [0.5, 0, 0, 0.5])


def test_on_a_circle_the_ends_are_neighbors():
    end = np.array([0.999], np.float32)
    assert histogram(end, (0, 1), 6, _weights(1), circular=True)[0, 0] > 0.5
    assert histogram(end, (0, 1), 6, _weights(1))[0, 0] == 0


def test_joint_histogram_keeps_the_order_of_its_axes():
    x, y = np.array([0.9], np.float32), np.array([0.1], np.float32)
    table = joint_histogram((x, y), ((0, 1), (0, 1)), (2, 3), _weights(1)).reshape(2, 3)
    assert np.unravel_index(table.argmax(), table.shape) == (1, 0)
