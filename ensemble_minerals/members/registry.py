"""Kind in a configuration -> estimator. A new head is its section in `config`, its file in `heads`, a line here."""

from __future__ import annotations

from typing import Any

from ensemble_minerals.config.members import HeadConfig, MemberConfig, SamplerConfig
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.discriminant import DiscriminantHead
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.heads.random_features import RandomFeaturesHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.strategy import Strategy
from ensemble_minerals.taxonomy import Tree

STRATEGIES: dict[str, type[Strategy]] = {
    strategy.kind: strategy for strategy in (FlatClassifier, OneVsRestClassifier, HierarchicalClassifier)
}
"""Strategies by the name in a configuration."""

HEADS: dict[str, type[Any]] = {
    "logistic": LogisticHead,
    "mlp": MLPHead,
    "discriminant": DiscriminantHead,
    "random_features": RandomFeaturesHead,
}
"""Heads by kind: scikit-learn classifiers whose parameters are the keys of the section in the configuration."""


def build_strategy(member: MemberConfig, taxonomy: Tree | str, seed: int) -> Strategy:
    """The unfitted estimator that a member's configuration describes.

    Args:
        member: Its configuration.
        taxonomy: Nested groups, or ``"auto"``; used by hierarchical members.
        seed: Of everything random in it.

    Example:
        >>> build_strategy(MemberConfig(strategy="flat", features=("color",)), "auto", seed=1)
        FlatClassifier(head=LogisticHead(), random_state=1,
                       sampler=OverSampler(kind='none'))
    """
    parameters: dict[str, Any] = {
        "head": _build_head(member.head),
        "sampler": _build_sampler(member.sampler),
        "prior_correction": member.prior_correction,
        "random_state": seed,
    }
    if member.strategy == HierarchicalClassifier.kind:
        parameters["taxonomy"] = taxonomy
    return STRATEGIES[member.strategy](**parameters)


def _build_head(head: HeadConfig) -> Any:
    return HEADS[head.kind](**head.model_dump(exclude={"kind"}))


def _build_sampler(sampler: SamplerConfig) -> OverSampler:
    return OverSampler(**sampler.model_dump())
