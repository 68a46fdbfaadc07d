"""Estimates: the sum of their parts, and in words."""

from __future__ import annotations

import pytest
from drawn.costs import N, backbone, configured, costs_of, two_backbones

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.experiment import cost_model
from ensemble_minerals.experiment.cost_model import (
    describe,
    estimate,
    measure_costs,
    member_seconds,
)
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.networks.training import cost
from ensemble_minerals.system.cluster import Cluster
from ensemble_minerals.system.runtime import Runtime

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def config():
    return configured()


def test_an_estimate_is_the_sum_of_its_parts(config):
    found = estimate(config, costs_of(config))
    assert found.features == pytest.approx(N * 0.01 * (3 + 3 + 2) + N * 0.001)
    assert (found.members, found.networks) == (3 * 10 + 3 * 20 + 2 * 10, 300)
    assert found.rest == 5 + 3
    assert found.total == pytest.approx(8.1 + 110 + 300 + 8)
    few = estimate(
        config.model_copy(update={"members": config.members[:1]}), costs_of(config), learning_curve=False
    )
    assert (few.features, few.members, few.networks, few.rest) == (0, 0, 100, 3)


def test_stored_features_cost_nothing(config):
    assert estimate(config, costs_of(config, missing=0)).features == 0
    assert estimate(config, costs_of(config, missing=10)).features == pytest.approx(0.81)


def test_estimates_in_words(config):
    told = describe(config, costs_of(config))
    assert told == (
        "about 7 min: features 8 s (3 backbones x several views x 100 photos), members 2 min, "
        "trained networks 5 min at most"
    )
    plain = build_config(
        {"backbones": [backbone("one")], "members": [{"features": "each", "strategy": "flat"}]}
    )
    told = describe(plain, costs_of(plain))
    assert told == "about 21 s: features 3 s (1 backbone x 3 views x 100 photos), members 10 s"
    stored = costs_of(plain, missing=0)
    assert "features 1 s (stored), members" in describe(plain, stored)


# -- measured on a few photos ---------------------------------------------------------------------------------


@pytest.fixture
def scanned(tiny):
    """The tiny photos, scanned."""
    return scan(tiny.photos)


def measured(config, scanned, cluster=None, cache_dir=None, always=True):
    names = [*(backbone.name for backbone in config.backbones), "descriptor"]
    extractors = build_extractors(config, names, cache_dir=cache_dir)
    runtime = Runtime(1, cache_dir, cluster=cluster)
    return measure_costs(config, scanned, extractors, runtime, always=always)


def test_extractors_are_timed_on_a_few_photos_and_what_is_stored_costs_nothing(scanned, tmp_path):
    config = two_backbones()
    tmp_path.joinpath("cache").mkdir()
    costs = measured(config, scanned, cache_dir=tmp_path / "cache")
    names = ["one", "two", "descriptor"]
    assert costs.n_photos == 36
    assert {name: extractor.missing for name, extractor in costs.extractors.items()} == dict.fromkeys(
        names, 36
    )
    assert all(extractor.per_view > 0 for extractor in costs.extractors.values())
    assert costs.rest > 0  # decoding, and the search for photos of one object
    again = measured(config, scanned, cache_dir=tmp_path / "cache")
    assert {extractor.missing for extractor in again.extractors.values()} == {36 - 14}
    few = measured(config, scanned, cache_dir=tmp_path / "cache", always=False)  # they are soon done
    assert few.extractors["one"].per_view == 0


def test_a_cluster_shares_the_work(scanned, monkeypatch):
    monkeypatch.setattr(cost_model, "multiplication_rate", lambda: 1e9)
    config = two_backbones(
        members=[
            {"features": ["descriptor"], "strategy": "flat"},
            {"features": ["descriptor"], "strategy": "one_vs_rest", "head": "mlp"},
            {"features": ["descriptor"], "strategy": "hierarchical", "sampler": "smote"},
        ]
    )
    alone, together = measured(config, scanned), measured(config, scanned, Cluster("dask", 4, 8))
    for name, seconds in alone.members.items():
        assert together.members[name] == pytest.approx(seconds / 8)
        assert seconds > 0
    assert alone.members["descriptor-one_vs_rest-mlp"] > alone.members["descriptor-flat"]
    assert alone.members["descriptor-hierarchical"] > alone.members["descriptor-flat"]
    assert together.learning_curve == pytest.approx(alone.learning_curve)  # it is drawn here


def test_networks_cost_what_their_phases_and_folds_do(scanned, monkeypatch):
    monkeypatch.setattr(cost, "training_seconds", lambda network, n_classes, *, device: (0.01, 0.03))

    def seconds(specialists="joint", strategy="flat", **network):
        config = two_backbones(
            networks=[
                {"name": "net", "model": "test_efficientnet", "weights": "random", "size": 32, **network}
            ],
            members=[{"network": "net", "strategy": strategy, "specialists": specialists}],
        )
        (cost,) = member_seconds(config, scanned, {}, 1).values()
        return cost

    short, long = seconds(phases=[{"epochs": 2}]), seconds(phases=[{"epochs": 200}])
    assert 0 < 10 * short < long
    apart = seconds("separate", "one_vs_rest", phases=[{"epochs": 200}])
    assert apart > 1.5 * long
