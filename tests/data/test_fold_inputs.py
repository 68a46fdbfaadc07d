from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import HOLDOUT_FOLD, NO_FOLD, TRAINING_FOLD

FOLDS = np.array([2, 0, 2, 7, 0])
INPUTS = FoldInputs(np.array([0, 1, 0, 1, 2]), np.array([0, 1, 0, 2, 1]), FOLDS, np.array([3, 5, 9]))


def test_folds_divide_the_rows():
    assert INPUTS.numbers == [0, 2, 7]
    assert INPUTS.held_out(2).tolist() == [0, 2]
    assert INPUTS.training(2).tolist() == [1, 3, 4]
    assert INPUTS.names == ("3", "5", "9")


def test_without_a_fold_all_rows_train():
    assert INPUTS.training(NO_FOLD).tolist() == [0, 1, 2, 3, 4]
    assert INPUTS.held_out(NO_FOLD).size == 0


def test_rows_that_only_train_are_never_held_out():
    once = FoldInputs(
        INPUTS.y, INPUTS.groups, np.where(FOLDS == 2, HOLDOUT_FOLD, TRAINING_FOLD), INPUTS.classes
    )
    assert once.numbers == [HOLDOUT_FOLD]
    assert once.predicted.tolist() == [0, 2]
    assert once.training(HOLDOUT_FOLD).tolist() == [1, 3, 4]


@pytest.mark.parametrize("rows", [np.array([1, 4]), FOLDS == 0])
def test_some_rows_by_position_or_mask(rows):
    part = INPUTS.take(rows)
    assert len(part) == 2
    assert (part.y.tolist(), part.groups.tolist(), part.folds.tolist()) == ([1, 2], [1, 1], [0, 0])
    assert part.classes is INPUTS.classes


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="5 labels, 4 row groups and 5 folds"):
        FoldInputs(INPUTS.y, INPUTS.groups[1:], FOLDS, INPUTS.classes)
