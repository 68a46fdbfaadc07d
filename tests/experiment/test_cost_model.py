"""Estimates: the sum of their parts, and in words."""

from __future__ import annotations

import pytest
from drawn.costs import N, backbone, configured, costs_of

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.experiment.cost_model import describe, estimate, estimate_parts


@pytest.fixture
def config():
    return configured()


def test_an_estimate_is_the_sum_of_its_parts(config):
    found = estimate(config, costs_of(config))
    assert found.features == pytest.approx(N * 0.01 * (3 + 3 + 2) + N * 0.001)
    assert (found.members, found.networks) == (3 * 10 + 3 * 20 + 2 * 10, 300)
    assert (found.learning_curve, found.rest) == (5, 3)
    assert found.total == pytest.approx(8.1 + 110 + 300 + 8)
    parts = config.expanded_members()[:1], config.backbones[:1]
    few = estimate_parts(*parts, config, costs_of(config), learning_curve=False)
    assert few.learning_curve == few.members == 0
    assert few.networks == 100


def test_stored_features_cost_nothing(config):
    assert estimate(config, costs_of(config, missing=0)).features == 0
    assert estimate(config, costs_of(config, missing=10)).features == pytest.approx(0.81)


def test_only_what_is_used_counts():
    config = build_config(
        {
            "backbones": [backbone("one"), backbone("two")],
            "members": [{"features": ["two"], "strategy": "flat"}],
            "duplicates": {"near": False},
        }
    )
    assert estimate(config, costs_of(config)).features == pytest.approx(3)
    near = config.model_copy(update={"duplicates": config.duplicates.model_copy(update={"near": True})})
    assert estimate(near, costs_of(near)).features == pytest.approx(6)  # the first confirms what looks alike


def test_estimates_in_words(config):
    told = describe(config, costs_of(config), estimate(config, costs_of(config)))
    assert told == (
        "about 7 min: features 8 s (3 backbones x several views x 100 photos), members 2 min, "
        "trained networks 5 min at most"
    )
    plain = build_config(
        {"backbones": [backbone("one")], "members": [{"features": "each", "strategy": "flat"}]}
    )
    told = describe(plain, costs_of(plain), estimate(plain, costs_of(plain)))
    assert told == "about 21 s: features 3 s (1 backbone x 3 views x 100 photos), members 10 s"
    stored = costs_of(plain, missing=0)
    assert "features 1 s (stored), members" in describe(plain, stored, estimate(plain, stored))
