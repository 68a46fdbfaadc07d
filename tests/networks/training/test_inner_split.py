from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.networks.training.inner_split import resample, split_rows

N = 60
Y = np.repeat([0, 1, 2], [36, 18, 6])
GROUPS = np.arange(N) // 2


def subproblems():
    """Class 0 against the rest; class 1 against 2, which class 0 has no part in."""
    return [
        Subproblem("first", np.arange(N), (Y != 0).astype(np.intp), 2),
        Subproblem("second", np.flatnonzero(Y), Y[Y > 0] - 1, 2),
    ]


def test_rows_are_divided_by_groups_and_no_outcome_is_lost():
    split = split_rows(subproblems(), GROUPS, fraction=0.25, seed=0)
    assert split.note == ""
    assert sorted([*split.training, *split.validation]) == list(range(N))
    assert not np.intersect1d(GROUPS[split.training], GROUPS[split.validation]).size
    for column in split.targets.T:
        for part in (split.training, split.validation):
            assert set(column[part]) >= {0, 1}
    assert (split.targets[Y == 0, 1] == -1).all()


def test_rows_without_a_subproblem_are_left_out():
    split = split_rows(subproblems()[1:], GROUPS, fraction=0.25, seed=0)
    assert sorted([*split.training, *split.validation]) == list(range(36, N))


@pytest.mark.parametrize(
    ("groups", "fraction", "words"), [(GROUPS, 0.0, "is 0"), (Y, 0.2, "at least 2 row groups")]
)
def test_without_a_division_everything_trains(groups, fraction, words):
    split = split_rows(subproblems(), groups, fraction=fraction, seed=0)
    assert split.training.tolist() == list(range(N))
    assert not split.validation.size
    assert words in split.note


def test_only_training_rows_are_copied_and_the_shift_takes_it_back():
    rows = np.arange(100, 100 + N)
    split = split_rows(subproblems(), GROUPS, fraction=0.25, seed=0)
    resampled = resample(1, 2, rows, split, OverSampler("random"), seed=3)
    own = split.training[split.targets[split.training, 1] >= 0]
    assert set(resampled.rows.rows) == set(rows[own])
    assert resampled.counts[0] == resampled.counts[1] == np.sum(Y[own] == 1)
    assert (Y[resampled.rows.rows - 100] - 1 == resampled.rows.targets).all()
    natural = np.bincount(Y[own] - 1) / len(own)
    np.testing.assert_allclose(resampled.shift, np.log(natural) - np.log(0.5))


def test_without_copies_there_is_no_shift():
    split = split_rows(subproblems(), GROUPS, fraction=0.25, seed=0)
    resampled = resample(0, 2, np.arange(N), split, OverSampler("none"), seed=0)
    assert resampled.rows.rows.tolist() == split.training.tolist()
    np.testing.assert_array_equal(resampled.shift, 0.0)
