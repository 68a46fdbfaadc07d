from __future__ import annotations

import numpy as np

from ensemble_minerals.data.same_object.geometry import mutual_matches


def unit_vectors(n, seed=0):
    vectors = np.random.default_rng(seed).random((n, 128)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_repeated_print_matches_once():
    printed = unit_vectors(40)
    four_times = np.concatenate([printed] * 4)
    first, second = mutual_matches(four_times @ printed.T)
    np.testing.assert_array_equal(first, np.arange(40))
    np.testing.assert_array_equal(second, np.arange(40))
    first, second = mutual_matches(printed @ four_times.T)
    assert len(set(first.tolist())) == len(first)
    assert len(set(second.tolist())) == len(second)


def test_matches_do_not_depend_on_the_order_of_keypoints():
    one, order = unit_vectors(30), np.random.default_rng(1).permutation(30)
    first, second = mutual_matches(one @ one[order].T)
    np.testing.assert_array_equal(order[second], first)
