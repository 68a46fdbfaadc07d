"""Suspected label errors: planted ones are found, clean labels mostly left alone."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.evaluation.label_errors import label_errors

# thresholds (mean own probability): class 0 (0.9 + 0.7 + 0.2) / 3 = 0.6; class 1 (0.8 + 0.6 + 0.3) / 3 = 0.5667
Y = np.array([0, 0, 0, 1, 1, 1])
P0 = np.array([0.9, 0.7, 0.2, 0.2, 0.4, 0.7])
P = np.column_stack([P0, 1 - P0])


def test_suspects_by_hand():
    found = label_errors(Y, P)
    assert found.rows.tolist() == [2, 5]
    assert found.given.tolist() == [0, 1]
    assert found.suggested.tolist() == [1, 0]
    np.testing.assert_allclose(found.suggested_confidence, [0.8, 0.7])
    np.testing.assert_allclose(found.normalized_margin, [-0.6, -0.4])
    assert found.estimated_count == pytest.approx(3 / 3 + 3 / 3)


def test_an_unsure_other_answer_is_no_suspicion():
    y = np.append(Y, 0)
    p = np.vstack([P, [0.45, 0.55]])  # answered 1, but short of every threshold
    found = label_errors(y, p)
    assert 6 not in found.rows
    assert found.estimated_count == pytest.approx(
        4 / 3 + 3 / 3
    )  # a third of each class is confidently another


def test_a_label_that_is_the_answer_is_no_suspect():
    y = np.array([0, 0, 1, 1])
    p = np.array([[0.99, 0.01], [0.55, 0.45], [0.6, 0.4], [0.7, 0.3]])  # thresholds 0.77 and 0.35
    found = label_errors(y, p)
    assert found.estimated_count == pytest.approx(2 / 2)  # row 1 counts in the joint
    assert 1 not in found.rows  # but 0 is what the model answers


def test_the_largest_lead_of_another_class_comes_first():
    y = np.array([0] * 8 + [1] * 8 + [2] * 8)
    p = 0.7 * np.eye(3)[y] + 0.1
    p[0] = [0.05, 0.90, 0.05]  # small own probability
    p[8] = [0.03, 0.02, 0.95]
    p[16] = [0.98, 0.01, 0.01]
    assert label_errors(y, p).rows.tolist() == [16, 8, 0]
    p[16] = [0.78, 0.21, 0.01]
    assert label_errors(y, p).rows.tolist() == [8, 0, 16]


@pytest.mark.parametrize("k", [2, 7, 30])
def test_planted_errors_are_found_and_clean_labels_mostly_left_alone(k):
    found_share, false_share, precision, top = [], [], [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        n = max(600, 40 * k)
        true = rng.integers(k, size=n)
        z = rng.normal(size=(n, k))
        z[np.arange(n), true] += 4.0
        p = np.exp(2.0 * z)
        p /= p.sum(axis=1, keepdims=True)
        wrong = rng.choice(n, size=n // 25, replace=False)
        given = true.copy()
        given[wrong] = (true[wrong] + rng.integers(1, k, size=len(wrong))) % k
        rows = label_errors(given, p).rows
        planted = np.isin(rows, wrong)
        found_share.append(planted.sum() / len(wrong))
        false_share.append((~planted).sum() / (n - len(wrong)))
        precision.append(planted.mean())
        top.append(planted[:10].mean())
    assert np.mean(found_share) > 0.7
    assert np.mean(false_share) < 0.02
    assert np.mean(precision) > 0.6
    assert np.mean(top) > 0.85  # the most suspicious first


def test_clean_and_perfect_labels_raise_no_suspicion():
    y = np.arange(60) % 30
    found = label_errors(y, np.eye(30)[y])
    assert len(found.rows) == 0
    assert found.estimated_count == 0.0


def test_a_class_of_one_photo_and_one_without_photos():
    y = np.array([0] * 10 + [1])
    p = np.tile([0.7, 0.2, 0.1], (11, 1))
    p[3] = [0.1, 0.0, 0.9]  # class 2 has no rows: no threshold, nothing is found to be it
    found = label_errors(y, p)
    assert found.rows.tolist() == [10]  # the one photo of class 1 looks like class 0
    assert 2 not in found.suggested


def test_rows_never_predicted_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        label_errors([0, 1], [[0.5, 0.5], [np.nan, np.nan]])
