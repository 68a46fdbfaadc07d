"""Nearest rows, block by block."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.data.same_object import nearest
from ensemble_minerals.data.same_object.nearest import nearest_rows


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(70, 8)).astype(np.float32)


def by_product(vectors):
    return lambda rows, columns: vectors[rows] @ vectors[columns].T


def test_blocks_give_what_the_whole_matrix_gives(vectors, monkeypatch):
    monkeypatch.setattr(nearest, "_HIGH", 16)
    monkeypatch.setattr(nearest, "_WIDE", 9)
    whole = vectors @ vectors.T
    np.fill_diagonal(whole, -np.inf)
    expected = {(row, other) for row in range(70) for other in np.argsort(-whole[row])[:4].tolist()}
    assert set(map(tuple, nearest_rows(by_product(vectors), 70, 4).tolist())) == expected


def test_threads_change_nothing(vectors, monkeypatch):
    monkeypatch.setattr(nearest, "_HIGH", 8)
    one = nearest_rows(by_product(vectors), 70, 3)
    assert np.array_equal(nearest_rows(by_product(vectors), 70, 3, n_jobs=4), one)


def test_only_rows_from_the_start_on_ask_and_all_answer(vectors):
    pairs = nearest_rows(by_product(vectors), 70, 5, start=60)
    assert set(pairs[:, 0].tolist()) == set(range(60, 70))
    assert (pairs[:, 1] < 60).any()


def test_pairs_that_are_ruled_out_are_not_given(vectors):
    assert nearest_rows(lambda rows, columns: np.full((70, 70), -np.inf, np.float32), 70, 5).shape == (0, 2)


@pytest.mark.parametrize(("n", "expected"), [(0, 0), (1, 0), (3, 6)])
def test_fewer_rows_than_neighbors(vectors, n, expected):
    assert len(nearest_rows(by_product(vectors[:n]), n, 5)) == expected
