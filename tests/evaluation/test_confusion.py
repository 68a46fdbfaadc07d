"""Confusion matrices: percentages that add up, and the roll-up to groups."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.evaluation import confusion
from ensemble_minerals.evaluation.metrics import confusion_counts

COUNTS = np.array([[5, 2, 1], [0, 4, 0], [3, 0, 6]])


def test_rows_are_given_labels_and_columns_are_answers():
    y = [0, 0, 1]
    p = [[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]]
    assert confusion_counts(y, p).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_percentages_are_of_the_row():
    np.testing.assert_allclose(confusion.row_percentages(COUNTS)[0], [62.5, 25, 12.5])
    np.testing.assert_allclose(confusion.row_percentages(COUNTS).sum(axis=1), 100)


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_rounded_percentages_still_sum_to_a_hundred(decimals):
    counts = np.random.default_rng(0).integers(0, 12, size=(30, 30))
    rounded = confusion.row_percentages(counts, decimals=decimals)
    np.testing.assert_allclose(rounded.sum(axis=1), 100)
    np.testing.assert_allclose(rounded, np.round(rounded, decimals), atol=1e-9)
    assert np.abs(rounded - confusion.row_percentages(counts)).max() < 10.0**-decimals
    assert (rounded[counts == 0] == 0).all()


def test_thirds_are_rounded_up_once():
    assert confusion.row_percentages([[1, 1, 1]], decimals=0).tolist() == [[34, 33, 33]]


def test_a_class_without_photos_has_no_percentages():
    assert np.isnan(confusion.row_percentages([[0, 0], [1, 1]], decimals=1)[0]).all()


def test_roll_up_keeps_the_total_and_parts_the_errors():
    groups = np.array([0, 1, 0])
    assert confusion.roll_up(COUNTS, groups).tolist() == [[15, 2], [0, 4]]
    assert confusion.errors_by_group(COUNTS, groups) == (4, 2)
    assert confusion.errors_by_group(COUNTS, [0, 1, 2]) == (0, 6)
    assert confusion.errors_by_group(COUNTS, [0, 0, 0]) == (6, 0)


def test_formulas_work_over_leading_axes():
    stack = np.stack([COUNTS, COUNTS.T]).astype(float)
    np.testing.assert_allclose(confusion.recall(stack)[0], confusion.precision(stack)[1])
    np.testing.assert_allclose(confusion.accuracy(stack), 15 / 21)
    np.testing.assert_allclose(confusion.mcc(stack)[0], confusion.mcc(stack)[1])
