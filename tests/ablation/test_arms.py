"""Arms of an ablation: those that make sense for the members, in the order of the table."""

from __future__ import annotations

import pytest

from ensemble_minerals.ablation.arms import (
    BUDGET,
    FULL,
    HINDSIGHT,
    KINDS,
    LEAKY,
    ONE_MODEL,
    PENALTIES,
    list_arms,
    on_views,
    one_models,
    retrained,
)
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.discriminant import DiscriminantHead
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.network_member import NetworkMember
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier

HEAD = LogisticHead(C=3.0)
MEMBERS = (
    FeatureMember("a-flat", ("a",), FlatClassifier(HEAD)),
    FeatureMember("b-ovr", ("b",), OneVsRestClassifier(HEAD, OverSampler("random"))),
    FeatureMember("ab-tree", ("a", "b"), HierarchicalClassifier("auto", head=HEAD)),
)
TUNED = NetworkMember("tuned", (), FlatClassifier(), NetworkConfig(name="net", model="test_efficientnet"))


def names(members, **options):
    return [arm.name for arm in list_arms(members, **options)]


def test_arms_of_several_members():
    assert names(MEMBERS) == [
        FULL, "single:a-flat", "single:b-ovr", "single:ab-tree", ONE_MODEL, "best_single", HINDSIGHT, BUDGET,
        "uniform", "calibrated", "greedy", "log_pool", "stacked", "rejection", "without_flat", "without_one_vs_rest",
        "without_hierarchical",
        "without_oversampling", "without_prior_correction", "without_calibration", "without:a", "without:b", LEAKY,
    ]  # fmt: skip
    left = {arm.name: arm.members for arm in list_arms(MEMBERS)}
    assert left["without_flat"] == ("b-ovr", "ab-tree")
    assert left["without:a"] == ("b-ovr",)
    assert left["without:b"] == ("a-flat",)
    assert left["uniform"] == ("a-flat", "b-ovr", "ab-tree")


def test_arms_of_one_member():
    assert names(MEMBERS[:1]) == [FULL, "single:a-flat", "rejection", "without_calibration", LEAKY]


def test_no_arm_leaves_out_what_is_not_there():
    natural = (MEMBERS[0], FeatureMember("b-flat", ("b",), FlatClassifier(HEAD)))
    listed = names(natural, calibrate=False)
    assert not {
        "without_flat",
        "without_oversampling",
        "without_prior_correction",
        "without_calibration",
    } & set(listed)
    assert {"without:a", "without:b"} <= set(listed)
    uncorrected = FeatureMember(
        "b", ("b",), OneVsRestClassifier(HEAD, OverSampler("random"), prior_correction=False)
    )
    assert "without_prior_correction" not in names((MEMBERS[0], uncorrected))


def test_arms_by_name_and_kind():
    assert names(MEMBERS, wanted=["uniform"]) == [FULL, "uniform"]
    assert names(MEMBERS, wanted=["source", "without_flat"]) == [
        FULL,
        "without_flat",
        "without:a",
        "without:b",
    ]
    assert names(MEMBERS, wanted=["single"]) == [FULL, "single:a-flat", "single:b-ovr", "single:ab-tree"]


def test_hindsight_brings_the_members_it_chooses_from():
    assert names(MEMBERS, wanted=[HINDSIGHT])[1:4] == ["single:a-flat", "single:b-ovr", "single:ab-tree"]


def test_an_unknown_arm_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"no arm is called 'unifrom'.*uniform.*combination"):
        list_arms(MEMBERS, ["unifrom"])


def test_one_model_sees_the_features_of_all_members_once():
    models = one_models((*MEMBERS, TUNED))
    assert {model.features for model in models} == {("a", "b")}
    assert [model.strategy.head.C for model in models] == list(PENALTIES)
    assert ONE_MODEL not in names((MEMBERS[0], TUNED))  # one source is what that member sees


def test_retraining_changes_one_thing():
    natural, shifted = (
        retrained(MEMBERS[1], arm) for arm in ("without_oversampling", "without_prior_correction")
    )
    assert (natural.strategy.sampler.kind, natural.strategy.prior_correction) == ("none", True)
    assert (shifted.strategy.sampler.kind, shifted.strategy.prior_correction) == ("random", False)
    assert MEMBERS[1].strategy.sampler.kind == "random"
    assert [member.strategy.kind for member in MEMBERS] == ["flat", "one_vs_rest", "hierarchical"]


def test_trained_networks_are_left_out_together():
    arms = {arm.name: arm for arm in list_arms((*MEMBERS, TUNED))}
    assert arms["without:networks"].members == ("a-flat", "b-ovr", "ab-tree")
    assert arms["without:networks"].subject == "trained networks"
    assert arms["without:a"].members == ("b-ovr", "tuned")


def test_every_arm_has_a_kind_and_a_name_of_its_own():
    arms = list_arms((*MEMBERS, TUNED))
    assert {arm.kind for arm in arms} == set(KINDS)
    assert len({arm.name for arm in arms}) == len(arms)


def test_views_as_rows_are_for_members_on_one_backbone_that_can_learn_so():
    assert [member.name for member in on_views(MEMBERS, {"a", "b"})] == ["a-flat", "b-ovr"]
    assert "views_as_rows" in names(MEMBERS, viewed={"a"})
    others = (
        FeatureMember("made", ("a",), FlatClassifier(HEAD, OverSampler("adasyn"))),
        FeatureMember("deep", ("a",), FlatClassifier(MLPHead())),
        FeatureMember("copied", ("a",), FlatClassifier(DiscriminantHead(), OverSampler("random"))),
    )
    assert on_views(others, {"a"}) == ()
    assert "rejection" not in names(MEMBERS, rejects=False)
