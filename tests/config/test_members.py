"""Members: short forms, names, heads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from drawn.configurations import SMALL

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.members import (
    LogisticHeadConfig,
    MlpHeadConfig,
    NeighborSamplerConfig,
    NoSamplerConfig,
    RandomSamplerConfig,
)

Write = Callable[[str], Path]


def test_expanded_members() -> None:
    wide = [
        "members.+={features: all, strategy: flat}",
        "members.+={features: all, strategy: flat, head: mlp}",
    ]
    members = load_config("default", wide).expanded_members()
    assert all(isinstance(member.features, tuple) for member in members)
    by_name = {member.name: member for member in members}
    assert list(by_name) == [
        *("lite0-flat", "lite1-flat", "lite2-flat"),
        *("lite0-one_vs_rest", "lite1-one_vs_rest", "lite2-one_vs_rest"),
        *("lite0-hierarchical", "lite1-hierarchical", "lite2-hierarchical"),
        *("descriptor-flat", "descriptor-one_vs_rest", "descriptor-hierarchical"),
        *("all-flat-discriminant", "all-flat", "all-flat-mlp"),
    ]
    assert by_name["lite1-one_vs_rest"].features == ("lite1",)
    assert by_name["lite1-one_vs_rest"].sampler == RandomSamplerConfig()
    assert by_name["all-flat"].features == ("lite0", "lite1", "lite2", "descriptor")
    assert by_name["all-flat-mlp"].head == MlpHeadConfig()


def test_generated_names_never_collide(write: Write) -> None:
    path = write(
        SMALL
        + """
  - {features: a, strategy: flat, sampler: smote}
  - {features: a, strategy: flat}
  - {features: a, strategy: flat}
  - {features: [a, b], strategy: flat}
  - {features: each, strategy: flat, name: mine}
  - {features: each, strategy: flat, head: {kind: logistic, C: 1.0}, name: own}
  - {features: b, strategy: hierarchical, name: b-flat}
"""
    )
    names = [member.name for member in load_config(path).expanded_members()]
    assert len(set(names)) == len(names)
    assert names == [
        *("a-flat", "b-flat-2", "all-one_vs_rest-mlp", "a-flat-smote", "a-flat-2", "a-flat-3", "a+b-flat"),
        *("a-mine", "b-mine", "a-own", "b-own", "b-flat"),
    ]


def test_short_forms_mean_the_long_ones(write: Write) -> None:
    member = load_config(write(SMALL)).members[1]
    assert (member.head, member.sampler) == (MlpHeadConfig(), NeighborSamplerConfig(kind="smote"))
    member = load_config(
        write(SMALL),
        ["members.1.head={kind: logistic, C: 3}", "members.1.sampler={kind: adasyn, k_neighbors: 2}"],
    ).members[1]
    assert (member.head, member.sampler) == (
        LogisticHeadConfig(C=3.0),
        NeighborSamplerConfig(kind="adasyn", k_neighbors=2),
    )
    member = load_config(write(SMALL), ["members.1={features: descriptor, strategy: flat}"]).members[1]
    assert (member.features, member.head, member.sampler) == (
        ("descriptor",),
        LogisticHeadConfig(),
        NoSamplerConfig(),
    )


def test_mlp_head_takes_what_its_estimator_takes() -> None:
    from ensemble_minerals.members.heads.mlp import MLPHead

    parameters = set(inspect.signature(MLPHead).parameters) - {"random_state", "scaling"}
    assert set(MlpHeadConfig.model_fields) - {"kind"} == parameters
