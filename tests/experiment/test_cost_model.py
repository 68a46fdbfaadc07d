"""Estimates: the sum of their parts, in words, and timed on a few photos."""

from __future__ import annotations

import pytest
from drawn.configurations import two_backbones

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.schema import DuplicatesConfig
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.experiment import cost_model
from ensemble_minerals.experiment.cost_model import Costs, measure_costs, member_seconds
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.networks.training import cost
from ensemble_minerals.system.cluster import Cluster
from ensemble_minerals.system.runtime import Runtime

pytestmark = pytest.mark.usefixtures("one_thread")


def test_an_estimate_is_the_sum_of_its_parts():
    one_flat, network = {"features": ["one"], "strategy": "flat"}, {"network": "net", "strategy": "flat"}
    config = two_backbones(
        networks=[{"name": "net", "model": "resnet18"}],
        members=[one_flat, {"features": ["two"], "strategy": "flat"}, network],
    )
    finding = config.model_copy(update={"duplicates": DuplicatesConfig(near=True)})
    seconds = {"one-flat": 10.0, "two-flat": 20.0, "net-flat": 300.0}
    costs = Costs(100, {"one": 2.0, "two": 3.0}, seconds, learning_curve=5.0, rest=3.0)
    one, two, net = config.expanded_members()
    assert costs.total(config.with_members([one])) == 2 + 10 + 3
    assert costs.total(config.with_members([two])) == 3 + 20 + 3
    assert costs.total(finding.with_members([two])) == 2 + 3 + 20 + 3  # the first finds photos of one object
    assert costs.total(finding.with_members([net])) == 2 + 300 + 3
    assert costs.in_words(config) == (
        "about 6 min: features 5 s (100 photos), members 30 s, trained networks 5 min at most"
    )
    assert (
        Costs(0, {}, seconds).in_words(config).startswith("at most about 6 min: features 1 s (stored), mem")
    )


@pytest.fixture
def scanned(tiny):
    """The tiny photos, scanned."""
    return scan(tiny.photos)


def measured(config, scanned, cluster=None, cache_dir=None, few=0):
    names = [*(backbone.name for backbone in config.backbones), "descriptor"]
    extractors = build_extractors(config, names, cache_dir=cache_dir)
    runtime = Runtime(1, cache_dir, cluster=cluster)
    return measure_costs(config, scanned, extractors, runtime, few=few)


def test_extractors_are_timed_on_a_few_photos_and_what_is_stored_costs_nothing(tiny, scanned, tmp_path):
    config = two_backbones()
    costs = measured(config, scanned, cache_dir=tmp_path)
    assert costs.n_missing == 36
    assert set(costs.features) == {"one", "two", "descriptor"}
    assert min(costs.features.values()) > 0
    assert costs.rest > 0  # the search for photos of one object
    assert set(measured(config, scanned, few=36).features.values()) == {0.0}  # they are soon done
    tiny.fit(tiny.photos, tmp_path / "bundle", config, cache_dir=tmp_path)
    stored = measured(config, scanned, cache_dir=tmp_path)
    assert (stored.n_missing, stored.rest, set(stored.features.values())) == (0, 0.0, {0.0})


def test_a_cluster_shares_the_work(scanned, monkeypatch):
    monkeypatch.setattr(cost_model, "multiplication_rate", lambda: 1e9)
    members = [{"features": ["descriptor"], "strategy": "flat"}]
    members += [{"features": ["descriptor"], "strategy": "one_vs_rest", "head": "mlp"}]
    config = two_backbones(members=members)
    alone, together = measured(config, scanned), measured(config, scanned, Cluster("dask", 4, 8))
    assert together.members == pytest.approx({name: seconds / 8 for name, seconds in alone.members.items()})
    assert alone.members["descriptor-one_vs_rest-mlp"] > alone.members["descriptor-flat"] > 0
    assert together.learning_curve == pytest.approx(alone.learning_curve)  # it is drawn here


def test_networks_cost_their_photos_views_and_folds(scanned, monkeypatch):
    def measure(*_, n_threads, device):
        return cost.TrainingCost(1.0, 0.1 / n_threads)

    def seconds(specialists="joint", strategy="flat", n_tasks=1, **folds):
        network = {"name": "net", "model": "resnet18", "validation_fraction": 0.0}
        member = {"network": "net", "strategy": strategy, "specialists": specialists}
        config = build_config({"networks": [network], "members": [member], "folds": {"n_splits": 3} | folds})
        return member_seconds(config, scanned, {}, n_tasks)[str(config.expanded_members()[0].name)]

    monkeypatch.setattr(cost, "measure_training", measure)
    monkeypatch.setattr(cost_model.cpu, "cores", lambda: 4)
    assert seconds() == pytest.approx(3 * (24 * 1.0 + 12 * 0.1))
    assert seconds("separate", "one_vs_rest") == pytest.approx(3 * seconds())
    assert seconds(n_tasks=2) == pytest.approx(seconds() / 2)
    assert seconds(n_tasks=4, n_splits=1, holdout=1 / 3) == pytest.approx(24 + 12 * 0.1 / 4)  # on all cores
