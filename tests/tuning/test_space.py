from __future__ import annotations

import pytest

from ensemble_minerals.config.loading import build_config, load_config
from ensemble_minerals.errors import ConfigError, UserError
from ensemble_minerals.tuning.space import SearchSpace, describe_changes

BACKBONES = [
    {"name": "a", "model": "resnet18", "weights": "random", "views": ["squash", "top_left", "top_right"]},
    {"name": "b", "model": "resnet18", "weights": "random"},
]
MEMBERS = [
    {"features": ["a"], "strategy": "flat", "head": {"kind": "logistic", "C": 7.0}},
    {"features": ["b"], "strategy": "flat", "head": "mlp", "sampler": "adasyn"},
    {"features": "all", "strategy": "flat", "head": "discriminant"},
]
START = build_config({"backbones": BACKBONES, "members": MEMBERS, "meta": {"one_standard_error": False}})


class Chooser:
    """Chooses what it is told, else the first choice."""

    def __init__(self):
        self.told: dict[str, object] = {}
        self.asked: dict[str, tuple] = {}

    def suggest_categorical(self, name, choices):
        self.asked[name] = choices
        chosen = self.told.get(name, choices[0])
        assert chosen in choices, name
        return chosen


def first(**told):
    chooser = Chooser()
    chooser.told = SearchSpace(START).first() | {
        name.replace("__", ":"): value for name, value in told.items()
    }
    return chooser


def test_the_first_choices_give_the_first_configuration():
    for start in (START, load_config(None), load_config("fast")):
        space, chooser = SearchSpace(start), Chooser()
        chooser.told = space.first()
        config = space.draw(chooser)
        assert config.expanded_members() == start.expanded_members()
        assert (config.backbones, config.meta, config.folds) == (start.backbones, start.meta, start.folds)
        assert describe_changes(start, config) == []


def test_members_on_the_same_features_may_come_and_all_may_go():
    space = SearchSpace(START)
    assert [slot.name for slot in space.slots[3:]] == [
        "a-one_vs_rest", "a-hierarchical", "b-one_vs_rest", "b-hierarchical", "all-one_vs_rest", "all-hierarchical",
    ]  # fmt: skip
    assert space.parts == ("a", *(slot.name for slot in space.slots))
    chooser = first()
    chooser.told |= {f"{name}:used": False for name in ("a-flat", "all-flat-discriminant")}
    chooser.told |= {"b-one_vs_rest:used": True, "b-one_vs_rest:head": "discriminant 0.5"}
    config = space.draw(chooser)
    assert [backbone.name for backbone in config.backbones] == ["b"]  # nobody looks at the other
    assert describe_changes(START, config) == [
        ("a", "squash, top_left, top_right; averaged", "left out"),
        ("a-flat", "logistic C=7", "left out"),
        ("all-flat-discriminant", "discriminant shrinkage=0.3", "left out"),
        ("b-one_vs_rest", "not there", "discriminant shrinkage=0.5"),
    ]
    chooser.told |= {f"{name}:used": False for name in ("b-flat-mlp", "b-one_vs_rest")}
    with pytest.raises(ConfigError, match="none is left"):
        space.draw(chooser)


def test_views_heads_and_samplers_change_alone():
    space, chooser = SearchSpace(START), first()
    chooser.told |= {
        "a:views": "closer",
        "a:pooling": "rows",
        "a-flat:head": "logistic C=300",
        "a-flat:sampler": "smote",
    }
    config = space.draw(chooser)
    assert config.backbones[0].views == ("top_left", "top_right")
    assert describe_changes(START, config) == [
        ("a", "squash, top_left, top_right; averaged", "top_left, top_right; training rows"),
        ("a-flat", "logistic C=7", "logistic C=300, smote"),
    ]
    assert "b:views" not in chooser.asked  # it has one
    assert set(chooser.asked["a:views"]) == {"all", "whole", "closer"}


def test_a_discriminant_takes_rows_as_they_are():
    chooser = first()
    chooser.told |= {"b-flat-mlp:head": "discriminant 0.3"}
    config = SearchSpace(START).draw(chooser)
    assert config.members[1].sampler.kind == "none"
    assert "b-flat-mlp:sampler" not in chooser.asked


def test_configurations_with_networks_are_refused():
    with pytest.raises(UserError, match="tuned1-flat trains a network: take a configuration without"):
        SearchSpace(load_config("finetuned"))
