"""What goes first when time is short, and what is said of it."""

from __future__ import annotations

import pytest
import yaml

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.errors import UserError
from ensemble_minerals.experiment.cost_model import (
    ORDER,
    Costs,
    ExtractorTime,
    describe,
    estimate,
    parse_seconds,
    spell,
    trim,
)

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


@pytest.fixture
def config():
    return configured()


def costs_of(config, missing=N, **changes):
    """A view of a photo takes 10 ms, color and texture 1 ms, a member 10 s, an MLP 20 s, networks 100 s and 200 s."""
    extractors = {entry.name: ExtractorTime(0.01, missing) for entry in config.backbones}
    extractors["descriptor"] = ExtractorTime(0.001, missing)
    members = {}
    for member in config.expanded_members():
        seconds = 20.0 if member.head.kind == "mlp" else 10.0
        if member.network:
            seconds = 200.0 if member.name == "slow-net" else 100.0
        members[member.name] = seconds
    return Costs(N, extractors, members, **{"learning_curve": 5.0, "rest": 3.0, **changes})


def gone(plan):
    return [text.removeprefix("time limit: left out ") for text in plan.left_out]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1H 2m 3s", 3723),
        ("0.5", 0.5),
    ],
)
def test_times_are_read(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "soon", "10 parsecs", "30m1h", "nan", "1e3", "0m"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UserError, match=r"--time-limit .*give seconds, or a time such as 10m or 1h30m"):
        parse_seconds(text)


def test_times_are_spelled():
    assert [spell(seconds) for seconds in (0.1, 12.4, 89, 200, 5000, 9000)] == [
        "1 s", "12 s", "89 s", "3 min", "83 min", "2.5 h",
    ]  # fmt: skip


def test_an_estimate_is_the_sum_of_its_parts(config):
    found = estimate(config, costs_of(config))
    assert found.features == pytest.approx(N * 0.01 * (3 + 3 + 2) + N * 0.001)
    assert (found.members, found.networks) == (3 * 10 + 3 * 20 + 2 * 10, 300)
    assert (found.learning_curve, found.rest) == (5, 3)
    assert found.total == pytest.approx(8.1 + 110 + 300 + 8)
    assert estimate(config, costs_of(config), learning_curve=False).learning_curve == 0


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
        "the backbone three and what stands on it: three-flat",
        "the backbone two and what stands on it: two-flat",
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
    assert plan.estimate.total <= limit
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
    some.extractors["two"] = ExtractorTime(0.01, 40)
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
