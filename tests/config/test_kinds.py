"""Settings of several kinds: how a value finds its section, and how a kind is added."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError

from ensemble_minerals.config.extractors import EXTRACTORS, DescriptorConfig, ExtractorSection
from ensemble_minerals.config.kinds import Kinds
from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.members import HEADS, SAMPLERS, HeadSection, SamplerSection
from ensemble_minerals.config.networks import CrossEntropyLoss, FocalLoss, LayersHeadConfig, OwnHeadConfig
from ensemble_minerals.errors import ConfigError

FLAT = {"features": ["descriptor"], "strategy": "flat"}


class RidgeHeadConfig(HeadSection):
    kind: Literal["ridge"] = "ridge"
    alpha: float = 1.0


class HalvingSamplerConfig(SamplerSection):
    makes_rows = False
    kind: Literal["halving"] = "halving"


class CornersConfig(ExtractorSection):
    kind: Literal["corners"] = "corners"
    n_corners: int = 4


def problem_of(changes):
    with pytest.raises(ConfigError) as caught:
        build_config({"members": [FLAT], **changes})
    (problem,) = caught.value.problems
    return problem


@pytest.fixture
def added(monkeypatch):
    for table, section in (
        (HEADS, RidgeHeadConfig),
        (SAMPLERS, HalvingSamplerConfig),
        (EXTRACTORS, CornersConfig),
    ):
        monkeypatch.setattr(table, "sections", [*table.sections, section])


def test_a_name_a_mapping_and_a_section_are_read():
    kinds = Kinds(CrossEntropyLoss, FocalLoss, default="focal")
    assert kinds.read("cross_entropy") == CrossEntropyLoss()
    assert kinds.read({"kind": "focal", "gamma": 1.0}) == FocalLoss(gamma=1.0)
    assert kinds.read({"gamma": 1.0}) == FocalLoss(gamma=1.0)
    assert kinds.read(FocalLoss()) == FocalLoss()


@pytest.mark.parametrize("value", [{}, {"kind": "hinge"}, {"kind": 3}, "hinge", {"kind": "focal", "g": 1}])
def test_what_fits_no_section_is_refused(value):
    with pytest.raises(ValidationError):
        Kinds(CrossEntropyLoss, FocalLoss).read(value)


def test_an_added_kind_is_read_and_written_like_the_others(added):
    config = build_config(
        {
            "extractors": [{"kind": "corners", "name": "c", "n_corners": 8}],
            "members": [
                {"features": ["c"], "strategy": "flat", "head": {"kind": "ridge", "alpha": 3.0}},
                {"features": "all", "strategy": "flat", "head": "ridge", "sampler": "halving"},
            ],
        }
    )
    first, second = config.expanded_members()
    assert first.head == RidgeHeadConfig(alpha=3.0)
    assert (second.name, second.features) == ("all-flat-ridge", ("c", "descriptor"))
    assert config.model_dump()["extractors"] == ({"name": "c", "kind": "corners", "n_corners": 8},)
    assert build_config(config.model_dump(mode="json")) == config
    assert "alpha: 3.0" in config.to_yaml()


def test_mistakes_in_an_added_kind_are_told_like_all_others(added):
    assert problem_of({"members": [{**FLAT, "head": {"kind": "ridge", "alhpa": 1.0}}]}) == (
        "members.0.head.alhpa: unknown key (did you mean 'alpha'?); known here: alpha"
    )
    assert problem_of({"members": [{**FLAT, "head": {"kind": "ridge", "alpha": "1"}}]}) == (
        "members.0.head.alpha: must be a number, got '1'"
    )
    assert problem_of({"members": [{**FLAT, "head": "rigde"}]}) == (
        "members.0.head.kind: 'rigde' is not known (did you mean 'ridge'?); choose from logistic, mlp, discriminant, "
        "random_features, ridge"
    )


def test_an_over_sampler_that_copies_rows_suits_a_network(added):
    network = {"name": "n", "model": "test_resnet"}
    member = {"network": "n", "strategy": "flat"}
    build_config({"networks": [network], "members": [{**member, "sampler": "halving"}]})
    assert problem_of({"networks": [network], "members": [{**member, "sampler": "smote"}]}).startswith(
        "members.0.sampler: 'smote' makes new rows"
    )


def test_names_of_extractors_differ_from_all_others():
    corner = {"kind": "descriptor", "name": "descriptor"}
    assert problem_of({"extractors": [corner]}) == (
        "extractors.0.name: 'descriptor' is the name of something else; choose another"
    )
    backbone = {"name": "a", "model": "test_resnet"}
    assert problem_of({"backbones": [backbone], "extractors": [{**corner, "name": "a"}]}) == (
        "extractors.0.name: 'a' is already the name at backbones.0.name; names must differ"
    )
    assert problem_of({"extractors": [{"kind": "corner", "name": "a"}]}) == (
        "extractors.0.kind: 'corner' is not known; choose from descriptor"
    )


def test_without_further_extractors_the_key_is_not_written():
    config = build_config({"members": [FLAT]})
    assert "extractors" not in config.model_dump()
    assert "extractors" not in config.to_yaml()
    config = build_config({"members": [FLAT], "extractors": [{"kind": "descriptor", "name": "color"}]})
    assert config.extractors == (DescriptorConfig(name="color"),)


def test_the_head_of_a_network_needs_no_kind():
    head = {"pooling": "taps", "batch_norm": True, "dropout": 0.3, "init": "zero"}
    network = {"name": "n", "model": "test_resnet"}
    member = {"network": "n", "strategy": "flat"}
    config = build_config({"networks": [{**network, "head": head}], "members": [member]})
    assert config.networks[0].head == LayersHeadConfig(
        pooling="taps", batch_norm=True, dropout=0.3, init="zero"
    )
    config = build_config({"networks": [{**network, "head": "own"}], "members": [member]})
    assert config.networks[0].head == OwnHeadConfig()
    wrong = {"networks": [{**network, "head": {"poolin": "taps"}}], "members": [member]}
    assert problem_of(wrong).startswith("networks.0.head.poolin: unknown key (did you mean 'pooling'?)")


def test_the_path_of_a_value_of_several_types_is_as_written():
    network = {"name": "n", "model": "test_resnet", "size": "x"}
    with pytest.raises(ConfigError) as caught:
        build_config({"networks": [network], "members": [{"network": "n", "strategy": "flat"}]})
    assert {problem.split(":")[0] for problem in caught.value.problems} == {"networks.0.size"}
