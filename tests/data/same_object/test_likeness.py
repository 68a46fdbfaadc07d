"""Look-alikes: complete linkage, and as far as the folds allow."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ensemble_minerals.data.same_object.joining import Groups
from ensemble_minerals.data.same_object.likeness import Likeness


def joined(degrees, labels, n_folds=1, apart=()) -> list[int]:
    """Groups of directions in a plane; 45 degrees apart is a cosine of 0.71."""
    angles = np.deg2rad(degrees)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    groups = Groups(len(degrees), apart)
    pairs = np.array(list(combinations(range(len(degrees)), 2)))
    Likeness(vectors, pairs, n_folds).join(groups, np.array(labels))
    numbers = groups.numbers
    return [numbers.tolist().index(number) for number in numbers]


def test_all_photos_of_a_group_are_alike_so_chains_end():
    assert joined([0, 10, 180], [0, 0, 0]) == [0, 0, 2]
    assert joined([0, 30, 61], [0, 0, 0]) == [0, 0, 2]


def test_each_class_is_left_a_group_for_each_fold_and_the_most_alike_are_kept():
    assert joined([0, 5, 20, 21], [0, 0, 0, 0], n_folds=3) == [0, 1, 2, 2]
    assert joined([0, 5, 20, 21], [0, 1, 0, 1], n_folds=2) == [0, 0, 2, 2]


def test_what_must_stay_apart_stays_apart():
    assert joined([0, 1], [0, 1], apart=[(0, 1)]) == [0, 1]
