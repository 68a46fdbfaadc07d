"""What test photos with a twin in the training part change."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.answers import distributions

from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.evaluation.twins import scores_without_twins


@pytest.fixture
def remembered():
    """A model that knows the twins by heart and guesses the other photos."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    twin = np.arange(300) % 3 == 0
    proba = distributions(y, 3, 0.0, rng)
    proba[twin] = np.eye(3)[y[twin]]
    return y, proba, twin, np.arange(300)


def test_the_difference_that_remembered_photos_make_is_found(remembered):
    y, proba, twin, groups = remembered
    scores = scores_without_twins(y, proba, twin, groups, "abc")
    assert scores["test_twins"]["photos"] == 100
    assert scores["test_without_twins"] == summary(y[~twin], proba[~twin], "abc")
    accuracy, difference = (scores["test_twins"][name] for name in ("accuracy", "difference"))
    assert accuracy["estimate"] == pytest.approx(summary(y, proba, "abc")["accuracy"])
    assert accuracy["estimate"] - difference["estimate"] == scores["test_without_twins"]["accuracy"]
    assert 0.1 < difference["low"] < difference["estimate"] < difference["high"] < 0.3


@pytest.mark.parametrize("number", [0, 300])
def test_where_there_is_no_other_part_only_the_number_is_given(remembered, number):
    y, proba, _, groups = remembered
    scores = scores_without_twins(y, proba, np.full(300, bool(number)), groups, "abc")
    assert list(scores) == ["test_twins"]
    assert scores["test_twins"]["photos"] == number
    assert scores["test_twins"].keys() == {"photos", "accuracy"}
