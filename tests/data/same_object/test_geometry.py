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


def test_a_floor_leaves_out_the_less_similar_matches_and_no_others():
    one = unit_vectors(30)
    noise = np.linspace(0, 0.5, 30, dtype=np.float32)[:, None] * unit_vectors(30, seed=2)
    other = (one + noise) / np.linalg.norm(one + noise, axis=1, keepdims=True)
    similarity = one @ other.T
    first, second = mutual_matches(similarity)
    high = similarity[first, second] >= 0.97
    assert 8 <= high.sum() < len(first)
    above = mutual_matches(similarity, floor=0.97)
    np.testing.assert_array_equal(above, (first[high], second[high]))
    assert len(mutual_matches(similarity, floor=0.9999, least=28)[0]) == 0
