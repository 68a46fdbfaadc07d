"""A configuration with something to leave out, and what it costs."""

from __future__ import annotations

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.experiment.cost_model import Costs, ExtractorTime

N = 100
VIEWS = ["squash", "squash_flip", "center"]


def backbone(name, views=VIEWS):
    return {"name": name, "model": "resnet18", "weights": "random", "views": list(views)}


def configured(**changes):
    return build_config(
        {
            "backbones": [backbone("one"), backbone("two"), backbone("three", VIEWS[:2])],
            "networks": [{"name": "net", "model": "resnet18"}, {"name": "net2", "model": "resnet18"}],
            "members": [
                {"network": "net", "strategy": "flat"},
                {"network": "net2", "strategy": "flat", "name": "slow-net"},
                {"features": "each", "strategy": "flat"},
                {"features": "each", "strategy": "one_vs_rest", "head": "mlp"},
                {"features": "all", "strategy": "hierarchical", "name": "everything"},
                {"features": ["descriptor"], "strategy": "flat"},
            ],
            **changes,
        }
    )


def costs_of(config, missing=N, **changes):
    """A view of a photo takes 10 ms, color and texture 1 ms, a member 10 s, an MLP 20 s, networks 100 s and 200 s."""
    extractors = {entry.name: ExtractorTime(0.01, missing, len(entry.views)) for entry in config.backbones}
    extractors["descriptor"] = ExtractorTime(0.001, missing)
    members = {}
    for member in config.expanded_members():
        seconds = 20.0 if member.head.kind == "mlp" else 10.0
        if member.network:
            seconds = 200.0 if member.name == "slow-net" else 100.0
        members[member.name] = seconds
    return Costs(N, extractors, members, **{"learning_curve": 5.0, "rest": 3.0, **changes})


def two_backbones(views=("squash", "center"), **changes):
    """Two small networks with random weights, a member on each and one on color and texture."""
    backbones = [
        {
            "name": name, "model": "test_efficientnet", "weights": "random", "size": 32,
            "views": list(views), "layers": [1, 2],
        }
        for name in ("one", "two")
    ]  # fmt: skip
    members = [{"features": "each", "strategy": "flat"}, {"features": ["descriptor"], "strategy": "flat"}]
    return build_config(
        {
            "backbones": backbones,
            "members": members,
            "folds": {"n_splits": 3},
            "duplicates": {"near": False},  # to a network that knows nothing all look alike
            "engine": "torch",
            "precision": "float32",
            **changes,
        }
    )
