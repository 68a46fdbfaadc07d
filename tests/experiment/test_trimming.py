"""What goes first when time is short, and what is said of it."""

from __future__ import annotations

import pytest
import yaml
from drawn.costs import configured, costs_of

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.experiment.cost_model import ExtractorTime
from ensemble_minerals.experiment.trimming import ORDER, trim


@pytest.fixture
def config():
    return configured()


def gone(plan):
    return [text.removeprefix("time limit: left out ") for text in plan.left_out]


def test_things_go_in_the_stated_order(config):
    costs = costs_of(config)
    whole = trim(config, costs, 0.001)
    assert not whole.fits
    assert gone(whole) == [
        "slow-net, a trained network (about 3 min)",
        "net-flat, a trained network (about 2 min)",
        "one-one_vs_rest-mlp, which has an MLP head (about 20 s)",
        "two-one_vs_rest-mlp, which has an MLP head (about 20 s)",
        "three-one_vs_rest-mlp, which has an MLP head (about 20 s)",
        "views of three: squash_flip",
        "views of two: squash_flip, center",
        "views of one: squash_flip, center",
        "the learning curve",
        "the backbone three and the members that use nothing else: three-flat",
        "the backbone two and the members that use nothing else: two-flat",
        "everything (about 10 s)",
        "descriptor-flat (about 10 s)",
    ]
    assert [member.name for member in whole.config.expanded_members()] == ["one-flat"]
    assert ORDER.startswith("trained networks (the longest first), members with an MLP head, extra views")


@pytest.mark.parametrize(
    ("limit", "last", "n_gone"),
    [
        (1000, "", 0),
        (425, "slow-net", 1),
        (226.5, "slow-net", 1),
        (200, "net-flat", 2),
        (75, "three-one_vs_rest-mlp", 5),
        (65, "views of two: squash_flip, center", 7),
        (62.5, "views of one: squash_flip, center", 8),
        (60, "the learning curve", 9),
        (48, "the backbone three", 10),
    ],
)
def test_no_more_goes_than_must(config, limit, last, n_gone):
    plan = trim(config, costs_of(config), limit)
    assert plan.fits
    assert plan.estimated <= limit
    assert len(plan.left_out) == n_gone
    assert not n_gone or gone(plan)[-1].startswith(last)
    assert (plan.config is config) == (n_gone == 0)


@pytest.mark.parametrize("limit", [425, 75, 65, 62.5, 48, 30, 1])
def test_the_trimmed_configuration_is_whole_in_itself(config, limit):
    costs = costs_of(config)
    plan = trim(config, costs, limit)
    assert build_config(yaml.safe_load(plan.config.to_yaml())) == plan.config
    assert trim(plan.config, costs, 1e6).config is plan.config
    names = {entry.name for entry in plan.config.backbones}
    for member in plan.config.expanded_members():
        assert set(member.features or ()) <= names | {"descriptor"}
        assert str(member.name) in costs.members
    assert {n.name for n in plan.config.networks} == {m.network for m in plan.config.members if m.network}
    assert plan.config.seed == config.seed


def test_views_whose_features_are_stored_stay(config):
    plan = trim(config, costs_of(config, missing=0), 60)
    assert not any("views" in text for text in plan.left_out)
    some = costs_of(config)
    some.extractors["two"] = ExtractorTime(0.01, 20, 3)  # 0.6 s for what is missing, 1 s for one view of all
    assert [text for text in gone(trim(config, some, 1)) if "views" in text] == [
        "views of three: squash_flip",
        "views of one: squash_flip, center",
    ]


def test_nothing_goes_that_would_save_no_time(config):
    costs = costs_of(config, learning_curve=0.0)
    costs.members["two-one_vs_rest-mlp"] = 0.0
    left_out = gone(trim(config, costs, 0.001))
    assert "the learning curve" not in left_out
    assert not any(text.startswith("two-one_vs_rest-mlp,") for text in left_out)


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        (
            [
                {"network": "net2", "strategy": "flat", "name": "slow-net"},
                {"network": "net", "strategy": "flat"},
            ],
            "net-flat",
        ),
        (
            [
                {"features": ["two"], "strategy": "flat", "head": "mlp"},
                {"features": ["two"], "strategy": "one_vs_rest"},
                {"features": ["two"], "strategy": "flat"},
            ],
            "two-flat",
        ),
        (
            [{"features": "all", "strategy": "flat"}, {"features": ["descriptor"], "strategy": "flat"}],
            "descriptor-flat",
        ),
        ([{"features": ["three"], "strategy": "flat", "head": "mlp"}], "three-flat-mlp"),
    ],
)
def test_one_member_stays(members, kept):
    config = configured(members=members)
    plan = trim(config, costs_of(config), 0.001)
    assert [member.name for member in plan.config.expanded_members()] == [kept]
    assert not plan.fits
