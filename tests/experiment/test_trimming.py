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


def test_what_fits_is_left_as_it_is(config):
    plan = trim(config, costs_of(config), 1000)
    assert plan.config is config
    assert plan.learning_curve
    assert plan.fits
    assert plan.left_out == ()


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
        (425, "slow-net", 1),
        (226.5, "slow-net", 1),
        (200, "net-flat", 2),
        (75, "three-one_vs_rest-mlp", 5),
        (65, "views of one: center", 7),
        (62.5, "views of three: squash_flip", 8),
        (60, "the learning curve", 9),
        (48, "the backbone three", 10),
    ],
)
def test_no_more_goes_than_must(config, limit, last, n_gone):
    plan = trim(config, costs_of(config), limit)
    assert plan.fits
    assert plan.estimated <= limit
    assert len(plan.left_out) == n_gone
    assert any(text.startswith(last) for text in gone(plan))


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
    # 1.2 s for three views of what is missing, 2 s for two views of all
    some.extractors["two"] = ExtractorTime(0.01, 40, 3)
    plan = trim(config, some, 1)
    assert "views of two: squash_flip, center" in gone(plan)
    plan = trim(config, some, 62.5)
    assert [text for text in gone(plan) if "views" in text] == [
        "views of one: center",
        "views of three: squash_flip",
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
