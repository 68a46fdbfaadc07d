"""Estimates: the sum of their parts, in words, and timed on a few photos."""

from __future__ import annotations

import pytest
from drawn.configurations import two_backbones

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.experiment import cost_model
from ensemble_minerals.experiment.cost_model import Costs, describe, measure_costs, member_seconds
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.networks.training import cost
from ensemble_minerals.system.cluster import Cluster
from ensemble_minerals.system.runtime import Runtime

pytestmark = pytest.mark.usefixtures("one_thread")


def test_an_estimate_is_the_sum_of_its_parts():
    config = two_backbones(
        networks=[{"name": "net", "model": "resnet18"}],
        members=[
            {"features": "each", "strategy": "flat"},
            {"network": "net", "strategy": "flat"},
        ],
    )
    seconds = {"one-flat": 10.0, "two-flat": 20.0, "net-flat": 300.0}
    costs = Costs(100, {"one": 2.0, "two": 3.0}, seconds, learning_curve=5.0, rest=3.0, always=("one",))
    one, two, net = config.expanded_members()
    assert costs.total([one]) == 2 + 10 + 3
    assert costs.total([two]) == 2 + 3 + 20 + 3
    assert costs.total([net]) == 2 + 300 + 3
    assert describe(config, costs) == (
        "about 6 min: features 5 s (100 photos), members 30 s, trained networks 5 min at most"
    )
    stored = Costs(0, {}, seconds)
    assert "features 1 s (stored), members" in describe(config, stored)


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
    assert costs.n_missing == 36
    assert set(costs.features) == {"one", "two", "descriptor"}
    assert min(costs.features.values()) > 0
    assert costs.rest > 0  # decoding, and the search for photos of one object
    assert measured(config, scanned, cache_dir=tmp_path / "cache").n_missing == 36 - 16
    few = measured(config, scanned, cache_dir=tmp_path / "cache", always=False)  # they are soon done
    assert set(few.features.values()) == {0.0}


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


def test_networks_cost_their_photos_views_and_folds(scanned, monkeypatch):
    def measure(network, n_classes, *, device):
        return cost.TrainingCost(1.0, 0.1)

    monkeypatch.setattr(cost, "measure_training", measure)

    def seconds(specialists="joint", strategy="flat"):
        config = build_config(
            {
                "networks": [{"name": "net", "model": "resnet18", "validation_fraction": 0.0}],
                "members": [{"network": "net", "strategy": strategy, "specialists": specialists}],
                "folds": {"n_splits": 3},
            }
        )
        (found,) = member_seconds(config, scanned, {}, 1).values()
        return found

    assert seconds() == pytest.approx(3 * (24 * 1.0 + 12 * 0.1))
    assert seconds("separate", "one_vs_rest") == pytest.approx(3 * seconds())
