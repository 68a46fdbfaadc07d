"""Pairs that are proposed for comparison."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.data.same_object.candidates import (
    HASH_DISTANCE,
    HASH_NEIGHBORS,
    NEIGHBORS,
    WORD_NEIGHBORS,
    propose_pairs,
)

RNG = np.random.default_rng(3)
N = 60
HASHES = RNG.integers(0, 2**64, N, dtype=np.uint64)
MIRRORED = RNG.integers(0, 2**64, N, dtype=np.uint64)
VECTORS = RNG.normal(size=(N, 300)).astype(np.float32)


def proposed(embeddings=None, phash=HASHES, mirrored=MIRRORED, words=None, **options):
    return list(map(tuple, propose_pairs(embeddings, phash, mirrored, words, **options).tolist()))


def flipped(value, n_bits):
    return value ^ np.uint64(2**n_bits - 1)


def test_hashes_that_differ_in_few_bits():
    near, far = HASHES.copy(), HASHES.copy()
    near[40], far[40] = flipped(HASHES[7], HASH_DISTANCE), flipped(HASHES[7], HASH_DISTANCE + 1)
    assert proposed(phash=near) == [(7, 40)]
    assert proposed(phash=far) == []


def test_the_hash_of_a_mirror_image():
    hashes = HASHES.copy()
    hashes[40] = MIRRORED[7]
    assert proposed(phash=hashes) == [(7, 40)]


def test_hashes_of_plain_photos_say_nothing():
    plain = np.full(N, 2**15 - 1, dtype=np.uint64)
    assert proposed(phash=plain) == []


def test_embeddings_are_compared_by_direction_from_their_mean():
    vectors = VECTORS + 100
    vectors[40] = 100 + 3 * (vectors[7] - 100)
    assert (7, 40) in proposed(vectors)


def test_pairs_are_sorted_and_given_once():
    pairs = proposed(VECTORS)
    assert pairs == sorted(set(pairs))
    assert all(first < second for first, second in pairs)


def test_photos_that_are_all_alike_get_a_bounded_number_of_pairs():
    n = 1500
    alike = np.full(n, HASHES[0])
    words = [np.arange(30, dtype=np.uint16)] * n
    pairs = proposed(np.ones((n, 8)) + 1e-6 * RNG.normal(size=(n, 8)), alike, alike, words)
    assert len(pairs) <= n * (HASH_NEIGHBORS + NEIGHBORS + WORD_NEIGHBORS)


def test_reference_photos_are_not_paired_with_each_other():
    vectors, hashes = VECTORS.copy(), HASHES.copy()
    vectors[1], hashes[3], vectors[50], hashes[51] = vectors[0], hashes[2], vectors[4], hashes[5]
    pairs = proposed(vectors, hashes, n_reference=50)
    assert {(4, 50), (5, 51)} <= set(pairs)
    assert all(second >= 50 for _, second in pairs)


def test_threads_change_nothing():
    assert proposed(VECTORS, n_jobs=3) == proposed(VECTORS)


def test_embeddings_that_are_not_finite_are_refused():
    vectors = VECTORS.copy()
    vectors[3, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        proposed(vectors)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_photos_for_a_pair(n):
    assert proposed(VECTORS[:n], HASHES[:n], MIRRORED[:n], [np.empty(0, np.uint16)] * n) == []
