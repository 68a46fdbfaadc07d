"""Simulated hand tests agree with what can be computed, and what tells nothing is left out."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.answers import changed, draw_answers
from drawn.hand_tests import PROPERTIES

from ensemble_minerals.config.properties import Properties
from ensemble_minerals.evaluation.intervals import GroupBootstrap
from ensemble_minerals.prediction.hand_tests import HandTests
from ensemble_minerals.prediction.simulated_evidence import simulate_evidence


@pytest.fixture(scope="module")
def scores():
    answers = draw_answers([400, 400], strength=1.0)
    known = {
        name: PROPERTIES.classes[own] for name, own in zip(answers.classes, ("mica", "quartz"), strict=True)
    }
    tests = HandTests(PROPERTIES.model_copy(update={"classes": known}), answers.classes)
    found = simulate_evidence(answers, tests, GroupBootstrap(answers.groups))
    return answers, tests, {score.tests: score for score in found}


def test_photos_alone_are_as_they_were_and_useless_tests_are_left_out(scores):
    answers, _, found = scores
    assert found[()].accuracy.estimate == pytest.approx(answers.right.mean())
    assert list(found) == [
        (),
        ("hardness",),
        ("streak",),
        ("hardness", "streak"),
    ]  # density is known of one class


def test_a_word_brings_what_its_outcomes_bring(scores):
    answers, tests, found = scores
    table = np.array([tests.likelihood(tests.read("streak", word)) for word in ("white", "grey", "black")])
    best = (answers.proba[:, None] * table).argmax(axis=2)  # (n, outcomes)
    chance = table[:, answers.y].T
    expected = (chance * (best == answers.y[:, None])).sum(axis=1).mean()
    assert found["streak",].accuracy.estimate == pytest.approx(expected, abs=0.01)
    assert found["streak",].accuracy.low < expected < found["streak",].accuracy.high


def test_two_tests_bring_more_than_one_and_scores_are_the_same_again(scores):
    answers, tests, found = scores
    both, one, none = (found[names] for names in (("hardness", "streak"), ("hardness",), ()))
    assert both.log_loss.estimate < one.log_loss.estimate < none.log_loss.estimate
    again = simulate_evidence(answers, tests, GroupBootstrap(answers.groups))
    assert {score.tests: score for score in again} == found


def test_certain_photos_and_classes_without_photos_are_no_obstacle():
    answers = draw_answers([3, 3], perfect=True)
    answers = changed(answers, y=np.zeros(6, dtype=int))
    known = {"class 0": PROPERTIES.classes["mica"]}
    tests = HandTests(
        Properties.model_validate({**PROPERTIES.model_dump(), "classes": known}), answers.classes
    )
    assert [score.tests for score in simulate_evidence(answers, tests, GroupBootstrap(answers.groups))] == [
        ()
    ]
