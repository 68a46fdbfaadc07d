"""Which test is advised, and how."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.hand_tests import TESTS

from ensemble_minerals.prediction.advice import advise, expected


def test_expected_information_in_closed_form():
    proba, likelihoods = np.array([0.5, 0.5]), np.array([[0.9, 0.2], [0.1, 0.8]])
    outcome = likelihoods @ proba
    entropy = -sum(p * np.log(p) for p in outcome)
    within = sum(-p * np.log(p) for column in likelihoods.T for p in column) / 2
    found = expected(proba, likelihoods)
    assert found.information == pytest.approx(entropy - within)
    assert found.confidence == pytest.approx(0.45 + 0.4)


def test_an_outcome_that_no_class_gives_and_a_class_that_is_ruled_out_are_no_obstacle():
    found = expected(np.array([1.0, 0.0]), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert (found.information, found.confidence) == (0, 1)


def test_the_test_that_tells_most_comes_first_in_words_and_with_what_to_write():
    (text,) = advise(TESTS, np.array([[0.5, 0.49, 0.01]]), [()])
    assert text.startswith("test next: scratch it with a coin (scratched (hardness=1-3.5): mica, "
                           "not scratched (hardness=3.5-10): quartz, confidence 50 -> 98 % on average)")  # fmt: skip
    assert "; or rub it (streak=white: quartz, streak=grey: mica" in text


def test_what_was_tested_or_tells_nothing_is_not_advised():
    unsure = np.array([[0.5, 0.5, 0.0]])
    (text,) = advise(TESTS, unsure, [{"hardness"}])
    assert "scratch" not in text
    assert "magnet" not in text
    (text,) = advise(TESTS, unsure, [{"hardness", "density", "streak"}])
    assert text == "no test known here tells more"


def test_sure_and_unreadable_photos_need_no_advice():
    assert list(advise(TESTS, np.array([[0.96, 0.02, 0.02], [np.nan] * 3]), [(), ()])) == ["", ""]
