"""The figures of one ensemble, measured in several ways."""

from __future__ import annotations

import math

import pytest
from drawn.answers import draw_answers

from ensemble_minerals.evaluation.splits import split_figures


def kinds(found):
    return {figure.kind: figure for figure in found.figures}


def test_what_is_not_measured_has_a_reason():
    answers = draw_answers([30, 30])
    found = kinds(split_figures(answers, {}, None, "not asked for", None, seed=0))
    assert list(found) == ["random", "objects_together", "another_source"]
    assert found["random"].reason == "not asked for"
    assert math.isnan(found["random"].accuracy.estimate)
    assert found["another_source"].reason == "give labeled photos of another source with --data"
    assert found["objects_together"].accuracy.estimate == pytest.approx(answers.right.mean())


def test_all_ways_stand_beside_each_other():
    own, other = draw_answers([30, 30]), draw_answers([20, 20], strength=0.5, seed=1)
    metrics = {
        "test": {"n": 50, "accuracy": 0.9},
        "test_twins": {
            "photos": 10,
            "accuracy": {"estimate": 0.9, "low": 0.8, "high": 0.95, "level": 0.95},
            "difference": {"estimate": 0.025, "low": -0.01, "high": 0.06, "level": 0.95},
        },
        "test_without_twins": {"n": 40, "accuracy": 0.875},
    }
    perfect = (own.y[:, None] == [0, 1]).astype(float)
    measured = split_figures(own, metrics, perfect, "", other, seed=0)
    found = kinds(measured)
    assert found["random"].accuracy.estimate == 1
    assert measured.twins.low == -0.01
    assert measured.flattery.estimate == pytest.approx(1 - own.right.mean())
    assert (found["test"].n, found["test"].accuracy.low) == (50, 0.8)
    assert (found["test_without_twins"].n, found["test_without_twins"].accuracy.estimate) == (40, 0.875)
    assert found["another_source"].accuracy.estimate == pytest.approx(other.right.mean())
